"""A column's counts, bins and exact sums in one pass, batch by batch."""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from batchscore.kernel.library import KEYS, Profile, library

MOST_COUNTED = 1 << 21
"""The most values whose squares are added up in one place: PROFILE_MOST of moments.h."""
MANTISSA_BITS = 5
"""The first bits of a mantissa that tell bins apart: SUB_BITS of moments.h."""

SHIFT = 52 - MANTISSA_BITS
"""The bits of a float behind its key."""
SIGN_KEY = 1 << (63 - SHIFT)
"""The sign's bit in a key."""

_COUNTS = ("nans", "negative_infinities", "positive_infinities", "zeros")
_HEAD = 5
_WIDTH = _HEAD + (1 << MANTISSA_BITS)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of some numbers."""

    nans: int
    """Values that are not a number."""
    negative_infinities: int
    """Values of minus infinity."""
    positive_infinities: int
    """Values of plus infinity."""
    zeros: int
    """Values of zero, of either sign."""
    minimum: float
    """The least finite value; infinity when there is none."""
    maximum: float
    """The greatest finite value; minus infinity when there is none."""
    by_key: dict[int, int]
    """The finite values but zeros by key, in no order: the first bits of the float, to the mantissa's first five, as a
    signed whole number."""
    total: tuple[int, int]
    """The exact sum, as a whole number and the exponent of 2 that it is to be multiplied with."""
    squares: tuple[int, int]
    """The exact sum of squares, in the same form."""

    def plus(self, other: Counted) -> Counted:
        """Return what is known of both."""
        return Counted(
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            by_key=Counter(self.by_key) + Counter(other.by_key),
            total=_added(self.total, other.total),
            squares=_added(self.squares, other.squares),
        )


class CompiledTally:
    """Counts float64 values that come in batches.

    Args:
        compiled: The compiled library.
    """

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._compiled = compiled
        self._found, self._shelves = _begun()
        self._before: Counted | None = None

    def add(self, values: np.ndarray) -> None:
        """Count values `(n_values,)`."""
        for start in range(0, len(values), MOST_COUNTED):
            self._add(np.ascontiguousarray(values[start : start + MOST_COUNTED]))

    def counted(self) -> Counted:
        """Return what is known of all of them."""
        used = self._shelves[: self._found.shelves]
        total, squares = _sums(used)
        found = Counted(
            **{name: getattr(self._found, name) for name in _COUNTS},
            minimum=self._found.minimum,
            maximum=self._found.maximum,
            by_key=_by_key(used, self._found.zeros),
            total=total,
            squares=squares,
        )
        return found if self._before is None else self._before.plus(found)

    def _add(self, values: np.ndarray) -> None:
        if not self._took(values):
            self._before = self.counted()
            self._found, self._shelves = _begun()
            self._took(values)

    def _took(self, values: np.ndarray) -> bool:
        """Count values, unless there would be too many in one place."""
        where = ctypes.byref(self._found), self._shelves.ctypes.data
        return not self._compiled.batchscore_profile(values.ctypes.data, len(values), *where)


def compiled_tally() -> CompiledTally | None:
    """Return a tally without a value; None where there is no compiled library."""
    compiled = library()
    return None if compiled is None else CompiledTally(compiled)


def _begun() -> tuple[Profile, np.ndarray]:
    return Profile(minimum=math.inf, maximum=-math.inf), np.empty((KEYS, _WIDTH), dtype=np.uint64)


def _added(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    lowest = min(first[1], second[1])
    return sum(mantissa << exponent - lowest for mantissa, exponent in (first, second)), lowest


def _by_key(shelves: np.ndarray, zeros: int) -> dict[int, int]:
    counts = shelves[:, _HEAD:]
    rows, columns = np.nonzero(counts)
    keys = (shelves[rows, 0].astype(np.int64) << MANTISSA_BITS) + columns
    signed = np.where(keys < SIGN_KEY, keys, keys - 2 * SIGN_KEY)
    found = dict(zip(signed.tolist(), counts[rows, columns].tolist(), strict=True))
    if zeros:
        found[0] -= zeros
    return {key: count for key, count in found.items() if count}


def _sums(shelves: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Add up what lies on the shelves, each at the place of its exponent; zeros alone are no sum."""
    found = [head for head in shelves[:, :_HEAD].tolist() if head[1] or head[2]]
    lowest = min((max(key & 0x7FF, 1) for key, *_ in found), default=0)
    total = squares = 0
    for key, low, high, square_low, square_high in found:
        shift = max(key & 0x7FF, 1) - lowest
        sum_ = (high << 64 | low) << shift
        total += -sum_ if key >> 11 else sum_
        squares += (square_high << 64 | square_low) << 2 * shift
    unit = lowest - 1075
    return (total, unit), (squares, 2 * unit)
