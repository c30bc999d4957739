"""Upgrade, rollback, pause and a second environment on a real node, while runs go on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import scenes
import world
from node.layout import VOLUME
from scenes import ending, finished, get, helm, kubectl, metadata, names, published, start_run, until
from timeline import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(700, func_only=True), pytest.mark.usefixtures("installed")]

OTHER = "scoring-dev"


def config_of(job: str) -> str:
    """Return the name of the ConfigMap that a Job's driver mounts."""
    volumes = get("job", job)["spec"]["template"]["spec"]["volumes"]
    return next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "config")


def configs() -> list[str]:
    """Return the names of the release's configurations."""
    return [name.removeprefix("configmap/") for name in names("configmaps", "-l", "app.kubernetes.io/component=config")]


def test_upgrade_and_rollback_in_mid_run(reference: dict[str, bytes], facts: dict[str, Any]) -> None:
    """A run keeps model and configuration over upgrade and rollback; the next has the new ones, and after the rollback the old."""
    job = start_run("before", scenes.SLOWLY)
    old = config_of(job)
    until("the first partitions", 240, lambda: scenes.records("before") >= 6)
    scenes.install(
        *("--set-string", f"run.model.version={world.NEXT_VERSION}", "--set", f"run.model.path={world.NEXT_MODEL}"),
        *("--set", f"run.model.sha256={facts['next_sha256']}", "--set-json", "run.postprocess.threshold=0.8"),
    )
    tell(f"helm upgrade is done; {scenes.records('before')} partitions are finished")
    during, running = configs(), ending(job) is None
    new = config_of(start_run("after", {}))
    helm("rollback", scenes.RELEASE, "--wait", "--timeout", "240s")
    tell("helm rollback is done")
    finished(job)
    finished("after")
    rolled = config_of(start_run("rolled", {}))
    finished("rolled")
    scenes.install("--set-json", "run.postprocess.threshold=0.9")
    swept = configs()
    scenes.install()

    assert running, "the run was over before the upgrade was"
    assert new != old
    assert {old, new} <= set(during)
    assert rolled == old
    assert published("outputs-before") == reference
    assert [metadata(f"outputs-{name}")["model_version"] for name in ("before", "after", "rolled")] == [
        "1.2.0",
        "1.3.0",
        "1.2.0",
    ]
    assert [metadata(f"outputs-{name}")["config"]["postprocess"]["threshold"] for name in ("after", "rolled")] == [
        0.8,
        0.5,
    ]
    assert published("outputs-rolled") == published("outputs")
    assert published("outputs-after") != published("outputs")
    assert len(swept) == 1
    assert swept[0] not in (old, new)


def test_suspended() -> None:
    """A suspended CronJob has started nothing since the storm, though it has a tick each minute."""
    cronjob = get("cronjob", scenes.NAME)
    last = datetime.fromisoformat(cronjob["status"]["lastScheduleTime"])
    until("three ticks since the last start", 240, lambda: datetime.now(UTC) - last > timedelta(minutes=3.2))

    assert cronjob["spec"]["suspend"] is True
    assert get("cronjob", scenes.NAME)["status"]["lastScheduleTime"] == cronjob["status"]["lastScheduleTime"]


def _deny_all(namespace: str) -> None:
    """Let no pod of a namespace reach or be reached by anything, but for what other policies allow."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny-all"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }
    kubectl("apply", "-f", "-", given=json.dumps(policy), namespace=namespace)


def test_two_environments(reference: dict[str, bytes]) -> None:
    """A second environment in a namespace that denies all traffic scores at the same time; its removal touches nothing of the first."""
    _deny_all(OTHER)
    changes = ("--set", "run.environment=dev,run.output.path=outputs-dev,metrics.forgetOnUninstall=false")
    scenes.install(*changes, namespace=OTHER)
    before = _all(scenes.NAMESPACE)
    job = start_run("beside", scenes.SLOWLY)
    until("the first partitions", 240, lambda: scenes.records("beside") >= 2)
    made = json.loads(
        kubectl(
            "create",
            "job",
            "beside-dev",
            f"--from=cronjob/{scenes.NAME}",
            "--dry-run=client",
            "-o",
            "json",
            namespace=OTHER,
        )
    )
    made["spec"]["template"]["spec"]["containers"][0]["args"] = list(scenes.run_arguments("dev", settings={}))
    kubectl("create", "-f", "-", given=json.dumps(made), namespace=OTHER)
    until("the end of the other environment's run", 200, lambda: ending("beside-dev", OTHER))
    helm("uninstall", scenes.RELEASE, "--wait", "--timeout", "240s", namespace=OTHER)
    tell("the other environment is uninstalled")
    finished(job)
    until("everything gone", scenes.GONE, lambda: not scenes.left(job) + scenes.left("beside-dev", OTHER))
    left = _all(OTHER)

    assert metadata("outputs-dev")["environment"] == "dev"
    assert (VOLUME / "outputs-dev").is_dir()
    assert published("outputs-beside") == reference
    assert _all(scenes.NAMESPACE) == before
    assert left == ["persistentvolumeclaim/flights-batchscore"]


def _all(namespace: str) -> list[str]:
    kinds = "cronjobs,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,persistentvolumeclaims"
    return names(kinds, "-l", f"app.kubernetes.io/instance={scenes.RELEASE}", namespace=namespace)
