"""Who the driver is, and when it was due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from batchscore.cluster.job import Fired, Identity, attempt, fired, identity_from, is_finished
from batchscore.errors import UsageError

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


@pytest.mark.parametrize("stamp", ["2013-02-09T02:15:00Z", "2013-02-09T03:15:00+01:00"])
def test_scheduled(stamp: str) -> None:
    """A Job of a CronJob is due at its own tick, however late a retry runs."""
    found = fired(_job(stamp=stamp, created="2013-02-11T09:00:00Z"))

    assert found == Fired(
        at=datetime(2013, 2, 9, 2, 15, tzinfo=UTC),
        by_schedule=True,
        why="the Job 'flights-1' was scheduled for 2013-02-09T02:15:00+00:00",
    )


def test_made_by_hand() -> None:
    """A Job without a tick is due by its creation, and says so."""
    assert fired(_job()) == Fired(
        at=datetime(2013, 2, 9, 12, tzinfo=UTC),
        by_schedule=False,
        why="the Job 'flights-1' was made by hand at 2013-02-09T12:00:00+00:00",
    )


@pytest.mark.parametrize("stamp", ["yesterday", "2013-02-09T02:15:00"])
def test_bad_timestamp(stamp: str) -> None:
    """A timestamp without a zone, or none at all, is never guessed."""
    with pytest.raises(UsageError):
        fired(_job(stamp=stamp))


def test_status() -> None:
    """The attempt counts failed pods; a Job is finished when a final condition is true."""
    true, false = {"type": "Failed", "status": "True"}, {"type": "Complete", "status": "False"}

    assert [attempt({}), attempt({"status": {"failed": 2}})] == [1, 3]
    assert is_finished({"status": {"conditions": [false, true]}})
    assert not is_finished({"status": {"conditions": [false, {"type": "Suspended", "status": "True"}]}})
    assert not is_finished({})
