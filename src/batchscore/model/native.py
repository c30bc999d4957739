"""Fitted preprocessing done natively: a pipeline's first steps read off into `Preparation`, and proven on a sample.

A `ColumnTransformer` costs ten times the arithmetic that it stands for. The steps known here are done in Arrow and
numpy straight into the matrix that the rest of the pipeline takes. On a sample of nulls, unseen categories,
infinities, extremes and ordinary rows both ways are run; one different bit, or one unknown step, and the pipeline's
own code scores. Either way the scores are the same, so nothing of this is part of a plan.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from batchscore.model.calls import refusing
from batchscore.model.final.engine import engined
from batchscore.model.final.unknown import UnknownStepError, is_nothing, kind_of, reading
from batchscore.model.preparation import Column, Preparation
from batchscore.model.proof import samples
from batchscore.model.steps import changes_nothing, frame_columns, through, transformed

if TYPE_CHECKING:
    from batchscore.model.estimator import EstimatorModel
    from batchscore.model.options import ClassLabel, Output
    from batchscore.schema import FeatureSchema


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """A pipeline whose first steps are done natively."""

    original: EstimatorModel
    """The whole pipeline."""
    rest: EstimatorModel
    """What comes after the native steps."""
    preparation: Preparation
    """The native steps."""
    facts: Mapping[str, Any]
    """The pipeline's facts, and how it is prepared."""

    @property
    def schema(self) -> FeatureSchema:
        """The features, in the model's order."""
        return self.original.schema

    @property
    def takes(self) -> Literal["matrix", "frame"]:
        """What the whole pipeline is given."""
        return self.original.takes

    @property
    def output(self) -> Output:
        """What the scores are."""
        return self.original.output

    @property
    def classes(self) -> tuple[ClassLabel, ...]:
        """The labels of the classes; empty for a regressor."""
        return self.original.classes

    @property
    def positive(self) -> int | None:
        """The index of the class whose probability is the prediction."""
        return self.original.positive

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[np.ndarray]:
        """Yield the matrices that the rest takes, of exactly `block_rows` rows each, the last row of all repeated.

        Raises:
            ModelError: When a step refuses a value.
        """
        with refusing(rows.num_rows):
            yield from self.preparation.blocks(rows, block_rows)

    def predict(self, block: np.ndarray) -> np.ndarray:
        """Return the scores of a prepared block, as `EstimatorModel.predict`."""
        return self.rest.predict(block)

    def plain(self, table: pa.Table) -> np.ndarray:
        """Return the scores of one call of the whole pipeline over the whole table."""
        return self.original.plain(table)


def natively(model: EstimatorModel) -> EstimatorModel | PreparedModel:
    """Return the model with its preprocessing and its final estimator done natively, where that changes no bit."""
    try:
        return _prepared(model)
    except UnknownStepError as reason:
        return engined(replace(model, facts={**model.facts, "preparation": f"the estimator's own: {reason}"}))


def _prepared(model: EstimatorModel) -> PreparedModel:
    pipeline = model.estimator
    if kind_of(pipeline) != "Pipeline":
        raise UnknownStepError(f"{kind_of(pipeline)} is no Pipeline")
    features = model.schema.features
    as_frame = model.takes == "frame"
    columns = frame_columns(features, named=model.named) if as_frame else [Column(feature) for feature in features]
    known, named = 0, model.named
    for _, step in pipeline.steps[:-1]:
        try:
            with reading(step):
                columns = through(step, columns, named=named)
        except UnknownStepError:
            if known == 0:
                raise
            break
        known, named = known + 1, named and changes_nothing(step)
    if known == 0:
        raise UnknownStepError("the Pipeline has no step before its estimator")
    steps = [step for _, step in pipeline.steps[:known] if not is_nothing(step)]
    order = _prove(model, steps, columns)
    facts = {**model.facts, "preparation": f"native: {known} of {len(pipeline.steps)} steps, {len(columns)} columns"}
    left = pipeline.steps[known:]
    last = left[0][1] if len(left) == 1 else type(pipeline)(left)
    rest = engined(replace(model, estimator=last, takes="matrix", named=False, facts=facts), order)
    return PreparedModel(
        original=replace(model, facts=rest.facts),
        rest=rest,
        preparation=Preparation(tuple(columns), order),
        facts=rest.facts,
    )


def _prove(model: EstimatorModel, steps: Sequence[Any], columns: Sequence[Column]) -> Literal["C", "F"]:
    """Compare both ways on samples; return the order in which the steps leave their result.

    Raises:
        UnknownStepError: When they differ.
    """
    order: Literal["C", "F"] | None = None
    for name, rows in samples(model.schema, _categories(columns)):
        expected = _outcome(lambda rows=rows: transformed(steps, _input(model, rows)))  # type: ignore[misc]
        if expected is not None and order is None:
            order = _order_of(expected)
        native = Preparation(tuple(columns), order or "C")
        found = _outcome(lambda rows=rows, native=native: next(native.blocks(rows, rows.num_rows)))  # type: ignore[misc]
        if (expected is None) != (found is None):
            raise UnknownStepError(f"one way refuses the sample of {name}, the other does not")
        if expected is not None and found is not None and not _same(expected, found):
            raise UnknownStepError(f"the bits differ on the sample of {name}")
    if order is None:
        raise UnknownStepError("the steps refuse every sample")
    return order


def _order_of(result: Any) -> Literal["C", "F"]:
    if not isinstance(result, np.ndarray) or result.dtype != np.float64 or result.ndim != 2:  # noqa: PLR2004
        raise UnknownStepError(f"the steps give {type(result).__name__}, not a matrix of float64")
    if not (result.flags.c_contiguous or result.flags.f_contiguous):
        raise UnknownStepError("the steps give a matrix that is not contiguous")
    return "C" if result.flags.c_contiguous else "F"


def _same(expected: np.ndarray, found: np.ndarray) -> bool:
    as_expected = expected.shape == found.shape and expected.dtype == found.dtype
    orders = (expected.flags.c_contiguous, expected.flags.f_contiguous) == (
        found.flags.c_contiguous,
        found.flags.f_contiguous,
    )
    return as_expected and orders and expected.tobytes("C") == found.tobytes("C")


def _outcome(action: Callable[[], Any]) -> Any:
    """Return what comes of it; None when it refuses."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return action()
        except (ValueError, TypeError):
            return None


def _input(model: EstimatorModel, rows: pa.Table) -> Any:
    return model.given(next(model.blocks(rows, rows.num_rows)))


def _categories(columns: Sequence[Column]) -> dict[str, Sequence[Any]]:
    """Return, per feature that is looked at as a category, the values that are known."""
    return {column.feature.name: column.coded.known[column.place[0]] for column in columns if column.coded is not None}
