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
from batchscore.model.final.unknown import UnknownStepError, kind_of
from batchscore.model.preparation import Coded, Column, Preparation, Step
from batchscore.model.proof import samples
from batchscore.schema import Feature

if TYPE_CHECKING:
    import pandas as pd

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

    def block(self, rows: pa.Table, block_rows: int) -> np.ndarray:
        """Return the matrix that the rest takes, of exactly `block_rows` rows, the last one repeated.

        Raises:
            ModelError: When a step refuses a value.
        """
        with refusing(rows.num_rows):
            return self.preparation.block(rows, block_rows)

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
    columns = [Column(feature) for feature in model.schema.features]
    known = 0
    for _, step in pipeline.steps[:-1]:
        try:
            columns = _through(step, columns, named=model.named and known == 0)
        except UnknownStepError:
            if known == 0:
                raise
            break
        known += 1
    if known == 0:
        raise UnknownStepError("the Pipeline has no step before its estimator")
    steps = [step for _, step in pipeline.steps[:known] if not _is_nothing(step)]
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
        expected = _outcome(lambda rows=rows: _run(steps, _input(model, rows)))  # type: ignore[misc]
        if expected is not None and order is None:
            order = _order_of(expected)
        native = Preparation(tuple(columns), order or "C")
        found = _outcome(lambda rows=rows, native=native: native.block(rows, rows.num_rows))  # type: ignore[misc]
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


def _run(steps: Sequence[Any], block: Any) -> Any:
    for step in steps:
        block = step.transform(block)
    return block


def _input(model: EstimatorModel, rows: pa.Table) -> Any:
    return model.given(model.block(rows, rows.num_rows))


def _categories(columns: Sequence[Column]) -> dict[str, Sequence[Any]]:
    """Return, per feature that is looked at as a category, the values that are known."""
    return {column.feature.name: column.coded.known[column.place[0]] for column in columns if column.coded is not None}


def _is_nothing(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _through(step: Any, columns: list[Column], *, named: bool) -> list[Column]:
    """Return what a fitted step makes of the columns.

    Raises:
        UnknownStepError: When the step, or how it is set, is not known.
    """
    if _is_nothing(step):
        return columns
    kind = kind_of(step)
    if kind == "Pipeline":
        return _through_pipeline([each for _, each in step.steps], columns, named=named)
    if kind in _ENCODERS:
        return _encoded([step], columns, named=named)
    if kind == "ColumnTransformer":
        return list(_through_columns(step, columns, named=named))
    if kind == "FeatureUnion":
        return list(_through_union(step, columns, named=named))
    if kind == "FunctionTransformer" and step.func is None:
        return columns
    if kind not in _NUMERIC:
        raise UnknownStepError(f"the step {kind} is not known")
    if any(column.coded is None and column.feature.dtype in _NOT_NUMBERS for column in columns):
        raise UnknownStepError(f"{kind} looks at something that is no number")
    return list(_NUMERIC[kind](step, columns))


def matrix_columns(steps: Sequence[Any], count: int) -> list[Column]:
    """Return what fitted steps make of a matrix of float64; each feature is named by its column's number.

    Raises:
        UnknownStepError: When a step is not known.
    """
    columns = [Column(Feature(name=str(at), dtype="float64", nullable=True, finite=False)) for at in range(count)]
    return _through_pipeline(steps, columns, named=False)


def _through_pipeline(steps: Sequence[Any], columns: list[Column], *, named: bool) -> list[Column]:
    steps = [step for step in steps if not _is_nothing(step)]
    first = next((at for at, step in enumerate(steps) if kind_of(step) in _ENCODERS), None)
    if first is not None and all(kind_of(step) == "SimpleImputer" and not step.add_indicator for step in steps[:first]):
        columns, steps = _encoded(steps[: first + 1], columns, named=named), steps[first + 1 :]
        named = False
    for step in steps:
        columns, named = _through(step, columns, named=named), False
    return columns


def _through_columns(step: Any, columns: list[Column], *, named: bool) -> Iterator[Column]:
    if getattr(step, "sparse_output_", False):
        raise UnknownStepError("the ColumnTransformer gives a sparse matrix")
    names = [column.feature.name for column in columns]
    for _, inner, chosen in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        yield from _through(inner, [columns[at] for at in _places(chosen, names)], named=named)


def _places(chosen: Any, names: Sequence[str]) -> list[int]:
    if isinstance(chosen, slice) and all(isinstance(edge, int | None) for edge in (chosen.start, chosen.stop)):
        return list(range(len(names)))[chosen]
    if isinstance(chosen, str) or not hasattr(chosen, "__iter__"):
        raise UnknownStepError("a transformer takes a column by itself, not a list of columns")
    listed = list(chosen)
    if all(isinstance(each, str) for each in listed):
        return [names.index(each) for each in listed]
    if all(isinstance(each, bool | np.bool_) for each in listed):
        return [at for at, each in enumerate(listed) if each]
    return [int(each) for each in listed]


def _through_union(step: Any, columns: list[Column], *, named: bool) -> Iterator[Column]:
    weights = step.transformer_weights or {}
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        for column in _through(inner, columns, named=named):
            yield column.then(Step("multiply", float(weights[name]))) if name in weights else column


def _impute(step: Any, columns: list[Column]) -> Iterator[Column]:
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise UnknownStepError("SimpleImputer fills another value than NaN")
    finite = Step("refuse-infinite")
    for column, value in zip(columns, step.statistics_, strict=True):
        if not isinstance(value, float | int | np.number):
            raise UnknownStepError("SimpleImputer fills in something that is no number")
        if not np.isnan(value) or step.keep_empty_features:
            yield column.then(finite, Step("fill", float(value)))
    if step.add_indicator:
        yield from (columns[at].then(Step("missing")) for at in step.indicator_.features_)


def _standardise(step: Any, columns: list[Column]) -> Iterator[Column]:
    yield from _arithmetic(
        columns,
        ("subtract", step.mean_ if step.with_mean else None),
        ("divide", step.scale_ if step.with_std else None),
    )


def _scale_robustly(step: Any, columns: list[Column]) -> Iterator[Column]:
    yield from _arithmetic(
        columns,
        ("subtract", step.center_ if step.with_centering else None),
        ("divide", step.scale_ if step.with_scaling else None),
    )


def _scale_to_range(step: Any, columns: list[Column]) -> Iterator[Column]:
    scaled = _arithmetic(columns, ("multiply", step.scale_), ("add", step.min_))
    lower, upper = step.feature_range
    yield from (column.then(Step("clip", float(lower), float(upper))) if step.clip else column for column in scaled)


def _scale_by_largest(step: Any, columns: list[Column]) -> Iterator[Column]:
    if getattr(step, "clip", False):
        raise UnknownStepError("MaxAbsScaler clips")
    yield from _arithmetic(columns, ("divide", step.scale_))


def _arithmetic(columns: list[Column], *steps: tuple[Any, Any]) -> Iterator[Column]:
    for at, column in enumerate(columns):
        doing = [Step(kind, float(values[at])) for kind, values in steps if values is not None]
        yield column.then(Step("refuse-infinite"), *doing)


def _bin(step: Any, columns: list[Column]) -> Iterator[Column]:
    for column, edges, bins in zip(columns, step.bin_edges_, step.n_bins_, strict=True):
        binned = column.then(
            Step("refuse-infinite"), Step("refuse-missing"), Step("bin", edges=tuple(map(float, edges[1:-1])))
        )
        if step.encode == "ordinal":
            yield binned
        else:
            yield from (binned.then(Step("is", float(number))) for number in range(bins))


_NUMERIC: Mapping[str, Callable[[Any, list[Column]], Iterator[Column]]] = {
    "SimpleImputer": _impute,
    "StandardScaler": _standardise,
    "RobustScaler": _scale_robustly,
    "MinMaxScaler": _scale_to_range,
    "MaxAbsScaler": _scale_by_largest,
    "KBinsDiscretizer": _bin,
}
"""Steps that are arithmetic on numbers."""
_NOT_NUMBERS = ("string", "date32", "timestamp[us]")


def _encoded(steps: Sequence[Any], columns: list[Column], *, named: bool) -> list[Column]:
    """Return the columns of an encoder, after imputers that fill in categories."""
    encoder = steps[-1]
    if any(column.steps or column.coded for column in columns):
        raise UnknownStepError(f"{kind_of(encoder)} comes after other steps")
    if any(len(step.statistics_) != len(columns) or _drops(step) for step in steps[:-1]):
        raise UnknownStepError("SimpleImputer drops a feature")
    widths, known = _ENCODERS[kind_of(encoder)](encoder)

    def encode(rows: pd.DataFrame) -> np.ndarray:
        answers = _run(steps, rows if named else rows.to_numpy())
        return np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers)

    coded = Coded([column.feature for column in columns], known, widths, encode)
    return [
        Column(column.feature, (), coded, (at, own)) for at, column in enumerate(columns) for own in range(widths[at])
    ]


def _drops(imputer: Any) -> bool:
    return not imputer.keep_empty_features and any(
        isinstance(value, float) and np.isnan(value) for value in imputer.statistics_
    )


def _one_hot(encoder: Any) -> tuple[list[int], list[list[Any]]]:
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(encoder.categories_)
    drops = [None] * len(encoder.categories_) if encoder.drop_idx_ is None else list(encoder.drop_idx_)
    widths = [
        len(known) - (0 if few is None else len(few) - 1) - (drop is not None)
        for known, few, drop in zip(encoder.categories_, rare, drops, strict=True)
    ]
    return widths, _values(encoder.categories_)


def _ordinal(encoder: Any) -> tuple[list[int], list[list[Any]]]:
    return [1] * len(encoder.categories_), _values(encoder.categories_)


def _target(encoder: Any) -> tuple[list[int], list[list[Any]]]:
    if encoder.target_type_ not in ("binary", "continuous"):
        raise UnknownStepError("TargetEncoder of several classes")
    return _ordinal(encoder)


def _values(categories: Sequence[np.ndarray]) -> list[list[Any]]:
    return [[value for value in known.tolist() if value is not None and value == value] for known in categories]  # noqa: PLR0124


_ENCODERS: Mapping[str, Callable[[Any], tuple[list[int], list[list[Any]]]]] = {
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "TargetEncoder": _target,
}
"""Steps that look at each value by itself: how many columns come of each feature, and the values that are known."""
