"""Rows to scores, in fixed blocks, so that a row's score never depends on how the rows were cut.

Numeric kernels choose their path by the shape and the layout of a matrix, which moves the last bits of a score. Here
the model is always called with exactly `block_rows` rows in the same layout: the last block is padded with its last
row, and what the padding scored is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from batchscore.errors import ModelError

if TYPE_CHECKING:
    import pyarrow as pa

    from batchscore.schema import FeatureSchema

BLOCK_ROWS = 16_384
"""The default number of rows per call of the model; it decides the last bits of the scores and is part of the plan."""

_ROUNDING = 1e-9
"""A probability may leave 0..1 by this much, as sums of rounded shares do; it is then set to the bound."""


class Scorer(Protocol):
    """What scores a block; safe to call from several threads."""

    @property
    def schema(self) -> FeatureSchema:
        """The features, in the model's order."""

    @property
    def output(self) -> str:
        """What the scores are: probability, value or class."""

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[Any]:
        """Yield what `predict` takes, of exactly `block_rows` rows each: the given ones, and the last one repeated."""

    def predict(self, block: Any) -> np.ndarray:
        """Return float64 scores of shape `(n_rows, n_scores)`."""


def score(model: Scorer, table: pa.Table, block_rows: int = BLOCK_ROWS) -> np.ndarray:
    """Score a table.

    Args:
        model: The model.
        table: The features by name, each in the type of the feature schema; other columns are not looked at.
        block_rows: Rows per call of the model.

    Returns:
        Scores of shape `(n_rows, n_scores)`, C-ordered float64, in the rows' order; all finite, probabilities in 0..1.

    Raises:
        ModelError: When the model refuses the rows, or a score is not finite or no probability.
    """
    features = table.select(list(model.schema.names))
    if features.num_rows == 0:
        return _no_scores(model)
    scores = np.concatenate([model.predict(block) for block in model.blocks(features, block_rows)])
    return _checked(np.ascontiguousarray(scores[: features.num_rows], dtype=np.float64), model.output)


def _no_scores(model: Scorer) -> np.ndarray:
    classes = len(getattr(model, "classes", ()))
    width = classes if model.output == "probability" and classes > 2 else 1  # noqa: PLR2004 - two need one score
    return np.empty((0, width), dtype=np.float64)


def _checked(scores: np.ndarray, output: str) -> np.ndarray:
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        raise ModelError(
            f"the model gives {int((~finite).sum())} of {len(scores)} rows a score that is no finite number"
            f" (first: row {int((~finite).argmax())} of the partition)",
            slug="SCORE-NOT-FINITE",
            remedy="look at the features of that row; declare `finite`, `min` and `max` in the feature schema",
        )
    if output != "probability" or scores.size == 0:
        return scores
    outside = ((scores < -_ROUNDING) | (scores > 1 + _ROUNDING)).any(axis=1)
    if outside.any():
        raise ModelError(
            f"the model gives {int(outside.sum())} of {len(scores)} rows a probability outside 0..1"
            f" (first: row {int(outside.argmax())} of the partition)",
            slug="SCORE-RANGE",
            remedy="set model.output to value if the model gives no probabilities",
        )
    return np.clip(scores, 0.0, 1.0, out=scores)
