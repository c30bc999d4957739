"""Profiles of whole columns and tables, where a run has only batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from batchscore.profile import Profile, TableProfiler, buffers, categorical, numeric
from batchscore.schema import FeatureSchema


def profile_column(column: pa.Array | pa.ChunkedArray | np.ndarray[Any, Any]) -> Profile:
    """Profile one column by its type: numbers by bins, all else by categories."""
    if isinstance(column, np.ndarray):
        return numeric.profile(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return categorical.profile(column, ())
    return numeric.profile(buffers.numbers(column.drop_null()), nulls=column.null_count)


def profile_table(table: pa.Table | pa.RecordBatch, schema: FeatureSchema) -> dict[str, Profile]:
    """Profile the features of a schema, in its order."""
    profiler = TableProfiler(schema)
    profiler.add(table)
    return profiler.profiles()
