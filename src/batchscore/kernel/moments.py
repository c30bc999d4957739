"""A column's counts, bins and exact sums in one pass."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from batchscore.kernel.library import Profile, library

MOST_COUNTED = 1 << 21
"""The most values that are counted at once: PROFILE_MOST of moments.h."""
MANTISSA_BITS = 5
"""The first bits of a mantissa that tell bins apart: SUB_BITS of moments.h."""

SHIFT = 52 - MANTISSA_BITS
"""The bits of a float behind its key."""
SIGN_KEY = 1 << (63 - SHIFT)
"""The sign's bit in a key."""

_SHELVES, _HEAD = 4096, 5
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


def counted(values: np.ndarray) -> Counted | None:
    """Count float64 values `(n_values,)`, at most `MOST_COUNTED`; None where there is no compiled library."""
    compiled = library()
    if compiled is None:
        return None
    given = np.ascontiguousarray(values)
    found, shelves = Profile(), np.empty((min(_SHELVES, len(given)), _WIDTH), dtype=np.uint64)
    if compiled.batchscore_profile(given.ctypes.data, len(given), ctypes.byref(found), shelves.ctypes.data):
        raise ValueError(f"{len(given)} values are more than {MOST_COUNTED}")
    used = shelves[: found.shelves]
    total, squares = _sums(used)
    return Counted(
        **{name: getattr(found, name) for name in ("nans", "negative_infinities", "positive_infinities", "zeros")},
        minimum=found.minimum,
        maximum=found.maximum,
        by_key=_by_key(used),
        total=total,
        squares=squares,
    )


def _by_key(shelves: np.ndarray) -> dict[int, int]:
    counts = shelves[:, _HEAD:]
    rows, columns = np.nonzero(counts)
    keys = (shelves[rows, 0].astype(np.int64) << MANTISSA_BITS) + columns
    signed = np.where(keys < SIGN_KEY, keys, keys - 2 * SIGN_KEY)
    return dict(zip(signed.tolist(), counts[rows, columns].tolist(), strict=True))


def _sums(shelves: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Add up what lies on the shelves, each at the place of its exponent."""
    found = shelves[:, :_HEAD].tolist()
    lowest = min((max(key & 0x7FF, 1) for key, *_ in found), default=0)
    total = squares = 0
    for key, low, high, square_low, square_high in found:
        shift = max(key & 0x7FF, 1) - lowest
        sum_ = (high << 64 | low) << shift
        total += -sum_ if key >> 11 else sum_
        squares += (square_high << 64 | square_low) << 2 * shift
    unit = lowest - 1075
    return (total, unit), (squares, 2 * unit)
