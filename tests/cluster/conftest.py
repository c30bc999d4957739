"""The cluster that the scenarios play on: built once per machine, started once per session, with everything installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import scenes
import world
from node.layout import CACHE, RUN, VOLUME
from timeline import step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLE, ARCHIVE = CACHE / "example", CACHE / "images" / "images.tar"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT))), "PYTHON": sys.executable}
ORDER = ("storm", "image", "alert", "losses", "driver", "release", "removal")
"""The storm comes first, since its alert takes five minutes to fire, in which the image is looked at; uninstalling comes last."""


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests of this folder."""
    config.addinivalue_line("markers", "cluster: a whole Kubernetes node")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Play the files in their order: the scenarios share one cluster."""
    items.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_cluster_")))


def _missing() -> str:
    """Return what this machine lacks for a node."""
    if os.geteuid() != 0:
        return "a node needs root"
    if not Path("/sys/fs/cgroup/memory").is_dir():
        return "a node of these tests needs the controllers of cgroup v1"
    return "" if shutil.which("go") else "building a node needs the Go toolchain"


def _run(*command: object) -> None:
    """Run a command; every line of it that reports a step becomes one of ours."""
    words = [str(word) for word in command]
    log = CACHE / f"{Path(words[0]).stem}.log"
    before = 0.0
    with (
        log.open("w+", encoding="utf-8") as errors,
        subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for line in process.stdout or ():
            if found := re.fullmatch(r"\s*([\d.]+)s  (.*)\n", line):
                step(found[2], float(found[1]) - before)
                before = float(found[1])
        code = process.wait()
    assert code == 0, f"{words} ended with {code}\n{log.read_text(encoding='utf-8')[-3000:]}"


def _images_and_world() -> None:
    _run(HERE / "images.sh")
    began = time.monotonic()
    _run(sys.executable, HERE / "world.py", EXAMPLE)
    step("flights example, with a storm on the latest Friday", time.monotonic() - began)


def _node(*words: object) -> tuple[object, ...]:
    return (sys.executable, "-m", "node", *words)


@pytest.fixture(scope="session")
def built() -> None:
    """Build everything that a cluster is made of, or find it kept from an earlier session."""
    missing = _missing()
    if missing:
        if os.environ.get("BATCHSCORE_TESTS_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    CACHE.mkdir(parents=True, exist_ok=True)
    _run(HERE / "packages.sh")
    with ThreadPoolExecutor(1) as beside:
        images = beside.submit(_images_and_world)
        _run(HERE / "build.sh")
        images.result()


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes] | None]:
    """Bring both nodes up, with operator, Pushgateway and Prometheus, and take them down again.

    With BATCHSCORE_CLUSTER_KEEP=1 they stay up for the next session, which is for working on a scenario.

    Yields the loading of the images into the second node, which takes no pods yet; None when that is long done.
    """
    keep = os.environ.get("BATCHSCORE_CLUSTER_KEEP") == "1"
    if keep and (RUN / "ready").exists():
        yield None
        return
    request.getfixturevalue("built")
    _run(*_node("up", "--two"))
    second: subprocess.Popen[bytes] | None = None
    try:
        scenes.inside("kubectl", "cordon", "node2")
        shutil.copytree(EXAMPLE, VOLUME, dirs_exist_ok=True)
        _run(*_node("load", 1, ARCHIVE))
        step("images are loaded")
        _furnish()
        with (CACHE / "load.log").open("wb") as log:
            words = [str(word) for word in _node("load", 2, ARCHIVE)]
            second = subprocess.Popen(words, env=ENVIRONMENT, stdout=log, stderr=log)
        yield second
    finally:
        if second is not None and keep:
            second.wait()
        elif not keep:
            _end(second)


def _end(second: subprocess.Popen[bytes] | None) -> None:
    if second is not None and second.poll() is None:
        second.kill()
        second.wait()
    logs = CACHE / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    shutil.copytree(RUN / "logs", logs, ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns("pods*"))
    _run(*_node("down"))


def _furnish() -> None:
    rules = scenes.CHART / "files" / "batchscore.rules.yml"
    standing = (HERE / "standing.yaml").read_text(encoding="utf-8").replace("VOLUME", str(VOLUME))
    scenes.inside("kubectl", "apply", "--server-side", "-f", "-", given=standing)
    scenes.kubectl("create", "configmap", "rules", f"--from-file={rules}", namespace="monitoring")
    chart = RUN / "operator-chart"
    _run(ROOT / "scripts" / "operator-chart.sh", chart)
    image = "image.name=localhost/dask-operator,image.tag=test,image.pullPolicy=Never"
    options = ("-n", "dask-operator", "--create-namespace", "--wait", "--timeout", "240s", "--set", image)
    scenes.inside("helm", "upgrade", "--install", "dask-operator", chart, *options)
    step("helm install of the operator: its pod is ready")
    for name in ("pushgateway", "prometheus"):
        scenes.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", namespace="monitoring")
    step("Pushgateway and Prometheus are ready")


@pytest.fixture(scope="session")
def installed(node: subprocess.Popen[bytes] | None) -> None:
    """Install the chart."""
    scenes.install()
    step("helm install of batchscore")


@pytest.fixture(scope="session")
def reference(installed: None) -> dict[str, bytes]:
    """Return what the embedded run of the same image publishes of the winter, by path."""
    if not scenes.published("outputs-reference"):
        settings = {**scenes.WINTER, "cluster.kind": "local"}
        scenes.finished(scenes.start_run("reference", settings))
    found = scenes.published("outputs-reference")
    assert len(found) > 50
    return found


@pytest.fixture(scope="session")
def facts(installed: None) -> dict[str, object]:
    """Return what is known of the example."""
    return world.facts(VOLUME)
