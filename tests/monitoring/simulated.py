"""Ten weeks of five pipelines as a Pushgateway would have shown them, with one planted fault of every kind.

The runs are told by the product's own `samples`, into a model of a gateway with its rules: PUT replaces a group, POST
replaces metrics by name, and nothing is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import documents

from batchscore.gate import VolumeOptions
from batchscore.history import VolumeBaseline, VolumePoint, volume_baseline
from batchscore.judge import volume_record
from batchscore.metrics import Attempt, Group, Samples, attempt_samples, samples
from batchscore.metrics.readers import Histogram

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""
DAYS = 70
SCRAPE = 900
"""Seconds between two scrapes: so few keep the test short; Prometheus is told to look back further."""
HOUR = 3600.0
DAY = 24 * HOUR
DUE = 2.25 * HOUR
"""When runs start, after midnight."""
GRACE = 2 * HOUR

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A series: its name and labels."""


def moment(day: int, hours: float = 0.0) -> float:
    """Return epoch seconds of a time of the history."""
    return BEGIN.timestamp() + day * DAY + hours * HOUR


def _date(day: int) -> date:
    return (BEGIN + timedelta(days=day)).date()


@dataclass
class Gateway:
    """What is there at one time."""

    groups: dict[Group, dict[Key, float]] = field(default_factory=dict)
    up: float = 1.0

    def put(self, group: Group, content: Iterable[Samples], now: float) -> None:
        """Replace a group."""
        self.groups[group] = {**series_of(content), **_pushed(now)}

    def post(self, group: Group, content: tuple[Samples, ...], now: float) -> None:
        """Replace metrics of a group by name."""
        names = {item.metric.name for item in content}
        kept = {key: value for key, value in self.groups.get(group, {}).items() if key[0] not in names}
        self.groups[group] = {**kept, **series_of(content), **_pushed(now)}

    def refuse(self, group: Group, now: float) -> None:
        """Note a push that was refused."""
        self.groups.setdefault(group, {})[("push_failure_time_seconds", ())] = now


def _pushed(now: float) -> dict[Key, float]:
    return {("push_time_seconds", ()): now, ("push_failure_time_seconds", ()): 0.0}


def series_of(content: Iterable[Samples]) -> dict[Key, float]:
    """Return samples as Prometheus keeps them, by name and own labels."""
    found: dict[Key, float] = {}
    for item in content:
        for values, value in item.values.items():
            labels = tuple(zip(item.metric.labels, values, strict=True))
            if isinstance(value, Histogram):
                bounds = [*value.buckets, (float("inf"), value.count)]
                for bound, count in bounds:
                    le = "+Inf" if bound == float("inf") else repr(bound)
                    found[(f"{item.metric.name}_bucket", (*labels, ("le", le)))] = count
                found[(f"{item.metric.name}_count", labels)] = value.count
                found[(f"{item.metric.name}_sum", labels)] = value.total
            else:
                found[(item.metric.name, labels)] = value
    return found


@dataclass
class Pipeline:
    """A pipeline that runs every so many days."""

    name: str
    rows: float
    environment: str = "prod"
    first: int = 0
    every: int = 1
    weekend: float = 0.55
    growth: float = 1.003
    history: dict[int, int] = field(default_factory=dict)
    """Scored rows of the published dates, by day."""

    def group(self, run_type: Any = "scheduled") -> Group:
        """Return its group."""
        return Group(environment=self.environment, pipeline=self.name, run_type=run_type)

    def usual(self, day: int) -> float:
        """Return the rows of a day without a fault: season, growth and noise."""
        season = self.weekend if self.every == 1 and day % 7 >= 5 else 1.0
        noise = random.Random(f"{self.name}-{day}").gauss(1.0, 0.03)
        return self.rows * season * self.growth**day * noise

    def baseline(self, day: int) -> VolumeBaseline:
        """Return what the product compares a day with."""
        points = (VolumePoint(date=_date(other), rows=rows) for other, rows in self.history.items())
        return volume_baseline(points, _date(day), VolumeOptions())


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong on one day."""

    what: str
    """In words, for the table."""
    alerts: tuple[str, ...]
    """What must fire, and nothing else."""
    rows: float = 1.0
    slow: float = 1.0
    rejected: float = 0.002
    drift: float = 0.04
    unchanged: bool = False
    play: Callable[[Night], None] | None = None
    """What happens instead of the run at its time."""


@dataclass(frozen=True)
class Event:
    """Something that happens to the gateway."""

    when: float
    do: Callable[[Gateway], None]


@dataclass
class Night:
    """One date of one pipeline, on which things happen."""

    pipeline: Pipeline
    day: int
    fault: Fault
    events: list[Event] = field(default_factory=list)

    @property
    def due(self) -> float:
        """When the run starts."""
        return moment(self.day) + DUE

    def publish(self, start: float, *, run_type: str = "scheduled", date: int | None = None) -> None:
        """Publish the date, or an older one."""
        shown = self.day if date is None else date
        summary, metadata = _documents(self.pipeline, shown, self.fault, start, self.day)
        if run_type == "scheduled" and date is None:
            self.pipeline.history[self.day] = summary["rows"]["scored"]
        group, end = self.pipeline.group(run_type), start + metadata["execution_time_sec"]
        content = samples(summary, metadata)
        self.events.append(Event(end, lambda gateway: gateway.put(group, content, end)))

    def attempt(self, start: float, end: float | None, *, reason: str = "", held: bool = False) -> None:
        """Tell a start without an end, or a failure."""
        group, now = self.pipeline.group(), start if end is None else end
        told = attempt_samples(Attempt(started=start, ended=end, reason=reason, held=held, timeout=HOUR))
        content = tuple(item for item in told if end is not None or item.metric.pushed == "T")
        self.events.append(Event(now, lambda gateway: gateway.post(group, content, now)))

    def refused(self, now: float) -> None:
        """Have the gateway refuse a push."""
        group = self.pipeline.group()
        self.events.append(Event(now, lambda gateway: gateway.refuse(group, now)))


def _documents(
    pipeline: Pipeline, day: int, fault: Fault, start: float, today: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    read = round(pipeline.usual(day) * fault.rows)
    rejected = round(read * fault.rejected)
    seconds = (30 + read * 0.004) * fault.slow
    shown = _date(day).isoformat()
    drift = {name: {"psi": 0.01 + 0.002 * place} for place, name in enumerate(documents.FEATURES)}
    drift["dep_delay"] = {"psi": fault.drift * 1.5}
    scored = read - rejected
    summary = documents.summary(
        pipeline=pipeline.name,
        date=shown,
        rows={"read": read, "scored": scored, "written": scored, "rejected": rejected, "flagged": scored // 5},
        rejected={"null": rejected, "below-min": 0},
        drift={"reference": {}, "features": drift, "prediction": {"psi": fault.drift}},
        histograms={"prediction": {"edges": [i / 20 for i in range(21)], "counts": _shape(scored, fault.drift)}},
    )
    stages = {
        "resolve": 2.0,
        "cluster": 8.0,
        "load": seconds * 0.1,
        "score": seconds * 0.8,
        "reduce": 3.0,
        "publish": 5.0,
    }
    metadata = documents.metadata(
        pipeline=pipeline.name,
        environment=pipeline.environment,
        date=shown,
        started_at=datetime.fromtimestamp(start, UTC).isoformat(),
        ended_at=datetime.fromtimestamp(start + seconds, UTC).isoformat(),
        execution_time_sec=seconds,
        run_timeout_seconds=HOUR,
        stages=stages,
        volume=volume_record(pipeline.baseline(day)),
        next_deadline=moment(today + pipeline.every) + DUE + GRACE,
        input_unchanged=fault.unchanged,
        model={"name": pipeline.name, "version": "1.2.0" if today < 48 else "1.3.0", "sha256": "6f" * 32},
    )
    return summary, metadata


def _shape(scored: int, drift: float) -> list[int]:
    weights = [1 / (1 + abs(place - 4 - 20 * drift)) for place in range(20)]
    return [int(scored * weight / sum(weights)) for weight in weights]


def nights(pipelines: Iterable[Pipeline], faults: Mapping[tuple[str, int], Fault]) -> Iterator[Night]:
    """Yield every date of every pipeline, played."""
    for pipeline in pipelines:
        for day in range(pipeline.first, DAYS, pipeline.every):
            fault = faults.get((pipeline.name, day), Fault(what="", alerts=()))
            night = Night(pipeline, day, fault)
            if fault.play is None:
                night.attempt(night.due, None)
                night.publish(night.due)
            else:
                fault.play(night)
            yield night


def history(events: Iterable[Event]) -> dict[Key, list[tuple[float, float]]]:
    """Scrape the gateway through ten weeks, and return every series with its samples."""
    waiting = sorted(events, key=lambda event: event.when)
    gateway, found = Gateway(), {}
    now = moment(0)
    while now < moment(DAYS):
        while waiting and waiting[0].when <= now:
            waiting.pop(0).do(gateway)
        found.setdefault(("up", (("job", "pushgateway"), ("instance", "gateway:9091"))), []).append((now, gateway.up))
        for group, series in gateway.groups.items() if gateway.up else ():
            labels = (("job", "batchscore"), *group.labels().items())
            for (name, own), value in series.items():
                found.setdefault((name, (*labels, *own)), []).append((now, value))
        now += SCRAPE
    return found


def openmetrics(series: Mapping[Key, list[tuple[float, float]]]) -> Iterator[str]:
    """Yield the lines of an OpenMetrics file."""
    for name in sorted({name for name, _ in series}):
        yield f"# TYPE {name} unknown\n"
        for (other, labels), values in series.items():
            if other == name:
                inside = ",".join(f'{key}="{value}"' for key, value in labels)
                yield from (f"{name}{{{inside}}} {value!r} {when:.0f}\n" for when, value in values)
    yield "# EOF\n"
