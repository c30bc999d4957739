"""What a snapshot holds: the one table from which its columns, the feature schema and the model's inputs come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

ID = "flight_id"
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input of the model and what its values may be."""

    name: str
    dtype: str
    """`string`, `int64` or `float64`: the words of the feature schema."""
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()

    def as_entry(self) -> dict[str, Any]:
        """Give the feature as an entry of the feature schema file, without the keys that say nothing."""
        entry: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "nullable": self.nullable}
        entry |= {key: value for key in ("min", "max") if (value := getattr(self, key)) is not None}
        return entry | ({"categories": list(self.categories)} if self.categories else {})


FEATURES = (
    Feature(name="carrier", dtype="string", categories=CARRIERS),
    Feature(name="origin", dtype="string", categories=ORIGINS),
    # No list of destinations: airlines open routes, and the model takes an unknown one as the average route.
    Feature(name="dest", dtype="string"),
    Feature(name="dep_delay", dtype="int64", min=-120, max=2880),
    Feature(name="sched_dep_minute", dtype="int64", min=0, max=1439),
    Feature(name="sched_minutes", dtype="int64", min=0, max=1439),
    Feature(name="day_of_week", dtype="int64", min=1, max=7),
    Feature(name="distance", dtype="int64", min=1, max=12000),
    Feature(name="plane_age", dtype="float64", nullable=True, min=0, max=80),
    Feature(name="seats", dtype="float64", nullable=True, min=1, max=900),
    # The source holds one gale of 1,048 miles an hour, at an hour that no flight met; the limit would stop it.
    Feature(name="wind_speed", dtype="float64", nullable=True, min=0, max=150),
    Feature(name="wind_gust", dtype="float64", nullable=True, min=0, max=200),
    Feature(name="precip", dtype="float64", nullable=True, min=0, max=10),
    Feature(name="visib", dtype="float64", nullable=True, min=0, max=10),
)
NAMES = [feature.name for feature in FEATURES]
TEXT = [feature.name for feature in FEATURES if feature.dtype == "string"]
NUMBERS = [feature.name for feature in FEATURES if feature.dtype != "string"]

_ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
SNAPSHOT = pa.schema(
    [
        pa.field(ID, pa.string(), nullable=False),
        pa.field("flight", pa.int64(), nullable=False),
        pa.field("tailnum", pa.string()),
        *(pa.field(feature.name, _ARROW[feature.dtype], nullable=feature.nullable) for feature in FEATURES),
    ]
)
"""The columns of a snapshot file: the id, two more facts about the flight, and the features. No outcome is in it."""
