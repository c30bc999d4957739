"""Structured log lines on stderr: one line per unit of work, with ids, counts and seconds; no rows, no secrets.

JSON lines, which is what scheduled runs write, are made here: importing structlog costs a nightly run more than writing
all its lines. Text for a terminal is laid out by structlog.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Literal

LogFormat = Literal["json", "text"]

_settings: dict[str, Any] = {"log_format": None, "level": logging.INFO}
_sink: dict[str, Any] = {"render": None}
_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - never changed, only replaced


class Logger:
    """Writes the lines of one module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def debug(self, event: str, **facts: object) -> None:
        """Write a line for whoever looks closely."""
        self.log(logging.DEBUG, event, **facts)

    def info(self, event: str, **facts: object) -> None:
        """Write a line of the ordinary course."""
        self.log(logging.INFO, event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """Write a line that somebody should read."""
        self.log(logging.WARNING, event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Write a line of what went wrong."""
        self.log(logging.ERROR, event, **facts)

    def log(self, level: int, event: str, **facts: object) -> None:
        """Write a line of a level of `logging`; `exc_info` is an exception's, as `logging` has it."""
        if level < _settings["level"]:
            return
        line = {**_bound.get(), "module": self._module, **facts, "level": logging.getLevelName(level).lower()}
        error = line.pop("exc_info", None)
        if error:
            line["exception"] = "".join(traceback.format_exception(*error)).rstrip("\n")
        line["timestamp"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        render: Callable[[dict[str, Any]], str] = _sink["render"] or _as_json
        _write(render(line | {"event": event}) + "\n")


def as_options() -> list[str]:
    """Return the command line's options with which another process of ours logs as this one does."""
    told = {logging.DEBUG: ["--verbose"], logging.WARNING: ["--quiet"]}.get(_settings["level"], [])
    return told + ([f"--log-format={_settings['log_format']}"] if _settings["log_format"] else [])


def configure(log_format: LogFormat | None = None, *, level: int = logging.INFO) -> None:
    """Send all log lines to stderr.

    Args:
        log_format: `json` or `text`; by default text on a terminal and json otherwise.
        level: The lowest level that is written.
    """
    _settings.update(log_format=log_format, level=level)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    as_text = log_format == "text" or (log_format is None and terminal)
    colors = terminal and not os.environ.get("NO_COLOR")
    _sink.update(render=partial(_as_text, colors) if as_text else _as_json)


def bind(**context: object) -> None:
    """Add `context` to every later line of this process, such as `run_id`."""
    _bound.set({**_bound.get(), **context})


def logger(name: str) -> Logger:
    """Return the logger of the module `name`."""
    return Logger(name.rsplit(".", 1)[-1])


def settings() -> dict[str, Any]:
    """Return the arguments of `configure` that are in force, for another process that is to log likewise."""
    return dict(_settings)


def adopt(names: Iterable[str]) -> None:
    """Write the warnings that a library logs by way of `logging` as lines like ours, and nowhere else.

    Where only warnings of ours are asked for (`-q`), only the library's errors are: what it warns of, a worker that is
    started again or a busy loop, is a warning of ours where it matters.

    Args:
        names: The library's loggers that have handlers of their own.
    """
    level = logging.ERROR if _settings["level"] >= logging.WARNING else logging.WARNING
    for name in names:
        theirs = logging.getLogger(name)
        theirs.handlers = [_Bridge(level=level)]
        theirs.propagate = False


class _Bridge(logging.Handler):
    """Hands a record of `logging` on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it as a line of ours."""
        Logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _write(text: str) -> None:
    """Write to the stderr of this moment, before which a progress bar may have put itself.

    A line that can not be written is lost: logs do not end a run or a worker.
    """
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _as_json(line: dict[str, Any]) -> str:
    return json.dumps(line, sort_keys=True, default=repr)


def _as_text(colors: bool, line: dict[str, Any]) -> str:  # noqa: FBT001 - bound by `configure`, nobody else calls it
    return str(_console(colors)(None, line["level"], line))


@cache
def _console(colors: bool) -> Any:  # noqa: FBT001 - likewise
    from structlog.dev import ConsoleRenderer

    return ConsoleRenderer(colors=colors)
