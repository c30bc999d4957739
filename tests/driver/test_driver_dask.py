"""Real Dask processes, started by the very arguments and environment that the DaskCluster object gives its pods."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apiserver import Script, pod, serve, waiting
from scripted import IDENTITY, options

from batchscore.cluster import ClusterOptions, daskcluster, kubernetes, launched
from batchscore.cluster.api import ApiServer
from batchscore.cluster.certificates import issue
from batchscore.cluster.kubernetes import Launched, launch
from batchscore.errors import NoCluster
from batchscore.plan import Partition

Container = dict[str, Any]


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclasses.dataclass
class Node:
    """Stands in for a node: runs a pod's container as a process, with what belongs to the pod's network put on the loopback."""

    directory: Path
    """Scratch, and the certificates as files."""
    rpc: int = dataclasses.field(default_factory=free_port)
    """The scheduler's RPC port."""
    http: int = dataclasses.field(default_factory=free_port)
    """The scheduler's HTTP port."""

    def start(self, container: Container) -> subprocess.Popen[bytes]:
        """Start a container: its arguments and environment, and nothing else of Dask's."""
        worker_http = free_port()
        here = {
            "0.0.0.0": "127.0.0.1",
            "/etc/batchscore-tls": str(self.directory / "tls"),
            ":8787": f"127.0.0.1:{self.http}",
            ":8788": f"127.0.0.1:{worker_http}",
            "8786": str(self.rpc),
            "/tmp": str(self.directory),
        }
        arguments = [here.get(argument, argument) for argument in container["args"]]
        environment = {one["name"]: one["value"] for one in container["env"]}
        environment = {
            name: value.replace("/etc/batchscore-tls", here["/etc/batchscore-tls"])
            for name, value in environment.items()
        }
        if "DASK_SCHEDULER_ADDRESS" in environment:
            scheme = environment["DASK_SCHEDULER_ADDRESS"].partition(":")[0]
            environment["DASK_SCHEDULER_ADDRESS"] = f"{scheme}://127.0.0.1:{self.rpc}"
        command = [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
        with (self.directory / f"{container['name']}.log").open("ab") as log:
            return subprocess.Popen(
                command, env={**inherited, **environment}, stdout=log, stderr=log, cwd=self.directory
            )

    def get(self, path: str) -> Any:
        """Read from the scheduler's HTTP port, once it is there."""
        end = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as error:
                error.close()
                return error.code
            except OSError:
                assert time.monotonic() < end, (self.directory / "scheduler.log").read_text()
                time.sleep(0.1)


@contextmanager
def running(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End processes afterwards."""
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=5)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with a place for certificates."""
    (tmp_path / "tls").mkdir()
    return Node(directory=tmp_path)


@pytest.fixture
def on_loopback(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver find the scheduler's Service on the loopback."""

    def address(name: str, namespace: str, *, tls: bool) -> str:
        return f"{'tls' if tls else 'tcp'}://127.0.0.1:{node.rpc}"

    monkeypatch.setattr(daskcluster, "scheduler_address", address)


def containers(script: Script, node: Node) -> tuple[Container, Container]:
    """Return the containers of the one cluster there, and put its Secret where they look for it."""
    (cluster,) = script.clusters.values()
    (secret,) = script.secrets.values()
    for name, text in secret["stringData"].items():
        (node.directory / "tls" / name).write_text(text)
    spec = cluster["spec"]
    return spec["scheduler"]["spec"]["containers"][0], spec["worker"]["spec"]["containers"][0]


@contextmanager
def cluster_of(node: Node, script: Script) -> Iterator[tuple[Launched, Container, Container]]:
    """Launch a cluster of one worker whose pods are said to be ready."""
    with serve(script) as url:
        api = ApiServer(url=url, pause_seconds=0.05)
        deadline = time.monotonic() + 30
        with launch(options(min_workers=1), IDENTITY, 1, deadline, api=api, poll_seconds=0.05) as cluster:
            yield cluster, *containers(script, node)


@pytest.mark.usefixtures("on_loopback")
def test_cluster_computes_under_tls(node: Node) -> None:
    """The pods' own arguments give a cluster that computes over TLS; plain text and a foreign authority are turned away."""
    with (
        cluster_of(node, Script()) as (cluster, scheduler, worker),
        running(node.start(scheduler), node.start(worker)),
    ):
        client = cluster.open_client(time.monotonic() + 60)
        try:
            answer = client.submit(pow, 2, 5).result(timeout=30)
            seen = client.scheduler_info()["workers"]
        finally:
            client.close()
        plain = dataclasses.replace(cluster, credentials=None)
        foreign = dataclasses.replace(cluster, credentials=issue("foreign", datetime.now(UTC)))
        refusals = []
        for stranger in (plain, foreign):
            with pytest.raises(NoCluster) as caught:
                stranger.open_client(time.monotonic() + 8)
            refusals.append(caught.value.slug)

    assert answer == 32
    assert [address.partition(":")[0] for address in seen] == ["tls"]
    assert refusals == ["UNREACHABLE", "UNREACHABLE"]


def operator_idle_check(node: Node) -> float:
    """Run the operator's own idle check against the scheduler, with its look-up of the Service put on the loopback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dask_kubernetes.operator.controller import controller

    async def address(service: str, namespace: str, port_name: str = "tcp-comm", **_: Any) -> str:
        return f"tcp://127.0.0.1:{node.http if port_name == 'http-dashboard' else node.rpc}"

    original = controller.get_scheduler_address
    controller.get_scheduler_address = address
    try:
        check = controller.check_scheduler_idle("x-scheduler", "scoring", logging.getLogger("operator"))
        return float(asyncio.run(asyncio.wait_for(check, 5)))
    finally:
        controller.get_scheduler_address = original


@pytest.mark.usefixtures("on_loopback")
def test_operator_sees_idleness_under_tls(node: Node) -> None:
    """The operator's own check works over HTTP although RPC is TLS; nothing is served there but health, metrics and that."""
    began = time.time()
    with cluster_of(node, Script()) as (_, scheduler, __), running(node.start(scheduler)):
        health = node.get("/health")
        idle_since = operator_idle_check(node)
        idle = json.loads(node.get("/api/v1/check_idle"))
        closed = [node.get(path) for path in ("/info/main/workers.html", "/json/identity.json", "/proxy/1/x/y")]

    assert health == "ok"
    assert began - 1 <= idle_since <= time.time()
    assert idle["idle_since"] == idle_since
    assert closed == [404, 404, 404]


@pytest.mark.usefixtures("on_loopback")
@pytest.mark.filterwarnings("ignore")
def test_without_the_route_idleness_is_not_seen(node: Node) -> None:
    """The twin: with distributed's default routes the operator's check fails under TLS, so an idle cluster would stay for ever."""
    with cluster_of(node, Script()) as (_, scheduler, __):
        kept = [one for one in scheduler["env"] if not one["name"].endswith("HTTP__ROUTES")]
        with running(node.start({**scheduler, "env": kept})):
            node.get("/health")
            with pytest.raises(Exception, match=r"."):
                operator_idle_check(node)


@dataclasses.dataclass
class Operator:
    """Stands in for the operator: runs the pods of the one cluster as processes."""

    node: Node
    """Where they run."""
    script: Script
    """Where the cluster is."""
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)
    """The scheduler's and the worker's, once they are started."""

    def start(self) -> None:
        """Start the pods, as soon as there is a cluster."""
        until(lambda: self.script.clusters)
        self.processes += [self.node.start(each) for each in containers(self.script, self.node)]

    def lose(self) -> None:
        """Kill all pods in the midst of a task."""
        until((self.node.directory / "begun").exists)
        while self.processes:
            process = self.processes.pop()
            process.kill()
            process.wait(timeout=5)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "never came"
        time.sleep(0.02)


def score(node: Node, script: Script, monkeypatch: pytest.MonkeyPatch, *, minutes: float = 1.0) -> list[int]:
    """Run a task over one partition as a run does; it waits for the file `go`, and returns its index."""
    folder = str(node.directory)

    def task(partition: Partition) -> int:  # by value: workers do not have this file
        import time
        from pathlib import Path

        Path(folder, "begun").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.05)
        return partition.index

    wanted = ClusterOptions(kind="kubernetes", start_minutes=minutes, kubernetes=options(min_workers=1))
    partitions = [Partition(index=7, fragments=(), rows=1, decoded_bytes=1)]
    seen: list[int] = []
    with serve(script) as url:
        monkeypatch.setattr(kubernetes, "in_cluster", lambda _: ApiServer(url=url, pause_seconds=0.05))
        monkeypatch.setattr(launched, "job_identity", lambda: IDENTITY)
        with launched.launched_workers(wanted, partitions) as workers:
            workers.run(task, partitions, seen.append)
    return seen


@pytest.mark.usefixtures("on_loopback")
def test_a_run_survives_a_lost_scheduler(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """After all pods were replaced the run connects anew and hands the partition out again."""
    operator = Operator(node, Script())

    def fate() -> None:
        operator.start()
        operator.lose()
        operator.start()
        (node.directory / "go").touch()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(fate)
        try:
            seen = score(node, operator.script, monkeypatch)
        finally:
            done.result()
            with running(*operator.processes):
                pass

    assert seen == [7]
    assert operator.script.clusters == {}


@pytest.mark.usefixtures("on_loopback")
def test_a_scheduler_that_stays_away(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that does not come back ends the run with the reason that the pods give, and the cluster goes."""
    operator = Operator(node, Script())

    def fate() -> None:
        operator.start()
        operator.lose()

    def crashing(cluster: str, workers: int, age: float) -> list[dict[str, Any]]:
        lost = (node.directory / "begun").exists()
        state = waiting("CrashLoopBackOff", restartCount=3) if lost else {}
        return [pod(cluster, "scheduler", ready=not lost, **state), pod(cluster, "worker", 0, ready=True)]

    operator.script.pods = crashing
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(fate)
        with pytest.raises(NoCluster) as caught:
            score(node, operator.script, monkeypatch)
        done.result()

    assert caught.value.slug == "CRASH"
    assert "the scheduler pod" in caught.value.message
    assert operator.script.clusters == {}


@pytest.mark.usefixtures("on_loopback")
def test_a_scheduler_out_of_reach(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods that are ready and a scheduler that can not be reached: the run says so, and the cluster goes."""
    script = Script()
    with pytest.raises(NoCluster) as caught:
        score(node, script, monkeypatch, minutes=0.1)

    assert caught.value.slug == "UNREACHABLE"
    assert script.clusters == {}
