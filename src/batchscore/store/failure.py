"""Failures of the operating system as errors of batchscore: one sentence that names the file and the fact."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from batchscore.errors import OutputExists, StorageFailed

_FACTS = {
    errno.ENOSPC: ("the disk is full", "DISK-FULL", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "DISK-FULL", "free some space or raise the quota"),
    errno.EROFS: ("the file system is read-only", "READ-ONLY", "mount it for writing, or choose another `output.path`"),
    errno.EACCES: ("permission is denied", "PERMISSION", "give this user the right"),
    errno.EPERM: ("the operation is not permitted", "PERMISSION", "give this user the right"),
    errno.ENOTDIR: (
        "a file stands where a folder must be",
        "NOT-A-FOLDER",
        "move it away, or choose another `output.path`",
    ),
    errno.EIO: ("the device reports an input/output error", "DEVICE", "look at the disk or the network file system"),
}


@contextmanager
def plain_errors(action: str, shown: str = "") -> Iterator[None]:
    """Turn an OSError into `StorageFailed`; as a decorator too, for methods.

    A missing file passes as it is, since only the caller knows what that means.

    Args:
        action: What was tried: `read`, `write`, `list` or `delete`.
        shown: The file or folder, when the error may not know it.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_failed(action, shown or str(error.filename or "the output"), error) from error


def storage_failed(action: str, shown: str, error: OSError) -> StorageFailed:
    """Return the error of an operation that the operating system refused."""
    unknown = (error.strerror or "the system refuses", "SYSTEM", "look at the file system")
    fact, slug, first = _FACTS.get(error.errno or 0, unknown)
    done = {"list": "listed", "delete": "deleted", "read": "read", "write": "written"}[action]
    return StorageFailed(
        f"{shown} can not be {done}: {fact}",
        slug=slug,
        remedy=f"{first}, then run the same command again: it resumes",
        file=shown,
    )


def foreign(shown: str) -> OutputExists:
    """Return the error of a date's place that something else has taken."""
    return OutputExists(
        f"{shown} exists and was not published by batchscore",
        slug="FOREIGN",
        remedy="move it away, or choose another `output.path`",
    )
