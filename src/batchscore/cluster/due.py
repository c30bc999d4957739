"""When the Job that this process runs in was due: what `--date scheduled` rests on."""

from __future__ import annotations

import os
import time

from batchscore.cluster.api import in_cluster
from batchscore.cluster.job import Fired, attempt, fired, identity_from, read_job
from batchscore.errors import UsageError

SECONDS = 60.0
"""How long the API server is waited for."""


def due_job() -> tuple[Fired, int]:
    """Ask the API server when this Job was due, and which attempt of it this is.

    Raises:
        UsageError: Outside of a Job of the chart.
        NoCluster: When the API server does not tell.
    """
    identity = identity_from(os.environ)
    if identity is None:
        raise UsageError(
            "--date scheduled works inside a Job of the chart only, where the scheduled time is known",
            slug="NOT-SCHEDULED",
            remedy="pass the date: --date 2013-02-08",
        )
    job = read_job(in_cluster(os.environ), identity, until=time.monotonic() + SECONDS)
    return fired(job), attempt(job)
