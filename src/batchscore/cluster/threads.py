"""Local threads on Dask's own threaded scheduler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from batchscore import machine
from batchscore.cluster import ResultT, Workers, chunks
from batchscore.errors import BatchscoreError
from batchscore.plan import Partition

TASKS_PER_WORKER = 16
"""Tasks of a chunk for each worker: at the end of a chunk a worker may wait for the others."""
TURN_SECONDS = 1e-4
"""How long a thread may keep the interpreter while another one waits for it. A task is a thousand short calls of libraries
that let go of it, and after each it is waited for again: with Python's own 5 ms, a tenth of the wall time is waiting."""


@contextmanager
def threads(count: int) -> Iterator[Workers]:
    """Start `count` threads; on an error the waiting tasks are dropped and running ones are not waited for."""
    machine.keep_freed_memory()
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="worker")
    try:
        yield Threads(count, pool)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        sys.setswitchinterval(before)
    pool.shutdown()


class Threads:
    """Workers that are threads of this process."""

    def __init__(self, count: int, pool: ThreadPoolExecutor) -> None:
        self.count = count
        self._pool = pool

    def run(
        self,
        task: Callable[[Partition], ResultT | BatchscoreError],
        partitions: Sequence[Partition],
        take: Callable[[ResultT], None],
    ) -> None:
        """See `Workers.run`."""
        for chunk in chunks(partitions, self.count * TASKS_PER_WORKER):
            _run_chunk(self._pool, _Guarded(task), chunk, take)

    def try_alone(
        self,
        task: Callable[[Partition], ResultT | BatchscoreError],
        partition: Partition,
        *,
        surely: bool,  # noqa: ARG002 - no thread dies alone
    ) -> ResultT | BatchscoreError | None:
        """See `Workers.try_alone`: a task that kills its thread takes this process along."""
        return task(partition)


class _Guarded:
    """A task that is skipped once a partition of a lower index has failed."""

    def __init__(self, task: Callable[[Partition], Any]) -> None:
        self._task = task
        self.errors: dict[int, BatchscoreError] = {}

    def __call__(self, partition: Partition) -> object:
        if any(index < partition.index for index in tuple(self.errors)):
            return None
        result = self._task(partition)
        if isinstance(result, BatchscoreError):
            self.errors[partition.index] = result
        return result


def _run_chunk(
    pool: ThreadPoolExecutor, task: _Guarded, chunk: Sequence[Partition], take: Callable[[Any], None]
) -> None:
    if len(chunk) == 1:  # nothing to schedule, and importing Dask takes longer than many a task
        result = pool.submit(task, chunk[0]).result()
        if result is not None and not isinstance(result, BatchscoreError):
            take(result)
        if task.errors:
            raise task.errors[min(task.errors)]
        return
    from dask.callbacks import Callback
    from dask.threaded import get

    def taken(_key: object, result: object, *_: object) -> None:
        if result is not None and not isinstance(result, BatchscoreError):
            take(result)

    graph = {f"partition-{partition.index}": (task, partition) for partition in chunk}
    with Callback(posttask=taken):
        get(graph, list(graph), pool=pool)
    if task.errors:
        raise task.errors[min(task.errors)]
