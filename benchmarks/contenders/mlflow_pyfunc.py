"""A model of MLflow, loaded as pyfunc in each of two processes, which share the files.

`python FILE --save MODEL FOLDER` saves a pipeline as such a model, once and unmeasured.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib

ID, THRESHOLD, WORKERS = "customer_id", 0.7, 2


def main() -> None:
    """Share the files out, or save the model."""
    if sys.argv[1] == "--save":
        save(*sys.argv[2:])
        return
    data, model, out = (Path(each) for each in sys.argv[1:])
    out.mkdir(parents=True)
    files = sorted(data.glob("*.parquet")) if data.is_dir() else [data]
    shares = [files[number::WORKERS] for number in range(min(WORKERS, len(files)))]
    joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(score)(share, str(model), out) for share in shares)


def save(pipeline: str, folder: str) -> None:
    """Save a pipeline so that `predict` gives its probabilities."""
    import mlflow.sklearn

    mlflow.sklearn.save_model(
        joblib.load(pipeline),
        folder,
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["scikit-learn"],
    )


def score(share: list[Path], model: str, out: Path) -> None:
    """Score some files, one after the other."""
    import mlflow.pyfunc
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(model)
    for path in share:
        customers = pd.read_parquet(path)
        customers["prediction"] = loaded.predict(customers.drop(columns=ID))[:, 1]
        customers["risk_flag"] = customers["prediction"] >= THRESHOLD
        customers[[ID, "prediction", "risk_flag"]].to_parquet(out / path.name, compression="zstd", index=False)


if __name__ == "__main__":
    main()
