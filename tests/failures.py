"""A plugin for pytest that writes `docs/kubernetes-failures.md`: how the driver ended in every situation that was tried.

Used by `make test-driver`. The messages are those of the run itself, with random marks left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs/kubernetes-failures.md"
HEAD = """# Kubernetes: how the driver fails

Written by `make test-driver`; do not edit.
Each row was played by a scripted API server over real HTTP: what the driver ended with, what it said, and when.
Whatever the row, its DaskCluster and its Secret were removed, unless the row is about the right to remove them.
A row ends before its deadline; the deadlines are those of the tests, in production they are `cluster.start_minutes` and the grace period.

| what happens | code | error | what it says | deadline |
|---|---:|---|---|---:|
"""
_MARK = re.compile(r"(flights-11112222)-[0-9a-f]{8}")
_WAITED = re.compile(r"after \d+ s")
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")


class Failures:
    """Collects how situations ended, and writes the page when all of these passed."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == "ended":
                self.failed |= report.failed
                situation, code, error, message, _, deadline = value
                said = _WAITED.sub("after … s", _ADDRESS.sub("SERVER", _MARK.sub(r"\1-…", message))).replace("|", "\\|")
                shown = f"`{error}`" if error else ""
                self.rows[report.nodeid] = (
                    f"| {situation} | {code} | {shown} | {' '.join(said.split())} | {deadline:.0f} s |"
                )

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        if self.rows and not self.failed:
            PAGE.write_text(HEAD + "\n".join(self.rows[name] for name in sorted(self.rows)) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the process that sees all reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(), "failures-page")
