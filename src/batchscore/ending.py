"""How this process ends at a signal: it is raised once, a clean end has its time, and then it is over.

A platform that kills, such as Kubernetes, says in an environment variable how long it waits; elsewhere nobody does.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from batchscore.errors import Interrupted, Terminated

PLATFORM_GRACE = "BATCHSCORE_GRACE_SECONDS"
"""Environment variable: the whole seconds from the platform's SIGTERM to its SIGKILL; the chart sets it."""
GRACE_SECONDS = 15.0
"""How long a run without such a platform may take to end after a signal, metrics included."""
KEPT_BACK_SECONDS = 25.0
"""Of a platform's grace: for a block `to_its_end` that has begun when the rest is over."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_UNBROKEN = threading.Lock()
"""Held by a block `to_its_end`."""


def raise_signals(environ: Mapping[str, str]) -> None:
    """Have the first SIGTERM or SIGINT raise `Terminated` or `Interrupted` in whatever the main thread does then.

    A further one ends the process at once; where a platform kills after its own grace, it changes nothing.
    When the grace is over the process ends whatever happens: an exception that is raised while a finaliser runs is
    lost, and a clean end may wait for somebody who does not answer.

    Args:
        environ: The environment, where a platform says how long it waits.
    """
    stated = environ.get(PLATFORM_GRACE, "")
    by_platform = stated.isdecimal()
    seconds = max(float(stated) - KEPT_BACK_SECONDS, 0.0) if by_platform else GRACE_SECONDS

    def heed(number: int, _frame: FrameType | None) -> None:
        error = _error(number)
        for each in _SIGNALS:
            signal.signal(each, (lambda *_: None) if by_platform else (lambda *_: os._exit(error.exit_code)))
        # Not a `threading.Thread`: its start takes a lock that the interrupted code may hold.
        _thread.start_new_thread(_leave_late, (seconds, error.exit_code))
        raise error

    for each in _SIGNALS:
        signal.signal(each, heed)


def ignore_signals() -> None:
    """Let nothing interrupt what is left, since the answer is given."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextmanager
def to_its_end() -> Iterator[None]:
    """Let a block come to its end whatever signal arrives, and though a grace ends: heeded is both after it.

    The block sees to it that it takes no longer than `KEPT_BACK_SECONDS`. Signals arrive in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in _SIGNALS}
    try:
        with _UNBROKEN:
            yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def _error(number: int) -> Terminated | Interrupted:
    remedy = "run the same command again: it resumes"
    if number == signal.SIGTERM:
        return Terminated("terminated by SIGTERM", remedy=remedy)
    return Interrupted("interrupted", remedy=remedy)


def _leave_late(seconds: float, code: int) -> None:
    time.sleep(seconds)
    with _UNBROKEN:
        os.write(2, b"error: the run did not end in time and was cut off; run the same command again: it resumes\n")
        os._exit(code)
