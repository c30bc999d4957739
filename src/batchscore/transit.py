"""Bits that flip on the way from an object store: what no digest pins is taken when two answers in a row agree.

Nothing of this costs a file system a second reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from batchscore import retries, sources

_ResultT = TypeVar("_ResultT")


def read_surely(path: str, start: int = 0, stop: int | None = None) -> bytes:
    """Read the bytes [start, stop) of a file that no digest pins; those of a remote one until two answers agree.

    Raises:
        FileNotFoundError: When it is not there.
        StorageFailed: When the store fails, after retries, or no two answers in a row agree.
    """
    return _agreed(path, lambda: sources.read(path, start, stop))


def list_surely(path: str) -> tuple[sources.Stat, ...]:
    """List a snapshot as `sources.list_files` does; a remote one until two answers agree.

    Raises:
        FileNotFoundError: When a listed file is gone before it is looked at, or a symlink leads nowhere.
        StorageFailed: When the store fails, after retries, or no two answers in a row agree.
    """
    return _agreed(path, lambda: sources.list_files(path))


def read_pinned(path: str, sha256: str, read: Callable[[str], bytes]) -> bytes:
    """Read a whole file until it is what is pinned, or two answers in a row agree that it is not.

    Args:
        path: The file.
        sha256: The pinned digest: the caller compares, and names what is wrong.
        read: Returns the bytes of a path.

    Raises:
        StorageFailed: When no two answers in a row agree.
    """
    found = read(path)
    for _ in range(sources.ATTEMPTS):
        if hashlib.sha256(found).hexdigest() == sha256:
            return found
        before, found = found, read(path)
        if found == before:
            return found
        retries.note()
    raise sources.failed(path, "the store answers each time with other bytes")


def _agreed(path: str, ask: Callable[[], _ResultT]) -> _ResultT:
    found = ask()
    if not sources.is_remote(path):
        return found
    for _ in range(sources.ATTEMPTS):
        before, found = found, ask()
        if found == before:
            return found
        retries.note()
    raise sources.failed(path, "the store answers each time with something else")


def doubted(path: str, action: Callable[[], _ResultT], doubt: type[Exception]) -> _ResultT:
    """Do `action`; when it ends in `doubt` over a remote file, again, until that rests on the same bytes twice.

    Args:
        path: The file, or one of the files, that the action reads.
        action: Safe to do again.
        doubt: The error that damage on the way would cause, as damage at its source would.

    Raises:
        Exception: What `action` raises; `doubt` only when two tries in a row were told the same by the store.
        StorageFailed: When no two were.
    """
    try:
        return action()
    except doubt:
        if not sources.is_remote(path):
            raise
    before = ""
    for _ in range(sources.ATTEMPTS):
        retries.note()
        with sources.witnessed() as seen:
            try:
                return action()
            except doubt:
                if seen.hexdigest() == before:
                    raise
                before = seen.hexdigest()
    raise sources.failed(path, "the store answers each time with other bytes")
