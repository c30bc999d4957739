"""Page headers of a parquet column chunk: what its pages will decode to, known before one is decompressed.

The footer of a hostile or broken file may declare little and its pages much. This walks the page headers (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift) and
decodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchscore.ingest.thrift import number, read_struct

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
        header, position = read_struct(chunk, position)
        kind, size, length = number(header, 1), number(header, _UNCOMPRESSED), number(header, _COMPRESSED)
        if size < 0 or length < 0 or position + length > len(chunk):
            raise ValueError(f"a page claims {length} bytes, more than its column chunk has")
        position += length
        uncompressed += size
        checksums &= _CRC in header
        inner = header.get(_HEADER_OF.get(kind, -1))
        count = number(inner, 1) if isinstance(inner, dict) else 0
        if kind == _DICTIONARY_PAGE:
            dictionary = max(dictionary, size)
        else:
            values += max(count, 0)
    return PageSizes(
        values=values, uncompressed_bytes=uncompressed, dictionary_bytes=dictionary, all_have_checksums=checksums
    )
