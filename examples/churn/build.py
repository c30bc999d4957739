"""Put the whole example together under one folder, and leave alone what is already right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from examples import folder
from examples.churn.customers import CATEGORIES, FLOATS, ID, INTS, NULL_SHARE, SNAPSHOT, Population

MODEL = "artifacts/models/churn_model_v1.2.0.joblib"
SCHEMA = "config/churn.schema.yaml"
CONFIG = "config/churn.yaml"
DATA = "data/batch"
TEMPLATE = "customers_{date:%Y_%m_%d}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to build, and where."""

    root: Path
    day: date
    rows: int
    files: int
    """One file, or a directory of so many."""
    model: str
    """`logreg`, `hgb` or `rf`."""


def build(options: Options) -> list[str]:
    """Build the folder unless this very recipe built it, and give one line a thing that was built."""
    choices = {"day": options.day, "rows": options.rows, "files": options.files, "model": options.model}
    wanted = folder.recipe(Path(__file__).parent, **choices)
    if folder.is_built_by(options.root, wanted):
        return []
    folder.start_anew(options.root)
    snapshot = write_snapshot(options)
    _build_model(options)
    folder.finish(options.root, wanted)
    return [f"{options.rows:,} customers in {snapshot}", f"{MODEL} ({options.model})", f"{CONFIG} and {SCHEMA}"]


def write_snapshot(options: Options) -> str:
    """Write the customers, a chunk in memory at a time, and give the snapshot's path within the folder."""
    name = f"{DATA}/customers_{options.day:%Y_%m_%d}"
    if options.files == 1:
        name += ".parquet"
        _write_file(options, options.root / name, 0, options.rows)
        return name
    for number in range(options.files):
        start, stop = (options.rows * n // options.files for n in (number, number + 1))
        _write_file(options, options.root / name / f"part-{number:04d}.parquet", start, stop)
    return name


def _write_file(options: Options, path: Path, start: int, stop: int) -> None:
    """Write one file; it appears under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, SNAPSHOT, compression="zstd", write_page_checksum=True, store_schema=False) as file:
        for table in Population(options.day).rows(start, stop):
            file.write_table(table)
    partial.replace(path)


def _build_model(options: Options) -> None:
    from examples.churn.train import TRAINED_UNTIL, train

    digest = folder.write_model(options.root / MODEL, train(options.model))
    folder.write_yaml(options.root / SCHEMA, _schema())
    folder.write_yaml(options.root / CONFIG, _config(options, digest, TRAINED_UNTIL))


def _schema() -> dict[str, Any]:
    floats = [_number(name, "float64", *limits) for name, limits in FLOATS.items()]
    ints = [_number(name, "int64", *limits) for name, limits in INTS.items()]
    texts = [
        {"name": name, "dtype": "string", "nullable": False, "categories": list(categories)}
        for name, (categories, _) in CATEGORIES.items()
    ]
    return {"name": "churn", "version": "1", "features": floats + ints + texts}


def _number(name: str, dtype: str, least: float, greatest: float) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "nullable": name in NULL_SHARE, "min": least, "max": greatest}


def _config(options: Options, model_sha256: str, trained_until: date) -> dict[str, Any]:
    """Give the run's config; every path in it is relative to the folder of the example."""
    suffix = ".parquet" if options.files == 1 else ""
    return {
        "pipeline": "churn",
        "environment": "dev",
        "snapshot": {"path": f"{DATA}/{TEMPLATE}{suffix}", "id": ID},
        "schema": SCHEMA,
        "model": {
            "path": MODEL,
            "version": "1.2.0",
            "sha256": model_sha256,
            "output": "probability",
            "trained_until": str(trained_until),
        },
        "postprocess": {"threshold": 0.7, "flag": "risk_flag"},
        "output": {"path": "outputs"},
        "schedule": {"cron": "30 3 * * *", "timezone": "UTC", "offset_days": -1, "grace_minutes": 120},
    }
