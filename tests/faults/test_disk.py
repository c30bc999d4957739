"""A disk that is full, read-only or forbidden: one sentence, code 23, nothing published, and it goes on once it can."""

import ctypes
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest
from driving import (
    DATE,
    Ended,
    Project,
    fail_to_prune,
    finished_partitions,
    make_project,
    metadata,
    published,
    run,
    slow,
    start,
    until,
)

SIZE = 8 << 20
PARTITIONS = 8
CLONE_FS = 0x200
"""From sched.h: the file system information that threads share."""


@dataclass(frozen=True)
class Disk:
    """A small file system that nobody else sees, at the output root of a project."""

    project: Project
    """The project, as its drivers see it."""
    holder: int
    """The process whose mount namespace has it."""

    @property
    def seen(self) -> Project:
        """The project, as this process can look at it."""
        return Project(Path(f"/proc/{self.holder}/root{self.project.root}"))

    hears: bool = True
    """Whether its drivers hear that a write has failed."""

    def run(self, *, prune: bool = True) -> Ended:
        """Run a driver that sees the disk."""
        return run(self.project, before=enter, given=(self.holder, str(self.project.root), prune, self.hears))

    def leave_free(self, size: int) -> None:
        """Fill it but for `size` bytes."""
        ballast = self.seen.outputs / "ballast"
        ballast.unlink(missing_ok=True)
        found = os.statvfs(self.seen.outputs)
        fill = found.f_bavail * found.f_bsize - size
        if fill > 0:
            ballast.write_bytes(b"x" * fill)

    @property
    def used(self) -> int:
        """Bytes in use."""
        found = os.statvfs(self.seen.outputs)
        return (found.f_blocks - found.f_bavail) * found.f_bsize

    def wipe(self) -> None:
        """Empty it."""
        subprocess.run(["find", self.seen.outputs, "-mindepth", "1", "-delete"], check=True)

    def remount(self, how: str) -> None:
        """Mount it `ro` or `rw`."""
        line = ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "mount", "-o", f"remount,{how}"]
        subprocess.run([*line, str(self.project.outputs)], check=True)


def enter(holder: int, folder: str, prune: bool, hears: bool) -> None:
    """Go into the mount namespace of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_FS):  # a library may have begun a thread, and threads share what setns changes
        raise OSError(ctypes.get_errno(), "unshare")
    with Path(f"/proc/{holder}/ns/mnt").open() as namespace:
        if libc.setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    os.chdir(folder)
    if not prune:
        fail_to_prune()
    if not hears:
        write_deafly()


def write_deafly() -> None:
    """Have files be written as if every write succeeded."""
    from batchscore.store.files import FileRoot

    @contextmanager
    def opened(_root: FileRoot, path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
        kept = io.BytesIO()
        yield kept
        with suppress(OSError), path.open("xb", buffering=0) as file:
            file.write(kept.getvalue())
        path.touch()

    FileRoot.opened = opened  # type: ignore[method-assign]


@pytest.fixture
def disk(fast_path: Path, missing: Callable[[str], NoReturn]) -> Iterator[Disk]:
    """Give a project whose output root is a file system of 8 MiB."""
    project = make_project(fast_path / "project", files=PARTITIONS)
    project.outputs.mkdir()
    script = f"mount -t tmpfs -o size={SIZE} none '{project.outputs}' && echo ready && exec sleep 3000"
    line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        if holder.stdout is None or holder.stdout.readline() != b"ready\n":
            holder.kill()
            missing("a mount namespace")
        yield Disk(project, holder.pid)
        holder.kill()


def check_refused(ended: Ended, project: Project, fact: str) -> None:
    """See that a run ended with code 23 and one sentence, and published nothing."""
    assert ended.status == 23, ended.stderr[-3000:]
    errors = [line for line in ended.told if line.startswith("error[")]
    assert len(errors) == 1
    assert fact in errors[0]
    assert "Traceback" not in ended.stderr
    assert ended.told[-1].startswith(("Nothing was published.", "Nothing is half published"))
    assert not project.store.head(DATE)
    assert not (project.outputs / DATE).exists()


def fill_up(disk: Disk, levels: int) -> dict[str, object]:
    """Let a run meet a full disk at so many levels of free space, and finish it once there is room."""
    assert disk.run(prune=False).status == 0
    needed, wanted = disk.used, published(disk.seen)
    refused = kept = 0
    for level in range(levels):
        disk.wipe()
        disk.leave_free(needed * level // levels)
        ended = disk.run()
        if ended.status:
            check_refused(ended, disk.seen, "the disk is full")
            refused += 1
        finished = finished_partitions(disk.seen)
        disk.leave_free(SIZE)
        assert disk.run().status == 0
        assert published(disk.seen) == wanted
        if ended.status:
            assert metadata(disk.seen)["reused_partitions"] == finished
            kept += finished
    return {"levels": levels, "refused": refused, "partitions_kept": kept, "published_half": 0}


@pytest.mark.timeout(200)
def test_a_full_disk_at_some_levels(disk: Disk, figures: Callable[..., None]):
    """Whatever little space is left, a run is refused in one sentence, or done; with space it goes on."""
    numbers = fill_up(disk, 4)

    assert numbers["refused"] >= 2
    figures(**numbers)


@pytest.mark.timeout(200)
def test_a_driver_that_does_not_hear_of_a_full_disk_is_noticed(disk: Disk):
    """The twin: one that takes a failed write for a good one does not end as a full disk must."""
    with pytest.raises(AssertionError):
        fill_up(replace(disk, hears=False), 4)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_full_disk_at_twenty_levels(disk: Disk, figures: Callable[..., None]):
    """At 20 levels of little space a run is refused in one sentence; with space it goes on to the same bytes."""
    numbers = fill_up(disk, 20)

    assert numbers["refused"] >= 15
    assert numbers["partitions_kept"] > 20
    figures(**numbers)


@pytest.mark.timeout(200)
def test_a_read_only_output(disk: Disk, figures: Callable[..., None]):
    """A file system that is read-only is code 23 before anything is scored."""
    disk.remount("ro")
    ended = disk.run()
    check_refused(ended, disk.seen, "the file system is read-only")
    disk.remount("rw")

    assert disk.run().status == 0
    figures(refused=1)


def mortal(seconds: float) -> None:
    """Give up root's right to ignore permissions, and take some time for each partition."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, rights):
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):
        rights[place] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    if libc.capset(header, rights):
        raise OSError(ctypes.get_errno(), "capset")
    slow(seconds)


@pytest.mark.timeout(200)
def test_a_permission_that_is_lost_midway(fast_path: Path, figures: Callable[..., None]):
    """A folder that becomes forbidden while the run works is code 23, and what was finished before is kept."""
    project = make_project(fast_path / "project")
    driver = start(project, before=mortal, given=(0.4,))
    until(lambda: finished_partitions(project))
    folders = sorted((project.outputs / "_batchscore/work").rglob("*"))
    closed = [folder for folder in folders if folder.is_dir()]
    for folder in closed:
        folder.chmod(0o500)
    ended = driver.wait()
    check_refused(ended, project, "permission is denied")
    for folder in closed:
        folder.chmod(0o700)
    finished = finished_partitions(project)

    assert run(project).status == 0
    assert metadata(project)["reused_partitions"] == finished > 0
    figures(refused=1, partitions_kept=finished)
