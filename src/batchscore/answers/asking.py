"""What several answers share."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import get_args

from batchscore import text
from batchscore.config import RunConfig
from batchscore.errors import UsageError
from batchscore.gather import Progress
from batchscore.history import last_tick_before, scheduled_date
from batchscore.logs import logger
from batchscore.metrics import RunType
from batchscore.publication import Request
from batchscore.store import STATE, Commit, Store, holder
from batchscore.text import Answer, Given

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
"""Dates that can be scored: schedules and baselines look some years to both sides, and the calendar has ends."""
_ALIKE_BYTES = 15
"""Bytes by which a file is known to be an earlier one of ours: `<!DOCTYPE html>`, or the first key of a document."""

_log = logger(__name__)


def parse_day(given: str, option: str = "--date") -> date:
    """Parse an ISO date.

    Args:
        given: The text.
        option: The option that it was given to, for the message.

    Raises:
        UsageError: When the text is no ISO date.
    """
    try:
        day = date.fromisoformat(given)
    except ValueError:
        day = None
    if day is None or day.isoformat() != given:
        raise UsageError(
            f"{option} {given!r} is not a date", slug="DATE", remedy="write it as YYYY-MM-DD, such as 2013-02-08"
        )
    if not FIRST_DAY <= day <= LAST_DAY:
        raise UsageError(
            f"{option} {given} lies outside of {FIRST_DAY} to {LAST_DAY}", slug="DATE-RANGE", remedy="check the year"
        )
    return day


def request_of(config: RunConfig, given_date: str) -> Request:
    """Return a plain request for one date."""
    run_id = secrets.token_hex(16)
    return Request(config=config, day=parse_day(given_date), run_id=run_id, holder=holder(run_id), by=login())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The date that is asked for, and what the platform says of it."""

    day: date
    """The snapshot's date."""
    run_type: RunType | None = None
    """`scheduled` when the platform's schedule named the date."""
    attempt: int = 1
    """The how-manieth attempt of the same Job this is."""


def asked_day(given: str, config: RunConfig) -> Asked:
    """Resolve an ISO date, or `scheduled`: the date of the tick that this Job belongs to, never of the clock.

    Raises:
        UsageError: When the text is neither, or `scheduled` stands outside of a Job.
        NoCluster: When the API server does not tell when the Job was due.
    """
    if given != "scheduled":
        return Asked(day=parse_day(given))
    from batchscore.cluster.due import due_job

    due, attempt = due_job()
    tick = due.at if due.by_schedule else last_tick_before(config.schedule, due.at)
    if tick is None:
        raise UsageError(
            f"the schedule '{config.schedule.cron}' has no tick before {due.at.isoformat()}",
            slug="NO-TICK",
            remedy="pass the date: --date 2013-02-08",
        )
    day = scheduled_date(config.schedule, tick)
    _log.info("date taken", date=day.isoformat(), why=due.why, tick=tick.isoformat(), attempt=attempt)
    return Asked(day=day, run_type="scheduled", attempt=attempt)


def parse_run_type(given: str, *, remedy: str = "leave it out, or name one") -> RunType:
    """Parse a run type.

    Args:
        given: The text.
        remedy: What to do about another one.

    Raises:
        UsageError: When the text is none.
    """
    types: tuple[RunType, ...] = get_args(RunType)
    for known in types:
        if known == given:
            return known
    raise UsageError(f"--run-type {given!r} is none of {', '.join(types)}", slug="RUN-TYPE", remedy=remedy)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show a bar on a terminal, and a log line each 10 % elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        with Bar(
            TextColumn("scoring"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            # Not seen before there is something to count: until then snapshot and model are checked.
            task = bar.add_task("scoring", total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        return
    tenth = 0

    def log(done: int, total: int) -> None:
        nonlocal tenth
        reached = 10 * done // max(total, 1)
        if reached > tenth:
            tenth = reached
            _log.info("progress", rows=done, total=total, percent=10 * reached)

    yield log


def login() -> str:
    """Return the name of whoever runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def published_answer(given: Given, config: RunConfig, store: Store, commit: Commit) -> Answer:
    """Tell of one published run."""
    published = store.published(commit.date, commit.number)
    summary, metadata = published.document("summary_metrics.json"), published.document("metadata.json")
    facts = asdict(commit)
    where = f"{config.output.path}/{commit.date}/"
    return Answer(
        text=text.run_text(given, facts, summary, metadata, where),
        document={"commit": facts, "path": where, "summary": summary, "metadata": metadata},
    )


def write_file(path: str, content: str, config: RunConfig) -> None:
    """Write a text file; one that is there already is replaced when it begins alike, as an earlier one of ours does.

    Raises:
        UsageError: When it can not be written, lies where batchscore keeps its runs, or would replace something else.
    """
    refuse_own(path, config)
    try:
        _refuse_another(path, content)
        Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"'{path}' can not be written: {error.strerror}", slug="OUTPUT-FILE", remedy="check the folder"
        ) from error


def _refuse_another(path: str, content: str) -> None:
    """Refuse to write over a file that begins otherwise: a mistyped name must not cost a configuration or a snapshot."""
    if not Path(path).is_file():  # a terminal or a pipe loses nothing, and reading it would wait
        return
    wanted = content.encode()[:_ALIKE_BYTES]
    with Path(path).open("rb") as file:
        found = file.read(_ALIKE_BYTES)
    if found and found != wanted:
        raise UsageError(
            f"'{path}' is there already and is something else", slug="OUTPUT-FILE", remedy="name another file"
        )


def create_file(path: str, content: bytes, config: RunConfig, *, exists: UsageError, remedy: str) -> None:
    """Write a file that is not there yet.

    Args:
        path: Where.
        content: What.
        config: The configuration, for the place where batchscore keeps its runs.
        exists: What is raised when there is one.
        remedy: What to do when it can not be written.

    Raises:
        UsageError: When it is there, can not be written, or lies where batchscore keeps its runs.
    """
    refuse_own(path, config)
    try:
        with Path(path).open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise exists from error
    except OSError as error:
        raise UsageError(f"'{path}' can not be written: {error.strerror}", slug="OUTPUT-FILE", remedy=remedy) from error


def refuse_own(path: str, config: RunConfig) -> None:
    """Refuse a file among the runs: one more file there, or another one, and the date is no longer what it was.

    Raises:
        UsageError: When `path` lies in a date of the output, or in `_batchscore`.
    """
    root = Path(config.output.path)
    if Path(path).resolve().is_relative_to((root / STATE).resolve()):
        raise UsageError(
            f"'{path}' lies among the runs in '{root}', where nothing is ever added",
            slug="AMONG-RUNS",
            remedy="write it somewhere else",
        )
