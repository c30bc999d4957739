"""The compiled pass over a column of numbers finds what numpy finds, and the sums are those of fractions."""

from __future__ import annotations

import math
import shutil
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore import kernel
from batchscore.kernel import library as shared
from batchscore.kernel import moments
from batchscore.profile import numeric
from hatch_build import build_kernel

BITS = st.integers(0, 2**64 - 1).map(lambda bits: float(np.array([bits], dtype=np.uint64).view(np.float64)[0]))
NUMBERS = st.lists(st.one_of(BITS, st.floats(), st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0])), max_size=80)


pytestmark = pytest.mark.usefixtures("needs_kernel")


def both(values: np.ndarray) -> tuple[numeric.NumericProfile, numeric.NumericProfile]:
    """Profile values with the compiled library and without it."""
    with kernel.without():
        plain = numeric.profile(values)
    return numeric.profile(values), plain


@given(NUMBERS)
def test_the_compiled_profile_is_numpys(numbers: list[float]) -> None:
    """Counts, bins, bounds and sums are the same for floats of any bits, and the sums are exact."""
    compiled, plain = both(np.array(numbers))
    finite = [Fraction(number) for number in numbers if math.isfinite(number)]

    assert compiled == plain
    assert repr(compiled) == repr(plain)
    assert (compiled.total.fraction, compiled.squares.fraction) == (sum(finite), sum(x * x for x in finite))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_whole_numbers_are_counted_alike(numbers: list[int]) -> None:
    """Whole numbers beyond those that a float64 has are added up exactly too."""
    compiled, plain = both(np.array(numbers, dtype=np.int64))

    assert compiled == plain
    assert compiled.total.fraction == sum(numbers)


@pytest.fixture
def many() -> np.ndarray:
    """Return a quarter of a million values of any bits, and as many of ordinary size."""
    chance = np.random.default_rng(5)
    bits = chance.integers(0, 2**64, 250_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([bits, chance.normal(size=250_000)])


def test_many_values_are_counted_alike(many: np.ndarray) -> None:
    """Half a million values, and every other one of them."""
    for values in (many, many[::2]):
        compiled, plain = both(values)
        assert compiled == plain


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_batches_count_as_one(batches: list[list[float]]) -> None:
    """A column that comes in batches has the profile of all its values, compiled and in numpy."""
    whole, _ = both(np.array([number for batch in batches for number in batch]))

    for way in (kernel.without, nullcontext):
        with way():
            profiler = numeric.NumericProfiler()
            for batch in batches:
                profiler.add(np.array(batch, dtype=np.float64))
            assert repr(profiler.profile()) == repr(whole)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), max_size=9), min_size=1, max_size=5))
def test_batches_of_whole_numbers_count_as_one(batches: list[list[int]]) -> None:
    """Batches of whole numbers, some of them beyond those that a float64 has, have the profile of all of them."""
    profiler = numeric.NumericProfiler()
    for batch in batches:
        profiler.add(np.array(batch, dtype=np.int64), nulls=1)

    whole = np.array([number for batch in batches for number in batch], dtype=np.int64)
    assert repr(profiler.profile()) == repr(numeric.profile(whole, nulls=len(batches)))


def test_more_values_than_the_sums_have_room_for(many: np.ndarray) -> None:
    """Two and a half million values have the profile that their batches have in numpy, in one call and in several."""
    with kernel.without():
        part = numeric.profile(many)
    wanted = part
    for _ in range(4):
        wanted = numeric.merge(wanted, part)
    profiler = numeric.NumericProfiler()
    for _ in range(5):
        profiler.add(many)

    assert profiler.profile() == wanted
    assert numeric.profile(np.tile(many, 5)) == wanted


def test_the_most_values_of_the_largest_squares_have_room() -> None:
    """The greatest mantissa, as often as is allowed at once, does not overflow the sum of squares."""
    largest = math.nextafter(2.0, 0.0)
    tally = kernel.compiled_tally()
    assert tally is not None
    tally.add(np.full(moments.MOST_COUNTED, largest))

    mantissa, exponent = tally.counted().squares
    assert Fraction(mantissa) * Fraction(2) ** exponent == moments.MOST_COUNTED * Fraction(largest) ** 2


def test_without_numbers_of_128_bits_it_is_the_same(
    tmp_path, many: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that has no such numbers makes the same sums."""
    for name in shared.SOURCES:
        shutil.copy(shared.FOLDER / name, tmp_path)
    monkeypatch.setenv("CC", "cc -U__SIZEOF_INT128__")
    assert build_kernel(tmp_path) == ""
    expected = numeric.profile(many)
    monkeypatch.setattr(moments, "library", lambda: shared.opened(tmp_path)[0])

    assert numeric.profile(many) == expected
