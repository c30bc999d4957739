"""Who starts a dead worker process anew: its nanny, and where that has given up, the run."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from dask.utils import parse_timedelta
from distributed import LocalCluster
from driving import until

from batchscore.cluster import ClusterOptions, processes
from batchscore.errors import NoCluster
from batchscore.plan import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from batchscore.cluster import Workers

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> list[LocalCluster]:
    """Give the list of the local clusters that were started."""
    started: list[LocalCluster] = []

    class Noted(LocalCluster):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            started.append(self)

    monkeypatch.setattr(processes, "LocalCluster", Noted)
    return started


def one_worker(minutes: float = 1) -> AbstractContextManager[Workers]:
    """Start one worker process."""
    return processes.local_processes(ClusterOptions(workers=1, processes=True, start_minutes=minutes))


@pytest.fixture
def killed_thrice(clusters: list[LocalCluster]) -> Iterator[tuple[list[object], list[object]]]:
    """Kill the one worker three times, each time as soon as it is back; give the nannies before and after."""
    with one_worker():
        [cluster] = clusters
        before = list(cluster.workers.values())
        for _ in range(3):
            until(lambda: cluster.scheduler_info["workers"])
            os.kill(before[0].pid, signal.SIGKILL)
            until(lambda: not cluster.scheduler_info["workers"])
        time.sleep(0.5)
        yield before, list(cluster.workers.values())


def test_a_worker_that_dies_again_and_again_keeps_its_nanny(killed_thrice: tuple[list[object], list[object]]):
    """No timer of an earlier death takes the worker away that is just being started after a later one."""
    before, after = killed_thrice

    assert after == before


def test_no_such_timer_ends_within_a_run():
    """Whatever the deadline of a run, such a timer is longer."""
    options = ClusterOptions(workers=1, processes=True, start_minutes=0.1, deadline_minutes=30 * 24 * 60)
    with processes.settings(options) as chosen:
        seconds = parse_timedelta(chosen["distributed.deploy.lost-worker-timeout"])

    assert seconds > options.deadline_minutes * 60


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a cluster close a worker that is absent for 0.1 s, as the default does after some more."""
    monkeypatch.setattr(processes, "NEVER", "0.1s")


def test_with_a_timer_it_does_not(hasty: None, clusters: list[LocalCluster]):
    """The twin: with such a timer one death is enough to lose the nanny."""
    with one_worker():
        [cluster] = clusters
        [nanny] = cluster.workers.values()
        os.kill(nanny.pid, signal.SIGKILL)
        until(lambda: not cluster.workers)


def test_a_worker_whose_nanny_has_given_up_is_replaced(clusters: list[LocalCluster]):
    """The run starts a new one and goes on."""
    taken: list[int] = []
    with one_worker() as workers:
        give_up(clusters[0])
        workers.run(index_of, [Partition(index=7, fragments=(), rows=0, decoded_bytes=0)], taken.append)

    assert taken == [7]


@pytest.mark.faults
def test_without_a_replacement_the_run_would_end(clusters: list[LocalCluster], monkeypatch: pytest.MonkeyPatch):
    """The twin: where nobody is replaced, no worker comes."""
    monkeypatch.setattr(processes, "_GIVEN_UP", frozenset())
    with one_worker(0.3) as workers:
        give_up(clusters[0])
        with pytest.raises(NoCluster):
            workers.run(index_of, [Partition(index=7, fragments=(), rows=0, decoded_bytes=0)], lambda _: None)


def give_up(cluster: LocalCluster) -> None:
    """Close the one nanny, as it does itself when its worker can not be started."""
    [nanny] = cluster.workers.values()
    cluster.sync(nanny.close)


def index_of(partition: Partition) -> int:
    """Be a task that only reports."""
    return partition.index
