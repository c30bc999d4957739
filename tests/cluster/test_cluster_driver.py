"""Exit codes, rights, pod security and network policies of the driver on a real node."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import scenes
import world
from scenes import drivers, error_of, exit_code, finished, get, kubectl, pods, start_run, until
from timeline import RECORD

from batchscore.cluster.job import SCHEDULED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True), pytest.mark.usefixtures("installed")]


@pytest.mark.parametrize(
    ("settings", "code", "wanted", "attempts"),
    [
        ({"snapshot.path": world.BROKEN}, 12, ("Failed", "PodFailurePolicy"), 1),
        ({"output.path": "/etc/batchscore/out"}, 23, ("Failed", "BackoffLimitExceeded"), 2),
    ],
    ids=["12 is final", "23 is tried again"],
)
def test_exit_codes(settings: dict[str, str], code: int, wanted: tuple[str, str], attempts: int) -> None:
    """A snapshot without a column fails the Job at once, a storage that can not be written is tried again."""
    job = start_run(f"exit-{code}", settings, backoffLimit=1)
    finished(job, wanted, 300)
    RECORD.endings.append(
        (
            {12: "a snapshot that lacks a column", 23: "an output folder that is read-only"}[code],
            str(exit_code(job)),
            error_of(job),
        )
    )

    assert exit_code(job) == code
    assert len(drivers(job)) == attempts


def test_retry_after_midnight(facts: dict[str, Any]) -> None:
    """Every attempt of a Job scores the date of its tick, in the schedule's time zone, however much later it runs."""
    zone = ZoneInfo("America/New_York")
    day = date.fromisoformat(facts["storm"]) - timedelta(days=facts["offset_days"])
    tick = datetime.combine(day, clock(23, 30), zone)
    settings = {"schedule.timezone": zone.key, "output.path": "/etc/batchscore/out"}
    job = start_run("late", settings, date="scheduled", annotations={SCHEDULED: tick.isoformat()}, backoffLimit=1)
    finished(job, ("Failed", "BackoffLimitExceeded"), 300)
    said = [kubectl("logs", pod["metadata"]["name"]) for pod in drivers(job)]

    assert len(said) == 2
    assert tick.astimezone(UTC).date() == day + timedelta(days=1)  # what a driver that forgot the zone would take
    for attempt in said:
        assert f"the Job 'late' was scheduled for {tick.astimezone(UTC).isoformat()}" in attempt
        assert f'"date": "{facts["storm"]}"' in attempt


def test_no_warning_of_pod_security() -> None:
    """The namespace enforces *restricted*: our pods run, and no Deployment of them would even be warned about."""
    job = start_run("restricted")
    until("two workers", 200, lambda: len(pods(job, "worker")) == 2)
    templates = [
        *[one["spec"]["template"] for one in get("deployments", "-l", f"batchscore.io/job={job}")["items"]],
        get("cronjob", scenes.NAME)["spec"]["jobTemplate"]["spec"]["template"],
    ]
    warnings = []
    for index, template in enumerate(templates):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"copy-{index}"},
            "spec": template["spec"],
        }
        done = scenes.inside(
            *("kubectl", "-n", scenes.NAMESPACE, "create", "--dry-run=server", "-f", "-"), given=json.dumps(pod)
        )
        warnings += done.stderr.splitlines()
    bad = {"containers": [{"name": "c", "image": "localhost/batchscore:test"}]}
    refused = scenes.inside(
        *("kubectl", "-n", scenes.NAMESPACE, "create", "--dry-run=server", "-f", "-"),
        given=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": bad}),
        check=False,
    )
    kubectl("delete", "job", job)

    assert len(templates) == 4
    assert warnings == []
    assert 'violates PodSecurity "restricted' in refused.stderr


RIGHTS = {
    "daskclusters": ("daskclusters", "create", "create the DaskCluster"),
    "secrets": ("secrets", "create", "create the Secret"),
    "pods": ("pods", "list", "list pods"),
    "jobs": ("jobs", "get", "read its Job"),
}
"""Each right that every run needs, and what the driver says without it."""


def _less(name: str) -> str:
    """Make an account whose Role has one right less, and a Job that runs as it."""
    resource, verb, _ = RIGHTS[name]
    role = get("role", scenes.NAME)
    rules = [
        {**rule, "verbs": [one for one in rule["verbs"] if (rule["resources"], one) != ([resource], verb)]}
        for rule in role["rules"]
    ]
    account = f"less-{name}"
    named: dict[str, Any] = {"metadata": {"name": account}}
    about = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": scenes.NAMESPACE}
    rbac = "rbac.authorization.k8s.io/v1"
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", **named},
        {"apiVersion": rbac, "kind": "Role", "rules": [rule for rule in rules if rule["verbs"]], **named},
        {"apiVersion": rbac, "kind": "RoleBinding", "subjects": [subject], **about, **named},
    ]
    kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    arguments = ("batchscore", "run", *scenes.CONFIGS, "--date", "scheduled", f"--set=output.path=outputs-{account}")
    made = json.loads(
        kubectl("create", "job", account, f"--from=cronjob/{scenes.NAME}", "--dry-run=client", "-o", "json")
    )
    pod = made["spec"]["template"]["spec"]
    pod["serviceAccountName"] = account
    pod["containers"][0]["args"] = list(arguments)
    made["spec"]["backoffLimit"] = 0
    kubectl("create", "-f", "-", given=json.dumps(made))
    return account


def test_one_right_less() -> None:
    """The Role is enough for every other run here; each right less ends with code 22 and the name of what is forbidden."""
    jobs = {name: _less(name) for name in RIGHTS}
    for name, job in jobs.items():
        finished(job, ("Failed", ""), 180)
        RECORD.endings.append(
            (f"a Role without {RIGHTS[name][1]} on {RIGHTS[name][0]}", str(exit_code(job)), error_of(job))
        )

    for name, job in jobs.items():
        assert exit_code(job) == 22
        assert error_of(job).startswith("error[E-CLUSTER-FORBIDDEN]: the driver may not")
        assert RIGHTS[name][2] in error_of(job)


def test_unschedulable() -> None:
    """Workers that no node has room for end the run with code 22 and the scheduler's own words, and leave nothing."""
    job = start_run(
        "unschedulable",
        {"cluster.start_minutes": "0.5", "cluster.kubernetes.worker.node_selector": '{"disk": "none"}'},
        backoffLimit=0,
    )
    finished(job, ("Failed", "BackoffLimitExceeded"), 180)
    RECORD.endings.append(("no node has the label that workers need", str(exit_code(job)), error_of(job)))
    until("nothing left", scenes.GONE, lambda: not scenes.left(job))

    assert exit_code(job) == 22
    assert error_of(job).startswith("error[E-CLUSTER-UNSCHEDULABLE]")


def _stranger(name: str, host: str, ports: tuple[int, ...], namespace: str) -> dict[int, bool]:
    """Return which ports a foreign pod can open."""
    code = (
        "import socket,sys,time;time.sleep(3)\n"
        f"for port in {ports}:\n"
        f" try: socket.create_connection(('{host}',port),4); print(port,'open')\n"
        " except OSError as error: print(port,'closed')\n"
    )
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
    until(name, 120, lambda: kubectl(*phase, namespace=namespace) in ("Succeeded", "Failed"))
    said = kubectl("logs", name, namespace=namespace).split("\n")
    kubectl("delete", "pod", name, "--wait=false", namespace=namespace)
    return {int(line.split()[0]): line.endswith("open") for line in said if line}


def test_strangers_are_kept_out() -> None:
    """No foreign pod reaches scheduler, workers or their HTTP ports, from this namespace or another; without the policies it would."""
    job = scenes.start_probe("guarded", {"SECONDS": "30", "PARTS": "60"})  # it is deleted long before
    until("two running workers", 200, lambda: len(pods(job, "worker", phase="Running")) == 2)

    def address(component: str) -> str:
        found: str = get("pods", "-l", f"batchscore.io/job={job},dask.org/component={component}")["items"][0]["status"][
            "podIP"
        ]
        return found

    scheduler, worker = address("scheduler"), address("worker")
    refused = {
        **{("own", port): it for port, it in _stranger("stranger", scheduler, (8786, 8787), "scoring").items()},
        **{("worker", port): it for port, it in _stranger("near-worker", worker, (8788,), "scoring").items()},
        **{("far", port): it for port, it in _stranger("far", scheduler, (8786, 8787), "monitoring").items()},
    }
    kubectl("delete", "networkpolicy", f"{scenes.NAME}-scheduler", f"{scenes.NAME}-worker")
    open_then = _stranger("far-without", scheduler, (8786, 8787), "monitoring") | _stranger(
        "far-worker", worker, (8788,), "monitoring"
    )
    kubectl("delete", "job", job)
    scenes.install()

    assert refused == dict.fromkeys(refused, False)
    assert len(refused) == 5
    assert open_then == {8786: True, 8787: True, 8788: True}


def test_helm_test() -> None:
    """`helm test` validates configuration, schema and model from inside the cluster."""
    done = scenes.helm("test", scenes.RELEASE, "--logs", "--timeout", "120s", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Succeeded" in done.stdout


def test_operator_is_down(facts: dict[str, Any]) -> None:
    """Without an operator the run ends with code 22 and says so; once it is back the left object goes."""
    kubectl("scale", "deployment", "--all", "--replicas=0", namespace="dask-operator")
    until("no operator", 60, lambda: not scenes.names("pods", namespace="dask-operator"))
    job = start_run("no-operator", {"cluster.start_minutes": "0.4"}, backoffLimit=0)
    finished(job, ("Failed", "BackoffLimitExceeded"), 180)
    RECORD.endings.append(("the operator is down", str(exit_code(job)), error_of(job)))
    kubectl("scale", "deployment", "--all", "--replicas=1", namespace="dask-operator")
    until("nothing left", scenes.GONE, lambda: not scenes.left(job))

    assert exit_code(job) == 22
    assert error_of(job).startswith("error[E-CLUSTER-OPERATOR]")


def test_backfill(facts: dict[str, Any]) -> None:
    """The one-off Job of the chart scores past dates, each with a cluster of its own."""
    days = facts["fridays"][0]
    made = scenes.inside(
        *("helm", "-n", scenes.NAMESPACE, "template", scenes.RELEASE, scenes.CHART),
        *("-f", scenes.RUN / "flights.values.json", "-f", scenes.HERE / "values.yaml"),
        *("--api-versions", "kubernetes.dask.org/v1", "--show-only", "templates/backfill-job.yaml"),
        *("--set", f"backfill.enabled=true,backfill.from={_after(days, 1)},backfill.to={_after(days, 2)}"),
    ).stdout
    (job,) = [name.rpartition("/")[2] for name in kubectl("create", "-f", "-", "-o", "name", given=made).split()]
    finished(job)

    for distance in (1, 2):
        assert scenes.metadata("outputs", _after(days, distance))["run_type"] == "backfill"


def _after(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
