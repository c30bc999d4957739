"""Fitted preprocessing steps, read off: what each of scikit-learn's transformers makes of the columns that it takes.

Only the steps named here are known, and only as they are set here; whatever else is refused with `UnknownStepError`.
What is read off still has to be proven: `native` does.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.kernel.columns import Step
from batchscore.model.final.unknown import UnknownStepError, is_nothing, kind_of
from batchscore.model.preparation import DOUBLE, Coded, Column
from batchscore.schema import Feature

if TYPE_CHECKING:
    import pandas as pd


def transformed(steps: Sequence[Any], block: Any) -> Any:
    """Return what fitted steps make of a block, one after the other."""
    for step in steps:
        block = step.transform(block)
    return block


def changes_nothing(step: Any) -> bool:
    """Whether a step hands on what it is given, a frame with its names too."""
    return is_nothing(step) or (kind_of(step) == "FunctionTransformer" and step.func is None and not step.validate)


def frame_columns(features: Sequence[Feature], *, named: bool) -> list[Column]:
    """Return the features as a frame holds them, or without names as the one array that is made of it does."""
    held = [_held_in_frame(feature) for feature in features]
    held = held if named else [np.result_type(*held)] * len(held)
    return [Column(feature, held=each) for feature, each in zip(features, held, strict=True)]


def _held_in_frame(feature: Feature) -> np.dtype[Any]:
    """Return the type of a column of numbers; float64 for all that becomes that where it is computed with."""
    whole = "int" in feature.dtype or feature.dtype == "bool"
    return np.dtype(feature.dtype) if feature.dtype == "float32" or (whole and not feature.nullable) else DOUBLE


def through(step: Any, columns: list[Column], *, named: bool) -> list[Column]:
    """Return what a fitted step makes of the columns.

    Raises:
        UnknownStepError: When the step, or how it is set, is not known.
    """
    if is_nothing(step):
        return columns
    kind = kind_of(step)
    if getattr(step, "_sklearn_output_config", {}).get("transform", "default") not in (None, "default"):
        raise UnknownStepError(f"{kind} gives a frame")
    if kind == "Pipeline":
        return _through_pipeline([each for _, each in step.steps], columns, named=named)
    if kind in _ENCODERS:
        return _encoded([step], columns, named=named)
    if kind == "ColumnTransformer":
        return _through_columns(step, columns, named=named)
    if kind == "FeatureUnion":
        return _through_union(step, columns, named=named)
    if changes_nothing(step):
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
    steps = [step for step in steps if not is_nothing(step)]
    first = next((at for at, step in enumerate(steps) if kind_of(step) in _ENCODERS), None)
    if first is not None and all(kind_of(step) == "SimpleImputer" and not step.add_indicator for step in steps[:first]):
        columns, steps = _encoded(steps[: first + 1], columns, named=named), steps[first + 1 :]
        named = False
    for step in steps:
        columns, named = through(step, columns, named=named), named and changes_nothing(step)
    return columns


def _through_columns(step: Any, columns: list[Column], *, named: bool) -> list[Column]:
    if getattr(step, "sparse_output_", False):
        raise UnknownStepError("the ColumnTransformer gives a sparse matrix")
    names = [column.feature.name for column in columns] if named else []
    parts = (
        (name, inner, [columns[at] for at in _places(chosen, names, len(columns))])
        for name, inner, chosen in step.transformers_
    )
    return _side_by_side(parts, step.transformer_weights, named=named)


def _side_by_side(
    parts: Iterable[tuple[str, Any, list[Column]]], weights: Mapping[str, float] | None, *, named: bool
) -> list[Column]:
    """Return what named steps make of their columns, one after the other, as the one matrix that holds them all."""
    found: list[Column] = []
    for name, inner, columns in parts:
        if isinstance(inner, str) and inner == "drop":
            continue
        made = through(inner, columns, named=named)
        found += made if not weights or name not in weights else _weighted(made, float(weights[name]))
    held = _held_together(found)
    return [replace(column, held=held) for column in found]


def _weighted(columns: Sequence[Column], weight: float) -> Iterator[Column]:
    _refuse_narrow(columns)
    for column in columns:
        yield replace(column.then(Step("multiply", weight)), held=DOUBLE)


def _held_together(columns: Sequence[Column]) -> np.dtype[Any]:
    """Return the type of the one matrix that columns are put into."""
    return np.result_type(*(column.held for column in columns)) if columns else DOUBLE


def _refuse_narrow(columns: Sequence[Column]) -> None:
    """Refuse arithmetic that the fitted steps do in float32; it rounds otherwise, which no sample is sure to show."""
    if _held_together(columns) in _NARROW:
        raise UnknownStepError("the steps compute in float32")


def _places(chosen: Any, names: Sequence[str], count: int) -> list[int]:
    if isinstance(chosen, slice) and all(isinstance(edge, int | None) for edge in (chosen.start, chosen.stop)):
        return list(range(count))[chosen]
    if isinstance(chosen, str) or not hasattr(chosen, "__iter__"):
        raise UnknownStepError("a transformer takes a column by itself, not a list of columns")
    listed = list(chosen)
    if all(isinstance(each, str) for each in listed):
        if not set(listed) <= set(names):
            raise UnknownStepError("a transformer takes columns by names that steps before it gave")
        return [names.index(each) for each in listed]
    if all(isinstance(each, bool | np.bool_) for each in listed):
        return [at for at, each in enumerate(listed) if each]
    return [int(each) for each in listed]


def _through_union(step: Any, columns: list[Column], *, named: bool) -> list[Column]:
    parts = ((name, inner, columns) for name, inner in step.transformer_list)
    return _side_by_side(parts, step.transformer_weights, named=named)


def _impute(step: Any, columns: list[Column]) -> Iterator[Column]:
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise UnknownStepError("SimpleImputer fills another value than NaN")
    finite, held = Step("refuse-infinite"), _held_together(columns)
    columns = [replace(column, held=held) for column in columns]
    for column, value in zip(columns, step.statistics_, strict=True):
        if not isinstance(value, float | int | np.number):
            raise UnknownStepError("SimpleImputer fills in something that is no number")
        if not np.isnan(value) or step.keep_empty_features:
            yield column.then(finite, Step("fill", float(held.type(value) if held in _NARROW else value)))
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
    _refuse_narrow(columns)
    for at, column in enumerate(columns):
        doing = [Step(kind, float(values[at])) for kind, values in steps if values is not None]
        yield replace(column.then(Step("refuse-infinite"), *doing), held=DOUBLE)


def _bin(step: Any, columns: list[Column]) -> Iterator[Column]:
    if step.dtype not in (None, np.float64):
        raise UnknownStepError("KBinsDiscretizer rounds what it is given")
    held = _held_together(columns)
    for column, edges, bins in zip(columns, step.bin_edges_, step.n_bins_, strict=True):
        binned = replace(column, held=held if held in _NARROW else DOUBLE).then(
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
_NARROW = (np.dtype(np.float32), np.dtype(np.float16))
"""Types of floats that the numeric steps keep and compute in."""


def _encoded(steps: Sequence[Any], columns: list[Column], *, named: bool) -> list[Column]:
    """Return the columns of an encoder, after imputers that fill in categories."""
    encoder = steps[-1]
    if any(column.steps or column.coded for column in columns):
        raise UnknownStepError(f"{kind_of(encoder)} comes after other steps")
    if any(len(step.statistics_) != len(columns) or _drops(step) for step in steps[:-1]):
        raise UnknownStepError("SimpleImputer drops a feature")
    widths, learnt = _ENCODERS[kind_of(encoder)](encoder)
    filled = [step.missing_values for step in steps[:-1]]
    known = [
        [*values, *(value for value in filled if _may_hold(column.feature, value))]
        for column, values in zip(columns, learnt, strict=True)
    ]

    def encode(rows: pd.DataFrame) -> np.ndarray:
        answers = transformed(steps, rows if named else rows.to_numpy())
        return np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers)

    coded = Coded([column.feature for column in columns], known, widths, encode)
    held = np.dtype(getattr(encoder, "dtype", DOUBLE))
    return [
        Column(column.feature, (), coded, (at, own), held)
        for at, column in enumerate(columns)
        for own in range(widths[at])
    ]


def _may_hold(feature: Feature, value: Any) -> bool:
    """Whether a feature may have what an imputer takes for missing, as a value that the encoder after it never saw."""
    if feature.dtype == "string":
        return isinstance(value, str)
    is_number = isinstance(value, numbers.Real) and value == value  # noqa: PLR0124 - NaN is not
    return is_number and feature.dtype not in _NOT_NUMBERS


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
