"""Pushing to a Pushgateway: never an exception, never longer than its budget, whatever the server does.

The gateway remembers for ever and by metric name, so the verb matters: a success PUTs everything and thereby sweeps
what older versions pushed; a start or a failure POSTs the attempt's metrics only, so that the last success' numbers
survive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from batchscore.metrics import exposition
from batchscore.metrics.exposition import Collected, Samples
from batchscore.metrics.options import MetricsOptions
from batchscore.metrics.readers import Attempt

if TYPE_CHECKING:
    from batchscore.metrics.wire import Wire

JOB = "batchscore"
"""The `job` label."""
START_SECONDS = 3.0
"""The most that the start's push may take of the budget."""
PAUSES = (0.5, 1.5)
"""Seconds before the second and the third try of a push that got no answer."""
_ANY_SECONDS = 0.05
"""With less of the budget left no gateway can answer."""
SLACK_SECONDS = 0.1
"""How long a push that was cut at its deadline may take to notice."""

RunType = Literal["scheduled", "backfill", "manual"]
Verb = Literal["PUT", "POST", "DELETE"]
Push = Literal["start", "failure", "unchanged", "success", "discard", "forget"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The grouping key: constant from run to run, never a date, an id, a host or a version."""

    environment: str
    """The environment."""
    pipeline: str
    """The pipeline."""
    run_type: RunType
    """The run's type: backfills and manual runs must not disturb what the alerts look at."""

    def labels(self) -> dict[str, str]:
        """Return the key without the job."""
        return {"environment": self.environment, "pipeline": self.pipeline, "run_type": self.run_type}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one push; for the log, since the published record is final by then."""

    push: Push
    """What was told."""
    status: Literal["off", "pushed", "failed"]
    """`off`: no Pushgateway is configured; `failed`: it may have arrived or not."""
    detail: str = ""
    """Why it failed, with the gateway's answer."""
    seconds: float = 0.0
    """Wall seconds that it took."""
    series: int = 0
    """Series that were pushed."""
    size: int = 0
    """Bytes that were pushed."""


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What to send."""

    push: Push
    verb: Verb
    build: Callable[[], tuple[Samples, ...]]
    group: Group
    options: MetricsOptions
    seconds: float


class Pusher:
    """All pushes of one run; they share one wall-clock budget.

    Args:
        options: The `metrics` section.
        group: The grouping key.
    """

    def __init__(self, options: MetricsOptions, group: Group) -> None:
        self._options = options
        self._group = group
        self._left = options.budget_seconds
        self._started: _Delivery | None = None
        self._outcomes: list[Outcome] = []

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of the pushes so far, in order; a start that is still under way is not among them."""
        return tuple(self._outcomes)

    def start(self, attempt: Attempt) -> None:
        """Tell that an attempt started, in the background; its outcome is collected by the next push."""
        seconds = min(START_SECONDS, self._left)
        self._started = self._send("start", "POST", lambda: exposition.start_samples(attempt), seconds, self._group)

    def failure(self, attempt: Attempt) -> Outcome:
        """Tell that an attempt failed; the numbers of the last success stay as they are."""
        return self._deliver("failure", "POST", lambda: exposition.attempt_samples(attempt))

    def unchanged(self, attempt: Attempt) -> Outcome:
        """Tell that an attempt found its date published already; the numbers of the last success stay."""
        return self._deliver("unchanged", "POST", lambda: exposition.attempt_samples(attempt))

    def success(self, summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> Outcome:
        """Tell everything of a published run, from its documents alone.

        Args:
            summary: The content of `summary_metrics.json`.
            metadata: The content of `metadata.json`.
        """
        return self._deliver("success", "PUT", lambda: exposition.samples(summary, metadata))

    def settled(self) -> Outcome:
        """Tell that nothing is held any more; all else stays as the last attempt told it."""
        return self._deliver("discard", "POST", exposition.settled_samples)

    def forget(self, run_types: Sequence[RunType]) -> tuple[Outcome, ...]:
        """Have the gateway forget the groups of these run types, all at once; it answers before it has done so."""
        groups = [replace(self._group, run_type=run_type) for run_type in run_types]
        sent = [self._send("forget", "DELETE", tuple, self._left, group) for group in groups]
        return tuple(self._collect(delivery) for delivery in sent)

    def close(self) -> None:
        """Collect the start's outcome; needed only by a run that tells nothing else."""
        if self._started is not None:
            self._collect(self._started)
            self._started = None

    def _deliver(self, push: Push, verb: Verb, build: Callable[[], tuple[Samples, ...]]) -> Outcome:
        self.close()
        return self._collect(self._send(push, verb, build, self._left, self._group))

    def _send(
        self, push: Push, verb: Verb, build: Callable[[], tuple[Samples, ...]], seconds: float, group: Group
    ) -> _Delivery:
        return _Delivery(_Order(push=push, verb=verb, build=build, group=group, options=self._options, seconds=seconds))

    def _collect(self, delivery: _Delivery) -> Outcome:
        outcome = delivery.outcome()
        self._left = max(0.0, self._left - outcome.seconds)
        self._outcomes.append(outcome)
        return outcome


class _Delivery:
    """One push in a thread of its own, cut off at its deadline.

    A socket's timeout bounds one read only: against a server that drips a byte per second it never fires. So a timer
    owns the deadline and shuts the socket down; a thread that hangs even then, in a name look-up, stays as a daemon.
    """

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._wire: Wire | None = None
        self._began = time.monotonic()
        self._cut = threading.Event()
        self._result: Outcome | None = None
        self._thread = threading.Thread(target=self._run, name=f"metrics-{order.push}", daemon=True)
        self._timer = threading.Timer(order.seconds, self._end)
        self._timer.daemon = True
        if order.options.pushgateway is not None:
            from batchscore.metrics.wire import Wire

            self._wire = Wire(order.options, order.seconds)
            self._timer.start()
            self._thread.start()

    def outcome(self) -> Outcome:
        """Wait for the answer, at most until the deadline."""
        if self._order.options.pushgateway is None:
            return Outcome(push=self._order.push, status="off")
        ends = self._began + self._order.seconds + SLACK_SECONDS
        self._thread.join(max(0.0, ends - time.monotonic()))
        return self._result or self._failed(self._late())

    def _run(self) -> None:
        try:
            content = self._order.build()
            detail = self._tried(content)
        except Exception as error:  # noqa: BLE001 - a push must never end a run, whatever is wrong with it
            detail = f"{type(error).__name__}: {error}"
        self._timer.cancel()
        if self._cut.is_set():  # whatever was read: the end of a cut connection looks like that of an answer
            detail = self._late()
        self._result = self._failed(detail) if detail else self._pushed(content)

    def _end(self) -> None:
        self._cut.set()
        if self._wire is not None:
            self._wire.cut()

    def _tried(self, content: tuple[Samples, ...]) -> str:
        """Push until it is answered, the tries are used up or it is cut; return why it failed, or nothing."""
        from batchscore.metrics.wire import RefusedError

        for pause in (*PAUSES, None):
            try:
                self._request(content)
            except RefusedError as error:
                return str(error)
            except OSError as error:
                detail = str(error)
            else:
                return ""
            if pause is None or self._cut.wait(pause):
                break
        return detail

    def _request(self, content: tuple[Samples, ...]) -> None:
        from prometheus_client import delete_from_gateway, push_to_gateway, pushadd_to_gateway

        assert self._wire is not None  # noqa: S101 - the thread runs only with a gateway
        gateway, key = str(self._order.options.pushgateway), self._order.group.labels()
        if self._order.verb == "DELETE":
            delete_from_gateway(gateway, JOB, key, handler=self._wire.handler)
            return
        send = push_to_gateway if self._order.verb == "PUT" else pushadd_to_gateway
        send(gateway, JOB, Collected(content), key, handler=self._wire.handler)

    def _pushed(self, content: tuple[Samples, ...]) -> Outcome:
        series, size = sum(item.series for item in content), self._wire.sent if self._wire else 0
        return Outcome(push=self._order.push, status="pushed", seconds=self._spent(), series=series, size=size)

    def _failed(self, detail: str) -> Outcome:
        return Outcome(push=self._order.push, status="failed", detail=detail, seconds=self._spent())

    def _late(self) -> str:
        if self._order.seconds < _ANY_SECONDS:
            return "the pushes before it used up metrics.budget_seconds"
        return f"the gateway gave no whole answer within {self._order.seconds:.1f} s"

    def _spent(self) -> float:
        """Seconds from the beginning to now or to the deadline: a push that hung behind a long run cost no more."""
        return min(time.monotonic() - self._began, self._order.seconds)
