"""One partition on a worker, read top to bottom: the only function that workers receive."""

from __future__ import annotations

import os
import resource
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import pyarrow as pa

from batchscore import infer, model, sources
from batchscore.errors import BatchscoreError, SnapshotCorrupt
from batchscore.ids import IdDigest, digest_of_ids, find_bad_ids, sorted_hashes
from batchscore.ingest import PartitionReader, reread_digest
from batchscore.logs import logger
from batchscore.model import ModelRef
from batchscore.parts import serialise
from batchscore.plan import Partition
from batchscore.postprocess import CalibrationOptions, Decisions, PostprocessOptions, decide
from batchscore.preprocess import BadRows, RowsOptions, cast, check_rows
from batchscore.profile import Profiles, merge_profiles, profile_scores, profile_table
from batchscore.report import Part, PartitionOutcome, PartitionReport, report_from
from batchscore.schema import FeatureSchema
from batchscore.store import WorkFolder

BATCH_ROWS = 4 * infer.BLOCK_ROWS
"""Rows that are decoded, checked and scored at a time: it bounds memory, and changes no score."""

_log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker must know besides the partition; it travels with every task."""

    work: WorkFolder
    """Where results go."""
    id_column: str
    """The id's name."""
    passthrough: tuple[str, ...]
    """Input columns that are carried along."""
    schema: FeatureSchema
    """The feature schema."""
    model: ModelRef
    """The verified model, by path and digest."""
    calibration: CalibrationOptions | None
    """How raw scores become probabilities."""
    postprocess: PostprocessOptions
    """How scores become decisions."""
    rows: RowsOptions
    """What happens to bad rows."""
    max_bytes: int
    """The most bytes that a partition may decode to."""
    run_id: str
    """For the log."""


def attempt(job: Job, partition: Partition) -> PartitionOutcome | BatchscoreError:
    """Score one partition; return its error instead of raising it, so that the driver decides what comes next."""
    try:
        return score_partition(job, partition)
    except BatchscoreError as error:
        error.context.setdefault("partition", partition.index)
        return error
    except Exception as error:  # noqa: BLE001 - an unforeseen error must reach the driver with its traceback
        return BatchscoreError(
            f"partition {partition.index} failed unexpectedly: {type(error).__name__}: {error}",
            slug="UNEXPECTED",
            remedy="report it with the traceback that `-v` prints",
            partition=partition.index,
            traceback=traceback.format_exc(),
        )


def score_partition(job: Job, partition: Partition) -> PartitionOutcome:
    """Read, check, score, decide and store one partition; or find that it is done.

    Safe to run any number of times, at once or one after the other: the same partition is the same bytes.

    Raises:
        ContractError: A row or an id breaks the contract, or too many bytes come out of the file.
        SnapshotCorrupt: A file is damaged, or changed since it was listed.
        ModelError: The model is not the verified one, or its scores are no scores.
        NotDeterministic: The partition came out differently before.
        StorageFailed: Storage failed after retries.
    """
    watch = Stopwatch()
    found = job.work.report(partition.index)
    if found is not None:
        return _reused(report_from(found), watch)
    with watch("load"):
        scorer = model.load(job.model, job.schema, read=sources.read)
    slices = Slices(bad=BadRows(job.schema, job.rows, partition))
    with PartitionReader(partition, _columns(job), job.schema, max_bytes=job.max_bytes) as reader:
        for rows in watch.around("read", reader.batches(BATCH_ROWS)):
            _score_rows(job, scorer, rows, slices, watch)
        inputs = reader.inputs
    report = _store(job, partition, slices, inputs, watch)
    _log.debug("partition scored", run_id=job.run_id, partition=partition.index, rows=partition.rows)
    return _outcome(report, watch, reused=False)
