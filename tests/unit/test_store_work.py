"""The work folder: what is kept is found again, and a different second result is an error."""

import pickle
from pathlib import Path

import pytest
from storing import DATE, make_plan

from batchscore.errors import NotDeterministic, StateDamaged
from batchscore.store import Store, WorkFolder, layout, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an empty store."""
    return open_store(str(tmp_path))


@pytest.fixture
def work(store: Store) -> WorkFolder:
    """Give an empty work folder."""
    return store.work(make_plan())


def test_record_is_found_again(work: WorkFolder):
    """A committed partition is finished and its report comes back; the others are not."""
    work.commit(3, {"rows": 5})
    work.commit(3, {"rows": 5})

    assert work.report(3) == {"rows": 5}
    assert work.report(4) is None
    assert work.finished() == {3}


def test_work_of_another_plan_is_not_found(store: Store):
    """A plan never sees the records of another one."""
    store.work(make_plan("0.7")).commit(0, {"rows": 5})

    assert store.work(make_plan("0.8")).report(0) is None


def test_other_record_is_not_deterministic_and_the_first_is_kept(work: WorkFolder):
    """A second result that differs is code 17, says in what, and changes nothing."""
    work.commit(3, {"rows": 5, "sha256": "a"})
    with pytest.raises(NotDeterministic, match="partition 3 came out differently the second time: sha256"):
        work.commit(3, {"rows": 5, "sha256": "b"})

    assert work.report(3) == {"rows": 5, "sha256": "a"}


def test_damaged_record_is_named(store: Store, work: WorkFolder):
    """A record with a flipped byte is code 18, for who reads it and for who writes it."""
    work.commit(3, {"rows": 5})
    path = Path(store.root.shown(layout.work_record(DATE, work.plan_id, 3)))
    path.write_bytes(path.read_bytes().replace(b'"rows": 5', b'"rows": 6'))
    with pytest.raises(StateDamaged, match=r"part-00003\.json"):
        work.report(3)
    with pytest.raises(StateDamaged, match=r"part-00003\.json"):
        work.commit(3, {"rows": 5})


def test_record_of_another_partition_is_damage(store: Store, work: WorkFolder):
    """A record that was moved under another partition's name is not believed."""
    work.commit(3, {"rows": 5})
    path = Path(store.root.shown(layout.work_record(DATE, work.plan_id, 3)))
    path.rename(path.with_name("part-00004.json"))
    with pytest.raises(StateDamaged, match="another partition or plan"):
        work.report(4)


def test_part_is_stored_once(work: WorkFolder):
    """The same bytes again change nothing; both give the digest."""
    assert work.put_part(0, b"bytes") == work.put_part(0, b"bytes")
    assert [entry.size for entry in work.root.list(layout.WORK)] == [5]


def test_damaged_part_is_named(store: Store, work: WorkFolder):
    """Other bytes under a part's digest are damage."""
    sha256 = work.put_part(0, b"bytes")
    key = layout.work_part(DATE, work.plan_id, layout.part_name(0), sha256)
    Path(store.root.shown(key)).write_bytes(b"other")
    with pytest.raises(StateDamaged, match="part-00000"):
        work.put_part(0, b"bytes")


def test_ids_are_read_whole_and_in_ranges(work: WorkFolder):
    """Id hashes come back, also a range of them; past the end there is nothing."""
    work.put_ids(0, bytes(range(64)))
    work.put_ids(0, bytes(range(64)))

    assert work.ids(0) == bytes(range(64))
    assert work.ids(0, 16, 32) == bytes(range(16, 32))
    assert work.ids(0, 48) == bytes(range(48, 64))
    assert work.ids(0, 64, 80) == b""


def test_other_ids_are_not_deterministic(work: WorkFolder):
    """Other ids of the same partition are code 17."""
    work.put_ids(0, b"one")
    with pytest.raises(NotDeterministic, match="its ids"):
        work.put_ids(0, b"two")


def test_damaged_and_missing_ids_are_named(store: Store, work: WorkFolder):
    """Id hashes are checked by their digest when they are read whole."""
    work.put_ids(0, b"one")
    Path(store.root.shown(layout.work_ids(DATE, work.plan_id, 0))).write_bytes(b"\0" * 35)
    with pytest.raises(StateDamaged, match=r"part-00000\.ids is damaged"):
        work.ids(0)
    with pytest.raises(StateDamaged, match=r"part-00000\.ids is damaged"):
        work.put_ids(0, b"one")
    with pytest.raises(StateDamaged, match=r"part-00001\.ids is damaged: it is missing"):
        work.ids(1)


def test_work_folder_travels_small(work: WorkFolder):
    """A worker gets a work folder in a few hundred bytes."""
    data = pickle.dumps(work)

    assert pickle.loads(data) == work
    assert len(data) < 500
