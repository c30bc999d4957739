"""Rows made to tell two ways of preparing apart: ordinary ones, nulls, unseen categories, infinities, extremes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from batchscore.schema import Feature, FeatureSchema

ROWS = 512
"""Rows per sample."""
_UNSEEN_TEXT = ("a value nobody has seen", "")
_EXTREMES = (0.0, -0.0, 5e-324, -1e-300, 1e-17, 1.0, -1.0, 1e15, -1e15, 1e300, -1e300)
_DAYS = (0, 15_000, 20_000)


def samples(
    schema: FeatureSchema, known: Mapping[str, Sequence[Any]], rows: int = ROWS
) -> Iterator[tuple[str, pa.Table]]:
    """Yield named samples that fit the schema's types.

    Args:
        schema: The features.
        known: Values that are known, per feature that is looked at as a category.
        rows: Rows per sample.
    """
    for at, name in enumerate(("ordinary rows", "nulls", "unseen categories", "infinities", "extremes")):
        chance = np.random.default_rng(at)
        columns = {
            feature.name: _column(feature, name, list(known.get(feature.name, ())), chance, rows)
            for feature in schema.features
        }
        yield name, pa.table(columns)


def _column(feature: Feature, sample: str, known: list[Any], chance: np.random.Generator, rows: int) -> pa.Array:
    pool = known or _declared(feature)
    if feature.dtype == "string":
        array = _texts(pool or ["a", "b"], sample, chance, rows)
    elif feature.dtype == "bool":
        array = pa.array(chance.random(rows) < 0.5)  # noqa: PLR2004
    elif feature.dtype in ("date32", "timestamp[us]"):
        days = pa.array(chance.choice(_DAYS, rows).astype(np.int32)).cast(pa.date32())
        array = days if feature.dtype == "date32" else days.cast(pa.timestamp("us"))
    else:
        array = _numbers(feature, pool, sample, chance, rows)
    may_be_null = feature.nullable and sample == "nulls"
    return pa.array(array.to_pylist(), array.type, mask=chance.random(rows) < 0.2) if may_be_null else array  # noqa: PLR2004


def _declared(feature: Feature) -> list[Any]:
    return list(feature.categories or ())


def _texts(pool: list[Any], sample: str, chance: np.random.Generator, rows: int) -> pa.Array:
    unseen = _UNSEEN_TEXT if sample == "unseen categories" else ()
    choices = [*map(str, pool), *unseen]
    return pa.array([choices[at] for at in chance.integers(0, len(choices), rows)], pa.string())


def _numbers(feature: Feature, pool: list[Any], sample: str, chance: np.random.Generator, rows: int) -> pa.Array:
    values = chance.normal(size=rows) * 10.0 ** chance.integers(-3, 5, rows)
    if pool and sample not in ("unseen categories", "extremes"):
        values = chance.choice(np.array(pool, dtype=np.float64), rows)
    if sample == "extremes":
        values[: len(_EXTREMES)] = _EXTREMES
    if feature.dtype.startswith("float"):
        if sample == "infinities" and not feature.finite:
            values[0], values[1] = np.inf, -np.inf
        if sample == "nulls" and not feature.finite:
            values[:20] = np.nan
        kept = np.finfo(np.float32 if feature.dtype == "float32" else np.float64)
        # Clipped, but for infinities of their own: one of them has steps refuse the whole sample, which proves nothing.
        return pa.array(np.where(np.isinf(values), values, np.clip(values, kept.min, kept.max)).astype(kept.dtype))
    kind = np.dtype(feature.dtype)
    edges = np.iinfo(kind)
    lower, upper = (edges.min, edges.max) if sample == "extremes" else (max(edges.min, -10_000), min(edges.max, 10_000))
    whole = np.clip(values, lower, np.nextafter(float(upper), 0.0)).astype(kind)
    return pa.array(whole)
