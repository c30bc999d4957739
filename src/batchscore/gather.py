"""Hand out the partitions of a checked date, gather their reports, and find the rows that kill workers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from batchscore.check import Checked
from batchscore.cluster import Workers, connect
from batchscore.errors import BatchscoreError, PartitionsFailed
from batchscore.execution import Execution
from batchscore.logs import logger
from batchscore.plan import Partition
from batchscore.preprocess import check_budget, most_bad
from batchscore.report import PartitionOutcome, Totals
from batchscore.score import Job, attempt, try_rows
from batchscore.store import Store

Progress = Callable[[int, int], None]
"""Told the rows that are done and the rows in all."""

_log = logger(__name__)


def job_of(checked: Checked, store: Store, run_id: str) -> Job:
    """Return what every task of a checked date must know."""
    config = checked.config
    return Job(
        work=store.work(checked.plan),
        id_column=config.snapshot.id,
        carried=checked.carried,
        types=checked.types,
        schema=checked.schema,
        model=checked.model,
        calibration=config.calibration,
        postprocess=config.postprocess,
        rows=config.rows,
        max_bytes=config.partition.max_bytes,
        run_id=run_id,
    )


def score_all(checked: Checked, job: Job, execution: Execution, progress: Progress) -> Totals:
    """Score every partition, or find it finished; rows that kill workers are set aside within the budget.

    Raises:
        BatchscoreError: The error of the first partition, in order, that failed; or the cluster's.
    """
    if not gc.isenabled():
        gc.freeze()  # modules, model and plan stay to the end: from here on only what is new is looked through
        gc.enable()
    plan, totals = checked.plan, Totals()
    rows, done = plan.planned_rows, 0
    finished = len(job.work.finished())
    if finished:
        _log.info("resuming", finished=finished, partitions=len(plan.partitions))

    def take(outcome: PartitionOutcome) -> None:
        nonlocal done
        totals.add(outcome.report)
        execution.add(outcome)
        done += outcome.report.read_rows
        progress(done, rows)

    seconds = checked.config.cluster.deadline_minutes * 60
    with execution.connected(lambda: connect(checked.config.cluster, plan.partitions), seconds) as workers:
        while True:
            missing = [each for each in plan.partitions if each.index not in totals.reports]
            try:
                workers.run(partial(attempt, job), missing, take)
                break
            except PartitionsFailed as error:
                job = _without_deadly_rows(workers, job, error, missing, rows)
    _log.info("partitions scored", partitions=len(plan.partitions), **execution.counts())
    return totals


def _without_deadly_rows(
    workers: Workers, job: Job, error: PartitionsFailed, missing: list[Partition], all_rows: int
) -> Job:
    """Return the job that sets aside the rows over which workers died, or raise the error when that can not be.

    Raises:
        PartitionsFailed: The error: rows may not be set aside, or it is no row's doing.
        TooManyBadRows: When more rows are deadly than may be set aside: they would be at the next attempt too.
    """
    most = most_bad(job.rows, all_rows)
    if error.slug != "KILLED-WORKER" or job.rows.on_bad != "quarantine":
        raise error
    partition = next(each for each in missing if each.index == error.context["partition"])
    before = sum(stop - start for ranges in job.killed.values() for start, stop in ranges)
    _log.warning("looking for the rows that kill workers", partition=partition.index, most=most - before)
    found = deadly_rows(workers, job, partition, most - before)
    if found is None:
        raise error
    _log.warning("rows killed workers", partition=partition.index, rows=len(found))
    deadly = before + len(found)
    check_budget(deadly, all_rows, {"killed-worker": deadly}, job.rows, at_least=True)
    return replace(job, killed={**job.killed, partition.index: found})


def deadly_rows(workers: Workers, job: Job, partition: Partition, most: int) -> tuple[tuple[int, int], ...] | None:
    """Bisect a partition that kills workers to the rows that do, one range each.

    The first rows of the partition are scored alone, and nothing else: the fewest that kill a worker end with a deadly
    row. So what is found depends on the rows and not on the number of workers, or on what else they do.

    Args:
        workers: They are processes.
        job: The job.
        partition: The partition.
        most: How many rows may be set aside.

    Returns:
        The rows, ascending, one more than `most` when there are more; None when no row by itself is deadly, such as
        where the file kills its reader, or where the partition as a whole needs too much memory.

    Raises:
        BatchscoreError: When rows fail otherwise.
    """
    if _kills(workers, job, partition, 0):
        return None
    found: tuple[tuple[int, int], ...] = ()
    first = 0
    while True:
        row = _first_deadly(workers, replace(job, killed={**job.killed, partition.index: found}), partition, first)
        alone = replace(job, killed={**job.killed, partition.index: ((0, row),)})
        if not _kills(workers, alone, partition, row + 1, surely=True):
            return None
        found, first = (*found, (row, row + 1)), row + 1
        rest = replace(job, killed={**job.killed, partition.index: found})
        if len(found) > most or not _kills(workers, rest, partition, partition.rows):
            return found


def _first_deadly(workers: Workers, job: Job, partition: Partition, living: int) -> int:
    """Return the first row that kills a worker, when scoring all of them does and scoring the first ones does not."""
    deadly = partition.rows
    while deadly - living > 1:
        middle = (living + deadly) // 2
        if _kills(workers, job, partition, middle):
            deadly = middle
        else:
            living = middle
    return deadly - 1


def _kills(workers: Workers, job: Job, partition: Partition, rows: int, *, surely: bool = False) -> bool:
    result = workers.try_alone(partial(try_rows, job, rows), partition, surely=surely)
    if isinstance(result, BatchscoreError):
        raise result
    return result is None
