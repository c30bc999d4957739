"""The failure table of the Kubernetes driver: each row ends in its code and its words, before its deadline, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from apiserver import Fault, Script, healthy, nothing, pod, status, waiting
from scripted import attempt

DEADLINE, FAR = 5.0, 15.0
"""Seconds: for rows that last until the deadline, and for those that must end well before it."""
CLUSTERS, PODS = r"/daskclusters$", r"/pods$"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to fail."""

    name: str
    """What goes wrong."""
    script: Callable[[], Script]
    """The API server that makes it so."""
    code: int = 22
    """The exit code."""
    slug: str
    """The error's name."""
    words: tuple[str, ...]
    """What the message must say."""
    early: bool = False
    """Whether it must end well before the deadline."""
    log: list[str] = field(default_factory=list)
    """The log lines that the error must carry."""


def _scheduler(**state: Any) -> Callable[[], Script]:
    return lambda: Script(pods=lambda cluster, workers, age: [pod(cluster, "scheduler", **state)])


def _worker(**state: Any) -> Callable[[], Script]:
    def pods(cluster: str, workers: int, age: float) -> list[dict[str, Any]]:
        return [
            pod(cluster, "scheduler", ready=True),
            pod(cluster, "worker", 0, ready=True),
            pod(cluster, "worker", 1, **state),
        ]

    return lambda: Script(pods=pods)


def _unschedulable(reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason}]}


def _event(kind: str, suffix: str, reason: str, message: str) -> Callable[[str], list[dict[str, Any]]]:
    return lambda cluster: [
        {
            "type": "Warning",
            "reason": reason,
            "message": message,
            "metadata": {"name": f"{cluster}.1"},
            "involvedObject": {"kind": kind, "name": f"{cluster}{suffix}"},
            "lastTimestamp": "2013-02-09T03:00:00Z",
        },
        {
            "type": "Warning",
            "reason": "Foreign",
            "message": "nothing to do with us",
            "metadata": {"name": "other.1"},
            "involvedObject": {"kind": "Pod", "name": "other-thing"},
            "lastTimestamp": "2013-02-09T04:00:00Z",
        },
    ]


QUOTA = 'pods "x" is forbidden: exceeded quota: small, requested: memory=2Gi, used: memory=2Gi, limited: memory=2Gi'
OOM = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 3}
DIED = {"lastState": {"terminated": {"reason": "Error", "exitCode": 1}}, "restartCount": 3}

ROWS = (
    Row(
        name="image can not be pulled",
        script=_scheduler(**waiting("ImagePullBackOff", 'Back-off pulling image "registry/batchscore"')),
        slug="IMAGE",
        words=("the scheduler pod", "can not get its image 'registry/batchscore@sha256:1'", "Back-off pulling image"),
        early=True,
    ),
    Row(
        name="image name is none",
        script=_worker(**waiting("InvalidImageName", "couldn't parse image")),
        slug="IMAGE",
        words=("the worker pod", "InvalidImageName: couldn't parse image"),
        early=True,
    ),
    Row(
        name="nothing to schedule on",
        script=_scheduler(**_unschedulable("0/3 nodes are available: 3 Insufficient memory.")),
        slug="UNSCHEDULABLE",
        words=(
            "the scheduler pod",
            "can not be scheduled (Unschedulable: 0/3 nodes are available: 3 Insufficient memory.)",
        ),
    ),
    Row(
        name="crash loop",
        script=lambda: Script(
            pods=lambda cluster, workers, age: [pod(cluster, "scheduler", **waiting("CrashLoopBackOff", **DIED))],
            logs={"previous": "Traceback:\nModuleNotFoundError: No module named 'dask'\n"},
        ),
        slug="CRASH",
        words=(
            "crashes again and again (Error, exit code 1)",
            "last words: ModuleNotFoundError: No module named 'dask'",
        ),
        early=True,
        log=["Traceback:", "ModuleNotFoundError: No module named 'dask'"],
    ),
    Row(
        name="crash loop whose first life is still in the log",
        script=lambda: Script(
            pods=lambda cluster, workers, age: [pod(cluster, "scheduler", **waiting("CrashLoopBackOff", **OOM))],
            logs={"current": "starting\n"},
        ),
        slug="CRASH",
        words=("OOMKilled, exit code 137", "last words: starting"),
        early=True,
        log=["starting"],
    ),
    Row(
        name="a Secret that is not there",
        script=_worker(**waiting("CreateContainerConfigError", 'secret "s3" not found')),
        slug="REFERENCE",
        words=("the worker pod", 'secret "s3" not found'),
        early=True,
    ),
    Row(
        name="operator down",
        script=lambda: Script(pods=nothing),
        slug="OPERATOR",
        words=("the operator has made no pod for the DaskCluster 'flights-11112222-",),
    ),
    Row(
        name="quota holds pods back",
        script=lambda: Script(pods=nothing, events=_event("ReplicaSet", "-scheduler-5d", "FailedCreate", QUOTA)),
        slug="QUOTA",
        words=("ReplicaSet 'flights-", "reports FailedCreate", "exceeded quota: small"),
    ),
    Row(
        name="pod security refuses pods",
        script=lambda: Script(
            pods=nothing,
            events=_event("ReplicaSet", "-scheduler-5d", "FailedCreate", 'violates PodSecurity "restricted:latest"'),
        ),
        slug="POLICY",
        words=("violates PodSecurity",),
    ),
    Row(
        name="a volume can not be mounted",
        script=lambda: Script(
            pods=lambda cluster, workers, age: [pod(cluster, "scheduler", **waiting("ContainerCreating"))],
            events=_event("Pod", "-scheduler-abc", "FailedMount", 'claim "data" not found'),
        ),
        slug="EVENT",
        words=("Pod 'flights-", 'reports FailedMount: claim "data" not found'),
    ),
    Row(
        name="operator's kinds are missing",
        script=lambda: Script(knows_dask=False),
        slug="NO-CRD",
        words=("does not know kubernetes.dask.org/v1",),
        early=True,
    ),
    Row(
        name="worker count is never reached",
        script=lambda: Script(
            pods=lambda cluster, workers, age: [
                pod(cluster, "scheduler", ready=True),
                pod(cluster, "worker", 0, ready=True),
                pod(cluster, "worker", 1, **_unschedulable("0/3 nodes are available")),
            ]
        ),
        slug="UNSCHEDULABLE",
        words=("the worker pod", "0/3 nodes are available"),
    ),
    Row(
        name="operator makes one worker only",
        script=lambda: Script(pods=lambda cluster, workers, age: healthy(cluster, 1, age)),
        slug="OPERATOR",
        words=("1 of 2 workers of the DaskCluster 'flights-",),
    ),
    Row(
        name="quota refuses the cluster itself",
        script=lambda: Script(faults=[Fault("POST", CLUSTERS, 403, body=status(403, "Forbidden", QUOTA)[1])]),
        slug="QUOTA",
        words=("exceeded quota: small",),
        early=True,
    ),
    Row(
        name="the server finds the object malformed",
        script=lambda: Script(
            faults=[Fault("POST", CLUSTERS, 422, body=status(422, "Invalid", "spec.worker: Invalid value")[1])]
        ),
        code=10,
        slug="DASKCLUSTER",
        words=("spec.worker: Invalid value",),
        early=True,
    ),
    Row(
        name="the API server is overloaded for ever",
        script=lambda: Script(faults=[Fault("GET", PODS, 429)]),
        slug="API",
        words=("did not answer GET", "429"),
    ),
    Row(
        name="the API server hangs for ever",
        script=lambda: Script(faults=[Fault("POST", CLUSTERS, -1)]),
        slug="API",
        words=("did not answer POST", "silence for"),
    ),
    Row(
        name="the API server breaks every connection",
        script=lambda: Script(faults=[Fault("GET", "", 0), Fault("POST", "", 0)]),
        slug="API",
        words=("did not answer GET",),
    ),
    Row(
        name="every name is taken",
        script=lambda: Script(faults=[Fault("POST", "/secrets$", 409, body=status(409, "AlreadyExists", "exists")[1])]),
        slug="NAME-CLASH",
        words=("each of 3 random names",),
        early=True,
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Row, ended: Callable[..., None]) -> None:
    """It ends in its code and words, in time, and removes what it made."""
    script = row.script()
    deadline = FAR if row.early else DEADLINE
    result = attempt(script, deadline=deadline)
    error = result.error
    ended(row.name, error, seconds=result.seconds, deadline=deadline)

    assert error is not None
    assert (error.exit_code, error.slug) == (row.code, row.slug), error.message
    assert [word for word in row.words if word not in error.message] == []
    assert error.remedy
    assert error.context.get("log", []) == row.log
    assert result.seconds < (deadline * 0.7 if row.early else deadline + 2)
    assert (script.clusters, script.secrets) == ({}, {})


def test_the_last_answer_is_told() -> None:
    """A silence that only the driver's own deadline cuts short does not hide what the API server said before."""
    script = Script(faults=[Fault("GET", PODS, 429, times=2), Fault("GET", PODS, -1)])
    error = attempt(script, deadline=DEADLINE).error

    assert error is not None
    assert "429" in error.message


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", CLUSTERS, 500, times=2),
        Fault("POST", CLUSTERS, 0, times=2),
        Fault("POST", CLUSTERS, -2, times=1),
        Fault("POST", "/secrets$", -2, times=1),
        Fault("GET", PODS, 429, times=3),
        Fault("GET", PODS, 503, times=3, body="upstream connect error"),
        Fault("GET", CLUSTERS, 0, times=3),
        Fault("GET", r"/daskclusters/", 404, times=3, body="404 page not found\n"),
        Fault("GET", r"/daskclusters/", 500, times=2),
    ],
    ids=lambda fault: f"{fault.method} {fault.path} {fault.status}",
)
def test_blips_are_survived(fault: Fault) -> None:
    """A few bad answers, lost answers of a create among them, change nothing: one cluster, used and removed."""
    script = Script(faults=[fault], pods=lambda cluster, workers, age: healthy(cluster, workers, age - 0.3))
    result = attempt(script)
    created = [name for name in script.born if name == result.seen]

    assert result.error is None
    assert created == [result.seen]
    assert script.clusters == {}
    assert result.seen is not None


@pytest.mark.parametrize(
    "fault",
    [
        Fault("DELETE", r"/daskclusters/", 404, times=1, body="404 page not found\n"),
        Fault("DELETE", r"/daskclusters/", 404, times=1, body=status(404, "NotFound", "not found")[1]),
        Fault("DELETE", r"/daskclusters/", 403, times=3, body=status(403, "Forbidden", "no")[1]),
        Fault("DELETE", r"/daskclusters/", 500, times=3),
        Fault("DELETE", r"/daskclusters/", 0, times=3),
    ],
    ids=lambda fault: f"{fault.status} {str(fault.body)[:12]}",
)
def test_removal_survives_blips(fault: Fault) -> None:
    """A delete that is told 404, 403 or nothing is not taken for done: the cluster goes in the end."""
    script = Script(faults=[fault])
    result = attempt(script)

    assert result.error is None
    assert script.clusters == {}
    assert script.secrets == {}


def test_removal_that_stays_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A delete that is always refused ends soon, fails nothing that is published, and says what to do by hand."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", 403, body=status(403, "Forbidden", "no")[1])])
    result = attempt(script, removal_wait_seconds=0)

    assert result.error is None
    assert result.seconds < 3
    assert len(script.clusters) == 1
    assert "cluster_left_behind" in "".join(capsys.readouterr())


@pytest.mark.parametrize("right", sorted(Script().rights), ids=lambda right: " ".join(part for part in right if part))
def test_one_right_less(right: tuple[str, str, str], ended: Callable[..., None]) -> None:
    """Each right of the Role is needed: without it something that the driver does is refused, and the message names it."""
    deleting = right[2] == "delete"
    crash = right[1] == "pods/log"
    script = Script(
        rights=Script().rights - {right},
        pods=lambda cluster, workers, age: (
            healthy(cluster, workers, age)
            if deleting or right[1] == "jobs"
            else [pod(cluster, "scheduler", **(waiting("CrashLoopBackOff", **DIED) if crash else {}))]
        ),
    )
    script.clusters["old"] = _leftover("old", job="old", uid="9")
    result = attempt(script, deadline=8.0, removal_wait_seconds=0)
    left = [name for name in (*script.clusters, *script.secrets) if name != "old"]
    ended(f"no right to {right[2]} {right[1]}", result.error, seconds=result.seconds, deadline=8.0)

    if right[1] == "secrets" and deleting:
        assert left == list(script.secrets)
        assert len(left) == 1
    else:
        assert result.error is not None
        assert result.error.slug in ("FORBIDDEN", "LEFTOVER")
        assert f'cannot {right[2]} resource "{right[1]}"' in result.error.message


def _leftover(name: str, *, job: str, uid: str, owner: str = "flights") -> dict[str, Any]:
    labels = {"batchscore.io/owner": owner, "batchscore.io/job": job}
    annotations = {"batchscore.io/job-uid": uid}
    metadata = {"name": name, "uid": f"uid-{name}", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "spec": {"worker": {"replicas": 1}}}


def test_leftovers_are_swept() -> None:
    """Clusters of finished, vanished and replaced Jobs and of our own earlier attempt go; those of running Jobs and others stay."""
    script = Script()
    script.job("running", "1")
    script.job("done", "2", finished="Complete")
    script.job("failed", "3", finished="Failed")
    script.job("again", "5")
    script.job("flights-1", "11112222-3333")
    for name, job, uid in (
        ("a-running", "running", "1"),
        ("b-done", "done", "2"),
        ("c-failed", "failed", "3"),
        ("d-gone", "gone", "4"),
        ("e-replaced", "again", "older"),
        ("f-attempt", "flights-1", "11112222-3333"),
    ):
        script.clusters[name] = _leftover(name, job=job, uid=uid)
    script.clusters["g-foreign"] = _leftover("g-foreign", job="gone", uid="6", owner="other")
    result = attempt(script)

    assert result.error is None
    assert sorted(script.clusters) == ["a-running", "g-foreign"]


def test_leftover_is_not_guessed() -> None:
    """While the API server can not say whether a Job runs, its cluster is left alone and the run ends with the reason."""
    script = Script(faults=[Fault("GET", r"/jobs/", 500)])
    script.clusters["old"] = _leftover("old", job="running", uid="1")
    result = attempt(script, deadline=1.0)

    assert result.error is not None
    assert result.error.slug == "API"
    assert sorted(script.clusters) == ["old"]


def test_name_clash_is_not_joined() -> None:
    """A name that is somebody else's is neither used nor removed; another is taken."""
    taken: list[str] = []
    script = Script()

    class Taken(dict):  # type: ignore[type-arg]
        def __contains__(self, name: object) -> bool:
            if not taken and str(name).startswith("flights-"):
                taken.append(str(name))
                self[name] = {"metadata": {"name": name, "uid": "foreign", "annotations": {}, "labels": {}}}
            return super().__contains__(name)

    script.clusters = Taken()
    result = attempt(script)

    assert result.error is None
    assert result.seen not in taken
    assert list(script.clusters) == taken
    assert script.secrets == {}


def test_removed_under_our_eyes() -> None:
    """A cluster that somebody deletes while it is waited for ends the wait at once."""
    script = Script()

    def pods(cluster: str, workers: int, age: float) -> list[dict[str, Any]]:
        if age > 0.5:
            script.clusters.pop(cluster)
        return []

    script.pods = pods
    result = attempt(script)

    assert result.error is not None
    assert result.error.slug == "REMOVED"
    assert result.seconds < 3


def test_lost_scheduler() -> None:
    """A scheduler that is lost is waited for again, and one that does not come back ends with the reason."""
    script = Script()

    def body(cluster: Any) -> tuple[bool, str]:
        import time

        now = time.monotonic()
        name = cluster.name
        back = now + 0.5 - script.born[name]
        script.pods = lambda cluster, workers, age: healthy(cluster, workers, age - back)
        cluster.wait(now + 4)
        waited = time.monotonic() - now
        script.pods = nothing
        cluster.wait(time.monotonic() + 5)  # a fifth of it is for the reason
        return waited > 0.5, "never"

    result = attempt(script, body=body)

    assert result.error is not None
    assert result.error.slug == "OPERATOR"
    assert result.seen is None
    assert script.clusters == {}


def test_slow_removal_is_not_waited_for() -> None:
    """A cluster that takes its time to go holds the run up only so long."""
    script = Script(removal_seconds=60)
    result = attempt(script, removal_wait_seconds=1)

    assert result.error is None
    assert 1 <= result.seconds < 3


def test_failure_of_the_run_removes_the_cluster() -> None:
    """Whatever the run itself raises comes through, and the cluster goes."""
    script = Script()

    def body(cluster: Any) -> None:
        raise KeyError(cluster.name)

    with pytest.raises(KeyError):
        attempt(script, body=body)

    assert script.clusters == {}


def test_no_right_too_many() -> None:
    """Together the rows above use every right of the Role, so the Role has none to spare."""
    used = set()
    for script in (
        Script(pods=nothing),
        Script(pods=lambda cluster, workers, age: [pod(cluster, "scheduler", **waiting("CrashLoopBackOff"))]),
    ):
        script.clusters["old"] = _leftover("old", job="gone", uid="1")
        attempt(script, deadline=8.0)
        used |= script.used

    assert used == Script().rights
