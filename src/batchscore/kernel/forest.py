"""An ensemble of trees as arrays: what it adds up for each row, by the compiled library or level by level in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from batchscore.kernel.library import library
from batchscore.kernel.packing import Packed, pack

_WIDEST = 2
"""The widest variant of the library that may run: 0 plain, 1 AVX2, 2 AVX-512."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """Trees, their nodes one after the other; a row goes left where its value is at most the threshold."""

    n_features: int
    """Columns of the matrix."""
    narrow: bool
    """Whether values are rounded to float32 before they are compared."""
    feature: np.ndarray = field(repr=False)
    """int32 of shape `(n_nodes,)`: the column that is looked at."""
    threshold: np.ndarray = field(repr=False)
    """float64 of shape `(n_nodes,)`."""
    left: np.ndarray = field(repr=False)
    """int32 of shape `(n_nodes,)`: the left child's place; -1 in a leaf."""
    right: np.ndarray = field(repr=False)
    """int32 of shape `(n_nodes,)`."""
    missing_left: np.ndarray = field(repr=False)
    """uint8 of shape `(n_nodes,)`: 1 where NaN, and a category that is not known, goes left."""
    category: np.ndarray = field(repr=False)
    """int32 of shape `(n_nodes,)`: the row of `sets` that goes left; -1 where a threshold decides."""
    sets: np.ndarray = field(repr=False)
    """uint8 of shape `(n_sets, 32)`: sets of the categories 0 to 254, the lowest bit first."""
    known: np.ndarray = field(repr=False)
    """uint8 of shape `(n_features, 32)`: the categories that are known; the others are as missing ones."""
    roots: np.ndarray = field(repr=False)
    """int32 of shape `(n_trees,)`: the place of each tree's root, ascending."""
    output: np.ndarray = field(repr=False)
    """int32 of shape `(n_trees,)`: the first output that the tree adds to."""
    values: np.ndarray = field(repr=False)
    """float64 of shape `(n_nodes, width)`: what a leaf adds to `width` outputs."""
    base: np.ndarray = field(repr=False)
    """float64 of shape `(n_outputs,)`: what each sum starts from."""

    def sums(self, matrix: np.ndarray) -> tuple[np.ndarray, bool, bool]:
        """Add up the leaves of each row, tree after tree.

        Args:
            matrix: float64 of shape `(n_rows, n_features)`, in any order.

        Returns:
            Float64 of shape `(n_rows, n_outputs)` in Fortran order; whether there is a NaN in the matrix; and whether
            there is an infinity, after rounding to float32 if that is done.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features or matrix.dtype != np.float64:  # noqa: PLR2004
            raise ValueError(
                f"X is {matrix.dtype} of shape {matrix.shape}, but {self.n_features} features are expected"
            )
        compiled = library()
        if compiled is None or matrix.strides[0] % 8 or matrix.strides[1] % 8:
            return self._walked(matrix)
        out = np.empty((len(self.base), len(matrix)), dtype=np.float64)
        rows, columns = (stride // 8 for stride in matrix.strides)
        seen = compiled.batchscore_trees(
            self._packed.struct, matrix.ctypes.data, len(matrix), rows, columns, out.ctypes.data, _WIDEST
        )
        if seen < 0:
            raise MemoryError("no memory for the codes of 256 rows")
        return out.T, bool(seen & 1), bool(seen & 2)

    @cached_property
    def _packed(self) -> Packed:
        return pack(self)

    def _walked(self, matrix: np.ndarray) -> tuple[np.ndarray, bool, bool]:
        """Return what `sums` does, slowly: all rows of a tree one level down at a time."""
        with np.errstate(over="ignore"):
            given = matrix.astype(np.float32) if self.narrow else matrix
        out = np.empty((len(self.base), len(matrix)), dtype=np.float64)
        out[:] = self.base[:, None]
        for root, output in zip(self.roots.tolist(), self.output.tolist(), strict=True):
            out[output : output + self.values.shape[1]] += self.values[self._leaves(given, root)].T
        return out.T, bool(np.isnan(given).any()), bool(np.isinf(given).any())

    def _leaves(self, given: np.ndarray, root: int) -> np.ndarray:
        places = np.full(len(given), root, dtype=np.int32)
        going = np.flatnonzero(self.left[places] >= 0)
        while going.size:
            at = places[going]
            feature = self.feature[at]
            value = given[going, feature]
            # A double on both sides, as scikit-learn compares its float32 with a double.
            goes_left = value.astype(np.float64) <= self.threshold[at]
            decided = self.category[at] >= 0
            if decided.any():
                inside, known = self._looked_up(at[decided], feature[decided], value[decided])
                goes_left[decided] = inside
                value = value.copy()
                value[decided] = np.where(known, value[decided], np.nan)
            goes_left = np.where(np.isnan(value), self.missing_left[at] == 1, goes_left)
            places[going] = np.where(goes_left, self.left[at], self.right[at])
            going = going[self.left[places[going]] >= 0]
        return places

    def _looked_up(self, at: np.ndarray, feature: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whether a category goes left, and whether it is known."""
        category = np.where((value >= 0) & (value < 255), value, 255).astype(np.int64)  # noqa: PLR2004 - no category
        byte, bit = category >> 3, category & 7
        known = (self.known[feature, byte] >> bit) & 1 == 1
        return (self.sets[self.category[at], byte] >> bit) & 1 == 1, known

    def to_plain(self) -> dict[str, Any]:
        """Return the fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
