"""Ids across partitions: each may stand once in the whole snapshot."""

from __future__ import annotations

import pyarrow as pa

from batchscore.check import Checked
from batchscore.errors import ContractError
from batchscore.ids import AT_ONCE, ByteRun, Duplicate, confirm, merge_ranges
from batchscore.ingest import PartitionReader
from batchscore.preprocess import locate
from batchscore.report import Totals
from batchscore.store import WorkFolder

LEAST_READ = 512
"""Hashes of a partition that are read at a time at least, a page: with fewer, many partitions cost a read per hash."""

_SHOWN = 5


def check_unique(checked: Checked, work: WorkFolder, totals: Totals) -> None:
    """Refuse an id that stands in two partitions; exact, and in bounded memory.

    Raises:
        ContractError: With the first rows by file and row number, and no values.
    """
    partitions = checked.plan.partitions
    if len(partitions) == 1:
        return
    runs = [
        ByteRun(lambda start, stop, index=report.index: work.ids(index, start, stop), report.read_rows)  # type: ignore[misc]
        for report in totals.in_order
    ]
    candidates = merge_ranges(runs, at_once=max(AT_ONCE, LEAST_READ * len(runs)))
    found = confirm(candidates, lambda index: _ids(checked, index))
    if found:
        raise _error(checked, found)


def _ids(checked: Checked, index: int) -> pa.ChunkedArray:
    options = checked.config
    partition = checked.plan.partitions[index]
    reader = PartitionReader(partition, [options.snapshot.id], max_bytes=options.partition.max_bytes)
    return pa.chunked_array([batch.column(0) for batch in reader.batches()])


def _error(checked: Checked, found: tuple[Duplicate, ...]) -> ContractError:
    places = []
    for each in found[:_SHOWN]:
        [(path, row)] = locate(checked.plan.partitions[each.partition], [each.row])
        [(other, other_row)] = locate(checked.plan.partitions[each.other_partition], [each.other_row])
        places.append(f"{path} row {row} and {other} row {other_row}")
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ContractError(
        f"{len(found)} ids of column '{checked.config.snapshot.id}' stand twice: {'; '.join(places)}{more}",
        slug="DUPLICATE-ID",
        remedy="mend the ids at their source; rows without an id of their own can not be told apart",
        duplicates=len(found),
    )
