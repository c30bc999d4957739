"""Where a value is from, and what a wrong one is called: of files, of `--set`, in words of YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchscore.config import load_config
from batchscore.errors import ConfigError

ROOT = Path(__file__).parents[2]
REFERENCE = str(ROOT / "config/reference.yaml")


@pytest.fixture
def over(tmp_path: Path) -> str:
    """A second file."""
    path = tmp_path / "over.yaml"
    path.write_text("partition: {rowz: 5}\nmetrics: {pushgateway: 'http://gateway:9091'}\n")
    return str(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("output.passthrough=region", "the key 'output.passthrough' should be 'all' or a list (it is 'region', text)"),
        ("postprocess.rules={}", "the key 'postprocess.rules' should be a list"),
        ("postprocess.rules=[{name: a, when: []}]", "the key 'postprocess.rules.0.when' is a list without an item"),
        ("partition.rows=", "the key 'partition.rows' should be a valid integer (it is null)"),
        ("pipeline.name=a", "the key 'pipeline' should be a valid string (it is a mapping)"),
        (
            "output.notify={kind: mail}",
            "the key 'output.notify' has the kind 'mail', which is none of 'marker', 'webhook'",
        ),
        ("output.notify={path: a}", "the key 'output.notify' lacks its kind"),
        (
            "model.positive_class=[1]",
            "the key 'model.positive_class' should be a valid boolean or a valid integer or a valid string (it is a list)",
        ),
    ],
)
def test_a_wrong_override_is_told_in_words_of_the_file(text: str, told: str) -> None:
    """One problem is one sentence, without types of Python, and names the option that it came with."""
    with pytest.raises(ConfigError) as caught:
        load_config([REFERENCE], [text])

    assert caught.value.message == f"--set {text.partition('=')[0]}: {told}"


def test_a_list_of_bad_items_is_not_told_to_be_empty() -> None:
    """A condition that tests nothing is one problem, not two."""
    with pytest.raises(ConfigError) as caught:
        load_config([REFERENCE], ["postprocess.rules=[{name: a, when: [{column: carrier}]}]"])

    assert "tests nothing" in caught.value.message
    assert "item" not in caught.value.message


def test_each_problem_names_the_file_or_option_it_is_from(over: str) -> None:
    """Of two files and an option, the one that holds the key."""
    with pytest.raises(ConfigError) as caught:
        load_config([REFERENCE, over], ["snapshot.id=", "partition.rows=few"])

    assert caught.value.message == (
        "--set snapshot.id: the key 'snapshot.id' should have at least 1 character (it is '', text); "
        "--set partition.rows: the key 'partition.rows' should be a valid integer (it is 'few', text); "
        f"{over}: unknown key 'partition.rowz'; did you mean 'partition.rows'?"
    )


def test_a_missing_key_is_missing_in_all_files(tmp_path: Path) -> None:
    """No single file is to blame."""
    (tmp_path / "one.yaml").write_text("pipeline: a\n")
    (tmp_path / "two.yaml").write_text("environment: b\n")
    with pytest.raises(ConfigError, match=r"one\.yaml \+ .*two\.yaml: the key 'snapshot' is missing"):
        load_config([str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")])


@pytest.mark.parametrize("null", ["null", "~", ""])
def test_null_is_null_where_a_key_may_be_null(null: str) -> None:
    """So what a file says can be taken back; a key that is text alone takes the word as it stands."""
    base = ["metrics.pushgateway=http://gateway:9091", "snapshot.ready=_SUCCESS"]
    config = load_config([REFERENCE], [*base, f"metrics.pushgateway={null}", f"snapshot.ready={null}"])

    assert (config.metrics.pushgateway, config.snapshot.ready) == (None, None)
    assert load_config([REFERENCE], ["model.version=null"]).model.version == "null"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model.version=1.20", "1.20"),
        ("model.valid_from=2013-01-01", "2013-01-01"),
        ("partition.rows=1000", 1000),
        ("postprocess.threshold=.7", 0.7),
        ("snapshot.allow_empty=yes", True),
        ("output.passthrough=[carrier, flight]", ["carrier", "flight"]),
        ("output.passthrough=all", "all"),
        ("snapshot.path=data/{date}", "data/{date}"),
        ("volume.ignore_dates=[2013-01-01]", ["2013-01-01"]),
        ("snapshot.ready=a=b", "a=b"),
        ('cluster.kubernetes.worker.node_selector={"disk": "none"}', {"disk": "none"}),
        ("cluster.kubernetes.labels={team: scoring}", {"team": "scoring"}),
    ],
)
def test_an_override_has_the_type_of_its_key(text: str, value: object) -> None:
    """Text is taken as it stands, all else as YAML."""
    found: object = json.loads(load_config([REFERENCE], [text]).model_dump_json(by_alias=True))
    for key in text.partition("=")[0].split("."):
        assert isinstance(found, dict)
        found = found[key]

    assert found == value
