"""The layout that the compiled library walks: thresholds become ranks, nodes a few bytes each.

A value is compared with the distinct thresholds of its feature once. Its rank among them decides every node: at most
threshold k exactly when at most k thresholds are below it. A column of codes holds the ranks of up to 255 thresholds of
a feature (65,535 for large trees), and one way for NaN to go; a feature has as many columns as its nodes need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.kernel.library import Ensemble

if TYPE_CHECKING:
    from batchscore.kernel.forest import Forest

_ROWS = 256
"""`ROWS` of kernel.c."""
_SMALL_LEAVES = 64
_MISSING_CATEGORY = 255
_NUMBER, _CATEGORY, _ONE_HOT = range(3)
_PLANES = np.array([1, 1, 2, 4, 4, 8, 8, 8, 8])
"""Bytes of leaves that are looked at, by the bytes that a tree's leaves need."""


@dataclass(frozen=True)
class Packed:
    """A filled `struct ensemble`, and the arrays that it points to."""

    struct: Any
    """The struct."""
    arrays: dict[str, np.ndarray]
    """What keeps the pointers alive."""


def pack(forest: Forest) -> Packed:
    """Lay an ensemble out for the library."""
    shape = _Shape(forest)
    codes = _Codes(forest, shape, _MISSING_CATEGORY if shape.small else 65_535)
    arrays: dict[str, np.ndarray] = {
        **codes.arrays,
        **(_small(forest, shape, codes) if shape.small else _large(forest, shape, codes)),
        "known": np.ascontiguousarray(forest.known, np.uint8),
        "base": np.ascontiguousarray(forest.base, np.float64),
    }
    struct = Ensemble(
        n_features=forest.n_features,
        n_columns=len(codes.arrays["column_base"]),
        n_trees=len(forest.roots),
        n_outputs=len(forest.base),
        width=forest.values.shape[1],
        narrow=int(forest.narrow),
        small=int(shape.small),
        limit=codes.limit,
    )
    for name, array in arrays.items():
        setattr(struct, name, array.ctypes.data)
    return Packed(struct, arrays)


class _Shape:
    """Where each node stands in its tree."""

    def __init__(self, forest: Forest) -> None:
        left, right = forest.left, forest.right
        count = len(left)
        self.inner = left >= 0
        self.levels: list[np.ndarray] = []
        self.tree = np.zeros(count, np.int32)
        self.depth = np.zeros(len(forest.roots), np.int32)
        level = forest.roots.astype(np.int64)
        self.tree[level] = np.arange(len(level))
        while level.size:
            self.levels.append(level)
            self.depth[self.tree[level]] = len(self.levels) - 1
            parents = level[self.inner[level]]
            level = np.stack([left[parents], right[parents]], axis=1).reshape(-1).astype(np.int64)
            self.tree[level] = np.repeat(self.tree[parents], 2)
        self.leaves = (~self.inner).astype(np.int64)
        for each in reversed(self.levels):
            parents = each[self.inner[each]]
            self.leaves[parents] = self.leaves[left[parents]] + self.leaves[right[parents]]
        self.first = np.zeros(count, np.int64)
        for each in self.levels:
            parents = each[self.inner[each]]
            self.first[left[parents]] = self.first[parents]
            self.first[right[parents]] = self.first[parents] + self.leaves[left[parents]]
        self.small = bool(self.leaves[forest.roots].max(initial=0) <= _SMALL_LEAVES)


class _Codes:
    """The columns of codes, and the column and code of each node."""

    def __init__(self, forest: Forest, shape: _Shape, limit: int) -> None:
        self.limit = limit
        self.column = np.zeros(len(forest.left), np.int64)
        self.code = np.zeros(len(forest.left), np.int64)
        self.numeric = np.flatnonzero(shape.inner & (forest.category < 0))
        self.categorical = np.flatnonzero(shape.inner & (forest.category >= 0))
        thresholds: list[np.ndarray] = []
        columns: list[tuple[int, int, int, int]] = []
        for feature in range(forest.n_features):
            nodes = self.numeric[forest.feature[self.numeric] == feature]
            known, rank = np.unique(forest.threshold[nodes], return_inverse=True)
            thresholds.append(known)
            # NaN goes one way in a column: two ways are two columns.
            wanted = np.stack([rank // limit, 1 - forest.missing_left[nodes].astype(np.int64)], axis=1)
            kinds, place = np.unique(wanted, axis=0, return_inverse=True)
            self.column[nodes] = len(columns) + place.reshape(-1)
            self.code[nodes] = rank % limit
            columns += [(feature, int(chunk) * limit, _NUMBER, int(right)) for chunk, right in kinds]
            columns += self._of_categories(forest, feature, len(columns), small=shape.small)
        table = np.array(columns or [(0, 0, _NUMBER, 0)], np.int64)
        counts = np.bincount(table[:, 0], minlength=forest.n_features) if columns else np.zeros(forest.n_features, int)
        self.arrays: dict[str, np.ndarray] = {
            "threshold_start": _starts([len(each) for each in thresholds]).astype(np.int64),
            "thresholds": np.concatenate([*thresholds, np.zeros(1)]).astype(np.float64),
            "column_start": _starts(counts).astype(np.int32),
            "column_base": np.ascontiguousarray(table[:, 1], np.int32),
            "column_kind": np.ascontiguousarray(table[:, 2], np.uint8),
            "column_missing": np.ascontiguousarray(table[:, 3], np.uint8),
        }

    def _of_categories(self, forest: Forest, feature: int, at: int, *, small: bool) -> list[tuple[int, int, int, int]]:
        nodes = self.categorical[forest.feature[self.categorical] == feature]
        if not nodes.size:
            return []
        self.column[nodes] = at
        return [(feature, byte, _ONE_HOT, 0) for byte in range(32)] if small else [(feature, 0, _CATEGORY, 0)]


def _starts(counts: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _left_sets(forest: Forest, nodes: np.ndarray) -> np.ndarray:
    """Return the bits of the categories that go left, of shape `(n, 32)`; the last one stands for what is missing."""
    sets = np.array(forest.sets[forest.category[nodes]], np.uint8).reshape(-1, 32)
    sets &= forest.known[forest.feature[nodes]]
    sets[:, 31] = (sets[:, 31] & 0x7F) | (forest.missing_left[nodes].astype(np.uint8) << 7)
    return sets


def _small(forest: Forest, shape: _Shape, codes: _Codes) -> dict[str, np.ndarray]:
    """Lay trees of at most 64 leaves out: for each node the leaves that it strikes out when a row goes right."""
    trees = np.zeros((len(forest.roots), 16), np.int32)
    struck = _struck(forest, shape)
    single, multiple = _by_bytes(codes.numeric, struck)
    plane = (struck[single] != 0).argmax(axis=1)
    order = np.lexsort((plane, shape.tree[single]))
    single, plane = single[order], plane[order]
    multiple = multiple[np.argsort(shape.tree[multiple], kind="stable")]
    places = np.searchsorted(shape.tree[single] * 8 + plane, np.arange(len(trees) * 8 + 1))
    trees[:, :8] = places[:-1].reshape(-1, 8)
    trees[:, 8] = places[8::8]
    places = np.searchsorted(shape.tree[multiple], np.arange(len(trees) + 1))
    trees[:, 9], trees[:, 10] = places[:-1], places[1:]
    trees[:, 13] = _PLANES[-(-shape.leaves[forest.roots] // 8)]
    trees[:, 14] = forest.output
    values, trees[:, 15] = _values(forest, shape, np.lexsort((shape.first, shape.tree)))
    categories = _categories(forest, shape, codes, struck, trees)
    return {
        "trees": trees,
        "singles": _words(codes, single, struck[single, plane][:, None]),
        "multis": _words(codes, multiple, struck[multiple]),
        "categories": categories,
        "values": values,
    }


def _struck(forest: Forest, shape: _Shape) -> np.ndarray:
    """Return the leaves left of each node's split as bits, uint8 of shape `(n_nodes, 8)`."""
    leaf = np.arange(_SMALL_LEAVES)
    end = shape.first + shape.leaves[forest.left]
    bits = (leaf >= shape.first[:, None]) & (leaf < end[:, None]) & shape.inner[:, None]
    return np.packbits(bits, axis=1, bitorder="little")


def _by_bytes(nodes: np.ndarray, struck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = (struck[nodes] != 0).sum(axis=1) == 1
    return nodes[one], nodes[~one]


def _words(codes: _Codes, nodes: np.ndarray, struck: np.ndarray) -> np.ndarray:
    """Return column, code and struck bits as 32-bit words; what is spread over a vector stands in each of its bytes."""
    words = [codes.column[nodes] * _ROWS, _four(codes.code[nodes] - 128 & 0xFF), *(_four(each) for each in struck.T)]
    return np.ascontiguousarray(np.stack(words, axis=1).astype(np.uint32))


def _four(byte: np.ndarray) -> np.ndarray:
    return byte.astype(np.uint32) * np.uint32(0x01010101)


def _categories(forest: Forest, shape: _Shape, codes: _Codes, struck: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """Return the words of the nodes that look at sets, and note in `trees` where each tree's are."""
    nodes = codes.categorical[np.argsort(shape.tree[codes.categorical], kind="stable")]
    words: list[int] = []
    starts = []
    for node, sets in zip(nodes.tolist(), _left_sets(forest, nodes).tolist(), strict=True):
        starts.append(len(words))
        terms = [(byte, bits) for byte, bits in enumerate(sets) if bits]
        words += [len(terms), *_four(struck[node]).tolist()]
        words += list(_terms(int(codes.column[node]), terms))
    places = np.searchsorted(shape.tree[nodes], np.arange(len(trees) + 1))
    trees[:, 11] = np.array([*starts, len(words)])[places[:-1]]
    trees[:, 12] = np.diff(places)
    return np.array(words or [0], np.uint32)


def _terms(column: int, terms: list[tuple[int, int]]) -> Iterator[int]:
    for byte, bits in terms:
        yield (column + byte) * _ROWS
        yield bits * 0x01010101


def _values(forest: Forest, shape: _Shape, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the leaves in an order of the nodes, and the place of each tree's first."""
    leaves = order[~shape.inner[order]]
    starts = np.searchsorted(shape.tree[leaves], np.arange(len(forest.roots)))
    return np.ascontiguousarray(forest.values[leaves], np.float64), starts


def _large(forest: Forest, shape: _Shape, codes: _Codes) -> dict[str, np.ndarray]:
    """Lay trees of any size out: level by level, the right child behind the left one; a leaf leads to itself."""
    flat = np.concatenate(shape.levels)
    order = flat[np.argsort(shape.tree[flat], kind="stable")]
    starts = np.searchsorted(shape.tree[order], np.arange(len(forest.roots)))
    place = np.zeros(len(forest.left), np.int64)
    place[order] = np.arange(len(order)) - starts[shape.tree[order]]
    inner = shape.inner[order]
    # The largest code is at most itself, so that a leaf's way is to its "left" child, whatever the row.
    column = np.where(inner, codes.column[order], 0)
    code = np.where(inner, codes.code[order], 65_535)
    child = np.where(inner, place[forest.left[order]], place[order])
    sets, number = np.unique(_left_sets(forest, codes.categorical), axis=0, return_inverse=True)
    which = np.full(len(forest.left), -1, np.int64)
    which[codes.categorical] = number.reshape(-1)
    looked_up = which[order] >= 0
    if len(sets) > codes.limit:
        raise OverflowError("more than 65,535 different sets of categories")
    code = np.where(looked_up, which[order], code)
    nodes = (
        column.astype(np.uint64) | code.astype(np.uint64) << np.uint64(16) | child.astype(np.uint64) << np.uint64(32)
    )
    nodes |= looked_up.astype(np.uint64) << np.uint64(63)
    trees = np.zeros((len(forest.roots), 16), np.int32)
    trees[:, 0], trees[:, 1], trees[:, 14] = starts, shape.depth, forest.output
    values, trees[:, 15] = _values(forest, shape, order)
    slots = np.cumsum(~inner) - 1 - trees[shape.tree[order], 15]
    arrays = {"trees": trees, "nodes": nodes, "slots": slots.astype(np.uint32), "values": values}
    return {**arrays, "sets": np.ascontiguousarray(sets)} if looked_up.any() else arrays
