"""The alert rules: silence, noise and resolution of each, and that a wrong rule is noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rule_cases import Case, promtool_test, run_promtool, weekly_test
from rule_mutants import EVERY, RULES, Mutant, Rule, mutants, name_of
from rule_table import CASES

from batchscore.metrics import CATALOGUE

ROOT = Path(__file__).parents[2]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in EVERY if "record" in rule}
RUNBOOKS = {name: rule["annotations"]["runbook"] for name, rule in ALERTS.items()}


def cases_of(alert: str) -> list[Case]:
    """Return the cases of one alert."""
    return [case for case in CASES if case.about == alert]


@pytest.mark.parametrize("alert", ["", *ALERTS])
def test_every_alert_fires_for_its_fault_and_for_nothing_else(
    alert: str, require: Callable[[str], str], tmp_path: Path
) -> None:
    """All rules together, on every case about one alert: what fires is what is expected, to the word."""
    said = run_promtool(require("promtool"), promtool_test(cases_of(alert), RULES, RUNBOOKS), tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_three_cases(alert: str) -> None:
    """Silence before a fault, noise during it, resolution after it, and the words that people read."""
    worded = [case for case in cases_of(alert) if case.words]
    moments = [
        [alert in {item.alert for item in firing} for _, firing in sorted(case.expect.items())] for case in worded
    ]

    assert worded, f"{alert} has no case that says its words"
    assert all(noise[0] is False and True in noise and noise[-1] is False for noise in moments)


@pytest.mark.monitoring
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", EVERY, ids=name_of)
def test_a_wrong_rule_breaks_a_test(rule: Rule, require: Callable[[str], str], tmp_path: Path) -> None:
    """Every mutant of every rule is noticed."""
    survivors = {mutant.what for mutant in mutants(rule) if survives(mutant, require("promtool"), tmp_path)}

    assert survivors == set()


def survives(mutant: Mutant, promtool: str, folder: Path) -> bool:
    """Return whether no case about the rule's alerts notices the fault; other rules are left out for speed.

    Of the slow alert's window only the weeks of weekly pipelines tell, which take longest and so come last.
    """
    alerts = [name for name, rule in ALERTS.items() if mutant.rule == name or mutant.rule in rule["expr"]]
    wanted = {
        mutant.rule,
        *alerts,
        *(record for record in RECORDS for name in alerts if record in ALERTS[name]["expr"]),
    }
    rules = [mutant.changed if name_of(rule) == mutant.rule else rule for rule in EVERY if name_of(rule) in wanted]
    file = folder / "mutant.rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "mutant", "rules": rules}]}))
    cases = [*cases_of(""), *(case for name in alerts for case in cases_of(name))]
    read = " ".join(rule["expr"] for rule in EVERY if name_of(rule) in wanted)
    content = promtool_test(cases, file, {name: RUNBOOKS[name] for name in alerts}, read=read)
    if run_promtool(promtool, content, folder).returncode != 0:
        return False
    return "BatchScoreSlow" not in alerts or run_promtool(promtool, weekly_test(file), folder).returncode == 0


def test_rules_name_only_metrics_that_are_pushed() -> None:
    """Every metric in a rule or in its words is in the catalogue, a record, or the gateway's own."""
    known = {metric.name for metric in CATALOGUE}

    for rule in EVERY:
        text = rule["expr"] + str(rule.get("annotations", ""))
        assert set(re.findall(r"(?<!:)\bbatchscore_\w+", text)) <= known, name_of(rule)
        assert set(re.findall(r"\bpipeline:\w+:\w+", text)) <= set(RECORDS), name_of(rule)


def test_every_threshold_is_joined() -> None:
    """A threshold of the `alerts` section that no rule joins would be a knob that turns nothing."""
    thresholds = {metric.name for metric in CATALOGUE if metric.name.startswith("batchscore_alert_")}
    joined = {name for rule in EVERY for name in re.findall(r"batchscore_alert_\w+", rule["expr"])}

    assert joined == thresholds


def test_a_weekly_pipeline_is_slow_until_its_next_run(require: Callable[[str], str], tmp_path: Path) -> None:
    """A week after three usual runs comes a slow one: the alert stands until the next; without one, a few hours more."""
    said = run_promtool(require("promtool"), weekly_test(RULES), tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_explained(alert: str) -> None:
    """Severity, summary, description, and a runbook page with a heading of the alert's name."""
    rule: dict[str, Any] = ALERTS[alert]

    assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert f"## {alert}\n" in (ROOT / RUNBOOKS[alert]).read_text(encoding="utf-8")
