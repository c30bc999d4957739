"""An output root on a file system: what POSIX offers that is exclusive, complete and durable.

The order is always file, then link or rename, then directory: after a power cut a name never stands for less than the
whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar

from batchscore.store import effects, layout
from batchscore.store.failure import foreign, plain_errors, storage_failed
from batchscore.store.posix import folder_mode, link_exclusively, open_plain, read_up_to, sync_file, sync_folder, unlink
from batchscore.store.root import Entry

CHUNK = 1 << 20
"""Bytes per read while a file is hashed."""


@dataclass(frozen=True)
class FileRoot:
    """An output root on a file system."""

    url: str
    """Its path, as configured."""
    mode: int = 0o644
    """The permissions of every file; directories get `x` where that has `r`."""

    reads: ClassVar[int] = 1
    flat: ClassVar[bool] = False

    def shown(self, key: str) -> str:
        """Return the key's path as a person writes it."""
        return str(self._path(key))

    def create(self, key: str, data: bytes) -> None:
        """Write a private file beside the target, make it durable, link it to the target's name: `Root.create`."""
        path = self._path(key)
        for _ in range(10):
            # A missing file here: another run pruned the folder, or removed the target, meanwhile.
            with suppress(FileNotFoundError), plain_errors("write", str(path)):
                self._create(path, key, data)
                return
        raise storage_failed("write", str(path), OSError(errno.EAGAIN, "the folder is removed again and again"))

    def _create(self, path: Path, key: str, data: bytes) -> None:
        temporary = self._write_aside(path, data)
        try:
            link_exclusively(temporary, path, key, data)
            sync_folder(path.parent)
        finally:
            unlink(temporary)

    def replace(self, key: str, data: bytes) -> None:
        """Write a file in the place of what is there: `Root.replace`."""
        path = self._path(key)
        with plain_errors("write", str(path)):
            temporary = self._write_aside(path, data, durable=False)
            effects.tick("rename", str(path), str(temporary))
            temporary.rename(path)

    @plain_errors("read")
    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file: `Root.read`."""
        with open_plain(self._path(key)) as file:
            if start == 0 and stop is None:
                return file.readall()
            file.seek(start)
            return read_up_to(file, -1 if stop is None else stop - start)

    @plain_errors("read")
    def digest(self, key: str) -> tuple[str, int]:
        """Return sha256 and size of a file: `Root.digest`."""
        sha256, size, buffer = hashlib.sha256(), 0, bytearray(CHUNK)
        view = memoryview(buffer)
        with open_plain(self._path(key)) as file:
            while count := file.readinto(buffer):
                sha256.update(view[:count])
                size += count
        return sha256.hexdigest(), size

    @plain_errors("list")
    def list(self, prefix: str) -> tuple[Entry, ...]:
        """Return all files below a folder: `Root.list`."""
        return tuple(sorted(self._walk(prefix), key=lambda entry: entry.key))

    @plain_errors("list")
    def folders(self, prefix: str) -> tuple[str, ...]:
        """Return the names of the folders right inside a folder: `Root.folders`."""
        try:
            with os.scandir(self._path(prefix)) as found:
                return tuple(sorted(item.name for item in found if item.is_dir(follow_symlinks=False)))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    @plain_errors("delete")
    def delete(self, key: str) -> None:
        """Remove a file: `Root.delete`."""
        unlink(self._path(key))

    @plain_errors("delete")
    def delete_folder(self, prefix: str) -> None:
        """Remove a folder: `Root.delete_folder`; it leaves its name at once, so that nobody finds half of it."""
        path = self._path(prefix)
        doomed = self._path(f"{layout.STAGING}/{layout.TEMPORARY}{uuid.uuid4().hex}")
        self.make_folder(doomed.parent)
        effects.tick("rename", str(doomed), str(path))
        with suppress(FileNotFoundError):
            path.rename(doomed)
            effects.tick("rmtree", str(doomed))
            shutil.rmtree(doomed)

    def delete_empty(self, prefix: str) -> None:
        """Remove a folder that has nothing in it: `Root.delete_empty`; whoever is about to fill it makes it again."""
        path = self._path(prefix)
        with suppress(OSError):
            if not any(path.iterdir()):
                effects.tick("rmdir", str(path))
                path.rmdir()

    @contextmanager
    def stage(self, name: str) -> Iterator[FileStage]:
        """Build a run in `staging`, then rename it into `runs`: `Root.stage`."""
        staged, final = self._path(f"{layout.STAGING}/{name}"), self._path(layout.run(name))
        with plain_errors("write", self.shown(layout.run(name))):
            self.make_folder(staged)
            self.make_folder(final.parent)
        yield FileStage(root=self, folder=staged)
        with plain_errors("write", self.shown(layout.run(name))):
            for folder, _, _ in os.walk(staged, topdown=False):
                sync_folder(Path(folder))
            effects.tick("rename", str(final), str(staged))
            staged.rename(final)
            self._sync_up(final.parent)

    @plain_errors("write")
    def confirm(self, key: str) -> None:
        """Make a file and the names that lead to it durable: `Root.confirm`."""
        path = self._path(key)
        sync_file(path)
        self._sync_up(path.parent)

    def occupied(self, date: str) -> bool:
        """Whether anything lies at `<root>/<date>`: `Root.occupied`."""
        return os.path.lexists(self._path(layout.checked_date(date)))

    @plain_errors("read")
    def projected(self, date: str) -> str | None:
        """Return the run that the link `<root>/<date>` leads to: `Root.projected`."""
        try:
            folder, _, name = str(self._path(layout.checked_date(date)).readlink()).rpartition("/")
        except OSError:
            return None
        return name if folder == layout.RUNS else None

    @plain_errors("write")
    def project(self, date: str, name: str) -> None:
        """Make a relative link aside and rename it over `<root>/<date>`: `Root.project`."""
        path = self._path(layout.checked_date(date))
        aside = self._path(f"{layout.STAGING}/{layout.TEMPORARY}{uuid.uuid4().hex}")
        self.make_folder(aside.parent)
        effects.tick("symlink", str(aside), layout.run(name))
        aside.symlink_to(layout.run(name))
        try:
            effects.tick("rename", str(path), str(aside))
            aside.rename(path)
        except (IsADirectoryError, FileExistsError):
            unlink(aside)
            raise foreign(self.shown(date)) from None
        sync_folder(path.parent)

    def projecting(self, date: str, *, besides: str) -> frozenset[str]:  # noqa: ARG002 - as the protocol has it
        """Return nothing: one rename is the whole projection."""
        return frozenset()

    def probe(self) -> None:
        """Try each primitive once per file system: `Root.probe`."""
        from batchscore.store.probe import probe_files

        probe_files(self)

    def _path(self, key: str) -> Path:
        return Path(self.url, key)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        try:
            with os.scandir(self._path(prefix)) as found:
                items = list(found)
        except (FileNotFoundError, NotADirectoryError):
            return
        for item in items:
            key = f"{prefix}/{item.name}" if prefix else item.name
            if item.is_dir(follow_symlinks=False):
                yield from self._walk(key)
                continue
            with suppress(FileNotFoundError):  # it was removed meanwhile
                status = item.stat(follow_symlinks=False)
                # The change time: a hard link to an old part is as new as the link.
                yield Entry(key=key, size=status.st_size, modified=status.st_ctime)

    def _write_aside(self, path: Path, data: bytes, *, durable: bool = True) -> Path:
        temporary = path.parent / f"{layout.TEMPORARY}{uuid.uuid4().hex}"
        self.make_folder(path.parent)
        with self.opened(temporary, durable=durable) as file:
            file.write(data)
        return temporary

    @contextmanager
    def opened(self, path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
        """Open a new private file to write; it is durable when the block ends, and gone when it fails."""
        effects.tick("create", str(path))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, self.mode)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
                if os.fstat(descriptor).st_mode & 0o7777 != self.mode:
                    os.fchmod(descriptor, self.mode)
                effects.tick("write", str(path))
                yield file
                file.flush()
                if durable:
                    effects.tick("fsync", str(path))
                    os.fsync(descriptor)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, each one's name durable."""
        if path.is_dir():
            return
        if path.parent != path:
            self.make_folder(path.parent)
        mode = folder_mode(self.mode)
        effects.tick("mkdir", str(path))
        with suppress(FileExistsError):
            path.mkdir(mode)
            if path.stat().st_mode & 0o777 != mode:
                path.chmod(mode)
        sync_folder(path.parent)

    def _sync_up(self, folder: Path) -> None:
        """Make the names durable that lead from the root to `folder`, whoever made them."""
        root = Path(self.url)
        while folder not in (root, folder.parent):
            sync_folder(folder)
            folder = folder.parent
        sync_folder(root)


@dataclass
class FileStage:
    """A run's folder in `staging`."""

    root: FileRoot
    """The root it belongs to."""
    folder: Path
    """Where it is built."""
    _made: set[Path] = field(default_factory=set)

    def take(self, files: Iterable[tuple[str, str, int]]) -> None:
        """Link stored files in: `Stage.take`."""
        for key, path, _ in files:
            with plain_errors("write", str(self.folder / path)):
                target = self._target(path)
                effects.tick("link", str(target), self.root.shown(key))
                os.link(self.root.shown(key), target)
                if target.stat().st_mode & 0o7777 != self.root.mode:
                    effects.tick("chmod", str(target))
                    target.chmod(self.root.mode)

    def write(self, path: str, data: bytes) -> None:
        """Write a file: `Stage.write`."""
        with plain_errors("write", str(self.folder / path)), self.root.opened(self._target(path)) as file:
            file.write(data)

    def stream(self, path: str, fill: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Write a file from a function: `Stage.stream`."""
        with plain_errors("write", str(self.folder / path)), self.root.opened(self._target(path)) as file:
            fill(file)
        return self.root.digest(str((self.folder / path).relative_to(self.root.url)))

    def _target(self, path: str) -> Path:
        target = self.folder / path
        if target.parent not in self._made:
            self.root.make_folder(target.parent)
            self._made.add(target.parent)
        return target
