"""From scores to decisions: calibrate, compare with the threshold, name the columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from batchscore.errors import ConfigError, ModelError
from batchscore.strict import Section

ClassLabel = str | int | float | bool

RESERVED = ("prediction", "raw_prediction", "label", "rule")
"""Columns of the predictions that no flag may be named after."""


class CalibrationOptions(Section):
    """`calibration`: how a raw score becomes a probability that means what it says.

    `sigmoid` is `1 / (1 + exp(-(a * score + b)))`.
    """

    kind: Literal["sigmoid"]
    """The form of the curve."""
    a: float = Field(allow_inf_nan=False)
    """The slope over the raw score; above 0, since a calibration keeps the order of the scores."""
    b: float = Field(allow_inf_nan=False)
    """The intercept."""

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        if self.a <= 0:
            raise ValueError(
                f"has a {self.a}, which must be above 0, or the order of the scores turns round; "
                "scikit-learn and Platt write exp(a * score + b): negate both of their numbers"
            )
        return self


class PostprocessOptions(Section):
    """`postprocess`: what is decided from a score."""

    threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Scores from here on are flagged; without one there is no flag column."""
    flag: str = Field(default="risk_flag", min_length=1)
    """The name of the flag column."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.flag in RESERVED:
            raise ValueError(f"has flag '{self.flag}', which is the name of another column of the predictions")
        return self


class Scored(Protocol):
    """What the scores are: a verified model."""

    @property
    def output(self) -> str:
        """What the scores are: probability, value or class."""

    @property
    def classes(self) -> tuple[ClassLabel, ...]:
        """The labels of the classes, in the model's order."""

    @property
    def positive(self) -> int | None:
        """The index of the class whose probability is the prediction."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the columns of the score matrix."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What was decided of one partition's rows."""

    columns: Mapping[str, pa.Array]
    """The columns of the predictions after id and passthrough, in their order."""
    flagged_rows: int
    """Rows whose flag is set."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows per label, as `label:<class>`, where there are labels."""


def check_options(options: PostprocessOptions, calibration: CalibrationOptions | None, output: str) -> None:
    """Check what the sections only mean together, before any model is opened.

    Raises:
        ConfigError: When the threshold lies outside the scores, or there is no score to calibrate or to compare.
    """
    threshold = options.threshold
    if output == "class" and (threshold is not None or calibration is not None):
        key = "postprocess.threshold" if threshold is not None else "calibration"
        raise ConfigError(
            f"{key} needs a score, but model.output is class",
            slug="NO-SCORE",
            remedy="set model.output to probability, or leave the key out",
        )
    is_probability = output == "probability" or calibration is not None
    if threshold is not None and is_probability and not 0 <= threshold <= 1:
        raise ConfigError(
            f"postprocess.threshold is {threshold}, but a probability lies in 0..1",
            slug="THRESHOLD",
            remedy="write 0.7 for 70 %",
        )


def decide(
    scores: np.ndarray, model: Scored, options: PostprocessOptions, calibration: CalibrationOptions | None = None
) -> Decisions:
    """Make the columns of the predictions.

    One score gives `prediction`; three classes or more give `label` (the most probable class), `prediction` (the
    probability of `model.positive_class`, or of the label when there is none) and one `prediction_<class>` each;
    `model.output: class` gives `label` alone. `raw_prediction` stands before `prediction` when it was calibrated.
    The flag is `prediction >= threshold`.

    Args:
        scores: Shape `(n_rows, n_scores)`, in the order of `model.score_names`.
        model: The verified model.
        options: Threshold and flag.
        calibration: The curve, or None.
    """
    columns: dict[str, pa.Array] = {}
    counts: dict[str, int] = {}
    labels = _label_indexes(scores, model)
    if labels is not None:
        columns["label"] = _label_column(labels, model.classes)
        per_class = np.bincount(labels, minlength=len(model.classes))
        counts = {f"label:{label}": int(rows) for label, rows in zip(model.classes, per_class, strict=True)}
    flagged = 0
    if model.output != "class":
        raw = raw_prediction(scores, model)
        prediction = raw if calibration is None else calibrate(raw, calibration)
        columns |= {} if calibration is None else {"raw_prediction": pa.array(raw)}
        columns["prediction"] = pa.array(prediction)
        if len(model.score_names) > 1:
            columns |= {name: pa.array(scores[:, at]) for at, name in enumerate(model.score_names)}
        if options.threshold is not None:
            flags = prediction >= options.threshold
            flagged = int(flags.sum())
            columns[options.flag] = pa.array(flags)
    return Decisions(columns=columns, flagged_rows=flagged, counts=counts)


def raw_prediction(scores: np.ndarray, model: Scored) -> np.ndarray:
    """Return the one score per row that stands for the row, before calibration, of shape `(n_rows,)`."""
    if scores.shape[1] == 1:
        return np.ascontiguousarray(scores[:, 0])
    if model.positive is not None:
        return np.ascontiguousarray(scores[:, model.positive])
    return np.asarray(scores.max(axis=1))


def calibrate(raw: np.ndarray, options: CalibrationOptions) -> np.ndarray:
    """Return the calibrated probabilities of the raw scores, each in 0..1 and in the same order.

    Raises:
        ModelError: When a result is no number, as for a score that is none.
    """
    from scipy.special import expit

    calibrated = np.asarray(expit(options.a * raw + options.b), dtype=np.float64)
    if not np.isfinite(calibrated).all():
        raise ModelError(
            f"the calibration gives {int((~np.isfinite(calibrated)).sum())} of {len(raw)} rows no finite number",
            slug="CALIBRATION-NOT-FINITE",
            remedy="check the numbers of `calibration` against the range of the raw scores",
        )
    return calibrated


def _label_indexes(scores: np.ndarray, model: Scored) -> np.ndarray | None:
    if model.output == "class":
        return scores[:, 0].astype(np.int64)
    return scores.argmax(axis=1) if len(model.score_names) > 1 else None


def _label_column(indexes: np.ndarray, classes: tuple[ClassLabel, ...]) -> pa.Array:
    return pa.array(list(classes)).take(pa.array(indexes))
