"""How this process ends at a signal: it is raised, again where that was lost, a clean end has its time, and then it is over.

A platform that kills, such as Kubernetes, says in an environment variable how long it waits; elsewhere nobody does.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from batchscore.errors import Interrupted, Signalled, Terminated

PLATFORM_GRACE = "BATCHSCORE_GRACE_SECONDS"
"""Environment variable: the whole seconds from the platform's SIGTERM to its SIGKILL; the chart sets it."""
GRACE_SECONDS = 15.0
"""How long a run without such a platform may take to end after a signal, metrics included."""
KEPT_BACK_SECONDS = 25.0
"""Of a platform's grace: for a block `to_its_end` that has begun when the rest is over."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 0.2
"""How often it is looked whether what was raised was lost."""
_UNBROKEN = threading.Lock()
"""Held by a block `to_its_end`."""


class _Raised:
    """What a signal raised.

    It is lost where a finaliser runs, or a library drops whatever is raised, as some do while they are imported: then
    nobody holds it any more.
    """

    def __init__(self) -> None:
        self.is_heard = False
        self.is_asked_again = False
        self._error: Callable[[], BaseException | None] = lambda: None

    @property
    def is_lost(self) -> bool:
        return not self.is_heard and self._error() is None

    def throw(self, number: int) -> NoReturn:
        error = _error(number)
        self._error = weakref.ref(error)
        try:
            raise error
        finally:
            del error  # its own traceback would hold it by this frame


_RAISED = _Raised()


def raise_signals(environ: Mapping[str, str]) -> None:
    """Have the first SIGTERM or SIGINT raise `Terminated` or `Interrupted` in whatever the main thread does then.

    It is raised again where it was lost, until somebody calls `heard`.
    A further one ends the process at once; where a platform kills after its own grace, it changes nothing.
    When the grace is over the process ends whatever happens: a clean end may wait for somebody who does not answer.

    Args:
        environ: The environment, where a platform says how long it waits.
    """
    stated = environ.get(PLATFORM_GRACE, "")
    by_platform = stated.isdecimal()
    seconds = max(float(stated) - KEPT_BACK_SECONDS, 0.0) if by_platform else GRACE_SECONDS

    def heed(number: int, _frame: FrameType | None) -> None:
        code = _error(number).exit_code

        def further(again: int, _frame: FrameType | None) -> None:
            if _RAISED.is_asked_again:
                _RAISED.is_asked_again = False
                if _RAISED.is_lost:
                    _RAISED.throw(again)
            elif not by_platform:
                os._exit(code)

        for each in _SIGNALS:
            signal.signal(each, further)
        # Not a `threading.Thread`: its start takes a lock that the interrupted code may hold.
        _thread.start_new_thread(_see_to_the_end, (number, seconds, code))
        _RAISED.throw(number)

    for each in _SIGNALS:
        signal.signal(each, heed)


def heard() -> None:
    """Say that what a signal raised has come to where it is told."""
    _RAISED.is_heard = True


def ignore_signals() -> None:
    """Let nothing interrupt what is left, since the answer is given."""
    heard()
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


def _error(number: int) -> Signalled:
    remedy = "run the same command again: it resumes"
    if number == signal.SIGTERM:
        return Terminated("terminated by SIGTERM", remedy=remedy)
    return Interrupted("interrupted", remedy=remedy)


def _see_to_the_end(number: int, seconds: float, code: int) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_SECONDS))
        if _RAISED.is_lost:
            _RAISED.is_asked_again = True
            signal.pthread_kill(threading.main_thread().ident or 0, number)
    with _UNBROKEN:
        os.write(2, b"error: the run did not end in time and was cut off; run the same command again: it resumes\n")
        os._exit(code)
