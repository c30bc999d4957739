"""Verification: whatever is not as it was published is found and named."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from storing import DATE, make_plan, publication, run, score

from batchscore.errors import UsageError
from batchscore.store import Problem, Store, layout, open_store, sealed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give a store with two revisions of a date, and a run that is held."""
    store = open_store(str(tmp_path))
    run(store, make_plan("0.7"), 3)
    run(store, make_plan("0.8"), 3, republish=True)
    score(store, make_plan("0.9"), 3)
    store.hold(publication(make_plan("0.9"), 3, quarantined=True), store.head(DATE), why="drift")
    for plan in (make_plan("0.7"), make_plan("0.8"), make_plan("0.9")):
        store.root.delete_folder(layout.work(DATE, plan.plan_id))
    return store


def published(store: Store) -> list[Path]:
    """Return every file that verification must vouch for."""
    folders = (layout.RUNS, layout.COMMITS, layout.HELD)
    keys = [entry.key for folder in folders for entry in store.root.list(folder)]
    return [Path(store.root.shown(key)) for key in [*keys, layout.PIPELINE]]


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_clean_date_has_no_problems(store: Store):
    """What was published verifies: every file of every revision and of the held run."""
    found = store.verify(DATE)

    assert (found.problems, found.revisions, found.files) == ((), 2, 19)


def test_any_flipped_bit_of_any_file_is_found_and_named(store: Store):
    """In each file, at its ends and at random places, one flipped bit is found, with the file's name."""
    chance = random.Random(8)
    for path in published(store):
        size = path.stat().st_size
        for place in {0, size - 1, *(chance.randrange(size) for _ in range(3))}:
            bit = chance.randrange(8)
            flip(path, place, bit)
            named = {problem.path for problem in store.verify(DATE).problems}
            flip(path, place, bit)

            assert str(path) in named, (path, place, bit)
    assert store.verify(DATE).problems == ()


def test_any_missing_file_is_found_and_named(store: Store, tmp_path: Path):
    """Each file that is gone is found, the newest commit's record by the date that still shows its run."""
    for path in published(store):
        kept = tmp_path / "kept"
        shutil.move(path, kept)
        problems = store.verify(DATE).problems
        shutil.move(kept, path)
        if path.parent.parent.name == "held":
            continue

        assert str(path) in {problem.path for problem in problems}, path


def test_any_extra_file_is_found_and_named(store: Store):
    """A file that nobody published is found in every folder of the date."""
    folders = sorted({path.parent for path in published(store)} - {Path(store.root.shown(layout.STATE))})
    for folder in folders:
        extra = folder / "extra.json"
        extra.write_bytes(b"{}")
        named = {problem.path for problem in store.verify(DATE).problems}
        extra.unlink()

        assert str(extra) in named, folder


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_plain_file_is_named_and_hangs_nobody(store: Store, make):
    """A pipe or a folder in the place of a file is a difference like any other; nobody waits for who writes into it."""
    runs = [path for path in published(store) if layout.RUNS in str(path)]  # a folder is no record: it is missing then
    for path in runs if make is os.mkdir else published(store):
        kept = path.with_name(".tmp-kept")
        path.rename(kept)
        make(path)
        problems = store.verify(DATE).problems
        path.rmdir() if path.is_dir() else path.unlink()
        kept.rename(path)

        assert str(path) in {problem.path for problem in problems}, path


def test_a_newer_format_is_told_as_such(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A record that a later version wrote is not called changed: the fact names both versions, and the path stands once."""
    path = store.root.shown(layout.commit(DATE, 2))
    content = json.loads(Path(path).read_bytes())
    with monkeypatch.context() as later:
        later.setattr(sealed, "FORMAT_VERSION", 2)
        Path(path).write_bytes(sealed.seal(content))

    fact = "it has format version 2, this batchscore reads up to 1"
    assert store.verify(DATE).problems == (Problem(path=path, fact=fact),)


def test_a_damaged_newest_record_does_not_blame_the_date(store: Store):
    """What a date must show is unknown without its newest record: that record alone is named."""
    newest = Path(store.root.shown(layout.commit(DATE, 2)))
    flip(newest, 100, 0)

    assert [problem.path for problem in store.verify(DATE).problems] == [str(newest)]


def test_swapped_parts_are_found(store: Store):
    """Two files that trade names are both named."""
    folder = Path(store.root.shown(DATE)).resolve() / layout.PREDICTIONS
    one, two, aside = folder / "part-00000.parquet", folder / "part-00001.parquet", folder / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)

    assert len(store.verify(DATE).problems) == 2


def test_rewritten_history_is_found(store: Store):
    """A commit record that was replaced by another valid one breaks the chain."""
    from batchscore.store import seal

    path = Path(store.root.shown(layout.commit(DATE, 1)))
    path.write_bytes(seal({**json.loads(path.read_bytes()), "by": "somebody else"}))

    assert store.verify(DATE).problems == (
        Problem(path=store.root.shown(layout.commit(DATE, 2)), fact="it does not follow from the commit before it"),
    )


def test_projection_that_lags_or_leads_astray_is_found(store: Store):
    """A date that does not show its newest commit is named."""
    link = Path(store.root.shown(DATE))
    old = store.commits(DATE)[0].run
    link.unlink()
    gone = store.verify(DATE).problems
    link.symlink_to(layout.run(old))
    lags = store.verify(DATE).problems

    assert gone == lags == (Problem(path=str(link), fact="it does not show the newest commit, 2"),)


def test_private_file_of_a_kill_is_no_change(store: Store):
    """What a killed process left of its own private files beside the records is garbage, not a change."""
    Path(store.root.shown(layout.commits(DATE)), ".tmp-0123").write_bytes(b"half")

    assert store.verify(DATE).problems == ()


def test_newest_record_that_is_gone_is_missed(store: Store):
    """A date that shows a run that no record names says which record is missing, not that the date lags."""
    newest = store.commits(DATE)[1].run
    path = store.root.shown(layout.commit(DATE, 2))
    Path(path).unlink()

    assert store.verify(DATE).problems == (
        Problem(path=path, fact=f"it is missing: the date shows the run {newest}, which no commit record names"),
    )


def _hold(store: Store) -> Path:
    plan = make_plan()
    score(store, plan)
    held = store.hold(publication(plan), None, why="drift")
    return Path(store.root.shown(layout.run(held.commit.run)))


@pytest.mark.parametrize("is_held", [False, True])
def test_date_that_was_never_published_is_no_damage(tmp_path: Path, is_held: bool):
    """A date of which nothing is there, or only a sound held run, is a usage error, in a root that is new too."""
    store = open_store(str(tmp_path))
    if is_held:
        store.claim_pipeline("flights")
        _hold(store)
    with pytest.raises(UsageError, match=f"{DATE} is not published") as caught:
        store.verify(DATE)

    assert caught.value.id == "E-USAGE-NOT-PUBLISHED"


def test_damaged_held_run_of_a_date_that_was_never_published_is_found(tmp_path: Path):
    """Damage stays damage: a held run with a changed file is named."""
    store = open_store(str(tmp_path))
    store.claim_pipeline("flights")
    path = _hold(store) / layout.SUMMARY
    path.write_bytes(b"{}")

    assert [problem.path for problem in store.verify(DATE).problems] == [str(path)]


@pytest.mark.parametrize("left", ["the date", "the runs"])
def test_commit_records_that_are_all_gone_are_missed(store: Store, left: str):
    """A date that shows something, or has runs that nobody held, was published, whatever became of its records."""
    shutil.rmtree(store.root.shown(layout.commits(DATE)))
    if left == "the date":
        shutil.rmtree(store.root.shown(layout.RUNS))
    else:
        Path(store.root.shown(DATE)).unlink()

    assert Problem(path=store.root.shown(layout.commits(DATE)), fact="there is no commit record") in (
        store.verify(DATE).problems
    )
