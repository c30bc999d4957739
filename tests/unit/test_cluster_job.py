"""Who the driver is, and which date it is due to score."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from batchscore.cluster.job import Identity, attempt, identity_from, is_finished, scheduled_date
from batchscore.errors import ConfigError, UsageError

ENVIRONMENT = {
    "BATCHSCORE_NAMESPACE": "scoring",
    "BATCHSCORE_POD": "flights-1-abcde",
    "BATCHSCORE_JOB": "flights-1",
    "BATCHSCORE_JOB_UID": "uid",
    "BATCHSCORE_OWNER": "flights",
}


def _job(*, stamp: str | None = None, created: str = "2013-02-09T12:00:00Z") -> dict[str, Any]:
    annotations = {} if stamp is None else {"batch.kubernetes.io/cronjob-scheduled-timestamp": stamp}
    return {"metadata": {"name": "flights-1", "annotations": annotations, "creationTimestamp": created}}


def test_identity() -> None:
    """The chart's environment says who we are; a part of it says nothing."""
    whole = Identity(namespace="scoring", pod="flights-1-abcde", job="flights-1", job_uid="uid", owner="flights")

    assert identity_from(ENVIRONMENT) == whole
    assert identity_from({}) is None
    assert identity_from({**ENVIRONMENT, "BATCHSCORE_JOB_UID": ""}) is None


@pytest.mark.parametrize(
    ("stamp", "timezone", "offset", "wanted"),
    [
        ("2013-02-09T02:15:00Z", "Etc/UTC", -1, date(2013, 2, 8)),
        ("2013-02-09T02:15:00Z", "Etc/UTC", 0, date(2013, 2, 9)),
        ("2013-02-09T02:15:00Z", "America/New_York", 0, date(2013, 2, 8)),
        ("2013-02-08T23:30:00Z", "Europe/Berlin", -1, date(2013, 2, 8)),
        ("2013-02-09T03:15:00+01:00", "Etc/UTC", -1, date(2013, 2, 8)),
    ],
)
def test_scheduled(stamp: str, timezone: str, offset: int, wanted: date) -> None:
    """The date is the local date of the Job's own tick plus the offset, however late a retry runs."""
    late = _job(stamp=stamp, created="2013-02-11T09:00:00Z")
    found = scheduled_date(late, cron="15 2 * * *", timezone=timezone, offset_days=offset)

    assert found.date == wanted
    assert "was scheduled for" in found.why


@pytest.mark.parametrize(
    ("created", "cron", "timezone", "wanted"),
    [
        ("2013-02-09T12:00:00Z", "15 2 * * *", "Etc/UTC", datetime(2013, 2, 9, 2, 15, tzinfo=UTC)),
        ("2013-02-09T02:14:59Z", "15 2 * * *", "Etc/UTC", datetime(2013, 2, 8, 2, 15, tzinfo=UTC)),
        ("2013-02-09T02:15:00Z", "15 2 * * *", "Etc/UTC", datetime(2013, 2, 9, 2, 15, tzinfo=UTC)),
        ("2013-02-09T12:00:00Z", "0 5 * * 1", "Etc/UTC", datetime(2013, 2, 4, 5, 0, tzinfo=UTC)),
        ("2013-02-09T01:30:00Z", "15 2 * * *", "Europe/Berlin", datetime(2013, 2, 9, 1, 15, tzinfo=UTC)),
    ],
)
def test_made_by_hand(created: str, cron: str, timezone: str, wanted: datetime) -> None:
    """A Job without a tick takes the last one at or before its creation, in the schedule's zone, and says so."""
    found = scheduled_date(_job(created=created), cron=cron, timezone=timezone, offset_days=-1)

    assert found.tick == wanted
    assert "was made by hand" in found.why
    assert cron in found.why


@pytest.mark.parametrize(
    ("changes", "error", "slug"),
    [
        ({"cron": "every day"}, ConfigError, "CRON"),
        ({"cron": "0 0 31 2 *"}, ConfigError, "CRON"),
        ({"timezone": "Mars/Base"}, ConfigError, "TIMEZONE"),
    ],
)
def test_bad_schedules(changes: dict[str, str], error: type[ConfigError], slug: str) -> None:
    """A schedule that is none is refused by its key."""
    with pytest.raises(error) as caught:
        scheduled_date(_job(), **{"cron": "15 2 * * *", "timezone": "Etc/UTC", "offset_days": 0, **changes})  # type: ignore[arg-type]

    assert caught.value.slug == slug


@pytest.mark.parametrize("stamp", ["yesterday", "2013-02-09T02:15:00"])
def test_bad_timestamp(stamp: str) -> None:
    """A timestamp without a zone, or none at all, is never guessed."""
    with pytest.raises(UsageError):
        scheduled_date(_job(stamp=stamp), cron="15 2 * * *", timezone="Etc/UTC", offset_days=0)


def test_status() -> None:
    """The attempt counts failed pods; a Job is finished when a final condition is true."""
    true, false = {"type": "Failed", "status": "True"}, {"type": "Complete", "status": "False"}

    assert [attempt({}), attempt({"status": {"failed": 2}})] == [1, 3]
    assert is_finished({"status": {"conditions": [false, true]}})
    assert not is_finished({"status": {"conditions": [false, {"type": "Suspended", "status": "True"}]}})
    assert not is_finished({})
