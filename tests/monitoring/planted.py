"""The faults of the simulated history, and what must fire for each."""

from __future__ import annotations

from simulated import HOUR, Event, Fault, Gateway, Night, Pipeline, moment, nights

PIPELINES = (
    Pipeline("churn", rows=100_000),
    Pipeline("flights", rows=900, environment="dev", weekend=0.8, growth=1.0),
    Pipeline("young", rows=40_000, first=50),
    Pipeline("weekly", rows=250_000, every=7),
    Pipeline("quiet", rows=60_000),
)


def _missing(_: Night) -> None:
    """No run at all."""


def _late(night: Night) -> None:
    night.attempt(night.due + 5 * HOUR, None)
    night.publish(night.due + 5 * HOUR)


def _retried(night: Night) -> None:
    night.attempt(night.due, night.due + 60, reason="storage")
    night.publish(night.due + 300)


def _failed(night: Night) -> None:
    night.attempt(night.due, night.due + 60, reason="input")
    night.publish(night.due + 1.5 * HOUR)


def _held(night: Night) -> None:
    night.attempt(night.due, night.due + 400, reason="gate", held=True)
    night.publish(night.due + 1.5 * HOUR)


def _stuck(night: Night) -> None:
    night.attempt(night.due, None)
    night.publish(night.due + 1.75 * HOUR)


def _rerun(night: Night) -> None:
    night.publish(night.due)
    night.publish(night.due + 10 * HOUR)


def _backwards(night: Night) -> None:
    night.publish(night.due)
    night.publish(night.due + 10 * HOUR, date=night.day - 3)


def _backfill(night: Night) -> None:
    night.publish(night.due)
    night.publish(night.due + 6 * HOUR, run_type="backfill", date=night.day - 12)


def _refused(night: Night) -> None:
    night.refused(night.due + 500)
    night.publish(night.due + 1.5 * HOUR)


FAULTS: dict[tuple[str, int], Fault] = {
    ("churn", 33): Fault(what="60 % of the rows are missing", alerts=("BatchScoreVolumeLow",), rows=0.4),
    ("churn", 35): Fault(what="the day stands in the snapshot twice", alerts=("BatchScoreVolumeHigh",), rows=2.0),
    ("churn", 37): Fault(what="an empty snapshot", alerts=("BatchScoreVolumeLow", "BatchScoreZeroRows"), rows=0.0),
    ("churn", 39): Fault(what="no run at all", alerts=("BatchScoreLate",), play=_missing),
    ("churn", 41): Fault(what="the run comes five hours late", alerts=("BatchScoreLate",), play=_late),
    ("churn", 42): Fault(what="the first attempt fails, its retry wins", alerts=(), play=_retried),
    ("churn", 43): Fault(what="no snapshot until an hour later", alerts=("BatchScoreRunFailed",), play=_failed),
    ("churn", 45): Fault(what="held by a gate, then released", alerts=("BatchScoreHeld",), play=_held),
    ("churn", 47): Fault(
        what="the driver is killed, and starts again late", alerts=("BatchScoreRunStuck",), play=_stuck
    ),
    ("churn", 49): Fault(what="4 % of the rows set aside", alerts=("BatchScoreRejectRatioHigh",), rejected=0.04),
    ("churn", 51): Fault(what="three times as slow", alerts=("BatchScoreSlow",), slow=3.0),
    ("churn", 53): Fault(
        what="one feature drifts, and the scores with it",
        alerts=("BatchScoreFeatureDrift", "BatchScorePredictionDrift"),
        drift=0.3,
    ),
    ("churn", 55): Fault(what="yesterday's snapshot again", alerts=("BatchScoreInputUnchanged",), unchanged=True),
    ("churn", 57): Fault(what="the date is published twice", alerts=("BatchScoreRerun",), play=_rerun),
    ("churn", 59): Fault(what="an older date as scheduled", alerts=("BatchScoreWentBackwards",), play=_backwards),
    ("churn", 61): Fault(what="a backfill of an old Saturday", alerts=(), play=_backfill),
    ("churn", 65): Fault(
        what="the push is refused, and repeated later", alerts=("BatchScorePushRejected",), play=_refused
    ),
    ("young", 54): Fault(what="70 % are missing, on a pipeline of four days", alerts=(), rows=0.3),
    ("weekly", 49): Fault(what="60 % of the rows are missing", alerts=("BatchScoreVolumeLow",), rows=0.4),
}
GATEWAY_LOSS = 63
"""The day on which the gateway loses everything, at 10:00, after it was down for an hour; healed by pushes at 14:00."""


def events() -> list[Event]:
    """Return all that happens to the gateway in ten weeks."""
    everything = [event for night in nights(PIPELINES, FAULTS) for event in night.events]
    kept: dict[str, Gateway] = {}

    def goes_down(gateway: Gateway) -> None:
        kept["before"] = Gateway({group: dict(series) for group, series in gateway.groups.items()})
        gateway.up = 0.0

    def comes_back(gateway: Gateway) -> None:
        gateway.up, gateway.groups = 1.0, {}

    def pushed_again(gateway: Gateway) -> None:
        gateway.groups.update(kept["before"].groups)

    loss = ((9, goes_down), (10, comes_back), (14, pushed_again))
    return [*everything, *(Event(moment(GATEWAY_LOSS, hour), do) for hour, do in loss)]
