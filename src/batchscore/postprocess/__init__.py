"""From scores to decisions: calibrate, clip, apply the rules, compare with the threshold, name the columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from batchscore.errors import ConfigError
from batchscore.postprocess.calibration import Curve, load_curve
from batchscore.postprocess.check import (
    check_options,
    columns_used,
    is_probability,
    made_columns,
    new_columns,
    rule_types,
)
from batchscore.postprocess.options import CalibrationOptions, PostprocessOptions, SegmentOptions
from batchscore.profile.buffers import column
from batchscore.rules import CompiledRules, Outcome, Rows, RuleTest, compile_rules, tell_rules
from batchscore.rules.tables import Read

__all__ = [
    "CalibrationOptions",
    "Curve",
    "Decider",
    "Decisions",
    "PostprocessOptions",
    "RuleTest",
    "SegmentOptions",
    "build",
    "check_options",
    "columns_used",
    "load_curve",
    "made_columns",
    "new_columns",
]

ClassLabel = str | int | float | bool


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
    """Rows per label (`label:<class>`), per rule (`rule:<name>`), and in the review band (`review`)."""


@dataclass(frozen=True, kw_only=True)
class Decider:
    """Everything between scores and decisions, ready to use; safe to call from several threads.

    The columns, in this order: `label` (three classes or more, or output class), `raw_prediction` (where the
    prediction can be another number), `prediction`, one `prediction_<class>` per class (three or more), the flag, the
    review column, `rule` and the columns that rules set. Of three classes or more the prediction is the probability of
    `model.positive_class`, or of the label when there is none.
    """

    options: PostprocessOptions
    """Threshold, segments, clipping, names."""
    model: Scored
    """What the scores are."""
    curve: Curve | None
    """The calibration."""
    rules: CompiledRules | None
    """The rules; None when there are none."""

    def decide(self, scores: np.ndarray, table: pa.Table) -> Decisions:
        """Make the columns of the predictions.

        Args:
            scores: Shape `(n_rows, n_scores)`, in the order of `model.score_names`.
            table: The rows' columns that rules and segments look at (`columns_used`), in the scores' order.

        Raises:
            ModelError: When the calibration can not take a score.
        """
        columns: dict[str, pa.Array] = {}
        counts: dict[str, int] = {}
        labels = _label_indexes(scores, self.model)
        if labels is not None:
            columns["label"] = _label_column(labels, self.model.classes)
            per_class = np.bincount(labels, minlength=len(self.model.classes)).tolist()
            counts |= {f"label:{label}": rows for label, rows in zip(self.model.classes, per_class, strict=True)}
        raw = None if self.model.output == "class" else raw_prediction(scores, self.model)
        prediction = None if raw is None else self._transformed(raw)
        outcome = self._ruled(columns, raw, prediction, table, len(scores))
        if outcome is not None:
            prediction = None if prediction is None else outcome.prediction
            counts |= outcome.counts
        flagged = 0
        if raw is not None and prediction is not None:
            columns |= {"raw_prediction": column(raw)} if self._keeps_raw else {}
            columns["prediction"] = column(prediction)
            if len(self.model.score_names) > 1:
                columns |= {name: column(scores[:, at]) for at, name in enumerate(self.model.score_names)}
            flagged = self._flag(columns, counts, prediction, outcome, table)
        columns |= {} if outcome is None else outcome.columns
        return Decisions(columns=columns, flagged_rows=flagged, counts=counts)

    def tests(self, scores: np.ndarray, table: pa.Table) -> tuple[RuleTest, ...]:
        """Return every rule with its conditions on one row, whatever the other rules do.

        Args:
            scores: Shape `(1, n_scores)`.
            table: The row's columns that rules look at.
        """
        if self.rules is None:
            return ()
        labels = _label_indexes(scores, self.model)
        columns = {} if labels is None else {"label": _label_column(labels, self.model.classes)}
        raw = None if self.model.output == "class" else raw_prediction(scores, self.model)
        rows = self._rows(columns, raw, None if raw is None else self._transformed(raw), table, len(scores))
        return tell_rules(self.rules.rules, rows)

    def thresholds(self, table: pa.Table, n_rows: int) -> np.ndarray | None:
        """Return each row's threshold, of shape `(n_rows,)`; None when there is none."""
        if self.options.threshold is None:
            return None
        found = np.full(n_rows, float(self.options.threshold))
        if self.options.segments is not None:
            _put_segments(found, self.options.segments, table.column(self.options.segments.column))
        return found

    @property
    def _keeps_raw(self) -> bool:
        moving = self.rules is not None and any(rule.then.moves_prediction for rule in self.rules.rules)
        return self.curve is not None or self.options.clip is not None or self.options.round is not None or moving

    def _transformed(self, raw: np.ndarray) -> np.ndarray:
        prediction = raw if self.curve is None else self.curve(raw)
        if self.options.clip is not None:
            low, high = self.options.clip
            prediction = np.clip(prediction, -np.inf if low is None else low, np.inf if high is None else high)
        return prediction if self.options.round is None else np.round(prediction, self.options.round)

    def _rows(
        self,
        columns: Mapping[str, pa.Array],
        raw: np.ndarray | None,
        prediction: np.ndarray | None,
        table: pa.Table,
        n_rows: int,
    ) -> Rows:
        seen = {name: table.column(name) for name in columns_used(self.options)} | dict(columns)
        if raw is not None and prediction is not None:
            seen |= {"raw_prediction": column(raw), "prediction": column(prediction)}
        return Rows(seen, n_rows)

    def _ruled(
        self,
        columns: Mapping[str, pa.Array],
        raw: np.ndarray | None,
        prediction: np.ndarray | None,
        table: pa.Table,
        n_rows: int,
    ) -> Outcome | None:
        if self.rules is None:
            return None
        rows = self._rows(columns, raw, prediction, table, n_rows)
        return self.rules.apply(rows, np.zeros(n_rows) if prediction is None else prediction)

    def _flag(
        self,
        columns: dict[str, pa.Array],
        counts: dict[str, int],
        prediction: np.ndarray,
        outcome: Outcome | None,
        table: pa.Table,
    ) -> int:
        thresholds = self.thresholds(table, len(prediction))
        if thresholds is None:
            return 0
        flags = prediction >= thresholds
        if outcome is not None and outcome.flag is not None:
            flags = np.where(outcome.flag < 0, flags, outcome.flag > 0)
        columns[self.options.flag] = column(flags)
        if self.options.review_band is not None:
            review = ~flags & (prediction < thresholds) & (prediction >= thresholds - self.options.review_band)
            columns[self.options.review] = column(review)
            counts["review"] = int(review.sum())
        return int(flags.sum())


def build(
    options: PostprocessOptions,
    calibration: CalibrationOptions | None,
    model: Scored,
    types: Mapping[str, str | None],
    *,
    read: Read,
) -> Decider:
    """Read the tables that decisions rest on, and make what decides.

    Args:
        options: The section `postprocess`.
        calibration: The section `calibration`.
        model: The verified model.
        types: Features and passthrough columns with their types in the words of the feature schema.
        read: Returns the bytes of a path.

    Raises:
        ConfigError: When the sections do not fit one another, the model or the columns, or a table is not what is
            pinned.
    """
    check_options(options, calibration, model.output, types, model.classes)
    if calibration is not None and len(model.score_names) > 1 and model.positive is None:
        raise ConfigError(
            f"calibration needs one score, but the model has {len(model.classes)} classes and no positive one",
            slug="CALIBRATION-CLASSES",
            remedy="set model.positive_class, or leave the calibration out",
        )
    rules = None
    if options.rules:
        rules = compile_rules(
            options.rules,
            options.match,
            rule_types(types, model.output, model.classes),
            read=read,
            probability=is_probability(calibration, model.output),
        )
    curve = None if calibration is None else load_curve(calibration, read=read)
    return Decider(options=options, model=model, curve=curve, rules=rules)


def raw_prediction(scores: np.ndarray, model: Scored) -> np.ndarray:
    """Return the one score per row that stands for the row, before calibration, of shape `(n_rows,)`."""
    if scores.shape[1] == 1:
        return np.ascontiguousarray(scores[:, 0])
    if model.positive is not None:
        return np.ascontiguousarray(scores[:, model.positive])
    return np.asarray(scores.max(axis=1))


def _label_indexes(scores: np.ndarray, model: Scored) -> np.ndarray | None:
    if model.output == "class":
        return scores[:, 0].astype(np.int64)
    return scores.argmax(axis=1) if len(model.score_names) > 1 else None


def _label_column(indexes: np.ndarray, classes: tuple[ClassLabel, ...]) -> pa.Array:
    return pa.array(list(classes)).take(pa.array(indexes))


def _put_segments(thresholds: np.ndarray, segments: SegmentOptions, column: pa.ChunkedArray) -> None:
    import pyarrow.compute as pc

    kind = pa.string() if pa.types.is_dictionary(column.type) else column.type
    keys = pa.array(list(segments.thresholds), kind)
    index = pc.index_in(column.cast(kind), value_set=keys).fill_null(-1).to_numpy()
    own = np.array(list(segments.thresholds.values()), dtype=np.float64)
    known = index >= 0
    thresholds[known] = own[index[known]]
