"""Workers of a Dask cluster that this driver launches on Kubernetes, and removes whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distributed import Client

from batchscore.cluster import ClusterOptions, Workers
from batchscore.cluster.job import Identity, identity_from
from batchscore.cluster.kubernetes import Launched, launch
from batchscore.cluster.options import workers_for
from batchscore.cluster.processes import settings
from batchscore.cluster.tasks import Distributed
from batchscore.errors import ConfigError, NoCluster
from batchscore.plan import Partition


@contextmanager
def launched_workers(options: ClusterOptions, partitions: Sequence[Partition]) -> Iterator[Workers]:
    """Launch a cluster of a size that fits the work, and remove it at the end.

    Raises:
        ConfigError: Outside of a Job of the chart.
        NoCluster: When the cluster is not ready in time, with the reason.
    """
    kubernetes = options.kubernetes
    rows = sum(partition.rows for partition in partitions)
    count = workers_for(kubernetes, partitions=len(partitions), rows=rows)
    seconds = options.start_minutes * 60
    deadline = time.monotonic() + seconds
    resolved = options.model_copy(update={"workers": min(count, kubernetes.min_workers)})
    with (
        settings(resolved) as dask_settings,
        launch(kubernetes, job_identity(), count, deadline, settings=dask_settings) as cluster,
        _client(cluster, seconds) as client,
    ):
        workers = Distributed(client, resolved)
        workers.wait_for_workers()
        workers.check_versions()
        yield workers


def job_identity() -> Identity:
    """Return the Job that this process runs in.

    Raises:
        ConfigError: Outside of a Job of the chart.
    """
    identity = identity_from(os.environ)
    if identity is None:
        raise ConfigError(
            "this process does not run in a Job of the chart, so it is not known which Job would own a cluster",
            slug="NOT-IN-JOB",
            remedy="run it by the chart's CronJob, or set cluster.kind to local",
        )
    return identity


@contextmanager
def _client(cluster: Launched, seconds: float) -> Iterator[Client]:
    try:
        client = Client(cluster.address, security=cluster.security, timeout=f"{seconds}s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoCluster(
            f"the scheduler of the launched cluster does not answer at '{cluster.address}': {error}",
            slug="NO-SCHEDULER",
            remedy="check that the network policies let the driver reach the scheduler",
        ) from error
    with client:
        yield client
