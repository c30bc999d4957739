"""Hashes of ids in one pass; `ids.hashing` says what they are, and does the same in numpy."""

from __future__ import annotations

import numpy as np

from batchscore.kernel.library import library

Halves = tuple[np.ndarray, np.ndarray]
"""The upper and the lower 64 bits of each hash, uint64 of shape `(n_ids,)`."""


def hash_texts(offsets: np.ndarray, text: np.ndarray) -> Halves | None:
    """Hash texts; None where there is no compiled library.

    Args:
        offsets: Where each text begins and the last one ends, int32 or int64 of shape `(n_ids + 1,)`.
        text: The bytes that they count, uint8 of shape `(n_bytes,)`.

    Raises:
        ValueError: When an offset lies outside of the bytes, or before the last one.
    """
    compiled = library()
    if compiled is None:
        return None
    high, low = (np.empty(len(offsets) - 1, dtype=np.uint64) for _ in range(2))
    given = (
        offsets.ctypes.data,
        offsets.itemsize == np.dtype(np.int64).itemsize,
        text.ctypes.data,
        len(text),
        len(low),
    )
    if compiled.batchscore_hash_texts(*given, high.ctypes.data, low.ctypes.data):
        raise ValueError("the offsets of a column of text are damaged")
    return high, low


def hash_numbers(numbers: np.ndarray) -> Halves | None:
    """Hash whole numbers, uint64 of shape `(n_ids,)`; None where there is no compiled library."""
    compiled = library()
    if compiled is None:
        return None
    high, low = (np.empty(len(numbers), dtype=np.uint64) for _ in range(2))
    compiled.batchscore_hash_numbers(numbers.ctypes.data, len(numbers), high.ctypes.data, low.ctypes.data)
    return high, low
