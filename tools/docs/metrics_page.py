"""docs/metrics.md, from the catalogue of metrics."""

from __future__ import annotations

from batchscore.metrics import CATALOGUE, Metric

HEAD = """\
# Metrics

This page is generated from the catalogue in the code: `make docs`.

A run tells its numbers to a Pushgateway (`metrics.pushgateway`).
Every series carries the grouping key `job="batchscore"`, `environment`, `pipeline` and `run_type` (`scheduled`, `backfill`, `manual`); scrape the gateway with `honor_labels: true`.
The key never holds a date, a run id, a host or a version, because the gateway forgets no group by itself: `batchscore metrics forget` does.

| Set | Told | How |
|---|---|---|
| T | when an attempt starts | POST, in the background |
| A | when an attempt ends | POST on failure, and when the date was published already |
| S | when a run has published, and when a scheduled one finds the newest scheduled date published: whoever did that may have told nobody | PUT of T, A and S, which sweeps what older versions pushed |

A failure therefore leaves the numbers of the last success as they are.
`push_time_seconds` is set by every push: it is not the time of the last success.
All pushes of a run share `metrics.budget_seconds` of wall-clock time, whatever the server does, and never change the exit code.
`batchscore metrics push --date D` rebuilds the same push from the published files after the gateway lost its data.

All metrics describe the last run.
They are gauges, and two histograms of one run: `rate()` and `sum_over_time()` of them mean nothing, because a daily value is scraped many hundred times.
At most 20 features and 8 reasons of rejected rows have a series of their own; the others share `other`, with the highest drift and share of missing values, and with the sum of the rows.
A push of five features is some 85 series and 9 kB, one of twenty some 115 and 11 kB, and none is above 125 and 12 kB; almost 5 kB of each are the names, types and meanings below.

| Metric | Type | Unit | Labels | Set | Meaning |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(f"{_row(metric)}\n" for metric in CATALOGUE)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.pushed, metric.help)
    return "| " + " | ".join(cells) + " |"
