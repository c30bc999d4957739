"""Bytes of inputs, models and schemas: from a local path, or from s3://, gs:// and abfs:// through obstore.

The only file that opens what others wrote. Credentials, region and endpoint of an object store come from the
platform's usual variables or the pod's identity, never from the configuration. All functions are safe in threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import re
import stat as modes
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from batchscore import retries
from batchscore.errors import ConfigError, StorageFailed

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTEMPTS = 5
"""How often a failed request is tried; obstore retries server errors by itself inside each attempt."""
TOTAL_SECONDS = 90.0
"""The most that the retries of one call may take, in seconds."""
PIECE = 16 * 1024 * 1024
"""The most bytes of one request, so that each ends well within the client's deadline of 30 seconds."""
SCHEMES = ("s3", "gs", "abfs")
"""The object stores that are understood."""

_TRANSIENT = {
    errno.EIO,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
}
_QUERY = re.compile(r"\?[^\s\"'<>)]*")
_TABLE_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}
_SECRET = re.compile(
    r"(?i)\b(authorization|credential|[\w-]*(?:token|secret|signature|password|key|keyid|sig))"
    r"(\"?\s*[=:>]\s*\"?)(?:bearer\s+|basic\s+)?[^\s\"'<>,;&]+"
)
_ResultT = TypeVar("_ResultT")


class Witness(Protocol):
    """What all answers of object stores came to."""

    def hexdigest(self) -> str:
        """Return the sha256 of all of them."""

    def update(self, data: bytes, /) -> None:
        """Take one more."""


_witness: ContextVar[Witness | None] = ContextVar("witness", default=None)


class _TransientError(Exception):
    """A failure that may pass, with its text already cleared of secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat:
    """What a file was when it was looked at."""

    path: str
    """The path, as it was asked for; for a file of a directory, the directory's path and the file's in it."""
    size: int
    """Bytes of the whole file."""
    version: str | None
    """The object store's tag of the content; None on file systems."""
    modified_ns: int | None
    """Time of the last change, in nanoseconds since 1970; None in object stores."""
    inode: int | None
    """The file's number on its file system; None in object stores."""


def is_remote(path: str) -> bool:
    """Whether `path` names an object store.

    Raises:
        ConfigError: When the scheme is of a store that is not understood.
    """
    scheme, separator, _ = path.partition("://")
    if not separator or "/" in scheme:
        return False
    if scheme not in SCHEMES:
        raise ConfigError(
            f"the path '{redact(path)}' names an unknown store '{scheme}'",
            slug="UNKNOWN-STORE",
            remedy="use a local path, s3://, gs:// or abfs://",
        )
    return True


def stat(path: str) -> Stat:
    """Look at one file, following symlinks.

    Raises:
        FileNotFoundError: When it is not there.
        StorageFailed: When the store fails, after retries.
    """
    if is_remote(path):
        store, key = _open_store(path)
        return _retried(path, lambda: _remote_stat(path, _obstore().head(store, key)))
    return _retried(path, lambda: _local_stat(path, os.stat(path)))  # noqa: PTH116 - one call, no Path


def list_files(path: str) -> tuple[Stat, ...]:
    """List a snapshot: a file is itself, a directory its files.

    Args:
        path: A file, or a directory that is read recursively, following symlinks; names in it that start with
            "." or "_" are left out.

    Returns:
        The files, sorted by path; none when there is nothing.

    Raises:
        ConfigError: When a directory is, or holds, a table of Delta Lake or Hudi.
        FileNotFoundError: When a listed file is gone before it is looked at, or a symlink leads nowhere.
        StorageFailed: When the store fails, after retries.
    """
    found = _list_remote(path) if is_remote(path) else _retried(path, lambda: list(_list_local(path)))
    return tuple(sorted(found, key=lambda item: item.path))


def read(path: str, start: int = 0, stop: int | None = None) -> bytes:
    """Read the bytes [start, stop) of a file; fewer when it ends earlier.

    Raises:
        FileNotFoundError: When it is not there.
        StorageFailed: When the store fails, after retries.
    """
    end = stat(path).size if stop is None else stop
    if is_remote(path):
        return b"".join(
            _retried(path, lambda piece=piece: _remote_range(path, *piece)[1])  # type: ignore[misc]
            for piece in _pieces(start, end)
        )
    buffer = bytearray(max(end - start, 0))
    length = _retried(path, lambda: _read_local(path, [(start, end)], memoryview(buffer), origin=start))[1]
    return bytes(memoryview(buffer)[:length])


def read_into(path: str, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> tuple[Stat, ...]:
    """Read byte ranges of a file to the same places of `buffer`.

    Args:
        path: The file.
        ranges: Byte ranges [start, end), ascending and disjoint.
        buffer: Writable, at least as long as the last range's end.

    Returns:
        What the file was, seen with each read and after the last one: the caller compares them with what it expects.

    Raises:
        FileNotFoundError: When it is not there.
        StorageFailed: When the store fails, after retries.
    """
    if not is_remote(path):
        return _retried(path, lambda: _read_local(path, ranges, buffer))[0]
    seen = []
    for start, end in (piece for each in ranges for piece in _pieces(*each)):
        found, content = _retried(path, lambda start=start, end=end: _remote_range(path, start, end))  # type: ignore[misc]
        buffer[start : start + len(content)] = content
        seen.append(found)
    return (*seen, stat(path))


@contextmanager
def witnessed() -> Iterator[Witness]:
    """Take the digest of all that this thread is told by object stores within the block, in its order."""
    found = hashlib.sha256()
    token = _witness.set(found)
    try:
        yield found
    finally:
        _witness.reset(token)


def redact(text: str) -> str:
    """Clear a text of query strings and of what looks like a secret, and cut it to one short line."""
    line = " ".join(text.split())
    clean = _SECRET.sub(r"\1\2[redacted]", _QUERY.sub("?[redacted]", line))
    return clean if len(clean) <= 300 else f"{clean[:297]}..."  # noqa: PLR2004


def _local_stat(path: str, found: os.stat_result) -> Stat:
    if not modes.S_ISREG(found.st_mode):
        raise ConfigError(
            f"'{path}' is not a regular file", slug="NOT-A-FILE", remedy="name a file, or a directory of files"
        )
    return Stat(path=path, size=found.st_size, version=None, modified_ns=found.st_mtime_ns, inode=found.st_ino)


def _list_local(path: str) -> Iterator[Stat]:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call, no Path
    except FileNotFoundError:
        return
    if modes.S_ISDIR(found.st_mode):
        for folder in _partitioned(path):
            _check_no_table(folder, [log for log in _TABLE_LOGS if os.path.lexists(f"{folder}/{log}")])
        yield from _walk(path.rstrip("/") or "/", frozenset({(found.st_dev, found.st_ino)}))
    else:
        yield _local_stat(path, found)


def _walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[Stat]:
    with os.scandir(folder) as entries:
        every = sorted(entry.name for entry in entries)
    _check_no_table(folder, every)
    names = [name for name in every if not name.startswith((".", "_"))]
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        found = os.stat(path)  # noqa: PTH116 - one call, no Path
        here = (found.st_dev, found.st_ino)
        if not modes.S_ISDIR(found.st_mode):
            yield _local_stat(path, found)
        elif here not in above:  # a symlink to a folder above would never end
            yield from _walk(path, above | {here})


def _partitioned(path: str) -> Iterator[str]:
    """Yield the folders that a path is a partition of, as `rows/date=2013-02-08` is one of `rows`."""
    folder, name = posixpath.split(path.rstrip("/"))
    while "=" in name:
        yield folder or "."
        folder, name = posixpath.split(folder)


def _check_no_table(folder: str, names: Iterable[str]) -> None:
    """Refuse a folder that is a table: files that a later version of it removed lie there still, with rows that are gone."""
    logs = _TABLE_LOGS.keys() & set(names)
    if logs:
        log = min(logs)
        raise ConfigError(
            f"'{redact(folder)}' is a table of {_TABLE_LOGS[log]}: which of its files hold rows is said by '{log}' alone",
            slug="TABLE",
            remedy="have the rows of a date written out of the table as parquet files, and name these",
        )


def _read_local(
    path: str, ranges: Sequence[tuple[int, int]], buffer: memoryview, *, origin: int = 0
) -> tuple[tuple[Stat, ...], int]:
    # Without O_NONBLOCK, opening a named pipe would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = _local_stat(path, os.fstat(descriptor))
        length = 0
        for start, end in ranges:
            length += _fill(descriptor, start, buffer[start - origin : end - origin])
        after = _local_stat(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return (before, after, _local_stat(path, os.stat(path))), length  # noqa: PTH116 - one call, no Path


def _fill(descriptor: int, start: int, target: memoryview) -> int:
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done : done + (1 << 30)]], start + done)
        if not count:
            break
        done += count
    return done


def _obstore() -> Any:
    import obstore

    return obstore


def _open_store(path: str) -> tuple[ObjectStore, str]:
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    relevant = sorted((k, v) for k, v in os.environ.items() if k.startswith(("AWS_", "GOOGLE_", "AZURE_")))
    settings = hashlib.sha256(repr(relevant).encode()).hexdigest()
    try:
        return _translated(path, lambda: _connect(f"{scheme}://{bucket}", settings)), key.strip("/")
    except _TransientError as error:  # nothing was sent yet: what is missing now is missing at the next try
        raise failed(path, str(error)) from None


@lru_cache(maxsize=16)
def _connect(root: str, settings: str) -> ObjectStore:  # noqa: ARG001 - the digest only separates cache entries
    """Make the client of a bucket: one per process, since it holds the connections."""
    from datetime import timedelta

    from obstore.store import from_url

    # No client_options here: they would replace what the environment says of proxies and plain HTTP.
    return from_url(root, retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=45)})


def _remote_stat(path: str, meta: Any) -> Stat:
    version = meta.get("e_tag") or meta.get("version")
    return Stat(path=path, size=meta["size"], version=version, modified_ns=None, inode=None)


def _list_remote(path: str) -> list[Stat]:
    store, key = _open_store(path)
    if key and not path.endswith("/"):
        try:
            return [stat(path)]
        except FileNotFoundError:
            pass
    metas = _retried(path, lambda: [meta for chunk in _obstore().list(store, key or None) for meta in chunk])
    root = path.rstrip("/")
    prefix = f"{key}/" if key else ""
    names = [(meta["path"].removeprefix(prefix), meta) for meta in metas if meta["path"] != key]
    for folder in _partitioned(root):
        above = folder.removeprefix(root.removesuffix(key))
        logs = [log for log in _TABLE_LOGS if _holds_some(store, path, posixpath.join(above, log))]
        _check_no_table(folder, logs)
    _check_no_table(root, (part for name, _ in names for part in name.split("/")[:-1]))
    return [
        _remote_stat(f"{root}/{name}", meta)
        for name, meta in names
        if not any(part.startswith((".", "_")) for part in name.split("/"))
    ]


def _holds_some(store: ObjectStore, path: str, prefix: str) -> bool:
    """Whether any object lies below a prefix."""
    return _retried(path, lambda: any(len(chunk) for chunk in _obstore().list(store, prefix)))


def _remote_range(path: str, start: int, end: int) -> tuple[Stat, bytes]:
    store, key = _open_store(path)
    result = _obstore().get(store, key, options={"range": (start, end)})
    found = _remote_stat(path, result.meta)
    content = bytes(result.bytes())
    witness = _witness.get()
    if witness is not None:
        witness.update(repr(found).encode() + content)
    if len(content) != min(end, found.size) - start:
        raise _TransientError(f"the store sent {len(content)} of {end - start} bytes")
    return found, content


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(start, end, PIECE):
        yield at, min(at + PIECE, end)


def _retried(path: str, action: Callable[[], _ResultT]) -> _ResultT:
    """Do `action`, again after a growing, jittered pause while the failure may pass."""
    try:
        return _translated(path, action)
    except _TransientError as error:
        first = error
    import stamina

    try:
        for attempt in stamina.retry_context(on=_TransientError, attempts=ATTEMPTS, timeout=TOTAL_SECONDS, wait_max=10):
            with attempt:
                if attempt.num == 1:
                    raise first  # the attempt above: most runs need no second, and none of what retries import
                retries.note()
                return _translated(path, action)
    except _TransientError as error:
        raise failed(path, str(error)) from None
    raise failed(path, "no attempt was made")


def _translated(path: str, action: Callable[[], _ResultT]) -> _ResultT:
    """Turn each library's errors into ours; `from None`, because the originals may print signed addresses."""
    try:
        return action()
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", redact(str(error.filename or path))) from None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symlink that leads to itself leads nowhere, however often it is tried
            raise FileNotFoundError(errno.ENOENT, "no such file", redact(path)) from None
        text = redact(error.strerror or str(error))
        raise (_TransientError(text) if error.errno in _TRANSIENT else failed(path, text)) from None
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith("obstore"):
            raise
        if kind.__name__ == "NotFoundError":
            raise FileNotFoundError(errno.ENOENT, "no such file", redact(path)) from None
        text = redact(str(error).partition("Debug source")[0])
        transient = kind.__name__ in ("GenericError", "JoinError")
        raise (_TransientError(text) if transient else failed(path, text)) from None


def failed(path: str, fact: str) -> StorageFailed:
    """Return the error of a file that can not be read now."""
    return StorageFailed(
        f"'{redact(path)}' can not be read: {fact}",
        slug="READ",
        remedy="check the store, the credentials and the network, and run the same command again",
        path=redact(path),
    )
