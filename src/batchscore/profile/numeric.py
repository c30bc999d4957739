"""Mergeable profiles of numbers: counts, exact sums, log-linear bins. Pure.

Bins are keyed by the bits of the float itself (exponent and the top five bits of the mantissa), with
shifts only: no logarithm, so no difference between machines. A bin is at most 3.2 % wide, so that its middle is
within 1.6 % of every value in it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from batchscore import kernel
from batchscore.kernel import Counted
from batchscore.profile.counting import tally
from batchscore.profile.sums import EXACT_INTEGER, ZERO, Exact, Floats, moments, square_root

MOST_BINS = 512
UNIT_BINS = 100

_UNIT_EDGES = np.arange(UNIT_BINS + 1) / UNIT_BINS
_LONGEST_GAP = 3


@dataclass(frozen=True, kw_only=True)
class NumericProfile:
    """What is known of the values of a numeric column."""

    rows: int = 0
    """All rows, with nulls."""
    nulls: int = 0
    """Rows without a value."""
    nans: int = 0
    """Values that are not a number."""
    negative_infinities: int = 0
    """Values of minus infinity."""
    positive_infinities: int = 0
    """Values of plus infinity."""
    zeros: int = 0
    """Values of zero, of either sign."""
    integer: bool = True
    """Whether the column holds whole numbers by its type."""
    minimum: int | float | None = None
    """The least finite value; None when there is none."""
    maximum: int | float | None = None
    """The greatest finite value; None when there is none."""
    total: Exact = ZERO
    """The exact sum of the finite values."""
    squares: Exact = ZERO
    """The exact sum of their squares."""
    floor: int = 1
    """Nonzero values of a magnitude below `edge(floor)` are not in `bins` but in the two counts of small values."""
    small_negative: int = 0
    """Negative values above -`edge(floor)`."""
    small_positive: int = 0
    """Positive values below `edge(floor)`."""
    bins: Mapping[int, int] = field(default_factory=dict)
    """Values by signed bin: k holds [edge(k), edge(k + 1)), and -k the negatives of the same magnitudes."""
    unit: tuple[int, ...] = ()
    """Values by bins of 0.01 from 0 to 1, the last one closed; empty unless the column is a probability."""

    @property
    def finite(self) -> int:
        """Number of finite values."""
        return self.rows - self.nulls - self.nans - self.negative_infinities - self.positive_infinities

    @property
    def missing(self) -> int:
        """Number of nulls and NaNs."""
        return self.nulls + self.nans

    @property
    def mean(self) -> float | None:
        """The mean of the finite values, correctly rounded; None when there is none."""
        if not self.finite:
            return None
        return float(self.total.fraction / self.finite)

    @property
    def std(self) -> float | None:
        """The population standard deviation of the finite values; None when there is none."""
        if not self.finite:
            return None
        mean = self.total.fraction / self.finite
        return square_root(self.squares.fraction / self.finite - mean * mean)

    def cells(self) -> list[tuple[float, float, int]]:
        """Return the finite values as (low, high, count), ascending and disjoint; zero is a cell of width 0."""
        small = edge(self.floor)
        cells = [(-edge(1 - key), -edge(-key), count) for key, count in sorted(self.bins.items()) if key < 0]
        cells += [(-small, 0.0, self.small_negative), (0.0, 0.0, self.zeros), (0.0, small, self.small_positive)]
        cells += [(edge(key), edge(key + 1), count) for key, count in sorted(self.bins.items()) if key > 0]
        return [cell for cell in cells if cell[2]]

    def counts_above(self, floor: int) -> dict[int, int]:
        """Return the finite values by place, comparable between profiles that are taken at the same floor.

        Places ascend with the values; smaller magnitudes than `floor`, or than the profile's own, are two places.
        """
        floor = max(floor, self.floor)
        places = {-1: self.small_negative, 0: self.zeros, 1: self.small_positive}
        for key, count in self.bins.items():
            place = 2 * key if abs(key) >= floor else (1 if key > 0 else -1)
            places[place] = places.get(place, 0) + count
        return places

    def quantile(self, share: float) -> float | None:
        """Return the value below which `share` (0..1) of the finite values lie, linear within a bin; None when empty.

        The result is off by at most the width of its bin, and lies between minimum and maximum.
        """
        if self.minimum is None or self.maximum is None:
            return None
        wanted, before = share * self.finite, 0
        for low, high, count in self.cells():
            if before + count >= wanted:
                value = low + (high - low) * ((wanted - before) / count)
                return float(min(max(value // 1 if self.integer else value, self.minimum), self.maximum))
            before += count
        return float(self.maximum)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain JSON data, one form for one profile."""
        return {
            "kind": "numeric",
            **{name: getattr(self, name) for name in _PLAIN},
            "total": str(self.total),
            "squares": str(self.squares),
            "bins": _runs(self.bins),
            "unit": list(self.unit),
        }


_INFINITIES = ("negative_infinities", "positive_infinities")
_COUNTS = (
    "rows",
    "nulls",
    "nans",
    *_INFINITIES,
    "zeros",
    "small_negative",
    "small_positive",
)
_PLAIN = (*_COUNTS, "integer", "minimum", "maximum", "floor")


def edge(key: int) -> float:
    """Return the lower edge of the bin `key`, which is not negative; the last one has none above but infinity."""
    made: float = struct.unpack("<d", struct.pack("<q", key << kernel.SHIFT))[0]
    return made


def profile_scores(scores: Floats, *, probability: bool) -> NumericProfile:
    """Profile scores `(n_rows,)`; those of a probability also by fixed bins of 0.01."""
    profiled = profile(scores)
    if not probability:
        return profiled
    return replace(profiled, unit=tuple(_unit_counts(scores[np.isfinite(scores)])))


def from_dict(content: Mapping[str, Any]) -> NumericProfile:
    """Rebuild a profile from `to_dict`."""
    return NumericProfile(
        **{name: content[name] for name in _PLAIN},
        total=Exact.parse(content["total"]),
        squares=Exact.parse(content["squares"]),
        bins={key: count for first, *counts in content["bins"] for key, count in enumerate(counts, first) if count},
        unit=tuple(content["unit"]),
    )


def histogram(profile: NumericProfile, bins: int = 20) -> dict[str, list[float] | list[int]]:
    """Return the edges and counts of a probability's histogram; `bins` divides 100."""
    width = UNIT_BINS // bins
    counts = [sum(profile.unit[start : start + width]) for start in range(0, UNIT_BINS, width)]
    return {"edges": _UNIT_EDGES[::width].tolist(), "counts": counts}


def quantiles(profile: NumericProfile) -> dict[str, float | None]:
    """Return p01, p05, p25, p50, p75, p95 and p99 of the finite values."""
    return {f"p{percent:02d}": profile.quantile(percent / 100) for percent in (1, 5, 25, 50, 75, 95, 99)}


def profile(values: np.ndarray[Any, Any], *, nulls: int = 0) -> NumericProfile:
    """Profile the values `(n_rows - nulls,)` of a column that has `nulls` rows without one."""
    profiler = NumericProfiler()
    profiler.add(values, nulls=nulls)
    return profiler.profile()


class NumericProfiler:
    """Profiles a column that comes in batches: as if they were one."""

    def __init__(self) -> None:
        self._tally = tally()
        self._known = {"rows": 0, "nulls": 0}
        self._integer = True
        self._beyond: list[NumericProfile] = []

    def add(self, values: np.ndarray[Any, Any], *, nulls: int = 0) -> None:
        """Add the values `(n_rows - nulls,)` of a batch that has `nulls` rows without one."""
        floats = values.astype(np.float64, copy=False)
        if _fit_floats(values):
            self._tally.add(floats)
            self._known["rows"] += len(values) + nulls
            self._known["nulls"] += nulls
            self._integer &= values.dtype.kind in "iu"
            return
        alone = tally()
        alone.add(floats)
        total, squares = moments(values)
        rounded = _profiled(alone.counted(), rows=len(values) + nulls, nulls=nulls, integer=True)
        bounds = {"minimum": values.min().item(), "maximum": values.max().item()}
        self._beyond.append(replace(rounded, total=total, squares=squares, **bounds))

    def profile(self) -> NumericProfile:
        """Return the profile of all batches."""
        return reduce(merge, self._beyond, _profiled(self._tally.counted(), **self._known, integer=self._integer))


def _fit_floats(values: np.ndarray[Any, Any]) -> bool:
    """Whether values are floats, or whole numbers that all have a float64 of their own."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < np.dtype(np.int64).itemsize or not len(values):
        return True
    return int(values.min()) >= -EXACT_INTEGER and int(values.max()) <= EXACT_INTEGER


def _profiled(found: Counted, *, rows: int, nulls: int, integer: bool) -> NumericProfile:
    known: dict[str, Any] = {name: getattr(found, name) for name in ("nans", *_INFINITIES)}
    known |= {"rows": rows, "nulls": nulls, "integer": integer}
    if found.minimum > found.maximum:
        return NumericProfile(**known)
    by_key, exact = dict(found.by_key), int if integer else float
    return _collapsed(
        NumericProfile(
            **known,
            zeros=found.zeros,
            minimum=exact(found.minimum),
            maximum=exact(found.maximum),
            total=Exact.of(*found.total),
            squares=Exact.of(*found.squares),
            small_positive=by_key.pop(0, 0),
            small_negative=by_key.pop(-kernel.SIGN_KEY, 0),
            bins={key if key > 0 else -(key + kernel.SIGN_KEY): count for key, count in by_key.items()},
        )
    )


def _collapsed(profile: NumericProfile) -> NumericProfile:
    """Keep the `MOST_BINS` bins of the greatest magnitudes.

    The floor only rises with more values, and never above that of all of them: so the order of merging does not show.
    """
    floor = profile.floor
    if len(profile.bins) > MOST_BINS:
        floor = max(floor, sorted(map(abs, profile.bins), reverse=True)[MOST_BINS] + 1)
    low = [(key, count) for key, count in profile.bins.items() if abs(key) < floor]
    return replace(
        profile,
        floor=floor,
        small_negative=profile.small_negative + sum(count for key, count in low if key < 0),
        small_positive=profile.small_positive + sum(count for key, count in low if key > 0),
        bins={key: count for key, count in sorted(profile.bins.items()) if abs(key) >= floor},
    )


def merge(first: NumericProfile, second: NumericProfile) -> NumericProfile:
    """Merge the profiles of two disjoint sets of rows of one column, in any order.

    Raises:
        ValueError: When one is a probability and the other is not.
    """
    if len(first.unit) != len(second.unit):
        raise ValueError("the profiles of a probability and of another number can not be merged")
    integer = first.integer and second.integer
    bounds = [x for x in (first.minimum, second.minimum, first.maximum, second.maximum) if x is not None]
    exact = bounds if integer else [float(bound) for bound in bounds]
    bins = dict(first.bins)
    for key, count in second.bins.items():
        bins[key] = bins.get(key, 0) + count
    merged = NumericProfile(
        **{name: getattr(first, name) + getattr(second, name) for name in _COUNTS},
        integer=integer,
        minimum=min(exact, default=None),
        maximum=max(exact, default=None),
        total=first.total + second.total,
        squares=first.squares + second.squares,
        floor=max(first.floor, second.floor),
        bins=dict(sorted(bins.items())),
        unit=tuple(map(add, first.unit, second.unit)),
    )
    # Below a floor that both had there is no bin: without too many of them there is nothing to collapse.
    return merged if first.floor == second.floor and len(bins) <= MOST_BINS else _collapsed(merged)


def _unit_counts(scores: Floats) -> list[int]:
    """Count by bins whose edges are the floats i / 100; what lies outside counts in the first and the last."""
    places = np.clip((scores * UNIT_BINS).astype(np.int64), 0, UNIT_BINS - 1)
    places += (scores >= _UNIT_EDGES[places + 1]) & (places < UNIT_BINS - 1)  # the product may round across an edge
    places -= (scores < _UNIT_EDGES[places]) & (places > 0)
    counts: list[int] = np.bincount(places, minlength=UNIT_BINS).tolist()
    return counts


def _runs(bins: Mapping[int, int]) -> list[list[int]]:
    """Write bins as lists of a first key and the counts from there on; a gap of more than three starts a new one."""
    runs: list[list[int]] = []
    last = -kernel.SIGN_KEY * 2
    for key, count in sorted(bins.items()):
        gap = key - last - 1
        if gap > _LONGEST_GAP:
            runs.append([key])
            gap = 0
        runs[-1] += [0] * gap + [count]
        last = key
    return runs
