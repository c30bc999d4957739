"""Footers and page headers read by the compiled kernel are those that Python reads, or it gives up; it never guesses."""

from __future__ import annotations

import io
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore import kernel
from batchscore.ingest import chunks, pages
from batchscore.ingest.chunks import Chunk, Group

pytestmark = pytest.mark.usefixtures("needs_kernel")

WRITERS: tuple[dict[str, object], ...] = (
    {"write_page_checksum": True},
    {"compression": "zstd", "use_dictionary": False, "data_page_size": 500, "write_page_index": True},
    {"compression": "none", "data_page_version": "2.0", "store_schema": False, "write_statistics": False},
    {"version": "1.0", "sorting_columns": [pq.SortingColumn(0)], "use_deprecated_int96_timestamps": True},
)
SCHEMA = b"\x29\x2c\x48\x01r\x15\x02\x00\x48\x01x\x00"
"""A root, and one leaf column."""
CHUNK = b"\x3c\x15\x02\x35\x00\x16\x02\x16\x08\x16\x08\x26\x08\x00\x00"
ROWS = b"\x26\x02\x00"
PAGE = b"\x15\x00\x15\x08\x15\x00\x15\x02\x1c\x15\x02\x00\x00"
"""A page of one value, four bytes decompressed and none otherwise, and a checksum."""
FOOTERS = {
    "in order": (SCHEMA + b"\x29\x1c\x19\x1c" + CHUNK + ROWS + b"\x00", True),
    "two schemas": (SCHEMA + b"\x09\x04\x1c\x48\x01y\x00\x29\x1c\x19\x1c" + CHUNK + ROWS + b"\x00", False),
    "more chunks than columns": (SCHEMA + b"\x29\x1c\x19\x2c" + CHUNK + ROWS + ROWS, False),
    "rows twice": (SCHEMA + b"\x29\x1c\x19\x1c" + CHUNK + b"\x26\x02\x06\x06\x04\x00\x00", False),
    "negative rows": (SCHEMA + b"\x29\x1c\x19\x1c" + CHUNK + b"\x26\x01\x00\x00", False),
    "a list of numbers": (SCHEMA + b"\x29\x15\x02\x00", False),
}
PAGES = {
    "in order": (PAGE + PAGE, True),
    "no checksum": (PAGE + b"\x15\x00\x15\x08\x15\x00\x2c\x15\x02\x00\x00", True),
    "a negative count": (PAGE.replace(b"\x1c\x15\x02", b"\x1c\x15\x01"), False),
    "two dictionaries": (b"".join(b"\x15\x04\x15%c\x15\x00\x4c\x15\x02\x00\x00" % size for size in (20, 8)), False),
    "an index page": (b"\x15\x02" + PAGE[2:], False),
    "more bytes than there are": (PAGE.replace(b"\x15\x00\x15\x02", b"\x15\x02\x15\x02"), False),
}
Found = tuple[Group, ...] | pages.PageSizes | None


@cache
def file(writer: int) -> bytes:
    """Write a file with text, numbers, times, nulls, lists and structs in three row groups."""
    rows = range(250)
    table = pa.table(
        {
            "id": [f"C-{row:09d}" for row in rows],
            "number": [None if row % 9 == 0 else row / 7 for row in rows],
            "flag": [row % 3 == 0 for row in rows],
            "time": pa.array(rows, pa.timestamp("us")),
            "list": [[row] * (row % 4) for row in rows],
            "pair": [{"a": row, "b": str(row)} for row in rows],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=100, **WRITERS[writer])
    return sink.getvalue()


def footer(writer: int) -> tuple[bytes, int]:
    """Give a file's footer, and where it begins."""
    data = file(writer)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[start:-8], start


def compiled_groups(data: bytes, end: int) -> Found:
    """Read a footer in the kernel alone; None when it gives up."""
    limits = {"most_columns": chunks.MAX_COLUMNS, "most_chunks": chunks.MAX_CHUNKS}
    found = kernel.footer_numbers(data, data_end=end, **limits)
    if found is None:
        return None
    return tuple(Group(rows, tuple(Chunk(*each) for each in chunks)) for rows, chunks in found)


def groups(data: bytes, end: int) -> Found:
    """Read a footer in Python alone; None when it is no footer."""
    with kernel.without():
        try:
            return chunks.read_groups(data, data_end=end)
        except ValueError:
            return None


def sizes(data: bytes) -> Found:
    """Read page headers in Python alone; None when they are none."""
    with kernel.without():
        try:
            return pages.page_sizes(pa.py_buffer(data))
        except ValueError:
            return None


def compiled_sizes(data: bytes) -> Found:
    """Read page headers in the kernel alone; None when it gives up."""
    buffer = pa.py_buffer(data)
    return pages.page_sizes(buffer) if kernel.page_numbers(buffer) else None


def check_footer(data: bytes, end: int) -> bool:
    """See that both ways agree; return whether the kernel gave up."""
    found = compiled_groups(data, end)

    assert found is None or found == groups(data, end)
    return found is None


def check_pages(data: bytes) -> bool:
    """See that both ways agree; return whether the kernel gave up."""
    found = compiled_sizes(data)

    assert found is None or found == sizes(data)
    return found is None


def some_chunks(writer: int) -> list[bytes]:
    """Give the bytes of the column chunks of a file's first row group."""
    data, start = footer(writer)
    return [file(writer)[chunk.start : chunk.stop] for chunk in chunks.read_groups(data, data_end=start)[0].chunks]


@st.composite
def damages(draw: st.DrawFn, good: bytes) -> bytes:
    """Change, take out, put in or cut some bytes."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        until = at + draw(st.integers(0, 6))
        put = draw(st.one_of(st.binary(max_size=6), st.sampled_from([b"\xff" * 8, b"\x80" * 9, b"\x1c" * 9, b"\xfc"])))
        data[at:until] = put
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data)


@pytest.mark.parametrize("writer", range(len(WRITERS)))
def test_whole_files_are_read_by_the_kernel(writer: int) -> None:
    """It gives up on nothing that is in order, and finds what Python finds."""
    data, start = footer(writer)
    found = compiled_groups(data, start)

    assert found == groups(data, start)
    assert [group.rows for group in found] == [100, 100, 50]
    for chunk in some_chunks(writer):
        assert compiled_sizes(chunk) == sizes(chunk) is not None


@pytest.mark.parametrize("name", FOOTERS)
def test_footers_by_hand(name: str) -> None:
    """What is in order is read; what Python adds up, counts or refuses is left to it."""
    data, in_order = FOOTERS[name]

    assert check_footer(data, 100) != in_order
    assert not in_order or groups(data, 100)


@pytest.mark.parametrize("name", PAGES)
def test_pages_by_hand(name: str) -> None:
    """So it is with page headers."""
    data, in_order = PAGES[name]

    assert check_pages(data) != in_order
    assert not in_order or sizes(data)


@pytest.mark.parametrize("writer", range(len(WRITERS)))
def test_every_cut_and_every_bit_is_the_same(writer: int) -> None:
    """A footer cut anywhere is given up; one of which any bit is flipped reads as Python reads it, or is given up."""
    data, start = footer(writer)
    flips = (data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data)))

    assert all(check_footer(data[:length], start) for length in range(len(data)))
    assert 0 < sum(check_footer(damaged, start) for damaged in flips) < len(data)


@pytest.mark.parametrize("writer", range(len(WRITERS)))
@settings(max_examples=1_000)
@given(data=st.data())
def test_damaged_footers_are_the_same(writer: int, data: st.DataObject) -> None:
    """Whatever is done to a footer, both ways agree or the kernel gives up."""
    good, start = footer(writer)
    check_footer(data.draw(damages(good)), data.draw(st.sampled_from([start, start - 1, 2**62, 0])))


@pytest.mark.parametrize("writer", range(len(WRITERS)))
@settings(max_examples=1_000)
@given(data=st.data())
def test_damaged_pages_are_the_same(writer: int, data: st.DataObject) -> None:
    """Whatever is done to a column chunk, both ways agree or the kernel gives up."""
    check_pages(data.draw(damages(data.draw(st.sampled_from(some_chunks(writer))))))


@settings(max_examples=1_000)
@given(st.binary(max_size=80))
def test_any_bytes_are_the_same(data: bytes) -> None:
    """Bytes that are nothing at all are given up, or read as Python reads them."""
    check_footer(data, len(data))
    check_pages(data)


def test_a_chunk_in_another_file_is_pythons_to_tell() -> None:
    """A path in a column chunk is given up by the kernel, and Python says what it is."""
    data, start = footer(0)
    moved = data.replace(b"\x26\x00\x1c", b"\x18\x01x\x16\x00\x1c", 1)

    assert compiled_groups(data, start) is not None
    with pytest.raises(ValueError, match="lies in another file"):
        chunks.read_groups(moved, data_end=start)


def test_a_limit_is_pythons_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more columns or chunks than allowed, the kernel gives up and Python says so."""
    data, start = footer(0)
    monkeypatch.setattr(chunks, "MAX_COLUMNS", 10)
    with pytest.raises(ValueError, match="it declares 11 columns, above 10"):
        chunks.read_groups(data, data_end=start)
    monkeypatch.setattr(chunks, "MAX_COLUMNS", 11)
    monkeypatch.setattr(chunks, "MAX_CHUNKS", 20)
    with pytest.raises(ValueError, match="it declares 3 row groups of 7 columns, above 20"):
        chunks.read_groups(data, data_end=start)
    monkeypatch.setattr(chunks, "MAX_CHUNKS", 21)

    assert compiled_groups(data, start) == groups(data, start) is not None
