"""The POSIX primitives: exclusive, complete, durable, and right about a lost answer."""

import errno
import os
from pathlib import Path

import pytest

from batchscore.errors import ConfigError, StorageFailed
from batchscore.store import effects, posix, probe
from batchscore.store.files import FileRoot
from batchscore.store.root import Exists


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    """Give an empty root."""
    return FileRoot(str(tmp_path / "outputs"))


def leftovers(root: FileRoot) -> list[str]:
    """Return the private files that were left behind."""
    return [entry.key for entry in root.list("") if "/.tmp-" in f"/{entry.key}"]


def test_create_is_exclusive(root: FileRoot):
    """The same bytes again are success; other bytes are there already, and stay."""
    root.create("a/b", b"one")
    root.create("a/b", b"one")
    with pytest.raises(Exists) as caught:
        root.create("a/b", b"two")

    assert caught.value.found == b"one"
    assert root.read("a/b") == b"one"
    assert leftovers(root) == []


def test_link_whose_answer_was_lost_is_success(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """When link(2) was done but reports an error, the count of links tells, whatever the error is."""
    link = os.link
    for code in (errno.EIO, errno.EEXIST, errno.ESTALE, errno.ETIMEDOUT):

        def lost(source, target, code=code):
            link(source, target)
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", lost)
        root.create(f"a/{code}", b"one")

        assert root.read(f"a/{code}") == b"one"
    assert leftovers(root) == []


def test_failed_link_is_no_lost_race(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """An error of the device is code 23 and not a file that somebody else wrote; nothing stays behind."""

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageFailed, match="the device reports an input/output error"):
        root.create("a/b", b"one")

    assert root.list("a") == ()


def test_late_file_of_another_client_is_seen(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """On a network file system EEXIST may come before the file can be seen: it is looked for again."""
    root.create("a/b", b"one")
    read, looks = Path.read_bytes, []

    def late(path):
        looks.append(path)
        if len(looks) < 3:
            raise FileNotFoundError(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", late)
    with pytest.raises(Exists):
        root.create("a/b", b"two")

    assert len(looks) == 3


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "input/output error"),
        (errno.ENAMETOOLONG, "File name too long"),
    ],
)
def test_system_errors_are_one_sentence(root: FileRoot, monkeypatch: pytest.MonkeyPatch, code: int, fact: str):
    """What the system refuses is code 23, names the file and the fact, and leaves nothing."""

    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFailed, match=fact) as caught:
        root.create("b", b"one")

    assert caught.value.exit_code == 23
    assert not Path(root.url, "b").exists()


def test_pruned_folder_is_made_again(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """A folder that another run prunes between two steps of a create is no error."""
    pruned = []

    def prune(change, *_):
        if change == "link" and not pruned:
            pruned.append(change)
            root.delete_folder("work/x")

    monkeypatch.setattr(effects, "tick", prune)
    root.create("work/x/part", b"one")

    assert root.read("work/x/part") == b"one"


def test_read_ranges(root: FileRoot):
    """A range ends where the file does."""
    root.create("a", b"0123456789")

    assert root.read("a", 2, 5) == b"234"
    assert root.read("a", 8, 50) == b"89"
    assert root.read("a", 8) == b"89"
    assert root.read("a", 50) == b""


def test_listing_is_sorted_and_empty_without_a_folder(root: FileRoot):
    """Listings have one order; a folder that is not there holds nothing."""
    for key in ("x/b", "x/a/c", "x/c"):
        root.create(key, b"")

    assert [entry.key for entry in root.list("x")] == ["x/a/c", "x/b", "x/c"]
    assert (root.list("y"), root.folders("y"), root.folders("x")) == ((), (), ("a",))


def test_delete_is_repeatable(root: FileRoot):
    """What is not there is deleted already."""
    root.create("x/a", b"")
    root.delete("x/a")
    root.delete("x/a")
    root.delete_folder("x")
    root.delete_folder("x")

    assert root.list("") == ()


def test_probe_passes_here_and_only_once(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """The probe of this machine's file system passes, leaves one file, and is not repeated."""
    root.probe()
    monkeypatch.setattr(probe, "_try_exclusive", lambda *_: 1 / 0)
    root.probe()

    assert len(root.list("")) == 1


def test_probe_refuses_a_store_without_hard_links(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """A mount without link(2) is refused in one line, code 10."""

    def fail(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(ConfigError, match="can not publish all at once: it has no hard links") as caught:
        root.probe()

    assert "\n" not in caught.value.message


def test_probe_refuses_a_store_where_all_writers_win(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """A mount whose exclusive create is none is refused."""
    monkeypatch.setattr(probe, "_try_links", lambda *_: None)
    monkeypatch.setattr(os, "link", os.replace)
    with pytest.raises(ConfigError, match="8 of 8 writers won"):
        root.probe()


def test_probe_of_a_full_disk_is_no_refusal(root: FileRoot, monkeypatch: pytest.MonkeyPatch):
    """A file system that could, but is full just now, is code 23 and not 10."""

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageFailed, match="the disk is full"):
        root.probe()


@pytest.mark.parametrize("below", ["", "not/made/yet"])
def test_forbidden_folder_is_told_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str):
    """The nearest folder that is there decides whether a deeper one can be made."""
    posix.check_writable(tmp_path / below)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(StorageFailed, match="permission is denied"):
        posix.check_writable(tmp_path / below)

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_counted_in_production():
    """Without the variable of the fault tests a tick counts nothing."""
    before = effects._count
    effects.tick("link", "x")

    assert effects._count == before
