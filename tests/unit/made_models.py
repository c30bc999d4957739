"""Small data and fitted estimators for the tests of the model, its scores and what is made of them."""

from __future__ import annotations

import functools
import hashlib
import io
from datetime import date, timedelta

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from batchscore.model import ModelOptions
from batchscore.schema import Feature, FeatureSchema

NUMBERS = ("n0", "n1", "n2", "n3", "n4", "n5", "n6")
MIXED = (
    Feature(name="amount", dtype="float64", nullable=True, finite=False),
    Feature(name="delay", dtype="int32", nullable=True),
    Feature(name="count", dtype="int64"),
    Feature(name="ratio", dtype="float32"),
    Feature(name="vip", dtype="bool"),
    Feature(name="carrier", dtype="string", nullable=True),
    Feature(name="origin", dtype="string"),
)


def number_schema() -> FeatureSchema:
    """Seven float64 features."""
    return FeatureSchema(
        name="numbers", version="1", features=tuple(Feature(name=name, dtype="float64") for name in NUMBERS)
    )


def mixed_schema() -> FeatureSchema:
    """Numbers of several types, with and without nulls, a boolean and two texts."""
    return FeatureSchema(name="mixed", version="1", features=MIXED)


def numbers(rows: int, seed: int = 0) -> pa.Table:
    """Return a table that fits `number_schema`."""
    rng = np.random.default_rng(seed)
    return pa.table({name: rng.normal(size=rows) * (at + 1) for at, name in enumerate(NUMBERS)})


def mixed(rows: int, seed: int = 0) -> pa.Table:
    """Return a table that fits `mixed_schema`, with nulls where they are allowed."""
    rng = np.random.default_rng(seed)
    gone = rng.random(rows) < 0.1
    return pa.table(
        {
            "amount": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.05),
            "delay": pa.array(rng.integers(-30, 300, rows, dtype=np.int32), mask=gone),
            "count": pa.array(rng.integers(0, 9, rows)),
            "ratio": pa.array(rng.random(rows, dtype=np.float32)),
            "vip": pa.array(rng.random(rows) < 0.3),
            "carrier": pa.array(rng.choice(["AA", "B6", "UA", "é"], rows), mask=rng.random(rows) < 0.1),
            "origin": pa.array(rng.choice(["JFK", "LGA", "EWR"], rows)),
        }
    )


def with_dates(rows: int) -> pa.Table:
    """Return dates, times and a boolean with nulls."""
    days = [None if at % 7 == 0 else date(2013, 1, 1) + timedelta(days=at % 31) for at in range(rows)]
    flags = [None if at % 5 == 0 else at % 2 == 0 for at in range(rows)]
    return pa.table({"day": pa.array(days), "at": pa.array(days).cast(pa.timestamp("us")), "vip": pa.array(flags)})


def as_read(table: pa.Table) -> pd.DataFrame:
    """Return the table as `pandas.read_parquet` gives it to whoever trains."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return pd.read_parquet(io.BytesIO(sink.getvalue()))


def target(table: pa.Table, classes: int = 2) -> np.ndarray:
    """Return a learnable target."""
    signal = np.nan_to_num(as_read(table).iloc[:, :2].to_numpy(dtype=float)).sum(axis=1)
    noise = np.random.default_rng(5).normal(size=len(signal))
    return np.digitize(signal + noise, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))


def prepare():
    """Return the usual preparation: impute and scale the numbers, impute and one-hot the texts."""
    numeric = ["amount", "delay", "count", "ratio", "vip"]
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("num", scaled, numeric), ("cat", texts, ["carrier", "origin"])])


@functools.cache
def fitted(kind: str):
    """Return a fitted estimator, its schema and the function that makes its rows; one object per kind."""
    on_mixed = {
        "logistic, 2 classes": (LogisticRegression(), 2),
        "logistic, 3 classes": (LogisticRegression(), 3),
        "calibrated": (CalibratedClassifierCV(LogisticRegression(), cv=2), 2),
        "forest": (RandomForestClassifier(25, max_depth=6, n_jobs=2, random_state=0), 2),
        "perceptron": (MLPClassifier((9,), max_iter=60, tol=1e-1, random_state=0), 2),
        "boosting": (HistGradientBoostingClassifier(max_iter=20), 2),
        "calibrated outside": (None, 2),
    }
    on_numbers = {
        "logistic, numbers": (make_pipeline(StandardScaler(), LogisticRegression()), 2),
        "logistic, numbers, 3 classes": (make_pipeline(StandardScaler(), LogisticRegression()), 3),
        "components": (make_pipeline(StandardScaler(), PCA(3), LogisticRegression()), 2),
        "boosting, numbers": (HistGradientBoostingClassifier(max_iter=20), 2),
        "boosting, 3 classes": (HistGradientBoostingClassifier(max_iter=10), 3),
        "forest, numbers": (RandomForestClassifier(25, max_depth=6, random_state=0), 3),
        "perceptron, numbers": (MLPClassifier((9,), max_iter=60, tol=1e-1, random_state=0), 2),
        "regression": (make_pipeline(StandardScaler(), Ridge()), 2),
    }
    make, table = (mixed, mixed(800)) if kind in on_mixed else (numbers, numbers(800))
    schema = mixed_schema() if kind in on_mixed else number_schema()
    estimator, classes = (on_mixed | on_numbers)[kind]
    if kind == "calibrated outside":
        estimator = CalibratedClassifierCV(make_pipeline(prepare(), LogisticRegression()), method="isotonic", cv=2)
    elif kind in on_mixed:
        estimator = make_pipeline(prepare(), estimator)
    return estimator.fit(as_read(table), target(table, classes)), schema, make


MIXED_KINDS = (
    "logistic, 2 classes",
    "logistic, 3 classes",
    "calibrated",
    "calibrated outside",
    "forest",
    "perceptron",
    "boosting",
)
NUMBER_KINDS = (
    "logistic, numbers",
    "logistic, numbers, 3 classes",
    "components",
    "boosting, numbers",
    "boosting, 3 classes",
    "forest, numbers",
    "perceptron, numbers",
    "regression",
)


def dumped(thing: object) -> bytes:
    """Return the bytes of joblib's file."""
    sink = io.BytesIO()
    joblib.dump(thing, sink)
    return sink.getvalue()


def options_of(content: bytes, **keys: object) -> ModelOptions:
    """Return options that pin `content`."""
    given = {"path": "models/flights_v1.2.0.joblib", "version": "1.2.0", "sha256": hashlib.sha256(content).hexdigest()}
    return ModelOptions.model_validate(given | keys)
