"""Partitions are handed out in chunks: nobody ever holds more, however many there are."""

from __future__ import annotations

import threading

import pytest
from distributed import Client, LocalCluster

from batchscore.cluster import ClusterOptions, tasks, threads
from batchscore.plan import Partition

WORKERS = 2


def partitions(count: int) -> tuple[Partition, ...]:
    """Return partitions that read nothing."""
    return tuple(Partition(index=index, fragments=(), rows=0, decoded_bytes=0) for index in range(count))


def index_of(partition: Partition) -> int:
    """Be a task that only reports."""
    return partition.index


@pytest.fixture(scope="module")
def workers():
    """Two workers behind a real scheduler, in this process."""
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield tasks.Distributed(client, ClusterOptions(workers=WORKERS)), cluster.scheduler


def most_held(workers, scheduler, count: int) -> tuple[int, list[int]]:
    """Run so many tasks; return the most that the scheduler held at once, and what came back."""
    held, taken = [0], []

    def take(index: int) -> None:
        held.append(len(scheduler.tasks))
        taken.append(index)

    workers.run(index_of, partitions(count), take)
    return max(held), sorted(taken)


def test_a_scheduler_never_holds_more_than_a_chunk(workers):
    """With ten chunks of tasks the scheduler knows those of one; all come back, once."""
    chunk = WORKERS * tasks.TASKS_PER_WORKER
    most, taken = most_held(*workers, 10 * chunk)

    assert most <= chunk
    assert taken == list(range(10 * chunk))


def test_twin_with_one_chunk_is_seen(workers, monkeypatch):
    """Handed out all at once they are all held: the count above can fail."""
    chunk = WORKERS * tasks.TASKS_PER_WORKER
    monkeypatch.setattr(tasks, "TASKS_PER_WORKER", 100 * chunk)
    most, _ = most_held(*workers, 10 * chunk)

    assert most > chunk


@pytest.mark.parametrize("factor", [1, 1_000], ids=["chunks", "twin-all-at-once"])
def test_threads_start_no_task_of_a_later_chunk(factor, monkeypatch):
    """The last task of a chunk is done before one of the next begins; handed out all at once it is not so."""
    monkeypatch.setattr(threads, "TASKS_PER_WORKER", threads.TASKS_PER_WORKER * factor)
    chunk, second = WORKERS * 16, threading.Event()

    def task(partition: Partition) -> int:
        if partition.index == chunk:
            second.set()
        # The first one waits for somebody of the second chunk, who can only come when there are no chunks.
        return int(second.wait(1.0)) if partition.index == 0 else -1

    found: list[int] = []
    with threads.threads(WORKERS) as pool:
        pool.run(task, partitions(2 * chunk), found.append)

    assert max(found) == (0 if factor == 1 else 1)
