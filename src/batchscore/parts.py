"""The one parquet writer: the same table is the same bytes, and a digest of its values that outlives the writer.

Bytes depend on chunk layout, metadata, codec, level, row group size and the version of pyarrow, so all but the last
are fixed here; across versions the logical digest is what can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_GROUP_ROWS = 100_000
"""Rows per row group of an output file."""

WRITER: Mapping[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "write_statistics": True,
    "store_schema": False,
    "write_page_checksum": True,
}
"""Options of the parquet writer that decide bytes; they stand in the plan."""


@dataclass(frozen=True, kw_only=True)
class Serialised:
    """A table as the bytes of a parquet file."""

    data: bytes
    """The file's bytes."""
    sha256: str
    """sha256 of the bytes."""
    logical_sha256: str
    """Digest of the table's names, types and values: the same whatever version wrote the file."""
    rows: int
    """Number of rows."""


def serialise(table: pa.Table) -> Serialised:
    """Write `table` to the bytes of a parquet file.

    Negative zeros and the payloads of NaNs are normalised; row order and column order are kept.

    Args:
        table: Rows in input order, with an explicit schema.
    """
    canonical = canonical_table(table)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, canonical.schema, **WRITER) as writer:
        writer.write_table(canonical, row_group_size=ROW_GROUP_ROWS)
    data = sink.getvalue().to_pybytes()
    return Serialised(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        logical_sha256=logical_digest(canonical),
        rows=canonical.num_rows,
    )


def concatenate(parts: Iterable[bytes], sink: IO[bytes]) -> None:
    """Write the rows of parts, in order, as one parquet file; a row group never spans two parts.

    Args:
        parts: The bytes of at least one part, all of one schema.
        sink: A binary file opened for writing.
    """
    tables = (canonical_table(read_part(data)) for data in parts)
    first = next(tables)
    with pq.ParquetWriter(sink, first.schema, **WRITER) as writer:
        for table in chain([first], tables):
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def read_part(data: bytes | memoryview) -> pa.Table:
    """Read the bytes of one of our own parts; page checksums are verified.

    Raises:
        pyarrow.ArrowException: When the bytes are not a whole part.
    """
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def canonical_table(table: pa.Table) -> pa.Table:
    """Return `table` in one chunk per column, without metadata, floats normalised."""
    columns = [_canonical(table.column(index)) for index in range(table.num_columns)]
    fields = [
        pa.field(field.name, column.type, field.nullable) for field, column in zip(table.schema, columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def logical_digest(table: pa.Table) -> str:
    """Return the sha256 of a table's names, types, nulls and little-endian values, column by column.

    Args:
        table: A table as `canonical_table` returns it.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = _one_chunk(column)
        digest.update(f"{name}\0{array.type}\0{len(array)}\0".encode())
        for buffer in _canonical_buffers(array):
            digest.update(buffer)
    return digest.hexdigest()


def values_of(array: pa.Array, dtype: Any) -> NDArray[Any]:
    """View the values of a fixed-width Arrow array, shape (n_rows,); what lies under nulls is arbitrary."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype=dtype)
    return np.frombuffer(buffer, dtype=dtype, count=array.offset + len(array))[array.offset :]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def _canonical(column: pa.ChunkedArray) -> pa.Array:
    array = _one_chunk(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        return _normal_floats(array)
    if pa.types.is_large_string(array.type) or str(array.type) == "string_view":
        return array.cast(pa.string())
    return array


def _normal_floats(array: pa.Array) -> pa.Array:
    dtype = array.type.to_pandas_dtype()
    values = values_of(array, dtype)
    plain = values + dtype(0)  # -0.0 + 0.0 is 0.0
    plain[np.isnan(plain)] = np.nan
    validity = array.is_valid().buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(array.type, len(array), [validity, pa.py_buffer(plain)], array.null_count)


def _canonical_buffers(array: pa.Array) -> list[bytes]:
    nulls = [_bits(array.is_null()).tobytes()] if array.null_count else [b""]
    if pa.types.is_string(array.type):
        filled = pc.fill_null(array, "") if array.null_count else array
        lengths = values_of(pc.binary_length(filled), np.int32)
        offsets = (
            np.frombuffer(filled.buffers()[1], np.int32, count=filled.offset + len(filled) + 1)
            if len(filled)
            else [0, 0]
        )
        start, stop = (int(offsets[filled.offset]), int(offsets[-1])) if len(filled) else (0, 0)
        text = filled.buffers()[2]
        return [*nulls, lengths.tobytes(), text[start:stop].to_pybytes() if text else b""]
    if pa.types.is_boolean(array.type):
        return [*nulls, _bits(pc.fill_null(array, fill_value=False)).tobytes()]
    if pa.types.is_list(array.type):
        # flatten skips what lies under nulls, so that only values count.
        lengths = values_of(pc.fill_null(pc.list_value_length(array), 0), np.int32)
        return [*nulls, lengths.tobytes(), *_canonical_buffers(array.flatten())]
    width = array.type.bit_width // 8
    values = values_of(array, np.dtype(f"V{width}"))
    if array.null_count:
        values = values.copy()
        values[_bits(array.is_null()).astype(bool)] = np.zeros(1, dtype=values.dtype)[0]
    return [*nulls, values.tobytes()]


def _bits(array: pa.Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values_of(array.cast(pa.uint8()), np.uint8))
