"""What fitted transformers answer about categories, written down: a table of values and answers, and what else gets.

`Coded` asks the transformers themselves. Here they were asked once, about every value that they know, about a null and
about values that nobody has seen, so that a compiled model needs no transformer.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.blocks import ARROW_TYPES
from batchscore.model.preparation import Coded
from batchscore.schema import Feature

_UNSEEN_TEXTS = ("a value nobody has seen", "another that nobody has seen", "", "0", "ÿ", "\U0010ffff")
_UNSEEN_NUMBERS = (7.0, 12_345.0, -3.0, 99.0, 0.5, -1e9, 1e12, 0.0, 1.0, 2.0, 120.0, 127.0)
_EXACT = 2**53
"""Beyond it whole numbers collide as floats, so that an unseen value may be taken for a known one."""


class NotTabulable(Exception):
    """The answers can not be written down; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The answers about one feature."""

    values: pa.Array
    """The values that have an answer of their own, in the feature's type; a null may be one."""
    answers: np.ndarray
    """Float64 of shape `(n_values + 1, width)`; the last row is the answer about every other value."""
    refused: np.ndarray
    """Bool of shape `(n_values + 1,)`: which the transformers refuse."""


@dataclass(frozen=True, kw_only=True)
class Tabulated:
    """Features with their answers, in the place of `Coded`."""

    tables: tuple[Table, ...]
    """The answers, per feature."""

    def look_up(self, index: int, values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers for distinct values of feature `index`, as `Coded.look_up`.

        Raises:
            ValueError: When the transformers refuse a value.
        """
        table = self.tables[index]
        values = _plain_zeros(values.cast(table.values.type))
        places = pc.index_in(values, value_set=table.values).fill_null(len(table.values)).to_numpy()
        if table.refused[places].any():
            raise ValueError("Found unknown categories, or a missing value, that the encoder refuses.")
        return table.answers, places

    @cached_property
    def known(self) -> tuple[tuple[Any, ...], ...]:
        """For each feature the values that have an answer of their own, without null and NaN."""
        return tuple(
            tuple(value for value in each.values.to_pylist() if value is not None and value == value)  # noqa: PLR0124 - NaN is not
            for each in self.tables
        )

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"tables": [_table_to_plain(each) for each in self.tables]}


def tabulated(coded: Coded) -> Tabulated:
    """Ask the transformers about all that they know, about a null, and about values that nobody has seen.

    Raises:
        NotTabulable: When unseen values do not all get the same answer, or numbers are too large to be told apart.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # encoders warn of values that they do not know
        return Tabulated(tables=tuple(_tabulate(coded, index) for index in range(len(coded.features))))


def tabulated_from(content: Mapping[str, Any], features: Sequence[Feature]) -> Tabulated:
    """Return what `Tabulated.to_plain` gave, for features of the same types."""
    plain = zip(content["tables"], features, strict=True)
    return Tabulated(tables=tuple(_table_from(each, feature) for each, feature in plain))


def _tabulate(coded: Coded, index: int) -> Table:
    feature = coded.features[index]
    dtype = ARROW_TYPES[feature.dtype]
    known = _distinct([*coded.known[index], *((False, True) if feature.dtype == "bool" else ())], dtype)
    whole = "int" in feature.dtype
    if whole and any(abs(value) >= _EXACT for value in known.to_pylist()):
        raise NotTabulable(f"the feature '{feature.name}' has categories beyond 2^53")
    own = [pa.nulls(1, dtype)]
    if feature.dtype.startswith("float"):
        own.append(pa.array([np.nan], dtype))
    values = pa.concat_arrays([known, *own])
    asked = _answers(coded, index, values)
    asked.append(_other(coded, index, values, dtype))
    width = coded.widths[index]
    answers = np.array([np.zeros(width) if answer is None else answer for answer in asked], dtype=np.float64)
    return Table(
        values=values,
        answers=answers.reshape(len(asked), width),
        refused=np.array([answer is None for answer in asked], dtype=bool),
    )


def _distinct(values: Sequence[Any], dtype: pa.DataType) -> pa.Array:
    try:
        array = pa.array(list(values), dtype)
    except (pa.ArrowException, OverflowError):
        array = _castable(values, dtype)
    return _plain_zeros(array).drop_null().unique()


def _castable(values: Sequence[Any], dtype: pa.DataType) -> pa.Array:
    """Return those values that the type can hold; the others are of no row."""
    kept = []
    for value in values:
        try:
            kept.append(pa.array([value]).cast(dtype))
        except (pa.ArrowException, OverflowError):
            continue
    return pa.concat_arrays(kept) if kept else pa.array([], dtype)


def _other(coded: Coded, index: int, values: pa.Array, dtype: pa.DataType) -> np.ndarray | None:
    """Return the one answer about all values that have none of their own; None when they are refused."""
    if pa.types.is_boolean(dtype):
        return None
    unseen = _unseen(dtype)
    unseen = unseen.filter(pc.invert(pc.is_in(unseen, value_set=values)))
    answers = _answers(coded, index, unseen)
    bits = {None if answer is None else answer.tobytes() for answer in answers}
    if len(bits) != 1:
        raise NotTabulable(f"the feature '{coded.features[index].name}' has values that are answered one by one")
    return answers[0]


def _unseen(dtype: pa.DataType) -> pa.Array:
    if pa.types.is_string(dtype):
        return pa.array(_UNSEEN_TEXTS, dtype)
    if pa.types.is_temporal(dtype):
        return _castable([pa.scalar(day, pa.int32()).cast(pa.date32()).as_py() for day in (1, 9_999, 20_001)], dtype)
    if pa.types.is_integer(dtype):
        return _castable([int(value) for value in _UNSEEN_NUMBERS if value == int(value)], dtype).unique()
    return pa.array(_UNSEEN_NUMBERS, pa.float64()).cast(dtype).unique()


def _answers(coded: Coded, index: int, values: pa.Array) -> list[np.ndarray | None]:
    """Return the answer about each value, None where it is refused: all at once, unless one of them is."""
    try:
        return list(coded.ask(index, values))
    except (ValueError, TypeError):
        if len(values) == 1:
            return [None]
    return [answer for at in range(len(values)) for answer in _answers(coded, index, values.slice(at, 1))]


def _plain_zeros(values: pa.Array) -> pa.Array:
    """Return floats without negative zeros, which the transformers do not tell from zero, and a table of values does."""
    return pc.add(values, pa.scalar(0.0, values.type)) if pa.types.is_floating(values.type) else values


def _table_to_plain(table: Table) -> dict[str, Any]:
    dtype = table.values.type
    stored = (
        table.values.cast(pa.int32() if pa.types.is_date32(dtype) else pa.int64()) if _is_time(dtype) else table.values
    )
    return {"values": stored.to_pylist(), "answers": table.answers, "refused": table.refused}


def _table_from(content: Mapping[str, Any], feature: Feature) -> Table:
    dtype = ARROW_TYPES[feature.dtype]
    stored = (pa.int32() if pa.types.is_date32(dtype) else pa.int64()) if _is_time(dtype) else dtype
    return Table(
        values=pa.array(content["values"], stored).cast(dtype),
        answers=content["answers"],
        refused=content["refused"],
    )


def _is_time(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(dtype))
