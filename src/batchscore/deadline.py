"""A bound on the wall time of a block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from batchscore.errors import PartitionsFailed

AGAIN_SECONDS = 30.0
"""An exception that is raised while a finaliser runs is lost: then it is raised once more after so long."""


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise when the block takes longer than `seconds`; a signal is used, so only the main thread is bounded.

    Raises:
        PartitionsFailed: At the deadline.
    """

    def expire(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise PartitionsFailed(
            f"{what} was not done after {seconds:.0f} s",
            slug="DEADLINE",
            remedy="run the same command again: it resumes; or raise `cluster.deadline_minutes` or `cluster.workers`",
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
