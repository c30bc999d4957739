"""The simulated history in a real Prometheus, with the records and the alerts that the rules make of it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import planted
import yaml
from servers import ask, prometheus
from simulated import DAYS, SCRAPE, Key, history, moment, openmetrics

RULES = Path(__file__).parents[2] / "helm" / "batchscore" / "files" / "batchscore.rules.yml"
LOOK_BACK = f"{SCRAPE + 300}s"


@dataclass(frozen=True)
class Fired:
    """One alert, from when to when."""

    alert: str
    labels: tuple[tuple[str, str], ...]
    begin: float
    end: float

    @property
    def pipeline(self) -> str:
        """The pipeline, or nothing."""
        return dict(self.labels).get("pipeline", "")

    @property
    def day(self) -> int:
        """The day of the history on which it began."""
        return int((self.begin - moment(0)) // 86400)


@dataclass(frozen=True)
class Past:
    """A Prometheus that remembers ten weeks."""

    url: str
    fired: tuple[Fired, ...]


@contextlib.contextmanager
def past(require: Callable[[str], str], folder: Path) -> Iterator[Past]:
    """Load the history, make the records, find the alerts, and serve it all."""
    promtool, program, data = require("promtool"), require("prometheus"), folder / "data"
    _load(promtool, history(planted.events()), folder, data)
    with prometheus(program, folder, data, look_back=LOOK_BACK) as url:
        records = _records(url)
    _load(promtool, records, folder, data)
    with prometheus(program, folder, data, look_back=LOOK_BACK) as url:
        fired = tuple(_fired(url))
    _load(promtool, _as_series(fired), folder, data)
    with prometheus(program, folder, data, look_back=LOOK_BACK) as url:
        yield Past(url, fired)


def _load(promtool: str, series: Mapping[Key, list[tuple[float, float]]], folder: Path, data: Path) -> None:
    file = folder / "history.txt"
    with file.open("w") as out:
        out.writelines(openmetrics(series))
    command = "tsdb create-blocks-from --max-block-duration=744h -q openmetrics"
    subprocess.run([promtool, *command.split(), str(file), str(data)], check=True, capture_output=True)


def _records(url: str) -> dict[Key, list[tuple[float, float]]]:
    """Evaluate the records over the whole history; promtool does so too, in pieces of two hours and half an hour."""
    found: dict[Key, list[tuple[float, float]]] = {}
    for rule in _rules():
        if "record" in rule:
            for series in ask(url, rule["expr"], start=moment(0), end=moment(DAYS) - SCRAPE, step=SCRAPE):
                labels = tuple((key, value) for key, value in series["metric"].items() if key != "__name__")
                found[(rule["record"], labels)] = [(float(when), float(value)) for when, value in series["values"]]
    return found


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _fired(url: str) -> Iterator[Fired]:
    for rule in _rules():
        if "alert" in rule:
            wait = 60.0 * int(rule.get("for", "0m").removesuffix("m"))
            answer = ask(url, rule["expr"], start=moment(0), end=moment(DAYS) - SCRAPE, step=SCRAPE)
            for series in answer:
                yield from _windows(rule, series, wait)


def _windows(rule: Mapping[str, Any], series: Mapping[str, Any], wait: float) -> Iterator[Fired]:
    metric = {**series["metric"], "severity": rule["labels"]["severity"]}
    labels = tuple(sorted((key, value) for key, value in metric.items() if key != "__name__"))
    times = [float(when) for when, _ in series["values"]]
    begin = times[0]
    for now, following in zip(times, [*times[1:], None], strict=True):
        if following is None or following - now > SCRAPE:
            if now - begin >= wait:
                yield Fired(rule["alert"], labels, begin + wait, now)
            begin = following or now


def _as_series(fired: Iterable[Fired]) -> dict[Key, list[tuple[float, float]]]:
    found: dict[Key, list[tuple[float, float]]] = {}
    for item in fired:
        key = ("ALERTS", (("alertname", item.alert), ("alertstate", "firing"), *item.labels))
        first = moment(0) + -(-(item.begin - moment(0)) // SCRAPE) * SCRAPE
        steps = range(int((item.end - first) // SCRAPE) + 1)
        found.setdefault(key, []).extend((first + step * SCRAPE, 1.0) for step in steps)
    return found
