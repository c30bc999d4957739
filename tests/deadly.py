"""A model that crashes its process over certain rows, as a bug in a native library does."""

from __future__ import annotations

import ctypes

import numpy as np
from sklearn.linear_model import LogisticRegression

DEADLY = 666.0
"""The value of the first feature that kills."""


def crash() -> None:
    """Read address 0; a signal sent to the own process may find another thread, and this one goes on for a while."""
    ctypes.string_at(0)


class DeadlyRegression(LogisticRegression):
    """A logistic regression that a value of the first feature crashes."""

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities, or crash."""
        if (np.asarray(rows)[:, 0] == DEADLY).any():
            crash()
        return super().predict_proba(rows)
