"""The sections `calibration` and `postprocess` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from batchscore.rules import Rule, Sha256
from batchscore.strict import FROM_LIST, Section

RESERVED = ("prediction", "raw_prediction", "label", "rule")
"""Columns of the predictions that no other one may be named after."""

Bound = float | None


class CalibrationOptions(Section):
    """`calibration`: how a raw score becomes a probability that means what it says.

    `sigmoid` is `1 / (1 + exp(-(a * score + b)))`; `beta` is `1 / (1 + exp(-(a * ln(score) - b * ln(1 - score) + c)))`
    (Kull, Silva Filho, Flach 2017); `isotonic` goes straight between the points of a table, and stays level outside.
    """

    kind: Literal["sigmoid", "isotonic", "beta"]
    """The form of the curve."""
    a: float | None = Field(default=None, allow_inf_nan=False)
    """sigmoid: the slope, above 0; beta: the weight of ln(score), 0 or more."""
    b: float | None = Field(default=None, allow_inf_nan=False)
    """sigmoid: the intercept; beta: the weight of ln(1 - score), 0 or more."""
    c: float | None = Field(default=None, allow_inf_nan=False)
    """beta: the intercept."""
    path: str | None = Field(default=None, min_length=1)
    """isotonic: a CSV or parquet table with the columns `score` and `probability`, both in ascending order."""
    sha256: Sha256 | None = None
    """isotonic: sha256 of the table."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {"sigmoid": ("a", "b"), "beta": ("a", "b", "c"), "isotonic": ("path", "sha256")}[self.kind]
        for name in ("a", "b", "c", "path", "sha256"):
            if (getattr(self, name) is not None) != (name in wanted):
                verb = "needs" if name in wanted else "has no"
                raise ValueError(f"of kind {self.kind} {verb} '{name}'; its numbers are {', '.join(wanted)}")
        if self.kind == "sigmoid" and self.a is not None and self.a <= 0:
            raise ValueError(
                f"has a {self.a}, which must be above 0, or the order of the scores turns round; "
                "scikit-learn and Platt write exp(a * score + b): negate both of their numbers"
            )
        if self.kind == "beta" and (min(self.a or 0, self.b or 0) < 0 or not (self.a or self.b)):
            raise ValueError(f"has a {self.a} and b {self.b}; both must be 0 or more, and one above 0")
        return self


class SegmentOptions(Section):
    """`postprocess.segments`: another threshold for some values of a column."""

    column: str = Field(min_length=1)
    """A feature or a passthrough column of text, whole numbers or booleans."""
    thresholds: dict[bool | int | str, float] = Field(min_length=1)
    """The threshold for each value; all others and nulls have `postprocess.threshold`."""


class PostprocessOptions(Section):
    """`postprocess`: what is decided from a score.

    In this order: calibrate, clip, round, rules, threshold.
    """

    threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Predictions from here on are flagged; without one there is no flag column."""
    flag: str = Field(default="risk_flag", min_length=1)
    """The name of the flag column."""
    segments: SegmentOptions | None = None
    """Other thresholds for some values of a column."""
    review_band: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Predictions below the threshold by at most this are marked in the column `review`."""
    review: str = Field(default="review", min_length=1)
    """The name of the review column."""
    clip: Annotated[tuple[Bound, Bound], FROM_LIST] | None = None
    """Values are held between these two; null is no bound. For model.output value."""
    round: int | None = Field(default=None, ge=0, le=15)
    """Values are rounded to this many digits after the point, halves to even. For model.output value."""
    rules: Annotated[tuple[Rule, ...], FROM_LIST] = ()
    """Business rules, in order."""
    match: Literal["first", "all"] = "first"
    """Whether the first rule that holds decides a row, or every one acts."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("flag", "review"):
            if getattr(self, key) in RESERVED or getattr(self, key).startswith("prediction_"):
                raise ValueError(f"has {key} '{getattr(self, key)}', which is the name of another column")
        if self.flag == self.review and self.review_band is not None:
            raise ValueError(f"has '{self.flag}' as both flag and review")
        if self.threshold is None and (self.segments is not None or self.review_band is not None):
            key = "segments" if self.segments is not None else "review_band"
            raise ValueError(f"has {key} without threshold, which holds for all other rows")
        if self.clip is not None and None not in self.clip and self.clip[0] >= self.clip[1]:  # type: ignore[operator]
            raise ValueError(f"has clip {list(self.clip)}, whose first bound must be below the second")
        return self
