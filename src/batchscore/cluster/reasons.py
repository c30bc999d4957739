"""Why pods do not come, in one sentence: from what the API server says of pods, events and the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COMPONENT = "dask.org/component"

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CRASH = frozenset({"CrashLoopBackOff"})
_CRASHES = 2
"""Restarts after which a container that is not ready counts as crashing, also while it happens to run."""
_REFERENCE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})

REMEDIES: Mapping[str, str] = {
    "IMAGE": "check image.repository, image.digest and image.pullSecrets, and that the nodes reach the registry",
    "CRASH": "read the log lines; the image must be the driver's own, with `dask` on its path",
    "REFERENCE": "make what the message names, such as a Secret, a ConfigMap or a claim",
    "UNSCHEDULABLE": "lower cluster.kubernetes.worker.resources, tolerate the nodes' taints, or add nodes",
    "QUOTA": "raise the namespace's quota, or lower resources and cluster.kubernetes.max_workers",
    "POLICY": "see which admission rule the message names; the pods keep the security standard 'restricted'",
    "EVICTED": "give the nodes room, or set a priority class",
    "STARTING": "raise cluster.start_minutes if that is only slow",
    "EVENT": "mend what the event names",
    "OPERATOR": "see that the dask-kubernetes operator runs and watches this namespace: `kubectl get pods -A | grep dask`",
}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One reason why a pod is not there."""

    slug: str
    """What kind of reason; a key of `REMEDIES`."""
    text: str
    """The fact, as part of a sentence."""
    lasting: bool
    """Whether waiting seldom helps, so that the run may give up before its deadline."""
    pod: str | None = None
    """The pod's name; None when there is not even a pod."""


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready and not about to go."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def component(pod: Mapping[str, Any]) -> str:
    """Return whether a pod is the `scheduler` or a `worker`."""
    return str(pod["metadata"].get("labels", {}).get(COMPONENT, ""))


def ready(pods: Iterable[Mapping[str, Any]], kind: str) -> int:
    """Return how many pods of a kind are ready."""
    return sum(is_ready(pod) for pod in pods if component(pod) == kind)


def pod_troubles(pods: Sequence[Mapping[str, Any]]) -> tuple[Trouble, ...]:
    """Return what keeps pods from being ready: the scheduler's first, the lasting ones first, then by name."""
    waiting = [pod for pod in pods if not is_ready(pod)]
    found = [(component(pod) != "scheduler", trouble) for pod in waiting for trouble in _of_pod(pod)]
    return tuple(trouble for _, trouble in sorted(found, key=lambda pair: (pair[0], not pair[1].lasting, pair[1].text)))


def _of_pod(pod: Mapping[str, Any]) -> Iterator[Trouble]:
    name = pod["metadata"]["name"]
    who = f"the {component(pod)} pod '{name}'"
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        fact = f"{who} has failed ({_said(status, 'no reason given')})"
        yield Trouble(slug="EVICTED", text=fact, lasting=False, pod=name)
        return
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            fact = f"{who} can not be scheduled ({_said(condition, 'no reason given')})"
            yield Trouble(slug="UNSCHEDULABLE", text=fact, lasting=False, pod=name)
            return
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    yield from _of_containers(name, who, containers) if containers else iter(())
    if not containers:
        yield Trouble(slug="STARTING", text=f"{who} has not started", lasting=False, pod=name)


def _of_containers(name: str, who: str, containers: Sequence[Mapping[str, Any]]) -> Iterator[Trouble]:
    for container in containers:
        state = container.get("state", {})
        waiting = state.get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _IMAGE:
            fact = f"{who} can not get its image '{container.get('image', '')}' ({_said(waiting, reason)})"
            yield Trouble(slug="IMAGE", text=fact, lasting=True, pod=name)
        elif reason in _CRASH or (not container.get("ready") and container.get("restartCount", 0) >= _CRASHES):
            fact = f"{who} crashes again and again ({_ending(container)})"
            yield Trouble(slug="CRASH", text=fact, lasting=True, pod=name)
        elif reason in _REFERENCE:
            fact = f"{who} can not be started ({_said(waiting, reason)})"
            yield Trouble(slug="REFERENCE", text=fact, lasting=True, pod=name)
        elif not container.get("ready"):
            fact = f"{who} is not ready yet ({reason or _ending(container)})"
            yield Trouble(slug="STARTING", text=fact, lasting=False, pod=name)


def no_pods(cluster: str, pods: Sequence[Mapping[str, Any]], *, enough: int) -> Trouble:
    """Return what is left to say when nothing complains: the operator did not make the pods, or not all of them."""
    if not pods:
        fact = f"the operator has made no pod for the DaskCluster '{cluster}'"
    elif not ready(pods, "scheduler"):
        fact = f"the operator has made no scheduler for the DaskCluster '{cluster}'"
    else:
        fact = f"{ready(pods, 'worker')} of {enough} workers of the DaskCluster '{cluster}' came"
    return Trouble(slug="OPERATOR", text=fact, lasting=False)


def event_troubles(events: Iterable[Mapping[str, Any]], cluster: str) -> tuple[Trouble, ...]:
    """Return what the warnings about the objects of a cluster say, the newest first.

    Args:
        events: Events of the namespace.
        cluster: The cluster's name; its objects' names begin with it.
    """
    ours = [
        event
        for event in events
        if event.get("type") == "Warning"
        and str(event.get("involvedObject", {}).get("name", "")).startswith(f"{cluster}-")
    ]
    newest = sorted(
        ours, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True
    )
    return tuple(_of_event(event) for event in newest)


def _of_event(event: Mapping[str, Any]) -> Trouble:
    message = " ".join(str(event.get("message", "")).split())[:400]
    involved = event["involvedObject"]
    if "exceeded quota" in message:
        slug = "QUOTA"
    elif "violates PodSecurity" in message or "denied the request" in message or "is forbidden" in message:
        slug = "POLICY"
    else:
        slug = "EVENT"
    fact = (
        f"{involved.get('kind', 'object')} '{involved['name']}' reports {event.get('reason', 'a warning')}: {message}"
    )
    return Trouble(slug=slug, text=fact, lasting=False)


def _said(source: Mapping[str, Any], otherwise: str) -> str:
    words = [str(source.get(key) or "") for key in ("reason", "message")]
    return " ".join(": ".join(word for word in words if word).split())[:400] or otherwise


def _ending(container: Mapping[str, Any]) -> str:
    last = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    if not last:
        return "running, not ready"
    return f"{last.get('reason', 'ended')}, exit code {last.get('exitCode', 'unknown')}"
