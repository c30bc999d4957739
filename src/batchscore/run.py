"""One run on the driver, read top to bottom: check, hand out, gather, reduce, publish, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from batchscore import ledger
from batchscore.check import Checked, check_date, check_snapshot_unchanged
from batchscore.compiling import compile_after
from batchscore.config import RunConfig
from batchscore.duplicates import check_unique
from batchscore.errors import BatchscoreError, Reported, StateDamaged, StorageFailed, unforeseen
from batchscore.execution import Clock, Execution
from batchscore.gather import Progress, job_of, score_all
from batchscore.judge import Judgement, judge
from batchscore.logs import bind, logger
from batchscore.plan import Plan
from batchscore.preprocess import check_budget
from batchscore.publication import Request, publication_of
from batchscore.report import Totals
from batchscore.store import Commit, Publication, Published, Store, open_store
from batchscore.telling import Telling

_log = logger(__name__)


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
    scored: Checked | None = None
    """The date as it was checked, when this run scored it."""


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
    result = executed(request, clock, progress, _publish_once)
    if result.status == "published" and result.scored is not None:
        compile_after(result.scored)
    return result


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
    asked = request.run_type or "manual"  # all that is known of the type until the output is open
    execution = Execution(run_id=request.run_id, run_type=asked, attempt=request.attempt, clock=clock)
    with Telling(config, None, execution, day).failures():
        store = open_output(config)
        execution.run_type = ledger.run_type(store, request.day, request.run_type)
    telling = Telling(config, store, execution, day)
    telling.started()
    with _state_told(store, request), telling.failures():
        result = publish(request, store, execution, progress)
        prune(store, result.commit)  # also when nothing was to do: whoever published may have been killed before
        if result.status == "published":
            telling.published(store, result.commit)
        else:
            telling.unchanged(store, result.commit)
    _log.info("run ended", status=result.status, revision=result.commit.number, reused=result.reused)
    return result


def prune(store: Store, commit: Commit) -> None:
    """Remove the finished work; when that fails, the date is published all the same."""
    try:
        store.prune(commit)
    except StorageFailed as error:
        _log.warning("finished work not removed", date=commit.date, error=error.message)


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
    try:
        totals = score_all(checked, job_of(checked, store, execution.run_id), execution, progress)
        with execution.watch("reduce"):
            check_snapshot_unchanged(checked)
            check_totals(checked, store, totals)
            judgement = judge(store, checked, totals)
    except StateDamaged as error:
        return overtaken(error, store, checked.plan, parent)
    publication = publication_of(request, checked, totals, judgement, execution)
    return replace(conclude(store, publication, parent, judgement, execution), scored=checked)


def overtaken(error: StateDamaged, store: Store, plan: Plan, parent: Commit | None) -> Result:
    """Return what another run of the same plan published: it was first, and pruned the work that both share.

    Raises:
        StateDamaged: `error`, when the date stands as it stood: then the work is damaged indeed.
        OutputExists: When a run of another plan was first.
    """
    first = store.overtaken(plan, parent)
    if first is None:
        raise error
    return Result(status="unchanged", commit=first)


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
    status: Literal["published", "unchanged"] = "published" if commit.run_id == publication.run_id else "unchanged"
    return Result(
        status=status,
        commit=commit,
        reused=execution.reused,
        partitions=len(publication.plan.partitions),
        warnings=judgement.warnings,
    )


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


@contextmanager
def _state_told(store: Store, request: Request) -> Iterator[None]:
    """Say in an error what is published: only the store knows, when the error came close to the commit."""
    try:
        yield
    except Reported as error:
        error.context.setdefault("state", _state(store, request))
        raise
    except Exception as error:
        told = unforeseen(error)
        told.context["state"] = _state(store, request)
        raise told from error


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
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    changed = [f"{name} {then.get(name)} (now {now.get(name)})" for name in names]
    return (
        f"published by other versions: {', '.join(changed)}; `batchscore replay` compares, `--republish` scores again",
    )
