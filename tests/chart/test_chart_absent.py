"""The chart's own alert rule: a pipeline that nothing was ever heard of, asked of promtool."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rendering import ROOT, Render, one

SCHEDULED = 'batchscore_last_success_timestamp_seconds{job="batchscore",environment="ci",pipeline="flights",run_type="scheduled"}'
OTHERS = (
    SCHEDULED.replace("flights", "churn"),
    SCHEDULED.replace('environment="ci"', 'environment="prod"'),
    SCHEDULED.replace("scheduled", "backfill"),
)
LABELS = {
    "severity": "page",
    "job": "batchscore",
    "environment": "ci",
    "pipeline": "flights",
    "run_type": "scheduled",
}


def case(values: str, fires: dict[str, bool], notes: dict[str, str]) -> dict[str, Any]:
    """Return a promtool test: the pipeline's series, others that must not stand for it, and when the alert fires."""
    alert = {"exp_labels": LABELS, "exp_annotations": notes}
    return {
        "interval": "1h",
        "input_series": [{"series": series, "values": "1x99"} for series in OTHERS]
        + ([{"series": SCHEDULED, "values": values}] if values else []),
        "alert_rule_test": [
            {"eval_time": time, "alertname": "BatchScoreMetricsAbsent", "exp_alerts": [alert] if firing else []}
            for time, firing in fires.items()
        ],
    }


def test_a_pipeline_that_is_never_heard_of_wakes_somebody(
    render: Render, require: Callable[[str], str], tmp_path: Path
) -> None:
    """Silent for 26 hours and while there is a success; loud after that, until the next one."""
    spec = one(render(), "PrometheusRule", "flights-batchscore-absent")["spec"]
    ((rule,),) = [group["rules"] for group in spec["groups"]]
    (tmp_path / "absent.rules.yml").write_text(json.dumps(spec))
    tests = [
        case("", {"25h": False, "27h": True, "90h": True}, rule["annotations"]),
        case("1x99", {"1h": False, "50h": False, "90h": False}, rule["annotations"]),
        case("1x9 stale _x49 1x30", {"30h": False, "40h": True, "70h": False}, rule["annotations"]),
    ]
    content = {"rule_files": ["absent.rules.yml"], "evaluation_interval": "1h", "tests": tests}
    (tmp_path / "absent.test.yml").write_text(json.dumps(content))

    said = subprocess.run(
        [require("promtool"), "test", "rules", "absent.test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_its_runbook_is_there() -> None:
    """The page that the alert names has a heading of its name."""
    assert "## BatchScoreMetricsAbsent\n" in (ROOT / "docs" / "runbooks" / "pushgateway.md").read_text()
