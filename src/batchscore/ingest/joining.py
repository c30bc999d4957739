"""Batches put together: what a reader cut apart, and what comes of several row groups and files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of batches of one schema as one batch."""
    if len(batches) == 1:
        return batches[0]
    columns = [_joined_column(parts) for parts in zip(*(batch.columns for batch in batches), strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=batches[0].schema)


def _joined_column(parts: Sequence[pa.Array]) -> pa.Array:
    first = parts[0]
    if all(_goes_on(before, after) for before, after in pairwise(parts)):
        return pa.Array.from_buffers(first.type, sum(map(len, parts)), first.buffers(), offset=first.offset)
    whole = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _goes_on(before: pa.Array, after: pa.Array) -> bool:
    """Whether an array lies right behind another in the same memory: the reader cuts batches where a dictionary ends."""
    if pa.types.is_dictionary(before.type) or before.type.num_fields or after.offset != before.offset + len(before):
        return False
    return _places(before) == _places(after)


def _places(array: pa.Array) -> list[int | None]:
    return [None if buffer is None else buffer.address for buffer in array.buffers()]
