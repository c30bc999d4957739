"""Prepared columns: how each column of an estimator's matrix comes from a feature, and the matrix of a block.

Numbers go through a few arithmetic steps, the same and in the same order as the fitted transformers do them. Whatever
looks at values as categories is asked about each distinct value once, by the fitted transformers themselves, and the
answers are gathered by code. No step knows scikit-learn's names here: `native` reads them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.blocks import ARROW_TYPES, frame
from batchscore.kernel.columns import Codes, Filler, Gathered, Numbers, Step, Steps
from batchscore.profile import buffers

if TYPE_CHECKING:
    import pandas as pd

    from batchscore.schema import Feature

DOUBLE: np.dtype[Any] = np.dtype(np.float64)
"""The type of what is prepared."""
_KEPT_VALUES = 50_000
"""The most distinct values per feature whose answers are kept."""


class Answers(Protocol):
    """Features that are turned into numbers value by value."""

    @property
    def known(self) -> tuple[tuple[Any, ...], ...]:
        """For each feature the values that are known."""

    def look_up(self, index: int, values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers for distinct values of feature `index`: a table of answers, and each value's place in it.

        Returns:
            Float64 of shape `(n_answers, width)`, and integers of shape `(n_values,)`.

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

    def look_up(self, index: int, values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers of the fitted transformers: `Answers.look_up`."""
        asked, answers = self._answers[index]
        values = values.cast(asked.type)
        places = pc.index_in(values, value_set=asked)
        if places.null_count:
            asked, answers = self._learn(index, values)
            places = pc.index_in(values, value_set=asked)
        return answers, places.to_numpy()

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
    held: np.dtype[Any] = DOUBLE
    """The type in which the fitted steps hold it; some of them compute in float32 where all their columns are such."""

    def then(self, *steps: Step) -> Column:
        """Return the column with more arithmetic."""
        return replace(self, steps=(*self.steps, *steps))


@dataclass(frozen=True)
class Preparation:
    """The columns of a matrix, and the order in which it lies in memory."""

    columns: tuple[Column, ...] = field(repr=False)
    """The columns, in order."""
    order: Literal["C", "F"]
    """The order in which the fitted transformers leave their result: it moves the last bits of what comes next."""

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[np.ndarray]:
        """Yield matrices of shape `(block_rows, n_columns)`; rows beyond the table repeat its last row.

        Raises:
            ValueError: When a transformer refuses a value.
        """
        filler = Filler(self._sources(rows))
        for start in range(0, rows.num_rows, block_rows):
            out = np.empty((block_rows, len(self.columns)), dtype=np.float64, order=self.order)
            count = min(block_rows, rows.num_rows - start)
            filler.fill(out[:count], start)
            out[count:] = out[count - 1]
            yield out

    def _sources(self, rows: pa.Table) -> list[Numbers | Gathered]:
        sources: list[Numbers | Gathered] = []
        try:
            for run in self._runs:
                sources.append(run.source(rows))  # noqa: PERF401 - those before a refusal are looked at
        except ValueError:
            # A column before it may refuse its values too, and then is the one to be told.
            Filler(sources).fill(np.empty((rows.num_rows, len(self.columns))), 0)
            raise
        return sources

    @cached_property
    def _runs(self) -> tuple[_Run, ...]:
        """The columns that are gathered at once: neighbours of one coded feature; others one by one."""

        def together(item: tuple[int, Column]) -> tuple[Any, ...]:
            at, column = item
            return (0, at) if column.coded is None else (id(column.coded), column.place[0], at - column.place[1])

        runs = (tuple(column for _, column in run) for _, run in groupby(enumerate(self.columns), key=together))
        return tuple(_Run(run, Steps(run[0].steps)) for run in runs)


@dataclass(frozen=True)
class _Run:
    """Columns that come of one feature and lie side by side."""

    columns: tuple[Column, ...]
    """One column of numbers; or neighbours among the columns of one coded feature."""
    steps: Steps
    """The first column's arithmetic."""

    def source(self, rows: pa.Table) -> Numbers | Gathered:
        """Return what the columns are filled from.

        Raises:
            ValueError: When a transformer refuses a category.
        """
        first = self.columns[0]
        array = whole(rows.column(first.feature.name))
        if first.coded is None:
            return Numbers(array, self.steps)
        codes, dictionary = coded(array)
        used = codes.used()
        values = dictionary.take(buffers.column(used, null=used == codes.size))
        answers, places = first.coded.look_up(first.place[0], values)
        own = first.place[1]
        table = answers[places, own : own + len(self.columns)]
        # Once for each value in use is as good as once for each row.
        for at, column in enumerate(self.columns):
            for step in column.steps:
                step.apply(table[:, at])
        return Gathered(codes, used, table)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one."""
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def coded(array: pa.Array) -> tuple[Codes, pa.Array]:
    """Return each row's code, and the values that the codes stand for."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices if array.indices.type == pa.int32() else array.indices.cast(pa.int32())
    return Codes(indices, len(array.dictionary)), array.dictionary
