"""Thrift's compact protocol, as far as parquet's headers and footers need it: bounds checked, pure Python.

Why not pyarrow alone: where a damaged footer lacks a column chunk, `RowGroupMetaData.column` ends the whole process
(an exception of C++ that its binding does not catch), and the driver must survive any file.
"""

from __future__ import annotations

from collections.abc import Iterator

Struct = dict[int, object]
"""Fields by their number: numbers, booleans, structs and lists; text and doubles as None."""

LIST, STRUCT = 9, 12
"""Wire types that callers step through themselves."""

_MAX_DEPTH = 12
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _SET = 1, 2, 3, 4, 5, 6, 7, 8, 10
_LONG_LIST = 0x0F
_MORE = 0x80
_LONGEST_NUMBER = 63


def number(struct: Struct, key: int) -> int:
    """Return a required number of a struct.

    Raises:
        ValueError: When it is not there, or is no number.
    """
    value = struct.get(key)
    if type(value) is not int:
        raise ValueError("a required number is missing")
    return value


def read_struct(data: memoryview, position: int, depth: int = 0) -> tuple[Struct, int]:
    """Read one struct; return it and the position behind it.

    Raises:
        ValueError: When the bytes are no struct.
    """
    struct: Struct = {}
    key = 0
    while True:
        key, kind, position = read_field(data, position, key)
        if not kind:
            return struct, position
        struct[key], position = read_value(data, position, kind, depth)


def read_field(data: memoryview, position: int, before: int) -> tuple[int, int, int]:
    """Read a field's header; return its number, its wire type (0 at the struct's end) and the position behind it."""
    byte, position = _read_byte(data, position)
    kind, delta = byte & 0x0F, byte >> 4
    if not kind or delta:
        return before + delta, kind, position
    key, position = _read_signed(data, position)
    return key, kind, position


def read_list(data: memoryview, position: int) -> tuple[int, int, int]:
    """Read a list's header; return the wire type of its elements, their count and the position behind it."""
    byte, position = _read_byte(data, position)
    kind, count = byte & 0x0F, byte >> 4
    if count == _LONG_LIST:
        count, position = _read_varint(data, position)
    if count > len(data) - position:  # an element takes a byte at least
        raise ValueError(f"a list claims {count} elements")
    return kind, count, position


def read_value(data: memoryview, position: int, kind: int, depth: int = 0) -> tuple[object, int]:
    """Read one value of a wire type; return it and the position behind it.

    Raises:
        ValueError: When the bytes are no such value.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind in (_I16, _I32, _I64):
        return _read_signed(data, position)
    if kind == STRUCT:
        return read_struct(data, position, depth + 1)
    if kind in (LIST, _SET):
        return _read_elements(data, position, depth)
    return _skip_bytes(data, position, kind)


def _skip_bytes(data: memoryview, position: int, kind: int) -> tuple[None, int]:
    length = {_BYTE: 1, _DOUBLE: 8}.get(kind, 0)
    if kind == _BINARY:
        length, position = _read_varint(data, position)
    elif not length:
        raise ValueError(f"it holds the unknown type {kind}")
    if length > len(data) - position:
        raise ValueError(f"a text claims {length} bytes")
    return None, position + length


def _read_elements(data: memoryview, position: int, depth: int) -> tuple[list[object], int]:
    kind, count, position = read_list(data, position)
    elements: list[object] = []
    for value, after in _elements(data, position, kind, count, depth):
        elements.append(value)
        position = after
    return elements, position


def _elements(data: memoryview, position: int, kind: int, count: int, depth: int) -> Iterator[tuple[object, int]]:
    for _ in range(count):
        # In a list a boolean takes a byte; as a field it is part of the header.
        byte = kind in (_TRUE, _FALSE)
        value, position = _read_byte(data, position) if byte else read_value(data, position, kind, depth + 1)
        yield value, position


def _read_byte(data: memoryview, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise ValueError("it ends too early")
    return data[position], position + 1


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, position = _read_byte(data, position)
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, position
        shift += 7
        if shift > _LONGEST_NUMBER:
            raise ValueError("it holds a number that is too long")


def _read_signed(data: memoryview, position: int) -> tuple[int, int]:
    value, position = _read_varint(data, position)
    return (value >> 1) ^ -(value & 1), position
