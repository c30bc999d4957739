"""Profiles are exact, and the same bytes for every split and every order."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiled import profile_column, profile_table

from batchscore.plan import canonical_json
from batchscore.profile import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    from_dict,
    histogram,
    merge,
    merge_all,
    profile_scores,
    quantiles,
)
from batchscore.profile.numeric import MOST_BINS, edge
from batchscore.profile.sums import Exact, moments, square_root
from batchscore.schema import Feature, FeatureSchema

FLOATS = st.one_of(
    st.floats(),
    st.floats(-100, 100),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, 2.0**-1022, 1.0, 1.0 + 2.0**-52]),
)
SPLITS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def canonical(profile: Profile) -> bytes:
    """Return the one text of a profile."""
    return canonical_json(profile.to_dict())


def parts_of(values: Sequence[object], shares: list[int], seed: int) -> list[list[object]]:
    """Shuffle values and deal them out."""
    order = np.random.default_rng(seed).permutation(len(values))
    groups: list[list[object]] = [[] for _ in shares]
    for place, index in enumerate(order.tolist()):
        groups[(place + shares[place % len(shares)]) % len(groups)].append(values[index])
    return groups


@settings(deadline=None)
@given(st.lists(FLOATS.filter(math.isfinite), max_size=60))
def test_sums_of_floats_are_exact(values: list[float]) -> None:
    """The sum and the sum of squares equal those of fractions, for any finite floats."""
    total, squares = moments(np.array(values, dtype=np.float64))

    assert total.fraction == sum(map(Fraction, values))
    assert squares.fraction == sum(Fraction(value) ** 2 for value in values)


@pytest.mark.parametrize(("dtype", "low", "high"), [("int64", -(2**63), 2**63 - 1), ("uint64", 0, 2**64 - 1)])
@settings(deadline=None)
@given(data=st.data())
def test_sums_of_integers_are_exact(data: st.DataObject, dtype: str, low: int, high: int) -> None:
    """Whole numbers beyond 2**53 keep their last digit."""
    values = data.draw(st.lists(st.one_of(st.integers(low, high), st.sampled_from([low, high])), max_size=40))
    total, squares = moments(np.array(values, dtype=dtype))

    assert total.fraction == sum(values)
    assert squares.fraction == sum(value * value for value in values)


def test_sums_are_exact_where_numpy_is_not() -> None:
    """A long column whose plain sum is wrong has the exact one, over several chunks of different ranges."""
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.lognormal(0, 30, 40_000), -rng.lognormal(0, 30, 1_000), np.zeros(99)])
    total, squares = moments(values)

    assert total.fraction == sum(map(Fraction, values.tolist()))
    assert squares.fraction == sum(Fraction(value) ** 2 for value in values.tolist())
    assert Fraction(float(values.sum())) != total.fraction


@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 50_000])
def test_sums_of_full_chunks_are_exact(size: int) -> None:
    """Where every limb of every value of a chunk is full, no sum of products leaves the whole numbers of a float."""
    values = np.random.default_rng(size).uniform(1 - 2.0**-12, 1, size)
    total, squares = moments(values)
    wholes = [int(value * 2.0**60) for value in values.tolist()]

    assert total.fraction == Fraction(sum(wholes), 2**60)
    assert squares.fraction == Fraction(sum(whole * whole for whole in wholes), 2**120)


@settings(deadline=None)
@given(st.lists(FLOATS, max_size=40), SPLITS, st.integers(0, 9))
def test_any_split_merges_to_the_same_bytes(values: list[float], shares: list[int], seed: int) -> None:
    """Profiles of parts, merged in any order, are the profile of the whole."""
    whole = profile_column(pa.array(values, pa.float64()))
    parts = [profile_column(pa.array(part, pa.float64())) for part in parts_of(values, shares, seed)]

    assert canonical(reduce(merge, parts)) == canonical(whole)
    assert canonical(reduce(lambda a, b: merge(b, a), parts)) == canonical(whole)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint64", "int8"])
@pytest.mark.parametrize("seed", range(4))
def test_capped_bins_merge_to_the_same_bytes(dtype: str, seed: int) -> None:
    """Columns with more bins than are kept come out the same, whatever part overflows first."""
    rng = np.random.default_rng(seed)
    sizes = np.exp2(rng.uniform(-60, 62 if dtype != "int8" else 6, 9_000))
    signs = rng.choice([-1, 1], 9_000) if dtype != "uint64" else 1
    values = (sizes * signs).astype(dtype)
    cuts = sorted(rng.integers(0, 9_000, 5).tolist())
    parts = [profile_column(part) for part in np.split(values, cuts)]
    whole = profile_column(values)
    order = rng.permutation(len(parts)).tolist()

    assert isinstance(whole, NumericProfile)
    assert len(whole.bins) <= MOST_BINS
    assert canonical(reduce(merge, parts)) == canonical(whole)
    assert canonical(reduce(merge, [parts[place] for place in order])) == canonical(whole)
    assert sum(count for _, _, count in whole.cells()) == whole.finite


@settings(deadline=None)
@given(st.lists(FLOATS.filter(math.isfinite), min_size=1, max_size=50))
def test_every_value_lies_in_its_cell(values: list[float]) -> None:
    """Cells are ascending, cover every value, and count as plain counting does."""
    profile = profile_column(np.array(values, dtype=np.float64))

    assert isinstance(profile, NumericProfile)
    cells = profile.cells()
    assert all(high <= low for (_, high, _), (low, _, _) in pairwise(cells))
    for low, high, count in cells:
        assert count == sum(_is_inside(value, low, high) for value in values)


def _is_inside(value: float, low: float, high: float) -> bool:
    """Whether a cell holds a value: zero has its own, and the edge nearer to zero belongs to the cell."""
    if low == high or value == 0:
        return value == low == high
    return low <= value < high if low >= 0 else low < value <= high


def test_bins_are_narrow() -> None:
    """A bin is at most 1/32 of its lower edge wide, over all normal floats."""
    keys = np.arange(32, 2047 * 32 - 1)
    lows = (keys << 47).view(np.float64)
    highs = ((keys + 1) << 47).view(np.float64)

    assert float(((highs - lows) / lows).max()) <= 1 / 32
    assert edge(1023 * 32) == 1.0


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 150).map("v{}".format)), max_size=300), SPLITS, st.integers(0, 9))
def test_categories_merge_to_the_same_bytes(values: list[str | None], shares: list[int], seed: int) -> None:
    """Counts of kept categories are complete, whatever the split, also when most are dropped."""
    whole = profile_column(pa.array(values, pa.string()))
    parts = [profile_column(pa.array(part, pa.string())) for part in parts_of(values, shares, seed)]
    plain = Counter(value for value in values if value is not None)

    assert isinstance(whole, CategoricalProfile)
    assert canonical(reduce(merge, parts)) == canonical(whole)
    assert {text: plain[text] for text in whole.counts} == whole.counts
    assert sum(whole.counts.values()) + whole.other + whole.nulls == whole.rows == len(values)
    assert (whole.other > 0) == (len(plain) > 64)


def test_text_of_any_layout_is_profiled_alike() -> None:
    """Dictionary, view, large and chunked text give the same bytes."""
    values = ["a", "b", None, "a", "é" * 30, ""]
    plain = pa.array(values, pa.string())
    layouts = [
        plain.cast(pa.large_string()),
        plain.cast(pa.string_view()),
        plain.dictionary_encode(),
        plain.cast(pa.large_string()).dictionary_encode(),
        pa.chunked_array([plain.dictionary_encode()]),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 3, 2, 4], pa.uint8()), ["b", "a", "é" * 30, "a", ""]),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 3, 1, 2, 4], pa.int64()), ["b", "a", "é" * 30, None, ""]),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0, 2, 4]), ["a", "b", "é" * 30, "unused", ""]),
        pa.concat_arrays([pa.array(["x"]), plain]).dictionary_encode()[1:],
        pa.chunked_array([plain[:2], plain[2:]]),
        pa.chunked_array([plain[:2].dictionary_encode(), plain[2:].dictionary_encode()]),
        pa.concat_arrays([pa.array(["x"]), plain])[1:],
    ]

    assert {canonical(profile_column(layout)) for layout in layouts} == {canonical(profile_column(plain))}


def test_long_texts_are_cut_and_still_merge() -> None:
    """A long text is named by its start and a hash; a text that looks like such a name is told by the same rule."""
    long = [f"{'x' * 100}{number}" for number in range(200)]
    whole = profile_column(pa.array(long))
    again = profile_column(pa.array([*whole.to_dict()["counts"]]))
    parts = [profile_column(pa.array(long[start::7])) for start in range(7)]

    assert {len(text) for text in whole.to_dict()["counts"]} == {57}
    assert whole.to_dict()["counts"].keys() == again.to_dict()["counts"].keys()
    assert canonical(reduce(merge, parts)) == canonical(whole)


def test_declared_categories_are_always_kept() -> None:
    """However many categories come, those of the schema keep their counts."""
    declared = (*(f"known-{number}" for number in range(100)), "y" * 80)
    schema = FeatureSchema(name="s", version="1", features=(Feature(name="c", dtype="string", categories=declared),))
    values = [*declared, *(f"new-{number}" for number in range(500)), *declared]
    whole = profile_table(pa.table({"c": values}), schema)["c"]
    halves = [profile_table(pa.table({"c": half}), schema) for half in (values[:300], values[300:])]

    assert isinstance(whole, CategoricalProfile)
    assert [whole.counts[name] for name in whole.declared] == [2] * 101
    assert len(whole.counts) == 101 + 64
    assert merge_all(halves)["c"] == whole


def test_columns_are_profiled_by_their_dtype() -> None:
    """Booleans, dates, timestamps and declared whole numbers are categories; other numbers are numbers."""
    schema = FeatureSchema(
        name="s",
        version="1",
        features=(
            Feature(name="flag", dtype="bool", nullable=True),
            Feature(name="day", dtype="date32"),
            Feature(name="at", dtype="timestamp[us]"),
            Feature(name="code", dtype="int32", categories=(1, 2)),
            Feature(name="size", dtype="float32", nullable=True),
        ),
    )
    table = pa.table(
        {
            "size": pa.array([1.5, None, float("nan")], pa.float32()),
            "flag": pa.array([True, None, False]),
            "day": pa.array([-1, 0, 0], pa.int32()).cast(pa.date32()),
            "at": pa.array([-1, 0, 86_400_000_000], pa.timestamp("us")),
            "code": pa.array([1, 2, 2], pa.int32()),
        }
    )
    profiles = profile_table(table, schema)

    assert list(profiles) == ["flag", "day", "at", "code", "size"]
    assert [profiles[name].to_dict().get("counts") for name in ("flag", "day", "at", "code")] == [
        {"false": 1, "true": 1},
        {"1969-12-31": 1, "1970-01-01": 2},
        {"1969-12-31": 1, "1970-01-01": 1, "1970-01-02": 1},
        {"1": 1, "2": 2},
    ]
    assert (profiles["size"].rows, profiles["size"].nulls, profiles["size"].missing) == (3, 1, 2)


def test_golden_profile() -> None:
    """The form of a numeric profile is fixed."""
    values = pa.array([1.0, 1.5, -2.0, 0.0, -0.0, None, float("nan"), float("inf"), float("-inf"), 5e-324])

    assert profile_column(values).to_dict() == {
        "kind": "numeric",
        "rows": 10,
        "nulls": 1,
        "nans": 1,
        "negative_infinities": 1,
        "positive_infinities": 1,
        "zeros": 2,
        "small_negative": 0,
        "small_positive": 1,
        "integer": False,
        "minimum": -2.0,
        "maximum": 1.5,
        "floor": 1,
        "total": f"{2**1073 + 1}p-1074",
        "squares": f"{29 * 2**2146 + 1}p-2148",
        "bins": [[-32768, 1], [32736, 1], [32752, 1]],
        "unit": [],
    }


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.sampled_from([0.01, 0.25, 0.5, 0.95, 1.0]))
def test_quantiles_are_within_a_bin(values: list[float], share: float) -> None:
    """A quantile is within 3.2 % of a value of that rank, and within the bounds."""
    profile = profile_column(np.array(values))
    exact = sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]

    assert isinstance(profile, NumericProfile)
    assert profile.quantile(share) == pytest.approx(exact, rel=0.032, abs=1e-300)


def test_mean_and_deviation_survive_cancellation() -> None:
    """A tiny spread on a huge mean is not lost, as it is with rounded squares."""
    values = 1e9 + np.array([0.0, 1.0, 2.0, 3.0] * 1000)
    profile = profile_column(values)

    assert isinstance(profile, NumericProfile)
    assert profile.mean == 1e9 + 1.5
    assert profile.std == math.sqrt(1.25)


@settings(deadline=None)
@given(st.fractions(min_value=0))
def test_square_root_is_right(value: Fraction) -> None:
    """The integer square root agrees with an exact bound."""
    root = Fraction(square_root(value))

    assert abs(root * root - value) <= value * Fraction(1, 2**51)


def test_scores_of_a_probability_have_fixed_bins() -> None:
    """Edges belong to the bin above, also where the product with 100 rounds; one belongs to the last bin."""
    scores = np.array([0.0, 0.29, np.nextafter(0.29, 0), 0.57, 0.58, 0.7, 1.0, float("nan")])
    profile = profile_scores(scores, probability=True)
    filled = {place: count for place, count in enumerate(profile.unit) if count}

    assert filled == {0: 1, 28: 1, 29: 1, 57: 1, 58: 1, 70: 1, 99: 1}
    assert profile.nans == 1
    assert histogram(profile)["counts"] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1]
    assert histogram(profile)["edges"][14] == 0.7
    assert quantiles(profile)["p99"] == pytest.approx(1.0, rel=0.032)


def test_every_edge_falls_into_its_own_bin() -> None:
    """All hundred edges, and the floats just below them, are counted where the edges say."""
    edges = np.arange(1, 100) / 100
    above = profile_scores(edges, probability=True).unit
    below = profile_scores(np.nextafter(edges, 0), probability=True).unit

    assert above == (0, *[1] * 99)
    assert below == (*[1] * 99, 0)


def test_scores_of_a_value_have_no_fixed_bins() -> None:
    """A regressor's scores are binned by magnitude only."""
    assert profile_scores(np.array([-5.0, 1e9]), probability=False).unit == ()


def test_empty_columns_have_profiles() -> None:
    """No rows, and only nulls, are profiles like others, and neutral in a merge."""
    empty, nulls = profile_column(pa.array([], pa.float64())), profile_column(pa.array([None, None], pa.float64()))
    some = profile_column(pa.array([1.0, None]))

    assert merge(empty, some) == merge(some, empty) == some
    assert isinstance(nulls, NumericProfile)
    assert (nulls.rows, nulls.nulls, nulls.mean, nulls.std, nulls.quantile(0.5)) == (2, 2, None, None, None)
    assert profile_column(pa.array([], pa.string())) == CategoricalProfile()


@settings(deadline=None)
@given(st.lists(FLOATS, max_size=30))
def test_profiles_survive_json(values: list[float]) -> None:
    """A profile read back from JSON is the same profile."""
    profile = profile_column(pa.array(values, pa.float64()))

    assert from_dict(json.loads(canonical(profile))) == profile


def test_chunks_and_slices_are_profiled_alike() -> None:
    """Offsets, empty chunks and nulls of any layout make no difference."""
    for dtype in (pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()):
        plain = pa.array([1, 2, None, 3], pa.int8()).cast(pa.int16()).cast(pa.float64()).cast(dtype)
        sliced = pa.concat_arrays([pa.array([7, None], pa.float64()).cast(dtype), plain])[2:]
        layouts = [sliced, pa.chunked_array([plain[:1], plain[1:1], plain[1:]]), pa.chunked_array([plain])]

        assert {canonical(profile_column(layout)) for layout in layouts} == {canonical(profile_column(plain))}
        assert profile_column(pa.chunked_array([], dtype)).rows == 0


def test_profiling_does_not_import_pandas() -> None:
    """A run that needs no pandas does not wait for it: pyarrow would import it at its first conversion."""
    code = """
import sys
import numpy as np
import pyarrow as pa
from batchscore.profile import TableProfiler, from_dict, merge_all, profile_scores
from batchscore.profile.buffers import texts
from batchscore.schema import Feature, FeatureSchema

size = pa.Array.from_buffers(pa.float64(), 300, [None, pa.py_buffer(np.arange(300.0))])
columns = [size, size.cast(pa.int64()).cast(pa.timestamp("us")), texts(f"{i}" * 60 for i in range(300))]
columns += [size.cast(pa.bool_()), columns[2].dictionary_encode(), columns[2].cast(pa.string_view())]
names = ["size", "at", "kind", "flag", "coded", "view"]
dtypes = ["float64", "timestamp[us]", "string", "bool", "string", "string"]
features = tuple(Feature(name=name, dtype=dtype) for name, dtype in zip(names, dtypes))
schema = FeatureSchema(name="s", version="1", features=features)
profiler = TableProfiler(schema)
profiler.add(pa.Table.from_arrays(columns, names))
profiles = profiler.profiles()
merged = merge_all([profiles, profiles])
assert {name: from_dict(p.to_dict()) for name, p in merged.items()} == merged
profile_scores(np.array([0.5]), probability=True)
assert "pandas" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_profiles_of_different_kinds_do_not_merge() -> None:
    """Mixing kinds is an error that names the column."""
    number, text = profile_column(np.array([1.0])), profile_column(pa.array(["a"]))

    with pytest.raises(ValueError, match=r"column 'x': a numeric and a categorical"):
        merge_all([{"x": number}, {"x": text}])
    with pytest.raises(ValueError, match="different columns"):
        merge_all([{"x": number}, {"y": number}])
    with pytest.raises(ValueError, match="probability"):
        merge(number, profile_scores(np.array([0.5]), probability=True))


def test_twenty_features_stay_small() -> None:
    """Twenty continuous features of 50,000 rows take at most 50 kB, and twenty of few values less than 20."""
    rng = np.random.default_rng(3)
    worst = [profile_column(rng.normal(size=50_000)) for _ in range(20)]
    typical = [profile_column(rng.integers(0, 60, 50_000)) for _ in range(20)]

    assert len(canonical_json([profile.to_dict() for profile in worst])) < 50_000
    assert len(canonical_json([profile.to_dict() for profile in typical])) < 20_000


def test_exact_numbers_have_one_form() -> None:
    """Equal numbers are equal objects and texts."""
    assert Exact.of(12, 0) == Exact.of(3, 2) == Exact.parse("3p2")
    assert str(Exact.of(-3, -2)) == "-3p-2"
    assert Exact.of(1, 5) + Exact.of(-32, 0) == Exact()
