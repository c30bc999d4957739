"""Removal of what a run created, and of what earlier runs left behind. Nothing in a blip is taken for "already gone"."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from batchscore.cluster import daskcluster
from batchscore.cluster.api import ApiServer, refused
from batchscore.cluster.job import Identity, is_finished
from batchscore.errors import NoCluster
from batchscore.logs import logger

_BELIEVED = 2
"""How often the API server must say in a row that an object does not exist."""
_REFUSALS = 5
"""How often a refused removal is tried again: an authorizer has blips too."""


def remove(api: ApiServer, namespace: str, clusters: Mapping[str, str | None], *, tls: bool, seconds: float) -> bool:
    """Ask for the removal of clusters and of their Secrets; return whether all was granted.

    Safe to run twice, and never raises for what the API server does: a removal that is refused is an error in the log,
    and the end of the Job, the operator's idle check and the next run's sweep come after it.

    Args:
        api: The API server.
        namespace: Where the clusters are.
        clusters: Their names, each with its uid if that is known.
        tls: Whether each has a Secret.
        seconds: For how long to ask.
    """
    until = time.monotonic() + seconds
    done = True
    for name, uid in clusters.items():
        problem = delete(api, daskcluster.path(namespace, name), until, uid=uid)
        if tls:
            problem = delete(api, daskcluster.secret_path(namespace, name), until) or problem
        if problem:
            done = False
            remedy = f"kubectl -n {namespace} delete daskcluster {name}; it goes with its Job in any case"
            logger(__name__).error("cluster_left_behind", cluster=name, reason=problem, remedy=remedy)
        else:
            logger(__name__).info("cluster_removal_asked", cluster=name)
    return done


def await_removal(
    api: ApiServer, namespace: str, clusters: Sequence[str], *, seconds: float, poll_seconds: float
) -> bool:
    """Wait until clusters are gone, for at most `seconds`; return whether they are. Never raises for the API server."""
    until = time.monotonic() + seconds
    left = list(clusters)
    while left and time.monotonic() < until:
        try:
            left = [name for name in left if not _is_gone(api, namespace, name, until)]
        except NoCluster:
            return False
        if left:
            time.sleep(max(0.0, min(poll_seconds, until - time.monotonic())))
    return not left


def sweep(api: ApiServer, identity: Identity, *, until: float) -> tuple[str, ...]:
    """Ask for the removal of clusters that earlier runs of the same owner left behind; return their names.

    A cluster is a leftover when it belongs to an earlier attempt of our own Job, or to a Job that is finished or gone.
    That of a Job which still runs is left alone.

    Raises:
        NoCluster: When clusters can not be listed or removed.
    """
    query = {"labelSelector": f"{daskcluster.OWNER}={identity.owner}"}
    answer = api.request("GET", daskcluster.path(identity.namespace), until=until, query=query)
    if answer.status == HTTPStatus.NOT_FOUND:
        return ()  # no such kind: creating says so in better words
    if not answer.ok:
        raise refused(answer, "list DaskClusters")
    found = [item["metadata"] for item in answer.body.get("items") or []]
    names = tuple(sorted(one["name"] for one in found if _is_leftover(api, identity, one, until)))
    for name in names:
        problem = delete(api, daskcluster.path(identity.namespace, name), until)
        if problem:
            raise NoCluster(
                f"the leftover Dask cluster '{name}' can not be removed: {problem}",
                slug="LEFTOVER",
                remedy=f"kubectl -n {identity.namespace} delete daskcluster {name}",
            )
        logger(__name__).warning("leftover_cluster_removed", cluster=name)
    return names


def delete(api: ApiServer, path: str, until: float, *, uid: str | None = None) -> str:
    """Delete an object; return why it may still be there, or nothing.

    "Gone" is believed only when the API server itself says so twice; a bare 404 and a refusal are tried again.

    Args:
        api: The API server.
        path: The object.
        until: The `time.monotonic()` at which to give up.
        uid: Delete only the object that has this uid.
    """
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    if uid is not None:
        body["preconditions"] = {"uid": uid}
    missing, refusals, problem = 0, 0, "no time was left to ask"
    while time.monotonic() < until and refusals < _REFUSALS:
        try:
            answer = api.request("DELETE", path, until=until, body=body)
        except NoCluster as error:
            return error.message
        if answer.ok or (
            answer.status == HTTPStatus.CONFLICT and uid is not None
        ):  # 409: another object has taken the name
            return ""
        missing = missing + 1 if answer.is_missing else 0
        if missing == _BELIEVED:
            return ""
        refusals += 0 if answer.is_missing else 1
        problem = f"{answer.status} {answer.message}"
        time.sleep(max(0.0, min(api.pause_seconds, until - time.monotonic())))
    return problem


def _is_gone(api: ApiServer, namespace: str, name: str, until: float) -> bool:
    return api.request("GET", daskcluster.path(namespace, name), until=until).is_missing


def _is_leftover(api: ApiServer, identity: Identity, metadata: Mapping[str, Any], until: float) -> bool:
    if metadata.get("deletionTimestamp"):
        return False
    uid = metadata.get("annotations", {}).get(daskcluster.JOB_UID)
    if uid == identity.job_uid:
        return True  # an earlier attempt: two pods of one Job never run at the same time
    job = metadata.get("labels", {}).get(daskcluster.JOB, "")
    answer = api.request("GET", f"/apis/batch/v1/namespaces/{identity.namespace}/jobs/{job}", until=until)
    if answer.is_missing:
        return True
    if not answer.ok:
        raise refused(answer, f"read the Job '{job}'")
    return bool(answer.body["metadata"]["uid"] != uid) or is_finished(answer.body)
