"""Generate customers: row i of a date is the same however many rows, files or chunks are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

CHUNK_ROWS = 50_000
"""Rows are drawn in chunks of this many, each from a stream of its own; also the largest row group written."""

ID = "customer_id"
CATEGORIES = {
    "contract": (("month-to-month", "one-year", "two-year"), (0.55, 0.25, 0.20)),
    "payment_method": (("bank-transfer", "card", "cheque", "direct-debit"), (0.30, 0.35, 0.10, 0.25)),
    "region": (
        ("central", "east", "islands", "north", "north-east", "south", "south-west", "west"),
        (0.20, 0.15, 0.05, 0.15, 0.10, 0.15, 0.10, 0.10),
    ),
}
INTS = {"tenure_months": (0, 600), "support_tickets": (0, 200), "products": (1, 12)}
"""Whole-number features with the least and greatest value that the schema allows."""
FLOATS = {
    "monthly_charges": (0, 500),
    "total_charges": (0, 300_000),
    "data_gb": (0, 100_000),
    "call_minutes": (0, 100_000),
    "roaming_minutes": (0, 100_000),
    "days_since_login": (0, 3_650),
    "support_wait_minutes": (0, 10_000),
    "discount_percent": (0, 100),
    "payment_delay_days": (0, 3_650),
    "usage_trend": (-20, 20),
    "network_quality": (0, 1),
    "late_fees": (0, 100_000),
    "credit_score": (0, 1_000),
    "satisfaction": (0, 10),
}
NULL_SHARE = {"credit_score": 0.025, "satisfaction": 0.08}

SNAPSHOT = pa.schema(
    [
        pa.field(ID, pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=name in NULL_SHARE) for name in FLOATS),
        *(pa.field(name, pa.int64(), nullable=False) for name in INTS),
        *(pa.field(name, pa.string(), nullable=False) for name in CATEGORIES),
    ]
)

# A multiplier without common factors with the modulus: ids are unique below 10^10 and look like ids, not like 1, 2, 3.
_ID_MULTIPLIER, _ID_MODULUS = 6_364_136_227, 10**10


@dataclass(frozen=True)
class Population:
    """All customers as seen on one date."""

    day: date

    def rows(self, start: int, stop: int) -> Iterator[pa.Table]:
        """Give rows start to stop, exclusive, as tables that each lie within one chunk."""
        for chunk in range(start // CHUNK_ROWS, -(-stop // CHUNK_ROWS)):
            first = chunk * CHUNK_ROWS
            yield _draw(self.day, chunk).slice(max(start - first, 0), min(stop, first + CHUNK_ROWS) - max(start, first))

    def chunk(self, number: int) -> pa.Table:
        """Give one whole chunk, `CHUNK_ROWS` rows."""
        return _draw(self.day, number)


@lru_cache(maxsize=1)  # a chunk is shared by neighbouring files, of which there may be hundreds
def _draw(day: date, number: int) -> pa.Table:
    rng = np.random.Generator(np.random.Philox(key=[day.toordinal(), number]))
    columns = _draw_numbers(rng)
    rounded = {name: np.round(columns[name], 2) for name in FLOATS} | {name: columns[name] for name in INTS}
    arrays = {name: _with_nulls(rng, values, NULL_SHARE.get(name, 0)) for name, values in rounded.items()}
    for name, (categories, shares) in CATEGORIES.items():
        arrays[name] = pa.array(categories).take(rng.choice(len(categories), CHUNK_ROWS, p=shares))
    arrays[ID] = _ids(number)
    return pa.table([arrays[name] for name in SNAPSHOT.names], schema=SNAPSHOT)


def _draw_numbers(rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Draw the number features; an order of draws is part of what a row is, so new ones come last."""
    n = CHUNK_ROWS
    tenure = np.minimum(rng.gamma(1.6, 18, n), 600).astype("int64")
    monthly = np.clip(rng.normal(62, 24, n), 8, 400)
    tickets = np.minimum(rng.poisson(1.1, n), 200).astype("int64")
    return {
        "tenure_months": tenure,
        "support_tickets": tickets,
        "products": np.minimum(1 + rng.poisson(0.9, n), 12).astype("int64"),
        "monthly_charges": monthly,
        "total_charges": monthly * tenure * rng.uniform(0.85, 1.05, n),
        "data_gb": np.minimum(rng.lognormal(2.2, 1.0, n), 1e5),
        "call_minutes": np.minimum(rng.lognormal(4.6, 0.8, n), 1e5),
        "roaming_minutes": np.minimum(rng.exponential(9, n), 1e5),
        "days_since_login": np.minimum(rng.exponential(14, n), 3650),
        "support_wait_minutes": np.minimum(rng.gamma(2, 6, n) * (1 + tickets), 1e4),
        "discount_percent": np.clip(rng.normal(8, 7, n), 0, 60),
        "payment_delay_days": np.minimum(rng.exponential(4, n), 3650),
        "usage_trend": np.clip(rng.normal(0, 1, n), -20, 20),
        "network_quality": rng.beta(7, 2, n),
        "late_fees": np.minimum(rng.exponential(3, n), 1e5),
        "credit_score": np.clip(rng.normal(680, 90, n), 300, 850),
        "satisfaction": np.clip(rng.normal(6.8, 1.8, n), 0, 10),
    }


def _with_nulls(rng: np.random.Generator, values: npt.NDArray[Any], share: float) -> pa.Array:
    return pa.array(values, mask=rng.random(CHUNK_ROWS) < share) if share else pa.array(values)


def _ids(chunk: int) -> pa.Array:
    """Give the chunk's ids, such as `C-6364136227`: the same customer has the same id on every date."""
    numbers = np.arange(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS, dtype="uint64")
    scattered = pa.array(numbers * np.uint64(_ID_MULTIPLIER) % np.uint64(_ID_MODULUS)).cast(pa.string())
    return pc.binary_join_element_wise("C", pc.utf8_lpad(scattered, 10, "0"), "-")
