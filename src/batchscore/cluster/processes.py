"""Workers behind a Dask scheduler: a local cluster of processes, or a scheduler at an address."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dask
from distributed import Client, LocalCluster, Security, Status

from batchscore import logs, machine
from batchscore.cluster import ClusterOptions, Workers
from batchscore.cluster.tasks import LOGGERS, Distributed
from batchscore.errors import NoCluster

STOP_SECONDS = 20.0
"""How long a local cluster may take to stop; what is left of it then is killed."""

NEVER = "10000d"
"""Longer than any run."""

_GIVEN_UP = frozenset({Status.closed, Status.failed})
_log = logs.logger(__name__)


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
                death_timeout=options.start_minutes * 60,
                dashboard_address=None,
                # Its HTTP server has a fixed port otherwise, which another run on this machine may have.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                host="127.0.0.1",
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise NoCluster(f"the local worker processes did not start: {error}", slug="START") from error
        client = Client(cluster)
        try:
            yield Distributed(client, options, revive=lambda: cluster.sync(_replace_lost, cluster, options))
        finally:
            _stop(client, cluster)


async def _replace_lost(cluster: LocalCluster, options: ClusterOptions) -> None:
    """Start new workers for those whose nanny has given up; a nanny that is at work starts its own anew.

    Runs on the event loop of the cluster.
    """
    for name in [name for name, nanny in cluster.workers.items() if nanny.status in _GIVEN_UP]:
        del cluster.workers[name]
    cluster.scale(options.workers)


def _stop(client: Client, cluster: LocalCluster) -> None:
    """Stop client and cluster; one that waits for a worker that will never answer is not waited for."""
    nannies = list(cluster.workers.values())
    try:
        client.close(timeout=STOP_SECONDS)
        cluster.close(timeout=STOP_SECONDS)
    except TimeoutError:
        left = [nanny.pid for nanny in nannies if nanny.pid]
        _log.warning("the local cluster does not stop: its workers are killed", workers=len(left))
        for nanny in nannies:
            nanny.auto_restart = False
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


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
        # After this, a local cluster closes the worker whose name is absent at that moment: with the timer of one death
        # it would close what is being started after the next, and tasks would be held to blame for it.
        "distributed.deploy.lost-worker-timeout": NEVER,
        "distributed.comm.timeouts.connect": "30s",
        # The nanny's own value trims the heap after every task, which costs a quarter of the wall time.
        "distributed.nanny.pre-spawn-environ": {
            **machine.ALLOCATOR,
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
