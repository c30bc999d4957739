"""A tiny but whole pipeline: 300 customers in three files, a fitted scikit-learn pipeline, schema and config.

It is made once for each test session and copied for each test, which may then break it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from forked_cli import Ended, ForkedCli
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

DAY = "2024-03-01"
CONFIG = "small.yaml"
SCHEMA = "small.schema.yaml"
MODEL = "models/churn_v1.2.0.joblib"
SNAPSHOT = "data/customers_2024_03_01"
OUTPUTS = "outputs"
FILES = 3
ROWS = 300

FEATURES: tuple[Mapping[str, Any], ...] = (
    {"name": "amount", "dtype": "float64"},
    {"name": "age", "dtype": "int32", "min": 0, "max": 120},
    {"name": "visits", "dtype": "int64"},
    {"name": "plan", "dtype": "string", "categories": ["basic", "plus", "pro"]},
)
NAMES = tuple(feature["name"] for feature in FEATURES)


def customers(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Return customers: an id, the features, and a column that no model takes."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "customer_id": pa.array([f"c{seed}-{row:06d}" for row in range(rows)], pa.string()),
            "amount": pa.array(rng.gamma(2.0, 40.0, rows).round(2)),
            "age": pa.array(rng.integers(18, 90, rows, dtype=np.int32)),
            "visits": pa.array(rng.integers(0, 40, rows)),
            "plan": pa.array(rng.choice(["basic", "plus", "pro"], rows), pa.string()),
            "region": pa.array(rng.choice(["north", "south"], rows), pa.string()),
        }
    )


def target(table: pa.Table, classes: int = 2) -> np.ndarray:
    """Return a target that can be learnt, with labels from 0 on."""
    signal = table["visits"].to_numpy() + 0.05 * table["amount"].to_numpy()
    noise = np.random.default_rng(7).normal(scale=4, size=len(signal))
    return np.digitize(signal + noise, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))


def fit(estimator: Any, answer: Any, *, names: Sequence[str] = NAMES) -> Pipeline:
    """Fit a pipeline with its preparation inside, on a frame with these columns in this order."""
    frame = customers().select(list(names)).to_pandas()
    numbers = [name for name in ("amount", "age", "visits") if name in names]
    prepare = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])]
    )
    return Pipeline([("prepare", prepare), ("estimate", estimator)]).fit(frame, answer)


@dataclass(frozen=True)
class World:
    """One copy of the pipeline, to be broken."""

    root: Path
    """Its folder: the working directory of every command."""
    cli: ForkedCli
    """Runs commands."""

    def __call__(self, *argv: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run a command line in the folder."""
        return self.cli(*argv, cwd=self.root, env=env)

    def run(self, *more: str, date: str = DAY, env: Mapping[str, str] | None = None) -> Ended:
        """Run the main job on a date."""
        return self("run", "--config", CONFIG, "--date", date, *more, env=env)

    def path(self, name: str) -> Path:
        """Return a path in the folder."""
        return self.root / name

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it stands in the file."""
        return yaml.safe_load(self.path(CONFIG).read_text())

    def configure(self, **keys: Any) -> None:
        """Set keys of the configuration, `section__key=value`; None removes the key."""
        _edit(self.path(CONFIG), lambda content: [_set(content, key.split("__"), value) for key, value in keys.items()])

    def add_to_config(self, text: str) -> None:
        """Append text to the configuration file."""
        with self.path(CONFIG).open("a") as file:
            file.write(text)

    def feature(self, name: str, **keys: Any) -> None:
        """Set keys of a feature in the schema; None removes the key."""
        self.schema(
            lambda schema: [_set(f, [k], v) for f in schema["features"] if f["name"] == name for k, v in keys.items()]
        )

    def schema(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the feature schema in place."""
        _edit(self.path(SCHEMA), change)

    def deliver(self, date: str) -> None:
        """Deliver the snapshot's rows as those of another date too."""
        self.path(SNAPSHOT.replace(DAY.replace("-", "_"), date.replace("-", "_"))).symlink_to(self.path(SNAPSHOT))

    def part(self, number: int = 0) -> Path:
        """Return a file of the snapshot."""
        return self.path(f"{SNAPSHOT}/part-{number}.parquet")

    def rows(self, number: int = 0) -> pa.Table:
        """Return the rows of a file of the snapshot."""
        return pq.read_table(self.part(number))

    def rewrite(self, change: Callable[[pa.Table], pa.Table], *numbers: int, **options: Any) -> None:
        """Write files of the snapshot anew, the first one by default."""
        for number in numbers or (0,):
            pq.write_table(change(self.rows(number)), self.part(number), write_page_checksum=True, **options)

    def set_value(self, column: str, row: int, value: Any, number: int = 0) -> None:
        """Change one value of the snapshot."""

        def change(table: pa.Table) -> pa.Table:
            at = table.column_names.index(column)
            values = table[column].to_pylist()
            values[row] = value
            return table.set_column(at, column, pa.array(values, table.schema.field(column).type))

        self.rewrite(change, number)

    def release(self, model: object, path: str = MODEL) -> None:
        """Put a model in place and pin it."""
        joblib.dump(model, self.path(path))
        self.pin(path)

    def pin(self, path: str = MODEL) -> None:
        """Pin the model that lies there."""
        self.configure(model__path=path, model__sha256=hashlib.sha256(self.path(path).read_bytes()).hexdigest())

    def published(self) -> dict[str, str]:
        """Return what readers see: every commit, and where every date leads."""
        outputs = self.path(OUTPUTS)
        shown = {path.name: str(path.readlink()) for path in outputs.glob("*") if path.is_symlink()}
        commits = {
            str(path.relative_to(outputs)): _sha256(path) for path in outputs.glob("_batchscore/commits/*/*.json")
        }
        return shown | commits

    def tree(self) -> dict[str, tuple[str, int]]:
        """Return digest and time of change of every file under the folder."""
        files = (path for path in sorted(self.root.rglob("*")) if path.is_file() or path.is_symlink())
        return {
            str(path.relative_to(self.root)): (
                str(path.readlink()) if path.is_symlink() else _sha256(path),
                path.lstat().st_mtime_ns,
            )
            for path in files
        }

    def predictions(self, date: str = DAY) -> pd.DataFrame:
        """Return what was published, as a user reads it."""
        return pd.read_parquet(self.path(f"{OUTPUTS}/{date}/predictions.parquet"))


def build(root: Path) -> None:
    """Make the pipeline in a folder."""
    for folder in ("models", SNAPSHOT):
        (root / folder).mkdir(parents=True)
    write_snapshot(root / SNAPSHOT)
    (root / SCHEMA).write_text(
        yaml.safe_dump(
            {"name": "small", "version": "1", "features": [dict(each) for each in FEATURES]}, sort_keys=False
        )
    )
    joblib.dump(fit(LogisticRegression(), target(customers())), root / MODEL)
    config = {
        "pipeline": "small",
        "snapshot": {"path": "data/customers_{date:%Y_%m_%d}", "id": "customer_id"},
        "schema": SCHEMA,
        "model": {"path": MODEL, "version": "1.2.0", "sha256": _sha256(root / MODEL), "compiled": {"mode": "off"}},
        "postprocess": {"threshold": 0.7},
        "output": {"path": OUTPUTS},
        "partition": {"rows": 100},
    }
    (root / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))


def write_snapshot(folder: Path, rows: int = ROWS, files: int = FILES, seed: int = 0) -> None:
    """Write a snapshot of customers in several files."""
    folder.mkdir(parents=True, exist_ok=True)
    table = customers(rows, seed)
    for number in range(files):
        start, stop = rows * number // files, rows * (number + 1) // files
        pq.write_table(table.slice(start, stop - start), folder / f"part-{number}.parquet", write_page_checksum=True)


def copy(source: Path, target_folder: Path, cli: ForkedCli) -> World:
    """Copy the pipeline into a new folder."""
    shutil.copytree(source, target_folder)
    return World(target_folder, cli)


def regressor() -> Pipeline:
    """Return a fitted regressor."""
    table = customers()
    return fit(Ridge(), table["visits"].to_numpy() * 2.5)


def three_classes() -> Pipeline:
    """Return a fitted classifier of three classes with names."""
    labels = np.array(["low", "mid", "high"])[target(customers(), 3)]
    return fit(LogisticRegression(), labels)


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _set(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *sections, last = keys
    for section in sections:
        content = content.setdefault(section, {})
    if value is None:
        content.pop(last, None)
    else:
        content[last] = value


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
