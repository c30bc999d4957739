"""What is generated from the code is what the code says now."""

from collections.abc import Iterator

import jsonschema
import pytest
import yaml

from batchscore.config import RunConfig, load_config
from batchscore.errors import EXIT_CODES, ConfigError
from batchscore.schema import Feature, FeatureSchema, read_schema
from batchscore.strict import key_paths
from tools.docs import ROOT, generated
from tools.docs.config_schema import schema
from tools.docs.docstrings import field_docs, sections_below

FILES = (
    "config/reference.schema.yaml",
    "config/reference.yaml",
    "config/schema.json",
    "docs/commands.md",
    "docs/exit-codes.md",
    "docs/metrics.md",
)
ENVIRONMENTS = ("dev", "staging", "prod")


@pytest.fixture(scope="module")
def texts():
    """Everything generated anew."""
    return generated()


@pytest.mark.parametrize("file", FILES)
def test_generated_file_is_current(texts, file):
    """Running `make docs` again changes nothing."""
    assert (ROOT / file).read_text(encoding="utf-8") == texts[file]


def test_every_generated_file_is_tested(texts):
    """None is left out above."""
    assert tuple(sorted(texts)) == FILES


def test_every_exit_code_is_explained():
    """Each row of the table stands on the page, whole."""
    page = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")

    assert [row.code for row in EXIT_CODES if f"| {row.code} | {row.name} | {row.meaning} |" not in page] == []


def test_every_key_has_a_docstring():
    """Of every section's every field."""
    nameless = [
        f"{section.__name__}.{name}"
        for section in sections_below(RunConfig)
        for name in section.model_fields
        if not field_docs(section).get(name)
    ]

    assert nameless == []


def test_the_reference_of_the_feature_schema_is_one():
    """It reads as a schema whose keys all stand there, each with its default."""
    content = (ROOT / "config/reference.schema.yaml").read_bytes()
    schema = read_schema(content, source="reference")
    written = yaml.safe_load(content)

    assert set(written) == set(FeatureSchema.model_fields)
    assert written["features"][0] == Feature(name="dep_delay", dtype="int64").model_dump(mode="json")
    assert schema.names == ("dep_delay",)


def test_the_reference_names_every_key():
    """Real ones and those in comments together are all that the program knows."""
    text = (ROOT / "config/reference.yaml").read_text(encoding="utf-8")
    written = {line.lstrip("# -").split(":")[0] for line in text.splitlines() if ":" in line}

    assert sorted({path.rpartition(".")[2] for path in key_paths(RunConfig)} - written) == []


def test_the_reference_holds_the_defaults():
    """It loads, and no key differs from what it is without the file."""
    reference = load_config([str(ROOT / "config/reference.yaml")])
    required = {"pipeline", "snapshot", "feature_schema", "model", "output"}
    default = {name: field.get_default() for name, field in RunConfig.model_fields.items() if name not in required}

    assert {name: getattr(reference, name) for name in default} == default


def commented_blocks() -> Iterator[tuple[str, str]]:
    """Yield (key, text) of each block of the reference that stands in comments below a key."""
    key, block, depth = "", [], 0
    for line in [*(ROOT / "config/reference.yaml").read_text(encoding="utf-8").splitlines(), "end"]:
        inside = line.lstrip()
        if inside.startswith("#   "):
            block.append(inside[4:])
            continue
        if block:
            yield key, "\n".join(block)
            block = []
        if inside and not inside.startswith("#"):
            depth = len(line) - len(inside)
            key = inside.split(":")[0]
    assert depth == 0


def test_commented_sections_are_yaml():
    """Taken out of their comments, they parse."""
    blocks = [(key, yaml.safe_load(text)) for key, text in commented_blocks() if key != "notify"]

    assert sorted(key for key, _ in blocks) == sorted(
        ["golden", "calibration", "segments", "rules", "reference", "tls"]
    )
    assert all(content for _, content in blocks)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_overlays_fit_the_reference(environment):
    """Each environment's file can be laid over a configuration, and names itself."""
    files = [str(ROOT / "config/reference.yaml"), str(ROOT / f"config/environments/{environment}.yaml")]

    assert load_config(files).environment == environment


def test_the_schema_takes_what_the_program_takes():
    """The reference is valid, also with a list of models; an unknown key and a wrong type are not, in either."""
    content = yaml.safe_load((ROOT / "config/reference.yaml").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())

    assert list(validator.iter_errors(content)) == []
    assert list(validator.iter_errors({**content, "model": [{**content["model"], "valid_from": "2013-01-01"}]})) == []
    assert len(list(validator.iter_errors({**content, "partition": {"row": 1}}))) == 1
    assert len(list(validator.iter_errors({**content, "volume": {"max_drop": "a lot"}}))) == 1


def test_null_is_a_key_like_any_other(tmp_path):
    """A rule's condition `null: true` reads as it is written; an empty key is refused by name."""
    rules = "postprocess: {threshold: 0.5, rules: [{name: no-age, when: [{column: plane_age, null: true}]}]}\n"
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "empty.yaml").write_text("? \n: 3\n")
    reference = str(ROOT / "config/reference.yaml")

    assert load_config([reference, str(tmp_path / "rules.yaml")]).postprocess.rules[0].when[0].null is True
    with pytest.raises(ConfigError):
        load_config([reference, str(tmp_path / "empty.yaml")])
