"""Page headers of a parquet column chunk: what its pages will decode to, known before one is decompressed.

The footer of a hostile or broken file may declare little and its pages much. This walks the page headers (Thrift's
compact protocol, https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift) and
decodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

_MAX_DEPTH = 8
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADER_OF = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}
_UNCOMPRESSED, _COMPRESSED, _CRC = 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class PageSizes:
    """What the pages of one column chunk declare."""

    values: int
    """Values in the data pages, nulls included."""
    uncompressed_bytes: int
    """Bytes of all pages after decompression."""
    dictionary_bytes: int
    """Bytes of the dictionary page after decompression; 0 without one."""
    all_have_checksums: bool
    """Whether each page carries a checksum."""


def page_sizes(chunk: memoryview) -> PageSizes:
    """Walk the page headers of one column chunk.

    Args:
        chunk: The chunk's bytes, from its first page header to the end of its last page.

    Raises:
        ValueError: When the bytes are not a sequence of pages.
    """
    position = values = uncompressed = dictionary = 0
    checksums = True
    while position < len(chunk):
        header, position = _read_struct(chunk, position, 0)
        kind, size, length = _number(header, 1), _number(header, _UNCOMPRESSED), _number(header, _COMPRESSED)
        if size < 0 or length < 0 or position + length > len(chunk):
            raise ValueError(f"a page claims {length} bytes, more than its column chunk has")
        position += length
        uncompressed += size
        checksums &= _CRC in header
        inner = header.get(_HEADER_OF.get(kind, -1))
        count = _number(inner, 1) if isinstance(inner, dict) else 0
        if kind == _DICTIONARY_PAGE:
            dictionary = max(dictionary, size)
        else:
            values += max(count, 0)
    return PageSizes(
        values=values, uncompressed_bytes=uncompressed, dictionary_bytes=dictionary, all_have_checksums=checksums
    )


_Struct = dict[int, object]


def _number(struct: _Struct, key: int) -> int:
    value = struct.get(key)
    if not isinstance(value, int):
        raise ValueError("a page header lacks a required number")  # noqa: TRY004 - bad bytes, not a bad argument
    return value


def _read_struct(data: memoryview, position: int, depth: int) -> tuple[_Struct, int]:
    struct: _Struct = {}
    key = 0
    while True:
        byte, position = _read_byte(data, position)
        kind, delta = byte & 0x0F, byte >> 4
        if kind == _STOP:
            return struct, position
        if delta:
            key += delta
        else:
            key, position = _read_signed(data, position)
        struct[key], position = _read_value(data, position, kind, depth)


def _read_value(data: memoryview, position: int, kind: int, depth: int) -> tuple[object, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("a page header is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind == _BYTE:
        return _read_byte(data, position)
    if kind in (_I16, _I32, _I64):
        return _read_signed(data, position)
    if kind == _DOUBLE:
        return None, position + 8
    if kind == _BINARY:
        length, position = _read_varint(data, position)
        return None, position + length
    if kind in (_LIST, _SET):
        return _skip_list(data, position, depth)
    if kind == _STRUCT:
        return _read_struct(data, position, depth + 1)
    raise ValueError(f"a page header holds the unknown type {kind}")


def _skip_list(data: memoryview, position: int, depth: int) -> tuple[None, int]:
    byte, position = _read_byte(data, position)
    kind, count = byte & 0x0F, byte >> 4
    if count == 0x0F:  # noqa: PLR2004 - the marker of a long list
        count, position = _read_varint(data, position)
    for _ in range(count):
        if kind in (_TRUE, _FALSE):
            position += 1
        else:
            _, position = _read_value(data, position, kind, depth + 1)
        if position > len(data):
            raise ValueError("a page header ends too early")
    return None, position


def _read_byte(data: memoryview, position: int) -> tuple[int, int]:
    if not 0 <= position < len(data):
        raise ValueError("a page header ends too early")
    return data[position], position + 1


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, position = _read_byte(data, position)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 - no number of the format is longer
            raise ValueError("a page header holds a number that is too long")


def _read_signed(data: memoryview, position: int) -> tuple[int, int]:
    value, position = _read_varint(data, position)
    return (value >> 1) ^ -(value & 1), position
