"""Rows that break the contract: named in an error, or set aside within a budget; and ids, which never may. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from batchscore.errors import ContractError, TooManyBadRows
from batchscore.ids import IdHashes, Rows, find_bad_ids, hash_ids
from batchscore.plan import Partition
from batchscore.preprocess.rows import REASONS, RowCheck
from batchscore.strict import Section

QUARANTINE_COLUMNS = ("source_file", "row_number", "reasons", "columns", "values")
"""The columns of a quarantine part behind the id."""

_SHOWN = 5


class RowsOptions(Section):
    """`rows`: what becomes of rows that break the contract."""

    on_bad: Literal["fail", "quarantine"] = "fail"
    """Whether a bad row fails the run, or is set aside within the budget."""
    max_bad_count: int = Field(default=0, ge=0)
    """The most rows that may be set aside; both limits must hold."""
    max_bad_percent: float = Field(default=0, ge=0, le=100)
    """The most percent of the rows read that may be set aside; both limits must hold."""


def locate(partition: Partition, rows: Sequence[int] | Rows) -> tuple[tuple[str, int], ...]:
    """Return file and row number, counted from 0 within the file, of rows of a partition.

    Args:
        partition: The partition.
        rows: Row numbers within the partition, from 0.
    """
    wanted = np.asarray(rows, np.int64)
    ends = np.cumsum([fragment.rows for fragment in partition.fragments])
    places = np.searchsorted(ends, wanted, side="right")
    found = []
    for row, place in zip(wanted.tolist(), places.tolist(), strict=True):
        fragment = partition.fragments[place]
        found.append((fragment.path, fragment.first_row + row - int(ends[place]) + fragment.rows))
    return tuple(found)


def numbers_of(partition: Partition, places: Mapping[str, Sequence[int]]) -> npt.NDArray[np.int64]:
    """Return the numbers within a partition of rows that are given by file and number in the file, ascending."""
    found, start = [np.empty(0, np.int64)], 0
    for fragment in partition.fragments:
        rows = np.asarray(places.get(fragment.path, ()), np.int64) - fragment.first_row
        found.append(rows[(rows >= 0) & (rows < fragment.rows)] + start)
        start += fragment.rows
    return np.sort(np.concatenate(found))


def bad_rows_error(check: RowCheck, partition: Partition) -> ContractError:
    """Return the error of `rows.on_bad: fail`: the first bad rows, the reasons and their counts, and no values.

    Args:
        check: Findings, at least one, numbered within the partition.
        partition: The partition.
    """
    bad = check.bad_rows
    first = bad[:_SHOWN]
    places = locate(partition, first)
    named = [
        f"{path} row {number} ({_reasons_of(check, int(row))})"
        for row, (path, number) in zip(first, places, strict=True)
    ]
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    counts = {reason: count for reason, count in check.counts.items() if count}
    return ContractError(
        f"{len(bad)} of {check.rows} rows of {partition.name} break the contract "
        f"({', '.join(f'{reason} {count}' for reason, count in counts.items())}): {', '.join(named)}{more}",
        slug="BAD-ROWS",
        remedy="mend the rows at their source, or set rows.on_bad to quarantine with a budget",
        partition=partition.index,
        bad_rows=len(bad),
        counts=counts,
        columns=sorted({finding.column for finding in check.findings}),
    )


def most_bad(options: RowsOptions, rows: int) -> int:
    """Return how many of `rows` rows the budget allows to be bad."""
    return min(options.max_bad_count, int(options.max_bad_percent * rows // 100))


def check_budget(bad: int, read: int, counts: dict[str, int], options: RowsOptions, *, at_least: bool = False) -> None:
    """Check the rows that were set aside against both limits of the budget.

    Args:
        bad: Rows set aside.
        read: Rows read.
        counts: Rows per reason, for the message.
        options: The budget.
        at_least: Whether there may be more of them, for the message.

    Raises:
        TooManyBadRows: When either limit is passed.
    """
    over = []
    if bad > options.max_bad_count:
        over.append(f"rows.max_bad_count is {options.max_bad_count}")
    if bad * 100 > options.max_bad_percent * read:
        over.append(f"rows.max_bad_percent is {options.max_bad_percent:g}")
    if not over:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
    raise TooManyBadRows(
        f"{'at least ' if at_least else ''}{bad} of {read} rows are bad ({reasons}), and {' and '.join(over)}",
        slug="BUDGET",
        remedy="mend the source, or raise both limits if so many bad rows are acceptable",
        bad_rows=bad,
        read_rows=read,
        counts=dict(counts),
    )


def check_ids(column: pa.Array | pa.ChunkedArray, partition: Partition) -> IdHashes:
    """Hash the ids of a partition, and refuse null and duplicate ones.

    Args:
        column: The ids of all rows of the partition, in row order.
        partition: The partition.

    Raises:
        ContractError: With the first rows by file and row number, and no values.
    """
    hashes = hash_ids(column)
    bad = find_bad_ids(column, hashes)
    if len(bad.nulls):
        raise _id_error("NULL-ID", f"{_ids(len(bad.nulls))} null", locate(partition, bad.nulls[:_SHOWN]), partition)
    if len(bad.duplicates):
        pairs = np.stack([bad.first, bad.duplicates], axis=1)[:_SHOWN].ravel()
        fact = f"{_ids(len(bad.duplicates))} that of an earlier row"
        raise _id_error("DUPLICATE-ID", fact, locate(partition, pairs), partition)
    return hashes


def quarantine_table(
    table: pa.Table | pa.RecordBatch, check: RowCheck, partition: Partition, *, id_column: str, first_row: int = 0
) -> pa.Table:
    """Build the quarantine rows of one batch.

    Args:
        table: The batch as read, before any cast.
        check: The batch's findings.
        partition: The partition.
        id_column: The column that names a row.
        first_row: The number within the partition of the batch's first row.

    Returns:
        One row per bad row, in row order: the id under its own name and type, source file, row number (counted from
        0 in the file), all reason codes, and of each offending column its name and the original value as text; a row
        that killed workers has no such column.
    """
    bad = check.bad_rows
    position = {int(row): index for index, row in enumerate(bad)}
    reasons: list[set[str]] = [set() for _ in bad]
    values: list[dict[str, str | None]] = [{} for _ in bad]
    for finding in check.findings:
        for row in finding.rows.tolist():
            reasons[position[row]].add(finding.reason)
        if not finding.column:
            continue
        column = table.column(finding.column).take(pa.array(finding.rows - first_row, pa.int64()))
        for row, text in zip(finding.rows.tolist(), _texts(column), strict=True):
            values[position[row]][finding.column] = text
    places = locate(partition, bad)
    ids = table.column(id_column).take(pa.array(bad - first_row, pa.int64()))
    return pa.table(
        [
            ids,
            pa.array([path for path, _ in places], pa.string()),
            pa.array([number for _, number in places], pa.int64()),
            pa.array([[code for code in REASONS if code in each] for each in reasons], pa.list_(pa.string())),
            pa.array([list(each) for each in values], pa.list_(pa.string())),
            pa.array([list(each.values()) for each in values], pa.list_(pa.string())),
        ],
        names=[id_column, *QUARANTINE_COLUMNS],
    )


def _ids(count: int) -> str:
    return "1 id is" if count == 1 else f"{count} ids are"


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    texts: list[str | None] = pc.cast(plain, pa.string()).to_pylist()
    return texts


def _reasons_of(check: RowCheck, row: int) -> str:
    return ", ".join(f"{each.column}: {each.reason}" for each in check.findings if _contains(each.rows, row))


def _contains(rows: npt.NDArray[np.int64], row: int) -> bool:
    at = int(np.searchsorted(rows, row))
    return at < len(rows) and int(rows[at]) == row


def _id_error(slug: str, fact: str, places: Sequence[tuple[str, int]], partition: Partition) -> ContractError:
    return ContractError(
        f"{fact} in {partition.name}: {', '.join(f'{path} row {number}' for path, number in places)}",
        slug=slug,
        remedy="mend the ids at their source; rows without an id of their own can not be told apart",
        partition=partition.index,
    )
