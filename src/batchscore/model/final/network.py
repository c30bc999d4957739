"""Multi-layer perceptrons as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.kernel import sigmoid
from batchscore.model.final.links import chosen, indices, refuse_not_finite
from batchscore.model.final.unknown import UnknownStepError, kind_of

if TYPE_CHECKING:
    from batchscore.model.final import Answer


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers of weighted sums with an activation after each."""

    weights: tuple[np.ndarray, ...]
    """The weights of each layer, of shape `(n_inputs, n_outputs)`, in the estimator's order in memory."""
    offsets: tuple[np.ndarray, ...]
    """What each layer adds."""
    hidden: str
    """The activation after every layer but the last."""
    last: str
    """The activation after the last layer."""
    answer: Answer
    """What is asked for."""
    positive: int | None
    """The class whose probability is the score."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        refuse_not_finite(matrix)
        values = matrix
        for at, (weights, offsets) in enumerate(zip(self.weights, self.offsets, strict=True), start=1):
            values = values @ weights
            values += offsets
            values = _ACTIVATIONS[self.hidden if at < len(self.weights) else self.last](values)
        if self.answer == "value":
            return values.reshape(-1, 1)
        if values.shape[1] > 1:
            return indices(values.argmax(axis=1)) if self.answer == "class" else chosen(values, self.positive)
        second = values.ravel()
        if self.answer == "class":
            return indices(second > 0.5)  # noqa: PLR2004 - where LabelBinarizer parts two classes
        if self.positive is None:
            return np.vstack([1 - second, second]).T
        return (second if self.positive else 1 - second).reshape(-1, 1)

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        return {"kind": "network", **vars(self)}


def _softmax(values: np.ndarray) -> np.ndarray:
    np.exp(values - values.max(axis=1)[:, np.newaxis], out=values)
    values /= values.sum(axis=1)[:, np.newaxis]
    return values


_ACTIVATIONS: Mapping[str, Any] = {
    "identity": lambda values: values,
    "exp": np.exp,
    "tanh": np.tanh,
    "logistic": sigmoid,
    "relu": lambda values: np.maximum(values, 0),
    "softmax": _softmax,
}


def from_plain(plain: Mapping[str, Any]) -> Network:
    """Return what `to_plain` gave."""
    layers = {name: tuple(plain[name]) for name in ("weights", "offsets")}
    return Network(**{name: value for name, value in {**plain, **layers}.items() if name != "kind"})


def read(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Network:
    """Read a fitted estimator off: `read_final`."""
    kind = kind_of(estimator)
    if output == "decision" or (output == "value") != (kind == "MLPRegressor"):
        raise UnknownStepError(f"{kind} is not known to answer with {output}")
    if estimator.n_outputs_ not in (1, len(classes)):
        raise UnknownStepError(f"{kind} has several outputs")
    return Network(
        weights=tuple(estimator.coefs_),
        offsets=tuple(estimator.intercepts_),
        hidden=str(estimator.activation),
        last=str(estimator.out_activation_),
        answer=output,
        positive=positive,
    )
