"""Configurations that nobody uses are removed, and no other."""

from __future__ import annotations

import time

import pytest
from apiserver import Fault, Script, serve

from batchscore.cluster.api import ApiServer
from batchscore.cluster.configs import await_drivers, main
from batchscore.errors import NoCluster

HOOKS = frozenset(
    {("", "configmaps", "list"), ("", "configmaps", "delete"), ("batch", "jobs", "list"), ("", "pods", "list")}
)
ENVIRONMENT = {"BATCHSCORE_NAMESPACE": "scoring", "BATCHSCORE_RELEASE": "flights", "BATCHSCORE_CONFIG": "now"}


def _script() -> Script:
    """Three configurations of the release, one of another; a running Job uses `running`, a finished one `old`."""
    script = Script(rights=HOOKS)
    for name, release, component in (
        ("now", "flights", "config"),
        ("running", "flights", "config"),
        ("old", "flights", "config"),
        ("foreign", "other", "config"),
        ("dashboard", "flights", "dashboard"),
    ):
        labels = {"app.kubernetes.io/instance": release, "app.kubernetes.io/component": component}
        script.config_maps[name] = {"metadata": {"name": name, "labels": labels}}
    for name, finished, config in (("j1", None, "running"), ("j2", "Complete", "old")):
        script.job(name, name, finished=finished)
        volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "config", "configMap": {"name": config}}]
        script.jobs[name]["spec"] = {"template": {"spec": {"volumes": volumes}}}
    return script


@pytest.mark.parametrize(
    ("arguments", "left"),
    [([], ["dashboard", "foreign", "now", "running"]), (["--all"], ["dashboard", "foreign"])],
    ids=["after an upgrade", "after uninstall"],
)
def test_sweep(arguments: list[str], left: list[str]) -> None:
    """After an upgrade the present one and those of running Jobs stay; after uninstall none of the release does."""
    script = _script()
    with serve(script) as url:
        main(arguments, ENVIRONMENT, ApiServer(url=url, pause_seconds=0.02))

    assert sorted(script.config_maps) == left
    assert script.used <= HOOKS


def test_nothing_is_removed_on_a_guess() -> None:
    """When Jobs can not be listed nothing is removed."""
    script = _script()
    script.faults.append(Fault("GET", "/jobs$", 403, body="no"))
    began = time.monotonic()
    with serve(script) as url, pytest.raises(NoCluster, match="may not list Jobs"):
        main([], ENVIRONMENT, ApiServer(url=url, pause_seconds=0.02))

    assert len(script.config_maps) == 5
    assert time.monotonic() - began < 5


def _driver(phase: str) -> dict[str, object]:
    return {"metadata": {"name": "driver"}, "status": {"phase": phase}}


def test_drivers_are_waited_for() -> None:
    """A driver that is still ending is waited for, since it pushes metrics; ended ones are not, nor for ever."""
    script = Script(rights=HOOKS, drivers=[[_driver("Running")], [_driver("Running")], [_driver("Failed")]])
    stuck = Script(rights=HOOKS, drivers=[[_driver("Running")]])
    with serve(script) as url, serve(stuck) as other:
        main(["--wait"], ENVIRONMENT, ApiServer(url=url))
        began = time.monotonic()
        gone = await_drivers(ApiServer(url=other), "scoring", "flights", until=began + 1, poll_seconds=0.1)

    assert [request for request in script.requests if "/pods" in request] == ["GET /api/v1/namespaces/scoring/pods"] * 3
    assert not gone
    assert time.monotonic() - began < 3
    assert script.used == {("", "pods", "list")}
