"""Thrift's compact protocol, as far as parquet's headers and footers need it: bounds checked, pure Python.

Why not pyarrow alone: where a damaged footer lacks a column chunk, `RowGroupMetaData.column` ends the whole process
(an exception of C++ that its binding does not catch), and the driver must survive any file.

A snapshot of many small files is mostly footers and page headers, and each has hundreds of fields: so a struct is read
in one loop, a number of one byte without a call, and what nobody wants is stepped over and not built.
"""

from __future__ import annotations

from collections.abc import Mapping

Struct = dict[int, object]
"""Fields by their number: numbers, booleans, structs and lists; text and doubles as None."""

Wanted = Mapping[int, "Wanted | None"]
"""The fields that are wanted of a struct, and of the structs in each of them; None for all."""

LIST, STRUCT = 9, 12
"""Wire types that callers step through themselves."""

_MAX_DEPTH = 12
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _SET = 1, 2, 3, 4, 5, 6, 7, 8, 10
_KIND = 0x0F
_LONG_LIST = 0x0F
_MORE = 0x80
_LONGEST_NUMBER = 63
_WIDTHS = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}


def number(struct: Struct, key: int) -> int:
    """Return a required number of a struct.

    Raises:
        ValueError: When it is not there, or is no number.
    """
    value = struct.get(key)
    if type(value) is not int:
        raise ValueError("a required number is missing")
    return value


def read_struct(data: bytes | memoryview, position: int, wanted: Wanted | None = None) -> tuple[Struct, int]:
    """Read one struct; return it and the position behind it.

    Args:
        data: The bytes.
        position: Where the struct begins.
        wanted: The fields to return; all of them by default.

    Raises:
        ValueError: When the bytes are no struct.
    """
    try:
        return _struct(data, position, wanted, 0)
    except IndexError:
        raise _too_early() from None


def read_field(data: bytes | memoryview, position: int, before: int) -> tuple[int, int, int]:
    """Read a field's header; return its number, its wire type (0 at the struct's end) and the position behind it.

    Raises:
        ValueError: When the bytes are no such header.
    """
    try:
        byte = data[position]
        if byte > _KIND or not byte & _KIND:
            return before + (byte >> 4), byte & _KIND, position + 1
        key, position = _signed(data, position + 1)
    except IndexError:
        raise _too_early() from None
    return key, byte & _KIND, position


def read_list(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """Read a list's header; return the wire type of its elements, their count and the position behind it.

    Raises:
        ValueError: When the bytes are no such header, or the list claims more elements than there are bytes.
    """
    try:
        return _list(data, position)
    except IndexError:
        raise _too_early() from None


def skip_value(data: bytes | memoryview, position: int, kind: int) -> int:
    """Step over one value of a wire type; return the position behind it.

    Raises:
        ValueError: When the bytes are no such value.
    """
    try:
        return _skip(data, position, kind, 0)
    except IndexError:
        raise _too_early() from None


def _struct(data: bytes | memoryview, position: int, wanted: Wanted | None, depth: int) -> tuple[Struct, int]:
    struct: Struct = {}
    key = 0
    while True:
        byte = data[position]
        position += 1
        kind = byte & _KIND
        if not kind:
            return struct, position
        if byte > _KIND:
            key += byte >> 4
        else:
            key, position = _signed(data, position)
        if wanted is not None and key not in wanted:
            if _I16 <= kind <= _I64:
                while data[position] >= _MORE:
                    position += 1
                position += 1
            else:
                position = _skip(data, position, kind, depth)
        elif _I16 <= kind <= _I64:
            struct[key], position = _signed(data, position)
        else:
            struct[key], position = _value(data, position, kind, wanted and wanted[key], depth)


def _value(data: bytes | memoryview, position: int, kind: int, wanted: Wanted | None, depth: int) -> tuple[object, int]:
    if depth > _MAX_DEPTH:
        raise _too_deep()
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if _I16 <= kind <= _I64:
        return _signed(data, position)
    if kind == STRUCT:
        return _struct(data, position, wanted, depth + 1)
    if kind in (LIST, _SET):
        return _elements(data, position, wanted, depth)
    return None, _skip(data, position, kind, depth)


def _elements(data: bytes | memoryview, position: int, wanted: Wanted | None, depth: int) -> tuple[list[object], int]:
    kind, count, position = _list(data, position)
    elements: list[object] = []
    if kind in (_TRUE, _FALSE):  # in a list a boolean takes a byte; as a field it is part of the header
        return list(data[position : position + count]), position + count
    for _ in range(count):
        value, position = _value(data, position, kind, wanted, depth + 1)
        elements.append(value)
    return elements, position


def _skip(data: bytes | memoryview, position: int, kind: int, depth: int) -> int:
    """Step over a value. A position behind the end is found by the next byte that is looked at."""
    if depth > _MAX_DEPTH:
        raise _too_deep()
    if kind == STRUCT:
        return _skip_struct(data, position, depth + 1)
    if kind == _BINARY:
        length, position = _varint(data, position)
        if length > len(data) - position:
            raise ValueError(f"a text claims {length} bytes")
        return position + length
    if kind in (LIST, _SET):
        return _skip_list(data, position, depth + 1)
    if _I16 <= kind <= _I64:
        return _varint(data, position)[1]
    if kind not in _WIDTHS:
        raise ValueError(f"it holds the unknown type {kind}")
    return position + _WIDTHS[kind]


def _skip_list(data: bytes | memoryview, position: int, depth: int) -> int:
    kind, count, position = _list(data, position)
    if _I16 <= kind <= _I64:
        for _ in range(count):
            while data[position] >= _MORE:
                position += 1
            position += 1
    elif kind in (_TRUE, _FALSE):
        position += count
    else:
        for _ in range(count):
            position = _skip(data, position, kind, depth)
    return position


def _skip_struct(data: bytes | memoryview, position: int, depth: int) -> int:
    while True:
        byte = data[position]
        position += 1
        kind = byte & _KIND
        if not kind:
            return position
        if byte <= _KIND:
            position = _varint(data, position)[1]
        if _I16 <= kind <= _I64:
            while data[position] >= _MORE:
                position += 1
            position += 1
        elif kind == _BINARY and data[position] < _MORE:
            position += 1 + data[position]
        elif kind > _FALSE:
            position = _skip(data, position, kind, depth)


def _list(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    byte = data[position]
    position += 1
    kind, count = byte & _KIND, byte >> 4
    if count == _LONG_LIST:
        count, position = _varint(data, position)
    if count > len(data) - position:  # an element takes a byte at least
        raise ValueError(f"a list claims {count} elements")
    return kind, count, position


def _varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, position
        shift += 7
        if shift > _LONGEST_NUMBER:
            raise ValueError("it holds a number that is too long")


def _signed(data: bytes | memoryview, position: int) -> tuple[int, int]:
    value = data[position]
    if value < _MORE:
        return (value >> 1) ^ -(value & 1), position + 1
    value, position = _varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _too_early() -> ValueError:
    return ValueError("it ends too early")


def _too_deep() -> ValueError:
    return ValueError("it is nested too deeply")
