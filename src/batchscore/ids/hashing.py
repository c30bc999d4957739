"""Hashes of ids, without a Python step per row, and the exact check within one partition. Pure.

The hash is part of the manifest's format (id digests) and of the work folder's: it must never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchscore import kernel

Hashes: TypeAlias = npt.NDArray[np.uint64]
Rows: TypeAlias = npt.NDArray[np.int64]

BLOCK = 16_384
"""Ids hashed at once, so that all intermediate arrays stay in the processor's cache."""

WORD = 8
"""Bytes of a stored hash, and of the text that is hashed at once."""
# Odd multipliers of splitmix64 (Steele, Lea, Flood 2014) and of MurmurHash3's 64-bit finaliser (Appleby).
_LOW = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_HIGH = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SEED_TEXT, _SEED_NUMBER = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


@dataclass(frozen=True, kw_only=True)
class IdHashes:
    """The 128-bit hashes of ids, in row order."""

    high: Hashes
    """The upper 64 bits, shape (n,)."""
    low: Hashes
    """The lower 64 bits, shape (n,)."""

    def digest(self, rows: npt.NDArray[np.bool_] | Rows | None = None) -> int:
        """Return the sum of the hashes modulo 2**128: the same in every order.

        Args:
            rows: A mask or indices of the rows that count; all by default.
        """
        high, low = (self.high, self.low) if rows is None else (self.high[rows], self.low[rows])
        return ((_sum(high) << 64) + _sum(low)) % (1 << 128)

    @cached_property
    def sorted(self) -> Hashes:
        """The lower halves in ascending order: what is stored of a partition and merged across them."""
        return np.sort(self.low)


@dataclass(frozen=True, kw_only=True)
class BadIds:
    """What is wrong with the ids of one partition."""

    nulls: Rows
    """Rows whose id is null, ascending."""
    duplicates: Rows
    """Rows whose id stands in an earlier row already, ascending."""
    first: Rows
    """For each of `duplicates`, the first row with the same id."""

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(len(self.nulls) or len(self.duplicates))


def hash_ids(column: pa.Array | pa.ChunkedArray) -> IdHashes:
    """Hash ids: text by its UTF-8 bytes, whole numbers by their value whatever their width.

    Args:
        column: Ids without nulls (what null hashes to is not defined); text in any layout, or whole numbers.

    Raises:
        TypeError: When the column is of another type.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_hash_chunk(chunk) for chunk in chunks]
    return IdHashes(
        high=np.concatenate([np.empty(0, np.uint64), *(high for high, _ in parts)]),
        low=np.concatenate([np.empty(0, np.uint64), *(low for _, low in parts)]),
    )


def find_bad_ids(column: pa.Array | pa.ChunkedArray, hashes: IdHashes | None = None) -> BadIds:
    """Find null and duplicate ids within one partition, exactly.

    Args:
        column: The ids, in row order.
        hashes: Their hashes, when they are at hand.
    """
    nulls = _null_rows(column)
    hashed = hash_ids(column) if hashes is None else hashes
    low, order = hashed.low, hashed.sorted
    repeated = order[1:][order[1:] == order[:-1]]
    if not len(repeated):
        return BadIds(nulls=nulls, duplicates=np.empty(0, np.int64), first=np.empty(0, np.int64))
    suspects = np.setdiff1d(np.flatnonzero(np.isin(low, repeated)), nulls)
    seen: dict[object, int] = {}
    pairs = [(int(row), seen.setdefault(value, int(row))) for row, value in values_at(column, suspects)]
    twice = [(row, first) for row, first in pairs if row != first]
    return BadIds(
        nulls=nulls,
        duplicates=np.array([row for row, _ in twice], np.int64),
        first=np.array([first for _, first in twice], np.int64),
    )


def values_at(column: pa.Array | pa.ChunkedArray, rows: Rows) -> Iterator[tuple[int, object]]:
    """Yield row and id of some rows, as Python values."""
    return zip(rows.tolist(), column.take(pa.array(rows, pa.int64())).to_pylist(), strict=True)


def _null_rows(column: pa.Array | pa.ChunkedArray) -> Rows:
    if not column.null_count:
        return np.empty(0, np.int64)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    masks = [chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks]
    return np.flatnonzero(np.concatenate(masks)).astype(np.int64)


def _hash_chunk(chunk: pa.Array) -> tuple[Hashes, Hashes]:
    if pa.types.is_dictionary(chunk.type):
        high, low = _hash_chunk(chunk.dictionary)
        codes = np.asarray(chunk.indices.fill_null(0))
        return (high[codes], low[codes]) if len(low) else (np.zeros(len(codes), np.uint64),) * 2
    if pa.types.is_integer(chunk.type):
        return _hash_numbers(chunk)
    if pa.types.is_string_view(chunk.type):
        return _hash_text(chunk.cast(pa.large_string()))
    if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
        return _hash_text(chunk)
    raise TypeError(f"ids of type {chunk.type} can not be hashed")


def _hash_numbers(chunk: pa.Array) -> tuple[Hashes, Hashes]:
    wide = pa.uint64() if chunk.type == pa.uint64() else pa.int64()
    buffer = chunk.cast(wide).buffers()[1]
    words = np.frombuffer(buffer, np.uint64, len(chunk), chunk.offset * WORD) if len(chunk) else np.empty(0, np.uint64)
    # A uint64 above 2**63 and a negative number have the same bits; the type is the same in all files of a snapshot.
    return kernel.hash_numbers(words) or _numbers_in_numpy(words)


def _numbers_in_numpy(words: Hashes) -> tuple[Hashes, Hashes]:
    low, high = (np.full(len(words), _SEED_NUMBER, np.uint64) for _ in range(2))
    for start in range(0, len(words), BLOCK):
        part = slice(start, start + BLOCK)
        low[part] = _mix(low[part] ^ words[part], _LOW)
        high[part] = _mix(high[part] ^ words[part], _HIGH)
    return high, low


def _hash_text(chunk: pa.StringArray | pa.LargeStringArray) -> tuple[Hashes, Hashes]:
    if not len(chunk):
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    _, offset_buffer, data = chunk.buffers()
    kind = np.dtype(np.int64 if pa.types.is_large_string(chunk.type) else np.int32)
    offsets = np.frombuffer(offset_buffer, kind, len(chunk) + 1, chunk.offset * kind.itemsize)
    text = np.frombuffer(b"" if data is None else data, np.uint8)
    return kernel.hash_texts(offsets, text) or _texts_in_numpy(offsets.astype(np.int64, copy=False), text)


def _texts_in_numpy(offsets: Rows, text: npt.NDArray[np.uint8]) -> tuple[Hashes, Hashes]:
    first, last = int(offsets[0]), int(offsets[-1])
    content = np.zeros(last - first + WORD, np.uint8)  # a word may begin at the very last byte
    content[: last - first] = text[first:last]
    words = np.ndarray((last - first + 1,), dtype="<u8", buffer=content, strides=(1,))
    starts, lengths = offsets[:-1] - first, np.diff(offsets)
    parts = [
        _hash_words(words, starts[at : at + BLOCK], lengths[at : at + BLOCK]) for at in range(0, len(starts), BLOCK)
    ]
    return np.concatenate([high for high, _ in parts]), np.concatenate([low for _, low in parts])


def _hash_words(words: Hashes, starts: Rows, lengths: Rows) -> tuple[Hashes, Hashes]:
    """Hash one block, a word of eight bytes at a time for all texts that are long enough."""
    low, high = (lengths.astype(np.uint64) ^ np.uint64(_SEED_TEXT) for _ in range(2))
    low, high = _mix(low, _LOW), _mix(high, _HIGH)
    active = np.flatnonzero(lengths > 0)
    position = 0
    while len(active):
        word = words[starts[active] + position]
        left = lengths[active] - position
        partial = left < WORD
        if partial.any():
            bits = np.where(partial, left * 8, 0).astype(np.uint64)
            word = np.where(partial, word & ((np.uint64(1) << bits) - np.uint64(1)), word)
        low[active] = _mix(low[active] ^ word, _LOW)
        high[active] = _mix(high[active] ^ word, _HIGH)
        position += WORD
        active = active[lengths[active] > position]
    return high, low


def _mix(value: Hashes, multipliers: tuple[np.uint64, np.uint64]) -> Hashes:
    """Scramble 64 bits so that each depends on all: a bijection, so that short ids never collide."""
    first, second = multipliers
    value = value + np.uint64(_SEED_TEXT)
    value = (value ^ (value >> np.uint64(30))) * first
    value = (value ^ (value >> np.uint64(27))) * second
    return value ^ (value >> np.uint64(31))


def _sum(values: Hashes) -> int:
    upper, lower = values >> np.uint64(32), values & np.uint64(0xFFFFFFFF)
    return (int(upper.sum(dtype=np.uint64)) << 32) + int(lower.sum(dtype=np.uint64))
