"""A reference is folded from published summaries, sealed, pinned and checked."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from profiled import profile_column, profile_table

from batchscore.errors import ConfigError
from batchscore.profile import merge, profile_scores
from batchscore.reference import Reference, check_reference, fold_reference, read_reference
from batchscore.schema import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    name="s", version="1", features=(Feature(name="size", dtype="float64"), Feature(name="kind", dtype="string"))
)


def summary(seed: int, *, pipeline: str = "flights", kind: type = str) -> dict[str, Any]:
    """Return what summary_metrics.json holds of a date, as far as a reference needs it."""
    rng = np.random.default_rng(seed)
    table = pa.table({"size": rng.random(100), "kind": [kind(value) for value in rng.integers(0, 9, 100)]})
    features = {name: profile_column(table.column(name)).to_dict() for name in ("size", "kind")}
    scores = {"prediction": profile_scores(rng.random(100), probability=True).to_dict()}
    profiles = {"features": features, "scores": scores}
    return {"pipeline": pipeline, "sha256": f"{seed:064x}", "rows": {"scored": 100}, "profiles": profiles}


def folded() -> Reference:
    """Return a reference of two dates."""
    return fold_reference("january", "1", {"2013-01-16": summary(2), "2013-01-15": summary(1)})


def test_folding_is_the_profile_of_all_rows() -> None:
    """The order of the dates does not show, and rows and profiles add up."""
    table = pa.table(
        {
            "size": np.concatenate([np.random.default_rng(seed).random(100) for seed in (1, 2)]),
        }
    )
    turned = fold_reference("january", "1", {"2013-01-15": summary(1), "2013-01-16": summary(2)})

    assert folded().to_bytes() == turned.to_bytes()
    assert folded().features["size"] == profile_column(table.column("size"))
    assert list(folded().summaries) == ["2013-01-15", "2013-01-16"]
    assert folded().rows == 200


def test_a_reference_survives_its_file() -> None:
    """What is read back is what was written, and the file's own digest is over the bytes with that field zero."""
    content = folded().to_bytes()
    seal = json.loads(content)["sha256"]

    assert read_reference(content, sha256=hashlib.sha256(content).hexdigest(), source="r.json") == folded()
    assert hashlib.sha256(content.replace(seal.encode(), b"0" * 64)).hexdigest() == seal


def test_another_file_than_the_pinned_is_refused() -> None:
    """One changed byte is another digest."""
    content = folded().to_bytes()
    pin = hashlib.sha256(content).hexdigest()

    with pytest.raises(ConfigError, match=r"'r.json' has sha256 .* not the pinned") as caught:
        read_reference(content.replace(b"january", b"JANUARY"), sha256=pin, source="r.json")
    assert caught.value.id == "E-CONFIG-REFERENCE-DIGEST"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"format_version":2}', b'{"format_version":1,"profiles":[]}'],
)
def test_what_is_no_reference_is_refused(content: bytes) -> None:
    """A file of another kind or format is a configuration error, not a traceback."""
    with pytest.raises(ConfigError) as caught:
        read_reference(content, sha256=hashlib.sha256(content).hexdigest(), source="r.json")

    assert caught.value.id == "E-CONFIG-REFERENCE-FORMAT"


@pytest.mark.parametrize(
    ("summaries", "fact"),
    [
        ({}, "there is no published date to fold"),
        ({"d1": summary(1), "d2": summary(2, pipeline="churn")}, "different pipelines: churn, flights"),
        ({"d1": summary(1), "d2": summary(2, kind=int)}, "column 'kind': a numeric and a categorical"),
    ],
)
def test_dates_that_do_not_fit_together_are_refused(summaries: dict[str, dict[str, Any]], fact: str) -> None:
    """Folding names what does not fit."""
    with pytest.raises(ConfigError, match=fact) as caught:
        fold_reference("r", "1", summaries)

    assert caught.value.id == "E-CONFIG-REFERENCE-DATES"


def test_a_reference_of_other_features_is_refused_before_scoring() -> None:
    """Missing features, and features of another kind, are named all at once."""
    table = pa.table({"size": [1.0], "kind": ["a"], "extra": [True]})
    more = (*SCHEMA.features, Feature(name="extra", dtype="bool"))
    wider = FeatureSchema(name="s", version="2", features=more)
    as_number = Reference(
        name="r",
        version="1",
        pipeline="p",
        summaries={},
        rows=1,
        features={"size": profile_column(np.array([1.0])), "kind": profile_column(np.array([1.0]))},
        scores={},
    )

    check_reference(folded(), SCHEMA, source="r.json")
    with pytest.raises(ConfigError, match="'extra'"):
        check_reference(folded(), wider, source="r.json")
    with pytest.raises(ConfigError, match="'kind'") as caught:
        check_reference(as_number, SCHEMA, source="r.json")
    assert caught.value.context == {"features": ["kind"]}
    assert profile_table(table, wider).keys() == {"size", "kind", "extra"}
    assert merge(folded().features["kind"], profile_table(table, SCHEMA)["kind"]).rows == 201
