"""Mergeable profiles of columns and scores: counts, exact sums, bins, categories. Pure.

A profile is a function of the multiset of a column's values alone: profiles of any split, merged in any order, are
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from batchscore.profile import buffers, categorical, numeric
from batchscore.profile.categorical import CategoricalProfile, CategoricalProfiler
from batchscore.profile.numeric import NumericProfile, NumericProfiler, histogram, profile_scores, quantiles
from batchscore.schema import Feature, FeatureSchema

__all__ = [
    "CategoricalProfile",
    "NumericProfile",
    "Profile",
    "TableProfiler",
    "from_dict",
    "histogram",
    "is_categorical",
    "merge",
    "merge_all",
    "profile_scores",
    "quantiles",
]

Profile: TypeAlias = NumericProfile | CategoricalProfile


class TableProfiler:
    """Profiles the features of a schema batch by batch: those with categories by them, others by their type."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._profilers = {
            feature.name: CategoricalProfiler(map(str, feature.categories or ()))
            if is_categorical(feature)
            else _NumberProfiler()
            for feature in schema.features
        }

    def add(self, table: pa.Table | pa.RecordBatch) -> None:
        """Add a batch; columns that are no features are left out."""
        for name, profiler in self._profilers.items():
            profiler.add(table.column(name))

    def profiles(self) -> dict[str, Profile]:
        """Return the features' profiles, in the schema's order."""
        return {name: profiler.profile() for name, profiler in self._profilers.items()}


def is_categorical(feature: Feature) -> bool:
    """Whether a feature is profiled by its categories."""
    return bool(feature.categories) or feature.dtype in ("bool", "string", "date32", "timestamp[us]")


class _NumberProfiler:
    """Profiles Arrow's numbers."""

    def __init__(self) -> None:
        self._profiler = NumericProfiler()

    def add(self, column: pa.Array | pa.ChunkedArray) -> None:
        present = pc.drop_null(column) if column.null_count else column
        self._profiler.add(buffers.numbers(present), nulls=column.null_count)

    def profile(self) -> NumericProfile:
        return self._profiler.profile()


def merge(first: Profile, second: Profile) -> Profile:
    """Merge the profiles of two disjoint sets of rows of one column, in any order.

    Raises:
        ValueError: When one is numeric and the other categorical, one a probability and the other not, or when
            their declared categories differ.
    """
    if isinstance(first, CategoricalProfile) and isinstance(second, CategoricalProfile):
        return categorical.merge(first, second)
    if isinstance(first, NumericProfile) and isinstance(second, NumericProfile):
        return numeric.merge(first, second)
    raise ValueError("a numeric and a categorical profile can not be merged")


def merge_all(groups: Iterable[Mapping[str, Profile]]) -> dict[str, Profile]:
    """Merge mappings of profiles by name; at least one, all with the same names.

    Raises:
        ValueError: When the names differ, or profiles that do not merge stand under one name.
    """
    return reduce(_merge_mappings, map(dict, groups))


def from_dict(content: Mapping[str, Any]) -> Profile:
    """Rebuild a profile from what its `to_dict` returned.

    Raises:
        KeyError, TypeError, ValueError: When the content is no profile.
    """
    return categorical.from_dict(content) if content["kind"] == "categorical" else numeric.from_dict(content)


def _merge_mappings(first: dict[str, Profile], second: dict[str, Profile]) -> dict[str, Profile]:
    if first.keys() != second.keys():
        raise ValueError(f"the profiles are of different columns: {sorted(first.keys() ^ second.keys())}")
    merged = {}
    for name, profile in first.items():
        try:
            merged[name] = merge(profile, second[name])
        except ValueError as error:
            raise ValueError(f"column '{name}': {error}") from None
    return merged
