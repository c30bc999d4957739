"""Workers of a Dask cluster that this driver launches on Kubernetes, and removes whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from distributed import Client

from batchscore.cluster import ClusterOptions, Workers
from batchscore.cluster.job import Identity, identity_from
from batchscore.cluster.kubernetes import close, launch
from batchscore.cluster.options import workers_for
from batchscore.cluster.processes import settings
from batchscore.cluster.tasks import Distributed
from batchscore.errors import ConfigError
from batchscore.plan import Partition


@contextmanager
def launched_workers(options: ClusterOptions, partitions: Sequence[Partition]) -> Iterator[Workers]:
    """Launch a cluster of a size that fits the work, and remove it at the end.

    Raises:
        ConfigError: Outside of a Job of the chart.
        NoCluster: When the cluster is not ready and connected within `start_minutes`, with the reason;
            also after its scheduler was lost.
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
        ExitStack() as clients,
    ):

        def connect(until: float) -> Client:
            client = cluster.open_client(until)
            clients.callback(close, client)
            return client

        def reconnect() -> Client:
            clients.close()
            until = time.monotonic() + seconds
            cluster.wait(until)
            return connect(until)

        workers = Distributed(connect(deadline), resolved, reconnect=reconnect)
        workers.count_threads()
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
