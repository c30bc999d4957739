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
PATIENCE = 20.0
"""How long Alertmanager may take to know which alert suppresses which, in seconds; it takes milliseconds."""
STEADY = 0.5
"""How long the states must then stay, in seconds."""


@pytest.fixture
def receiving(require: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    """Run an Alertmanager with the example, and give its address."""
    with alertmanager(require("prometheus-alertmanager"), tmp_path, EXAMPLE) as url:
        yield url


def states(url: str, wanted: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Send the alerts of `wanted`, by name and pipeline, and return the state of each once they are as wanted and stay.

    Alertmanager lists an alert before its inhibitor has heard of it, so a first look may find it active.
    """
    labels = [
        {"alertname": name, "environment": "prod", "pipeline": pipeline, "severity": "page"}
        for name, pipeline in wanted
    ]
    _post(f"{url}/api/v2/alerts", json.dumps([{"labels": item} for item in labels]).encode())
    ends = time.monotonic() + PATIENCE
    while _states(url) != wanted and time.monotonic() < ends:
        time.sleep(0.1)
    time.sleep(STEADY)
    return _states(url)


def _states(url: str) -> dict[tuple[str, str], str]:
    found = json.loads(fetch(f"{url}/api/v2/alerts"))
    return {(item["labels"]["alertname"], item["labels"]["pipeline"]): item["status"]["state"] for item in found}


def _post(url: str, content: bytes) -> None:
    request = urllib.request.Request(url, data=content, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass


def test_late_speaks_for_volume_and_failure_of_its_own_pipeline_only(receiving: str) -> None:
    """A late pipeline's other alerts are suppressed, another pipeline's are not, and held is told anyway."""
    wanted = {
        ("BatchScoreLate", "churn"): "active",
        ("BatchScoreVolumeLow", "churn"): "suppressed",
        ("BatchScoreRunFailed", "churn"): "suppressed",
        ("BatchScoreHeld", "churn"): "active",
        ("BatchScoreVolumeLow", "flights"): "active",
    }

    assert states(receiving, wanted) == wanted


def test_one_page_for_a_gateway_that_is_down(receiving: str) -> None:
    """Every pipeline vanishes with the gateway; the gateway's own alert stands for all."""
    wanted = {("PushgatewayDown", "any"): "active", ("BatchScoreMetricsVanished", "churn"): "suppressed"}

    assert states(receiving, wanted) == wanted


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
