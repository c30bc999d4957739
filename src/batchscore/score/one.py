"""One row of a partition, scored again exactly as its partition was: the same batch, the same block, the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from batchscore import blocks, infer, model, sources
from batchscore.errors import SnapshotCorrupt
from batchscore.plan import Partition
from batchscore.postprocess import RuleTest
from batchscore.preprocess import cast, locate, numbers_of
from batchscore.report import InputRange
from batchscore.score.job import Job, columns_out, decider_of, open_rows


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """A row, scored again."""

    path: str
    """The file that the row comes from."""
    row_number: int
    """Its number in the file, from 0."""
    snapshot: Mapping[str, Any]
    """The features as they stand in the file, cast to the schema's types."""
    received: Mapping[str, tuple[str, Any]]
    """Type and value of each feature as the model received it, in the model's order."""
    takes: Literal["matrix", "frame"]
    """What the model received: a float64 matrix, or a frame with a type per column."""
    scores: Mapping[str, float]
    """The model's own scores."""
    threshold: float | None
    """The row's threshold; None when there is none."""
    rules: tuple[RuleTest, ...]
    """Every rule with its conditions, and whether they hold."""
    table: pa.Table
    """The row as it would be published, one row."""
    inputs: tuple[InputRange, ...]
    """What was read of the partition until the row was found."""


def rescore(job: Job, partition: Partition, place: int, aside: Mapping[str, Sequence[int]]) -> Rescored:
    """Read a partition as its run did, and score the batch that holds one of its scored rows.

    Args:
        job: The job of the run.
        partition: The partition, as the run planned it.
        place: The row's place among the partition's scored rows, from 0.
        aside: The rows that the run set aside: their numbers in the file, by path. They are not checked again, since
            the schema may have been mended meanwhile.

    Raises:
        BatchscoreError: As `score_partition`; when the partition holds no such row any more, `SnapshotCorrupt`.
    """
    loaded, decider = model.load(job.model, job.schema, read=sources.read), decider_of(job)
    opened = open_rows(job, partition)
    bad = numbers_of(opened.partition, aside)
    read = scored = 0
    for rows in opened.batches:
        good = np.flatnonzero(~np.isin(np.arange(read, read + rows.num_rows), bad))
        if place < scored + len(good):
            at = place - scored
            [(path, number)] = locate(opened.partition, [read + int(good[at])])
            kept = rows.take(pa.array(good)) if len(good) < rows.num_rows else rows
            features = cast(kept, job.schema)
            scores = infer.score(loaded, features)
            table = pa.Table.from_batches([kept])
            thresholds = decider.thresholds(table, len(scores))
            row = features.slice(at, 1)
            return Rescored(
                path=path,
                row_number=number,
                snapshot=row.to_pylist()[0],
                received=_received(row, job, loaded.takes),
                takes=loaded.takes,
                scores=dict(zip(job.model.score_names, scores[at].tolist(), strict=True)),
                threshold=None if thresholds is None else float(thresholds[at]),
                rules=decider.tests(scores[at : at + 1], table.slice(at, 1)),
                table=columns_out(job, kept, decider.decide(scores, table).columns).slice(at, 1),
                inputs=opened.reader.inputs,
            )
        read, scored = read + rows.num_rows, scored + len(good)
    raise SnapshotCorrupt(
        f"{partition.name} holds {scored} rows that can be scored, and row {place} of them was published",
        slug="ROW-GONE",
        remedy="the snapshot has changed since it was scored; restore it",
        partition=partition.index,
    )


def _received(row: pa.Table, job: Job, takes: str) -> dict[str, tuple[str, Any]]:
    if takes == "matrix":
        values = blocks.matrix(row.select(list(job.schema.names)), 1)[0].tolist()
        return {name: ("float64", value) for name, value in zip(job.schema.names, values, strict=True)}
    frame = blocks.frame(row, job.schema.features)
    return {name: (str(frame[name].dtype), _plain(frame[name].iloc[0])) for name in job.schema.names}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
