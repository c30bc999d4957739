"""Columns of a matrix from Arrow arrays: numbers with arithmetic done to them, and rows of tables gathered by code."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from batchscore.kernel.library import library

Kind = Literal[
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
"""What a step does, in the order of columns.h."""
_NUMBERS = {pa.float64(): 0, pa.float32(): 1, pa.int64(): 2, pa.int32(): 3}
"""The types that columns.h reads as they are; Arrow casts the others."""
_CODES = 4
_WIDEST = 2
"""The widest variant of the library that may run, as in `forest`."""


@dataclass(frozen=True)
class Step:
    """One arithmetic step on a column of float64, done in place."""

    kind: Kind
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


@dataclass(frozen=True)
class Steps:
    """Steps in order; made once and used for many blocks."""

    steps: tuple[Step, ...] = ()
    """The steps."""

    @cached_property
    def packed(self) -> tuple[int, int, Any]:
        """The address of an array of `struct step`, their number, and what must be kept for the address to hold."""
        kinds = get_args(Kind)
        edges = [np.array(step.edges, dtype=np.float64) for step in self.steps]
        each = zip(self.steps, edges, strict=True)
        structs = [
            _Step(kinds.index(step.kind), step.value, step.upper, own.ctypes.data, len(own)) for step, own in each
        ]
        packed = (_Step * len(structs))(*structs)
        return ctypes.addressof(packed), len(packed), (packed, edges)


class _Step(ctypes.Structure):
    """`struct step` of columns.h, field by field."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("value", ctypes.c_double),
        ("upper", ctypes.c_double),
        ("edges", ctypes.c_void_p),
        ("n_edges", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Numbers:
    """One column of the matrix: numbers, a null being NaN, and what is done to them."""

    array: pa.Array = field(repr=False)
    """Numbers or booleans, of shape `(n_rows,)`."""
    steps: Steps
    """Arithmetic, in order."""

    @property
    def width(self) -> int:
        """How many columns it makes."""
        return 1

    def part(self, start: int, n_rows: int) -> Numbers:
        """Return some of its rows."""
        return Numbers(self.array.slice(start, n_rows), self.steps)

    def packed(self) -> tuple[tuple[int, ...], Any]:
        """Return the fields of its `struct column`, and what must be kept for their addresses to hold."""
        array = self.array if self.array.type in _NUMBERS else self.array.cast(pa.float64(), safe=False)
        steps, count, kept = self.steps.packed
        return (*_buffers(array), _NUMBERS[array.type], steps, count, 0, 0, 0, 1), (array, kept)

    def fill(self, out: np.ndarray) -> None:
        """Write it into float64 of shape `(n_rows, 1)`."""
        array = self.array.cast(pa.float64(), safe=False)
        values = np.array(array.to_numpy(zero_copy_only=False))
        for step in self.steps.steps:
            step.apply(values)
        out[:, 0] = values


@dataclass(frozen=True)
class Codes:
    """Which of some values each row has; a null is a value of its own."""

    array: pa.Array = field(repr=False)
    """int32 of shape `(n_rows,)`, from 0 to below `size`, or null."""
    size: int
    """How many values there are without the null, in use or not."""

    def used(self) -> np.ndarray:
        """Return the codes in use, ascending; `size` stands for null."""
        compiled = library()
        used = np.zeros(self.size + 1, dtype=np.uint8)
        if compiled is None:
            used[self.filled()] = 1
        else:
            compiled.batchscore_used(*_buffers(self.array), len(self.array), self.size, used.ctypes.data)
        return np.flatnonzero(used)

    def filled(self) -> np.ndarray:
        """Return the codes, `size` for null, of shape `(n_rows,)`."""
        codes: np.ndarray = self.array.fill_null(self.size).to_numpy(zero_copy_only=False)
        return codes


@dataclass(frozen=True)
class Gathered:
    """Columns of the matrix that are rows of a table, found by code."""

    codes: Codes
    """Each row's code."""
    used: np.ndarray = field(repr=False)
    """The codes in use: `Codes.used`."""
    table: np.ndarray = field(repr=False)
    """Float64 of shape `(n_used, width)`: what each of them becomes."""

    @property
    def width(self) -> int:
        """How many columns it makes."""
        return int(self.table.shape[1])

    def ranks(self) -> np.ndarray:
        """Return for each code that is in use its row of the table; int64 of shape `(size + 1,)`."""
        # Only what is in use is written: an empty array of a large dictionary costs nothing.
        ranks = np.empty(self.codes.size + 1, dtype=np.int64)
        ranks[self.used] = np.arange(len(self.used))
        return ranks

    def part(self, start: int, n_rows: int) -> Gathered:
        """Return some of its rows."""
        return Gathered(Codes(self.codes.array.slice(start, n_rows), self.codes.size), self.used, self.table)

    def packed(self) -> tuple[tuple[int, ...], Any]:
        """Return the fields of its `struct column`, and what must be kept for their addresses to hold."""
        ranks, table = self.ranks(), np.ascontiguousarray(self.table)
        given = (ranks.ctypes.data, self.codes.size, table.ctypes.data, self.width)
        return (*_buffers(self.codes.array), _CODES, 0, 0, *given), (ranks, table)

    def fill(self, out: np.ndarray) -> None:
        """Write it into float64 of shape `(n_rows, width)`."""
        out[:] = self.table[self.ranks()[self.codes.filled()]]


class Filler:
    """Writes columns into a matrix, block by block.

    Args:
        sources: What the columns come from, all of the same number of rows.
    """

    def __init__(self, sources: Sequence[Numbers | Gathered]) -> None:
        self._sources = tuple(sources)
        packed = [source.packed() for source in sources]
        self._columns = np.array([fields for fields, _ in packed], dtype=np.int64)
        self._kept = [kept for _, kept in packed]  # for the addresses to hold

    def fill(self, out: np.ndarray, start: int) -> None:
        """Write some rows of the columns into a matrix, from its first column on.

        Args:
            out: Float64 of shape `(n_rows, n_columns)`, in C or in Fortran order; it may be part of a larger one.
            start: The first row.

        Raises:
            ValueError: When a step meets what it refuses: the first column's first one.
        """
        compiled = library()
        if compiled is not None:
            down, across = (stride // 8 for stride in out.strides)
            given = (self._columns.ctypes.data, len(self._columns), start, len(out))
            if not compiled.batchscore_columns(*given, out.ctypes.data, down, across, _WIDEST):
                return
        # Also where a column refuses: which one does so first, and with what words, is told here.
        at = 0
        for source in self._sources:
            source.part(start, len(out)).fill(out[:, at : at + source.width])
            at += source.width


def _buffers(array: pa.Array) -> tuple[int, int, int]:
    """Return the address of an array's first value, that of its bits of validity or 0, and its first bit."""
    valid, values = array.buffers()
    first = array.offset
    start = 0 if values is None else values.address + first * array.type.bit_width // 8
    return start, 0 if valid is None or not array.null_count else valid.address, first
