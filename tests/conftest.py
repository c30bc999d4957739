"""What all tests share: how to ask for a tool, and what is said about the tools that were not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
REQUIRE_ALL = "BATCHSCORE_TESTS_REQUIRE_ALL"
"""Set to 1 where every tool must be there, as on the machine that judges a change."""

MISSING = "missing tool: "
HOW_TO_GET = {
    "the compiled kernel": "install a C compiler, then make setup",
    "a mount namespace": "run as root",
    "azurite": "make servers",
    "minio": "make servers",
    "alertmanager": "apt install prometheus-alertmanager",
    "amtool": "apt install prometheus-alertmanager",
    "buildah": "apt install buildah",
    "chromedriver": "apt install chromium-driver",
    "chromium": "apt install chromium",
    "go": "install the Go toolchain",
    "helm": "make tools",
    "kubectl": "make tools",
    "npm": "apt install npm",
    "prometheus": "apt install prometheus",
    "prometheus-alertmanager": "apt install prometheus-alertmanager",
    "prometheus-pushgateway": "apt install prometheus-pushgateway",
    "promtool": "apt install prometheus",
}

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def find_tool(tool: str) -> str | None:
    """Give the tool's path: from the project's own `.tools/bin` first, else from PATH."""
    return shutil.which(tool, path=os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ.get("PATH", "")]))


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Give a function that skips the test and names what it lacks; or fails, where all must be there."""

    def skip(tool: str) -> NoReturn:
        reason = f"{MISSING}{tool} ({HOW_TO_GET.get(tool, 'not on PATH')})"
        if os.environ.get(REQUIRE_ALL) == "1":
            pytest.fail(f"{reason}, and {REQUIRE_ALL}=1 allows no skip", pytrace=False)
        pytest.skip(reason)

    return skip


@pytest.fixture(scope="session")
def require(missing: Callable[[str], NoReturn]) -> Callable[[str], str]:
    """Give a function that finds a tool's path, or does as `missing` does."""
    return lambda tool: find_tool(tool) or missing(tool)


@pytest.fixture
def needs_kernel(missing: Callable[[str], NoReturn]) -> None:
    """Need the compiled kernel."""
    from batchscore.kernel import compiled

    if not compiled()[0]:
        missing("the compiled kernel")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested for want of a tool, once for each tool."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if MISSING in reason:
            tool = reason.split(MISSING, 1)[1]
            counts[tool] = counts.get(tool, 0) + 1
    if counts:
        terminalreporter.section("NOT TESTED ON THIS MACHINE", sep="!", yellow=True, bold=True)
        for tool, count in sorted(counts.items()):
            terminalreporter.line(f"{count:4} tests skipped for want of {tool}", yellow=True)
