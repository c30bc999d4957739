"""Where an id stands in a published run: by the statistics of its parts, and then by their verified bytes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import UsageError
from batchscore.parts import read_part
from batchscore.plan import Partition
from batchscore.store import Published

PREDICTIONS, QUARANTINE = "predictions.parquet", "quarantine.parquet"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A row of a published run."""

    kind: Literal["predictions.parquet", "quarantine.parquet"]
    """Among which rows it is."""
    partition: int
    """The index of its partition; -1 for a row that was set aside."""
    place: int
    """Its place among the partition's scored rows, from 0; in the quarantine among the rows of its file."""
    row: pa.Table
    """The row, one row."""
    parts_read: int
    """Parts that were read whole to find it."""


def find(published: Published, id_column: str, given: str) -> Found:
    """Find a row by its id.

    Parts whose statistics leave room for the id are read first. Only for an id that is in none of them all others are
    read as well: a footer is not covered by checksums, and "there is no such row" must be sure.

    Args:
        published: The run.
        id_column: The id's name.
        given: The id, as a person types it.

    Raises:
        UsageError: When the run has no such id.
        StateDamaged: When a part is not the one that was published.
    """
    candidates = [
        (kind, path, sha256, _room(published, path, size, id_column, given))
        for kind in (PREDICTIONS, QUARANTINE)
        for path, (sha256, size) in published.files(kind).items()
    ]
    likely_first = sorted(candidates, key=lambda candidate: not candidate[3])
    for read, (kind, path, sha256, _) in enumerate(likely_first, start=1):
        table = read_part(published.read(path, sha256))
        at = _index(table.column(id_column), given)
        if at >= 0:
            partition, place = _partition(published, kind, path, at)
            row = table.slice(at, 1)
            return Found(kind=kind, partition=partition, place=place, row=row, parts_read=read)  # type: ignore[arg-type]
    raise UsageError(
        f"no row of {published.commit.date}, revision {published.commit.number}, has the {id_column} {given!r}",
        slug="UNKNOWN-ID",
        remedy="check the id and the date; ids are compared letter by letter",
        date=published.commit.date,
    )


def _room(published: Published, path: str, size: int, id_column: str, given: str) -> bool:
    """Whether the statistics of any row group leave room for the id."""
    footer = published.footer(path, size)
    at = footer.schema.to_arrow_schema().get_field_index(id_column)
    for group in range(footer.num_row_groups):
        found = footer.row_group(group).column(at).statistics
        if found is None or not found.has_min_max:
            return True
        wanted = _typed(given, type(found.min))
        if wanted is not None and found.min <= wanted <= found.max:
            return True
    return False


def _typed(given: str, kind: type) -> Any:
    if kind is not int:
        return given
    # `int` also takes underscores and signs that nobody prints.
    return int(given) if given.removeprefix("-").isdecimal() and str(int(given)) == given else None


def _index(ids: pa.ChunkedArray, given: str) -> int:
    wanted = _typed(given, int if pa.types.is_integer(ids.type) else str)
    try:
        return -1 if wanted is None else int(pc.index(ids, pa.scalar(wanted, ids.type)).as_py())
    except (pa.ArrowInvalid, OverflowError):
        return -1


def _partition(published: Published, kind: str, path: str, at: int) -> tuple[int, int]:
    if kind == QUARANTINE:
        return -1, at
    parts = published.document("manifest.json")["parts"]
    if path == PREDICTIONS:
        starts = [0, *accumulate(part["rows"] for part in parts)]
        index = bisect_right(starts, at) - 1
        return index, at - starts[index]
    names = [part["name"] for part in parts]
    return names.index(path.rsplit("/", 1)[-1]), at


def places_aside(published: Published, partition: Partition, reason: str | None = None) -> dict[str, list[int]]:
    """Return the rows of a partition that its run set aside: their numbers in the file, by path.

    Args:
        published: The run that scored the partition.
        partition: The partition, as the run planned it.
        reason: Only rows with this reason; by default all.
    """
    path = f"{QUARANTINE}/{partition.name}.parquet"
    files = published.files(QUARANTINE)
    places: dict[str, list[int]] = {}
    if path not in files:
        return places
    table = read_part(published.read(path, files[path][0]))
    for row in table.select(["source_file", "row_number", "reasons"]).to_pylist():
        if reason is None or reason in row["reasons"]:
            places.setdefault(row["source_file"], []).append(row["row_number"])
    return places
