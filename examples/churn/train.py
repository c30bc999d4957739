"""Train a model on customers of an earlier date, whose leaving is drawn from a known chance."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from examples.churn.customers import CATEGORIES, FLOATS, ID, INTS, Population

TRAINED_UNTIL = date(2026, 1, 8)
SEED = 20260108
KINDS = ("logreg", "hgb", "rf")
NUMBERS, TEXT = [*FLOATS, *INTS], list(CATEGORIES)


def train(kind: str) -> Pipeline:
    """Fit a pipeline of the given kind (one of `KINDS`); the same kind gives the same model."""
    customers = Population(TRAINED_UNTIL).chunk(0).to_pandas().drop(columns=ID)
    left = np.random.default_rng(SEED).random(len(customers)) < _chance_of_leaving(customers)
    numbers: SimpleImputer | Pipeline = SimpleImputer(strategy="median")
    text: OneHotEncoder | OrdinalEncoder = OrdinalEncoder()
    if kind == "logreg":
        numbers = Pipeline([("impute", numbers), ("scale", StandardScaler())])
        text = OneHotEncoder(sparse_output=False)
    prepare = ColumnTransformer([("numbers", numbers, NUMBERS), ("text", text, TEXT)])
    pipeline = Pipeline([("prepare", prepare), ("classify", _classifier(kind))])
    with threadpool_limits(limits=1):  # sums of several threads come in any order
        return pipeline.fit(customers, left)


def _classifier(kind: str) -> ClassifierMixin:
    if kind == "hgb":
        return HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False, random_state=SEED)
    if kind == "rf":
        return RandomForestClassifier(n_estimators=100, max_depth=12, random_state=SEED)
    return LogisticRegression(max_iter=1000)


def _chance_of_leaving(customers: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give the true chance, in 0..1, one for each customer; a missing number counts as its usual value."""
    logit: pd.Series[float] = (
        -2.1
        + 1.9 * (customers["contract"] == "month-to-month")
        - 0.9 * (customers["contract"] == "two-year")
        + 0.5 * (customers["payment_method"] == "cheque")
        - 0.035 * customers["tenure_months"]
        + 0.45 * customers["support_tickets"]
        + 0.014 * (customers["monthly_charges"] - 62)
        + 0.03 * customers["days_since_login"]
        - 0.35 * (customers["satisfaction"].fillna(6.8) - 6.8)
        - 0.003 * (customers["credit_score"].fillna(680) - 680)
        - 0.5 * customers["usage_trend"]
    )
    return 1 / (1 + np.exp(-logit.to_numpy(dtype="float64")))
