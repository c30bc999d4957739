"""Catalogue rows → the text that a push carries and that `metrics show` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.metrics.catalogue import CATALOGUE, Metric
from batchscore.metrics.readers import Attempt, Facts, Histogram, Values, attempt_of

if TYPE_CHECKING:
    from prometheus_client import Metric as MetricFamily


_HELD = "batchscore_last_run_held"


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The values of one metric."""

    metric: Metric
    """The row of the catalogue."""
    values: Values
    """The values by label values, at least one."""

    @property
    def series(self) -> int:
        """The number of series in Prometheus."""
        return sum(len(value.buckets) + 3 if isinstance(value, Histogram) else 1 for value in self.values.values())


def start_samples(attempt: Attempt) -> tuple[Samples, ...]:
    """Return what is pushed at the start: set T."""
    return _samples(Facts(attempt=attempt, summary={}, metadata={}), "T")


def attempt_samples(attempt: Attempt) -> tuple[Samples, ...]:
    """Return what is pushed when an attempt ends without publishing: sets T and A."""
    return _samples(Facts(attempt=attempt, summary={}, metadata={}), "TA")


def settled_samples() -> tuple[Samples, ...]:
    """Return what is pushed when nothing is held any more: that alone, so that whatever ran since stands."""
    nothing = Facts(attempt=Attempt(started=0.0), summary={}, metadata={})
    return tuple(each for each in _samples(nothing, "A") if each.metric.name == _HELD)


def samples(summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Samples, ...]:
    """Return what is pushed after a success: everything, from the published documents alone.

    Args:
        summary: The content of `summary_metrics.json`.
        metadata: The content of `metadata.json`.

    Raises:
        KeyError: When a document lacks what it always holds.
    """
    return _samples(Facts(attempt=attempt_of(metadata), summary=summary, metadata=metadata), "TAS")


def _samples(facts: Facts, sets: str) -> tuple[Samples, ...]:
    rows = ((metric, metric.read(facts)) for metric in CATALOGUE if metric.pushed in sets)
    return tuple(Samples(metric=metric, values=values) for metric, values in rows if values)


def render(content: Iterable[Samples]) -> str:
    """Return samples in Prometheus' text format, without timestamps."""
    from prometheus_client import generate_latest

    text: bytes = generate_latest(Collected(tuple(content)))
    return text.decode()


@dataclass(frozen=True)
class Collected:
    """Samples in the shape that prometheus_client asks for.

    The client's own Gauge and Histogram objects would add `_created` series and global state.
    """

    content: tuple[Samples, ...]
    """The samples, in the order of the catalogue."""

    def collect(self) -> Iterator[MetricFamily]:
        """Yield one family per metric."""
        for item in self.content:
            yield _family(item)


def _family(item: Samples) -> MetricFamily:
    from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

    metric = item.metric
    if metric.kind == "histogram":
        distribution = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in item.values.items():
            if isinstance(value, Histogram):
                buckets = [(repr(bound), count) for bound, count in value.buckets]
                distribution.add_metric(labels, buckets=[*buckets, ("+Inf", value.count)], sum_value=value.total)
        return distribution
    gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in item.values.items():
        if not isinstance(value, Histogram):
            gauge.add_metric(labels, value)
    return gauge
