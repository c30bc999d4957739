"""Tasks behind a Dask client: hand out, gather, count the workers, and recover what can be recovered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from distributed import Client, KilledWorker, WorkerPlugin, as_completed
from distributed.client import FutureCancelledError
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from batchscore import logs
from batchscore.cluster import ClusterOptions, ResultT, chunks
from batchscore.errors import BatchscoreError, NoCluster, PartitionsFailed
from batchscore.plan import Partition

if TYPE_CHECKING:
    from distributed import Future

TASKS_PER_WORKER = 16
"""Tasks of a chunk for each worker: the scheduler never holds more."""

LOOK_SECONDS = 5.0
"""How often the workers are counted."""
MOMENT_SECONDS = 0.2
"""Between two tries to reach a scheduler."""
LOGGERS = ("distributed", "distributed.client", "bokeh", "tornado", "tornado.application")
"""Loggers that `distributed` gives a handler of its own."""

_LOST = (FutureCancelledError, ConnectionError, OSError, TimeoutError)
_NO_WORKERS = (NoWorkerError, NoValidWorkerError)
_log = logs.logger(__name__)


class _Logs(WorkerPlugin):
    """Has a worker process log as the driver does: by default it would write to stdout."""

    name = "batchscore-logs"

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def setup(self, worker: object) -> None:  # noqa: ARG002 - the signature of a plugin
        """Configure the logs; called in every worker process when it joins."""
        logs.configure(**self._settings)
        logs.adopt(LOGGERS)


class Distributed:
    """Workers behind a `distributed` scheduler.

    Args:
        client: Connected to it.
        options: The section `cluster`.
        revive: Starts workers for lost ones, where they are ours.
        reconnect: Returns a client that sees workers again, after the scheduler was lost; by default `client` is waited for.
    """

    def __init__(
        self,
        client: Client,
        options: ClusterOptions,
        revive: Callable[[], None] | None = None,
        reconnect: Callable[[], Client] | None = None,
    ) -> None:
        self.count = options.workers
        self._client = client
        self._options = options
        self._revive = revive
        self._reconnect = reconnect
        self._looked = self._seen = time.monotonic()
        self._tell_how_to_log()

    def _tell_how_to_log(self) -> None:
        self._client.register_plugin(_Logs(logs.settings()))

    def wait_for_workers(self) -> None:
        """Wait for the configured number of workers.

        A connection that breaks meanwhile is no answer: a scheduler that was lost closes several before it is back.

        Raises:
            NoCluster: When they are not there in time.
        """
        seconds = self._options.start_minutes * 60
        until = time.monotonic() + seconds
        while True:
            try:
                left = max(until - time.monotonic(), MOMENT_SECONDS)
                self._client.wait_for_workers(self._options.workers, timeout=left)
                self._tell_how_to_log()  # a new scheduler knows nothing of it
                self.count_threads()
            except OSError as error:
                if time.monotonic() >= until:
                    raise NoCluster(
                        f"fewer than {self._options.workers} workers came within {seconds:.0f} s",
                        slug="NO-WORKERS",
                        remedy="start more workers, or lower `cluster.workers`",
                    ) from error
                time.sleep(MOMENT_SECONDS)
            else:
                return

    def count_threads(self) -> None:
        """See how many tasks the workers that are there run at once."""
        self.count = max(self.count, sum(self._client.nthreads().values()))

    def check_versions(self) -> None:
        """Refuse a cluster that runs other library versions, since other versions may give other bits.

        Raises:
            NoCluster: With the packages that differ.
        """
        try:
            self._client.get_versions(check=True)
        except ValueError as error:
            raise NoCluster(
                f"the cluster runs other versions than this driver: {' '.join(str(error).split())}",
                slug="VERSIONS",
                remedy="use one image, or one locked environment, for driver, scheduler and workers",
            ) from error

    def run(
        self,
        task: Callable[[Partition], ResultT | BatchscoreError],
        partitions: Sequence[Partition],
        take: Callable[[ResultT], None],
    ) -> None:
        """See `Workers.run`; after a lost scheduler the missing partitions are handed out again."""
        missing = {partition.index: partition for partition in partitions}

        def taken(index: int, result: ResultT) -> None:
            del missing[index]
            take(result)

        for left in reversed(range(self._options.reconnects + 1)):
            try:
                self._run_all(task, list(missing.values()), taken)
            except _NO_WORKERS as error:
                raise self._no_workers(len(missing)) from error
            except _LOST as error:
                self._recover(error, missing, left)
            else:
                return

    def try_alone(
        self, task: Callable[[Partition], ResultT | BatchscoreError], partition: Partition, *, surely: bool
    ) -> ResultT | BatchscoreError | None:
        """See `Workers.try_alone`."""
        try:
            before = None if surely else self._client.run_on_scheduler(_allow_deaths, 0)
            [(_, result, _)] = self._results(task, [partition])
            if before is not None:
                self._client.run_on_scheduler(_allow_deaths, before)
        except _NO_WORKERS as error:
            raise self._no_workers(1) from error
        except _LOST as error:
            self._recover(error, {partition.index: partition}, 0)
        return None if isinstance(result, KilledWorker) else result

    def _recover(self, error: BaseException, missing: dict[int, Partition], left: int) -> None:
        if not left:
            raise NoCluster(
                f"the cluster was lost with {len(missing)} partitions to go: {_fact(error)}",
                slug="LOST",
                remedy="run the same command again: finished partitions are not scored again",
            ) from error
        _log.warning("cluster lost", missing=len(missing), cause=_fact(error), tries_left=left)
        if self._reconnect is not None:
            self._client = self._reconnect()
        self.wait_for_workers()

    def _run_all(
        self, task: Callable[[Partition], Any], partitions: Sequence[Partition], taken: Callable[[int, Any], None]
    ) -> None:
        for chunk in chunks(partitions, self.count * TASKS_PER_WORKER):
            errors = self._run_chunk(task, chunk, taken)
            if errors:
                raise errors[min(errors)]

    def _run_chunk(
        self, task: Callable[[Partition], Any], chunk: Sequence[Partition], taken: Callable[[int, Any], None]
    ) -> dict[int, BatchscoreError]:
        errors: dict[int, BatchscoreError] = {}
        suspects: list[Partition] = []
        for partition, result, cancel_after in self._results(task, chunk):
            if errors and partition.index > min(errors):
                continue
            if isinstance(result, KilledWorker):
                suspects.append(partition)
            elif isinstance(result, BatchscoreError):
                errors[partition.index] = result
                cancel_after(partition.index)
            else:
                taken(partition.index, result)
        for suspect in sorted(suspects, key=lambda partition: partition.index):
            if not errors or suspect.index < min(errors):
                errors |= self._run_alone(task, suspect, taken)
        return errors

    def _run_alone(
        self, task: Callable[[Partition], Any], partition: Partition, taken: Callable[[int, Any], None]
    ) -> dict[int, BatchscoreError]:
        """Run a partition that saw several workers die, and nothing else: was it the cause, or was it only there?"""
        [(_, result, _)] = self._results(task, [partition])
        if isinstance(result, KilledWorker):
            return {partition.index: _killed(partition, result)}
        if isinstance(result, BatchscoreError):
            return {partition.index: result}
        taken(partition.index, result)
        return {}

    def _results(
        self, task: Callable[[Partition], Any], chunk: Sequence[Partition]
    ) -> Iterator[tuple[Partition, Any, Callable[[int], None]]]:
        """Yield each partition with its result, as it comes, and with a function that cancels those of a higher index."""
        keys = [f"partition-{partition.index}-{time.monotonic_ns()}" for partition in chunk]
        futures: list[Future[Any]] = self._client.map(task, chunk, key=keys, pure=False, retries=0)
        by_key = dict(zip(keys, chunk, strict=True))

        def cancel_after(index: int) -> None:
            self._client.cancel([future for future in futures if by_key[str(future.key)].index > index])
            cancelled.add(index)

        cancelled: set[int] = set()
        try:
            for future in self._completed(futures):
                partition = by_key[str(future.key)]
                if cancelled and partition.index > min(cancelled):
                    continue
                result = self._result_of(future)
                # Released at once, so that a worker that dies later does not make Dask score this partition again.
                future.release()
                yield partition, result, cancel_after
        finally:
            for future in futures:
                future.release()

    def _completed(self, futures: Sequence[Future[Any]]) -> Iterator[Future[Any]]:
        """Yield futures as they complete; while none does, see that there are workers at all.

        A scheduler elsewhere has its own idea of how long to wait for workers: by default, for ever.
        """
        waiting = as_completed(futures, loop=self._client.loop)
        self._looked = self._seen = time.monotonic()
        while missing := waiting.count():
            if waiting.has_ready():
                yield next(waiting)
            else:
                with waiting.thread_condition:
                    waiting.thread_condition.wait(0.1)
            self._look(missing)

    def _result_of(self, future: Future[Any]) -> Any:
        """Fetch a result; when its worker has died with it, it is computed again, so that this too may need workers."""
        while True:
            try:
                return future.result(timeout=LOOK_SECONDS)
            except KilledWorker as error:
                return error
            except TimeoutError:
                self._look(1)

    def _look(self, missing: int) -> None:
        """Count the workers now and then: have lost ones started again, and give up when there is none for too long."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        scheduler: Any = self._client.scheduler  # there, since the client is connected
        workers = self._client.sync(scheduler.ncores, callback_timeout=30)
        self._looked = time.monotonic()
        if workers:
            self._seen = self._looked
        if self._revive and len(workers) < self._options.workers:
            self._revive()
        if self._looked - self._seen > self._options.start_minutes * 60:
            raise self._no_workers(missing)

    def _no_workers(self, missing: int) -> NoCluster:
        return NoCluster(
            f"no worker was left for {self._options.start_minutes * 60:.0f} s, with {missing} partitions to go",
            slug="NO-WORKERS",
            remedy="start workers and run the same command again: finished partitions are not scored again",
        )


def _allow_deaths(deaths: int, dask_scheduler: Any = None) -> int:
    """Set, on the scheduler, how many workers may die over one task; return what it was before."""
    before: int = dask_scheduler.allowed_failures
    dask_scheduler.allowed_failures = deaths
    return before


def _killed(partition: Partition, error: KilledWorker) -> PartitionsFailed:
    paths = [fragment.path for fragment in partition.fragments]
    return PartitionsFailed(
        f"partition {partition.index} killed {error.allowed_failures + 1} workers, one after the other"
        f" (it reads {paths[0] if paths else 'nothing'}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''})",
        slug="KILLED-WORKER",
        remedy="look for a crash or too little memory in the workers' logs; finished partitions are kept",
        partition=partition.index,
        paths=paths,
    )


def _fact(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
