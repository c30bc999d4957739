"""A plugin for pytest that writes `docs/reliability.md`: what was tried, how many times, and what happened.

Used by `make test-faults`. A test's first line of documentation says what it tries, its `figures` how many.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs/reliability.md"
HEAD = """# Reliability: what was tried, and what happened

Written by `make test-faults`; do not edit.
Every fault is injected for real: processes are killed, disks are full, files are damaged.
A *twin* is a deliberately broken variant that its test must catch: it proves that the test has teeth.

"""


@dataclass
class Row:
    """One line of a table: a test, all its parameters taken together."""

    what: str
    """What was tried, in the test's own words."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Numbers added up, seconds as the most, other facts side by side."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """How often the test passed, failed or was skipped."""
    seconds: float = 0.0
    """Wall seconds in all."""
    why: str = ""
    """Why it was skipped."""

    def add(self, numbers: dict[str, Any]) -> None:
        """Add the figures of one execution."""
        for name, value in numbers.items():
            old = self.figures.get(name)
            if isinstance(value, float):
                self.figures[name] = max(value, old or 0.0)
            elif isinstance(value, int):
                self.figures[name] = value + (old or 0)
            else:
                self.figures[name] = f"{old}, {value}" if old else value

    def __str__(self) -> str:
        """Return the line."""
        figures = "; ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.figures.items())
        outcome = ", ".join(
            name if count == 1 else f"{name} ({count} times)" for name, count in sorted(self.outcomes.items())
        )
        return f"| {_cell(self.what)} | {_cell(figures)} | {_cell(outcome + self.why)} | {self.seconds:.0f} |"


class Reliability:
    """Collects the reports of a session and writes the page at its end."""

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, Row]] = {}
        self.began = time.time()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        facts = dict(report.user_properties)
        if "section" not in facts or (report.when != "call" and report.outcome == "passed"):
            return
        rows = self.sections.setdefault(facts["section"], {})
        row = rows.setdefault(report.nodeid.partition("[")[0], Row(facts["what"]))
        row.outcomes[report.outcome] = row.outcomes.get(report.outcome, 0) + 1
        row.seconds += report.duration
        if report.skipped and isinstance(report.longrepr, tuple):
            row.why = f": {report.longrepr[2].removeprefix('Skipped: ')}"
        for name, value in report.user_properties:
            if name == "figures":
                row.add(value)

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        if self.sections:
            PAGE.write_text(self.page())

    def page(self) -> str:
        """Return the page."""
        outcomes = [row.outcomes for rows in self.sections.values() for row in rows.values()]
        total = {name: sum(each.get(name, 0) for each in outcomes) for name in ("passed", "failed", "skipped")}
        head = (
            f"Last run: {time.strftime('%Y-%m-%d', time.gmtime(self.began))}, on {os.cpu_count()} cores,"
            f" Python {platform.python_version()}, {(time.time() - self.began) / 60:.0f} minutes:"
            f" {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped."
        )
        lines = [head, ""]
        for title, rows in sorted(self.sections.items()):
            lines += [f"## {title}", "", "| tried | how many | outcome | seconds |", "|---|---|---|---:|"]
            lines += [str(rows[name]) for name in sorted(rows)]
            lines.append("")
        return HEAD + "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the words of a test travel with its report, to whichever process writes the page."""
    function = getattr(item, "function", None)
    item.user_properties.append(("section", _first_line(getattr(item, "module", None)).partition(": ")[0].rstrip(".")))
    item.user_properties.append(("what", _first_line(function)))


def _first_line(thing: object) -> str:
    return (getattr(thing, "__doc__", None) or "").strip().split("\n")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the process that sees all reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reliability(), "reliability-page")
