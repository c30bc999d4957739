"""The example configuration of Alertmanager, asked of a real one."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import alertmanager, fetch

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "alertmanager.example.yml"


@pytest.fixture
def receiving(require: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    """Run an Alertmanager with the example, and give its address."""
    with alertmanager(require("prometheus-alertmanager"), tmp_path, EXAMPLE) as url:
        yield url


def states(url: str, *alerts: tuple[str, str]) -> dict[tuple[str, str], str]:
    """Send alerts as (name, pipeline), and return the state of each once none is unprocessed."""
    labels = [
        {"alertname": name, "environment": "prod", "pipeline": pipeline, "severity": "page"}
        for name, pipeline in alerts
    ]
    content = json.dumps([{"labels": item} for item in labels]).encode()
    _post(f"{url}/api/v2/alerts", content)
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        found = json.loads(fetch(f"{url}/api/v2/alerts"))
        seen = {(item["labels"]["alertname"], item["labels"]["pipeline"]): item["status"]["state"] for item in found}
        if len(seen) == len(alerts) and "unprocessed" not in seen.values():
            return seen
        time.sleep(0.1)
    raise AssertionError(f"Alertmanager did not process the alerts: {found}")


def _post(url: str, content: bytes) -> None:
    request = urllib.request.Request(url, data=content, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass


def test_late_speaks_for_volume_and_failure_of_its_own_pipeline_only(receiving: str) -> None:
    """A late pipeline's other alerts are suppressed, another pipeline's are not, and held is told anyway."""
    seen = states(
        receiving,
        ("BatchScoreLate", "churn"),
        ("BatchScoreVolumeLow", "churn"),
        ("BatchScoreRunFailed", "churn"),
        ("BatchScoreHeld", "churn"),
        ("BatchScoreVolumeLow", "flights"),
    )

    assert seen == {
        ("BatchScoreLate", "churn"): "active",
        ("BatchScoreVolumeLow", "churn"): "suppressed",
        ("BatchScoreRunFailed", "churn"): "suppressed",
        ("BatchScoreHeld", "churn"): "active",
        ("BatchScoreVolumeLow", "flights"): "active",
    }


def test_one_page_for_a_gateway_that_is_down(receiving: str) -> None:
    """Every pipeline vanishes with the gateway; the gateway's own alert stands for all."""
    seen = states(receiving, ("PushgatewayDown", "any"), ("BatchScoreMetricsVanished", "churn"))

    assert seen == {("PushgatewayDown", "any"): "active", ("BatchScoreMetricsVanished", "churn"): "suppressed"}


def test_the_rules_and_the_example_name_the_same_alerts() -> None:
    """An alert that was renamed would silently no longer be suppressed."""
    rules = (ROOT / "helm" / "batchscore" / "files" / "batchscore.rules.yml").read_text(encoding="utf-8")

    for name in (
        "BatchScoreLate",
        "BatchScoreVolumeLow",
        "BatchScoreVolumeHigh",
        "BatchScoreRunFailed",
        "PushgatewayDown",
    ):
        assert f"alert: {name}\n" in rules
