"""Put the whole example together under one folder, and leave alone what is already right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples import folder
from examples.flights.features import FEATURES, ID
from examples.flights.snapshots import snapshot_path, write_snapshots
from examples.flights.source import DISTRIBUTION, TRAIN, read_departures

if TYPE_CHECKING:
    import pandas as pd

FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
MODEL = "artifacts/models/flights_late_v1.2.0.joblib"
SCHEMA = "config/flights.schema.yaml"
CONFIG = "config/flights.yaml"
DATA = "data/batch"
THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to build, and where."""

    root: Path
    first: date
    """The first day of the source to write; the days do not move with `shift`."""
    last: date
    shift: timedelta
    """How far all dates are moved: whole weeks, so that a Friday stays a Friday."""

    @property
    def days(self) -> list[date]:
        """Every day from first to last; each day of 2013 has departures."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


def build(options: Options) -> list[str]:
    """Build what is missing and give one line a thing that was built; nothing is returned when all was there.

    Other code, other libraries, another source or another shift than last time start the folder anew, outputs
    excepted: snapshots are never changed in place.
    """
    source = metadata.version(DISTRIBUTION)
    wanted = folder.recipe(Path(__file__).parent, source=source, shift_days=options.shift.days)
    is_built = folder.is_built_by(options.root, wanted)
    if not is_built:
        folder.start_anew(options.root)
    elif all(snapshot_path(options.root / DATA, day + options.shift).exists() for day in options.days):
        return []
    rows = read_departures()
    written = write_snapshots(rows, options.days, options.shift, options.root / DATA)
    told = [f"{written} snapshots in {DATA}"]
    if not is_built:
        told += _build_model(options, rows)
        folder.finish(options.root, wanted)
    return told


def _build_model(options: Options, rows: pd.DataFrame) -> list[str]:
    """Train, measure, and write the model, its report, its schema and the config that pins it."""
    from examples.flights.train import assess, train

    pipeline = train(rows)
    report = assess(pipeline, rows, THRESHOLD)
    digest = folder.write_model(options.root / MODEL, pipeline)
    folder.write_json((options.root / MODEL).with_suffix(".report.json"), report)
    folder.write_yaml(options.root / SCHEMA, _schema())
    folder.write_yaml(options.root / CONFIG, _config(digest, options.shift))
    return [f"{MODEL}, trained on January only", _in_words(report), f"{CONFIG} and {SCHEMA}"]


def _schema() -> dict[str, Any]:
    return {"name": "flights", "version": "1", "features": [feature.as_entry() for feature in FEATURES]}


def _config(model_sha256: str, shift: timedelta) -> dict[str, Any]:
    """Give the run's config; every path in it is relative to the folder of the example."""
    return {
        "pipeline": "flights",
        "environment": "dev",
        "snapshot": {"path": f"{DATA}/flights_{{date:%Y_%m_%d}}.parquet", "id": ID},
        "schema": SCHEMA,
        "model": {
            "path": MODEL,
            "version": "1.2.0",
            "sha256": model_sha256,
            "output": "probability",
            "trained_until": str(TRAIN[1] + shift),
            # January is scored as well, so that February's volumes have something to be compared with.
            "allow_trained_after": True,
        },
        "postprocess": {"threshold": THRESHOLD, "flag": "risk_flag"},
        "output": {"path": "outputs", "passthrough": ["carrier", "flight", "origin", "dest"]},
        "volume": {"min_rows": 100, "max_drop": 0.4, "max_rise": 0.4, "on_breach": "warn"},
        "schedule": {"cron": "15 2 * * *", "timezone": "America/New_York", "offset_days": -1, "grace_minutes": 120},
    }


def _in_words(report: dict[str, Any]) -> str:
    return (
        f"on February's {report['rows']:,} arrivals: AUC {report['auc']}, Brier {report['brier']} "
        f"(departure delay alone: AUC {report['auc_of_departure_delay_alone']}; "
        f"always the mean: Brier {report['brier_of_the_mean']})"
    )
