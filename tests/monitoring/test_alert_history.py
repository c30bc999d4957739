"""Ten weeks with a fault of every kind: each alert fires for its own and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from history_table import planted, table
from past import Past
from test_alert_rules import ALERTS

PAGE = Path(__file__).parents[2] / "docs" / "alert-history.md"

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(600)]


def test_every_alert_fires_for_its_fault_and_for_nothing_else(ten_weeks: Past) -> None:
    """What fired, by pipeline, day and alert, is exactly what was planted; most of all, nothing on other days."""
    fired = sorted((item.pipeline, item.day, item.alert) for item in ten_weeks.fired)

    assert fired == sorted((name, day, alert) for (name, day), fault in planted().items() for alert in fault.alerts)


def test_every_alert_is_planted() -> None:
    """No alert is without a fault in the history."""
    assert {alert for fault in planted().values() for alert in fault.alerts} == set(ALERTS)


def test_no_backfill_ever_wakes_anybody(ten_weeks: Past) -> None:
    """Alerts carry the run type of the scheduled group, or none."""
    assert {dict(item.labels).get("run_type", "scheduled") for item in ten_weeks.fired} == {"scheduled"}


def test_the_table_is_current(ten_weeks: Past, tmp_path: Path) -> None:
    """The page in docs/ is what came out; where it is not, the new one lies beside the failure."""
    written = tmp_path / PAGE.name
    written.write_text(table(ten_weeks.fired), encoding="utf-8")
    print(written.read_text(encoding="utf-8"))

    assert PAGE.read_text(encoding="utf-8") == written.read_text(encoding="utf-8"), f"copy {written} to {PAGE}"
