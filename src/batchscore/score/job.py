"""What a worker must know besides the partition, and which rows of the partition it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore import infer, sources
from batchscore.ingest import PartitionReader
from batchscore.model import ModelRef
from batchscore.parts import read_part
from batchscore.plan import Partition
from batchscore.postprocess import CalibrationOptions, Decider, PostprocessOptions, build
from batchscore.preprocess import Finding, RowCheck, RowsOptions, check_rows, locate
from batchscore.schema import FeatureSchema
from batchscore.store import WorkFolder

BATCH_ROWS = 4 * infer.BLOCK_ROWS
"""Rows that are decoded, checked and scored at a time: it bounds memory, and changes no score."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker must know besides the partition; it travels with every task."""

    work: WorkFolder
    """Where results go."""
    run_id: str
    """For the log."""
    id_column: str
    """The id's name."""
    carried: tuple[tuple[str, pa.DataType], ...]
    """The id and the columns that are carried along, in output order, with their types."""
    types: Mapping[str, str]
    """Features and carried columns with their types, in the words of the feature schema: what rules may look at."""
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
    only: str | None = None
    """sha256 of a list of ids in the work folder: only those rows are taken; None for all rows."""
    killed: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Ranges [start, stop) of rows, by partition, that killed workers: they are set aside and never reach the model."""


@dataclass(frozen=True, kw_only=True)
class OpenedRows:
    """The rows of a partition that a job takes."""

    partition: Partition
    """What the rows are numbered within: the partition, or the taken rows alone."""
    reader: PartitionReader
    """Who reads them; it knows the inputs once all batches were read."""
    batches: Iterable[pa.RecordBatch]
    """The rows, in input order."""


def open_rows(job: Job, partition: Partition) -> OpenedRows:
    """Open the rows of a partition; with a list of ids all of it is read at once, and only those rows are kept.

    Raises:
        BatchscoreError: As `PartitionReader.batches`.
    """
    names = [name for name, _ in job.carried]
    texts = [feature.name for feature in job.schema.features if feature.dtype == "string"]
    reader = PartitionReader(
        partition,
        list(dict.fromkeys([*names, *job.schema.names])),
        dictionary=[name for name in texts if name not in names],
        batch_rows=BATCH_ROWS,
        max_bytes=job.max_bytes,
    )
    if job.only is None:
        return OpenedRows(partition=partition, reader=reader, batches=reader.batches())
    ids = read_part(job.work.listed(job.only)).column(0).combine_chunks()
    kept, rows, first = [], [np.empty(0, np.int64)], 0
    for batch in reader.batches():
        at = pc.indices_nonzero(pc.is_in(batch.column(job.id_column), value_set=ids))
        rows.append(np.asarray(at).astype(np.int64) + first)
        kept.append(batch.take(at))
        first += batch.num_rows
    return OpenedRows(partition=_narrowed(partition, np.concatenate(rows)), reader=reader, batches=kept)


def check(job: Job, partition: Partition, rows: pa.RecordBatch, first_row: int) -> RowCheck:
    """Check the values of a batch; rows that killed workers are bad whatever they hold."""
    found = check_rows(rows, job.schema, first_row=first_row)
    stop_row = first_row + rows.num_rows
    killed = [
        np.arange(max(start, first_row), min(stop, stop_row), dtype=np.int64)
        for start, stop in job.killed.get(partition.index, ())
        if start < stop_row and stop > first_row
    ]
    if not killed:
        return found
    finding = Finding(reason="killed-worker", column="", rows=np.concatenate(killed))
    return replace(found, findings=(*found.findings, finding))


def decider_of(job: Job) -> Decider:
    """Return what turns scores into decisions."""
    return build(job.postprocess, job.calibration, job.model, job.types, read=sources.read)


def columns_out(job: Job, rows: pa.RecordBatch, decisions: Mapping[str, pa.Array]) -> pa.Table:
    """Return the rows of the predictions: the id, what is carried along, what was decided."""
    carried = {name: rows.column(name).cast(dtype) for name, dtype in job.carried}
    return pa.table({**carried, **decisions})


def _narrowed(partition: Partition, rows: np.ndarray) -> Partition:
    """Return a partition of some rows alone: a fragment each, so that a row is still told by its file and number."""
    by_path = {fragment.path: fragment for fragment in partition.fragments}
    fragments = tuple(replace(by_path[path], first_row=row, rows=1) for path, row in locate(partition, rows))
    return replace(partition, fragments=fragments, rows=len(fragments))
