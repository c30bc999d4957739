"""Why a published row is what it is: what the model received, what was decided, and whether it comes out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from batchscore.check import check_date
from batchscore.gather import job_of
from batchscore.parts import read_part, serialise
from batchscore.plan import partition_from
from batchscore.prove.find import QUARANTINE, find, places_aside
from batchscore.prove.replay import private_store, recorded_config, row_differs
from batchscore.publication import Request
from batchscore.rescoring import base_of, recorded_step
from batchscore.score import Job, Rescored, rescore
from batchscore.store import Published, Store


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A row that was set aside."""

    revision: int
    """The revision that says so."""
    row: Mapping[str, Any]
    """Its row of the quarantine: id, source file, row number, reasons, columns, values."""


@dataclass(frozen=True, kw_only=True)
class Why:
    """What is to be said of one published row."""

    id: object
    """The row's id."""
    revision: int
    """The revision."""
    scored_in: int
    """The revision that scored it: an earlier one where this revision took its part over."""
    model: Mapping[str, Any]
    """The model's entry in the record of the run."""
    postprocess: Mapping[str, Any]
    """The section `postprocess` of the record of the run."""
    published: Mapping[str, Any]
    """The row as it was published."""
    again: Rescored
    """The row, scored again."""
    differences: Mapping[str, tuple[Any, Any]]
    """Published and new value of every column whose bits are not the same."""
    changed_inputs: tuple[str, ...]
    """Files of which other bytes were read than the run read."""
    set_aside: SetAside | None
    """What an earlier revision said of the row, when it was scored only later."""
    parts_read: int
    """Parts that were read whole to find the row."""

    @property
    def is_same(self) -> bool:
        """Whether every published bit came out again, from the same bytes."""
        return not self.differences and not self.changed_inputs


def why(request: Request, store: Store, published: Published, given: str) -> Why | SetAside:
    """Find a row by its id and score it again, as its run did.

    Args:
        request: A request for the date; all that decides the result comes from the record.
        store: The output.
        published: The run.
        given: The id, as a person types it.

    Raises:
        UsageError: When the run has no such id.
        BatchscoreError: When the inputs or the model of the record are not to be had, or fail.
    """
    id_column = recorded_config(published).snapshot.id
    found = find(published, id_column, given)
    if found.kind == QUARANTINE:
        return _set_aside(published, found.row)
    scorer, base = _scorer(store, published, found.partition)
    partition = partition_from(published.document("manifest.json")["partitions"][found.partition])
    with private_store() as private:
        job = _job(request, store, private, scorer)
        again = rescore(job, partition, found.place, places_aside(scorer, partition))
    now = read_part(serialise(again.table).data)
    metadata = scorer.document("metadata.json")
    return Why(
        id=found.row.column(id_column)[0].as_py(),
        revision=published.commit.number,
        scored_in=scorer.commit.number,
        model=metadata["model"],
        postprocess=metadata["config"]["postprocess"],
        published=found.row.to_pylist()[0],
        again=again,
        differences=dict(_differences(found.row, now)),
        changed_inputs=tuple(_changed(published, found.partition, again)),
        set_aside=None if base is None else _set_aside(base, find(base, id_column, given).row),
        parts_read=found.parts_read,
    )


def _set_aside(published: Published, row: pa.Table) -> SetAside:
    return SetAside(revision=published.commit.number, row=row.to_pylist()[0])


def _scorer(store: Store, published: Published, partition: int) -> tuple[Published, Published | None]:
    """Return the revision that scored a partition, and the one that had set its rows aside before."""
    while (base := base_of(store, published)) is not None:
        if partition >= len(base.document("manifest.json")["parts"]):
            return published, base
        published = base
    return published, None


def _job(request: Request, store: Store, private: Store, scorer: Published) -> Job:
    """Return the job of a run, from its record."""
    config = recorded_config(scorer)
    step = recorded_step(store, scorer, config)
    if step is not None:
        return step.job(private, request.run_id)
    return job_of(check_date(config, date.fromisoformat(scorer.commit.date)), private, request.run_id)


def _differences(published: pa.Table, now: pa.Table) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in dict.fromkeys([*published.column_names, *now.column_names]):
        old = published.column(name) if name in published.column_names else None
        new = now.column(name) if name in now.column_names else None
        if old is None or new is None or row_differs(old, new):
            yield name, (None if old is None else old[0].as_py(), None if new is None else new[0].as_py())


def _changed(published: Published, partition: int, again: Rescored) -> Iterator[str]:
    """Yield the files of which other bytes were read than the run read."""
    recorded = published.document("manifest.json")["inputs"][partition]
    for before, now in zip(recorded, again.inputs, strict=False):
        if before["sha256"] != now.sha256:
            yield now.path
