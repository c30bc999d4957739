"""The last step of a model as plain data: what turns a matrix into scores, without the estimator that it was read from.

`read_final` reads a fitted estimator off into arrays and numbers; `to_plain` and `from_plain` carry those through a
file. Whoever reads must prove: `engine.differing` runs both ways on samples, and one different bit means that the
estimator's own code scores. What runs here imports numpy alone; only reading looks at scikit-learn's objects.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from batchscore.model.final.unknown import UnknownStepError, kind_of, reading

if TYPE_CHECKING:
    import numpy as np

Answer = Literal["probability", "value", "class", "decision"]
"""What is asked for; `decision` is what `decision_function` gives, which estimators around another one ask of it."""


class Final(Protocol):
    """A fitted final estimator; safe to call from several threads."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores of float64 of shape `(n_rows, n_columns)`, as float64 of shape `(n_rows, n_scores)`.

        The same bits as the estimator's, for a matrix in C or in Fortran order.

        Raises:
            ValueError: When the estimator refuses a value.
        """

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again: texts, numbers, None, lists, dicts, and numeric numpy arrays."""


_LINEAR = (
    *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso"),
    *("LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVC", "LinearSVR"),
    *("LogisticRegression", "LogisticRegressionCV", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"),
    *("Perceptron", "Ridge", "RidgeCV", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier", "SGDRegressor"),
    "TheilSenRegressor",
)
_TREES = (
    *("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    *("ExtraTreesClassifier", "ExtraTreesRegressor", "GradientBoostingClassifier", "GradientBoostingRegressor"),
    *("HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "RandomForestClassifier"),
    "RandomForestRegressor",
)
_COMMITTEES = ("FrozenEstimator", "StackingClassifier", "StackingRegressor", "VotingClassifier", "VotingRegressor")

READERS: Mapping[str, str] = {
    **dict.fromkeys(_TREES, "batchscore.model.final.read_trees"),
    **dict.fromkeys(_LINEAR, "batchscore.model.final.linear"),
    **dict.fromkeys(_COMMITTEES, "batchscore.model.final.committee"),
    "CalibratedClassifierCV": "batchscore.model.final.calibrated",
    "Pipeline": "batchscore.model.final.chain",
    "MLPClassifier": "batchscore.model.final.network",
    "MLPRegressor": "batchscore.model.final.network",
}
"""The module that reads each class of scikit-learn: its `read(estimator, output, classes, positive)` gives a `Final`."""
KINDS: Mapping[str, str] = {
    "chain": "batchscore.model.final.chain",
    "calibrated": "batchscore.model.final.calibrated",
    "linear": "batchscore.model.final.linear",
    "network": "batchscore.model.final.network",
    "trees": "batchscore.model.final.trees",
    "stacking": "batchscore.model.final.committee",
    "voting": "batchscore.model.final.committee",
}
"""The module that makes each kind of plain data a `Final` again: its `from_plain`; the kind stands under `kind`."""


def read_final(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Final:
    """Read a fitted estimator off.

    Args:
        estimator: The estimator.
        output: What is asked for.
        classes: The labels of the classes, in the estimator's order; empty for a regressor.
        positive: The class whose probability is the one score of two classes; None for the probabilities of all,
            which estimators around this one need also of two.

    Raises:
        UnknownStepError: When the estimator, or how it is set, is not known; the text says what.
    """
    kind = kind_of(estimator)
    if kind not in READERS:
        raise UnknownStepError(f"{kind} is not known")
    with reading(estimator):
        final: Final = importlib.import_module(READERS[kind]).read(estimator, output, classes, positive)
    return final


def from_plain(plain: Mapping[str, Any]) -> Final:
    """Return the `Final` whose `to_plain` this is.

    Raises:
        UnknownStepError: When the kind is not known.
    """
    kind = plain["kind"]
    if kind not in KINDS:
        raise UnknownStepError(f"the kind {kind} is not known")
    final: Final = importlib.import_module(KINDS[kind]).from_plain(plain)
    return final
