"""The system refuses, at every numbered side effect: a full disk, a read-only one, a device that fails."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from storing import DATE, deterministic_files, make_plan, published_as_a_reader_sees, run

from batchscore.errors import ConfigError, StorageFailed
from batchscore.store import Commit, Store, effects, open_store

PARTS = 3
_NEEDS_SPACE = ("create", "write", "mkdir", "link", "symlink", "fsync", "fsync_folder")


def driver(store: Store, parts: int = PARTS) -> tuple[Commit, tuple[int, ...]]:
    """Probe, run and prune; without the lease, whose heart would beat into the count."""
    store.probe()
    outcome = run(store, make_plan(), parts)
    assert outcome.commit
    store.prune(outcome.commit)
    return outcome.commit, outcome.scored


def refuse_everywhere(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, lasting: bool) -> int:
    """Let the system refuse the n-th side effect of a run, for every n; return how many there were.

    Args:
        folder: An empty folder.
        monkeypatch: Puts the refusal in the place of `effects.tick`.
        code: What the system says.
        lasting: Whether it goes on refusing what needs space, as a full disk does.
    """
    reference = open_store(str(folder / "reference"))
    driver(reference)
    wanted = deterministic_files(reference)
    for point in count(1):
        store, seen = open_store(str(folder / f"{point}")), [0]

        def tick(change: str, target: str, _source: str = "", seen: list[int] = seen, point: int = point) -> None:
            seen[0] += 1
            if seen[0] == point or (lasting and seen[0] > point and change in _NEEDS_SPACE):
                raise OSError(code, os.strerror(code), target)

        with monkeypatch.context() as patched:
            patched.setattr(effects, "tick", tick)
            error = _refused(store)
        newest = store.head(DATE)
        assert published_as_a_reader_sees(Path(store.url)) in (None, newest.run if newest else None)
        if error and f"nothing of {DATE} was published" in error.remedy:
            assert newest is None
        commit, _ = driver(store)
        assert newest in (None, commit)
        assert deterministic_files(store) == wanted
        assert store.verify(DATE).problems == ()
        shutil.rmtree(store.url)
        if seen[0] < point:
            return point - 1
    raise AssertionError


def _refused(store: Store) -> StorageFailed | None:
    try:
        driver(store)
    except StorageFailed as error:
        assert error.exit_code == 23
        assert "\n" not in error.message
        return error
    except ConfigError:
        pass  # the probe may take a device that fails for one that can not
    return None


@pytest.mark.parametrize(
    ("code", "lasting"),
    [
        (errno.ENOSPC, True),
        (errno.EIO, False),
        pytest.param(errno.EROFS, True, marks=pytest.mark.faults),
        pytest.param(errno.EACCES, False, marks=pytest.mark.faults),
    ],
)
def test_refusal_anywhere_is_one_line_and_a_rerun_finishes(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None], code: int, lasting: bool
):
    """Whatever the system refuses, and when, the run ends in code 23, nothing is half published, a rerun finishes."""
    points = refuse_everywhere(fast_path, monkeypatch, code, lasting=lasting)

    assert points > 100
    figures(error=errno.errorcode[code], points=points, broken=0)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """Mount a small file system in memory; give a function that mounts it again with other options."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield (
            lambda options: (
                subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)
                and None
            )
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_disk_full_at_20_levels(tmp_path: Path, figures: Callable[..., None]):
    """On disks of 20 sizes a run ends in one line and code 23, publishes nothing, and resumes after the disk grew."""
    reference = open_store(str(tmp_path / "reference"))
    driver(reference, 12)
    wanted, reused = deterministic_files(reference), []
    for level in range(20):
        with small_disk(tmp_path / f"{level}", 4096 * (2 + 2 * level)) as remount:
            store = open_store(str(tmp_path / f"{level}" / "outputs"))
            with suppress(StorageFailed):
                driver(store, 12)
                pytest.fail(f"the disk of level {level} was meant to be too small")
            assert store.head(DATE) is None
            assert not (tmp_path / f"{level}" / "outputs" / DATE).exists()
            remount("size=16m")
            _, scored = driver(store, 12)
            reused.append(12 - len(scored))
            assert deterministic_files(store) == wanted
            assert store.verify(DATE).problems == ()

    assert reused[0] == 0
    assert reused[-1] >= 8
    figures(levels=20, reused=reused)


def test_right_to_write_lost_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that becomes read-only in the middle of a run is code 23, named, and the run resumes."""
    with small_disk(tmp_path / "disk", 1 << 24) as remount:
        store, seen = open_store(str(tmp_path / "disk" / "outputs")), [0]

        def tick(*_: str) -> None:
            seen[0] += 1
            if seen[0] == 120:
                remount("ro")

        with monkeypatch.context() as patched:
            patched.setattr(effects, "tick", tick)
            with pytest.raises(StorageFailed, match="the file system is read-only"):
                driver(store)
        remount("rw")
        driver(store)

        assert store.verify(DATE).problems == ()
