"""The second pipeline over the same flights: a skops and an ONNX twin, a calibration, rules, a quarantine, gates."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from examples import folder
from examples.flights.build import CONFIG, DATA, MODEL
from examples.flights.features import FEATURES, ID, NAMES, TEXT
from examples.flights.source import TRAIN
from examples.flights.train import SEED, labelled

if TYPE_CHECKING:
    import pandas as pd

SKOPS = MODEL.replace(".joblib", ".skops")
ONNX = MODEL.replace(".joblib", ".onnx")
CURVE = "artifacts/calibration/flights_late_isotonic_v1.csv"
DESKS = "config/desks.csv"
RULES = "config/flights.rules.yaml"
SCHEMA = "config/flights.rules.schema.yaml"
TWIN = "config/flights.onnx.yaml"
FEWEST_SEATS = 19
"""No airline flies a smaller plane from New York; the register says otherwise of some tail numbers."""

_DESKS = "origin,desk\nEWR,Newark operations\nJFK,Kennedy operations\nLGA,LaGuardia operations\n"


def build_rules(root: Path, rows: pd.DataFrame) -> None:
    """Write the twins, the calibration, the lookup table, the schema and the configurations.

    Args:
        root: The folder of the example, in which `build` has put the model.
        rows: All departures, as `read_departures` gives them.
    """
    pipeline = joblib.load(root / MODEL)
    skops, trusted = _skops(pipeline)
    files = {
        SKOPS: skops,
        ONNX: _onnx(pipeline),
        CURVE: _curve(pipeline, rows),
        DESKS: _DESKS.encode(),
    }
    for path, content in files.items():
        folder.write_whole(root / path, content)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    folder.write_yaml(root / SCHEMA, _schema())
    folder.write_yaml(root / RULES, _config(digests, trusted))
    folder.write_yaml(root / TWIN, _twin(digests))


def _skops(pipeline: object) -> tuple[bytes, list[str]]:
    """Give the pipeline as a skops file, and the types in it that somebody has to look at once."""
    import skops.io

    content = skops.io.dumps(pipeline)
    return content, sorted(str(name) for name in skops.io.get_untrusted_types(data=content))


def _onnx(pipeline: Any) -> bytes:
    """Give the pipeline as a graph with an input per feature: text as text, numbers as float32."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = [(name, (StringTensorType if name in TEXT else FloatTensorType)([None, 1])) for name in NAMES]
    graph = convert_sklearn(pipeline, initial_types=types, options={id(pipeline): {"zipmap": False}})
    return bytes(graph.SerializeToString())


def _curve(pipeline: Any, rows: pd.DataFrame) -> bytes:
    """Fit an isotonic curve on scores that January's flights got from models that had not seen them."""
    from sklearn.base import clone
    from sklearn.isotonic import IsotonicRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    known = labelled(rows, *TRAIN)
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    with threadpool_limits(limits=1):
        held_out = cross_val_predict(
            clone(pipeline), known[NAMES], known["late"], cv=folds, method="predict_proba", n_jobs=1
        )[:, 1]
    curve = IsotonicRegression(y_min=0, y_max=1).fit(held_out, known["late"])
    buffer = io.StringIO("")
    buffer.write("score,probability\n")
    for score, probability in zip(curve.X_thresholds_, curve.y_thresholds_, strict=True):
        buffer.write(f"{float(score)!r},{float(np.clip(probability, 0, 1))!r}\n")
    return buffer.getvalue().encode()


def _schema() -> dict[str, Any]:
    """Give the contract: that of the plain pipeline, but for planes that no airline flies."""
    features = [replace(each, min=FEWEST_SEATS) if each.name == "seats" else each for each in FEATURES]
    return {"name": "flights-rules", "version": "1", "features": [each.as_entry() for each in features]}


def _config(digests: dict[str, str], trusted: list[str]) -> dict[str, Any]:
    return {
        "pipeline": "flights-rules",
        "environment": "dev",
        "snapshot": {"path": f"{DATA}/flights_{{date:%Y_%m_%d}}.parquet", "id": ID},
        "schema": SCHEMA,
        "model": {
            "path": SKOPS,
            "version": "1.2.0",
            "sha256": digests[SKOPS],
            "trusted": trusted,
            "trained_until": str(TRAIN[1]),
            "allow_trained_after": True,
        },
        "calibration": {"kind": "isotonic", "path": CURVE, "sha256": digests[CURVE]},
        "postprocess": {
            "threshold": 0.5,
            "flag": "risk_flag",
            "review_band": 0.1,
            "match": "all",
            "rules": _rules(digests[DESKS]),
        },
        "rows": {"on_bad": "quarantine", "max_bad_count": 30, "max_bad_percent": 3.0},
        "output": {"path": "outputs-rules", "passthrough": ["flight", "tailnum", "carrier", "origin", "dest"]},
        "volume": {"min_rows": 100, "max_drop": 0.4, "max_rise": 0.4, "on_breach": "hold"},
    }


def _rules(desks_sha256: str) -> list[dict[str, Any]]:
    return [
        {
            "name": "gusts",  # both runways lie at the water
            "when": [{"column": "wind_gust", "at_least": 35}, {"column": "origin", "one_of": ["JFK", "LGA"]}],
            "then": {"at_least": 0.5},
        },
        {
            "name": "few-flights",  # the model has seen too little of them to be this sure
            "when": [{"column": "carrier", "one_of": ["AS", "F9", "HA", "OO", "YV"]}],
            "then": {"at_most": 0.9, "set": {"note": "ask the carrier"}},
        },
        {
            "name": "desk",
            "when": [{"column": "prediction", "at_least": 0.4}],
            "then": {
                "lookup": {"path": DESKS, "sha256": desks_sha256, "by": "origin", "value": "desk", "into": "desk"}
            },
        },
    ]


def _twin(digests: dict[str, str]) -> dict[str, Any]:
    """Give what is laid over the plain config to score the same with the graph, elsewhere."""
    return {
        "pipeline": "flights-onnx",
        "model": {"path": ONNX, "version": "1.2.0", "sha256": digests[ONNX]},
        "output": {"path": "outputs-onnx"},
    }


def mended(root: Path, day: date) -> Path:
    """Write a day's flights anew, where the register's entry is of a plane that no airline flies, without that entry."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(root / f"{DATA}/flights_{day:%Y_%m_%d}.parquet")
    odd = pc.less(table["seats"], FEWEST_SEATS).fill_null(False)  # noqa: FBT003 - Arrow's own order
    for name in ("seats", "plane_age"):
        at = table.column_names.index(name)
        table = table.set_column(
            at, table.schema.field(at), pc.if_else(odd, pa.scalar(None, pa.float64()), table[name])
        )
    path = root / "data/mended" / f"flights_{day:%Y_%m_%d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.filter(odd), path, compression="zstd", write_page_checksum=True, store_schema=False)
    return path


__all__ = ["CONFIG", "RULES", "TWIN", "build_rules", "mended"]
