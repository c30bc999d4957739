"""Replay: score a published date again, from its own record, in a private place, and compare every part."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batchscore.check import check_date
from batchscore.config import RunConfig
from batchscore.errors import (
    BatchscoreError,
    ConfigError,
    ContractError,
    DifferencesFound,
    ModelError,
    SnapshotCorrupt,
    SnapshotMissing,
    TooManyBadRows,
)
from batchscore.execution import Clock
from batchscore.gather import Progress, job_of, score_all
from batchscore.parts import canonical_table, logical_digest
from batchscore.plan import Difference, differences, digest_of, partition_from
from batchscore.preprocess import numbers_of
from batchscore.prove.find import places_aside
from batchscore.publication import Request
from batchscore.rescoring import KILLED, Step, recorded_step
from batchscore.run import check_totals, private_execution, publish_privately
from batchscore.store import Published, Store, open_store

_OF_FILES = (ModelError, ContractError, SnapshotCorrupt, SnapshotMissing)
"""Errors of the model or the input: once they have been scored, they are not what they were, or are gone."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The first place where two tables differ."""

    partition: int
    """The partition's index."""
    row_id: object
    """The row's id; None when the tables differ in shape."""
    column: str
    """The column's name, or `columns` or `rows` when the shapes differ."""
    published: object
    """The published value."""
    replayed: object
    """The value now."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a replay found."""

    parts: int
    """Parts that were compared."""
    taken_over: int
    """Parts that the run took over from an earlier revision; they were not scored again."""
    same_bytes: int
    """Parts that are equal byte for byte."""
    mismatch: Mismatch | None
    """The first difference in values; None when all values are the same."""
    causes: tuple[Difference, ...]
    """In what the plan differs from the published one: other versions, another model, changed input."""
    way: Mapping[str, Any]
    """Whether a compiled model scored again, as in metadata.json."""


def replay(
    request: Request,
    store: Store,
    published: Published,
    clock: Clock,
    progress: Progress,
    *,
    reference: bool = False,
) -> Replay:
    """Score a published run again from its record, and compare part by part.

    Args:
        request: Its configuration says who works now; all that decides the result comes from the record.
        store: The output.
        published: The run.
        clock: Returns the time, in seconds since the epoch.
        progress: Is told about finished rows.
        reference: Whether the artifact itself scores, never a compiled model.

    Raises:
        DifferencesFound: When model or input are no longer what was scored, so that nothing can be compared.
        BatchscoreError: When the storage or the cluster fail.
    """
    recorded = recorded_config(published)
    again = replace(request, config=recorded.model_copy(update={"cluster": request.config.cluster}))
    manifest = published.document("manifest.json")
    with _not_again(published, ConfigError, *_OF_FILES):
        step = recorded_step(store, published, again.config)
        checked = step.checked if step else check_date(again.config, date.fromisoformat(published.commit.date))
    if reference:
        checked = replace(checked, model=checked.model.as_released())
        step = replace(step, checked=checked) if step else None
    with private_store() as private:
        execution = private_execution(again, clock)
        if step:
            job = _without_killed(step, published).job(private, again.run_id)
        else:
            job = replace(job_of(checked, private, again.run_id), killed=_killed(published, manifest))
        with _not_again(published, TooManyBadRows, *_OF_FILES):
            totals = score_all(checked, job, execution, progress)
            if not step:
                check_totals(checked, private, totals)
        replayed = publish_privately(again, checked, totals, private, execution)
        before, now = _own(manifest, len(checked.plan.partitions)), replayed.document("manifest.json")
        return Replay(
            parts=len(before["parts"]),
            taken_over=len(manifest["parts"]) - len(before["parts"]) if step else 0,
            same_bytes=sum(a["sha256"] == b["sha256"] for a, b in zip(before["parts"], now["parts"], strict=False)),
            mismatch=_first_mismatch(published, replayed, before, now, again.config.snapshot.id),
            causes=(*differences(before["plan"], now["plan"]), *_changed_content(before, now)),
            way=checked.model.way.record(),
        )


@contextmanager
def _not_again(published: Published, *kinds: type[BatchscoreError]) -> Iterator[None]:
    """Turn errors of these kinds into the finding that what was scored is no longer there."""
    try:
        yield
    except kinds as error:
        raise DifferencesFound(
            f"{published.commit.date} can not be scored again as it was: {error.message}",
            slug="NOT-AGAIN",
            remedy=error.remedy,
            cause=error.id,
            **error.context,
        ) from error


def _own(manifest: Mapping[str, Any], partitions: int) -> Mapping[str, Any]:
    """Return a manifest without the parts that its run took over from an earlier revision."""
    if "base" not in manifest["plan"]:
        return manifest
    first = len(manifest["parts"]) - partitions
    skipped = sum(part["rows"] for part in manifest["parts"][:first])
    return {**manifest, "parts": manifest["parts"][first:], "inputs": manifest["inputs"][first:], "skipped": skipped}


def _without_killed(step: Step, published: Published) -> Step:
    """Return a step without the rows that killed workers when it was taken: they are not tried again."""
    if not published.files("quarantine.parquet"):
        return step
    aside = published.table("quarantine.parquet")
    deadly = [KILLED in reasons for reasons in aside.column("reasons").to_pylist()]
    ids = aside.column(step.checked.config.snapshot.id).filter(pa.array(deadly, pa.bool_()))
    return replace(step, ids=step.ids.filter(pc.invert(pc.is_in(step.ids, value_set=ids.combine_chunks()))))


def _killed(published: Published, manifest: Mapping[str, Any]) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the rows by partition that killed workers when a run was scored: they are not tried again."""
    found = {}
    for index, record in enumerate(manifest["partitions"]):
        partition = partition_from(record)
        rows = numbers_of(partition, places_aside(published, partition, reason=KILLED))
        if len(rows):
            found[index] = tuple((row, row + 1) for row in rows.tolist())
    return found


def recorded_config(published: Published) -> RunConfig:
    """Return the resolved configuration that a published run recorded."""
    return RunConfig.model_validate_json(json.dumps(published.document("metadata.json")["config"]))


@contextmanager
def private_store() -> Iterator[Store]:
    """Make a store that nobody else reads, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="batchscore-") as folder:
        yield open_store(folder)


def _changed_content(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the files whose content is another one: a byte in a page may change, and the footer not show it."""
    old, new = (_content(manifest) for manifest in (before, now))
    for path in sorted(old.keys() & new.keys()):
        if old[path] != new[path]:
            yield Difference(key=f"inputs.{path}.content", old=old[path], new=new[path])


def _content(manifest: Mapping[str, Any]) -> dict[str, str]:
    digests: dict[str, list[str]] = {}
    for items in manifest["inputs"]:
        for item in items:
            digests.setdefault(item["path"], []).append(item["sha256"])
    return {path: digest_of(found) for path, found in digests.items()}


def _first_mismatch(
    published: Published, replayed: Published, before: Mapping[str, Any], now: Mapping[str, Any], id_column: str
) -> Mismatch | None:
    pairs = list(zip(before["parts"], now["parts"], strict=False))
    if all(a["logical_sha256"] == b["logical_sha256"] for a, b in pairs) and len(before["parts"]) == len(now["parts"]):
        return None
    old, new, skipped = published.table(), replayed.table(), before.get("skipped", 0)
    starts = [0, *accumulate(part["rows"] for part in before["parts"])]
    for index, (start, part) in enumerate(zip(starts, before["parts"], strict=False)):
        found = first_difference(old.slice(skipped + start, part["rows"]), new.slice(start, part["rows"]), id_column)
        if found is not None:
            return replace(found, partition=index)
    return Mismatch(partition=len(pairs), row_id=None, column="rows", published=old.num_rows, replayed=new.num_rows)


def first_difference(old: pa.Table, new: pa.Table, id_column: str) -> Mismatch | None:
    """Return the first row and column in which two tables differ, bit by bit; None when they are equal."""
    if old.column_names != new.column_names:
        return Mismatch(
            partition=0, row_id=None, column="columns", published=old.column_names, replayed=new.column_names
        )
    if old.num_rows != new.num_rows:
        return Mismatch(partition=0, row_id=None, column="rows", published=old.num_rows, replayed=new.num_rows)
    firsts = [
        (row, name) for name in old.column_names if (row := _first_row(old.column(name), new.column(name))) is not None
    ]
    if not firsts:
        return None
    row, name = min(firsts, key=lambda first: first[0])
    return Mismatch(
        partition=0,
        row_id=old.column(id_column)[row].as_py(),
        column=name,
        published=old.column(name)[row].as_py(),
        replayed=new.column(name)[row].as_py(),
    )


def row_differs(old: pa.ChunkedArray, new: pa.ChunkedArray) -> bool:
    """Whether two columns differ in any bit of a value, or in their type."""
    return _first_row(old, new) is not None


def _first_row(old: pa.ChunkedArray, new: pa.ChunkedArray) -> int | None:
    tables = [canonical_table(pa.table({"c": column})) for column in (old, new)]
    if logical_digest(tables[0]) == logical_digest(tables[1]):
        return None
    one, other = (table.column("c").chunk(0) for table in tables)
    if one.type != other.type:
        return 0
    left, right = (["NaN" if value != value else value for value in array.to_pylist()] for array in (one, other))  # noqa: PLR0124 - only a NaN is not itself
    return next((row for row, (a, b) in enumerate(zip(left, right, strict=True)) if a != b), 0)
