"""Parquet's footers and page headers in one compiled pass, which gives up on whatever is not plainly in order."""

from __future__ import annotations

import ctypes

import numpy as np
import pyarrow as pa

from batchscore.kernel.library import Pages, library

_NUMBERS = 7
_SHORTEST = 15
"""Bytes of the shortest column chunk in a footer: seven fields, two ends."""


def footer_numbers(
    footer: bytes, *, data_end: int, most_columns: int, most_chunks: int
) -> list[tuple[int, list[list[int]]]] | None:
    """Read a footer's row groups; None where only Python can tell, or where there is no compiled library.

    Args:
        footer: The footer's metadata, without its length and magic.
        data_end: Where the data part of the file ends.
        most_columns: The most schema elements.
        most_chunks: The most column chunks.

    Returns:
        For each row group its rows and its chunks: of each the seven numbers of `struct chunk` in thrift.h.
    """
    compiled = library()
    if compiled is None:
        return None
    room = min(most_chunks, len(footer) // _SHORTEST)  # what it takes follows from its bytes, not from what they claim
    rows, chunks = np.empty(room, dtype=np.int64), np.empty((room, _NUMBERS), dtype=np.int64)
    leaves = ctypes.c_int64()
    given = (footer, len(footer), data_end, most_columns, room)
    count = compiled.batchscore_footer(*given, rows.ctypes.data, chunks.ctypes.data, ctypes.byref(leaves))
    if count < 0:
        return None
    found, width = chunks[: count * leaves.value].tolist(), leaves.value
    return [(each, found[at * width : (at + 1) * width]) for at, each in enumerate(rows[:count].tolist())]


def page_numbers(chunk: pa.Buffer) -> Pages | None:
    """Walk the page headers of one column chunk; None where only Python can tell, or without a compiled library."""
    compiled, found = library(), Pages()
    if compiled is None or compiled.batchscore_pages(chunk.address, chunk.size, ctypes.byref(found)):
        return None
    return found
