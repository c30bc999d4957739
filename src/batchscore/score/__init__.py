"""One partition on a worker, read top to bottom: the only function that workers receive."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from batchscore import infer, machine, model, parts, retries, sources, transit
from batchscore.blocks import ARROW_TYPES
from batchscore.errors import BatchscoreError, SnapshotCorrupt
from batchscore.ids import IdHashes
from batchscore.ingest import digest_of_ranges
from batchscore.logs import logger
from batchscore.model import LoadedModel
from batchscore.plan import Partition
from batchscore.postprocess import Decider
from batchscore.preprocess import (
    REASONS,
    RowCheck,
    bad_rows_error,
    cast,
    check_ids,
    merge_checks,
    quarantine_table,
)
from batchscore.profile import TableProfiler, profile_scores
from batchscore.report import InputRange, Part, PartitionOutcome, PartitionReport, report_from, report_record
from batchscore.score.job import Job, OpenedRows, check, columns_out, decider_of, open_rows
from batchscore.score.one import Rescored, rescore
from batchscore.watch import Stopwatch

__all__ = ["Job", "Rescored", "attempt", "rescore", "score_partition", "try_rows"]

SCORES = ("raw_prediction", "prediction")
"""Columns of the predictions that are profiled as scores, when they are there."""

_log = logger(__name__)


def attempt(job: Job, partition: Partition) -> PartitionOutcome | BatchscoreError:
    """Score one partition; return its error instead of raising it, so that the driver decides what comes next."""
    try:
        with retries.counted() as further:
            first = partition.fragments[0].path if partition.fragments else ""
            outcome = transit.doubted(first, lambda: score_partition(job, partition), SnapshotCorrupt)
        return replace(outcome, retries=further.count)
    except BatchscoreError as error:
        error.context.setdefault("partition", partition.index)
        return error
    except Exception as error:  # noqa: BLE001 - an unforeseen error must reach the driver, with its traceback
        return BatchscoreError(
            # Not the library's own words: they may quote a value of a row.
            f"partition {partition.index} failed unexpectedly: {type(error).__name__} in {_place(error)}",
            slug="PARTITION",
            remedy="report it with the traceback that `-v` prints",
            partition=partition.index,
            traceback=traceback.format_exc(),
        )


def _place(error: Exception) -> str:
    """Return file and line of ours in which an error came up."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "batchscore" in Path(frame.filename).parts] or frames
    return f"{Path(ours[-1].filename).name} line {ours[-1].lineno}"


def score_partition(job: Job, partition: Partition) -> PartitionOutcome:
    """Read, check, score, decide and store one partition; or find that it is done.

    Safe to run any number of times, at once or one after the other: the same partition is the same bytes.

    Raises:
        ContractError: A row or an id breaks the contract, or too many bytes come out of a file.
        SnapshotCorrupt: A file is damaged, or changed since it was listed or scored.
        ModelError: The model is not the verified one, or its scores are no scores.
        NotDeterministic: The partition came out differently before.
        StorageFailed: Storage failed after retries.
    """
    watch = Stopwatch()
    found = job.work.report(partition.index)
    if found is not None:
        report = report_from(found)
        with watch("read"):
            _check_inputs_unchanged(report)
        return _outcome(report, watch, reused=True)
    opened, taken = _score(job, partition, partition.rows, watch)
    if job.rows.on_bad == "fail" and taken.bad.findings:
        raise bad_rows_error(taken.bad, opened.partition)
    report = _stored(job, opened.partition, taken, opened.reader.inputs, watch)
    _log.debug("partition scored", run_id=job.run_id, partition=partition.index, rows=taken.rows)
    return replace(_outcome(report, watch, reused=False), without_checksums=opened.reader.without_checksums)


def try_rows(job: Job, rows: int, partition: Partition) -> int | BatchscoreError:
    """Read a partition, score its first `rows` rows and store nothing: to find out whether the worker lives."""
    try:
        return _score(job, partition, rows, Stopwatch())[1].rows
    except BatchscoreError as error:
        return error


def _score(job: Job, partition: Partition, rows: int, watch: Stopwatch) -> tuple[OpenedRows, _Taken]:
    """Read a partition, and check, score and decide its first `rows` rows."""
    with watch("load"):
        loaded = model.load(job.model, job.schema, read=sources.read), decider_of(job)
    with watch("read"):
        opened = open_rows(job, partition)
    taken = _Taken(job)
    for batch in watch.around("read", opened.batches):
        part = batch.slice(0, rows - taken.rows)
        if part.num_rows:
            _take(job, opened.partition, loaded, part, taken, watch)
    return opened, taken


class _Taken:
    """What the batches of a partition came to, so far."""

    def __init__(self, job: Job) -> None:
        self.rows = 0
        self.ids: list[pa.Array] = []
        self.checks: list[RowCheck] = []
        self.scored: list[pa.Table] = []
        self.aside: list[pa.Table] = []
        self.features = TableProfiler(job.schema)
        self.flagged = 0
        self.counts: Counter[str] = Counter()

    @property
    def bad(self) -> RowCheck:
        """The bad rows, numbered within the partition."""
        return merge_checks(self.checks)


def _take(
    job: Job,
    partition: Partition,
    loaded: tuple[LoadedModel, Decider],
    rows: pa.RecordBatch,
    taken: _Taken,
    watch: Stopwatch,
) -> None:
    """Check, score and decide one batch; after a bad row that fails the run, the rest is only checked."""
    with watch("check"):
        found = check(job, partition, rows, taken.rows)
        taken.ids.append(rows.column(job.id_column))
        taken.checks.append(found)
        if found.findings and job.rows.on_bad == "quarantine":
            aside = quarantine_table(rows, found, partition, id_column=job.id_column, first_row=taken.rows)
            taken.aside.append(aside)
        good = rows if not found.findings else rows.filter(pa.array(~found.mask(taken.rows)))
        taken.rows += rows.num_rows
    failing = job.rows.on_bad == "fail" and any(each.findings for each in taken.checks)
    if failing or not good.num_rows:
        return
    with watch("prepare"):
        features = cast(good, job.schema)
        taken.features.add(features)
    with watch("infer"):
        scores = infer.score(loaded[0], features)
    with watch("postprocess"):
        decisions = loaded[1].decide(scores, pa.Table.from_batches([good]))
        taken.flagged += decisions.flagged_rows
        taken.counts.update(decisions.counts)
        taken.scored.append(columns_out(job, good, decisions.columns))


def _stored(
    job: Job, partition: Partition, taken: _Taken, inputs: tuple[InputRange, ...], watch: Stopwatch
) -> PartitionReport:
    """Store the parts, then the record: the task's commit."""
    with watch("check"):
        hashes = check_ids(pa.chunked_array(taken.ids, type=dict(job.carried)[job.id_column]), partition)
        bad = taken.bad
    with watch("postprocess"):
        table = pa.concat_tables(taken.scored) if taken.scored else _no_rows(job)
        scores = {
            name: profile_scores(np.asarray(table.column(name)), probability=job.model.output == "probability")
            for name in SCORES
            if name in table.column_names
        }
        if not taken.scored:
            taken.features.add(_no_features(job))
        features = taken.features.profiles()
    with watch("write"):
        predictions = _put(job, partition, table)
        quarantine = _put(job, partition, pa.concat_tables(taken.aside)) if taken.aside else None
        job.work.put_ids(partition.index, hashes.sorted.astype("<u8").tobytes())
        report = PartitionReport(
            index=partition.index,
            read_rows=taken.rows,
            scored_rows=table.num_rows,
            rejected_rows=len(bad.bad_rows),
            rejected={reason: bad.counts.get(reason, 0) for reason in REASONS},
            flagged_rows=taken.flagged,
            **_id_digests(hashes, bad.mask()),
            predictions=predictions,
            quarantine=quarantine,
            inputs=inputs,
            features={name: found.to_dict() for name, found in features.items()},
            scores={name: found.to_dict() for name, found in scores.items()},
            counts=dict(sorted(taken.counts.items())),
        )
        job.work.commit(partition.index, report_record(report))
    return report


def _put(job: Job, partition: Partition, table: pa.Table) -> Part:
    written = parts.serialise(table)
    job.work.put_part(partition.index, written.data)
    return Part(
        name=f"{partition.name}.parquet",
        sha256=written.sha256,
        size=len(written.data),
        rows=written.rows,
        logical_sha256=written.logical_sha256,
    )


def _id_digests(hashes: IdHashes, bad: np.ndarray) -> dict[str, int]:
    return {
        "id_digest": hashes.digest(),
        "scored_id_digest": hashes.digest(~bad if bad.any() else None),
        "rejected_id_digest": hashes.digest(bad),
    }


def _no_rows(job: Job) -> pa.Table:
    carried = {name: pa.array([], dtype) for name, dtype in job.carried}
    columns = {name: pa.array([], ARROW_TYPES[dtype]) for name, dtype in job.types.items()}
    decisions = decider_of(job).decide(np.empty((0, len(job.model.score_names))), pa.table(columns))
    return pa.table({**carried, **decisions.columns})


def _no_features(job: Job) -> pa.Table:
    return pa.table({feature.name: pa.array([], ARROW_TYPES[feature.dtype]) for feature in job.schema.features})


def _check_inputs_unchanged(report: PartitionReport) -> None:
    """Hash again what a finished partition read: a byte may have changed since, and the footer not shown it."""
    for item in report.inputs:
        if digest_of_ranges(item.path, item.ranges) != item.sha256:
            raise SnapshotCorrupt(
                f"'{item.path}' has changed since partition {report.index} was scored in an earlier attempt",
                slug="CHANGED-SINCE-SCORED",
                remedy="a snapshot must not change; restore it, or have it delivered under another date",
                path=item.path,
            )


def _outcome(report: PartitionReport, watch: Stopwatch, *, reused: bool) -> PartitionOutcome:
    return PartitionOutcome(
        report=report,
        reused=reused,
        seconds=watch.seconds,
        peak_memory_bytes=machine.peak_memory_bytes(),
        worker=machine.worker_name(),
    )
