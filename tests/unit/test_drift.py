"""Drift is computed from profiles alone, and agrees with the textbook on raw data."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiled import profile_column, profile_table

from batchscore.drift import Drift, drift, drift_all
from batchscore.errors import ConfigError
from batchscore.profile import Profile, merge
from batchscore.schema import Feature, FeatureSchema


def text(**counts: int) -> Profile:
    """Return the profile of a column of text with these counts."""
    return profile_column(pa.array([name for name, count in counts.items() for _ in range(count)], pa.string()))


def test_golden_drift_of_categories() -> None:
    """The index and the divergence are those computed by hand."""
    found = drift(text(a=50, b=50), text(a=25, b=75))
    psi = -0.25 * math.log(0.25 / 0.5) + 0.25 * math.log(0.75 / 0.5)
    js = 0.5 * (0.5 * math.log2(0.5 / 0.375) + 0.5 * math.log2(0.5 / 0.625))
    js += 0.5 * (0.25 * math.log2(0.25 / 0.375) + 0.75 * math.log2(0.75 / 0.625))

    assert found == Drift(psi=round(psi, 6), js=round(js, 6), ks=None)


def test_new_and_gone_categories_are_named() -> None:
    """A category that the reference never saw has a name in the record."""
    found = drift(text(a=50, b=50), text(a=50, c=40, d=10))

    assert found.record() == {
        "psi": found.psi,
        "js": 0.5,
        "ks": None,
        "new_categories": ["c", "d"],
        "gone_categories": ["b"],
    }
    assert found.psi > 1


def test_the_same_distribution_does_not_drift() -> None:
    """Ten times the same rows are no drift at all."""
    values = np.random.default_rng(0).normal(size=5_000)
    once = profile_column(values)

    assert drift(once, profile_column(np.tile(values, 10))) == Drift(psi=0.0, js=0.0, ks=0.0)


def test_two_samples_of_one_distribution_hardly_drift() -> None:
    """Noise stays far below any threshold, and a shift of half a deviation is far above."""
    rng = np.random.default_rng(1)
    reference = profile_column(rng.normal(size=20_000))

    quiet = drift(reference, profile_column(rng.normal(size=20_000)))
    shifted = drift(reference, profile_column(rng.normal(loc=0.5, size=20_000)))

    assert quiet.psi < 0.003
    assert shifted.psi == pytest.approx(0.25, abs=0.03)
    assert quiet.ks is not None
    assert quiet.ks < 0.02
    assert shifted.ks == pytest.approx(0.1974, abs=0.015)


def test_index_agrees_with_raw_deciles() -> None:
    """The index from bins is near that from the raw values, cut at the exact deciles."""
    rng = np.random.default_rng(2)
    old, new = rng.lognormal(0, 1, 50_000), rng.lognormal(0.3, 1.2, 50_000)
    edges = np.quantile(old, np.arange(1, 10) / 10)
    shares = [np.bincount(np.searchsorted(edges, values), minlength=10) / 50_000 for values in (old, new)]
    raw = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())

    assert drift(profile_column(old), profile_column(new)).psi == pytest.approx(raw, rel=0.05)


def test_distance_agrees_with_scipy() -> None:
    """The Kolmogorov-Smirnov distance of whole numbers below 64 is exact."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    old, new = rng.poisson(9, 3_000), rng.poisson(11, 2_000)

    assert drift(profile_column(old), profile_column(new)).ks == round(float(stats.ks_2samp(old, new).statistic), 6)


def test_nulls_are_a_bin_of_their_own() -> None:
    """A feed that stops sending a tenth of the values is drift, though the values that come are the same."""
    values = np.random.default_rng(4).random(1_000).tolist()
    reference = profile_column(pa.array(values))
    holes = profile_column(pa.array([None if place % 10 == 0 else value for place, value in enumerate(values)]))
    nans = profile_column(pa.array([math.nan if place % 10 == 0 else value for place, value in enumerate(values)]))

    assert drift(reference, holes).psi > 0.5
    assert drift(reference, holes) == drift(reference, nans)


def test_values_beyond_the_reference_count() -> None:
    """Infinities and values beyond the reference's range are drift."""
    reference = profile_column(np.array([1.0, 2.0] * 50))

    assert drift(reference, profile_column(np.array([1.0, 2.0] * 40 + [math.inf] * 20))).psi > 0.5
    assert drift(reference, profile_column(np.array([1.0, 2.0] * 40 + [99.0] * 20))).psi > 0.5


def test_profiles_with_different_floors_are_comparable() -> None:
    """A column of too many magnitudes is compared with a narrow one at the coarser floor."""
    rng = np.random.default_rng(5)
    narrow, wide = rng.normal(size=5_000), np.exp2(rng.uniform(-60, 60, 5_000))
    both = merge(profile_column(narrow), profile_column(wide))

    assert drift(both, both) == Drift(psi=0.0, js=0.0, ks=0.0)
    assert drift(profile_column(narrow), both).psi > 0.1


@settings(deadline=None)
@given(st.lists(st.floats(), max_size=40), st.lists(st.floats(), max_size=40))
def test_drift_is_bounded(old: list[float], new: list[float]) -> None:
    """For any two columns the numbers are finite and in range, and the divergence is symmetric."""
    first, second = profile_column(pa.array(old, pa.float64())), profile_column(pa.array(new, pa.float64()))
    found, back = drift(first, second), drift(second, first)

    assert 0 <= found.psi < 20
    assert 0 <= found.js <= 1
    assert found.ks is None or 0 <= found.ks <= 1
    assert found.ks == back.ks
    assert drift(first, first).psi == drift(first, first).js == 0


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9)),
    st.dictionaries(st.sampled_from("cdef"), st.integers(0, 9)),
)
def test_drift_of_categories_is_bounded(old: dict[str, int], new: dict[str, int]) -> None:
    """For any counts the numbers are in range, and empty columns have not moved."""
    found = drift(text(**old), text(**new))

    assert 0 <= found.psi < 20
    assert found.js == drift(text(**new), text(**old)).js <= 1
    assert sum(old.values()) * sum(new.values()) > 0 or found == Drift(psi=0.0, js=0.0, ks=None)


def test_dropped_categories_are_not_taken_for_new_ones() -> None:
    """Ids, of which only a sample is kept, are compared without naming what may only have been dropped."""
    old = profile_column(pa.array([f"id-{number}" for number in range(5_000)]))
    new = profile_column(pa.array([f"id-{number}" for number in range(2_500, 7_500)]))
    found = drift(old, new)

    assert (found.new_categories, found.gone_categories) == ((), ())
    assert found.psi < 0.1


def test_declared_categories_are_compared_beside_dropped_ones() -> None:
    """Where the schema names categories, their shares are compared however many others came."""
    schema = FeatureSchema(name="s", version="1", features=(Feature(name="c", dtype="string", categories=("a", "b")),))
    others = [f"id-{number}" for number in range(200)]
    old = profile_table(pa.table({"c": ["a"] * 500 + ["b"] * 500 + others}), schema)
    new = profile_table(pa.table({"c": ["a"] * 900 + ["b"] * 100 + others}), schema)

    assert drift_all(old, new)["c"].psi > 0.5
    assert drift_all(old, old)["c"].psi == 0


def test_columns_of_another_kind_are_refused() -> None:
    """A reference of another schema is named as what it is."""
    with pytest.raises(ConfigError, match=r"drift of 'x' can not be computed: .* numeric on one side") as caught:
        drift_all({"x": text(a=1)}, {"x": profile_column(np.array([1.0]))})

    assert caught.value.id == "E-CONFIG-REFERENCE-KIND"
    assert drift_all({}, {"x": text(a=1)}) == {}
