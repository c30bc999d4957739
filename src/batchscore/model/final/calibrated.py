"""Calibrated classifiers as plain data: the mean over folds of an estimator's decisions, mapped class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.kernel import sigmoid
from batchscore.model.final import Final, read_final
from batchscore.model.final import from_plain as final_from
from batchscore.model.final.links import chosen, indices, refuse_not_finite
from batchscore.model.final.unknown import UnknownStepError, kind_of

if TYPE_CHECKING:
    from batchscore.model.final import Answer


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One estimator with the maps of its decisions."""

    estimator: Final
    """Its decisions: one of two classes, else one per class."""
    column: int | None
    """The column of the estimator's answer that is mapped; None for all."""
    places: tuple[int, ...]
    """The class that each decision is about."""
    maps: tuple[np.ndarray, ...]
    """Per decision slope and offset of a sigmoid, of shape `(2,)`, or the points of a line, of shape `(2, n)`."""

    def probabilities(self, matrix: np.ndarray, classes: int) -> np.ndarray:
        """Return the mapped probabilities of shape `(n_rows, classes)`, as `_CalibratedClassifier.predict_proba`."""
        decisions = self.estimator.predict(matrix)
        if self.column is not None:
            decisions = decisions[:, self.column].reshape(-1, 1)
        found = np.zeros((len(matrix), classes))
        for place, decision, mapping in zip(self.places, decisions.T, self.maps, strict=True):
            found[:, place] = _mapped(decision, mapping)
        if classes == 2:  # noqa: PLR2004 - the other one is its complement
            found[:, 0] = 1.0 - found[:, 1]
        else:
            total = np.sum(found, axis=1)[:, np.newaxis]
            found = np.divide(found, total, out=np.full_like(found, 1 / classes), where=total != 0)
        found[(found > 1.0) & (found <= 1.0 + 1e-5)] = 1.0
        return found


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The mean of some folds."""

    folds: tuple[Fold, ...]
    """The folds, in order."""
    classes: int
    """How many classes there are."""
    answer: Answer
    """What is asked for."""
    positive: int | None
    """The class whose probability is the score."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        mean = np.zeros((len(matrix), self.classes))
        for fold in self.folds:
            mean += fold.probabilities(matrix, self.classes)
        mean /= len(self.folds)
        return indices(np.argmax(mean, axis=1)) if self.answer == "class" else chosen(mean, self.positive)

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        folds = [{**vars(fold), "estimator": fold.estimator.to_plain()} for fold in self.folds]
        return {"kind": "calibrated", **vars(self), "folds": folds}


def _mapped(decision: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    if mapping.ndim == 1:
        return sigmoid(-(mapping[0] * decision + mapping[1]))
    refuse_not_finite(decision)
    edges, heights = mapping
    if len(edges) == 1:
        return np.full(decision.shape, heights[0])
    line: np.ndarray = np.interp(np.clip(decision, edges[0], edges[-1]), edges, heights)
    return line


def from_plain(plain: Mapping[str, Any]) -> Calibrated:
    """Return what `to_plain` gave."""
    folds = tuple(
        Fold(
            estimator=final_from(fold["estimator"]),
            column=fold["column"],
            places=tuple(fold["places"]),
            maps=tuple(fold["maps"]),
        )
        for fold in plain["folds"]
    )
    return Calibrated(folds=folds, classes=plain["classes"], answer=plain["answer"], positive=plain["positive"])


def read(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Calibrated:
    """Read a fitted estimator off: `read_final`."""
    if output not in ("probability", "class"):
        raise UnknownStepError(f"CalibratedClassifierCV is not known to answer with {output}")
    folds = tuple(_fold(each, np.asarray(estimator.classes_)) for each in estimator.calibrated_classifiers_)
    return Calibrated(folds=folds, classes=len(classes), answer=output, positive=positive)


def _fold(fold: Any, classes: np.ndarray) -> Fold:
    own = np.asarray(fold.estimator.classes_)
    places = np.searchsorted(classes, own).tolist()
    decides = hasattr(fold.estimator, "decision_function")
    binary = len(classes) == 2  # noqa: PLR2004 - then the decision is about the second
    if binary and len(own) != 2:  # noqa: PLR2004
        raise UnknownStepError("a fold of CalibratedClassifierCV saw one class")
    return Fold(
        estimator=read_final(fold.estimator, "decision" if decides else "probability", own.tolist(), None),
        column=1 if binary and not decides else None,
        places=(1,) if binary else tuple(places),
        maps=tuple(_map(each) for each in fold.calibrators),
    )


def _map(calibrator: Any) -> np.ndarray:
    kind = kind_of(calibrator)
    if kind == "_SigmoidCalibration":
        return np.array([calibrator.a_, calibrator.b_], dtype=np.float64)
    if kind != "IsotonicRegression" or calibrator.out_of_bounds != "clip":
        raise UnknownStepError(f"calibration by {kind} is not known")
    edges, heights = calibrator.X_thresholds_, calibrator.y_thresholds_
    is_double = edges.dtype == np.float64 and heights.dtype == np.float64
    if not is_double or edges[0] != calibrator.X_min_ or edges[-1] != calibrator.X_max_:
        raise UnknownStepError("an IsotonicRegression of another type or range is not known")
    return np.stack([edges, heights])
