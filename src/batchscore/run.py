"""One run on the driver, read top to bottom: check, hand out, gather, reduce, publish, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from batchscore import ledger
from batchscore.check import Checked, check_date, check_snapshot_unchanged
from batchscore.config import RunConfig
from batchscore.documents import manifest_document, summary_document
from batchscore.duplicates import check_unique
from batchscore.errors import BatchscoreError, StateDamaged, StorageFailed
from batchscore.execution import Clock, Execution, metadata_document
from batchscore.gather import Progress, job_of, score_all
from batchscore.judge import Judgement, judge
from batchscore.logs import bind, logger
from batchscore.metrics import RunType
from batchscore.parts import concatenate
from batchscore.preprocess import check_budget
from batchscore.report import Part, Totals
from batchscore.store import Commit, Holder, Publication, Published, Store, open_store
from batchscore.telling import Telling

_log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: one date, by whom, and how."""

    config: RunConfig
    """The resolved configuration."""
    day: date
    """The snapshot's date."""
    run_id: str
    """128 random bits in hex, fresh for every attempt."""
    run_type: RunType | None = None
    """scheduled, backfill or manual; None to work it out."""
    holder: Holder
    """Who holds the lease: host, process, Job and attempt."""
    by: str
    """Who asks."""
    reason: str | None = None
    """Why."""
    republish: bool = False
    """Whether another plan may publish a new revision."""
    attempt: int = 1
    """The how-manieth attempt of the same job this is, from 1."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a request."""

    status: Literal["published", "unchanged"]
    """`unchanged` when the date was published before, from the same inputs."""
    commit: Commit
    """The date's commit."""
    reused: int = 0
    """Partitions that were found finished."""
    partitions: int = 0
    """Partitions in all; 0 when nothing was to be scored."""
    warnings: tuple[str, ...] = ()
    """What a person should know."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The revision that a run adds to: its parts are taken over as they are."""

    commit: Commit
    """Its commit."""
    manifest: Mapping[str, Any]
    """The content of its manifest."""
    told: Mapping[str, Any]
    """What metadata.json says of it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts of predictions, by index."""
        return tuple(Part(**part) for part in self.manifest["parts"])

    @property
    def taken_over(self) -> tuple[Part, ...]:
        """The files that its predictions lie in: the parts, or the one file."""
        whole = self.manifest["single_file"]
        if whole is None:
            return self.parts
        rows = sum(part.rows for part in self.parts)
        return (Part(name="predictions.parquet", rows=rows, logical_sha256="", **whole),)


Publish = Callable[[Request, Store, Execution, Progress], Result]
"""Scores and publishes what is asked for, or finds it done."""


def run(request: Request, clock: Clock, progress: Progress) -> Result:
    """Score one date and publish it, all at once or not at all.

    Args:
        request: What is asked for.
        clock: Returns the time, in seconds since the epoch.
        progress: Is told about finished rows.

    Raises:
        BatchscoreError: Of the class and code of the cause; what was published is in its context, as `state`.
    """
    return executed(request, clock, progress, _publish_once)


def executed(request: Request, clock: Clock, progress: Progress, publish: Publish) -> Result:
    """Do what a request asks for: open the output, publish, tell; and say in an error what is published.

    Args:
        request: What is asked for.
        clock: Returns the time, in seconds since the epoch.
        progress: Is told about finished rows.
        publish: Scores and publishes.

    Raises:
        BatchscoreError: Of the class and code of the cause; what was published is in its context, as `state`.
    """
    config, day = request.config, request.day.isoformat()
    bind(run_id=request.run_id, pipeline=config.pipeline, date=day)
    _log.info("run started", by=request.by, attempt=request.attempt)
    store = open_output(config)
    run_type = ledger.run_type(store, request.day, request.run_type)
    execution = Execution(run_id=request.run_id, run_type=run_type, attempt=request.attempt, clock=clock)
    telling = Telling(config, store, execution, day)
    telling.started()
    with telling.failures(), _state_told(store, request):
        result = publish(request, store, execution, progress)
    if result.status == "published":
        telling.published(result.commit)
    else:
        telling.unchanged()
    _log.info("run ended", status=result.status, revision=result.commit.number, reused=result.reused)
    return result


def open_output(config: RunConfig) -> Store:
    """Open the output root, refuse one that can not keep the promise, and claim it for the pipeline.

    Raises:
        ConfigError: When the store is unfit, or another pipeline has it.
        StorageFailed: When it can not be reached.
    """
    store = open_store(config.output.path, config.output.mode)
    store.probe()
    store.claim_pipeline(config.pipeline)
    return store


def look_at_output(config: RunConfig) -> Store:
    """Open the output root to look at it: nothing is probed, claimed or made.

    Raises:
        ConfigError: When another pipeline has it.
        StorageFailed: When it can not be reached.
    """
    store = open_store(config.output.path, config.output.mode)
    store.check_pipeline(config.pipeline)
    return store


def _publish_once(request: Request, store: Store, execution: Execution, progress: Progress) -> Result:
    with execution.watch("resolve"):
        checked = check_date(request.config, request.day)
    _log.info("inputs checked", **facts_of(checked))
    parent, done = store.settle(checked.plan, republish=request.republish)
    if not done:
        with store.lease(checked.plan.date, request.holder):
            # Looked at again: whoever held the lease may have published meanwhile.
            parent, done = store.settle(checked.plan, republish=request.republish)
            if not done:
                return _score_and_publish(request, store, checked, parent, execution, progress)
    if parent is None:
        raise BatchscoreError("a finished date has no commit", slug="NO-COMMIT")
    ledger.check_inputs_unchanged(store, parent, checked)
    return Result(status="unchanged", commit=parent, warnings=_other_versions(store, parent, checked))


def _score_and_publish(
    request: Request,
    store: Store,
    checked: Checked,
    parent: Commit | None,
    execution: Execution,
    progress: Progress,
) -> Result:
    totals = score_all(checked, job_of(checked, store, execution.run_id), execution, progress)
    with execution.watch("reduce"):
        check_snapshot_unchanged(checked)
        check_totals(checked, store, totals)
        judgement = judge(store, checked, totals)
    publication = publication_of(request, checked, totals, judgement, execution)
    return conclude(store, publication, parent, judgement, execution)


def conclude(
    store: Store, publication: Publication, parent: Commit | None, judgement: Judgement, execution: Execution
) -> Result:
    """Publish, hold or refuse what was scored, as the gates say.

    Raises:
        Held: When a gate refused to publish.
        BatchscoreError: As `Store.publish`.
    """
    if judgement.is_held:
        store.hold(publication, parent, why=judgement.why, gates=judgement.records())
    if judgement.refusal is not None:
        raise judgement.refusal
    commit = store.publish(publication, parent)
    _prune(store, commit)
    status: Literal["published", "unchanged"] = "published" if commit.run_id == publication.run_id else "unchanged"
    return Result(
        status=status,
        commit=commit,
        reused=execution.reused,
        partitions=len(publication.plan.partitions),
        warnings=judgement.warnings,
    )


def _prune(store: Store, commit: Commit) -> None:
    """Remove the finished work; when that fails, the date is published all the same."""
    try:
        store.prune(commit)
    except StorageFailed as error:
        _log.warning("finished work not removed", date=commit.date, error=error.message)


def publish_privately(
    request: Request, checked: Checked, totals: Totals, store: Store, execution: Execution
) -> Published:
    """Publish what was scored in a store that nobody else reads: no gate, no lease, no metrics.

    Raises:
        BatchscoreError: As `Store.publish`.
    """
    publication = publication_of(request, checked, totals, judge(store, checked, totals), execution)
    store.publish(publication, None)
    return store.published(checked.plan.date)


def private_execution(request: Request, clock: Clock) -> Execution:
    """Return the execution of a private run."""
    return Execution(run_id=request.run_id, run_type="manual", attempt=1, clock=clock)


def facts_of(checked: Checked) -> dict[str, Any]:
    """Return what one log line says of a checked date: versions of data, model and code, and the amount of work."""
    plan, model = checked.plan, checked.model
    return {
        "snapshot": checked.snapshot_name,
        "files": len(plan.inputs),
        "rows": plan.rows,
        "partitions": len(plan.partitions),
        "model": f"{model.name} {model.version}",
        "model_sha256": model.sha256[:12],
        "schema": f"{checked.schema.name} {checked.schema.version}",
        "plan_id": plan.plan_id[:12],
        "batchscore": plan.versions["batchscore"],
    }


def check_totals(checked: Checked, store: Store, totals: Totals) -> None:
    """Check what only the whole run shows: the budget of bad rows, that rows are conserved, that ids are unique.

    Raises:
        TooManyBadRows: When more rows are bad than the budget allows.
        ContractError: When an id stands twice.
        StateDamaged: When a sum does not close.
    """
    rows = totals.rows()
    check_budget(rows["rejected"], rows["read"], dict(totals.rejected), checked.config.rows)
    unbalanced = totals.unbalanced(checked.plan.planned_rows)
    if unbalanced:
        raise StateDamaged(
            f"rows are not conserved: {unbalanced}",
            slug="ROWS",
            remedy="delete the work folder of this date and plan, and run again; report it if it comes back",
        )
    check_unique(checked, store.work(checked.plan), totals)


def publication_of(
    request: Request,
    checked: Checked,
    totals: Totals,
    judgement: Judgement,
    execution: Execution,
    base: Base | None = None,
) -> Publication:
    """Return what is published, with its documents to be made once the data files are staged.

    Args:
        request: What was asked for.
        checked: The date, checked.
        totals: The sum of all partition reports, those of the base among them.
        judgement: The gates' verdicts.
        execution: This execution.
        base: The revision whose parts are taken over; None when everything was scored.
    """

    def documents(files: Mapping[str, tuple[str, int]]) -> Mapping[str, Mapping[str, Any]]:
        whole = files.get("predictions.parquet")
        single = {"sha256": whole[0], "size": whole[1]} if whole else None
        asked = {"by": request.by, "reason": request.reason, **({"rescored": base.told} if base else {})}
        return {
            "summary_metrics.json": summary_document(checked.plan, totals, judgement.drift),
            "manifest.json": manifest_document(
                checked.plan, totals, single, base.manifest["partitions"] if base else ()
            ),
            "metadata.json": metadata_document(checked, totals, judgement, execution, asked=asked),
        }

    execution.publishing()
    return Publication(
        plan=checked.plan,
        run_id=request.run_id,
        predictions=tuple(report.predictions for report in totals.in_order[len(base.parts) if base else 0 :]),
        quarantine=totals.quarantine,
        documents=documents,
        single_file=concatenate if checked.config.output.single_file else None,
        base=base.commit if base else None,
        taken_over=base.taken_over if base else (),
        run_type=execution.run_type,
        by=request.by,
        reason=request.reason,
    )


@contextmanager
def _state_told(store: Store, request: Request) -> Iterator[None]:
    """Say in an error what is published: only the store knows, when the error came close to the commit."""
    try:
        yield
    except BatchscoreError as error:
        error.context.setdefault("state", _state(store, request))
        raise


def _state(store: Store, request: Request) -> str:
    day = request.day.isoformat()
    try:
        head = store.head(day)
    except BatchscoreError:
        return f"Whether this run published {day} could not be found out; the same command finds out."
    if head and head.run_id == request.run_id:
        return f"{day} is published by this run, as revision {head.number}."
    return f"Nothing was published; revision {head.number} of {day} stands." if head else "Nothing was published."


def _other_versions(store: Store, commit: Commit, checked: Checked) -> tuple[str, ...]:
    """Say so when the same inputs were published under other library versions."""
    if commit.plan_id == checked.plan.plan_id:
        return ()
    then = store.published(commit.date, commit.number).document("manifest.json")["plan"]["versions"]
    now = checked.plan.versions
    changed = [
        f"{name} {then.get(name)} (now {now.get(name)})"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return (
        f"published by other versions: {', '.join(changed)}; `batchscore replay` compares, `--republish` scores again",
    )
