"""Prepared columns: how each column of an estimator's matrix comes from a feature, and the matrix of a block.

Numbers go through a few arithmetic steps, the same and in the same order as the fitted transformers do them. Whatever
looks at values as categories is asked about each distinct value once, by the fitted transformers themselves, and the
answers are gathered by code. No step knows scikit-learn's names here: `native` reads them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.blocks import ARROW_TYPES, floats, frame

if TYPE_CHECKING:
    import pandas as pd

    from batchscore.schema import Feature

_KEPT_VALUES = 50_000
"""The most distinct values per feature whose answers are kept."""


@dataclass(frozen=True)
class Step:
    """One arithmetic step on a column of float64, done in place."""

    kind: Literal[
        "refuse-infinite",
        "refuse-missing",
        "fill",
        "subtract",
        "divide",
        "multiply",
        "add",
        "clip",
        "missing",
        "bin",
        "is",
    ]
    """What is done; `fill` replaces NaN, `missing` and `is` give 1 where a value is NaN, or the operand, and else 0."""
    value: float = 0.0
    """The operand; the lower bound of `clip`."""
    upper: float = 0.0
    """The upper bound of `clip`."""
    edges: tuple[float, ...] = ()
    """The inner edges of `bin`, ascending: a value becomes the number of edges that are not above it."""

    def apply(self, values: np.ndarray) -> None:
        """Do it on float64 values of shape `(n_rows,)`.

        Raises:
            ValueError: When a step meets what it refuses, as the fitted transformer would.
        """
        if self.kind == "refuse-infinite":
            if np.isinf(values).any():
                raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
        elif self.kind == "refuse-missing":
            if np.isnan(values).any():
                raise ValueError("Input X contains NaN.")
        elif self.kind == "bin":
            np.copyto(values, np.searchsorted(self.edges, values, side="right"))
        elif self.kind == "is":
            np.copyto(values, values == self.value)
        elif self.kind == "fill":
            np.copyto(values, self.value, where=np.isnan(values))
        elif self.kind == "missing":
            np.copyto(values, np.isnan(values))
        elif self.kind == "clip":
            np.clip(values, self.value, self.upper, out=values)
        else:
            _ARITHMETIC[self.kind](values, self.value, out=values)


_ARITHMETIC: Mapping[str, Any] = {
    "subtract": np.subtract,
    "divide": np.divide,
    "multiply": np.multiply,
    "add": np.add,
}


class Answers(Protocol):
    """Features that are turned into numbers value by value."""

    @property
    def known(self) -> tuple[tuple[Any, ...], ...]:
        """For each feature the values that are known."""

    def look_up(self, index: int, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers for a column of feature `index`: a table of answers, and each row's place in it.

        Returns:
            Float64 of shape `(n_answers, width)`, and integers of shape `(n_rows,)`.

        Raises:
            ValueError: When a value is refused.
        """


class Coded:
    """Features that fitted transformers turn into numbers value by value.

    Args:
        features: The features that the transformers take, in their order.
        known: For each feature the values that they know; the others have their first while one is asked about.
        widths: How many columns come of each feature.
        encode: The transformers: from a frame of the features to columns of numbers, feature after feature.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        known: Sequence[Sequence[Any]],
        widths: Sequence[int],
        encode: Callable[[pd.DataFrame], np.ndarray],
    ) -> None:
        self.features = tuple(features)
        self.widths = tuple(widths)
        self.known = tuple(tuple(values) for values in known)
        self._encode = encode
        self._lock = threading.Lock()
        self._answers: list[tuple[pa.Array, np.ndarray]] = [
            (pa.array([], ARROW_TYPES[feature.dtype]), np.empty((0, width)))
            for feature, width in zip(features, widths, strict=True)
        ]

    def look_up(self, index: int, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers of the fitted transformers: `Answers.look_up`."""
        codes, values = coded_column(column)
        asked, answers = self._answers[index]
        values = values.cast(asked.type)
        places = pc.index_in(values, value_set=asked)
        if places.null_count:
            asked, answers = self._learn(index, values)
            places = pc.index_in(values, value_set=asked)
        return answers, places.to_numpy()[codes]

    def _learn(self, index: int, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        with self._lock:
            asked, answers = self._answers[index]
            if len(asked) > _KEPT_VALUES:
                asked, answers = asked[:0], answers[:0]
            new = values.filter(pc.index_in(values, value_set=asked).is_null())
            if len(new):
                answers = np.concatenate([answers, self.ask(index, new)])
                self._answers[index] = (pa.concat_arrays([asked, new]), answers)
            return self._answers[index]

    def ask(self, index: int, values: pa.Array) -> np.ndarray:
        """Return the transformers' answers about values of feature `index`, of shape `(n_values, width)`.

        Raises:
            ValueError: When they refuse a value.
        """
        columns = [
            values if at == index else pa.array([next(iter(known), None)] * len(values), ARROW_TYPES[each.dtype])
            for at, (known, each) in enumerate(zip(self.known, self.features, strict=True))
        ]
        table = pa.table(columns, names=[feature.name for feature in self.features])
        answers = self._encode(frame(table, self.features))
        first = sum(self.widths[:index])
        return np.array(answers[:, first : first + self.widths[index]], dtype=np.float64, order="C")


@dataclass(frozen=True)
class Column:
    """One column of the matrix: what it comes from, and what is done to it."""

    feature: Feature
    """The feature."""
    steps: tuple[Step, ...] = ()
    """Arithmetic, in order."""
    coded: Answers | None = None
    """What turns the feature's values into numbers; None for a number as it is."""
    place: tuple[int, int] = (0, 0)
    """Of a coded column: the feature's place among the transformers' features, and the column's among its own."""

    def then(self, *steps: Step) -> Column:
        """Return the column with more arithmetic."""
        return Column(self.feature, (*self.steps, *steps), self.coded, self.place)


@dataclass(frozen=True)
class Preparation:
    """The columns of a matrix, and the order in which it lies in memory."""

    columns: tuple[Column, ...] = field(repr=False)
    """The columns, in order."""
    order: Literal["C", "F"]
    """The order in which the fitted transformers leave their result: it moves the last bits of what comes next."""

    def block(self, rows: pa.Table, block_rows: int) -> np.ndarray:
        """Return the matrix of shape `(block_rows, n_columns)`; rows beyond the table repeat its last row.

        Raises:
            ValueError: When a transformer refuses a value.
        """
        out = np.empty((block_rows, len(self.columns)), dtype=np.float64, order=self.order)
        count = rows.num_rows
        at = 0
        for run in self._runs():
            first = run[0]
            column = rows.column(first.feature.name)
            if first.coded is None:
                values = np.array(floats(column))
                for step in first.steps:
                    step.apply(values)
                out[:count, at] = values
            else:
                answers, places = first.coded.look_up(first.place[0], column)
                own = first.place[1]
                out[:count, at : at + len(run)] = answers[:, own : own + len(run)][places]
                for offset, each in enumerate(run):
                    for step in each.steps:
                        step.apply(out[:count, at + offset])
            at += len(run)
        out[count:] = out[count - 1]
        return out

    def _runs(self) -> Iterator[list[Column]]:
        """Yield the columns that are gathered at once: neighbours of one coded feature; others one by one."""

        def together(item: tuple[int, Column]) -> tuple[Any, ...]:
            at, column = item
            return (0, at) if column.coded is None else (id(column.coded), column.place[0], at - column.place[1])

        for _, group in groupby(enumerate(self.columns), key=together):
            yield [column for _, column in group]


def coded_column(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Return each row's code and the distinct values in use; a null is a value."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = array.indices.fill_null(len(array.dictionary)).to_numpy(zero_copy_only=False)
    used, codes = np.unique(codes, return_inverse=True)
    values = pa.concat_arrays([array.dictionary, pa.nulls(1, array.dictionary.type)]).take(pa.array(used))
    return codes, values
