"""Pushgateway, Prometheus and Alertmanager, all real, with the product's rules, and a record of what they say."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers import Pushgateway, alertmanager, fetch, free_port, prometheus, pushgateway

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "batchscore" / "files" / "batchscore.rules.yml"
EXAMPLE = ROOT / "docs" / "alertmanager.example.yml"
PATIENCE = 60.0
"""How long the servers may take to agree, in seconds; they take about one, and as many as the alert waits."""
STEADY = 8.0
"""How long the alerts must then stay as they are: longer than a volume alert waits, and the servers take."""

Alerts = dict[str, str]
"""The state in Alertmanager by alert's name: active, or suppressed by another alert."""


@dataclass
class Live:
    """The three servers."""

    programs: Callable[[str], str]
    folder: Path
    port: int
    alerting: str
    """Alertmanager's address."""
    stack: contextlib.ExitStack
    gateway: Pushgateway
    log: list[tuple[str, str, str]] = field(default_factory=list)
    """What happened, what was typed, and which alerts stood then."""

    def alerts(self) -> Alerts:
        """Return the alerts that Alertmanager has."""
        found = json.loads(fetch(f"{self.alerting}/api/v2/alerts"))
        return {item["labels"]["alertname"]: item["status"]["state"] for item in found}

    def words(self, alert: str) -> str:
        """Return the summary and the description that people are sent."""
        found = json.loads(fetch(f"{self.alerting}/api/v2/alerts"))
        (notes,) = (item["annotations"] for item in found if item["labels"]["alertname"] == alert)
        return f"{notes['summary']}. {notes['description']}"

    def settle(self, what: str, typed: str, wanted: Alerts) -> Alerts:
        """Wait until the alerts are those wanted and stay so, note it, and return what there is at the end."""
        ends = time.monotonic() + PATIENCE
        while self.alerts() != wanted and time.monotonic() < ends:
            time.sleep(0.2)
        time.sleep(STEADY)
        seen = self.alerts()
        told = ", ".join(f"`{name}` {state}" for name, state in sorted(seen.items()))
        self.log.append((what, typed, told or "none"))
        return seen

    def scheduled(self) -> dict[str, float]:
        """Return the series of the scheduled group, without the gateway's own."""
        wanted = {name: value for name, value in self.gateway.series().items() if 'run_type="scheduled"' in name}
        return {name: value for name, value in wanted.items() if name.startswith("batchscore_")}

    def kill_gateway(self) -> None:
        """Kill the gateway: all that it holds is lost."""
        self.gateway.process.kill()
        self.gateway.process.wait()

    def start_gateway(self) -> None:
        """Start an empty gateway in the place of the one that was killed."""
        program = self.programs("prometheus-pushgateway")
        self.gateway = self.stack.enter_context(pushgateway(program, self.folder, port=self.port))


@contextlib.contextmanager
def live(programs: Callable[[str], str], folder: Path) -> Iterator[Live]:
    """Run the three servers; the rules are the product's, with seconds for minutes in every `for`."""
    rules = folder / "batchscore.rules.yml"
    rules.write_text(re.sub(r"(?m)^( +for: \d+)m$", r"\1s", RULES.read_text()))
    port = free_port()
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(pushgateway(programs("prometheus-pushgateway"), folder, port=port))
        alerting = stack.enter_context(alertmanager(programs("prometheus-alertmanager"), folder, EXAMPLE))
        settings = json.dumps(_settings(rules, gateway.url, alerting))
        stack.enter_context(prometheus(programs("prometheus"), folder, folder / "data", settings=settings))
        yield Live(programs, folder, port, alerting, stack, gateway)


def _settings(rules: Path, gateway: str, alerting: str) -> dict[str, Any]:
    """Return Prometheus' configuration; JSON is YAML."""
    scraped = {"job_name": "pushgateway", "honor_labels": True, "static_configs": [{"targets": [_host(gateway)]}]}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_host(alerting)]}]}]},
        "scrape_configs": [scraped],
    }


def _host(url: str) -> str:
    return url.removeprefix("http://")
