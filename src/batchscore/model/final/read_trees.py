"""Reading scikit-learn's fitted ensembles of trees off into plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from batchscore.kernel import Forest
from batchscore.model.final.trees import End, Trees
from batchscore.model.final.unknown import UnknownStepError, kind_of


def read(estimator: Any, output: str, classes: Sequence[Any], positive: int | None) -> Trees:
    """Read a fitted ensemble off, as `final.read_final`.

    Raises:
        UnknownStepError: When how it is set is not known.
    """
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise UnknownStepError(f"{kind_of(estimator)} has several outputs")
    return _READERS[kind_of(estimator)](estimator, output, len(classes), positive)


def _histogram(estimator: Any, output: str, classes: int, positive: int | None) -> Trees:
    mapper = estimator._bin_mapper  # noqa: SLF001 - there is no public way to the fitted trees
    categorical = mapper.is_categorical_
    stages = [tree for stage in estimator._predictors for tree in stage]  # noqa: SLF001 - likewise
    nodes = [tree.nodes for tree in stages]
    sets = [np.asarray(tree.raw_left_cat_bitsets) for tree in stages]
    width = estimator.n_trees_per_iteration_
    offsets = _offsets(nodes)
    set_offsets = _offsets(sets)
    leaf = [each["is_leaf"] != 0 for each in nodes]
    known, _ = mapper.make_known_categories_bitsets()
    forest = Forest(
        n_features=len(categorical),
        narrow=False,
        feature=_joined([each["feature_idx"] for each in nodes], np.int32),
        threshold=_joined([each["num_threshold"] for each in nodes], np.float64),
        left=_children([each["left"] for each in nodes], leaf, offsets),
        right=_children([each["right"] for each in nodes], leaf, offsets),
        missing_left=_joined([each["missing_go_to_left"] for each in nodes], np.uint8),
        category=_children(
            [each["bitset_idx"] for each in nodes],
            [(each["is_categorical"] == 0) | is_leaf for each, is_leaf in zip(nodes, leaf, strict=True)],
            set_offsets,
        ),
        sets=_bits(np.concatenate(sets) if sets else np.empty((0, 8), np.uint32)),
        known=_known(known, categorical),
        roots=offsets.astype(np.int32),
        output=np.arange(len(nodes), dtype=np.int32) % width,
        values=_joined([each["value"] for each in nodes], np.float64).reshape(-1, 1),
        base=0.0 + np.asarray(estimator._baseline_prediction, np.float64).reshape(-1),  # noqa: SLF001 - likewise
    )
    link = kind_of(estimator._loss.link)  # noqa: SLF001 - likewise
    end, pick = _boosted(output, classes, positive, _LINKS.get(link, link), binary="above")
    return Trees(forest=forest, end=end, pick=pick, missing=True, infinite=True, encoded=_encoder(estimator))


_LINKS: Mapping[str, End] = {
    "IdentityLink": "sum",
    "LogLink": "exp",
    "LogitLink": "sigmoid",
    "HalfLogitLink": "half-sigmoid",
    "MultinomialLogit": "softmax",
}


def _boosted(output: str, classes: int, positive: int | None, link: str, *, binary: End) -> tuple[End, int | None]:
    """Return what a booster makes of its sums, and the column that is wanted of it."""
    if link not in _LINKS.values():
        raise UnknownStepError(f"the link {link} is not known")
    if output == "decision":
        return "sum", None
    if output == "class":
        return ("largest" if classes > 2 else binary), None  # noqa: PLR2004 - the decision of two is one sum
    known: End = link  # type: ignore[assignment]
    return known, positive if output == "probability" and classes == 2 else None  # noqa: PLR2004 - one is the score


def _encoder(estimator: Any) -> tuple[tuple[int, np.ndarray], ...]:
    """Return the values of each categorical feature, which the estimator encodes by itself."""
    if estimator._preprocessor is None:  # noqa: SLF001 - there is no public way to it
        return ()
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - likewise
    places = np.flatnonzero(estimator.is_categorical_).tolist()
    if any(known.dtype.kind not in "fiu" for known in encoder.categories_):
        raise UnknownStepError("HistGradientBoosting encodes categories that are no numbers")
    found = [np.asarray(known, np.float64) for known in encoder.categories_]
    return tuple((at, known[~np.isnan(known)]) for at, known in zip(places, found, strict=True))


def _known(bits: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    known = np.zeros((len(categorical), 32), np.uint8)
    known[np.flatnonzero(categorical)] = _bits(np.asarray(bits))
    return known


def _bits(words: np.ndarray) -> np.ndarray:
    """Return sets of 256 bits as bytes, the lowest bit first, from 32-bit words."""
    return np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(-1, 32)


def _offsets(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *(len(each) for each in arrays)])[:-1]


def _joined(arrays: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype)


def _children(places: Sequence[np.ndarray], absent: Sequence[np.ndarray], offsets: np.ndarray) -> np.ndarray:
    """Return places of one tree as places among all of them; -1 where there is none."""
    moved = [
        np.where(none, -1, each.astype(np.int64) + offset)
        for each, none, offset in zip(places, absent, offsets, strict=True)
    ]
    return np.concatenate(moved).astype(np.int32)


def _forest(
    trees: Sequence[Any], values: Sequence[np.ndarray], *, n_features: int, output: np.ndarray, base: np.ndarray
) -> Forest:
    """Join scikit-learn's `Tree`s, with the values that each gives."""
    offsets = _offsets(values)
    leaf = [tree.children_left < 0 for tree in trees]
    features = _joined([tree.feature for tree in trees], np.int32)
    return Forest(
        n_features=n_features,
        narrow=True,
        feature=np.maximum(features, 0),
        threshold=_joined([tree.threshold for tree in trees], np.float64),
        left=_children([tree.children_left for tree in trees], leaf, offsets),
        right=_children([tree.children_right for tree in trees], leaf, offsets),
        missing_left=_joined([tree.missing_go_to_left for tree in trees], np.uint8),
        category=np.full(len(features), -1, np.int32),
        sets=np.zeros((0, 32), np.uint8),
        known=np.zeros((n_features, 32), np.uint8),
        roots=offsets.astype(np.int32),
        output=output.astype(np.int32),
        values=_joined(values, np.float64),
        base=base,
    )


def _averaged(estimator: Any, output: str, classes: int, positive: int | None) -> Trees:
    """Read a forest: the mean of its trees, or of their probabilities."""
    members = estimator.estimators_
    if any(kind_of(each) not in _SINGLE for each in members):
        raise UnknownStepError(f"{kind_of(estimator)} holds trees of another kind")
    return _of_members(members, estimator, output, classes, positive, base=0.0)


def _single(estimator: Any, output: str, classes: int, positive: int | None) -> Trees:
    # Nothing is added to a negative zero: the sum of one value is the value.
    return _of_members([estimator], estimator, output, classes, positive, base=-0.0)


def _of_members(
    members: Sequence[Any], estimator: Any, output: str, classes: int, positive: int | None, *, base: float
) -> Trees:
    if output == "decision":
        raise UnknownStepError(f"{kind_of(estimator)} has no decision function")
    trees = [each.tree_ for each in members]
    values = [tree.value[:, 0, : classes or 1] for tree in trees]
    if output == "probability" and classes == 2 and positive is not None:  # noqa: PLR2004 - the other is its complement
        values = [each[:, positive : positive + 1] for each in values]
    one = base != 0 or str(base) == "-0.0"
    forest = _forest(
        trees,
        values,
        n_features=int(estimator.n_features_in_),
        output=np.zeros(len(trees)),
        base=np.full(values[0].shape[1], base),
    )
    end: End = ("largest" if one else "mean-largest") if output == "class" else ("sum" if one else "mean")
    return Trees(forest=forest, end=end, pick=None, missing=_takes_missing(members[0]), infinite=False)


def _takes_missing(tree: Any) -> bool:
    return bool(tree.__sklearn_tags__().input_tags.allow_nan)


def _gradient(estimator: Any, output: str, classes: int, positive: int | None) -> Trees:
    initial = estimator.init_
    if not (isinstance(initial, str) or kind_of(initial) in ("DummyClassifier", "DummyRegressor")):
        raise UnknownStepError(f"GradientBoosting starts from {kind_of(initial)}")
    if getattr(initial, "strategy", "prior") in ("stratified", "uniform"):
        raise UnknownStepError("GradientBoosting starts from chance")
    stages, width = estimator.estimators_.shape
    trees = [tree.tree_ for tree in estimator.estimators_.reshape(-1)]
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))  # noqa: SLF001 - no public way to it
    forest = _forest(
        trees,
        [float(estimator.learning_rate) * tree.value[:, 0, :1] for tree in trees],
        n_features=int(estimator.n_features_in_),
        output=np.tile(np.arange(width), stages),
        base=np.asarray(start, np.float64).reshape(-1),
    )
    link = kind_of(estimator._loss.link)  # noqa: SLF001 - likewise
    end, pick = _boosted(output, classes, positive, _LINKS.get(link, link), binary="not-below")
    if output == "value":
        end = "sum"
    return Trees(forest=forest, end=end, pick=pick, missing=False, infinite=False)


_SINGLE = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
_READERS: Mapping[str, Callable[[Any, str, int, int | None], Trees]] = {
    "HistGradientBoostingClassifier": _histogram,
    "HistGradientBoostingRegressor": _histogram,
    "GradientBoostingClassifier": _gradient,
    "GradientBoostingRegressor": _gradient,
    **dict.fromkeys(
        ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"), _averaged
    ),
    **dict.fromkeys(_SINGLE, _single),
}
