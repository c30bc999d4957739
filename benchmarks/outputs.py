"""Whether two contenders gave the same scores: bit by bit, by id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = ["customer_id", "prediction", "risk_flag"]


@dataclass(frozen=True)
class Output:
    """What a contender wrote."""

    folder: Path
    """A folder of parquet files."""
    rows: int
    """Rows in all of them."""
    digest: str
    """sha256 of ids, score bits and flags in the order of the files; a fast yes."""


def look_at(folder: Path) -> Output:
    """Read an output once, a row group at a time."""
    digest, rows = hashlib.sha256(), 0
    for table in _tables(folder):
        rows += table.num_rows
        digest.update("\0".join(table[0].to_pylist()).encode())
        digest.update(table[1].to_numpy().tobytes())
        digest.update(np.packbits(table[2].to_numpy()).tobytes())
    return Output(folder, rows, digest.hexdigest())


def difference(reference: Output, other: Output) -> str:
    """Say in what an output differs from the reference; an empty text when every bit is the same."""
    if other.digest == reference.digest:
        return ""
    if other.rows != reference.rows:
        return f"{other.rows:,} rows of {reference.rows:,}"
    (ids, scores, flags), (other_ids, other_scores, other_flags) = _sorted(reference), _sorted(other)
    if not ids.equals(other_ids):
        return "other ids"
    moved = scores.view(np.uint64) != other_scores.view(np.uint64)
    turned = int((flags != other_flags).sum())
    if not moved.any() and not turned:
        return ""
    most = np.abs(scores - other_scores).max()
    return f"{int(moved.sum()):,} of {len(scores):,} scores differ, by {most:.1e} at most; {turned:,} flags"


def _tables(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(100_000, columns=COLUMNS):
            yield (
                pa.Table.from_batches([batch])
                .select(COLUMNS)
                .cast(
                    pa.schema([(COLUMNS[0], pa.large_string()), (COLUMNS[1], pa.float64()), (COLUMNS[2], pa.bool_())])
                )
            )


def _sorted(output: Output) -> tuple[pa.ChunkedArray, np.ndarray, np.ndarray]:
    table = pa.concat_tables(_tables(output.folder)).combine_chunks()
    table = table.take(pc.sort_indices(table[0]))
    return table[0].combine_chunks(), table[1].to_numpy(), table[2].to_numpy()
