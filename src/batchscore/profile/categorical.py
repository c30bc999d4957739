"""Mergeable counts of categories, capped so that any order and any split leave the same ones. Pure.

Besides the declared categories, those 64 are kept whose text has the smallest hash; the rest is counted as other.
Whoever is among the smallest of all is among the smallest of every part, so its count is complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchscore.profile import buffers

MOST_CATEGORIES = 64
LONGEST_TEXT = 56

_HASHED_BYTES = 4096
_STEP_BYTES = 1 << 20
_PREFIX = LONGEST_TEXT - 16
_FACTOR = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True, kw_only=True)
class CategoricalProfile:
    """What is known of the values of a column of text, booleans or dates."""

    rows: int = 0
    """All rows, with nulls."""
    nulls: int = 0
    """Rows without a value."""
    other: int = 0
    """Rows whose category is not kept."""
    declared: tuple[str, ...] = ()
    """The categories of the schema, sorted; always kept."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by category, for those that are kept; a text of more than 56 characters is cut and ends in its hash."""

    @property
    def missing(self) -> int:
        """Number of nulls."""
        return self.nulls

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain JSON data, one form for one profile."""
        return {
            "kind": "categorical",
            "rows": self.rows,
            "nulls": self.nulls,
            "other": self.other,
            "declared": list(self.declared),
            "counts": dict(sorted(self.counts.items())),
        }


def profile(column: pa.Array | pa.ChunkedArray, declared: Iterable[str]) -> CategoricalProfile:
    """Count the categories of a column; timestamps count by their day.

    Args:
        column: Text in any Arrow layout, booleans, dates, timestamps or whole numbers, `(n_rows,)`.
        declared: The categories of the schema, as text.
    """
    raw = tuple(declared)
    names = tuple(sorted(_labels(buffers.texts(raw))))
    texts, counts = _counted(column)
    kept, other = _kept(texts, counts, (*raw, *names))
    nulls = len(column) - int(counts.sum())
    return CategoricalProfile(rows=len(column), nulls=nulls, other=other, declared=names, counts=kept)


class CategoricalProfiler:
    """Profiles a column that comes in batches: as if they were one.

    Args:
        declared: The categories of the schema, as text.
    """

    def __init__(self, declared: Iterable[str]) -> None:
        self._declared = tuple(declared)
        self._batches: list[CategoricalProfile] = []

    def add(self, column: pa.Array | pa.ChunkedArray) -> None:
        """Add a batch: `profile`."""
        self._batches.append(profile(column, self._declared))

    def profile(self) -> CategoricalProfile:
        """Return the profile of all batches, at least one."""
        return reduce(merge, self._batches)


def merge(first: CategoricalProfile, second: CategoricalProfile) -> CategoricalProfile:
    """Merge the profiles of two disjoint sets of rows of one column, in any order.

    Raises:
        ValueError: When their declared categories differ.
    """
    if first.declared != second.declared:
        raise ValueError("profiles with different declared categories can not be merged")
    counts = dict(first.counts)
    for text, count in second.counts.items():
        counts[text] = counts.get(text, 0) + count
    kept, other = _kept(buffers.texts(counts), np.array([*counts.values()], dtype=np.int64), first.declared)
    return CategoricalProfile(
        rows=first.rows + second.rows,
        nulls=first.nulls + second.nulls,
        other=first.other + second.other + other,
        declared=first.declared,
        counts=kept,
    )


def from_dict(content: Mapping[str, Any]) -> CategoricalProfile:
    """Rebuild a profile from `to_dict`."""
    return CategoricalProfile(
        rows=content["rows"],
        nulls=content["nulls"],
        other=content["other"],
        declared=tuple(content["declared"]),
        counts=dict(content["counts"]),
    )


def _counted(column: pa.Array | pa.ChunkedArray) -> tuple[pa.LargeStringArray, NDArray[np.int64]]:
    """Return the distinct values of a column as text, each once, and how often each stands there; nulls are left out."""
    coded = column.chunk(0) if isinstance(column, pa.ChunkedArray) and column.num_chunks == 1 else column
    if isinstance(coded, pa.DictionaryArray) and _is_plain(coded.dictionary):
        present = coded.indices.drop_null() if coded.null_count else coded.indices
        counts = np.bincount(buffers.numbers(present).astype(np.int64, copy=False), minlength=len(coded.dictionary))
        used = np.flatnonzero(counts)
        return buffers.taken(coded.dictionary, used).cast(pa.large_string()), counts[used]
    distinct = pc.value_counts(_countable(column))
    values, counts = distinct.field("values"), buffers.numbers(distinct.field("counts"))
    valid = buffers.flags(values.is_valid())
    return values.drop_null().cast(pa.large_string()), counts[valid]


def _is_plain(dictionary: pa.Array) -> bool:
    """Whether a dictionary holds text, and each only once: a reader may leave it otherwise."""
    is_text = pa.types.is_string(dictionary.type) or pa.types.is_large_string(dictionary.type)
    return is_text and not dictionary.null_count and len(pc.unique(dictionary)) == len(dictionary)


def _countable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.date32(), safe=False)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())  # pyarrow 26 counts nulls of a view as empty text
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)  # chunks may have dictionaries of their own
    return column


def _kept(
    texts: pa.LargeStringArray, counts: NDArray[np.int64], declared: tuple[str, ...]
) -> tuple[dict[str, int], int]:
    """Return the counts of the categories to keep, by sorted label, and the rows of all others."""
    is_free = ~buffers.flags(pc.is_in(texts, value_set=buffers.texts(declared)))
    if int(is_free.sum()) > MOST_CATEGORIES:
        chosen = ~is_free
        chosen[_smallest(texts, np.flatnonzero(is_free))] = True
    else:
        chosen = np.ones(len(texts), dtype=bool)
    kept: dict[str, int] = {}
    for label, count in zip(
        _labels(buffers.taken(texts, np.flatnonzero(chosen))), counts[chosen].tolist(), strict=True
    ):
        kept[label] = kept.get(label, 0) + count
    return dict(sorted(kept.items())), int(counts[~chosen].sum())


def _smallest(texts: pa.LargeStringArray, free: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the 64 texts of the smallest hash among those at the places `free`."""
    hashes = _hashes(texts)[free]
    bound = np.partition(hashes, MOST_CATEGORIES - 1)[MOST_CATEGORIES - 1]
    near = free[hashes <= bound]
    labels = _labels(buffers.taken(texts, near))
    ranked = sorted(zip(hashes[hashes <= bound].tolist(), labels, near.tolist(), strict=True))
    return np.array([place for _, _, place in ranked[:MOST_CATEGORIES]], dtype=np.int64)


def _labels(texts: pa.LargeStringArray) -> list[str]:
    """Return short texts as they are, and of long ones the start and the hash: 57 characters, so never a short text."""
    labels: list[str] = texts.to_pylist()
    if all(len(label) <= LONGEST_TEXT for label in labels):
        return labels
    hashes = _hashes(texts).tolist()
    return [
        label if len(label) <= LONGEST_TEXT else f"{label[:_PREFIX]}…{value:016x}"
        for label, value in zip(labels, hashes, strict=True)
    ]


def _hashes(texts: pa.LargeStringArray) -> NDArray[np.uint64]:
    """Hash texts by their first 4096 bytes and their length; a label made by `_labels` has the hash that it ends in."""
    lengths = buffers.numbers(pc.binary_length(texts))
    starts = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts)]
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    sizes = np.minimum(lengths, _HASHED_BYTES)
    powers: NDArray[np.uint64] = np.cumprod(
        np.full(int(sizes.max(initial=0)), _FACTOR, dtype=np.uint64), dtype=np.uint64
    )
    sums = np.empty(len(texts), dtype=np.uint64)
    for first, last in _steps(sizes):
        sums[first:last] = _weighted(data, starts[first:last], sizes[first:last], powers)
    return _relabelled(texts, _mixed(sums ^ lengths.astype(np.uint64)))


def _steps(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut texts into runs of about a megabyte, so that the memory for hashing is bounded."""
    ends = np.cumsum(sizes)
    cuts = np.searchsorted(ends, np.arange(_STEP_BYTES, int(sizes.sum()), _STEP_BYTES))
    borders = np.unique(np.concatenate([[0], cuts, [len(sizes)]])).tolist()
    yield from itertools.pairwise(borders)


def _weighted(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64], powers: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Return for each text the sum of its bytes times the powers of the factor, modulo 2**64."""
    ends = np.cumsum(sizes)
    places = np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)
    terms = (data[places + np.repeat(starts, sizes)].astype(np.uint64) + np.uint64(1)) * powers[places]
    running = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])
    weighted: NDArray[np.uint64] = running[ends] - running[ends - sizes]
    return weighted


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits (the finisher of splitmix64)."""
    for shift, factor in _MIX:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def _relabelled(texts: pa.LargeStringArray, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    pattern = f"^(?s:.{{{_PREFIX}}})…[0-9a-f]{{16}}$"
    for place in np.flatnonzero(buffers.flags(pc.match_substring_regex(texts, pattern))).tolist():
        hashes[place] = int(texts[place].as_py()[-16:], 16)
    return hashes
