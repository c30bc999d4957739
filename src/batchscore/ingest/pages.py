"""Page headers of a parquet column chunk: what its pages will decode to, known before one is decompressed.

The footer of a hostile or broken file may declare little and its pages much. This walks the page headers and
decodes nothing; the compiled kernel walks over those that are in order, and gives up on the others.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift names the fields.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from batchscore.ingest.thrift import Wanted, number, read_struct
from batchscore.kernel import page_numbers

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADER_OF = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}
_UNCOMPRESSED, _COMPRESSED, _CRC = 2, 3, 4
_HEADER: Wanted = {
    1: None,
    _UNCOMPRESSED: None,
    _COMPRESSED: None,
    _CRC: None,
    **{key: {1: None} for key in _HEADER_OF.values()},
}
_CODECS = {0: "", 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_LOOKED_INTO = 16 * 1024 * 1024
_LENGTH_BYTES = 4


class PageSizes(NamedTuple):
    """What the pages of one column chunk declare."""

    values: int
    """Values in the data pages, nulls included."""
    uncompressed_bytes: int
    """Bytes of all pages after decompression."""
    longest_coded: int
    """Bytes of the longest text in the dictionary page, or of the whole page where that was not asked for; else 0."""
    all_have_checksums: bool
    """Whether each page carries a checksum."""


def page_sizes(chunk: pa.Buffer, *, codec: int | None = None) -> PageSizes:
    """Walk the page headers of one column chunk.

    Args:
        chunk: The chunk's bytes, from its first page header to the end of its last page.
        codec: The number of the chunk's compression, for chunks of text whose dictionary shall be looked into.

    Raises:
        ValueError: When the bytes are not a sequence of pages.
    """
    found = page_numbers(chunk)
    if found is None:
        return _page_sizes(memoryview(chunk).cast("B"), codec)
    longest = 0
    if found.dictionary >= 0:
        content = chunk.slice(found.dictionary, found.dictionary_length)
        longest = _longest_of(content, found.dictionary_size, codec)
    return PageSizes(
        values=found.values,
        uncompressed_bytes=found.uncompressed,
        longest_coded=longest,
        all_have_checksums=bool(found.checksums),
    )


def _page_sizes(chunk: memoryview, codec: int | None) -> PageSizes:
    position = values = uncompressed = longest = 0
    checksums = True
    while position < len(chunk):
        header, position = read_struct(chunk, position, _HEADER)
        kind, size, length = number(header, 1), number(header, _UNCOMPRESSED), number(header, _COMPRESSED)
        if size < 0 or length < 0 or position + length > len(chunk):
            raise ValueError(f"a page claims {length} bytes, more than its column chunk has")
        position += length
        uncompressed += size
        checksums &= _CRC in header
        inner = header.get(_HEADER_OF.get(kind, -1))
        count = number(inner, 1) if isinstance(inner, dict) else 0
        if kind == _DICTIONARY_PAGE:
            content = chunk[position - length : position]
            longest = max(longest, _longest_of(content, size, codec))
        else:
            values += max(count, 0)
    return PageSizes(
        values=values, uncompressed_bytes=uncompressed, longest_coded=longest, all_have_checksums=checksums
    )


def _longest_of(page: pa.Buffer | memoryview, size: int, codec: int | None) -> int:
    """Return the length of the longest text of a dictionary page: each has four bytes of length before it."""
    if codec is None or codec not in _CODECS or size > _LOOKED_INTO:
        return size
    name = _CODECS[codec]
    try:
        content = pa.Codec(name).decompress(page, decompressed_size=size).to_pybytes() if name else bytes(page)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"its dictionary page can not be decompressed: {error}") from None
    return min(_longest(content), size)


def _longest(content: bytes) -> int:
    step = int.from_bytes(content[:_LENGTH_BYTES], "little") + _LENGTH_BYTES
    if len(content) % step == 0:  # texts of one length, as ids mostly are, need no loop
        lengths = np.frombuffer(content, np.uint8).reshape(-1, step)[:, :_LENGTH_BYTES]
        if (lengths == lengths[:1]).all():
            return step - _LENGTH_BYTES
    position = longest = 0
    while position + _LENGTH_BYTES <= len(content):
        length = int.from_bytes(content[position : position + _LENGTH_BYTES], "little")
        position += _LENGTH_BYTES + length
        if length > longest:  # noqa: PLR1730 - `max` would double the time of the loop
            longest = length
    return longest
