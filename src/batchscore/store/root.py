"""What the protocol needs of a place that keeps files: `files.FileRoot` and `objects.ObjectRoot` both give it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class Exists(Exception):
    """The key is there already, with other bytes than ours."""

    def __init__(self, key: str, found: bytes) -> None:
        super().__init__(key)
        self.key = key
        self.found = found


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of a listing."""

    key: str
    """Its key."""
    size: int
    """Bytes."""
    modified: float
    """When it was last written, in seconds since the epoch, by the store's clock; only garbage collection reads it."""


class Stage(Protocol):
    """A run's folder while it is being built: private until it is committed."""

    def take(self, files: Iterable[tuple[str, str, int]]) -> None:
        """Put stored files in by hard link or server-side copy: each is (key, path in the run, bytes)."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file durably."""

    def stream(self, path: str, fill: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Write a file durably from a function that writes to it in order; return its sha256 and size."""


class Root(Protocol):
    """An output root. Every method that changes something is all or nothing, durable on return, and may be repeated."""

    @property
    def url(self) -> str:
        """Where it is, as configured."""

    @property
    def reads(self) -> int:
        """How often a file is read before its bytes are believed to be damaged; more than 1 over a network."""

    @property
    def flat(self) -> bool:
        """Whether a date's projection is a copy of its run instead of a link to it."""

    def shown(self, key: str) -> str:
        """Return the key as a person writes it."""

    def create(self, key: str, data: bytes) -> None:
        """Write a file that was not there before: exclusive, complete and durable.

        Finding the very same bytes there is success: an earlier attempt wrote them and only the answer was lost.

        Raises:
            Exists: When other bytes are there.
            StorageFailed: When it failed, or its outcome stays unknown.
        """

    def replace(self, key: str, data: bytes) -> None:
        """Write a file in the place of what is there; not durable, for leases only."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of a file, fewer when it ends before; FileNotFoundError when there is none."""

    def digest(self, key: str) -> tuple[str, int]:
        """Return sha256 and size of a file in bounded memory; FileNotFoundError when there is none."""

    def list(self, prefix: str) -> tuple[Entry, ...]:
        """Return all files below a folder, sorted by key; none when there is no such folder."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Return the names of the folders right inside a folder, sorted."""

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder and all in it; one that is not there is no error."""

    def delete_empty(self, prefix: str) -> None:
        """Remove a folder that has nothing in it; any other stays."""

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        """Build the run `name`; it lies complete and durable in `runs/` when the block ends without an error."""

    def confirm(self, key: str) -> None:
        """Make a file that another process wrote durable, before it is acknowledged."""

    def occupied(self, date: str) -> bool:
        """Whether anything lies where the projection of a date belongs."""

    def projected(self, date: str) -> str | None:
        """Return the name of the run that a date shows; None when it shows none of ours, or not yet."""

    def project(self, date: str, name: str) -> None:
        """Let a date show the run `name`; it may end without, when a newer one was committed meanwhile."""

    def projecting(self, date: str, *, besides: str) -> frozenset[str]:
        """Return the notes of projections of other runs than `besides` to the date that have not ended.

        Whoever wrote one may be dead, or paused and go on; where a projection is one step there are none.
        """

    def probe(self) -> None:
        """Refuse a place that can not keep the promise, by trying each primitive on it.

        Raises:
            ConfigError: With what it does not do.
        """


def is_there(root: Root, key: str) -> bool:
    """Whether a file is there."""
    try:
        root.read(key)
    except FileNotFoundError:
        return False
    return True
