"""Polars frames through the Pipeline, in two spawned processes that each load the model once."""

from __future__ import annotations

import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import joblib
import polars as pl

ID, THRESHOLD = "customer_id", 0.7
LOADED: dict[str, Any] = {}


def main() -> None:
    """Hand the files to two processes; forking would deadlock Polars' threads."""
    data, model, out = (Path(each) for each in sys.argv[1:])
    out.mkdir(parents=True)
    files = sorted(data.glob("*.parquet")) if data.is_dir() else [data]
    with get_context("spawn").Pool(2, load, (model,)) as pool:
        pool.map(partial(score, out), files, chunksize=1)
        pool.close()
        pool.join()


def load(model: Path) -> None:
    """Load the model, once in a process."""
    LOADED["pipeline"] = joblib.load(model)


def score(out: Path, path: Path) -> None:
    """Score one file."""
    pipeline = LOADED["pipeline"]
    customers = pl.read_parquet(path)
    scores = pipeline.predict_proba(customers.select(list(pipeline.feature_names_in_)))[:, 1]
    made = customers.select(ID).with_columns(
        pl.Series("prediction", scores), pl.Series("risk_flag", scores >= THRESHOLD)
    )
    made.write_parquet(out / path.name, compression="zstd")


if __name__ == "__main__":
    main()
