"""What stands in many a cron job: one process, pandas, the Pipeline as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import pandas as pd

ID, THRESHOLD = "customer_id", 0.7


def main() -> None:
    """Read everything, score everything, write one file."""
    data, model, out = (Path(each) for each in sys.argv[1:])
    out.mkdir(parents=True)
    customers = pd.read_parquet(data)
    pipeline = joblib.load(model)
    customers["prediction"] = pipeline.predict_proba(customers[list(pipeline.feature_names_in_)])[:, 1]
    customers["risk_flag"] = customers["prediction"] >= THRESHOLD
    customers[[ID, "prediction", "risk_flag"]].to_parquet(out / "scores.parquet", compression="zstd", index=False)


if __name__ == "__main__":
    main()
