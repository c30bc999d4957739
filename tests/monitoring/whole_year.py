"""The flights that left New York on every date of 2013: which dates the volume alerts call odd, and what happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from batchscore.gate import VolumeOptions
from batchscore.history import VolumePoint, volume_baseline
from batchscore.metrics import AlertsOptions
from examples.flights.source import open_data

ALERTS = AlertsOptions()
"""The thresholds as they are when nobody sets them."""
ODD = 0.15
"""Dates further than this share from their baseline are listed, whether an alert fires or not."""

STORM, NEXT_DAY = dt.date(2013, 2, 8), dt.date(2013, 2, 9)
THANKSGIVING, DAY_AFTER = dt.date(2013, 11, 28), dt.date(2013, 11, 29)

HAPPENED: Mapping[dt.date, str] = {
    STORM: "a snowstorm: half of the flights are cancelled",
    NEXT_DAY: "the snowstorm's second day: more than half are cancelled",
    dt.date(
        2013, 2, 16
    ): "a usual Saturday: the six before it, one of them the storm's, fall steadily, and so does the baseline",
    dt.date(2013, 5, 23): "rain and fog: flights are cancelled",
    dt.date(2013, 5, 26): "Sunday before Memorial Day: few flights are scheduled",
    dt.date(2013, 7, 4): "Independence Day: few flights are scheduled",
    dt.date(2013, 7, 5): "the day after Independence Day: few flights are scheduled",
    dt.date(2013, 8, 31): "Saturday before Labor Day: few flights are scheduled",
    dt.date(2013, 9, 1): "Sunday before Labor Day: few flights are scheduled",
    dt.date(2013, 9, 12): "heavy rain: flights are cancelled",
    THANKSGIVING: "Thanksgiving: few flights are scheduled, and none is cancelled",
    DAY_AFTER: "the day after Thanksgiving: few flights are scheduled, and none is cancelled",
    dt.date(2013, 11, 30): "the journey home from Thanksgiving: more flights are scheduled than on a usual Saturday",
    dt.date(2013, 12, 5): "fog, at times without any sight: flights are cancelled",
    dt.date(2013, 12, 10): "snow: flights are cancelled",
    dt.date(2013, 12, 14): "snow: flights are cancelled",
    dt.date(2013, 12, 21): "Saturday before Christmas: more flights are scheduled",
    dt.date(2013, 12, 24): "Christmas Eve: few flights are scheduled",
    dt.date(2013, 12, 25): "Christmas: few flights are scheduled",
    dt.date(2013, 12, 31): "New Year's Eve: few flights are scheduled",
}
"""What is known of the odd dates; how many were scheduled and cancelled stands beside it, from the source."""

HEAD = """\
# Alerts over a real year

The flights that left New York on each of the 365 dates of 2013, from the source of the flights example, judged by the product's own volume baseline.
The first 28 dates have no baseline: `alerts.baseline_runs` asks for four earlier dates of the same weekday.
Listed is every date more than 15 % away from its baseline; an alert fires below 60 % (a drop of 40 %) and above 160 %.
A scheduled run scores the flights that departed, so `departed` is its number of rows.

| Date | Departed | Usually | Share | Scheduled | Cancelled | What happened | Fires |
|---|---|---|---|---|---|---|---|
"""

TAIL = """
Of {judged} judged dates these fire, and no other: {fired}.
The holidays do not: they are unusual, within the limits, and the report lists them as that (`report --history` and `report --date`).
A pipeline whose holidays fall below the limit names them in `volume.ignore_dates`.

## The same with whole runs

{runs} of the dates scored and published by `batchscore run --run-type scheduled`: enough of each weekday for a baseline, then the storm and Thanksgiving.
The baseline rests on the published dates only, so it is not that of the table above; `verdict` is that of the volume gate, `deviations` what the report shows.

| Date | Rows | Usually | Runs | Share | Deviations | Verdict of the gate | In the report | Fires |
|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One date and its baseline."""

    date: dt.date
    departed: int
    scheduled: int
    usual: float
    deviation: float
    runs: int

    @property
    def share(self) -> float:
        """Departed flights over the baseline."""
        return self.departed / self.usual

    @property
    def fires(self) -> str:
        """The alert that fires at the default thresholds, or nothing."""
        if self.runs < ALERTS.baseline_runs:
            return ""
        if self.share < (ALERTS.volume_low_ratio or 0.0):
            return "BatchScoreVolumeLow"
        return "BatchScoreVolumeHigh" if self.share > (ALERTS.volume_high_ratio or float("inf")) else ""


def flights() -> pd.DataFrame:
    """Return scheduled and departed flights by date."""
    with open_data("flights.csv.zip") as file:
        rows = pd.read_csv(file, usecols=["year", "month", "day", "dep_time"])
    days = pd.to_datetime(rows[["year", "month", "day"]]).dt.date
    departed = days[rows["dep_time"].notna()].value_counts()
    return pd.DataFrame({"scheduled": days.value_counts(), "departed": departed}).sort_index()


def judged(counts: pd.DataFrame, dates: Iterable[dt.date] | None = None) -> list[Judged]:
    """Judge every date that has a baseline, by the published dates before it.

    Args:
        counts: Flights by date.
        dates: The dates that are published; None for all.
    """
    published = counts.index if dates is None else sorted(dates)
    points = [VolumePoint(date=date, rows=int(counts["departed"][date])) for date in published]
    found = []
    for point in points:
        baseline = volume_baseline(points, point.date, VolumeOptions())
        if baseline.rows is not None and baseline.deviation is not None and baseline.runs >= ALERTS.baseline_runs:
            found.append(
                Judged(
                    date=point.date,
                    departed=point.rows,
                    scheduled=int(counts["scheduled"][point.date]),
                    usual=baseline.rows,
                    deviation=baseline.deviation,
                    runs=baseline.runs,
                )
            )
    return found


def year_table(found: Iterable[Judged]) -> str:
    """Return the table of the dates that are odd, in order, with the sentence that counts them."""
    everything = sorted(found, key=lambda item: item.date)
    odd = [item for item in everything if abs(item.share - 1) > ODD or item.fires]
    fired = ", ".join(f"{item.date:%B} {item.date.day}" for item in everything if item.fires)
    return HEAD + "".join(map(_row, odd)) + TAIL.format(judged=len(everything), fired=fired, runs=len(RUNS))


def _row(item: Judged) -> str:
    fires = f"`{item.fires}`" if item.fires else "nothing"
    cells = (
        f"{item.date:%a %Y-%m-%d}",
        f"{item.departed}",
        f"{item.usual:.1f}",
        f"{item.share:.2f}",
        f"{item.scheduled}",
        f"{item.scheduled - item.departed}",
        HAPPENED[item.date],
        fires,
    )
    return "| " + " | ".join(cells) + " |\n"


RUNS = tuple(
    sorted(
        last - dt.timedelta(weeks=weeks)
        for last in (STORM, NEXT_DAY, THANKSGIVING, DAY_AFTER)
        for weeks in range(ALERTS.baseline_runs + 1)
    )
)
"""The dates that are scored and published for real."""


def run_row(metadata: Mapping[str, Any], *, shown: str, fires: Iterable[str]) -> str:
    """Return the row of a published date.

    Args:
        metadata: The content of `metadata.json`.
        shown: What the report says of the date.
        fires: The alerts that fire on what it pushed.
    """
    volume, rows = metadata["volume"], metadata["records_scored"]
    usual, deviation = volume["baseline_rows"], volume["deviation_rows"]
    verdict = next(gate["verdict"] for gate in metadata["gates"] if gate["gate"] == "volume")
    cells = (
        f"{dt.date.fromisoformat(metadata['date']):%a %Y-%m-%d}",
        f"{rows}",
        f"{usual:.1f}" if usual else "–",
        f"{volume['runs']}",
        f"{rows / usual:.2f}" if usual else "–",
        f"{(rows - usual) / deviation:+.1f}" if volume["runs"] >= ALERTS.baseline_runs else "–",
        verdict,
        shown or "–",
        ", ".join(f"`{alert}`" for alert in fires) or "nothing",
    )
    return "| " + " | ".join(cells) + " |\n"
