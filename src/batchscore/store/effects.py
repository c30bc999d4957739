"""The numbered side effects of a store, so that tests can end the process at each of them.

Every primitive that changes a store calls `tick` just before the change.
In production a tick is one look into the environment; the fault tests set `KILL_AT` to n and the process kills itself
(SIGKILL, no cleanup) before its n-th change, or put a recorder in the place of `tick`.
"""

from __future__ import annotations

import os
import signal
import threading

KILL_AT = "BATCHSCORE_TEST_KILL_AT"
"""Names the change, counted from 1, before which the process kills itself."""

_lock = threading.Lock()
_count = 0


def tick(change: str, target: str, source: str = "") -> None:  # noqa: ARG001 - for recorders that take its place
    """Announce a change of the store.

    Args:
        change: What is about to happen, such as `link`.
        target: The path or key that it happens to.
        source: The other path or key of a link, copy or rename.
    """
    if KILL_AT in os.environ:
        _count_down(int(os.environ[KILL_AT]))


def _count_down(last: int) -> None:
    global _count  # noqa: PLW0603 - a counter of the process, used by tests only
    with _lock:
        _count += 1
        if _count == last:
            os.kill(os.getpid(), signal.SIGKILL)
