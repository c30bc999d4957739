"""Linear and logistic models as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.kernel import sigmoid
from batchscore.model.final.links import chosen, indices, normalised, refuse_not_finite, softmax
from batchscore.model.final.unknown import UnknownStepError, kind_of

if TYPE_CHECKING:
    from batchscore.model.final import Answer

REGRESSORS = frozenset(
    {
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lars",
        "LarsCV",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LassoLarsCV",
        "LassoLarsIC",
        "LinearRegression",
        "LinearSVR",
        "OrthogonalMatchingPursuit",
        "OrthogonalMatchingPursuitCV",
        "Ridge",
        "RidgeCV",
        "SGDRegressor",
        "TheilSenRegressor",
    }
)
CLASSIFIERS = frozenset(
    {"LinearSVC", "LogisticRegression", "LogisticRegressionCV", "Perceptron", "RidgeClassifier", "RidgeClassifierCV"}
    | {"SGDClassifier"}
)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A weighted sum of the columns, and what becomes of it."""

    coef: np.ndarray
    """The weights, of shape `(n_columns,)` or `(n_outputs, n_columns)`, in the estimator's order in memory."""
    intercept: np.ndarray
    """What is added."""
    answer: Answer
    """What is asked for."""
    link: str
    """How decisions become probabilities: `softmax`, `sigmoid` or `huber`; empty where there are none."""
    positive: int | None
    """The class whose probability is the score."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        refuse_not_finite(matrix)
        scores: np.ndarray = matrix @ (self.coef.T if self.coef.ndim == 2 else self.coef) + self.intercept  # noqa: PLR2004
        if self.answer == "value":
            return scores.reshape(-1, 1)
        binary = scores.ndim == 1 or scores.shape[1] == 1
        scores = scores.reshape(-1) if binary else scores
        if self.answer == "class":
            return indices(scores > 0 if binary else np.argmax(scores, axis=1))
        if self.answer == "decision":
            return scores.reshape(len(scores), -1)
        return self._binary(scores) if binary else chosen(self._multiclass(scores), self.positive)

    def _binary(self, scores: np.ndarray) -> np.ndarray:
        second = self._shares(scores)
        if self.positive is None:
            return np.stack([1 - second, second], axis=1)
        return (second if self.positive else 1 - second).reshape(-1, 1)

    def _multiclass(self, scores: np.ndarray) -> np.ndarray:
        if self.link == "softmax":
            return softmax(scores)
        return normalised(self._shares(scores))

    def _shares(self, scores: np.ndarray) -> np.ndarray:
        if self.link != "huber":
            return sigmoid(scores)
        shares: np.ndarray = (np.clip(scores, -1, 1) + 1.0) / 2.0
        return shares

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        return {"kind": "linear", **vars(self)}


def from_plain(plain: Mapping[str, Any]) -> Linear:
    """Return what `to_plain` gave."""
    return Linear(**{name: value for name, value in plain.items() if name != "kind"})


def read(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Linear:
    """Read a fitted estimator off: `read_final`."""
    kind, coef = kind_of(estimator), np.asarray(estimator.coef_)
    if hasattr(estimator, "sparsify") and not isinstance(estimator.coef_, np.ndarray):
        raise UnknownStepError(f"{kind} with sparse weights")
    if (output == "value") != (kind in REGRESSORS) or (kind in CLASSIFIERS and not len(classes)):
        raise UnknownStepError(f"{kind} is not known to answer with {output}")
    return Linear(
        coef=coef,
        intercept=np.asarray(estimator.intercept_, dtype=np.float64),
        answer=output,
        link=_link(estimator, kind, len(classes)) if output == "probability" else "",
        positive=positive,
    )


def _link(estimator: Any, kind: str, classes: int) -> str:
    if kind in ("LogisticRegression", "LogisticRegressionCV"):
        return "softmax" if classes > 2 else "sigmoid"  # noqa: PLR2004 - of two classes one needs no softmax
    if kind == "SGDClassifier":
        return {"log_loss": "sigmoid", "modified_huber": "huber"}[estimator.loss]
    raise UnknownStepError(f"{kind} gives no probabilities")
