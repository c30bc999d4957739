"""The matrix of a block has the same bits by the compiled library and by numpy, whatever the columns and steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore.kernel import columns, without
from batchscore.kernel.columns import Codes, Filler, Gathered, Kind, Numbers, Step, Steps
from batchscore.model.preparation import Column, Preparation, coded, whole
from batchscore.schema import Feature

pytestmark = [
    pytest.mark.usefixtures("needs_kernel"),
    # numpy tells of overflows and of what is no number; the compiled library only computes them.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, -5e-324, 2.2e-308, 1.8e308, -1.8e308, 0.1, 2.0**53, np.nan, np.inf, -np.inf]
DOUBLES = st.sampled_from(EDGES) | st.floats()
TYPES = [pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.int16(), pa.uint64(), pa.uint8(), pa.bool_()]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Draw a step with any operands."""
    kind = draw(st.sampled_from(get_args(Kind)))
    low, high = draw(DOUBLES), draw(DOUBLES)
    edges = draw(st.lists(DOUBLES.filter(lambda edge: edge == edge), max_size=9).map(sorted)) if kind == "bin" else []
    return Step(kind, low, high, tuple(edges))


def values_of(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    """Return values of a type, often at its edges."""
    if pa.types.is_floating(dtype):
        return DOUBLES.map(lambda value: float(np.float32(value))) if dtype == pa.float32() else DOUBLES
    if pa.types.is_boolean(dtype):
        return st.booleans()
    kind = np.iinfo(dtype.to_pandas_dtype())
    return st.sampled_from([kind.min, kind.max, kind.max - 1, 0, 1]) | st.integers(int(kind.min), int(kind.max))


@st.composite
def chunked(draw: st.DrawFn, dtype: pa.DataType, n_rows: int, values: st.SearchStrategy[Any]) -> pa.ChunkedArray:
    """Draw a column as it comes: in chunks, sliced, with bits of validity or without."""
    few = draw(st.lists(values | st.none() if draw(st.booleans()) else values, min_size=1, max_size=40))
    before, after = draw(st.integers(0, 17)), draw(st.integers(0, 3))
    rows = (few * (n_rows + before + after))[: n_rows + before + after]
    array = pa.array(rows, dtype).slice(before, n_rows)
    cut = draw(st.integers(0, n_rows))
    pieces = [array.slice(0, cut), array.slice(cut)] if draw(st.booleans()) else [array]
    return pa.chunked_array(pieces, dtype)


@st.composite
def sources(draw: st.DrawFn, n_rows: int) -> Numbers | Gathered:
    """Draw what one column, or several side by side, come from."""
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(TYPES))
        return Numbers(
            whole(draw(chunked(dtype, n_rows, values_of(dtype)))),
            Steps(tuple(draw(st.lists(steps(), max_size=6)))),
        )
    texts = draw(chunked(pa.string(), n_rows, st.sampled_from(["a", "b", "", "ÿ", "long enough"])))
    codes, _ = coded(whole(texts.dictionary_encode() if draw(st.booleans()) else texts))
    used = codes.used()
    width = draw(st.integers(0, 4))
    table = draw(st.lists(DOUBLES, min_size=len(used) * width, max_size=len(used) * width))
    return Gathered(codes, used, np.array(table, dtype=np.float64).reshape(len(used), width))


def filled(n_rows: int, order: str, given: list[Numbers | Gathered], block: int = 1000) -> np.ndarray | str:
    """Return the matrix, filled in blocks, with its last rows left alone, or why it is refused."""
    out = np.full((n_rows + 2, sum(source.width for source in given)), -7.0, order=order)  # type: ignore[call-overload]
    try:
        filler = Filler(given)
        for start in range(0, n_rows, block):
            filler.fill(out[start : min(start + block, n_rows)], start)
    except ValueError as refusal:
        return str(refusal)
    return out


def same(found: np.ndarray | str, expected: np.ndarray | str) -> bool:
    """Return whether both are the same bits, a NaN being a NaN, or the same refusal."""
    if isinstance(found, str) or isinstance(expected, str):
        return found is expected or (isinstance(found, str) and found == expected)
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return False
    return np.nan_to_num(found, nan=0.0).tobytes() == np.nan_to_num(expected, nan=0.0).tobytes()


@given(st.data(), st.integers(1, 300), st.sampled_from("CF"), st.sampled_from([1000, 100, 7]))
@settings(max_examples=400, deadline=None)
def test_every_bit_is_numpys(data: st.DataObject, n_rows: int, order: str, block: int) -> None:
    """Any columns with any steps, in both orders, by every variant, in any blocks: numpy's bits, or its refusal."""
    drawn = data.draw(st.lists(sources(n_rows), max_size=5))
    with without():
        expected = filled(n_rows, order, drawn, block)

    for widest in (0, 1, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns, "_WIDEST", widest)

            assert same(filled(n_rows, order, drawn, block), expected)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_step_at_every_edge(kind: Kind) -> None:
    """Each step with each operand on each edge is numpy's: zeros keep their sign where numpy keeps it."""
    rows = pa.array([value for value in EDGES if not (kind.startswith("refuse") and not np.isfinite(value))])
    bounds = [(low, high) for low in EDGES for high in EDGES] if kind == "clip" else [(low, 0.0) for low in EDGES]
    edges = tuple(sorted(edge for edge in EDGES if edge == edge))

    for low, high in bounds:
        one = [Numbers(rows, Steps((Step(kind, low, high, edges if kind == "bin" else ()),)))]
        with without():
            expected = filled(len(rows), "C", one)

        assert not isinstance(expected, str)
        assert same(filled(len(rows), "C", one), expected), (low, high)


@pytest.mark.parametrize(
    ("row", "kind", "words"), [(299, "refuse-missing", "contains NaN"), (0, "refuse-infinite", "contains infinity")]
)
def test_refusal_in_any_row_has_numpys_words(row: int, kind: Kind, words: str) -> None:
    """A refused value in the first or the last row is refused, and the first column that refuses is told."""
    values = np.zeros(300)
    values[row] = np.nan if kind == "refuse-missing" else np.inf
    late = Numbers(pa.array(values), Steps((Step(kind),)))
    early = Numbers(pa.array([np.nan, *[0.0] * 299]), Steps((Step("refuse-missing"),)))

    with pytest.raises(ValueError, match=words):
        Filler([late, early]).fill(np.empty((300, 2)), 0)


class Refusing:
    """Answers that refuse every value."""

    known: tuple[tuple[Any, ...], ...] = ((),)

    def look_up(self, _index: int, _values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Refuse."""
        raise ValueError("a category")


def test_first_column_that_refuses_is_told() -> None:
    """A number that is refused is told before a category of a later column, and after that of an earlier one."""
    number = Column(Feature(name="number", dtype="float64"), (Step("refuse-missing"),))
    category = Column(Feature(name="category", dtype="string"), coded=Refusing())
    rows = pa.table({"number": [np.nan], "category": ["a"]})

    for first, second, words in ((number, category, "contains NaN"), (category, number, "a category")):
        with pytest.raises(ValueError, match=words):
            next(Preparation((first, second), "C").blocks(rows, 1))


@given(st.data(), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_codes_in_use_are_numpys(data: st.DataObject, n_rows: int) -> None:
    """The codes in use are the distinct ones, ascending, null last, whether the dictionary is small or large."""
    size = data.draw(st.sampled_from([1, 3, 1000]))
    array = whole(data.draw(chunked(pa.int32(), n_rows, st.integers(0, size - 1))))
    codes = Codes(array, size)

    used = codes.used()

    assert used.tolist() == np.unique(codes.filled()).tolist()
    with without():
        assert codes.used().tolist() == used.tolist()


@pytest.mark.parametrize("index", [pa.int8(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("make", [lambda column: column, lambda column: column.slice(1)])
def test_dictionaries_of_any_index_are_read(index: pa.DataType, make: Callable[[pa.Array], pa.Array]) -> None:
    """Codes of any width name the values that the column has."""
    column = make(pa.array(["b", None, "a", "b"]).cast(pa.dictionary(index, pa.string())))

    codes, values = coded(column)

    assert [None if code == codes.size else values[code].as_py() for code in codes.filled()] == column.to_pylist()
