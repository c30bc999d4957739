"""Structured log lines on stderr: one line per unit of work, with ids, counts and seconds; no rows, no secrets."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LogFormat = Literal["json", "text"]

_settings: dict[str, Any] = {"log_format": None, "level": logging.INFO}


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
    renderer = (
        structlog.dev.ConsoleRenderer(colors=colors) if as_text else structlog.processors.JSONRenderer(sort_keys=True)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("event"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def bind(**context: object) -> None:
    """Add `context` to every later line of this process, such as `run_id`."""
    structlog.contextvars.bind_contextvars(**context)


def logger(name: str) -> FilteringBoundLogger:
    """Return the logger of the module `name`."""
    log: FilteringBoundLogger = structlog.get_logger(module=name.rsplit(".", 1)[-1])
    return log


def settings() -> dict[str, Any]:
    """Return the arguments of `configure` that are in force, for another process that is to log likewise."""
    return dict(_settings)


def adopt(names: Iterable[str]) -> None:
    """Write the warnings that a library logs by way of `logging` as lines like ours, and nowhere else.

    Args:
        names: The library's loggers that have handlers of their own.
    """
    for name in names:
        theirs = logging.getLogger(name)
        theirs.handlers = [_Bridge(level=logging.WARNING)]
        theirs.propagate = False


class _Stderr:
    """The stderr of this moment, on which a line that can not be written is lost: logs do not end a run or a worker."""

    def write(self, text: str) -> None:
        """Write a line, or lose it."""
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.flush()


class _Bridge(logging.Handler):
    """Hands a record of `logging` on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it as a line of ours."""
        structlog.get_logger(module=record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)
