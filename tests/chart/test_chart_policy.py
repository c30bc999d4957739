"""Pod security and good manners, as own checks: every pod of the chart passes, and a bad pod would not.

Left out on purpose: CPU limits (a throttled driver misses its deadlines for nothing) and liveness probes
(a Job's pod that hangs is ended by `activeDeadlineSeconds`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from rendering import Render, pod_specs

Pod = dict[str, Any]

EVERYTHING = (
    "--set",
    "backfill.enabled=true,backfill.from=2013-01-01,backfill.to=2013-01-31,storage.objectStore.enabled=true",
    "--set",
    "storage.objectStore.secret=credentials,image.pullSecrets={registry}",
)


def faults(pod: Pod) -> list[str]:
    """Return what the pod security standard *restricted*, and our own rules, have against a pod."""
    security = pod.get("securityContext", {})
    found = []
    if not security.get("runAsNonRoot") or security.get("runAsUser") != 10001:
        found.append("may run as root")
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("has no seccomp profile")
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("shares a namespace of the host")
    if pod.get("enableServiceLinks") is not False:
        found.append("gets the environment of every service")
    if "automountServiceAccountToken" not in pod:
        found.append("leaves the token to chance")
    found += [f"has volume {volume['name']} of the host" for volume in pod.get("volumes", []) if "hostPath" in volume]
    found += [
        f"has scratch {volume['name']} without limit"
        for volume in pod.get("volumes", [])
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]
    ]
    return found + [fault for container in pod["containers"] for fault in container_faults(container)]


def container_faults(container: Pod) -> list[str]:
    """Return the same for one container."""
    security = container.get("securityContext", {})
    resources = container.get("resources", {})
    found = []
    if security.get("allowPrivilegeEscalation") is not False:
        found.append("may escalate privileges")
    if security.get("readOnlyRootFilesystem") is not True:
        found.append("has a writable root")
    if security.get("capabilities") != {"drop": ["ALL"]}:
        found.append("keeps capabilities")
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        found.append("does not say what it needs")
    if "@sha256:" not in container["image"]:
        found.append("has no pinned image")
    if "command" in container:
        found.append("replaces the entrypoint")
    return found


def test_every_pod_is_restricted(render: Render) -> None:
    """Driver, backfill, test and hook pods keep all rules."""
    specs = pod_specs(render(*EVERYTHING))

    assert set(specs) == {
        "CronJob/flights-batchscore",
        "Pod/flights-batchscore-validate",
        *(name for name in specs if name.startswith("Job/flights-batchscore-backfill-")),
        "Job/flights-batchscore-sweep",
        "Job/flights-batchscore-wait",
        "Job/flights-batchscore-forget",
        "Job/flights-batchscore-clean",
    }
    assert {name: faults(spec) for name, spec in specs.items() if faults(spec)} == {}


def _privileged(pod: Pod) -> None:
    pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True


def _host_path(pod: Pod) -> None:
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


def _unlimited(pod: Pod) -> None:
    del pod["containers"][0]["resources"]["limits"]


def _root(pod: Pod) -> None:
    pod["securityContext"]["runAsUser"] = 0


def _by_tag(pod: Pod) -> None:
    pod["containers"][0]["image"] = "batchscore:1"


@pytest.mark.parametrize("spoil", [_privileged, _host_path, _unlimited, _root, _by_tag])
def test_checks_have_teeth(render: Render, spoil: Callable[[Pod], None]) -> None:
    """Each bad thing that is done to a pod is found."""
    pod = copy.deepcopy(pod_specs(render(*EVERYTHING))["CronJob/flights-batchscore"])
    spoil(pod)

    assert len(faults(pod)) == 1


def test_tokens_only_where_needed(render: Render) -> None:
    """Only pods that talk to the API server get a token, and no service account mounts one by itself."""
    objects = render(*EVERYTHING)
    with_token = {
        name.split("-batchscore")[1][:9]
        for name, spec in pod_specs(objects).items()
        if spec["automountServiceAccountToken"]
    }

    assert with_token == {"", "-backfill", "-sweep", "-wait", "-clean"}
    assert all(not item["automountServiceAccountToken"] for item in objects if item["kind"] == "ServiceAccount")


def test_roles_are_narrow(render: Render) -> None:
    """No role watches, uses a wildcard, reads a secret, or makes a pod."""
    rules = [rule for item in render(*EVERYTHING) if item["kind"] == "Role" for rule in item["rules"]]
    rights = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert not {verb for _, _, verb in rights} & {"watch", "*", "patch", "update", "deletecollection", "escalate"}
    assert ("", "secrets", "get") not in rights
    assert ("", "secrets", "list") not in rights
    assert ("", "pods", "create") not in rights
    assert not [right for right in rights if "*" in right]
