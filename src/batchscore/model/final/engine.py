"""The final estimator done by plain data instead of its own code, where that is known to change no bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from batchscore.errors import ModelError
from batchscore.kernel import compiled
from batchscore.model.final import Final, read_final
from batchscore.model.final.telling import matrices
from batchscore.model.final.unknown import UnknownStepError, kind_of, reading, width_of

if TYPE_CHECKING:
    from batchscore.model.estimator import EstimatorModel


def engined(model: EstimatorModel, order: Literal["C", "F"] = "C") -> EstimatorModel:
    """Return the model with its estimator read off, proven for matrices in an order; or as it is, and why."""
    try:
        final = proven(model, order)
        size = getattr(final, "size", "")
        engine = f"{getattr(final, 'engine', 'plain data')}: {kind_of(model.estimator)}{', ' if size else ''}{size}"
        return replace(model, final=final, facts={**model.facts, "engine": engine})
    except UnknownStepError as reason:
        return replace(model, facts={**model.facts, "engine": f"the estimator's own: {reason}"})


def proven(model: EstimatorModel, order: Literal["C", "F"], *, slow: bool = False) -> Final:
    """Read the estimator off, and compare both ways on matrices made to tell them apart.

    Args:
        model: The model; it takes a matrix.
        order: The order in which its matrices lie in memory.
        slow: Whether trees are read off even where no compiled kernel makes that the faster way.

    Raises:
        UnknownStepError: When the estimator is not known, or one bit differs.
    """
    if model.takes != "matrix":
        raise UnknownStepError(f"{kind_of(model.estimator)} takes a frame")
    final = read_final(model.estimator, model.output, model.classes, model.positive)
    runs, reason = compiled()
    if getattr(final, "engine", "") == "kernel" and not (runs or slow):
        raise UnknownStepError(f"without the compiled kernel it is the faster one; {reason}")
    if difference := differing(model, final, order):
        raise UnknownStepError(difference)
    return final


def differing(model: EstimatorModel, final: Final, order: Literal["C", "F"]) -> str:
    """Return where the estimator and what was read of it differ in a bit, or in what they refuse; empty for nowhere."""
    agreed = 0
    with reading(model.estimator):
        width = width_of(model.estimator)
    for name, matrix in _matrices(final, width):
        given = np.asarray(matrix, dtype=np.float64, order=order)
        expected, found = _outcome(replace(model, final=None), given), _outcome(replace(model, final=final), given)
        if (expected is None) != (found is None):
            return f"one way refuses the {name}, the other does not"
        if expected is None or found is None:
            continue
        agreed += 1
        if expected.shape != found.shape or expected.tobytes() != found.tobytes():
            return f"the bits differ on the {name}"
    return "" if agreed else "the estimator refuses every sample"


def _matrices(final: Final, n_columns: int) -> Iterator[tuple[str, np.ndarray]]:
    yield from matrices(n_columns)
    own = getattr(final, "telling", None)
    if own is not None:
        yield from own()


def _outcome(model: EstimatorModel, matrix: np.ndarray) -> np.ndarray | None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return model.predict(matrix)
        except ModelError:
            return None
