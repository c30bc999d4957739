"""The catalogue: every metric that batchscore pushes, one row each, with the number it shows.

A number enters Prometheus by its row here and in no other way; the docs, the alert rules and the dashboards are tested
against these rows. All names are gauges of the last run, but for two histograms: nothing here is a stream, so `rate()`
and `sum_over_time()` of them mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from batchscore.metrics import readers
from batchscore.metrics.readers import Facts, Values

PREFIX = "batchscore_"
"""Every metric's name starts with this."""

GROUP_LABELS = ("job", "environment", "pipeline", "run_type")
"""The grouping key: constant from run to run, because the gateway never forgets a group."""

Set = Literal["T", "A", "S"]
"""When a metric is pushed: T at the start, A at the end of every attempt, S only on success."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the catalogue."""

    name: str
    """The name in Prometheus."""
    kind: Literal["gauge", "histogram"]
    """The Prometheus type; never change it under one name, the gateway refuses the push."""
    unit: str
    """The unit of the value."""
    labels: tuple[str, ...]
    """Labels besides the grouping key."""
    pushed: Set
    """When it is pushed."""
    help: str
    """One short sentence, pushed along."""
    read: Callable[[Facts], Values]
    """Returns the values by label values; none leaves the metric out."""


def _gauge(pushed: Set, name: str, unit: str, text: str, read: Callable[[Facts], Values], *labels: str) -> Metric:
    return Metric(name=PREFIX + name, kind="gauge", unit=unit, labels=labels, pushed=pushed, help=text, read=read)


def _histogram(name: str, unit: str, text: str, read: Callable[[Facts], Values]) -> Metric:
    return Metric(name=PREFIX + name, kind="histogram", unit=unit, labels=(), pushed="S", help=text, read=read)


def _row(name: str, text: str) -> Metric:
    return _gauge("S", f"{name}_rows", "rows", text, lambda facts: readers.rows(facts, name))


def _threshold(key: str, unit: str, text: str) -> Metric:
    return _gauge("S", f"alert_{key}", unit, text, lambda facts: readers.threshold(facts, key))


CATALOGUE: tuple[Metric, ...] = (
    _gauge("T", "last_run_start_timestamp_seconds", "seconds", "When the last attempt started.", readers.started),
    _gauge("T", "run_timeout_seconds", "seconds", "Longest time that a run may take.", readers.timeout),
    _gauge("A", "last_run_completion_timestamp_seconds", "seconds", "When the last attempt ended.", readers.ended),
    _gauge("A", "last_run_success", "bool", "Whether the last attempt succeeded.", readers.succeeded),
    _gauge("A", "last_run_duration_seconds", "seconds", "Wall time of the last attempt.", readers.lasted),
    _gauge("A", "last_run_attempts", "attempts", "Attempts that the last run took so far.", readers.attempts),
    _gauge("A", "last_run_failure", "bool", "Why the last attempt failed.", readers.failure, "reason"),
    _gauge("A", "last_run_held", "bool", "Whether a gate holds the last attempt's output.", readers.held),
    _gauge("S", "last_success_timestamp_seconds", "seconds", "When a run last published.", readers.succeeded_at),
    _gauge(
        "S",
        "last_success_snapshot_timestamp_seconds",
        "seconds",
        "Midnight UTC of the last published date.",
        readers.snapshot_date,
    ),
    _gauge(
        "S",
        "next_success_deadline_timestamp_seconds",
        "seconds",
        "When the next success is due at the latest.",
        readers.deadline,
    ),
    _gauge("S", "last_success_duration_seconds", "seconds", "Wall time of the last success.", readers.success_lasted),
    _gauge("S", "stage_duration_seconds", "seconds", "Wall time by stage.", readers.stages, "stage"),
    _row("read", "Rows read from the snapshot."),
    _row("scored", "Rows scored."),
    _row("written", "Rows in the published predictions."),
    _row("flagged", "Rows whose flag is set."),
    _gauge(
        "S", "rejected_rows", "rows", "Rows set aside; one with two reasons counts twice.", readers.rejected, "reason"
    ),
    _gauge("S", "input_bytes", "bytes", "Bytes of the snapshot's files.", lambda facts: readers.size(facts, "input")),
    _gauge("S", "output_bytes", "bytes", "Bytes of the published parts.", lambda facts: readers.size(facts, "output")),
    _gauge("S", "partitions", "partitions", "Partitions of the plan.", readers.partitions),
    _gauge("S", "retried_partitions", "partitions", "Partitions that needed a second try.", readers.retried),
    _gauge("S", "workers", "workers", "Workers that took part.", readers.workers),
    _gauge("S", "peak_worker_memory_bytes", "bytes", "Highest resident memory of a worker.", readers.peak_memory),
    _gauge("S", "baseline_scored_rows", "rows", "Median scored rows of the same weekday.", readers.baseline),
    _gauge("S", "baseline_deviation_rows", "rows", "Scaled median deviation from it.", readers.deviation),
    _gauge("S", "baseline_runs", "runs", "Runs that the baseline rests on.", readers.baseline_runs),
    _gauge("S", "input_unchanged", "bool", "Whether the snapshot equals the date before.", readers.unchanged),
    _gauge("S", "missing_values_ratio", "ratio", "Share of missing values.", readers.missing, "feature"),
    _gauge("S", "feature_drift_psi", "psi", "Stability index against the reference.", readers.feature_drift, "feature"),
    _gauge("S", "prediction_drift_psi", "psi", "Stability index of the scores.", readers.prediction_drift),
    _histogram("prediction_score", "score", "Distribution of the scores.", readers.score_histogram),
    _histogram("partition_duration_seconds", "seconds", "Wall time by partition.", readers.partition_histogram),
    _gauge(
        "S",
        "run_info",
        "info",
        "What the last success ran, always 1.",
        readers.run_info,
        "model_name",
        "model_version",
        "model_digest",
        "app_version",
    ),
    _threshold("volume_low_ratio", "ratio", "Volume is low below this."),
    _threshold("volume_high_ratio", "ratio", "Volume is high above this."),
    _threshold("baseline_runs", "runs", "Runs that a baseline needs."),
    _threshold("rejected_ratio", "ratio", "Rejects are many above this."),
    _threshold("slow_ratio", "ratio", "A run is slow above this multiple."),
    _threshold("slow_min_seconds", "seconds", "Shorter runs are never slow."),
    _threshold("prediction_drift_psi", "psi", "Scores drift above this."),
    _threshold("feature_drift_psi", "psi", "A feature drifts above this."),
)
"""Every metric, in the order in which it is pushed."""
