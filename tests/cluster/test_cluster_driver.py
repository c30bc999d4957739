"""The driver on a real node: its cluster comes, survives what happens to it, and is gone afterwards."""

from __future__ import annotations

import json

import pytest
import scenes
from scenes import drivers, ending, kubectl, left, log, parts, pods, start, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400, func_only=True), pytest.mark.usefixtures("installed")]

GONE = 100
"""The longest that a removal may take: the operator holds one for 60 s when the scheduler does not answer."""


def finished(job: str, wanted: tuple[str, str], seconds: float = 200) -> None:
    """Wait for a Job's end and check it."""
    found = until(f"the end of {job}", seconds, lambda: ending(job))

    assert found[0] == wanted[0], log(job)
    assert wanted[1] in found[1]


def test_run() -> None:
    """Job, DaskCluster, scheduler and two workers over TLS, twenty parts, and nothing of it left."""
    job = start("happy")
    until("two workers", 90, lambda: len(pods(job, "worker")) == 2)
    until("a part", 90, lambda: parts(job))
    scenes.tell(kubectl("get", "all,daskcluster"))
    finished(job, ("Complete", ""))
    until("everything gone", GONE, lambda: not left(job))

    assert parts(job) == 20
    assert "scored 20 of 20" in log(job)


def test_no_warning_of_pod_security() -> None:
    """The namespace enforces *restricted*: our pods run, and no Deployment of them would even be warned about."""
    job = start("restricted", {"SECONDS": "1"})
    until("two workers", 90, lambda: len(pods(job, "worker")) == 2)
    warnings = []
    for deployment in scenes.get("deployments", "-l", f"batchscore.io/job={job}")["items"]:
        copy = {**deployment, "metadata": {"name": deployment["metadata"]["name"][:50] + "-x"}}
        copy.pop("status")
        done = scenes.inside(
            *("kubectl", "-n", scenes.NAMESPACE, "create", "--dry-run=server", "-f", "-"), given=json.dumps(copy)
        )
        warnings += done.stderr.splitlines()
    finished(job, ("Complete", ""))

    assert warnings == []


def test_worker_deleted() -> None:
    """A worker pod that is deleted in mid-run costs time and no part."""
    job = start("worker-lost", {"SECONDS": "1"})
    until("four parts", 120, lambda: parts(job) >= 4)
    kubectl("delete", "pod", pods(job, "worker")[0], "--grace-period=0", "--force")
    finished(job, ("Complete", ""))

    assert parts(job) == 20


def test_job_deleted() -> None:
    """A Job that is deleted in mid-run takes its cluster and its Secret along."""
    job = start("deleted", {"SECONDS": "3"})
    until("two parts", 120, lambda: parts(job) >= 2)
    kubectl("delete", "job", job)
    until("everything gone", GONE, lambda: not left(job))


def test_driver_evicted() -> None:
    """An evicted driver removes its cluster, does not count as a failure, and its successor finishes the rest."""
    job = start("evicted", {"SECONDS": "1"})
    until("four parts", 120, lambda: parts(job) >= 4)
    pod = drivers(job)[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": scenes.NAMESPACE}}
    kubectl(
        *("create", "--raw", f"/api/v1/namespaces/{scenes.NAMESPACE}/pods/{pod}/eviction", "-f", "-"),
        given=json.dumps(eviction),
    )
    finished(job, ("Complete", ""), 300)

    assert parts(job) == 20
    assert not scenes.get("job", job)["status"].get("failed")


@pytest.mark.parametrize(
    ("code", "wanted", "attempts"),
    [("12", ("Failed", "PodFailurePolicy"), 1), ("23", ("Failed", "BackoffLimitExceeded"), 3)],
    ids=["12 is final", "23 is tried again"],
)
def test_exit_codes(code: str, wanted: tuple[str, str], attempts: int) -> None:
    """A contract that is broken fails at once; storage that fails is tried again."""
    job = start(f"exit-{code}", {"EXIT": code, "PARTS": "2"})
    finished(job, wanted, 360)

    assert len(drivers(job)) == attempts


def test_one_right_less() -> None:
    """Without the right to list pods the run ends with code 22 and says so, and the whole Role is enough again."""
    rules = scenes.get("role", scenes.NAME)["rules"]
    less = [rule for rule in rules if rule["resources"] != ["pods"]]
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": less}])
    kubectl("patch", "role", scenes.NAME, "--type=json", "-p", patch)
    try:
        job = start("less", {"PARTS": "2", "WAIT": "30"})
        until("the refusal", 120, lambda: "E-CLUSTER-FORBIDDEN" in log(job))
        kubectl("delete", "job", job)
    finally:
        whole = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
        kubectl("patch", "role", scenes.NAME, "--type=json", "-p", whole)
    again = start("whole", {"PARTS": "2"})
    finished(again, ("Complete", ""))


def _reaches(name: str, host: str, port: int, namespace: str) -> bool:
    """Whether a foreign pod can open a connection."""
    code = f"import socket,time;time.sleep(3);socket.create_connection(('{host}',{port}),4)"
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "c",
        "image": "localhost/batchscore:test",
        "imagePullPolicy": "Never",
        "args": ["python3", "-c", code],
        "securityContext": safe,
    }
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": whole, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl("create", "-f", "-", given=json.dumps(pod), namespace=namespace)
    phase = ("get", "pod", name, "-o", "jsonpath={.status.phase}")
    done = until(name, 60, lambda: (p := kubectl(*phase, namespace=namespace)) in ("Succeeded", "Failed") and p)
    kubectl("delete", "pod", name, "--wait=false", namespace=namespace)
    return done == "Succeeded"


def test_strangers_are_kept_out() -> None:
    """No foreign pod reaches the scheduler's ports, from this namespace or another; without the policies it would."""
    job = start("guarded", {"SECONDS": "20"})
    until("a part", 120, lambda: parts(job))
    (scheduler,) = scenes.get("pods", "-l", f"batchscore.io/job={job},dask.org/component=scheduler")["items"]
    address = scheduler["status"]["podIP"]
    kept_out = [
        _reaches(f"stranger-{namespace}-{port}", address, port, namespace)
        for namespace in ("scoring", "monitoring")
        for port in (8786, 8787)
    ]
    kubectl("delete", "networkpolicy", f"{scenes.NAME}-scheduler")
    let_in = _reaches("stranger-without", address, 8786, "monitoring")
    kubectl("delete", "job", job)
    scenes.install()

    assert kept_out == [False] * 4
    assert let_in
