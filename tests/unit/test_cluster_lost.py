"""A scheduler that was lost: connections that break until it is back are no answer, and time is the only limit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from distributed.comm import CommClosedError

from batchscore.cluster import ClusterOptions, tasks
from batchscore.errors import NoCluster


class Unsteady:
    """A client whose next calls end in broken connections, so many of each kind."""

    def __init__(self) -> None:
        self.broken = 0
        self.calls: Counter[str] = Counter()

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if self.calls[name] <= self.broken:
            raise CommClosedError("ConnectionResetError: [Errno 104] Connection reset by peer")

    def wait_for_workers(self, count: int, timeout: float) -> None:
        """Break off, or say that they are there."""
        assert count == 2
        assert timeout > 0
        self._call("wait_for_workers")

    def register_plugin(self, _plugin: object) -> None:
        """Break off, or take it."""
        self._call("register_plugin")

    def nthreads(self) -> dict[str, int]:
        """Break off, or count the threads."""
        self._call("nthreads")
        return {"one": 1, "other": 2}


def lost(minutes: float, broken: int) -> tuple[tasks.Distributed, Unsteady]:
    """Return workers whose scheduler is lost."""
    client: Any = Unsteady()
    workers = tasks.Distributed(client, ClusterOptions(workers=2, start_minutes=minutes))
    client.calls.clear()
    client.broken = broken
    return workers, client


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOMENT_SECONDS", 0.001)


def test_broken_connections_are_tried_again() -> None:
    """Three of each kind cost a moment each; then the workers are there, told how to log, and counted."""
    workers, client = lost(minutes=5, broken=3)
    workers.wait_for_workers()

    assert client.calls == {"wait_for_workers": 10, "register_plugin": 7, "nthreads": 4}
    assert workers.count == 3


def test_the_time_is_limited() -> None:
    """A scheduler that stays away ends the run with code 22."""
    workers, client = lost(minutes=0.001, broken=10**9)
    with pytest.raises(NoCluster, match="fewer than 2 workers came within 0 s") as caught:
        workers.wait_for_workers()

    assert caught.value.id == "E-CLUSTER-NO-WORKERS"
    assert client.calls["wait_for_workers"] > 1
