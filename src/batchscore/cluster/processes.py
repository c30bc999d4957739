"""Workers behind a Dask scheduler: a local cluster of processes, or a scheduler at an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster, Security

from batchscore import logs
from batchscore.cluster import ClusterOptions, Workers
from batchscore.cluster.tasks import LOGGERS, Distributed
from batchscore.errors import NoCluster


@contextmanager
def local_processes(options: ClusterOptions) -> Iterator[Workers]:
    """Start `options.workers` worker processes of one thread each, and stop them at the end.

    Raises:
        NoCluster: When they do not come up in `options.start_minutes`.
    """
    with settings(options):
        try:
            cluster = LocalCluster(
                n_workers=options.workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                host="127.0.0.1",
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise NoCluster(f"the local worker processes did not start: {error}", slug="START") from error
        with cluster, Client(cluster) as client:
            yield Distributed(client, options, revive=lambda: cluster.scale(options.workers))


@contextmanager
def scheduler_at(options: ClusterOptions) -> Iterator[Workers]:
    """Connect to the scheduler at `options.address` and wait for `options.workers` workers.

    Raises:
        NoCluster: When scheduler or workers are not there in `options.start_minutes`, or run other versions.
    """
    seconds = options.start_minutes * 60
    with settings(options):
        try:
            client = Client(options.address, security=_security(options), timeout=f"{seconds}s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise NoCluster(
                f"no Dask scheduler answers at '{options.address}' within {seconds:.0f} s: {error}",
                slug="NO-SCHEDULER",
                remedy="check `cluster.address`, that the scheduler runs, and TLS on both sides",
            ) from error
        with client:
            workers = Distributed(client, options)
            workers.wait_for_workers()
            workers.check_versions()
            yield workers


@contextmanager
def settings(options: ClusterOptions) -> Iterator[Mapping[str, Any]]:
    """Set, for this process, what Dask would wait for, or retry, without end; yield it for other processes."""
    chosen: dict[str, Any] = {
        "distributed.scheduler.no-workers-timeout": f"{options.start_minutes * 60}s",
        "distributed.scheduler.allowed-failures": options.task_deaths,
        "distributed.scheduler.worker-ttl": f"{options.silence_minutes * 60}s",
        # A worker that died while it started is forgotten after this, and only then can be started anew.
        "distributed.deploy.lost-worker-timeout": f"{options.start_minutes * 20}s",
        "distributed.comm.timeouts.connect": "30s",
        # The nanny's own value trims the heap after every task, which costs a quarter of the wall time.
        "distributed.nanny.pre-spawn-environ": {
            "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
    }
    logs.adopt(LOGGERS)
    with dask.config.set(chosen):
        yield chosen


def _security(options: ClusterOptions) -> Security | None:
    if options.tls is None:
        return None
    tls = options.tls
    return Security(
        tls_ca_file=tls.ca_file,
        tls_client_cert=tls.cert_file,
        tls_client_key=tls.key_file,
        require_encryption=True,
    )


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
    """Workers behind a `distributed` scheduler."""

    def __init__(self, client: Client, options: ClusterOptions, revive: Callable[[], None] | None = None) -> None:
        self.count = options.workers
        self._client = client
        self._options = options
        self._revive = revive
        self._looked = self._seen = time.monotonic()
        client.register_plugin(_Logs(logs.settings()))

    def wait_for_workers(self) -> None:
        """Wait for the configured number of workers.

        Raises:
            NoCluster: When they are not there in time.
        """
        seconds = self._options.start_minutes * 60
        try:
            self._client.wait_for_workers(self._options.workers, timeout=seconds)
        except (TimeoutError, OSError) as error:
            raise NoCluster(
                f"fewer than {self._options.workers} workers came within {seconds:.0f} s",
                slug="NO-WORKERS",
                remedy="start more workers, or lower `cluster.workers`",
            ) from error
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

    def _recover(self, error: BaseException, missing: dict[int, Partition], left: int) -> None:
        if not left:
            raise NoCluster(
                f"the cluster was lost with {len(missing)} partitions to go: {_fact(error)}",
                slug="LOST",
                remedy="run the same command again: finished partitions are not scored again",
            ) from error
        _log.warning("cluster lost", missing=len(missing), cause=_fact(error), tries_left=left)
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
                result = _result_of(future)
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
        waiting = as_completed(futures)
        self._looked = self._seen = time.monotonic()
        while missing := waiting.count():
            if waiting.has_ready():
                yield next(waiting)
            else:
                with waiting.thread_condition:
                    waiting.thread_condition.wait(0.1)
            self._look(missing)

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


def _result_of(future: Future[Any]) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        return error


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
