"""What a feature may ask of its column: bounds and categories that a value of its type can have."""

from __future__ import annotations

import math

import pytest

from batchscore.schema import Feature


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"dtype": "int8", "categories": (1, 300)}, "the category 300, which no int8 can be"),
        ({"dtype": "uint16", "categories": (-1, 1)}, "the category -1, which no uint16 can be"),
        ({"dtype": "float64", "min": math.nan}, "min nan, which is not a value of float64"),
        ({"dtype": "float32", "max": math.nan}, "max nan, which is not a value of float32"),
        ({"dtype": "float64", "max": 10**400}, "which is not a value of float64"),
        ({"dtype": "int64", "min": 2**63}, f"min {2**63}, which no int64 can keep"),
        ({"dtype": "uint8", "max": -1}, "max -1, which no uint8 can keep"),
        ({"dtype": "date32", "min": 20240101}, "min 20240101, which is no ISO date32"),
        ({"dtype": "date32", "min": "2024-12-01", "max": "20240101"}, "min '2024-12-01' above max '20240101'"),
        ({"dtype": "timestamp[us]", "min": "0001-01-01T00:00:00+14:00"}, "which is no ISO timestamp[us]"),
    ],
)
def test_what_no_value_can_meet_is_refused(keys: dict[str, object], told: str) -> None:
    """A bound or a category that the type can not compare with is an error of the schema: it would end a run, or check nothing."""
    with pytest.raises(ValueError, match="of 'x' has") as caught:
        Feature(name="x", **keys)  # type: ignore[arg-type]

    assert told in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"dtype": "int8", "min": -1000, "max": 1000},
        {"dtype": "int8", "min": 127, "max": 127, "categories": (-128, 127)},
        {"dtype": "uint64", "min": 2**64 - 1},
        {"dtype": "float64", "min": -math.inf, "max": 2**64},
        {"dtype": "date32", "min": "20240101", "max": "2024-01-02"},
        {"dtype": "timestamp[us]", "min": "2024-01-01T01:00:00+05:00", "max": "2024-01-01T00:00:00"},
    ],
)
def test_bounds_are_compared_as_values(keys: dict[str, object]) -> None:
    """Bounds that leave some value are taken, in whatever form of ISO times stand and however wide they are."""
    Feature(name="x", **keys)  # type: ignore[arg-type]
