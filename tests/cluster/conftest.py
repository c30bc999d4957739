"""The cluster that the scenarios play on: built once per machine, started once per session, with everything installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenes
from node.layout import CACHE, VOLUME

HERE = Path(__file__).resolve().parent


def _missing() -> str:
    """Return what this machine lacks for a node."""
    if os.geteuid() != 0:
        return "a node needs root"
    return "" if shutil.which("go") else "building a node needs the Go toolchain"


@pytest.fixture(scope="session")
def node() -> Iterator[None]:
    """Bring the node up, with operator and Pushgateway, and take it down again."""
    missing = _missing()
    if missing:
        if os.environ.get("BATCHSCORE_TESTS_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHON": sys.executable}

    def run(*command: object) -> None:
        done = subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=3000, check=False
        )
        sys.stdout.write(done.stdout)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    for script in ("packages.sh", "build.sh", "images.sh"):
        run(HERE / script)
    run(sys.executable, "-m", "node", "up")
    try:
        run(sys.executable, "-m", "node", "load", CACHE / "images" / "images.tar")
        run(HERE.parents[1] / "scripts" / "operator-chart.sh", CACHE / "run" / "operator-chart")
        _furnish()
        yield
    finally:
        run(sys.executable, "-m", "node", "down")


def _furnish() -> None:
    standing = (HERE / "standing.yaml").read_text(encoding="utf-8").replace("VOLUME", str(VOLUME))
    scenes.inside("kubectl", "apply", "--server-side", "-f", "-", given=standing)
    image = "image.name=localhost/dask-operator,image.tag=test,image.pullPolicy=Never"
    chart = CACHE / "run" / "operator-chart"
    options = ("-n", "dask-operator", "--create-namespace", "--wait", "--timeout", "240s", "--set", image)
    scenes.inside("helm", "upgrade", "--install", "dask-operator", chart, *options)
    scenes.tell("the operator runs")


@pytest.fixture(scope="session")
def installed(node: None) -> None:
    """Install the chart."""
    scenes.install()
    scenes.tell("the chart is installed")
