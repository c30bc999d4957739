"""Matrices made to tell two ways of scoring apart: ordinary rows, nulls, infinities, extremes, and rows at each split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from batchscore.kernel import Forest

ROWS = 512
"""Rows per matrix."""
MOST_NODES = 4_096
"""So many splits of an ensemble are looked at; of more, some that chance picks, always the same ones."""
_EXTREMES = (0.0, -0.0, 5e-324, -1e-300, 1e-17, 1.0, -1.0, 1e15, -1e15, 1e38, 1e39, -1e300, 1e300)


def matrices(n_columns: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield named matrices of float64 of shape `(n_rows, n_columns)`, the same ones each time."""
    chance = np.random.default_rng(0)
    size = (ROWS, n_columns)
    ordinary = chance.normal(size=size) * 10.0 ** chance.integers(-3, 4, size)
    whole = chance.integers(-2, 12, size).astype(np.float64)
    yield "ordinary rows", ordinary
    yield "whole numbers", whole
    yield "nulls", np.where(chance.random(size) < 0.2, np.nan, whole)  # noqa: PLR2004 - a fifth
    yield "one null", _with(ordinary, np.nan)
    yield "one infinity", _with(ordinary, np.inf)
    yield "infinities", np.where(chance.random(size) < 0.1, chance.choice([np.inf, -np.inf], size), ordinary)  # noqa: PLR2004 - a tenth
    yield "extremes", chance.choice(_EXTREMES, size)
    yield "extremes of float32", chance.choice(_EXTREMES[:-3], size)


def _with(matrix: np.ndarray, value: float) -> np.ndarray:
    changed = matrix.copy()
    changed[-1, -1] = value
    return changed


def at_splits(forest: Forest) -> np.ndarray:
    """Return rows of the forest's columns that come to a split and lie at its threshold, beside it, or have no value.

    Three rows a split: the largest value that goes left, the smallest that goes right, and NaN; several times over
    where there are few splits, since what comes below one may hide which way a row went. What lies on the way to the
    split is chosen so that the row gets there, where that needs no two sets of one feature.
    """
    inner = np.flatnonzero(forest.left >= 0)
    chance = np.random.default_rng(1)
    if not len(inner):
        return np.zeros((0, forest.n_features))
    if len(inner) > MOST_NODES:
        inner = np.sort(chance.choice(inner, MOST_NODES, replace=False))
    inner = np.repeat(inner, min(4, MOST_NODES // len(inner)))
    low, high, fixed = _ways(forest, inner)
    rows = np.clip(chance.normal(size=low.shape), low, high)
    rows = np.where(np.isnan(fixed), rows, fixed)
    # Above infinity there is nothing: what goes right there has no value.
    rows[low == np.inf] = np.nan
    every = np.arange(len(inner))
    left, right = rows.copy(), rows.copy()
    left[every, forest.feature[inner]], right[every, forest.feature[inner]] = _beside(forest, inner)
    missing = rows.copy()
    missing[every, forest.feature[inner]] = np.nan
    right[np.isinf(right)] = np.nan
    return np.concatenate([left, right, missing])


def _ways(forest: Forest, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bounds, and the categories, that lead to each node; each of shape `(n, n_features)`."""
    parent = np.full(len(forest.left), -1)
    inner = np.flatnonzero(forest.left >= 0)
    parent[forest.left[inner]] = parent[forest.right[inner]] = inner
    low = np.full((len(nodes), forest.n_features), -np.inf)
    high, fixed = -low, np.full(low.shape, np.nan)
    now, every = nodes.copy(), np.arange(len(nodes))
    while len(every):
        above = parent[now]
        every, now, above = every[above >= 0], now[above >= 0], above[above >= 0]
        feature, from_left = forest.feature[above], forest.left[above] == now
        most, least = _beside(forest, above)
        number = forest.category[above] < 0
        at = every[number & from_left], feature[number & from_left]
        high[at] = np.minimum(high[at], most[number & from_left])
        at = every[number & ~from_left], feature[number & ~from_left]
        low[at] = np.maximum(low[at], least[number & ~from_left])
        fixed[every[~number], feature[~number]] = np.where(from_left, most, least)[~number]
        now = above
    return low, high, fixed


def _beside(forest: Forest, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last value that goes left and the first one that goes right; of categories the lowest ones."""
    threshold = forest.threshold[nodes]
    with np.errstate(over="ignore", invalid="ignore"):
        most = threshold.astype(np.float32 if forest.narrow else np.float64)
        most = np.where(most > threshold, np.nextafter(most, -np.inf), most).astype(most.dtype)
        least = np.nextafter(most, np.inf)
        most = np.where(np.isinf(threshold), np.finfo(most.dtype).max, most).astype(most.dtype)
    looked_up = forest.category[nodes] >= 0
    sets, known = forest.sets[forest.category[nodes[looked_up]]], forest.known[forest.feature[nodes[looked_up]]]
    most, least = most.astype(np.float64), least.astype(np.float64)
    most[looked_up], least[looked_up] = _lowest(sets), _lowest(known & ~sets)
    return most, least


def _lowest(sets: np.ndarray) -> np.ndarray:
    """Return the lowest member of each set; 254 of an empty one."""
    bits = np.unpackbits(sets, axis=1, bitorder="little")
    return np.where(bits.any(axis=1), bits.argmax(axis=1), 254).astype(np.float64)
