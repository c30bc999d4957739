"""A run's numbers → Prometheus names → the Pushgateway. The only place that imports prometheus_client."""

from batchscore.metrics.catalogue import CATALOGUE, GROUP_LABELS, PREFIX, Metric
from batchscore.metrics.exposition import Samples, attempt_samples, render, samples, start_samples
from batchscore.metrics.options import AlertsOptions, MetricsOptions
from batchscore.metrics.push import JOB, Group, Outcome, Pusher, RunType
from batchscore.metrics.readers import Attempt

__all__ = [
    "CATALOGUE",
    "GROUP_LABELS",
    "JOB",
    "PREFIX",
    "AlertsOptions",
    "Attempt",
    "Group",
    "Metric",
    "MetricsOptions",
    "Outcome",
    "Pusher",
    "RunType",
    "Samples",
    "attempt_samples",
    "render",
    "samples",
    "start_samples",
]
