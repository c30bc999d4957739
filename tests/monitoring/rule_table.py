"""The table of cases: for every alert its silence, its noise, its resolution, and what nearly sets it off."""

from __future__ import annotations

from typing import Any

from rule_cases import CHURN, DAY, FIRST, Case, Firing, Moments, around, at, every_day, on_day_two, quiet


def page(alert: str, **labels: str) -> tuple[Firing, ...]:
    """Return one alert that wakes somebody."""
    return (Firing(alert=alert, severity="page", labels={**CHURN, **labels}),)


def ticket(alert: str, **labels: str) -> tuple[Firing, ...]:
    """Return one alert for working hours."""
    return (Firing(alert=alert, severity="ticket", labels={**CHURN, **labels}),)


def rows(scored: float, *, read: float | None = None) -> dict[str, Moments]:
    """Return a second day with so many rows."""
    return {
        "batchscore_scored_rows": on_day_two(scored, 1000),
        "batchscore_read_rows": on_day_two(scored if read is None else read, 1000),
    }


def always(name: str, value: float) -> dict[str, Moments]:
    """Return a series that is constant."""
    return {name: {1.0: value}}


def off(name: str) -> dict[str, Moments]:
    """Return a series that is not pushed."""
    return {name: {}}


def case(about: str, name: str, changes: dict[str, Moments], expect: dict[float, Any], **more: Any) -> Case:
    """Return a case."""
    return Case(name=f"{about}: {name}", about=about, changes=changes, expect=expect, **more)


LOW, HIGH, ZERO = "BatchScoreVolumeLow", "BatchScoreVolumeHigh", "BatchScoreZeroRows"
RUNS = "batchscore_baseline_runs"
BASELINE = "batchscore_baseline_scored_rows"

VOLUME = (
    case(
        LOW,
        "one row below the limit",
        rows(599),
        around(page(LOW), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "churn (prod) scored 59.9% of its weekday baseline",
            (
                "599 rows were scored; 1000 is the median of the same weekday. The snapshot is probably incomplete. "
                "The date is 1970-01-02."
            ),
        ),
    ),
    case(LOW, "exactly at the limit", rows(600), quiet()),
    case(LOW, "a young pipeline", {**rows(100), **always(RUNS, 3)}, quiet()),
    case(LOW, "just old enough", {**rows(599), **always(RUNS, 4)}, around(page(LOW), 5.0, 5, 9.0)),
    case(
        LOW,
        "a baseline of one row",
        {**{f"batchscore_{kind}_rows": on_day_two(0, 1) for kind in ("read", "scored")}, **always(BASELINE, 1)},
        {5.5: (*page(LOW), *page(ZERO)), 8.9: (*page(LOW), *page(ZERO)), 9.0: ()},
    ),
    case(LOW, "switched off", {**rows(100), **off("batchscore_alert_volume_low_ratio")}, quiet()),
    case(LOW, "no baseline at all", {**rows(100), **off(BASELINE), **always(RUNS, 0)}, quiet()),
    case(
        HIGH,
        "one row above the limit",
        rows(1601),
        around(ticket(HIGH), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "churn (prod) scored 160.1% of its weekday baseline",
            (
                "1601 rows were scored; 1000 is the median of the same weekday. "
                "The snapshot may hold a day twice, or a new source. The date is 1970-01-02."
            ),
        ),
    ),
    case(HIGH, "exactly at the limit", rows(1600), quiet()),
    case(HIGH, "a young pipeline", {**rows(9000), **always(RUNS, 3)}, quiet()),
    case(HIGH, "switched off", {**rows(9000), **off("batchscore_alert_volume_high_ratio")}, quiet()),
    case(HIGH, "a weekday that is usually empty", {**rows(1), **always(BASELINE, 0)}, quiet(5.5, 8.0)),
    case(
        ZERO,
        "no row, and no baseline either",
        {**rows(0), **off(BASELINE), **always(RUNS, 0)},
        around(page(ZERO), 5.0, 0, 9.0),
        words=(
            5.0,
            "churn (prod) published no row",
            (
                "The last scheduled run succeeded and scored 0 rows, and the same weekday is not usually empty. "
                "The date is 1970-01-02."
            ),
        ),
    ),
    case(ZERO, "a weekday that is usually empty", {**rows(0), BASELINE: on_day_two(0, 1000)}, quiet()),
    case(
        ZERO, "an empty baseline of enough runs", {**rows(0), BASELINE: on_day_two(0, 1000), **always(RUNS, 4)}, quiet()
    ),
    case(
        ZERO,
        "an empty baseline of too few runs",
        {**rows(0), BASELINE: on_day_two(0, 1000), **always(RUNS, 3)},
        around(page(ZERO), 5.0, 0, 9.0),
    ),
    case(
        ZERO,
        "low as well where there is a baseline",
        rows(0),
        {5.5: (*page(LOW), *page(ZERO)), 8.9: (*page(LOW), *page(ZERO)), 9.0: ()},
    ),
    case(
        "BatchScoreInputUnchanged",
        "the same snapshot again",
        {"batchscore_input_unchanged": on_day_two(1, 0)},
        around(ticket("BatchScoreInputUnchanged"), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "churn (prod) scored the same snapshot twice",
            (
                "The snapshot of 1970-01-02, 1000 rows, has the digest of the date before. "
                "The producer probably delivered an old one again."
            ),
        ),
    ),
    case("BatchScoreInputUnchanged", "not known on the first date", off("batchscore_input_unchanged"), quiet()),
)

LATE, FAILED, HELD = "BatchScoreLate", "BatchScoreRunFailed", "BatchScoreHeld"
STUCK, SLOW = "BatchScoreRunStuck", "BatchScoreSlow"
COMPLETION = "batchscore_last_run_completion_timestamp_seconds"
START = "batchscore_last_run_start_timestamp_seconds"
SECONDS = "batchscore_last_success_duration_seconds"
MISSED = {1.0: at(5.5), 5.0: at(9.5), 11.0: at(13.5)}
FAILS: dict[str, Moments] = {
    "batchscore_last_run_success": on_day_two(0, 1),
    'batchscore_last_run_failure{reason="input"}': on_day_two(1, 0),
}


def slow(seconds: float, *, usual: float = 600) -> dict[str, Moments]:
    """Return a slow fifth day, after a history with one slow and one fast day, each shorter than a day of history."""
    return {SECONDS: {1.0: usual, 2.0: usual * 5, 2.5: usual, 3.0: usual / 5, 4.5: usual, 17.0: seconds, 21.0: usual}}


def on_day_five(scored: float) -> dict[str, Moments]:
    """Return a fifth day with so many rows."""
    return {f"batchscore_{kind}_rows": {1.0: 1000, 17.0: scored, 21.0: 1000} for kind in ("read", "scored")}


RUNS_CASES = (
    case(
        LATE,
        "the third run comes two hours late",
        {"batchscore_next_success_deadline_timestamp_seconds": MISSED},
        {9.5: (), **around(page(LATE), 9.5 + 1 / 12, 0, 11.0)},
        words=(
            9.5 + 1 / 12,
            "churn (prod) is late",
            (
                "A success was due by 1970-01-01 09:30:00 +0000 UTC (schedule and grace), and none has come. "
                "The last published date is 1970-01-03."
            ),
        ),
    ),
    case(LATE, "no schedule", off("batchscore_next_success_deadline_timestamp_seconds"), quiet()),
    case(
        FAILED,
        "the snapshot was missing, until the next day",
        FAILS,
        around(ticket(FAILED), 5.0, 10, 9.0),
        words=(
            5.0 + 10 / 60,
            "The last scheduled run of churn (prod) failed",
            (
                "The reason is input. The run ended at 1970-01-01 05:00:00 +0000 UTC. "
                "The output of the last success is untouched; its date is 1970-01-02."
            ),
        ),
    ),
    case(
        FAILED,
        "the retry wins",
        {"batchscore_last_run_success": {1.0: 1, 5.0: 0, 5.0 + 1 / 12: 1}},
        quiet(5.0, 5.2, 6.0),
    ),
    case(
        FAILED,
        "what is held has not failed",
        {**FAILS, "batchscore_last_run_held": on_day_two(1, 0)},
        {5.5: ticket(HELD), 8.9: ticket(HELD), 9.0: ()},
    ),
    case(
        HELD,
        "a gate holds the output until somebody decides",
        {"batchscore_last_run_success": on_day_two(0, 1), "batchscore_last_run_held": on_day_two(1, 0)},
        around(ticket(HELD), 5.0, 0, 9.0),
        words=(
            5.0,
            "A gate holds the last output of churn (prod)",
            (
                "The scores are there and not published, since 1970-01-01 05:00:00 +0000 UTC. "
                "Somebody must release or discard them; `batchscore runs` names the date. The last published date is "
                "1970-01-02."
            ),
        ),
    ),
    case(
        STUCK,
        "the second run never tells its end",
        {COMPLETION: {1.0: FIRST, 9.0: FIRST + 2 * DAY}},
        {6.0: (), 6.0 + 1 / 12: ticket(STUCK), 8.9: ticket(STUCK), 9.0: (), 12.0: ()},
        words=(
            6.0 + 1 / 12,
            "churn (prod) started and never told its end",
            (
                "The last attempt started 1h 15m 0s ago, longer than a run may take, and told neither success nor "
                "failure. The last published date is 1970-01-02."
            ),
        ),
    ),
    case(STUCK, "an end at the very start", {COMPLETION: every_day(FIRST - 600, DAY, 3)}, quiet()),
    case(STUCK, "nothing bounds the run", {COMPLETION: {1.0: FIRST}, **off("batchscore_run_timeout_seconds")}, quiet()),
    case(
        SLOW,
        "just above twice the median",
        slow(1201),
        around(ticket(SLOW), 17.0, 5, 21.0),
        days=6,
        hours=24,
        words=(
            17.0 + 5 / 60,
            "churn (prod) is slow for its rows",
            (
                "The last run took 20m 1s, 1.201s per row, far more than the median of the last fourteen days. "
                "The date is 1970-01-05."
            ),
        ),
    ),
    case(SLOW, "exactly twice the median", slow(1200), quiet(17.5, 20.0), days=6, hours=24),
    case(
        SLOW,
        "twice as long for twice the rows",
        {**slow(1300), **on_day_five(1300)},
        quiet(17.5, 20.0),
        days=6,
        hours=24,
    ),
    case(SLOW, "short runs are never slow", slow(120, usual=20), quiet(17.5, 20.0), days=6, hours=24),
    case(SLOW, "just long enough", slow(121, usual=20), around(ticket(SLOW), 17.0, 5, 21.0), days=6, hours=24),
    case(SLOW, "a young pipeline", {**slow(9000), **always(RUNS, 3)}, quiet(17.5, 20.0), days=6, hours=24),
    case(
        SLOW,
        "just old enough",
        {**slow(1201), **always(RUNS, 4)},
        around(ticket(SLOW), 17.0, 5, 21.0),
        days=6,
        hours=24,
    ),
    case(
        SLOW, "switched off", {**slow(9000), **off("batchscore_alert_slow_ratio")}, quiet(17.5, 20.0), days=6, hours=24
    ),
    case(
        SLOW,
        "no row at all is another alert",
        {**slow(9000), **on_day_five(0)},
        {17.5: (*page(LOW), *page(ZERO)), 20.0: (*page(LOW), *page(ZERO)), 21.0: ()},
        days=6,
        hours=24,
    ),
    case(
        SLOW,
        "a pipeline of one row",
        {
            **slow(1201),
            **always("batchscore_scored_rows", 1),
            **always("batchscore_read_rows", 1),
            **always(BASELINE, 1),
        },
        around(ticket(SLOW), 17.0, 5, 21.0),
        days=6,
        hours=24,
    ),
    case(SLOW, "no history of half a day", {SECONDS: on_day_two(9000, 600)}, quiet()),
)

REJECTS, SCORES, FEATURE = "BatchScoreRejectRatioHigh", "BatchScorePredictionDrift", "BatchScoreFeatureDrift"
RERUN, BACKWARDS = "BatchScoreRerun", "BatchScoreWentBackwards"
SNAPSHOT = "batchscore_last_success_snapshot_timestamp_seconds"
DEP_DELAY = 'batchscore_feature_drift_psi{feature="dep_delay"}'
HOUR = 'batchscore_feature_drift_psi{feature="hour"}'

QUALITY = (
    case(
        REJECTS,
        "one row above the limit",
        {
            **rows(979, read=1000),
            'batchscore_rejected_rows{reason="null"}': on_day_two(15, 0),
            'batchscore_rejected_rows{reason="below-min"}': on_day_two(6, 0),
        },
        around(ticket(REJECTS), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "churn (prod) set aside 2.1% of its rows",
            "Rows by reason: below-min 6 null 15. The date is 1970-01-02.",
        ),
    ),
    case(REJECTS, "exactly at the limit", rows(980, read=1000), quiet()),
    case(REJECTS, "switched off", {**rows(900, read=1000), **off("batchscore_alert_rejected_ratio")}, quiet()),
    case(
        SCORES,
        "above the limit",
        {"batchscore_prediction_drift_psi": on_day_two(0.21, 0.05)},
        around(ticket(SCORES), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "The scores of churn (prod) drifted",
            "Their population stability index against the pinned reference is 0.21. The date is 1970-01-02.",
        ),
    ),
    case(SCORES, "exactly at the limit", {"batchscore_prediction_drift_psi": on_day_two(0.2, 0.05)}, quiet()),
    case(SCORES, "no reference", off("batchscore_prediction_drift_psi"), quiet()),
    case(
        FEATURE,
        "two features above the limit, one alert for the worse",
        {DEP_DELAY: on_day_two(0.26, 0.05), HOUR: on_day_two(0.31, 0.02)},
        around(ticket(FEATURE, feature="hour"), 5.0, 5, 9.0),
        words=(
            5.0 + 5 / 60,
            "The feature hour of churn (prod) drifted",
            (
                "Its population stability index against the pinned reference is 0.31, the highest of all features. "
                "The date is 1970-01-02."
            ),
        ),
    ),
    case(
        FEATURE,
        "just above",
        {DEP_DELAY: on_day_two(0.26, 0.05)},
        around(ticket(FEATURE, feature="dep_delay"), 5.0, 5, 9.0),
    ),
    case(FEATURE, "exactly at the limit", {DEP_DELAY: on_day_two(0.25, 0.05)}, quiet()),
    case(
        RERUN,
        "the second day is the first again",
        {SNAPSHOT: {1.0: 0, 9.0: 86400}},
        around((Firing(alert=RERUN, severity="info"),), 5.0, 0, 9.0),
        words=(
            5.0,
            "churn (prod) published the same date again",
            (
                "Within the last twelve hours a scheduled run published the date 1970-01-01 again, 1 time(s), the "
                "last at 1970-01-01 05:00:00 +0000 UTC."
            ),
        ),
    ),
    case(
        RERUN,
        "half a day later it is history",
        {
            SNAPSHOT: {1.0: 0},
            "batchscore_last_success_timestamp_seconds": {1.0: FIRST, 5.0: at(5)},
            "batchscore_next_success_deadline_timestamp_seconds": {1.0: at(40)},
        },
        {
            4.9: (),
            5.0: (Firing(alert=RERUN, severity="info"),),
            16.9: (Firing(alert=RERUN, severity="info"),),
            17.1: (),
        },
        days=6,
        hours=22,
    ),
    case(
        RERUN,
        "a date that is fourteen hours old",
        {
            SNAPSHOT: {1.0: 0, 3.0: 86400},
            "batchscore_last_success_timestamp_seconds": {1.0: FIRST, 3.0: at(3), 17.0: at(17)},
            "batchscore_next_success_deadline_timestamp_seconds": {1.0: at(40)},
        },
        {16.9: (), 17.0: (Firing(alert=RERUN, severity="info"),)},
        days=6,
        hours=18,
    ),
    case(
        RERUN,
        "a new date, seven hours ago",
        {
            SNAPSHOT: {1.0: 0, 5.0: 86400},
            "batchscore_last_success_timestamp_seconds": {1.0: FIRST, 5.0: at(5)},
            "batchscore_next_success_deadline_timestamp_seconds": {1.0: at(40)},
        },
        quiet(5.0, 8.0, 12.0),
    ),
    case(
        BACKWARDS,
        "the second day is an older one",
        {SNAPSHOT: {1.0: 86400 * 9, 5.0: 86400 * 3, 9.0: 86400 * 10, 13.0: 86400 * 11, 17.0: 86400 * 12}},
        {4.9: (), 5.0: ticket(BACKWARDS), 9.0: ticket(BACKWARDS), 16.9: ticket(BACKWARDS), 17.1: ()},
        days=5,
        hours=19,
        words=(
            5.0,
            "churn (prod) published an older date as scheduled",
            (
                "Within the last twelve hours a scheduled run published a date before the newest one, 1 time(s). "
                "The last success is of 1970-01-04."
            ),
        ),
    ),
)

VANISHED, REJECTED, DOWN = "BatchScoreMetricsVanished", "BatchScorePushRejected", "PushgatewayDown"
NO_TYPE = {key: value for key, value in CHURN.items() if key != "run_type"}
AWAY = (Firing(alert=VANISHED, severity="page", labels=NO_TYPE),)
NOBODY = (Firing(alert=DOWN, severity="page", labels={"job": "pushgateway", "instance": "gateway:9091"}),)
NOTHING = (Firing(alert=DOWN, severity="page", labels={"job": "pushgateway"}),)
ALWAYS_DUE = {"batchscore_next_success_deadline_timestamp_seconds": {1.0: at(400)}}

GATEWAY = (
    case(
        VANISHED,
        "the gateway lost them, and a push healed it",
        {},
        around(AWAY, 5.0, 15, 9.0),
        gone=(5.0, 9.0),
        words=(
            5.25,
            "The metrics of churn (prod) vanished",
            (
                "They were there within the last two days. "
                "No other alert of this pipeline can fire until they are back. The last date that they told is "
                "1970-01-01: push it, or a newer one, again."
            ),
        ),
    ),
    case(VANISHED, "a short restart", {}, quiet(5.0, 5.1, 5.5), gone=(5.0, 5.1)),
    case(
        VANISHED,
        "after two days it is forgotten",
        ALWAYS_DUE,
        {4.9: (), 5.25: AWAY, 52.8: AWAY, 53.1: ()},
        gone=(5.0, 99.0),
        days=14,
        hours=54,
    ),
    case(
        REJECTED,
        "the gateway refused the second day's push",
        {"push_failure_time_seconds": {1.0: 0, 5.0: at(5)}, "push_time_seconds": {1.0: at(1), 9.0: at(9)}},
        around(ticket(REJECTED), 5.0, 0, 9.0),
        words=(
            5.0,
            "The Pushgateway refused the last push of churn (prod, scheduled)",
            (
                "The push was refused at 1970-01-01 05:00:00 +0000 UTC. "
                "The run itself is not affected, but its numbers are not here. The gateway's words are in the run's "
                "log. The last date that is here is 1970-01-02."
            ),
        ),
    ),
    case(
        REJECTED, "refused and accepted within a second", {"push_failure_time_seconds": {1.0: 0, 5.0: at(5)}}, quiet()
    ),
    case(
        DOWN,
        "it does not answer",
        {},
        around(NOBODY, 5.0, 5, 9.0),
        up={0.0: 1, 5.0: 0, 9.0: 1},
        words=(
            5.0 + 5 / 60,
            "The Pushgateway does not answer Prometheus",
            (
                "Nothing that batchscore tells can be seen until it does: 4 pipeline(s) told something within the "
                "last two days."
            ),
        ),
    ),
    case(DOWN, "one lost scrape", {}, quiet(5.0, 5.1, 5.5), up={0.0: 1, 5.0: 0, 5.0 + 1 / 12: 1}),
    case(DOWN, "Prometheus does not know it", {}, around(NOTHING, 5.0, 5, 9.0), up={0.0: 1, 5.0: None, 9.0: 1}),
)

HEALTHY = (case("", "nothing is wrong", {}, quiet()),)

CASES = (*HEALTHY, *VOLUME, *RUNS_CASES, *QUALITY, *GATEWAY)
