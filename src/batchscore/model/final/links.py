"""From decisions to scores, with scikit-learn's own operations in its order; shared by several families of models."""

from __future__ import annotations

from typing import Any

import numpy as np


def refuse_not_finite(matrix: np.ndarray) -> None:
    """Refuse what most estimators refuse.

    Raises:
        ValueError: When a value is NaN or infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(matrix)):
            return
    if not np.isfinite(matrix).all():
        raise ValueError("Input X contains NaN or infinity.")


def chosen(probabilities: np.ndarray, positive: int | None) -> np.ndarray:
    """Return the one score of two classes, or the probabilities of all, of shape `(n_rows, n_scores)`."""
    if positive is None or probabilities.shape[1] != 2:  # noqa: PLR2004 - of two classes one is the other's complement
        return probabilities
    return np.ascontiguousarray(probabilities[:, positive]).reshape(-1, 1)


def indices(found: Any) -> np.ndarray:
    """Return indices of classes as scores of shape `(n_rows, 1)`."""
    return np.asarray(found).astype(np.float64).reshape(-1, 1)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the softmax of each row, in place, as `sklearn.utils.extmath.softmax`."""
    scores -= np.max(scores, axis=1).reshape(-1, 1)
    np.exp(scores, out=scores)
    scores /= np.sum(scores, axis=1).reshape(-1, 1)
    return scores


def normalised(shares: np.ndarray) -> np.ndarray:
    """Return the shares of each row divided by their sum, in place; a row of zeros becomes uniform."""
    total = shares.sum(axis=1)
    nothing = total == 0
    if np.any(nothing):
        shares[nothing, :] = 1
        total[nothing] = shares.shape[1]
    shares /= total.reshape(-1, 1)
    return shares
