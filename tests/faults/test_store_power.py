"""Power loss: at every moment of a run, whatever a disk may have kept of it leaves nothing broken and loses no promise.

The primitives announce each change; a model of a disk replays them and cuts the power after each one.
What was synced is there; of the rest any part may be: names without their files' bytes, some names and not others.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from storing import DATE, deterministic_files, make_plan, published_as_a_reader_sees, run

from batchscore.errors import BatchscoreError
from batchscore.store import Commit, Store, effects, open_store

PARTS = 2


@dataclass
class Inode:
    """A file, link or folder as the disk knows it."""

    content: bytes | str | None = None
    """Bytes of a file, target of a link, None for a folder."""
    is_durable: bool = False
    """Whether the bytes were synced."""
    names: dict[str, Inode] = field(default_factory=dict)
    """Durable names in a folder."""
    pending: list[Change] = field(default_factory=list)
    """Changes of names that were not synced, in order."""


@dataclass
class Change:
    """One change of one name; the two halves of a rename share their fate."""

    name: str
    inode: Inode | None
    fate: int


class Disk:
    """Replays the changes of a root; names are paths relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Inode()
        self._fates = 0

    def replay(self, change: str, target: str, source: str = "") -> None:
        """Take note of one announced change, before it happens."""
        act: dict[str, Callable[[str, str], None]] = {
            "create": lambda path, _: self._name(path, Inode(content=b"")),
            "write": lambda *_: None,
            "mkdir": self._mkdir,
            "symlink": lambda path, to: self._name(path, Inode(content=to, is_durable=True)),
            "link": lambda path, old: self._name(path, self._find(old)),
            "rename": self._rename,
            "unlink": self._unlink,
            "rmtree": lambda path, _: self._unlink(path, ""),
            "rmdir": lambda path, _: self._unlink(path, ""),
            "fsync": self._sync_file,
            "fsync_folder": self._sync_folder,
        }
        act[change](target, source)

    def after_power_loss(self, target: Path, chance: random.Random) -> None:
        """Lay out what a disk may hold after the power was cut now."""
        keep = [chance.random() < 0.5 for _ in range(self._fates + 1)]
        self._lay_out(self.top, target, keep, chance)

    def _lay_out(self, folder: Inode, target: Path, keep: list[bool], chance: random.Random) -> None:
        target.mkdir()
        names: dict[str, Inode | None] = dict(folder.names)
        names |= {change.name: change.inode for change in folder.pending if keep[change.fate]}
        for name, inode in names.items():
            if inode is None:
                continue
            if inode.content is None:
                self._lay_out(inode, target / name, keep, chance)
            elif isinstance(inode.content, str):
                (target / name).symlink_to(inode.content)
            else:
                whole = inode.is_durable or chance.random() < 0.5
                (target / name).write_bytes(inode.content if whole else inode.content[: len(inode.content) // 2])

    def _parts(self, path: str) -> tuple[str, ...]:
        return Path(path).relative_to(self.root).parts

    def _find(self, path: str) -> Inode:
        found = self.top
        for part in self._parts(path):
            now = dict(found.names) | {change.name: change.inode for change in found.pending}
            found = now[part]
        return found

    def _folder(self, path: str) -> Inode:
        return self._find(str(Path(path).parent))

    def _name(self, path: str, inode: Inode | None, fate: int | None = None) -> None:
        if fate is None:
            self._fates += 1
            fate = self._fates
        self._folder(path).pending.append(Change(Path(path).name, inode, fate))

    def _mkdir(self, path: str, _: str) -> None:
        if Path(path) != self.root:
            self._name(path, Inode())

    def _rename(self, path: str, old: str) -> None:
        if not Path(old).exists() and not Path(old).is_symlink():
            return
        self._fates += 1
        inode, fate = self._find(old), self._fates
        self._name(old, None, fate)
        self._name(path, inode, fate)

    def _unlink(self, path: str, _: str) -> None:
        if Path(path).exists() or Path(path).is_symlink():
            self._name(path, None)

    def _sync_file(self, path: str, _: str) -> None:
        inode = self._find(path)
        inode.content, inode.is_durable = Path(path).read_bytes(), True

    def _sync_folder(self, path: str, _: str) -> None:
        if Path(path) == self.root.parent:
            return
        folder = self._find(path)
        for change in folder.pending:
            folder.names.pop(change.name, None)
            if change.inode:
                folder.names[change.name] = change.inode
        folder.pending.clear()


def driver(store: Store) -> Commit:
    """Run and prune; without the lease, which is not meant to last, and the probe, which writes from many threads."""
    commit = run(store, make_plan(), PARTS).commit
    assert commit
    store.prune(commit)
    return commit


def cut_power_everywhere(folder: Path, monkeypatch: pytest.MonkeyPatch, *, ignore: str = "", seed: int = 1) -> int:
    """Cut the power after every change of a run and look at what is left; return how many snapshots there were.

    Args:
        folder: An empty folder.
        monkeypatch: Puts the disk's ears in the place of `effects.tick`.
        ignore: A kind of sync that the broken twin leaves out.
        seed: What a disk keeps by chance.
    """
    chance = random.Random(seed)
    reference = open_store(str(folder / "reference"))
    driver(reference)
    wanted, snapshots = deterministic_files(reference), []
    root = folder / "root"
    disk = Disk(root)

    def tick(change: str, target: str, source: str = "") -> None:
        snapshots.append(folder / f"{len(snapshots)}")
        disk.after_power_loss(snapshots[-1], chance)
        if change != ignore:
            disk.replay(change, target, source)

    with monkeypatch.context() as patched:
        patched.setattr(effects, "tick", tick)
        acknowledged = driver(open_store(str(root)))
    for number in range(5):
        after = folder / f"acknowledged-{number}"
        disk.after_power_loss(after, chance)
        assert published_as_a_reader_sees(after) == acknowledged.run
        assert open_store(str(after)).verify(DATE).problems == ()
    for snapshot in snapshots:
        _check(snapshot, wanted)
        shutil.rmtree(snapshot)
    return len(snapshots)


def _check(root: Path, wanted: dict[str, bytes]) -> None:
    """See that what a disk kept is nothing or a whole run, and that one rerun ends as if nothing had happened."""
    store = open_store(str(root))
    seen = published_as_a_reader_sees(root)
    newest = store.head(DATE)
    assert seen in (None, newest.run if newest else None)
    if newest:
        assert [problem.path for problem in store.verify(DATE).problems] in ([], [str(root / DATE)])
    driver(store)
    assert deterministic_files(store) == wanted
    assert store.verify(DATE).problems == ()


def test_power_loss_anywhere_breaks_nothing(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None]
):
    """After a power loss at any moment a reader sees nothing or a whole run; what was acknowledged is there."""
    snapshots = cut_power_everywhere(fast_path, monkeypatch)

    assert snapshots > 90
    figures(snapshots=snapshots, broken=0, lost=0)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_power_loss_breaks_nothing_whatever_the_disk_keeps(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None]
):
    """The same with 20 disks that keep other things."""
    snapshots = 0
    for seed in range(2, 22):
        (fast_path / f"{seed}").mkdir()
        snapshots += cut_power_everywhere(fast_path / f"{seed}", monkeypatch, seed=seed)
        shutil.rmtree(fast_path / f"{seed}")

    figures(snapshots=snapshots, broken=0, lost=0)


@pytest.mark.parametrize("ignore", ["fsync", "fsync_folder"])
def test_twin_without_a_sync_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch, ignore: str):
    """The test has teeth: without the sync of files, or of folders, an acknowledged run is lost or broken."""
    with pytest.raises((AssertionError, BatchscoreError, FileNotFoundError, ValueError)):
        cut_power_everywhere(fast_path, monkeypatch, ignore=ignore)
