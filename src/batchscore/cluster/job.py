"""The Job that this driver is a pod of: who we are, when we were due, and so which date to score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from batchscore.cluster.api import ApiServer, refused
from batchscore.errors import ConfigError, NoCluster, UsageError

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
class ScheduledDate:
    """The date that `--date scheduled` stands for."""

    date: date
    """The snapshot's date."""
    tick: datetime
    """The tick of the schedule that it belongs to, in UTC."""
    why: str
    """Where the tick comes from, for the log: one sentence."""


def scheduled_date(job: Mapping[str, Any], *, cron: str, timezone: str, offset_days: int) -> ScheduledDate:
    """Return the date that a Job is to score: the local date of its tick plus `offset_days`. Pure: the clock plays no part.

    A Job of a CronJob bears its tick; a retry after midnight therefore still scores the right date.
    A Job made by hand bears none and takes the last tick at or before its creation.

    Args:
        job: The Job, as the API server has it.
        cron: The schedule, as a cron expression.
        timezone: The schedule's IANA time zone.
        offset_days: Days from the tick's local date to the snapshot's.

    Raises:
        ConfigError: When the schedule or the time zone is none.
        UsageError: When the Job bears a timestamp that can not be read.
    """
    metadata = job["metadata"]
    zone = _zone(timezone)
    stamp = metadata.get("annotations", {}).get(SCHEDULED)
    if stamp is not None:
        tick = _moment(stamp, job=metadata["name"])
        why = f"the Job '{metadata['name']}' was scheduled for {tick.astimezone(zone).isoformat()}"
    else:
        created = _moment(metadata["creationTimestamp"], job=metadata["name"])
        tick = last_tick(cron, created.astimezone(zone)).astimezone(UTC)
        why = (
            f"the Job '{metadata['name']}' was made by hand at {created.astimezone(zone).isoformat()}; "
            f"the last tick of '{cron}' before that was {tick.astimezone(zone).isoformat()}"
        )
    scored = tick.astimezone(zone).date() + timedelta(days=offset_days)
    return ScheduledDate(date=scored, tick=tick.astimezone(UTC), why=why)


def last_tick(cron: str, moment: datetime) -> datetime:
    """Return the last tick of `cron` at or before `moment`, in its time zone.

    Raises:
        ConfigError: When `cron` is no cron expression, or never ticks.
    """
    from cronsim import CronSim, CronSimError

    whole = moment.replace(second=0, microsecond=0)
    try:
        # The iteration excludes its start, and a tick in the very minute counts.
        return next(CronSim(cron, whole + timedelta(minutes=1), reverse=True))
    except (CronSimError, StopIteration) as error:
        raise ConfigError(
            f"schedule.cron '{cron}' is no cron expression that ever ticks",
            slug="CRON",
            remedy="write five fields, such as '15 2 * * *'",
        ) from error


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"schedule.timezone '{timezone}' is no IANA time zone",
            slug="TIMEZONE",
            remedy="write a name such as Etc/UTC or Europe/Berlin",
        ) from error


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
    return moment
