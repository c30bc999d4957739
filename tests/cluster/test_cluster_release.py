"""Upgrade, rollback and uninstall on a real node, while runs go on."""

from __future__ import annotations

import time

import pytest
import scenes
from scenes import ending, get, helm, kubectl, left, names, parts, start, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500, func_only=True), pytest.mark.usefixtures("installed")]


def config_of(job: str) -> str:
    """Return the name of the ConfigMap that a Job's driver mounts."""
    volumes = get("job", job)["spec"]["template"]["spec"]["volumes"]
    return next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "config")


def configs() -> list[str]:
    """Return the names of the release's configurations."""
    return [name.removeprefix("configmap/") for name in names("configmaps", "-l", "app.kubernetes.io/component=config")]


def test_upgrade_and_rollback_in_mid_run() -> None:
    """A run keeps its own configuration over upgrade and rollback; unused ones are swept; the rollback brings the old back."""
    job = start("before", {"SECONDS": "5", "PARTS": "24"})
    old = config_of(job)
    until("a part", 120, lambda: parts(job))
    scenes.install("--set-json", "run.postprocess.threshold=0.8")
    during = configs()
    new = config_of(start("after", {"PARTS": "1"}))
    until("the end of the second run", 200, lambda: ending("after"))
    helm("rollback", scenes.RELEASE, "--wait", "--timeout", "240s")
    rolled = config_of(start("rolled", {"PARTS": "1"}))
    first = until("the end of the first run", 300, lambda: ending(job))
    until("the end of the third run", 300, lambda: ending("rolled"))
    scenes.install("--set-json", "run.postprocess.threshold=0.9")

    assert new != old
    assert sorted({old, new}) == [name for name in during if name in (old, new)]
    assert rolled == old
    assert first[0] == "Complete"
    assert parts(job) == 24
    assert len(configs()) == 1
    assert old not in configs()


def test_suspended() -> None:
    """A suspended CronJob starts nothing, and an unsuspended one starts a run at the minute, with its tick on it."""
    scenes.install("--set", "cronJob.suspend=true,run.schedule.cron=* * * * *")
    before = names("jobs")
    time.sleep(61)
    during = names("jobs")
    scenes.install("--set", "cronJob.suspend=false,run.schedule.cron=* * * * *")
    made = until("a Job of the CronJob", 90, lambda: sorted(set(names("jobs")) - set(before)))
    scenes.install()
    annotations = get("job", made[0].rpartition("/")[2])["metadata"]["annotations"]
    kubectl("delete", made[0])

    assert during == before
    assert "batch.kubernetes.io/cronjob-scheduled-timestamp" in annotations


def test_uninstall_in_mid_run() -> None:
    """Uninstall takes a running Job's cluster along, and leaves nothing but the claim."""
    job = start("last", {"SECONDS": "5"})
    until("a part", 120, lambda: parts(job))
    helm("uninstall", scenes.RELEASE, "--wait", "--timeout", "240s")
    kubectl("delete", "job", job, "--ignore-not-found")
    until("everything of the run gone", 120, lambda: not left(job))
    rest = until(
        "everything of the release gone",
        60,
        lambda: (
            (
                found := names(
                    "cronjobs,jobs,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,persistentvolumeclaims",
                    *("-l", f"app.kubernetes.io/instance={scenes.RELEASE}"),
                )
            )
            == ["persistentvolumeclaim/flights-batchscore"]
            and found
        ),
    )
    scenes.install()

    assert rest == ["persistentvolumeclaim/flights-batchscore"]
