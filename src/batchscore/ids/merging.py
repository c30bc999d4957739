"""Ids across partitions: their sorted hashes merged range by range in bounded memory, then the ids compared. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from batchscore.ids.hashing import WORD, Hashes, hash_ids, values_at

AT_ONCE = 1 << 20
"""Hashes held at once while partitions are merged."""
CONFIRM_AT_ONCE = 1_000
"""Candidates that are confirmed in one go."""

_GREATEST = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A hash that stands in more than one partition."""

    hash: int
    """The lower 64 bits of an id's hash."""
    partitions: tuple[int, ...]
    """Indices of the runs that hold it, ascending."""


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """One id that really stands in two partitions."""

    partition: int
    """Index of the first run that holds it."""
    row: int
    """Its row there."""
    other_partition: int
    """Index of another run that holds it."""
    other_row: int
    """Its row there."""


class HashRun(Protocol):
    """The sorted hashes of one partition, such as a memory-mapped file or a reader of byte ranges."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, part: slice, /) -> Hashes:
        """Return some of them."""
        ...


class ByteRun:
    """A run of little-endian 64-bit hashes behind a function that reads byte ranges.

    Args:
        read: Returns the bytes [start, stop).
        count: How many hashes there are.
    """

    def __init__(self, read: Callable[[int, int], bytes], count: int) -> None:
        self._read = read
        self._count = count

    def __len__(self) -> int:
        """Return how many hashes there are."""
        return self._count

    def __getitem__(self, part: slice, /) -> Hashes:
        """Read some of them."""
        start, stop, _ = part.indices(self._count)
        return np.frombuffer(self._read(start * WORD, stop * WORD), dtype="<u8").astype(np.uint64)


def merge_ranges(runs: Sequence[HashRun], *, at_once: int = AT_ONCE) -> Iterator[Candidate]:
    """Yield the hashes that stand in more than one run, ascending, in bounded memory.

    Args:
        runs: The sorted hashes of each partition.
        at_once: About how many hashes are held at once, over all runs.
    """
    step = max(at_once // max(len(runs), 1), 1)
    cursors = [_Cursor(run, step) for run in runs]
    while alive := [(index, cursor) for index, cursor in enumerate(cursors) if cursor.fill()]:
        if len(alive) == 1:
            return
        bound = min(cursor.complete_up_to for _, cursor in alive)
        taken = [(index, cursor.take(bound)) for index, cursor in alive]
        yield from _repeated(taken)


def confirm(
    candidates: Iterable[Candidate], ids_of: Callable[[int], pa.Array | pa.ChunkedArray]
) -> tuple[Duplicate, ...]:
    """Tell real duplicates from equal hashes, on the ids themselves.

    Args:
        candidates: From `merge_ranges`; taken a thousand at a time, until some are real.
        ids_of: Returns the ids of one partition, in row order; called for one partition after the other.

    Returns:
        Duplicates among the first candidates that hold any, by partition and row; none when all ids differ.
    """
    batch: list[Candidate] = []
    for candidate in candidates:
        batch.append(candidate)
        if len(batch) == CONFIRM_AT_ONCE:
            if found := _confirmed(batch, ids_of):
                return found
            batch = []
    return _confirmed(batch, ids_of) if batch else ()


class _Cursor:
    """A window that moves over one sorted run."""

    def __init__(self, run: HashRun, step: int) -> None:
        self._run, self._step, self._next = run, step, 0
        self._held: Hashes = np.empty(0, np.uint64)

    @property
    def complete_up_to(self) -> int:
        """The greatest hash up to which nothing is left to be read."""
        return int(self._held[-1]) if self._next < len(self._run) else _GREATEST

    def fill(self) -> bool:
        """Read on when half of the window is handed over; tell whether anything is left.

        Were it empty first, each round would end with one run's window, and there would be as many rounds as reads.
        """
        if len(self._held) <= self._step // 2 and self._next < len(self._run):
            self._read()
        return bool(len(self._held))

    def take(self, bound: int) -> Hashes:
        """Hand over all hashes up to and including `bound`."""
        while self._next < len(self._run) and int(self._held[-1]) == bound:
            self._read()  # more of the same value may follow behind the window
        count = int(np.searchsorted(self._held, np.uint64(bound), side="right"))
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _read(self) -> None:
        stop = min(self._next + self._step, len(self._run))
        self._held = np.concatenate([self._held, np.asarray(self._run[self._next : stop], np.uint64)])
        self._next = stop


def _repeated(taken: Sequence[tuple[int, Hashes]]) -> Iterator[Candidate]:
    hashes = np.concatenate([values for _, values in taken])
    ordered = np.sort(hashes)
    values = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(values):
        return
    owners = np.repeat([index for index, _ in taken], [len(values) for _, values in taken])
    among = np.isin(hashes, values)
    pairs = np.unique(np.stack([hashes[among], owners[among].astype(np.uint64)], axis=1), axis=0)
    starts = np.flatnonzero(np.r_[True, pairs[1:, 0] != pairs[:-1, 0]])
    for group in np.split(pairs, starts[1:]):
        if len(group) > 1:
            yield Candidate(hash=int(group[0, 0]), partitions=tuple(int(owner) for owner in group[:, 1]))


def _confirmed(
    candidates: Sequence[Candidate], ids_of: Callable[[int], pa.Array | pa.ChunkedArray]
) -> tuple[Duplicate, ...]:
    seen: dict[object, tuple[int, int]] = {}
    found = []
    for partition in sorted({each for candidate in candidates for each in candidate.partitions}):
        wanted = np.array([each.hash for each in candidates if partition in each.partitions], np.uint64)
        column = ids_of(partition)
        rows = np.flatnonzero(np.isin(hash_ids(column).low, wanted))
        for row, value in values_at(column, rows):
            first = seen.setdefault(value, (partition, int(row)))
            if first[0] != partition:
                found.append(Duplicate(partition=first[0], row=first[1], other_partition=partition, other_row=int(row)))
    return tuple(found)
