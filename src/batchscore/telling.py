"""What others are told of a run: metrics, events, notifications. Nothing here changes what is published or an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from typing import cast

from batchscore import ledger, lineage
from batchscore.config import RunConfig
from batchscore.errors import BatchscoreError, Held, Reported, Signalled, exit_code, unforeseen
from batchscore.execution import Execution
from batchscore.ingest import resolve
from batchscore.lineage import Events, Subject
from batchscore.logs import logger
from batchscore.metrics import Attempt, Group, Outcome, Pusher, RunType
from batchscore.store import Commit, HeldRun, Published, Store, notify

_log = logger(__name__)


class Telling:
    """Tells of one run, from its start to its end.

    Args:
        config: The configuration.
        store: The output; None while it is not open: then no event is kept.
        execution: This execution of the run; its clock is asked when it ends.
        day: The date, ISO.
    """

    def __init__(self, config: RunConfig, store: Store | None, execution: Execution, day: str) -> None:
        self._config, self._execution = config, execution
        timeout = config.cluster.deadline_minutes * 60
        self._began = Attempt(started=execution.started, attempts=execution.attempt, timeout=timeout)
        self._pusher = pusher_of(config, execution.run_type)
        self._events = _events(config, store, execution.run_id, day)

    def started(self) -> None:
        """Tell that the run started, in the background."""
        self._pusher.start(self._began)
        self._events.start(self._began.started)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Tell of what ends the block, an error, also one that nobody foresaw, or a signal, and raise it again."""
        try:
            yield
        except (Exception, Signalled) as error:
            self._failed(error if isinstance(error, Reported) else unforeseen(error))
            raise

    def _failed(self, error: Reported) -> None:
        reason, ended = exit_code(error.exit_code).reason, self._execution.clock()
        _log.error("run failed", error=error.id, exit_code=error.exit_code)
        failed = replace(self._began, ended=ended, reason=reason, held=isinstance(error, Held))
        _log_push(self._pusher.failure(failed))
        _log_events(self._events.fail(ended, f"{error.id}: {error.message}"))

    def published(self, store: Store, commit: Commit) -> None:
        """Tell that the date is published by this run."""
        tell(self._config, store, commit)
        run = store.published(commit.date)
        self._numbers(run)
        _log_events(self._events.complete(self._execution.clock(), _facts(run)))

    def unchanged(self, store: Store, commit: Commit) -> None:
        """Tell that the run found its date published, by a run that may have ended before it told others.

        So the numbers of what the alerts look at, the newest scheduled date, are told once more.
        """
        tell(self._config, store, commit)
        is_watched = self._config.metrics.pushgateway is not None and self._execution.run_type == "scheduled"
        if is_watched and ledger.newest_scheduled(store) == commit.date:
            self._numbers(store.published(commit.date))
        ended = self._execution.clock()
        _log_push(self._pusher.unchanged(replace(self._began, ended=ended)))
        _log_events(self._events.complete(ended))

    def _numbers(self, run: Published) -> None:
        _log_push(self._pusher.success(run.document("summary_metrics.json"), run.document("metadata.json")))


def tell(config: RunConfig, store: Store, commit: Commit) -> None:
    """Notify others of a commit, as `output.notify` says, until it has succeeded once; a failure is a warning."""
    options = config.output.notify
    if options is None:
        return
    try:
        told = store.is_told(commit)
        failed = notify(options, commit, again=told)
        if not failed and not told:
            store.keep_told(commit)
            _log.info("notified", kind=options.kind)
    except BatchscoreError as error:
        failed = f"whether it was told before is not known, or not kept: {error.message}"
    if failed:
        _log.warning("notification failed", detail=failed)


def tell_released(config: RunConfig, store: Store, commit: Commit, moment: float) -> None:
    """Tell that a held run is published: the same push as if no gate had held it, and a COMPLETE event of that run.

    Args:
        config: The configuration.
        store: The output.
        commit: What published it.
        moment: When, in epoch seconds.
    """
    tell(config, store, commit)
    run = store.published(commit.date, commit.number)
    metadata = run.document("metadata.json")  # the run's own type: its group is the one that says that it is held
    _log_push(pusher_of(config, metadata["run_type"]).success(run.document("summary_metrics.json"), metadata))
    _log_events(_events(config, store, commit.run_id, commit.date).complete(moment, _facts(run)))


def tell_discarded(config: RunConfig, store: Store, held: HeldRun) -> None:
    """Tell that a held run was dropped, unless another run of the same type is still held."""
    run_type = cast("RunType", held.commit.run_type)
    waiting = (other for day in store.held_dates() for other in store.held(day))
    if not any(other.state == "open" and other.commit.run_type == run_type for other in waiting):
        _log_push(pusher_of(config, run_type).settled())


def pusher_of(config: RunConfig, run_type: RunType) -> Pusher:
    """Return what pushes the metrics of a run of this type."""
    return Pusher(config.metrics, Group(environment=config.environment, pipeline=config.pipeline, run_type=run_type))


def _events(config: RunConfig, store: Store | None, run_id: str, day: str) -> Events:
    subject = Subject(
        run_id=run_id,
        namespace=config.lineage.namespace or f"batchscore.{config.environment}",
        pipeline=config.pipeline,
        date=day,
        snapshot=resolve(config.snapshot.path, date.fromisoformat(day)),
        output=config.output.path,
    )
    return Events(config.lineage, subject, partial(store.keep_event, day) if store else None)


def _facts(run: Published) -> lineage.Published:
    return lineage.Published(manifest=run.document("manifest.json"), summary=run.document("summary_metrics.json"))


def _log_push(outcome: Outcome) -> None:
    if outcome.status == "failed":
        _log.warning("metrics push failed", push=outcome.push, detail=outcome.detail, seconds=round(outcome.seconds, 2))
    elif outcome.status == "pushed":
        _log.info("metrics pushed", push=outcome.push, series=outcome.series, bytes=outcome.size)


def _log_events(problems: tuple[str, ...]) -> None:
    for problem in problems:
        _log.warning("lineage event failed", detail=problem)
