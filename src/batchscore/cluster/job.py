"""The Job that this driver is a pod of: who we are, and when we were due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchscore.cluster.api import ApiServer, refused
from batchscore.errors import NoCluster, UsageError

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the platform injects into the driver's pod."""

    namespace: str
    """The namespace."""
    pod: str
    """The pod's name: one attempt of the Job."""
    job: str
    """The Job's name."""
    job_uid: str
    """The Job's uid; it owns all that a run creates."""
    owner: str
    """The name that all Jobs of one CronJob share; for a one-off Job its own name."""
    config_map: str | None = None
    """The ConfigMap with the configuration, which scheduler and workers mount too."""


def identity_from(environ: Mapping[str, str]) -> Identity | None:
    """Return who we are; None outside a Job of the chart."""
    names = ("BATCHSCORE_NAMESPACE", "BATCHSCORE_POD", "BATCHSCORE_JOB", "BATCHSCORE_JOB_UID", "BATCHSCORE_OWNER")
    found = [environ.get(name, "") for name in names]
    if not all(found):
        return None
    namespace, pod, job, job_uid, owner = found
    config_map = environ.get("BATCHSCORE_CONFIG") or None
    return Identity(namespace=namespace, pod=pod, job=job, job_uid=job_uid, owner=owner, config_map=config_map)


def read_job(api: ApiServer, identity: Identity, *, until: float) -> Mapping[str, Any]:
    """Return our own Job as the API server has it.

    Raises:
        NoCluster: When it can not be read, or when it is gone: then this pod is about to be removed too.
    """
    path = f"/apis/batch/v1/namespaces/{identity.namespace}/jobs/{identity.job}"
    answer = api.request("GET", path, until=until)
    if answer.is_missing or (answer.ok and answer.body["metadata"]["uid"] != identity.job_uid):
        raise NoCluster(
            f"the Job '{identity.job}' of this driver is gone",
            slug="JOB-GONE",
            remedy="somebody deleted it; start another when it should run",
        )
    if not answer.ok:
        raise refused(answer, f"read its Job '{identity.job}'")
    return answer.body


def attempt(job: Mapping[str, Any]) -> int:
    """Return the number of this attempt of the Job, from 1."""
    return int(job.get("status", {}).get("failed") or 0) + 1


def is_finished(job: Mapping[str, Any]) -> bool:
    """Whether a Job is complete or has failed, so that none of its pods will run again."""
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


@dataclass(frozen=True, kw_only=True)
class Fired:
    """When a Job came to be due."""

    at: datetime
    """The tick of the schedule, or the Job's creation; in UTC."""
    by_schedule: bool
    """Whether it is a tick; else the Job was made by hand, and the last tick at or before its creation is meant."""
    why: str
    """Where it comes from, as part of a sentence for the log."""


def fired(job: Mapping[str, Any]) -> Fired:
    """Return when a Job was due. Pure: the clock plays no part, so a retry after midnight finds the same.

    A Job of a CronJob bears its tick; one that was made by hand bears none.

    Args:
        job: The Job, as the API server has it.

    Raises:
        UsageError: When the Job bears a timestamp that can not be read.
    """
    metadata = job["metadata"]
    stamp = (metadata.get("annotations") or {}).get(SCHEDULED)
    if stamp is not None:
        tick = _moment(stamp, job=metadata["name"])
        why = f"the Job '{metadata['name']}' was scheduled for {tick.isoformat()}"
        return Fired(at=tick, by_schedule=True, why=why)
    created = _moment(metadata["creationTimestamp"], job=metadata["name"])
    why = f"the Job '{metadata['name']}' was made by hand at {created.isoformat()}"
    return Fired(at=created, by_schedule=False, why=why)


def _moment(stamp: str, *, job: str) -> datetime:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"the Job '{job}' bears the timestamp '{stamp}', which is none",
            slug="TIMESTAMP",
            remedy="pass --date with an ISO date",
        )
    return moment.astimezone(UTC)
