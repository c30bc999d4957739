"""The writer: same table, same bytes; same values, same logical digest."""

import io
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchscore import parts


def _table(chunks: int = 1) -> pa.Table:
    rows = 12
    table = pa.table(
        {
            "id": pa.array([f"id-{n}" for n in range(rows)]),
            "name": pa.array([None if n % 5 == 0 else "ä" * n for n in range(rows)]),
            "x": pa.array([None if n == 3 else n / 7 for n in range(rows)]),
            "n": pa.array([None if n == 4 else n for n in range(rows)], pa.int32()),
            "flag": pa.array([None if n == 5 else n % 2 == 0 for n in range(rows)]),
            "day": pa.array([date(2013, 2, n + 1) for n in range(rows)]),
        }
    )
    size = rows // chunks
    return pa.concat_tables([table.slice(n * size, size) for n in range(chunks)])


def test_chunk_layout_does_not_change_bytes():
    """A table cut into chunks, or sliced out of a longer one, is written to the same bytes."""
    whole, cut = parts.serialise(_table()), parts.serialise(_table(4))
    sliced = parts.serialise(pa.concat_tables([_table(), _table()]).combine_chunks().slice(12))

    assert whole == cut == sliced


def test_zero_sign_and_nan_payload_do_not_change_bytes():
    """Negative zero and the payload of a NaN are normalised away."""
    odd_nan = np.frombuffer(np.uint64(0x7FF8000000000123).tobytes(), np.float64)[0]

    assert parts.serialise(pa.table({"x": [0.0, np.nan]})) == parts.serialise(
        pa.table({"x": np.array([-0.0, odd_nan])})
    )


def test_garbage_under_nulls_does_not_change_the_digest():
    """What lies under a null counts neither for the bytes nor for the logical digest."""
    validity = pa.py_buffer(bytes([0b101]))
    one, two = (
        pa.table({"x": pa.Array.from_buffers(pa.int64(), 3, [validity, pa.py_buffer(np.array([1, dirt, 3]))])})
        for dirt in (7, 9)
    )

    assert parts.serialise(one).logical_sha256 == parts.serialise(two).logical_sha256


@pytest.mark.parametrize("column", ["id", "name", "x", "n", "flag", "day"])
def test_every_value_counts(column):
    """Changing one value, or turning it into a null, changes both digests."""
    table = _table()
    position = table.column_names.index(column)
    moved = pa.concat_arrays([table[column].chunk(0)[1:], table[column].chunk(0)[:1]])
    nulled = pa.concat_arrays([table[column].chunk(0)[:-1], pa.nulls(1, moved.type)])
    digests = {parts.serialise(table.set_column(position, column, c)).logical_sha256 for c in (moved, nulled)}

    assert len(digests | {parts.serialise(table).logical_sha256}) == 3


def test_dictionaries_and_large_strings_are_plain_strings():
    """How strings were encoded in memory is not seen in the file."""
    plain = pa.array(["a", "b", None, "a"])
    variants = [plain, plain.dictionary_encode(), plain.cast(pa.large_string()), plain.cast(pa.string_view())]

    assert len({parts.serialise(pa.table({"s": variant})).sha256 for variant in variants}) == 1


def test_it_reads_back():
    """What was written is read back, with page checksums verified, and a flipped byte is seen."""
    written = parts.serialise(_table())
    chunk = pq.ParquetFile(io.BytesIO(written.data)).metadata.row_group(0).column(0)
    broken = bytearray(written.data)
    broken[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1

    assert parts.read_part(written.data).equals(parts.canonical_table(_table()))
    with pytest.raises((pa.ArrowException, OSError)):
        parts.read_part(bytes(broken))


def test_concatenation_keeps_rows_and_order():
    """One file of all parts holds the same rows in the same order, and is deterministic."""
    first, second, empty = _table(), _table().slice(3, 4), _table().slice(0, 0)
    files = []
    for _ in range(2):
        sink = io.BytesIO()
        parts.concatenate([parts.serialise(table).data for table in (first, empty, second)], sink)
        files.append(sink.getvalue())

    assert files[0] == files[1]
    assert pq.read_table(io.BytesIO(files[0])).equals(pa.concat_tables([first, second]))


def test_empty_table():
    """A part of no rows has its schema."""
    written = parts.serialise(_table().slice(0, 0))

    assert parts.read_part(written.data).schema.names == ["id", "name", "x", "n", "flag", "day"]
