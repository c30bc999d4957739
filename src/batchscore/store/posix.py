"""The few system calls under `files`, each announced to `effects`, and what network file systems ask of them."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from batchscore.store import effects
from batchscore.store.failure import storage_failed
from batchscore.store.root import Exists
from batchscore.store.sealed import damaged

_LOOKS = (0.0, 0.05, 0.2, 0.5, 1.5)
"""Seconds before each look for a file that another client of a network file system has just made."""


def folder_mode(mode: int) -> int:
    """Return the permissions of a folder whose files have `mode`: `x` where they have `r`, all for the owner."""
    return 0o700 | mode | (mode & 0o444) >> 2


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    effects.tick("fsync_folder", str(path))
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    effects.tick("fsync", str(path))
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_exclusively(temporary: Path, path: Path, key: str, data: bytes) -> None:
    """Give a private, complete and durable file its name, if nobody has it.

    Raises:
        Exists: When a file with other bytes than `data` has it.
        FileNotFoundError: When the file that had it, or the private one, is gone by now.
    """
    effects.tick("link", str(path), str(temporary))
    try:
        os.link(temporary, path)
    except OSError as error:
        # A network file system may make the link and lose the answer: the count of links knows (open(2), under O_EXCL).
        if _links(temporary) > 1:
            return
        found = _look_for(path, _LOOKS if isinstance(error, FileExistsError) else _LOOKS[:1])
        if found is None and isinstance(error, FileExistsError):
            raise FileNotFoundError(path) from error  # it was removed meanwhile: for the caller to try again
        if found is None:
            raise
        if found != data:
            raise Exists(key, found) from None


def _links(path: Path) -> int:
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_nlink


def _look_for(path: Path, pauses: Iterable[float]) -> bytes | None:
    for seconds in pauses:
        time.sleep(seconds)
        with suppress(FileNotFoundError):
            return path.read_bytes()
    return None


def check_writable(folder: Path) -> None:
    """Refuse a folder in which this user can write nothing, or not make it; nothing is tried or changed.

    Raises:
        StorageFailed: When it can not be written.
    """
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        number = errno.ENOTDIR
    elif not os.access(nearest, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(nearest).f_flag & os.ST_RDONLY else errno.EACCES
    else:
        return
    raise storage_failed("write", str(nearest), OSError(number, os.strerror(number)))


def open_plain(path: Path) -> FileIO:
    """Open a file to read; a pipe or a device in its place is refused at once, since reading one may never end.

    Raises:
        StateDamaged: When something else than a plain file has the name.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise damaged(str(path), "it is not a plain file")
    return FileIO(descriptor)


def unlink(path: Path) -> None:
    """Remove a file; one that is not there is no error."""
    effects.tick("unlink", str(path))
    with suppress(FileNotFoundError):
        path.unlink()


def read_up_to(file: BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer when the file ends before; all that is left when it is negative."""
    pieces: list[bytes] = []
    while count and (piece := file.read(count)):
        pieces.append(piece)
        count -= len(piece) if count > 0 else 0
    return b"".join(pieces)
