"""The start-up probe: tries each primitive that the protocol rests on, and refuses a place that lacks one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.errors import ConfigError
from batchscore.store import layout
from batchscore.store.failure import plain_errors, storage_failed
from batchscore.store.posix import sync_folder
from batchscore.store.root import Exists, Root, is_there
from batchscore.store.sealed import seal

if TYPE_CHECKING:
    from batchscore.store.files import FileRoot
    from batchscore.store.objects import ObjectRoot

_WRITERS = 8


def probe_files(root: FileRoot) -> None:
    """Probe a file system, once for each that a root lies on.

    Raises:
        ConfigError: With what it does not do.
    """
    with plain_errors("write", root.url):
        try:
            root.make_folder(Path(root.url))
        except FileNotFoundError as error:  # as /proc answers, where nobody can make a folder
            raise storage_failed("write", root.url, error) from error
        if not Path(root.url).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root.url)
        passed = f"{layout.PROBES}/posix-{os.statvfs(root.url).f_fsid:x}.json"
    if is_there(root, passed):
        return
    room = f"{layout.STAGING}/{layout.TEMPORARY}probe-{uuid.uuid4().hex}"
    with plain_errors("write", root.url):
        root.make_folder(Path(root.url, room))
        _try_links(root, Path(root.url, room))
    _try_exclusive(root, room)
    root.delete_folder(room)
    root.create(passed, seal({"passed": "files"}))


def probe_objects(root: ObjectRoot) -> None:
    """Probe an object store, once for each version of the client.

    Raises:
        ConfigError: With what it does not do.
    """
    import obstore

    passed = f"{layout.PROBES}/obstore-{obstore.__version__}.json"
    if is_there(root, passed):
        return
    room = f"{layout.STAGING}/{layout.TEMPORARY}probe-{uuid.uuid4().hex}"
    _try_exclusive(root, room)
    _need(
        root, _refuses_stale(root, f"{room}/tagged"), "it replaces an object although `If-Match` names an old version"
    )
    root.copy(f"{room}/race", f"{room}/copy")
    _need(root, any(_lists_all(root, room) for _ in range(root.reads)), "an object that was just written is not listed")
    root.delete_folder(room)
    root.create(passed, seal({"passed": "objects"}))


def _lists_all(root: Root, room: str) -> bool:
    return {entry.key.rsplit("/", 1)[-1] for entry in root.list(room)} == {"race", "tagged", "copy"}


def _refuses_stale(root: ObjectRoot, key: str) -> bool:
    import obstore
    from obstore.exceptions import BaseError

    from batchscore.store.objects import client

    root.replace(key, b"one")
    found = root.insist("looked at", key, lambda: obstore.head(client(root.url), key))
    stale: Any = {name: found[name] for name in ("e_tag", "version") if found.get(name)}
    root.replace(key, b"other")
    try:
        obstore.put(client(root.url), key, b"late", mode=stale)
    except BaseError:
        return root.read(key) != b"late"
    return False


def _try_exclusive(root: Root, room: str) -> None:
    """Let 8 writers create one file: exactly one may win, and the loser of a second round must notice."""
    with ThreadPoolExecutor(_WRITERS) as writers:
        # Each writes bytes far from the others': a byte that changes on the way must not make one's file another's.
        bodies = [uuid.uuid4().hex.encode() for _ in range(_WRITERS)]
        won = sum(writers.map(lambda body: creates(root, f"{room}/race", body), bodies))
    if won != 1:
        raise refused(root, f"{won} of {_WRITERS} writers won the creation of one file")
    if creates(root, f"{room}/race", b"late"):
        raise refused(root, "a file that exists was created again")


def creates(root: Root, key: str, data: bytes) -> bool:
    """Whether this writer creates the file."""
    try:
        root.create(key, data)
    except Exists:
        return False
    return True


def _try_links(root: Root, room: Path) -> None:
    (room / "file").write_bytes(b"")
    _need(root, _succeeds(lambda: os.link(room / "file", room / "link")), "it has no hard links")
    _need(root, (room / "file").stat().st_nlink == 2, "it does not count hard links")  # noqa: PLR2004
    _need(root, _succeeds(lambda: sync_folder(room)), "it can not make the names in a folder durable")
    (room / "one").mkdir()
    (room / "two").mkdir()
    (room / "two" / "file").write_bytes(b"")
    _need(root, _succeeds(lambda: (room / "shown").symlink_to("one")), "it has no symbolic links")
    (room / "aside").symlink_to("two")
    swapped = _succeeds(lambda: (room / "aside").rename(room / "shown")) and (room / "shown" / "file").exists()
    _need(root, swapped, "it can not rename a symbolic link over another")
    replaced = _succeeds(lambda: (room / "one").rename(room / "two"))
    _need(root, not replaced, "it renames a folder over one that is not empty")


def _succeeds(action: Callable[[], object]) -> bool:
    """Whether a file system does it; what may fail on any of them, such as a full disk, is no lack."""
    try:
        action()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        return False
    return True


def _need(root: Root, kept: bool, lack: str) -> None:  # noqa: FBT001 - a fact, not a switch
    if not kept:
        raise refused(root, lack)


def refused(root: Root, lack: str) -> ConfigError:
    """Return the error of a place that can not keep the promise."""
    return ConfigError(
        f"output.path '{root.url}' can not publish all at once: {lack}",
        slug="STORE",
        remedy="use a file system with hard links, or s3://, gs:// or abfs:// instead of a mounted bucket",
    )
