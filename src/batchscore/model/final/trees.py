"""Ensembles of trees as plain data, added up by the kernel: scikit-learn's own sums, in its order.

`read_trees` reads them off scikit-learn's objects; nothing here has heard of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from batchscore.kernel import Forest, sigmoid
from batchscore.model.final.telling import at_splits

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

    @property
    def size(self) -> str:
        """How large it is, for the record."""
        return f"{len(self.forest.roots)} trees"

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
