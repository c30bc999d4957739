"""The column chunks that a footer declares, read without pyarrow: see `thrift` for the reason.

The compiled kernel reads those that are in order, and gives up on the others; what counts is what is said here.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift names the fields' numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from batchscore.ingest.thrift import (
    LIST,
    STRUCT,
    Struct,
    Wanted,
    number,
    read_field,
    read_list,
    read_struct,
    skip_value,
)
from batchscore.kernel import footer_numbers

MAX_COLUMNS = 20_000
"""The most schema elements of a file: a parsed element takes many times its bytes."""
MAX_CHUNKS = 400_000
"""The most column chunks of a file, for the same reason."""
BYTE_ARRAY = 6
"""The physical type of text and of bytes of any length."""

_BITS = {0: 1, 1: 32, 2: 64, 3: 96, 4: 32, 5: 64}
_OFFSET_BITS = 32
_SCHEMA, _ROW_GROUPS = 2, 4
_CHILDREN = 5
_FILE_PATH, _META = 1, 3
_COLUMNS, _ROWS = 1, 3
_TYPE, _ENCODINGS, _CODEC, _VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 1, 2, 4, 5, 6, 7, 9, 11
_MOST_BITS = 62
_CHUNK: Wanted = {
    _FILE_PATH: None,
    _META: dict.fromkeys(
        (_TYPE, _ENCODINGS, _CODEC, _VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE)
    ),
}
_GROUP: Wanted = {_COLUMNS: _CHUNK, _ROWS: None}
_ELEMENT: Wanted = {_CHILDREN: None}


class Chunk(NamedTuple):
    """One column chunk."""

    start: int
    """Where its first page begins in the file."""
    stop: int
    """Where its last page ends."""
    values: int
    """Declared values, nulls included."""
    declared_bytes: int
    """The most that the footer says of its decoded bytes: a lie in one number is caught by another."""
    physical: int
    """The physical type's number."""
    codec: int
    """The compression's number."""
    encodings: int
    """The numbers of its pages' encodings, as bits."""


class Group(NamedTuple):
    """One row group."""

    rows: int
    """Declared rows."""
    chunks: tuple[Chunk, ...]
    """One chunk per leaf column."""


def read_groups(footer: bytes, *, data_end: int) -> tuple[Group, ...]:
    """Read the row groups of a footer.

    Args:
        footer: The footer's metadata, without its length and magic.
        data_end: Where the data part of the file ends: no chunk may go beyond.

    Raises:
        ValueError: When the bytes are no footer, or declare chunks that can not be.
    """
    found = footer_numbers(footer, data_end=data_end, most_columns=MAX_COLUMNS, most_chunks=MAX_CHUNKS)
    if found is None:
        return _read_groups(footer, data_end)
    return tuple(Group(rows=rows, chunks=tuple(map(Chunk._make, chunks))) for rows, chunks in found)


def _read_groups(footer: bytes, data_end: int) -> tuple[Group, ...]:
    groups: list[Group] = []
    position = key = leaves = 0
    while True:
        key, kind, position = read_field(footer, position, key)
        if not kind:
            return tuple(groups)
        if kind == LIST and key == _SCHEMA:
            count, position = _list_of_structs(footer, position)
            if count > MAX_COLUMNS:
                raise ValueError(f"it declares {count} columns, above {MAX_COLUMNS}")
            for _ in range(count):
                element, position = read_struct(footer, position, _ELEMENT)
                leaves += not element.get(_CHILDREN)
        elif kind == LIST and key == _ROW_GROUPS:
            count, position = _list_of_structs(footer, position)
            if count * leaves > MAX_CHUNKS:
                raise ValueError(
                    f"it declares {count} row groups of {leaves} columns, above {MAX_CHUNKS} column chunks"
                )
            for _ in range(count):
                struct, position = read_struct(footer, position, _GROUP)
                groups.append(_group(struct, leaves, data_end))
        else:
            position = skip_value(footer, position, kind)


def _list_of_structs(data: bytes, position: int) -> tuple[int, int]:
    kind, count, position = read_list(data, position)
    if count and kind != STRUCT:
        raise ValueError("it has a list of another type than it should")
    return count, position


def _group(struct: Struct, leaves: int, data_end: int) -> Group:
    rows, columns = number(struct, _ROWS), struct.get(_COLUMNS)
    if rows < 0 or not isinstance(columns, list) or len(columns) != leaves:
        raise ValueError(f"a row group does not have the {leaves} columns of the file")
    return Group(rows=rows, chunks=tuple(_chunk(column, data_end) for column in columns))


def _chunk(column: object, data_end: int) -> Chunk:
    meta = column.get(_META) if isinstance(column, dict) else None
    if not isinstance(meta, dict):
        raise ValueError("a column chunk has no metadata")  # noqa: TRY004 - bad bytes, not a bad argument
    if isinstance(column, dict) and _FILE_PATH in column:
        raise ValueError("a column chunk lies in another file")
    physical, codec, values = number(meta, _TYPE), number(meta, _CODEC), number(meta, _VALUES)
    uncompressed, compressed = number(meta, _UNCOMPRESSED), number(meta, _COMPRESSED)
    start = number(meta, _DATA_PAGE)
    if meta.get(_DICTIONARY_PAGE):  # some writers say 0 where there is none
        start = min(start, number(meta, _DICTIONARY_PAGE))
    if values and not (0 < start <= start + compressed <= data_end and values > 0):
        raise ValueError("a column chunk lies outside of the file's data")
    bits = values * _BITS.get(physical, _OFFSET_BITS)
    return Chunk(
        start=start if values else data_end,
        stop=start + compressed if values else data_end,
        values=values,
        declared_bytes=max(bits // 8, uncompressed, compressed, 0),
        physical=physical,
        codec=codec,
        encodings=_bits_in(meta.get(_ENCODINGS)),
    )


def _bits_in(numbers: object) -> int:
    found = numbers if isinstance(numbers, list) else []
    return sum(1 << each for each in {each for each in found if type(each) is int and 0 <= each < _MOST_BITS})
