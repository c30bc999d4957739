"""Ensembles of trees as plain data: read off scikit-learn's, added up by the kernel with the same sums in the same order.

`Trees` is what runs; the readers below it are the only part that looks at scikit-learn's objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from batchscore.kernel import Forest, sigmoid
from batchscore.model.telling import at_splits
from batchscore.model.unknown import UnknownStepError, kind_of

End = Literal[
    "sum", "mean", "exp", "sigmoid", "half-sigmoid", "softmax", "above", "not-below", "largest", "mean-largest"
]
"""What is made of the sums; the last four give the place of a class."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trees:
    """An ensemble, and what becomes of its sums."""

    forest: Forest
    """The trees."""
    end: End
    """What is made of the sums."""
    pick: int | None
    """The column that is the score; None for all."""
    missing: bool
    """Whether NaN is taken."""
    infinite: bool
    """Whether infinities are taken."""
    encoded: tuple[tuple[int, np.ndarray], ...] = ()
    """Columns that become the place of their value among these, before all others; NaN where it is not among them."""

    engine = "kernel"
    """By what it runs fast."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores, as `Final.predict`.

        Raises:
            ValueError: When there is a NaN or an infinity that the estimator does not take.
        """
        sums, nan, infinite = self.forest.sums(self._encode(matrix) if self.encoded else matrix)
        self._refuse(nan=nan, infinite=infinite)
        scores = _ENDS[self.end](sums, self)
        scores = scores if self.pick is None else scores[:, self.pick : self.pick + 1]
        return np.ascontiguousarray(scores, dtype=np.float64)

    def _refuse(self, *, nan: bool, infinite: bool) -> None:
        if infinite and not self.infinite:
            kind = "float32" if self.forest.narrow else "float64"
            raise ValueError(f"Input X contains infinity or a value too large for dtype('{kind}').")
        if nan and not self.missing:
            raise ValueError("Input X contains NaN.")

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        """Return the matrix with the places of categories first, as the estimator's own encoder leaves it."""
        first = [at for at, _ in self.encoded]
        if np.isinf(matrix[:, first]).any():
            raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
        others = [at for at in range(matrix.shape[1]) if at not in set(first)]
        out = np.empty_like(matrix, order="F")
        for to, (at, known) in enumerate(self.encoded):
            places = np.minimum(np.searchsorted(known, matrix[:, at]), len(known) - 1)
            out[:, to] = np.where(known[places] == matrix[:, at], places, np.nan)
        out[:, len(first) :] = matrix[:, others]
        return out

    def telling(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield rows at the splits: a wrong threshold shows on them."""
        rows = at_splits(self.forest)
        yield "rows at the splits", self._decode(rows)
        if not self.missing:
            yield "rows beside the splits", self._decode(rows[: len(rows) // 3 * 2])

    def _decode(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of the forest's columns as rows of the estimator's."""
        if not self.encoded:
            return rows
        others = [at for at in range(rows.shape[1]) if at not in {at for at, _ in self.encoded}]
        out = np.empty_like(rows)
        out[:, others] = rows[:, len(self.encoded) :]
        for of, (at, known) in enumerate(self.encoded):
            places = np.where(np.isnan(rows[:, of]), 0, np.clip(rows[:, of], 0, len(known) - 1)).astype(np.int64)
            out[:, at] = np.where(np.isnan(rows[:, of]), np.nan, known[places])
        return out

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for `from_plain`."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        encoded = [[at, known] for at, known in self.encoded]
        return {"kind": "trees", **own, "forest": self.forest.to_plain(), "encoded": encoded}


def from_plain(plain: Mapping[str, Any]) -> Trees:
    """Return the ensemble whose `to_plain` this is."""
    own = {each.name: plain[each.name] for each in fields(Trees)}
    encoded = tuple((int(at), np.asarray(known)) for at, known in plain["encoded"])
    return Trees(**{**own, "forest": Forest(**plain["forest"]), "encoded": encoded})


def _softmax(sums: np.ndarray, _: Trees) -> np.ndarray:
    # In the memory order of scikit-learn's: the order of a sum over classes depends on it.
    powers: np.ndarray = sums - np.max(sums, axis=1).reshape((-1, 1))
    np.exp(powers, out=powers)
    powers /= np.sum(powers, axis=1).reshape((-1, 1))
    return powers


def _mean(sums: np.ndarray, trees: Trees) -> np.ndarray:
    mean: np.ndarray = sums / len(trees.forest.roots)
    return mean


def _two(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], axis=1)


def _class(places: np.ndarray) -> np.ndarray:
    return places.astype(np.float64).reshape(-1, 1)


_ENDS: Mapping[End, Callable[[np.ndarray, Trees], np.ndarray]] = {
    "sum": lambda sums, _: sums,
    "mean": _mean,
    "exp": lambda sums, _: np.exp(sums[:, 0]).reshape(-1, 1),
    "sigmoid": lambda sums, _: _two(sigmoid(sums[:, 0])),
    "half-sigmoid": lambda sums, _: _two(sigmoid(2 * sums[:, 0])),
    "softmax": _softmax,
    "above": lambda sums, _: _class(sums[:, 0] > 0),
    "not-below": lambda sums, _: _class(sums[:, 0] >= 0),
    "largest": lambda sums, _: _class(np.argmax(sums, axis=1)),
    "mean-largest": lambda sums, trees: _class(np.argmax(_mean(sums, trees), axis=1)),
}


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
