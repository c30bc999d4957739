"""An output root in an object store: conditional puts, and no client's verdict trusted without reading back.

"Already exists" does not mean that somebody else won: a lost answer makes a client report its own write as a conflict.
There is no rename, so a run is built where it stays, under a name that holds its random id, and only its commit record
makes it visible.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from batchscore import retries
from batchscore.errors import StateDamaged, StorageFailed
from batchscore.store import effects, layout
from batchscore.store.commits import head
from batchscore.store.root import Entry, Exists
from batchscore.store.sealed import put_once, read_checked, read_sealed, read_sealed_bytes, seal

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Seconds before each further attempt, about: each is stretched or shortened by up to half, so that clients spread."""
PATIENCE = 120.0
"""Seconds after which no further attempt begins, however long the earlier ones took."""
THREADS = 16
"""Copies at once."""
CHUNK = 4 << 20
"""Bytes per piece while an object is hashed."""

_CLIENT: Any = {"timeout": "60s", "connect_timeout": "5s"}
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
"""The platform's variables that allow an address without TLS; a client that is given options forgets them."""
_RETRY: Any = {"max_retries": 2}
_FINAL = (
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.InvalidPathError,
    exceptions.NotSupportedError,
    exceptions.UnknownConfigurationKeyError,
)
"""Refusals that no further attempt will change."""

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectRoot:
    """An output root in an object store."""

    url: str
    """Its address, as configured."""

    reads: ClassVar[int] = 5
    flat: ClassVar[bool] = True

    def shown(self, key: str) -> str:
        """Return the key's address."""
        return f"{self.url.rstrip('/')}/{key}"

    def create(self, key: str, data: bytes) -> None:
        """Put if absent; after any answer but success, read back and compare: `Root.create`."""
        for _ in _attempts():
            effects.tick("put", key)
            try:
                obstore.put(client(self.url), key, data, mode="create")
            except (FileNotFoundError, *_FINAL) as error:
                raise self._failed(key, "written", error) from error
            except exceptions.BaseError:
                found = self._read_back(key, data)
                if found == data:
                    return
                if found is not None:
                    raise Exists(key, found) from None
            else:
                return
        raise StorageFailed(
            f"{self.shown(key)} may or may not be written: the store gave no clear answer",
            slug="OUTCOME-UNKNOWN",
            remedy="run the same command again: it finds out, and resumes",
        )

    def replace(self, key: str, data: bytes) -> None:
        """Put over what is there: `Root.replace`."""
        effects.tick("put", key)
        self.insist("written", key, lambda: obstore.put(client(self.url), key, data))

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Get bytes of an object: `Root.read`."""
        if start == 0 and stop is None:
            return self.insist("read", key, lambda: bytes(obstore.get(client(self.url), key).bytes()))
        size: int = self.insist("read", key, lambda: obstore.head(client(self.url), key))["size"]
        end = size if stop is None else min(stop, size)
        if start >= end:
            return b""
        return self.insist("read", key, lambda: bytes(obstore.get_range(client(self.url), key, start=start, end=end)))

    def digest(self, key: str) -> tuple[str, int]:
        """Return sha256 and size of an object: `Root.digest`."""

        def hashed() -> tuple[str, int]:
            sha256, size = hashlib.sha256(), 0
            for piece in obstore.get(client(self.url), key).stream(min_chunk_size=CHUNK):
                sha256.update(piece)
                size += len(piece)
            return sha256.hexdigest(), size

        return self.insist("read", key, hashed)

    def list(self, prefix: str) -> tuple[Entry, ...]:
        """Return all objects below a folder: `Root.list`."""

        def listed() -> tuple[Entry, ...]:
            pages = obstore.list(client(self.url), prefix, chunk_size=1000)
            return tuple(
                Entry(key=item["path"], size=item["size"], modified=item["last_modified"].timestamp())
                for page in pages
                for item in page
            )

        return tuple(sorted(self.insist("listed", prefix, listed), key=lambda entry: entry.key))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Return the names of the folders right inside a folder: `Root.folders`."""
        found = self.insist("listed", prefix, lambda: obstore.list_with_delimiter(client(self.url), prefix))
        return tuple(sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"]))

    def delete(self, key: str) -> None:
        """Remove an object: `Root.delete`."""
        effects.tick("delete", key)
        with suppress(FileNotFoundError):
            self.insist("deleted", key, lambda: obstore.delete(client(self.url), key))

    def delete_folder(self, prefix: str) -> None:
        """Remove all objects below a folder: `Root.delete_folder`."""
        in_parallel(self.delete, (entry.key for entry in self.list(prefix)))

    def delete_empty(self, prefix: str) -> None:
        """Do nothing: an object store has no empty folders."""

    @contextmanager
    def stage(self, name: str) -> Iterator[ObjectStage]:
        """Build a run where it stays: `Root.stage`."""
        stage = ObjectStage(root=self, folder=layout.run(name))
        yield stage
        for _ in range(self.reads):
            if {entry.key: entry.size for entry in self.list(stage.folder)} == stage.sizes:
                return
        raise StorageFailed(
            f"{self.shown(stage.folder)} does not list the files that were written to it",
            slug="LISTING",
            remedy="run the same command again: it resumes",
        )

    def confirm(self, key: str) -> None:
        """Do nothing: an object that can be read is durable."""

    def occupied(self, date: str) -> bool:
        """Whether any object lies below `<date>/`: `Root.occupied`."""
        prefix = layout.checked_date(date)
        found = self.insist("listed", prefix, lambda: obstore.list_with_delimiter(client(self.url), prefix))
        return bool(found["objects"] or found["common_prefixes"])

    def projected(self, date: str) -> str | None:
        """Return the run whose metadata.json lies below `<date>/`, since it is copied last: `Root.projected`."""
        try:
            metadata, _ = read_sealed(self, f"{layout.checked_date(date)}/{layout.METADATA}")
        except (FileNotFoundError, StateDamaged):
            return None
        return layout.run_name(date, metadata["plan_id"], metadata["run_id"])

    def project(self, date: str, name: str) -> None:
        """Copy a run to `<date>/`: `Root.project`.

        While metadata.json is away the copy is not there yet; it is taken away first and put back last.
        A note that lies there from the first change to the last tells others of a copy that may go on, or never will.
        """
        note = layout.projecting(date, name, uuid.uuid4().hex)
        self.create(note, seal({"run": name}))
        self.delete(f"{layout.checked_date(date)}/{layout.METADATA}")
        newest = head(self, date)  # looked at again: this process may have been paused since
        if newest is not None and newest.run == name:
            self._copy_run(date, name)
        self.delete(note)

    def _copy_run(self, date: str, name: str) -> None:
        manifest, _ = read_sealed(self, layout.run(name, layout.MANIFEST))
        paths = [*layout.published_files(manifest), layout.SUMMARY, layout.MANIFEST]
        last = f"{date}/{layout.METADATA}"
        in_parallel(lambda path: self.copy(layout.run(name, path), f"{date}/{path}"), paths)
        stale = {entry.key for entry in self.list(date)} - {f"{date}/{path}" for path in paths}
        in_parallel(self.delete, sorted(stale - {last}))
        metadata = read_sealed_bytes(self, layout.run(name, layout.METADATA))
        if put_once(self, last, metadata) != metadata:
            # Another revision was copied meanwhile, and perhaps mixed with this one: it must be copied again.
            self.delete(last)

    def projecting(self, date: str, *, besides: str) -> frozenset[str]:
        """Return the notes of unfinished copies of other runs: `Root.projecting`."""
        own = f"{layout.projecting(date, besides)}/"
        return frozenset(entry.key for entry in self.list(layout.projecting(date)) if not entry.key.startswith(own))

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store; one that is there is replaced."""
        effects.tick("copy", target, source)
        self.insist("copied", source, lambda: obstore.copy(client(self.url), source, target))

    def probe(self) -> None:
        """Try each primitive, once per store and version of the client: `Root.probe`."""
        from batchscore.store.probe import probe_objects

        probe_objects(self)

    def _read_back(self, key: str, data: bytes) -> bytes | None:
        """Return what lies under a key; two equal reads before it is believed to be other bytes than `data`."""
        before: bytes | None = None
        for _ in range(2 * self.reads):
            try:
                found = self.read(key)
            except FileNotFoundError:
                return None
            if found in (data, before):
                return found
            before = found
        raise self._failed(key, "read", None)

    def insist(self, done: str, key: str, call: Callable[[], T]) -> T:
        """Call until it succeeds, within bounds; only for calls that may be repeated."""
        last: Exception | None = None
        for _ in _attempts():
            try:
                return call()
            except FileNotFoundError:
                raise
            except _FINAL as error:
                raise self._failed(key, done, error) from error
            except (exceptions.BaseError, OSError) as error:
                last = error
        raise self._failed(key, done, last) from last

    def _failed(self, key: str, done: str, error: Exception | None) -> StorageFailed:
        return StorageFailed(
            f"{self.shown(key)} can not be {done}: {reason(error)}",
            slug="OBJECT-STORE",
            remedy="look at the store, its address and its credentials, then run the same command again: it resumes",
            file=self.shown(key),
        )


@dataclass
class ObjectStage:
    """A run's folder, before its commit."""

    root: ObjectRoot
    """The root it belongs to."""
    folder: str
    """Its key."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each object, by key."""

    def take(self, files: Iterable[tuple[str, str, int]]) -> None:
        """Copy stored objects in: `Stage.take`."""
        copies = {f"{self.folder}/{path}": (key, size) for key, path, size in files}
        in_parallel(lambda target: self.root.copy(copies[target][0], target), copies)
        self.sizes |= {target: size for target, (_, size) in copies.items()}

    def write(self, path: str, data: bytes) -> None:
        """Put a file: `Stage.write`."""
        try:
            self.root.create(f"{self.folder}/{path}", data)
        except Exists:  # nobody else writes here: it is ours, and changed on the way back, or it is damaged
            read_checked(self.root, f"{self.folder}/{path}", hashlib.sha256(data).hexdigest())
        self.sizes[f"{self.folder}/{path}"] = len(data)

    def stream(self, path: str, fill: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Put a file from a function, by way of a temporary file: `Stage.stream`."""
        key = f"{self.folder}/{path}"
        with tempfile.TemporaryFile() as file:
            fill(file)
            size = file.tell()
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.root.insist("written", key, lambda: self._put(key, file))
        self.sizes[key] = size
        return sha256, size

    def _put(self, key: str, file: BinaryIO) -> None:
        file.seek(0)
        effects.tick("put", key)
        obstore.put(client(self.root.url), key, file)


def in_parallel(action: Callable[[str], None], keys: Iterable[str]) -> None:
    """Do one thing to many keys, several at once."""
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(action, list(keys)):
            pass


@functools.lru_cache
def client(url: str) -> ObjectStore:
    """Return this process's client of an address; credentials, region and endpoint come from the platform."""
    plain = any(os.environ.get(name, "").lower() in ("1", "true") for name in _ALLOW_HTTP)
    options: Any = {**_CLIENT, "allow_http": plain}
    return from_url(url, client_options=options, retry_config=_RETRY)


def reason(error: Exception | None) -> str:
    """Return the first sentence of a client's long-winded error."""
    text = " ".join(str(error).split("Debug source:")[0].split())
    return text[:300] or type(error).__name__


def _attempts() -> Iterator[None]:
    """Yield once for each attempt, with a pause in between, until the last or until patience ends."""
    deadline = time.monotonic() + PATIENCE
    yield
    for pause in PAUSES:
        if time.monotonic() > deadline:
            return
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients, decides nothing
        retries.note()
        yield
