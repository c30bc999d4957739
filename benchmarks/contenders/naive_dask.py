"""Dask as its documentation shows it first: read_parquet, map_partitions with the model as an argument, to_parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import joblib
import pandas as pd
from distributed import Client, LocalCluster

ID, THRESHOLD = "customer_id", 0.7


def main() -> None:
    """Score on a local cluster of two processes."""
    data, model, out = (Path(each) for each in sys.argv[1:])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        pipeline = joblib.load(model)
        meta = {ID: "str", "prediction": "float64", "risk_flag": "bool"}
        customers = dd.read_parquet(str(data))
        customers.map_partitions(score, pipeline, meta=meta).to_parquet(str(out), compression="zstd", write_index=False)


def score(customers: pd.DataFrame, pipeline: Any) -> pd.DataFrame:
    """Score one partition."""
    scores = pipeline.predict_proba(customers[list(pipeline.feature_names_in_)])[:, 1]
    return customers[[ID]].assign(prediction=scores, risk_flag=scores >= THRESHOLD)


if __name__ == "__main__":
    main()
