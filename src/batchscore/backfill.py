"""Many dates, one after the other or a few at once: what is missing is run, what is published is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from batchscore.errors import BatchscoreError
from batchscore.history import ScheduleOptions, last_tick_before, scheduled_date


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What became of one date."""

    date: str
    """The date, ISO."""
    status: str
    """published, unchanged, failed, skipped (published before) or stopped (not begun after a failure)."""
    exit_code: int = 0
    """The exit code that its run ended with, or would have."""
    rows: int | None = None
    """Rows scored."""
    revision: int | None = None
    """The revision that is published."""
    message: str = ""
    """The error, when it failed."""


Fill = Callable[[date], Filled]
"""Runs one date; never raises."""


def due_dates(schedule: ScheduleOptions, first: date, last: date) -> Iterator[date]:
    """Yield the dates from `first` to `last`, both included, that a tick of the schedule scores."""
    zone = ZoneInfo(schedule.timezone)
    day = first
    while day <= last:
        local = day - timedelta(days=schedule.offset_days)
        end = datetime.combine(local, time(23, 59, 59), tzinfo=zone).astimezone(UTC)
        tick = last_tick_before(schedule, end)
        if tick is not None and scheduled_date(schedule, tick) == day:
            yield day
        day += timedelta(days=1)


def backfill(
    dates: Sequence[date],
    fill: Fill,
    *,
    at_once: int = 1,
    keep_going: bool = False,
    stop: Callable[[], None] = lambda: None,
) -> list[Filled]:
    """Run dates in order.

    Args:
        dates: The dates, ascending.
        fill: Runs one date; from several threads when `at_once` is more than 1.
        at_once: How many run at the same time.
        keep_going: Whether a failure does not stop those that have not begun.
        stop: Ends early what runs in other threads, when a signal ends this process.

    Returns:
        What became of every date, in order.
    """
    failed = threading.Event()

    def filled(day: date) -> Filled:
        if failed.is_set() and not keep_going:
            return Filled(date=day.isoformat(), status="stopped")
        found = fill(day)
        if found.exit_code:
            failed.set()
        return found

    if at_once == 1:  # in this thread, which gets the signals
        return [filled(day) for day in dates]
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        try:
            return list(pool.map(filled, dates))
        except BaseException:  # a signal that ends this process
            stop()
            raise


class OwnProcesses:
    """Runs dates in processes of their own, by the command that a person would type; none outlives this process.

    Each has a process group of its own, so that it gets one signal, from here, also when a terminal sends one to all.
    It ends by itself when its stdin does, which is a pipe that nobody else holds: `cli.child`.

    Args:
        options: Options of `batchscore run`, but for the date.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def fill(self, day: date) -> Filled:
        """Run one date and wait for its end."""
        child = self._begin(day)
        if child is None:
            return Filled(date=day.isoformat(), status="stopped")
        with child:
            output = child.stdout.read() if child.stdout else ""
        with self._lock:
            self._running.remove(child)
        return _filled(day, child.returncode, output)

    def stop(self) -> None:
        """Tell all to end, as they do at SIGTERM, and begin no more; `fill` returns once they have ended."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.terminate()

    def _begin(self, day: date) -> subprocess.Popen[str] | None:
        arguments = ["run", "--date", day.isoformat(), "--json", *self._options]
        with self._lock:
            if self._stopped:
                return None
            child = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "batchscore.cli.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,
            )
            self._running.add(child)
            return child


def _filled(day: date, code: int, output: str) -> Filled:
    """Return what became of a date whose process ended with a code and an answer."""
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        answer = {"message": f"the run ended with code {code} and no answer"}
    if code:
        message = ": ".join(str(answer[key]) for key in ("error", "message") if key in answer)
        return Filled(date=day.isoformat(), status="failed", exit_code=code, message=message)
    return Filled(
        date=day.isoformat(),
        status=answer["status"],
        rows=answer["summary"]["rows"]["scored"],
        revision=answer["commit"]["number"],
    )


def guarded(run: Callable[[date], Filled]) -> Fill:
    """Return `run` with its errors as results; a signal is no error of a date, and ends all."""

    def fill(day: date) -> Filled:
        try:
            return run(day)
        except BatchscoreError as error:
            return Filled(
                date=day.isoformat(), status="failed", exit_code=error.exit_code, message=f"{error.id}: {error.message}"
            )

    return fill
