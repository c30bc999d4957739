"""Footers and page headers as bytes: what is stepped over is what would have been read, and damage is one error."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchscore.ingest.thrift import STRUCT, read_struct, skip_value

DEEP = b"\x1c" * 40
"""Field 1, a struct, in field 1 of a struct, and so on."""


def footer(**options) -> bytes:
    """Give the footer of a file with text, numbers, lists, structs and two row groups."""
    rows = 300
    table = pa.table(
        {
            "id": [f"C-{row:09d}" for row in range(rows)],
            "number": [row / 7 for row in range(rows)],
            "flag": [row % 3 == 0 for row in range(rows)],
            "list": [[row, row + 1] for row in range(rows)],
            "pair": [{"a": row, "b": str(row)} for row in range(rows)],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=200, **options)
    data = sink.getvalue()
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_whole_footer_is_read_and_stepped_over(store_schema):
    """Both end where the bytes do, and the counts are pyarrow's."""
    data = footer(store_schema=store_schema)
    struct, end = read_struct(data, 0)

    assert (end, struct[3], len(struct[4])) == (len(data), 300, 2)
    assert skip_value(data, 0, STRUCT) == len(data)


def test_only_what_is_wanted_is_returned():
    """A wanted field has the value that reading all of them gives it, at every depth."""
    data = footer()
    whole, end = read_struct(data, 0)
    some, same_end = read_struct(data, 0, {3: None, 4: {1: {3: {5: None}}}})
    expected = {3: whole[3], 4: [{1: [{3: {5: chunk[3][5]}} for chunk in group[1]]} for group in whole[4]]}

    assert (some, same_end) == (expected, end)


@example(DEEP)
@example(b"")
@given(st.binary(max_size=80))
def test_bad_bytes_are_a_struct_or_one_error(data):
    """No bytes raise anything but ValueError, read or stepped over; and both ways never read beyond the end."""
    for read in (read_struct, lambda data, at: (None, skip_value(data, at, STRUCT))):
        try:
            _, end = read(data, 0)
        except ValueError:
            continue

        assert 0 < end <= len(data)


@given(st.data())
def test_a_changed_footer_ends_alike(data):
    """Where a damaged footer can be read, stepping over it ends at the same byte."""
    good = footer()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        _, end = read_struct(damaged, 0)
    except ValueError:
        return

    assert skip_value(damaged, 0, STRUCT) == end


def test_nesting_has_a_limit():
    """A struct in a struct in a struct, hostile or not, does not end in a recursion error."""
    with pytest.raises(ValueError, match="nested too deeply"):
        read_struct(DEEP + b"\0" * 40, 0)
    with pytest.raises(ValueError, match="nested too deeply"):
        skip_value(DEEP + b"\0" * 40, 0, STRUCT)
