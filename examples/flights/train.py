"""Train the model on January, and say how good it is on February, which it has not seen."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from examples.flights.features import NAMES, NUMBERS, TEXT
from examples.flights.source import LATE_MINUTES, TEST, TRAIN

SEED = 20130131


def train(rows: pd.DataFrame) -> Pipeline:
    """Fit the pipeline on January's flights with a known arrival; the same rows give the same model.

    The classifier is calibrated on held-out fifths of January, so that its probabilities mean what they say.
    """
    known = labelled(rows, *TRAIN)
    numbers = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    prepare = ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXT)]
    )
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    classify = CalibratedClassifierCV(LogisticRegression(max_iter=2000), method="sigmoid", cv=folds)
    pipeline = Pipeline([("prepare", prepare), ("classify", classify)])
    with threadpool_limits(limits=1):  # sums of several threads come in any order
        return pipeline.fit(known[NAMES], known["late"])


def assess(pipeline: Pipeline, rows: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Measure the model on February; beside it the departure delay alone, the rule that anybody could use."""
    known = labelled(rows, *TEST)
    scores = pipeline.predict_proba(known[NAMES])[:, 1]
    flagged, late, delayed = scores >= threshold, known["late"], known["dep_delay"] >= LATE_MINUTES
    return {
        "trained_on": [str(day) for day in TRAIN],
        "tested_on": [str(day) for day in TEST],
        "rows": len(known),
        "rows_without_arrival": int(_between(rows, *TEST)["arr_delay"].isna().sum()),
        "share_late": round(float(late.mean()), 4),
        "mean_score": round(float(scores.mean()), 4),
        "auc": round(float(roc_auc_score(late, scores)), 4),
        "auc_of_departure_delay_alone": round(float(roc_auc_score(late, known["dep_delay"])), 4),
        "brier": round(float(brier_score_loss(late, scores)), 4),
        "brier_of_the_mean": round(float(late.mean() * (1 - late.mean())), 4),
        "threshold": threshold,
        "share_flagged": round(float(flagged.mean()), 4),
        "precision": round(float(late[flagged].mean()), 4),
        "recall": round(float(flagged[late].mean()), 4),
        "precision_of_departed_late": round(float(late[delayed].mean()), 4),
        "recall_of_departed_late": round(float(delayed[late].mean()), 4),
    }


def labelled(rows: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    """Give the rows of a span whose arrival is known, with `late`; a diverted flight has no arrival to learn from."""
    known = _between(rows, first, last).dropna(subset=["arr_delay"])
    return known.assign(late=known["arr_delay"] >= LATE_MINUTES)


def _between(rows: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    return rows[rows["day"].between(pd.Timestamp(first), pd.Timestamp(last))]
