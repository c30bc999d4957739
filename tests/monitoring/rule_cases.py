"""The cases that the alert rules are tested with, and how promtool is asked.

A case is a day of 4 hours, several times: runs are told at 1h, 5h, 9h, and so on; the second one is at fault, the third
one is good again. Beside the pipeline of the case stand others that must never fire: one with other thresholds and
with numbers that would be faults under the first one's, the same in another environment and under another job, and a
terrible backfill.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEP = 300
DAY = 4 * 3600
FIRST = 3600
GRACE = 1800

Moments = dict[float, float | None]
"""Values from hours on; None ends the series."""


def at(hours: float) -> float:
    """Return the seconds of a time of the case."""
    return hours * 3600


def every_day(first: float, step: float, days: int) -> Moments:
    """Return a value that grows with every day."""
    return {1.0 + 4 * day: first + step * day for day in range(days)}


def healthy(days: int) -> dict[str, Moments]:
    """Return the series of a pipeline that is well, by name and own labels."""
    constant = {
        "batchscore_run_timeout_seconds": 3600,
        "batchscore_last_run_success": 1,
        "batchscore_last_run_held": 0,
        'batchscore_last_run_failure{reason="input"}': 0,
        'batchscore_last_run_failure{reason="gate"}': 0,
        "batchscore_last_success_duration_seconds": 600,
        "batchscore_read_rows": 1000,
        "batchscore_scored_rows": 1000,
        'batchscore_rejected_rows{reason="null"}': 0,
        'batchscore_rejected_rows{reason="below-min"}': 0,
        "batchscore_baseline_scored_rows": 1000,
        "batchscore_baseline_runs": 6,
        "batchscore_input_unchanged": 0,
        "batchscore_prediction_drift_psi": 0.05,
        'batchscore_feature_drift_psi{feature="dep_delay"}': 0.05,
        'batchscore_feature_drift_psi{feature="hour"}': 0.02,
        "batchscore_alert_volume_low_ratio": 0.6,
        "batchscore_alert_volume_high_ratio": 1.6,
        "batchscore_alert_baseline_runs": 4,
        "batchscore_alert_rejected_ratio": 0.02,
        "batchscore_alert_slow_ratio": 2,
        "batchscore_alert_slow_min_seconds": 120,
        "batchscore_alert_prediction_drift_psi": 0.2,
        "batchscore_alert_feature_drift_psi": 0.25,
        "push_failure_time_seconds": 0,
    }
    return {
        **{name: {1.0: value} for name, value in constant.items()},
        "batchscore_last_run_start_timestamp_seconds": every_day(FIRST - 600, DAY, days),
        "batchscore_last_run_completion_timestamp_seconds": every_day(FIRST, DAY, days),
        "batchscore_last_success_timestamp_seconds": every_day(FIRST, DAY, days),
        "batchscore_last_success_snapshot_timestamp_seconds": every_day(0, 86400, days),
        "batchscore_next_success_deadline_timestamp_seconds": every_day(FIRST + DAY + GRACE, DAY, days),
        "push_time_seconds": every_day(FIRST, DAY, days),
    }


CHURN = {"job": "batchscore", "environment": "prod", "pipeline": "churn", "run_type": "scheduled"}
OTHER = {**CHURN, "pipeline": "flights"}
STAGING = {**CHURN, "environment": "staging"}
FORMER = {**CHURN, "job": "former"}
BACKFILL = {**CHURN, "run_type": "backfill"}

TOLERANT: dict[str, Moments] = {
    "batchscore_read_rows": {1.0: 1000},
    "batchscore_scored_rows": {1.0: 950},
    "batchscore_baseline_scored_rows": {1.0: 2500},
    "batchscore_baseline_runs": {1.0: 3},
    "batchscore_prediction_drift_psi": {1.0: 0.5},
    'batchscore_feature_drift_psi{feature="hour"}': {1.0: 0.5},
    "batchscore_alert_volume_low_ratio": {1.0: 0.3},
    "batchscore_alert_volume_high_ratio": {1.0: 4},
    "batchscore_alert_baseline_runs": {1.0: 2},
    "batchscore_alert_rejected_ratio": {1.0: 0.1},
    "batchscore_alert_slow_ratio": {1.0: 9},
    "batchscore_alert_slow_min_seconds": {1.0: 10},
    "batchscore_alert_prediction_drift_psi": {1.0: 0.6},
    "batchscore_alert_feature_drift_psi": {1.0: 0.6},
}
"""Another pipeline: with the first one's thresholds every one of these would be a fault."""

TERRIBLE: dict[str, Moments] = {
    "batchscore_last_run_success": {1.0: 0},
    "batchscore_last_run_held": {1.0: 0, 5.0: 1},
    "batchscore_read_rows": {1.0: 1000},
    "batchscore_scored_rows": {1.0: 10, 5.0: 0, 9.0: 5000},
    "batchscore_last_success_duration_seconds": {1.0: 100, 5.0: 90000, 17.0: 900000},
    "batchscore_input_unchanged": {1.0: 1},
    "batchscore_prediction_drift_psi": {1.0: 5},
    'batchscore_feature_drift_psi{feature="hour"}': {1.0: 5},
    "batchscore_last_run_completion_timestamp_seconds": {1.0: 0},
    "batchscore_next_success_deadline_timestamp_seconds": {1.0: 0},
    "batchscore_last_success_snapshot_timestamp_seconds": {1.0: 864000, 5.0: 0},
}
"""A backfill with every fault there is: nobody is woken by one."""


@dataclass(frozen=True, kw_only=True)
class Firing:
    """An alert that must fire."""

    alert: str
    severity: str
    labels: Mapping[str, str] = field(default_factory=lambda: CHURN)

    def sample(self) -> str:
        """Return the series that Prometheus writes of it."""
        labels = {**self.labels, "alertname": self.alert, "alertstate": "firing", "severity": self.severity}
        return "ALERTS{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One day of one pipeline, and which alerts fire when."""

    name: str
    about: str
    """The alert that the case is about."""
    changes: Mapping[str, Moments] = field(default_factory=dict)
    """Series of the pipeline that differ from a healthy one's."""
    up: Moments = field(default_factory=lambda: {0.0: 1.0})
    """Whether Prometheus reaches the gateway."""
    gone: tuple[float, float] | None = None
    """From when to when, in hours, the pipeline's series are away."""
    days: int = 3
    hours: float = 13
    expect: Mapping[float, tuple[Firing, ...]] = field(default_factory=dict)
    """What fires at a time, in hours, and nothing else; also checked where nothing does."""
    words: tuple[float, str, str] | None = None
    """At a time: the summary and the description."""


def promtool_test(
    cases: Iterable[Case], rules: Path, runbooks: Mapping[str, str], *, read: str | None = None
) -> dict[str, Any]:
    """Return the content of a promtool test file.

    Args:
        cases: What to test.
        rules: The file of rules.
        runbooks: The runbook of every alert that the file holds; what is expected of other alerts is left out.
        read: The rules' expressions: only series that stand in them are written, and no words are checked.
    """
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": "5m",
        "tests": [_test(case, runbooks, read) for case in cases],
    }


def weekly_test(rules: Path) -> dict[str, Any]:
    """Return a promtool test file of two weekly pipelines, hour by hour: usual runs, then a slow one after three weeks.

    One has a usual run again a week later, the other has no later run.
    """
    week, slow = 7 * 24, 3 * 7 * 24
    constant = {
        "batchscore_scored_rows": 1000,
        "batchscore_baseline_runs": 6,
        "batchscore_alert_baseline_runs": 4,
        "batchscore_alert_slow_ratio": 2,
        "batchscore_alert_slow_min_seconds": 120,
    }
    seconds = {
        "healed": f"600x{slow - 1} 6000x{week - 1} 600x{week}",
        "waiting": f"600x{slow - 1} 6000x{2 * week}",
    }
    series = [
        {"series": _named(name, {**CHURN, "pipeline": pipeline}), "values": values}
        for pipeline, took in seconds.items()
        for name, values in {
            **{name: f"{value}x{slow + 2 * week}" for name, value in constant.items()},
            "batchscore_last_success_duration_seconds": took,
        }.items()
    ]
    healed, waiting = (
        Firing(alert="BatchScoreSlow", severity="ticket", labels={**CHURN, "pipeline": pipeline})
        for pipeline in seconds
    )
    both = (healed, waiting)
    expected = {slow - 1: (), slow + 1: both, slow + week - 1: both, slow + week: (waiting,), slow + week + 14: ()}
    test = {
        "interval": "1h",
        "input_series": series,
        "promql_expr_test": [
            _expected(hours, firing, 'ALERTS{alertname="BatchScoreSlow",alertstate="firing"}')
            for hours, firing in expected.items()
        ],
    }
    return {"rule_files": [str(rules)], "evaluation_interval": "1h", "tests": [test]}


def _test(case: Case, runbooks: Mapping[str, str], read: str | None) -> dict[str, Any]:
    mine = {**healthy(case.days), **case.changes}
    groups = [
        (CHURN, mine),
        (OTHER, {**healthy(case.days), **TOLERANT}),
        (STAGING, {**healthy(case.days), **TOLERANT}),
        (FORMER, {**healthy(case.days), **TOLERANT}),
        (BACKFILL, {**healthy(case.days), **TERRIBLE}),
    ]
    series = [
        {"series": _named(name, labels), "values": _values(moments, case.hours, case.gone if labels is CHURN else None)}
        for labels, content in groups
        for name, moments in content.items()
        if moments and (read is None or name.partition("{")[0] in read)
    ]
    up = {"series": 'up{job="pushgateway",instance="gateway:9091"}', "values": _values(case.up, case.hours, None)}
    return {
        "name": case.name,
        "interval": "5m",
        "input_series": [up, *series],
        "promql_expr_test": [
            _expected(hours, tuple(item for item in firing if item.alert in runbooks))
            for hours, firing in sorted(case.expect.items())
        ],
        "alert_rule_test": [] if read is not None else list(_worded(case, runbooks)),
    }


def _expected(hours: float, firing: tuple[Firing, ...], asked: str = 'ALERTS{alertstate="firing"}') -> dict[str, Any]:
    samples = [{"labels": item.sample(), "value": 1} for item in sorted(firing, key=Firing.sample)]
    return {"expr": asked, "eval_time": _duration(hours), "exp_samples": samples}


def _worded(case: Case, runbooks: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    if case.words is None:
        return
    hours, summary, description = case.words
    (firing,) = (item for item in case.expect[hours] if item.alert == case.about)
    annotations = {"summary": summary, "description": description, "runbook": runbooks[case.about]}
    expected = {"exp_labels": {**firing.labels, "severity": firing.severity}, "exp_annotations": annotations}
    yield {"eval_time": _duration(hours), "alertname": case.about, "exp_alerts": [expected]}


def _duration(hours: float) -> str:
    return f"{round(hours * 60)}m"


def _named(name: str, labels: Mapping[str, str]) -> str:
    base, _, own = name.removesuffix("}").partition("{")
    pairs = [f'{key}="{value}"' for key, value in labels.items()]
    return base + "{" + ",".join([*pairs, own] if own else pairs) + "}"


def _values(moments: Moments, hours: float, gone: tuple[float, float] | None) -> str:
    """Write the values step by step: promtool's shorthand cannot say a float that stays as it is."""
    written: list[str] = []
    for step in range(int(hours * 3600) // STEP + 1):
        now = step * STEP / 3600
        since = max((moment for moment in moments if moment <= now + 1e-9), default=None)
        value = None if since is None else moments[since]
        away = gone is not None and gone[0] <= now + 1e-9 < gone[1]
        if value is None or away:
            ended = bool(written) and written[-1] not in {"_", "stale"}
            written.append("stale" if ended else "_")
        else:
            written.append(repr(float(value)))
    return " ".join(_shortened(written))


def _shortened(values: list[str]) -> Iterable[str]:
    start = 0
    while start < len(values):
        stop = start
        while stop < len(values) and values[stop] == values[start]:
            stop += 1
        repeated = stop - start
        # `ax0` would be one sample, and `_xN` is N samples where `axN` is N + 1.
        if values[start] == "stale" or repeated == 1:
            yield from values[start:stop]
        else:
            yield f"_x{repeated}" if values[start] == "_" else f"{values[start]}x{repeated - 1}"
        start = stop


def run_promtool(promtool: str, content: Mapping[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a test file, and return what promtool said; JSON is YAML."""
    file = folder / "rules.test.yml"
    file.write_text(json.dumps(content, indent=1))
    return subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)


def around(firing: tuple[Firing, ...], begins: float, wait: float, ends: float) -> dict[float, tuple[Firing, ...]]:
    """Return what is expected of a fault from `begins` to `ends`, told after `wait` minutes.

    Silence before it and, if it waits, one step before it is told; noise from then on; resolution at its end.
    """
    told = begins + wait / 60
    expected: dict[float, tuple[Firing, ...]] = {begins - 1 / 12: ()}
    if wait:
        expected[told - 1 / 12] = ()
    return {**expected, told: firing, ends - 1 / 12: firing, ends: (), ends + 1: ()}


def quiet(*hours: float) -> dict[float, tuple[Firing, ...]]:
    """Return that nothing fires at these times."""
    return dict.fromkeys(hours or (0.5, 1.0, 1.5, 4.0, 5.0, 5.5, 8.0, 9.0, 9.5, 12.5), ())


def on_day_two(value: float, usual: float) -> Moments:
    """Return a value that differs on the second day only."""
    return {1.0: usual, 5.0: value, 9.0: usual}
