"""Rescoring: the rows that a published revision set aside, read again under a mended schema or from a mended source.

The revision's parts are taken over as they are; what can be scored now stands in parts of its own behind them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batchscore import ingest, parts
from batchscore.check import Checked, check_date, check_snapshot_unchanged
from batchscore.config import RunConfig
from batchscore.documents import totals_from
from batchscore.errors import ContractError, OutputExists, StateDamaged
from batchscore.execution import Clock, Execution
from batchscore.gather import Progress, job_of, score_all
from batchscore.ids import hash_ids
from batchscore.judge import judge
from batchscore.plan import Partition, differences
from batchscore.preprocess import REASONS, check_budget
from batchscore.publication import Base, Request, publication_of
from batchscore.report import MODULUS, Part, Totals
from batchscore.run import Result, conclude, executed, overtaken
from batchscore.score import Job
from batchscore.store import Published, Store, WorkFolder

KILLED = "killed-worker"
"""The reason of rows that threads would not survive either."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The rows that a revision set aside, and where they are read from now."""

    base: Published
    """The revision."""
    checked: Checked
    """The date, checked: the plan holds the partitions to read, numbered behind those of the base."""
    read: Checked
    """What is read, checked: the snapshot, or the source."""
    aside: pa.Table
    """The base's rows that were set aside."""
    ids: pa.Array
    """The ids of those that are read again."""
    source: str | None
    """Where they are read from; None for the snapshot itself."""

    def job(self, store: Store, run_id: str) -> Job:
        """Return the job, with the ids put into its work folder."""
        table = pa.table({self.checked.config.snapshot.id: self.ids})
        job = job_of(self.checked, store, run_id)
        return replace(job, only=job.work.put_list(parts.serialise(table).data))


def rescore_quarantine(request: Request, source: str | None, clock: Clock, progress: Progress) -> Result:
    """Score the rows that the newest revision of a date set aside, and publish a revision that adds them to it.

    Args:
        request: What is asked for; only the feature schema, `rows` and the snapshot may differ from the revision's.
        source: A parquet file or folder that holds mended rows; None for the snapshot itself.
        clock: Returns the time, in seconds since the epoch.
        progress: Is told about finished rows.

    Raises:
        UsageError: When the date is not published.
        OutputExists: When anything else than schema and source differs from what the revision was scored with.
        ContractError: When none of the rows can be scored now.
        BatchscoreError: As `run`.
    """
    return executed(request, clock, progress, partial(_rescore_once, source))


def _rescore_once(
    source: str | None, request: Request, store: Store, execution: Execution, progress: Progress
) -> Result:
    with execution.watch("resolve"):
        step, done = _settle(request, store, source)
    if step is None or done:
        return _unchanged(store, request, done=done)
    with store.lease(step.checked.plan.date, request.holder):
        # Looked at again: whoever held the lease may have published meanwhile.
        step, done = _settle(request, store, source)
        if step is None or done:
            return _unchanged(store, request, done=done)
        return _score_and_publish(step, request, store, execution, progress)


def _settle(request: Request, store: Store, source: str | None) -> tuple[Step | None, bool]:
    """Return what is to be scored, None when nothing is set aside; and whether the newest revision has done it.

    If it has, the date shows it on return: a crash may have left that undone.

    Raises:
        Held: When the same rescoring waits to be released or discarded.
    """
    newest = store.published(request.day.isoformat())
    before = base_of(store, newest)
    if before is not None:
        step = step_of(request.config, before, source)
        if step is not None and step.checked.plan.input_id == newest.commit.input_id:
            store.settle(step.checked.plan)
            return step, True
    step = step_of(request.config, newest, source)
    if step is not None:
        store.settle(step.checked.plan, republish=True)
    return step, False


def _unchanged(store: Store, request: Request, *, done: bool) -> Result:
    commit = store.published(request.day.isoformat()).commit
    fact = "has these rows already" if done else "has set no row aside that could be read again"
    return Result(status="unchanged", commit=commit, warnings=(f"revision {commit.number} {fact}",))


def base_of(store: Store, published: Published) -> Published | None:
    """Return the revision that a revision adds to; None when it was scored as a whole."""
    base = published.document("manifest.json")["plan"].get("base")
    return None if base is None else store.published(published.commit.date, base["revision"])


def recorded_step(store: Store, published: Published, config: RunConfig) -> Step | None:
    """Return the step that a revision took, from its record; None when it was scored as a whole."""
    base = base_of(store, published)
    if base is None:
        return None
    return step_of(config, base, published.document("metadata.json")["rescored"]["source"])


def step_of(config: RunConfig, base: Published, source: str | None) -> Step | None:
    """Check a date for the rows that a revision set aside; None when there are none.

    Raises:
        BatchscoreError: Of the class and code that the fact has; nothing was started or written.
    """
    if not base.files("quarantine.parquet"):
        return None
    manifest, aside = base.document("manifest.json"), base.table("quarantine.parquet")
    snapshot = {} if source is None else {"path": source, "ready": None, "wait_minutes": 0}
    given = config.model_copy(update={"snapshot": config.snapshot.model_copy(update=snapshot)})
    day = date.fromisoformat(base.commit.date)
    checked = check_date(given, day)
    _refuse_other(base, manifest, checked)
    ids = _readable(aside, config, source)
    if not len(ids):
        return None
    chosen = _to_read(manifest, aside, checked) if source is None else checked.plan.partitions
    first = len(manifest["parts"])
    plan = replace(
        checked.plan,
        partitions=tuple(replace(partition, index=first + at) for at, partition in enumerate(chosen)),
        base={
            "revision": base.commit.number,
            "manifest_sha256": base.commit.manifest_sha256,
            "rows": len(ids),
            "id_digest": f"{hash_ids(ids).digest():032x}",
        },
    )
    named = replace(checked, config=config, snapshot=ingest.resolve(config.snapshot.path, day), plan=plan)
    return Step(base=base, checked=named, read=checked, aside=aside, ids=ids, source=source)


def _readable(aside: pa.Table, config: RunConfig, source: str | None) -> pa.Array:
    """Return the ids to read again: rows that killed workers only from a mended source, or where workers are processes."""
    ids = aside.column(config.snapshot.id).combine_chunks()
    if source is not None or config.cluster.kind != "local" or config.cluster.processes:
        return ids
    reasons = aside.column("reasons").to_pylist()
    return ids.filter(pa.array([KILLED not in found for found in reasons], pa.bool_()))


def _to_read(manifest: Mapping[str, Any], aside: pa.Table, checked: Checked) -> tuple[Partition, ...]:
    """Return the partitions that may hold the rows: of files that hold some, and of all that are not as they were."""
    before = {file["path"]: file for file in manifest["plan"]["inputs"]}
    unchanged = {file.path for file in checked.plan.inputs if before.get(file.path) == file.record()}
    holding = set(pc.unique(aside.column("source_file")).to_pylist())
    return tuple(
        partition
        for partition in checked.plan.partitions
        if any(each.path in holding or each.path not in unchanged for each in partition.fragments)
    )


def _refuse_other(base: Published, manifest: Mapping[str, Any], checked: Checked) -> None:
    """Refuse to mix rows of two models, thresholds or rules in one revision."""
    old, new = dict(manifest["plan"]), checked.plan.record()
    for record in (old, new):
        for key in ("inputs", "versions", "base"):
            record.pop(key, None)
        record["config"] = {key: value for key, value in record["config"].items() if not key.startswith("rows.")}
        record["artifacts"] = {
            key: value for key, value in record["artifacts"].items() if key not in ("schema", "drift_reference")
        }
    found = [str(each) for each in differences(old, new)]
    path, (_, size) = next(iter(base.files().items()))
    columns = {field.name: str(field.type) for field in base.footer(path, size).schema.to_arrow_schema()}
    found += [
        f"column '{name}': {columns.get(name)} → {dtype}"
        for name, dtype in checked.carried
        if columns.get(name) != str(dtype)
    ]
    if found:
        raise OutputExists(
            f"revision {base.commit.number} of {base.commit.date} was scored otherwise: {'; '.join(found[:5])}"
            + (f"; and {len(found) - 5} more" if len(found) > 5 else ""),  # noqa: PLR2004 - as many as stand above
            slug="SCORED-OTHERWISE",
            remedy="only the schema, `rows` and the source may differ; `run --republish --reason TEXT` scores all rows",
            revision=base.commit.number,
            differences=found,
        )


def _score_and_publish(step: Step, request: Request, store: Store, execution: Execution, progress: Progress) -> Result:
    try:
        job = step.job(store, request.run_id)
        found = score_all(step.checked, job, execution, progress)
        with execution.watch("reduce"):
            check_snapshot_unchanged(step.read)
            totals = _merged(step, store, found)
            judgement = judge(store, step.checked, totals)
    except StateDamaged as error:
        return overtaken(error, store, step.checked.plan, step.base.commit)
    publication = publication_of(request, step.checked, totals, judgement, execution, _base(step, found))
    return conclude(store, publication, step.base.commit, judgement, execution)


def _base(step: Step, found: Totals) -> Base:
    rows = found.rows()
    told = {
        "revision": step.base.commit.number,
        "source": step.source,
        "rows": {
            "aside": step.aside.num_rows,
            "read": rows["read"],
            "scored": rows["scored"],
            "still_aside": step.aside.num_rows - rows["scored"],
        },
    }
    return Base(commit=step.base.commit, manifest=step.base.document("manifest.json"), told=told)


def _merged(step: Step, store: Store, found: Totals) -> Totals:
    """Return the totals of the base and of what was scored now, and check them.

    Raises:
        TooManyBadRows: When more rows stay set aside than the budget allows.
        ContractError: When none of the rows can be scored, or an id stands twice.
        StateDamaged: When a sum does not close.
    """
    work, id_column = store.work(step.checked.plan), step.checked.config.snapshot.id
    if not found.rows()["scored"]:
        raise _nothing_mended(step, found)
    read = _ids_read(step, work, found)
    totals = totals_from(step.base.document("summary_metrics.json"), step.base.document("manifest.json"))
    planned = totals.rows()["read"]
    for report in found.in_order:
        totals.add_again(report)
    # Rows that are in none of the files that were read stay as they are.
    kept = step.aside.filter(pc.invert(pc.is_in(step.aside.column(id_column), value_set=read)))
    totals.kept = _put(step, work, kept) if kept.num_rows else None
    reasons = Counter(reason for each in kept.column("reasons").to_pylist() for reason in each)
    totals.rejected = Counter({reason: reasons[reason] + found.rejected[reason] for reason in REASONS})
    unbalanced = totals.unbalanced(planned) or _lost_ids(step, totals, found, kept)
    if unbalanced:
        raise StateDamaged(
            f"rows are not conserved: {unbalanced}",
            slug="ROWS",
            remedy="delete the work folder of this date and plan, and run again; report it if it comes back",
        )
    all_rows = totals.rows()
    check_budget(all_rows["rejected"], all_rows["read"], dict(totals.rejected), step.checked.config.rows)
    return totals


def _ids_read(step: Step, work: WorkFolder, found: Totals) -> pa.Array:
    """Return the ids of all rows that were read, each of which may stand only once."""
    id_column = step.checked.config.snapshot.id
    stored = [*(report.predictions for report in found.in_order), *found.quarantine]
    tables = [parts.read_part(work.part(part)).select([id_column]) for part in stored]
    ids = pa.concat_tables(tables).column(id_column).combine_chunks()
    twice = len(ids) - len(ids.unique())
    if twice:
        raise ContractError(
            f"{twice} ids of rows that were set aside stand twice in what was read",
            slug="DUPLICATE-ID",
            remedy="mend the ids at their source; rows without an id of their own can not be told apart",
            duplicates=twice,
        )
    return ids


def _put(step: Step, work: WorkFolder, kept: pa.Table) -> Part:
    index = len(step.base.document("manifest.json")["parts"]) + len(step.checked.plan.partitions)
    written = parts.serialise(kept)
    work.put_part(index, written.data)
    return Part(
        name=f"part-{index:05d}.parquet",
        sha256=written.sha256,
        size=len(written.data),
        rows=written.rows,
        logical_sha256=written.logical_sha256,
    )


def _lost_ids(step: Step, totals: Totals, found: Totals, kept: pa.Table) -> str | None:
    """Say so when the ids that stay set aside are not those of the base without those that were scored."""
    staying = hash_ids(kept.column(step.checked.config.snapshot.id)).digest() if kept.num_rows else 0
    total = (staying + int(found.digest("rejected_id_digest"), 16)) % MODULUS
    if f"{total:032x}" != totals.digest("rejected_id_digest"):
        return "the ids set aside are not those that were before, without those that are scored now"
    return None


def _nothing_mended(step: Step, found: Totals) -> ContractError:
    number, read = step.base.commit.number, found.rows()["read"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.rejected.items() if count)
    fact = f"still break the contract ({reasons})" if read else "are in none of the files that were read"
    return ContractError(
        f"{len(step.ids)} rows were set aside by revision {number}; {'all of them ' if read == len(step.ids) else ''}{fact}",
        slug="NOTHING-MENDED",
        remedy="mend the feature schema or the source, or name mended rows with --from",
        counts={reason: count for reason, count in found.rejected.items() if count},
    )
