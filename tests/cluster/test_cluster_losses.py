"""What may happen to a run in the middle of it, on real nodes: every run ends with the bytes of the embedded one, or as it should."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scenes
from scenes import (
    GONE,
    drivers,
    ending,
    error_of,
    finished,
    get,
    inside,
    kubectl,
    left,
    log,
    pods,
    published,
    records,
    start_run,
    until,
)
from timeline import RECORD, tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(700, func_only=True), pytest.mark.usefixtures("installed")]


def in_the_middle(name: str, settings: dict[str, str] | None = None) -> str:
    """Start a run of the winter and wait until it has finished some partitions."""
    job = start_run(name, settings)
    until("the first partitions", 240, lambda: records(name) >= 6)
    return job


def test_worker_deleted(reference: dict[str, bytes]) -> None:
    """A worker pod that is deleted in mid-run costs time and nothing else."""
    job = in_the_middle("worker-lost")
    kubectl("delete", "pod", pods(job, "worker")[0], "--grace-period=0", "--force")
    tell(f"a worker is deleted; {records('worker-lost')} partitions are finished")
    finished(job)
    until("everything gone", GONE, lambda: not left(job))

    assert published("outputs-worker-lost") == reference


def test_scheduler_deleted(reference: dict[str, bytes]) -> None:
    """A scheduler pod that is deleted in mid-run comes back empty, and the missing partitions are handed out again."""
    job = in_the_middle("scheduler-lost")
    kubectl("delete", "pod", pods(job, "scheduler")[0], "--grace-period=0", "--force")
    tell(f"the scheduler is deleted; {records('scheduler-lost')} partitions are finished")
    until("more partitions", 240, lambda: records("scheduler-lost") >= 12)
    told = "".join(kubectl("logs", worker, "--tail=3", check=False) for worker in pods(job, "worker"))
    finished(job)

    assert "[debug" not in told  # workers of the new scheduler log as they were told
    assert len(drivers(job)) == 1
    assert "cluster lost" in log(job)
    assert published("outputs-scheduler-lost") == reference


def test_driver_evicted(reference: dict[str, bytes]) -> None:
    """An evicted driver removes its cluster, does not count as a failure, and its successor scores only the rest."""
    job = in_the_middle("evicted")
    pod = drivers(job)[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": scenes.NAMESPACE}}
    path = f"/api/v1/namespaces/{scenes.NAMESPACE}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction))
    done = records("evicted")
    tell(f"the driver is evicted; {done} partitions are finished")
    finished(job)

    assert not get("job", job)["status"].get("failed")
    assert scenes.metadata("outputs-evicted")["reused_partitions"] >= done
    assert published("outputs-evicted") == reference


def test_job_deleted() -> None:
    """A Job that is deleted in mid-run takes its cluster and its Secret along, and publishes nothing."""
    job = in_the_middle("deleted")
    kubectl("delete", "job", job)
    until("everything gone", GONE, lambda: not left(job))

    assert published("outputs-deleted") == {}


def _signal(pod: dict[str, Any], number: signal.Signals, command: bytes = b"") -> int:
    """Signal the processes of a pod from outside of it, those whose command line has these bytes; return how many."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = pod["metadata"]["uid"] in (process / "cgroup").read_text()
            if ours and command in (process / "cmdline").read_bytes():
                os.kill(int(process.name), number)
                found += 1
    return found


def test_worker_frozen(reference: dict[str, bytes]) -> None:
    """A worker that stops without ending is given up after the time of silence, and what it had is scored by others."""
    job = in_the_middle("frozen", {**scenes.WINTER, "cluster.silence_minutes": "0.5"})
    frozen = get("pod", pods(job, "worker")[0])
    assert _signal(frozen, signal.SIGSTOP)
    tell(f"a worker is frozen; {records('frozen')} partitions are finished")
    finished(job)
    until("everything gone", GONE, lambda: not left(job))

    assert published("outputs-frozen") == reference


def _kill_driver(job: str) -> None:
    """Kill the driver's process from outside of its pod, as the kernel would for want of memory."""
    (pod,) = drivers(job)
    _signal(pod, signal.SIGKILL, b"batchscore\0run")


def test_driver_vanishes() -> None:
    """A driver that is gone without a word leaves a cluster that is idle soon, and the operator removes it, TLS or not."""
    job = start_run("vanished", {**scenes.WINTER, "cluster.kubernetes.idle_timeout_seconds": "60"}, backoffLimit=0)
    until("the first partitions", 240, lambda: records("vanished") >= 2)
    _kill_driver(job)
    finished(job, ("Failed", ""))
    assert scenes.exit_code(job) == 137
    assert [name for name in left(job) if name.startswith("daskcluster")], "the driver had the time to remove it"
    until("everything but the Secret gone", 300, lambda: [name.partition("/")[0] for name in left(job)] == ["secret"])
    kubectl("delete", "job", job)
    until("the Secret gone with its Job", 60, lambda: not left(job))


def test_worker_over_its_memory() -> None:
    """A task that needs more memory than a worker has is blamed by name and ends the run with code 24, which is retried."""
    job = scenes.start_probe("greedy", {"GREEDY": "3", "PARTS": "12"}, backoffLimit=0)
    finished(job, ("Failed", "BackoffLimitExceeded"), 300)
    RECORD.endings.append(("a worker over its memory limit", str(scenes.exit_code(job)), error_of(job)))

    assert scenes.exit_code(job) == 24
    assert "partition 3 killed" in error_of(job)


@pytest.fixture
def second(node: subprocess.Popen[bytes] | None) -> Iterator[None]:
    """Let the second node take pods, and keep one worker on each node by the values that a platform team would set."""
    assert node is None or node.wait(300) == 0
    inside("kubectl", "uncordon", "node2")
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"dask.org/component": "worker"}},
        }
    ]
    first = '{"kubernetes.io/hostname": "node1"}'
    scenes.install(
        *("--set-json", f"run.cluster.kubernetes.worker.topology_spread_constraints={json.dumps(spread)}"),
        *(
            "--set-json",
            f"run.cluster.kubernetes.scheduler.node_selector={first}",
            "--set-json",
            f"driver.nodeSelector={first}",
        ),
    )
    yield
    inside("ip", "link", "set", "link2", "up")
    until("node2 back", 90, lambda: _is_ready("node2"))
    inside("kubectl", "cordon", "node2")
    scenes.install()


def _is_ready(node: str) -> bool:
    conditions = get("node", node)["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _on(job: str, node: str) -> list[str]:
    selector = f"batchscore.io/job={job},dask.org/component=worker"
    found = get("pods", "-l", selector)["items"]  # a new pod has no node yet
    return [pod["metadata"]["name"] for pod in found if pod["spec"].get("nodeName") == node]


def test_node_cut_off(reference: dict[str, bytes], second: None) -> None:
    """A worker on a node that is cut off goes on writing; another takes its place, and the bytes are the same."""
    job = in_the_middle("node-lost")
    lost = _on(job, "node2")
    inside("ip", "link", "set", "link2", "down")
    tell(f"node2 is cut off with {lost}; {records('node-lost')} partitions are finished")
    until("node2 not ready", 90, lambda: not _is_ready("node2"))
    until("a worker in its place", 120, lambda: ending(job) or len(_on(job, "node1")) == 2)
    finished(job, seconds=300)
    inside("ip", "link", "set", "link2", "up")
    until("everything gone", GONE, lambda: not left(job))
    time.sleep(1)

    assert len(lost) == 1
    assert published("outputs-node-lost") == reference
