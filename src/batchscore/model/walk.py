"""Walks over fitted estimators: their nested `n_jobs`, the names they were fitted with, and how to print them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from batchscore.schema import FeatureSchema

_MATRIX_MODULES = (
    "calibration",
    "decomposition",
    "discriminant_analysis",
    "ensemble",
    "gaussian_process",
    "linear_model",
    "naive_bayes",
    "neighbors",
    "neural_network",
    "svm",
    "tree",
)
"""Modules of scikit-learn whose estimators turn their input into one matrix."""
_MATRIX_STEPS = ("MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler", "SimpleImputer")
_WRAPPERS = ("VotingClassifier", "VotingRegressor", "StackingClassifier", "StackingRegressor")


def limit_jobs(estimator: object) -> None:
    """Set every `n_jobs` inside a fitted estimator to 1: parameters, steps, and the parts that were fitted.

    A forest adds its trees in the order in which its threads finish, so another number gives other bits at each call.
    """
    for part in _parts(estimator):
        if "n_jobs" in vars(part):
            part.n_jobs = 1  # type: ignore[attr-defined]


def _parts(root: object) -> Iterator[object]:
    """Yield every object with attributes inside `root`, each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, type | types.ModuleType | types.FunctionType | types.MethodType):
            continue
        seen.add(id(part))
        if isinstance(part, Mapping):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple | set | frozenset):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            waiting.extend(part.ravel().tolist() if part.dtype == object else ())
        elif hasattr(part, "__dict__"):
            yield part
            waiting.extend(vars(part).values())


def libraries(estimator: object) -> list[str]:
    """Return name and version of every library that an estimator inside a fitted estimator comes from, sorted."""
    parts = (part for part in _parts(estimator) if hasattr(part, "get_params"))
    roots = {type(part).__module__.partition(".")[0] for part in parts}
    found = {root: getattr(sys.modules.get(root), "__version__", None) for root in roots}
    named = {"sklearn": "scikit-learn"}
    return sorted(f"{named.get(root, root)} {version}" for root, version in found.items() if isinstance(version, str))


def fitted_names(estimator: object) -> tuple[str, ...] | None:
    """Return the names of the features that the estimator was fitted with; None when it was fitted without names."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return tuple(str(name) for name in names)
    first = _first_step(estimator)
    return fitted_names(first) if first is not None else None


def takes_matrix(estimator: object, schema: FeatureSchema) -> bool:
    """Whether one float64 matrix gives the estimator the same as a frame with a type per column.

    True when every feature is float64, and when every feature is a number and the estimator turns its input into
    one matrix anyway. Steps that choose columns may treat types differently; those get a frame.
    """
    kinds = {feature.dtype for feature in schema.features}
    if kinds == {"float64"}:
        return True
    return not kinds & {"string", "date32", "timestamp[us]"} and _makes_matrix(estimator)


def _makes_matrix(estimator: object) -> bool:
    first = _first_step(estimator)
    if first is not None:
        return _makes_matrix(first)
    kind = type(estimator).__name__
    if kind in _WRAPPERS:
        return all(_makes_matrix(part) for part in estimator.estimators_)  # type: ignore[attr-defined]
    module = type(estimator).__module__.split(".")
    categorical = getattr(estimator, "is_categorical_", None) is not None
    known = module[0] == "sklearn" and (module[1] in _MATRIX_MODULES or kind in _MATRIX_STEPS)
    return known and not categorical


def _first_step(estimator: Any) -> object | None:
    """Return what gets the input first: a pipeline's first step, a wrapper's inner estimator; None for the rest."""
    kind = type(estimator).__name__
    if kind == "Pipeline":
        steps = [step for _, step in estimator.steps if step is not None and not isinstance(step, str)]
        return steps[0] if steps else None
    if kind == "CalibratedClassifierCV":
        return estimator.calibrated_classifiers_[0].estimator  # type: ignore[no-any-return]
    for name in ("best_estimator_", "estimator_", "regressor_"):
        inner = vars(estimator).get(name)
        if hasattr(inner, "predict"):
            return inner  # type: ignore[no-any-return]
    return estimator.estimator if kind == "FrozenEstimator" else None


def describe(estimator: Any) -> str:
    """Return the estimator's tree as one line of names.

    Examples:
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> describe(make_pipeline(StandardScaler(), "passthrough"))
        'Pipeline(StandardScaler, passthrough)'
    """
    if estimator is None or isinstance(estimator, str):
        return str(estimator or "passthrough")
    parts: list[Any] = []
    for name in ("steps", "transformers_", "transformer_list", "transformers", "estimators"):
        listed = vars(estimator).get(name) if hasattr(estimator, "__dict__") else None
        if isinstance(listed, list) and all(isinstance(item, tuple) and len(item) > 1 for item in listed):
            parts = [item[1] for item in listed if item[1] != "drop"]
            break
    inner = vars(estimator).get("estimator") if hasattr(estimator, "__dict__") else None
    if not parts and inner is not None and hasattr(inner, "get_params"):
        parts = [inner]
    inside = ", ".join(describe(part) for part in parts)
    return f"{type(estimator).__name__}({inside})" if inside else type(estimator).__name__
