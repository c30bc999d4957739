"""Exact sums: the same number for every order and every split, because nothing is rounded. Pure.

A chunk of values is cut into limbs of a few bits, as in the error-free vector transformation of Rump, Ogita and Oishi
("Accurate floating-point summation", 2008). Limbs are so narrow that all sums and dot products of a chunk are whole
numbers below 2**53, so floating point adds and multiplies them exactly, in whatever order the library likes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHUNK = 1 << 14
_LIMB_BITS = 19  # 2 * 19 + 14 bits of a sum of products stay below 53
_INTEGER_LIMB_BITS = 16
_RANGE_BITS = 64
_MOST_LIMBS = -(-(_RANGE_BITS + 54) // _LIMB_BITS)
_ROUNDERS = tuple(1.5 * 2.0 ** (52 - _LIMB_BITS * (place + 1)) for place in range(_MOST_LIMBS))
EXACT_INTEGER = 1 << 53
"""Up to this size every whole number is a float64."""


@dataclass(frozen=True)
class Exact:
    """The number `mantissa` · 2**`exponent`, with an odd mantissa, or 0 · 2**0."""

    mantissa: int = 0
    """Odd, or 0."""
    exponent: int = 0
    """Binary exponent; 0 when the mantissa is."""

    @classmethod
    def of(cls, mantissa: int, exponent: int) -> Exact:
        """Return `mantissa` · 2**`exponent` in its one canonical form."""
        if not mantissa:
            return cls()
        zeros = (mantissa & -mantissa).bit_length() - 1
        return cls(mantissa >> zeros, exponent + zeros)

    @classmethod
    def parse(cls, text: str) -> Exact:
        """Read the text that `str` writes.

        Raises:
            ValueError: When the text is no such number.
        """
        mantissa, exponent = text.split("p")
        return cls.of(int(mantissa), int(exponent))

    def __str__(self) -> str:
        """Return the canonical text, such as `-3p-2` for -0.75."""
        return f"{self.mantissa}p{self.exponent}"

    def __add__(self, other: Exact) -> Exact:
        """Return the exact sum."""
        low = min(self.exponent, other.exponent)
        return Exact.of(
            (self.mantissa << (self.exponent - low)) + (other.mantissa << (other.exponent - low)),
            low,
        )

    @property
    def fraction(self) -> Fraction:
        """The number as a fraction."""
        if self.exponent >= 0:
            return Fraction(self.mantissa << self.exponent)
        return Fraction(self.mantissa, 1 << -self.exponent)


ZERO = Exact()


def moments(values: NDArray[Any]) -> tuple[Exact, Exact]:
    """Return the exact sum of finite values and of their squares.

    Args:
        values: float64, or whole numbers of any width, `(n,)`.
    """
    total, squares = Exact(), Exact()
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        if chunk.dtype.kind in "iu":
            chunk_total, chunk_squares = _of_integers(chunk)
        else:
            chunk_total, chunk_squares = _of_floats(chunk)
        total, squares = total + chunk_total, squares + chunk_squares
    return total, squares


def square_root(value: Fraction) -> float:
    """Return the square root to 60 bits, rounded; by whole numbers only, so the same on every machine.

    Raises:
        ValueError: When `value` is negative.
    """
    if not value:
        return 0.0
    wanted = 120 - value.numerator.bit_length() + value.denominator.bit_length()
    shift = wanted + wanted % 2
    scaled = (value.numerator << max(shift, 0)) // (value.denominator << max(-shift, 0))
    return math.ldexp(math.isqrt(scaled), -shift // 2)


def _of_integers(values: NDArray[Any]) -> tuple[Exact, Exact]:
    if max(abs(int(values.min())), abs(int(values.max()))) <= EXACT_INTEGER:
        return _of_floats(values.astype(np.float64))
    wide = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    mask = wide.dtype.type(0xFFFF)
    limbs = [wide >> wide.dtype.type(48)] + [(wide >> wide.dtype.type(shift)) & mask for shift in (32, 16, 0)]
    rows = np.stack(limbs).astype(np.float64)
    return _weighed(rows.sum(axis=1), rows @ rows.T, _INTEGER_LIMB_BITS, unit=0)


def _of_floats(values: Floats) -> tuple[Exact, Exact]:
    total, squares = Exact(), Exact()
    while values.size:
        size = np.abs(values)
        exponent = math.frexp(float(size.max()))[1]
        limit = math.ldexp(1.0, max(exponent - _RANGE_BITS, -1074))
        far = values[:0]
        if float(size.min()) < limit:
            is_far = (size < limit) & (size > 0)
            far, values = values[is_far], values[~is_far]
        near_total, near_squares = _of_near(values, exponent)
        total, squares = total + near_total, squares + near_squares
        values = far
    return total, squares


def _of_near(values: Floats, exponent: int) -> tuple[Exact, Exact]:
    """Sum values between 2**(exponent - 64) and 2**exponent in size, and zeros."""
    rest = _scaled(values, -exponent)
    limbs = np.empty((_MOST_LIMBS, len(values)))
    used = 0
    while used < _MOST_LIMBS:
        limb = np.add(rest, _ROUNDERS[used], out=limbs[used])
        limb -= _ROUNDERS[used]
        rest = np.subtract(rest, limb, out=rest)
        used += 1
        if not rest.any():
            break
    rows = limbs[:used]
    places = np.arange(1, used + 1) * _LIMB_BITS
    sums = np.ldexp(rows.sum(axis=1), places)
    products = np.ldexp(rows @ rows.T, places[:, None] + places)
    return _weighed(sums, products, _LIMB_BITS, unit=exponent - used * _LIMB_BITS)


def _scaled(values: Floats, exponent: int) -> Floats:
    half = exponent // 2  # in two steps, since 2.0**1073 is no float
    scaled = values * math.ldexp(1.0, half)
    scaled *= math.ldexp(1.0, exponent - half)
    return scaled


def _weighed(sums: Floats, products: Floats, bits: int, *, unit: int) -> tuple[Exact, Exact]:
    """Put limb sums `(k,)` and products `(k, k)`, whole numbers, at their places; the last limb counts 2**unit."""
    last = len(sums) - 1
    total = sum(int(value) << bits * (last - place) for place, value in enumerate(sums.tolist()))
    squares = sum(
        int(value) << bits * (2 * last - place - other)
        for place, row in enumerate(products.tolist())
        for other, value in enumerate(row)
    )
    return Exact.of(total, unit), Exact.of(squares, 2 * unit)
