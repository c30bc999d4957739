"""Structured log lines on stderr: one line per unit of work, with ids, counts and seconds; no rows, no secrets."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LogFormat = Literal["json", "text"]


def configure(log_format: LogFormat | None = None, *, level: int = logging.INFO) -> None:
    """Send all log lines to stderr.

    Args:
        log_format: `json` or `text`; by default text on a terminal and json otherwise.
        level: The lowest level that is written.
    """
    terminal = sys.stderr.isatty()
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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def bind(**context: object) -> None:
    """Add `context` to every later line of this process, such as `run_id`."""
    structlog.contextvars.bind_contextvars(**context)


def logger(name: str) -> FilteringBoundLogger:
    """Return the logger of the module `name`."""
    log: FilteringBoundLogger = structlog.get_logger(module=name.rsplit(".", 1)[-1])
    return log
