"""Between Arrow and numpy by buffers alone: pyarrow's own conversions import pandas, which takes seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_FORMATS = {pa.float16(): "f2", pa.float32(): "f4", pa.float64(): "f8"}


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return whole numbers or floats without nulls `(n,)`: a view where they lie in one chunk, never to be written."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    views = [_view(chunk, _format(column.type)) for chunk in chunks]
    return views[0] if len(views) == 1 else np.concatenate([np.empty(0, dtype=_format(column.type)), *views])


def flags(column: pa.BooleanArray) -> NDArray[np.bool_]:
    """Return booleans without nulls `(n,)`."""
    view: NDArray[np.bool_] = _view(pc.cast(column, pa.uint8()), "u1").astype(np.bool_)
    return view


def texts(values: Iterable[str]) -> pa.LargeStringArray:
    """Return text as an Arrow array."""
    encoded = [value.encode() for value in values]
    offsets = np.array([0, *accumulate(map(len, encoded))], dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def column(values: NDArray[Any], *, null: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers or booleans as an Arrow array, with nulls where `null` holds.

    `pa.array` does the same, and imports `numpy.ma`, 8 ms, to know a masked array when it is given one.
    """
    is_bool = values.dtype == np.bool_
    content = np.packbits(values, bitorder="little") if is_bool else np.ascontiguousarray(values)
    valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(content)])


def taken(column: pa.Array, places: NDArray[np.int64]) -> pa.Array:
    """Return the values at `places`."""
    content = np.ascontiguousarray(places, dtype=np.int64)
    return column.take(pa.Array.from_buffers(pa.int64(), len(content), [None, pa.py_buffer(content)]))


def _format(dtype: pa.DataType) -> str:
    if dtype in _FORMATS:
        return _FORMATS[dtype]
    return f"{'i' if pa.types.is_signed_integer(dtype) else 'u'}{dtype.bit_width // 8}"


def _view(chunk: pa.Array, kind: str) -> NDArray[Any]:
    if not len(chunk):
        return np.empty(0, dtype=kind)
    return np.frombuffer(chunk.buffers()[1], dtype=kind)[chunk.offset : chunk.offset + len(chunk)]
