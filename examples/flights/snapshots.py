"""Write one parquet file a day, each complete or absent."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from examples.flights.features import ID, SNAPSHOT

ROW_GROUP_ROWS = 50_000


def snapshot_path(folder: Path, day: date) -> Path:
    """Name the snapshot of a day, as `snapshot.path` of the config does."""
    return folder / f"flights_{day:%Y_%m_%d}.parquet"


def write_snapshots(rows: pd.DataFrame, days: Collection[date], shift: timedelta, folder: Path) -> int:
    """Write the snapshots of `days` (as in the source), dated `shift` later, and give how many were written.

    A snapshot that is already there is left alone: it is immutable.
    """
    wanted = {day for day in days if not snapshot_path(folder, day + shift).exists()}
    folder.mkdir(parents=True, exist_ok=True)
    chosen = rows[rows["day"].dt.date.isin(wanted)]
    for day, day_rows in chosen.groupby("day"):
        moved = day.date() + shift
        _write(_as_table(day_rows, moved), snapshot_path(folder, moved))
    return len(wanted)


def _as_table(rows: pd.DataFrame, day: date) -> pa.Table:
    """Give one day's rows as the snapshot's columns, missing numbers as nulls and never as NaN."""
    flight_id = f"{day}-" + rows["carrier"] + "-" + rows["flight"].astype(str) + "-" + rows["origin"]
    columns = rows.assign(**{ID: flight_id})[SNAPSHOT.names]
    return pa.Table.from_pandas(columns, schema=SNAPSHOT, preserve_index=False).replace_schema_metadata(None)


def _write(table: pa.Table, path: Path) -> None:
    """Write beside the final name, then rename: whoever lists the folder sees whole files only."""
    partial = path.with_suffix(".partial")
    pq.write_table(
        table, partial, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_checksum=True, store_schema=False
    )
    partial.replace(path)
