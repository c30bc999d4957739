"""The published dates as a history: the volume baseline of a date, the schedule's dates and deadlines, a run's type.

All functions here take what they need as arguments and read no clock.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from batchscore.gate import Expected, VolumeOptions
from batchscore.strict import Section

RunType = Literal["scheduled", "backfill", "manual"]

BASELINE_RUNS = 8
LEAST_DEVIATION = 0.05
"""The deviation is at least this share of the baseline: eight quiet weeks do not make the ninth an anomaly."""
MAD_SCALE = 1.4826
"""Scales the median absolute deviation to the standard deviation of a normal distribution."""

_TREND_RUNS = 6
_TREND_AGREEMENT = 0.85
_CRON_FIELDS = 5
_WINDOWS = tuple(dt.timedelta(days=days) for days in (1, 8, 40, 400, 20 * 366))


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != _CRON_FIELDS:
        raise ValueError("is no cron expression: five fields are minute, hour, day, month, weekday")
    try:
        next(CronSim(text, dt.datetime(2000, 1, 1, tzinfo=dt.UTC)))
    except (CronSimError, AssertionError) as error:  # cronsim asserts on a step of `L` or of a range of weekdays
        raise ValueError(f"is no cron expression: {error}") from error
    except (StopIteration, OverflowError):
        raise ValueError("is a cron expression that never comes") from None
    return text


def _timezone(name: str) -> str:
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as `America`
        zone = None
    if zone is None or name in ("localtime", "posixrules"):
        raise ValueError("is no time zone such as UTC or Europe/Berlin")
    return name


class ScheduleOptions(Section):
    """`schedule`: when the dates are due; what runs them is a CronJob or another scheduler."""

    cron: Annotated[str, AfterValidator(_cron)] = "15 2 * * *"
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """The IANA time zone in which `cron` is read."""
    offset_days: int = Field(default=-1, ge=-366, le=366)
    """The date that a tick scores is its local date plus this."""
    grace_minutes: int = Field(default=120, ge=0, le=10_080)
    """How long after its tick a date may be published before it is late."""


@dataclass(frozen=True, kw_only=True)
class VolumePoint:
    """The volume of one published date."""

    date: dt.date
    """The snapshot's date."""
    rows: int
    """Rows scored."""


@dataclass(frozen=True, kw_only=True)
class VolumeBaseline:
    """What the volume of a date is compared with."""

    rows: float | None
    """The expected number of rows; None when there is nothing to compare with."""
    deviation: float | None
    """The scaled median deviation, rows, at least 5 % of the expected ones."""
    dates: tuple[dt.date, ...]
    """The published dates that it rests on, ascending; at most eight."""
    weekly_growth: float
    """Rows that the baseline was moved on by for each week; 0 when there is no consistent trend."""
    label: str
    """What was compared with, such as `Fridays`."""

    @property
    def runs(self) -> int:
        """Number of published dates that it rests on."""
        return len(self.dates)

    @property
    def expected(self) -> Expected:
        """What the gate takes."""
        return Expected(rows=self.rows, deviation=self.deviation, runs=self.runs, label=self.label)


def volume_baseline(points: Iterable[VolumePoint], date: dt.date, options: VolumeOptions) -> VolumeBaseline:
    """Return the median volume of the last eight comparable dates before `date`, and its scaled deviation.

    The date itself, later ones and `volume.ignore_dates` do not count. One odd date in eight does not move a median,
    so there is no echo a week after a fault. A median of eight weeks lies four and a half weeks back: with a trend of
    3 % a week it would be 13 % off. So with at least six dates, and when 85 % of their pairs agree on the direction
    (Mann and Kendall), every point is first moved on to `date` by the median slope of all pairs (Theil and Sen);
    without such agreement nothing is moved, and a noisy history gets no trend out of chance.

    Args:
        points: The published dates in any order, one point per date.
        date: The date to be judged.
        options: Which dates are comparable.
    """
    ignored = set(options.ignore_dates)
    before = sorted((p for p in points if p.date < date and p.date.isoformat() not in ignored), key=lambda p: p.date)
    if options.compare == "weekday":
        chosen = [point for point in before if point.date.weekday() == date.weekday()]
        label = f"{date:%A}s"
    else:
        chosen, label = _by_month(before, date), "months"
    return _baseline(chosen[-BASELINE_RUNS:], date, label)


def scheduled_date(schedule: ScheduleOptions, fired_at: dt.datetime) -> dt.date:
    """Return the date that the tick at `fired_at` scores.

    Args:
        schedule: The schedule.
        fired_at: The tick's instant, with a time zone.
    """
    return fired_at.astimezone(ZoneInfo(schedule.timezone)).date() + dt.timedelta(days=schedule.offset_days)


def last_tick_before(schedule: ScheduleOptions, instant: dt.datetime) -> dt.datetime | None:
    """Return the last tick at or before `instant`, in UTC; None when there is none in the twenty years before.

    A tick whose local time is skipped by the change to summer time comes when the clock has been moved on.
    """
    for window in _WINDOWS:
        last = None
        for tick in _ticks_after(schedule, instant - window):
            if tick > instant:
                break
            last = tick
        if last is not None:
            return last
    return None


def next_deadline(schedule: ScheduleOptions, date: dt.date) -> dt.datetime:
    """Return by when the next date after `date` must be published, in UTC.

    That is the first tick on a local day after the one that scores `date`, plus the grace: a schedule with several
    ticks a day has one deadline a day, and a `date` that no tick scores has that of the next one that has a tick.
    """
    zone = ZoneInfo(schedule.timezone)
    day = date - dt.timedelta(days=schedule.offset_days)
    start = dt.datetime.combine(day, dt.time(23, 59, 59), tzinfo=zone).astimezone(dt.UTC)
    tick = next(tick for tick in _ticks_after(schedule, start) if tick.astimezone(zone).date() > day)
    return tick + dt.timedelta(minutes=schedule.grace_minutes)


def run_type(
    date: dt.date, *, newest_published: dt.date | None, by_schedule: bool = False, by_backfill: bool = False
) -> RunType:
    """Return the type of a run of `date`: it decides which group of metrics the run may touch.

    Args:
        date: The date that is run.
        newest_published: The newest date in the output; None when there is none.
        by_schedule: Whether the run was asked for by `--date scheduled` or `--run-type scheduled`.
        by_backfill: Whether the run was started by `backfill`.
    """
    if newest_published is not None and date < newest_published:
        return "backfill"
    if by_schedule:
        return "scheduled"
    return "backfill" if by_backfill else "manual"


def _by_month(before: Sequence[VolumePoint], date: dt.date) -> list[VolumePoint]:
    """Return at most one point for each month before that of `date`: the one at the same position."""
    months: dict[tuple[int, int], list[VolumePoint]] = {}
    for point in before:
        months.setdefault((point.date.year, point.date.month), []).append(point)
    months.pop((date.year, date.month), None)
    found = (_same_position(points, date) for points in months.values())
    return [point for point in found if point is not None]


def _same_position(points: Sequence[VolumePoint], date: dt.date) -> VolumePoint | None:
    """Return the only point of a month, or the one on the same day; the last day of a month is like every last day."""
    if len(points) == 1:
        return points[0]
    if _is_last_of_month(date):
        for point in points:
            if _is_last_of_month(point.date):
                return point
    return next((point for point in points if point.date.day == date.day), None)


def _is_last_of_month(date: dt.date) -> bool:
    return (date + dt.timedelta(days=1)).day == 1


def _baseline(points: Sequence[VolumePoint], date: dt.date, label: str) -> VolumeBaseline:
    dates = tuple(point.date for point in points)
    if not points:
        return VolumeBaseline(rows=None, deviation=None, dates=(), weekly_growth=0.0, label=label)
    slope = _daily_trend(points)
    moved = [point.rows + slope * (date - point.date).days for point in points]
    middle = max(statistics.median(moved), 0.0)
    spread = MAD_SCALE * statistics.median(abs(rows - middle) for rows in moved)
    deviation = max(spread, LEAST_DEVIATION * middle)
    return VolumeBaseline(
        rows=round(middle, 1),
        deviation=round(deviation, 1),
        dates=dates,
        weekly_growth=round(slope * 7, 1),
        label=label,
    )


def _daily_trend(points: Sequence[VolumePoint]) -> float:
    """Return the rows per day of a consistent trend, else 0.

    Raw rows rather than their logarithms: over eight weeks a line is near enough to 3 % of growth a week, and a
    date of no rows needs no exception.
    """
    if len(points) < _TREND_RUNS:
        return 0.0
    slopes = [(new.rows - old.rows) / (new.date - old.date).days for old, new in combinations(points, 2)]
    agreeing = max(sum(slope > 0 for slope in slopes), sum(slope < 0 for slope in slopes))
    return statistics.median(slopes) if agreeing >= _TREND_AGREEMENT * len(slopes) else 0.0


def _ticks_after(schedule: ScheduleOptions, instant: dt.datetime) -> Iterator[dt.datetime]:
    """Yield the ticks after an instant, ascending, in UTC."""
    last = instant.astimezone(dt.UTC)
    for tick in CronSim(schedule.cron, last.astimezone(ZoneInfo(schedule.timezone))):
        found = tick.astimezone(dt.UTC)
        if found > last:  # in the hour that comes twice cronsim counts by the wall clock, from before the instant
            yield found
            last = found
