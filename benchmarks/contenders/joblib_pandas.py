"""joblib and pandas: a task per file, which loads the model, as its documentation's examples do."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import pandas as pd

ID, THRESHOLD = "customer_id", 0.7


def main() -> None:
    """Hand the files to two processes."""
    data, model, out = (Path(each) for each in sys.argv[1:])
    out.mkdir(parents=True)
    files = sorted(data.glob("*.parquet")) if data.is_dir() else [data]
    joblib.Parallel(n_jobs=2)(joblib.delayed(score)(path, model, out / path.name) for path in files)


def score(path: Path, model: Path, target: Path) -> None:
    """Score one file."""
    customers = pd.read_parquet(path)
    pipeline = joblib.load(model)
    customers["prediction"] = pipeline.predict_proba(customers[list(pipeline.feature_names_in_)])[:, 1]
    customers["risk_flag"] = customers["prediction"] >= THRESHOLD
    customers[[ID, "prediction", "risk_flag"]].to_parquet(target, compression="zstd", index=False)


if __name__ == "__main__":
    main()
