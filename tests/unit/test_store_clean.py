"""Cleaning: nothing that a commit or a held run refers to is ever removed, nothing young of another run either."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from storing import DATE, make_plan, publication, run, score, snapshot

from batchscore.store import Store, holder, layout, open_store
from batchscore.store.root import Entry, Root

WEEKS = 30 * 86_400


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give a store with two revisions, a held run, a discarded one, an orphan, leftovers and unfinished work."""
    store = open_store(str(tmp_path))
    run(store, make_plan("0.7"), 2)
    run(store, make_plan("0.8"), 2, republish=True)
    for threshold in ("0.1", "0.2"):
        score(store, make_plan(threshold), 2)
        store.hold(publication(make_plan(threshold), 2), store.head(DATE), why="drift")
    store.discard(DATE, by="ana", reason="wrong")
    score(store, make_plan("0.9"), 1)
    (tmp_path / layout.run("2013-02-08-abcdefabcdef-0123")).mkdir()
    (tmp_path / layout.run("2013-02-08-abcdefabcdef-0123") / "manifest.json").write_bytes(b"{}")
    (tmp_path / layout.STAGING / "2013-02-08-abcdefabcdef-4567").mkdir()
    (tmp_path / layout.STAGING / "2013-02-08-abcdefabcdef-4567" / "manifest.json").write_bytes(b"{}")
    (tmp_path / layout.commits(DATE) / ".tmp-0123").write_bytes(b"half")
    return store


def test_everything_that_nobody_needs_is_found(store: Store):
    """Finished and abandoned work, unreferenced and discarded runs, and leftovers are garbage once they are old."""
    garbage = store.garbage(now=time.time() + WEEKS)
    found = sorted((item.key.split("/")[1], item.why) for item in garbage)

    assert found == [
        ("commits", "it was being written when its run ended"),
        ("runs", "no commit refers to it"),
        ("runs", "no commit refers to it"),
        ("staging", "it was being built when its run ended"),
        *[("work", "its run is complete")] * 4,
        ("work", "nobody came back to finish it"),
    ]


def test_finding_changes_nothing(store: Store, tmp_path: Path):
    """Looking is dry."""
    before = snapshot(tmp_path)
    store.garbage(now=time.time() + WEEKS)

    assert snapshot(tmp_path) == before


def test_referenced_files_survive(store: Store):
    """After collecting, every revision and the open held run verify, and can be released."""
    needed = {commit.run for commit in store.commits(DATE)} | {store.held(DATE)[0].commit.run}
    store.collect(store.garbage(now=time.time() + WEEKS))

    assert set(store.root.folders(layout.RUNS)) == needed
    assert store.verify(DATE).problems == ()
    assert store.release(DATE, by="ana", reason="fine").number == 3
    assert store.garbage(now=time.time() + WEEKS) == ()


def test_what_was_compiled_from_a_model_of_the_past_is_found(store: Store):
    """A compiled model goes once it is old and its artifact is no longer configured; the present one stays."""
    old, new = "0a" * 32, "0b" * 32
    for sha256 in (old, new):
        store.begin_compiling(f"{sha256}-c1-0123")
        store.keep_compiled(f"{sha256}-c1-0123", {"model_sha256": sha256}, b"plain data")
    found = store.garbage(now=time.time() + WEEKS, models={new})

    assert {sha256: sum(sha256 in item.key for item in found) for sha256 in (old, new)} == {old: 3, new: 0}
    assert not any(layout.COMPILED in item.key for item in store.garbage(now=time.time() + WEEKS))
    assert not any(layout.COMPILED in item.key for item in store.garbage(now=time.time(), models={new}))


def test_young_files_survive(store: Store, tmp_path: Path):
    """Nothing is garbage before its age, also when it is a hard link to something old."""
    before = snapshot(tmp_path)
    store.collect(store.garbage(now=time.time() + 86_400))

    assert snapshot(tmp_path) == before


def test_date_of_a_live_run_is_left_alone(store: Store):
    """What a run that holds its lease may still use is not taken from under it, however old it is."""
    with store.lease(DATE, holder("live")):
        garbage = store.garbage(now=time.time() + 86_400 * 8, days=8.5)

    assert garbage == ()


def test_date_of_a_live_run_is_left_alone_whatever_the_age(store: Store):
    """A lease that still beats keeps its date from garbage collection, also when nothing is too young for it."""
    with store.lease(DATE, holder("live")):
        garbage = store.garbage(now=time.time() + 10, days=0)

    assert garbage == ()


def test_probe_of_a_live_run_is_left_alone(store: Store, tmp_path: Path):
    """What a run tries before it has a lease is not taken from under it; once it is silent it is garbage."""
    probe = tmp_path / layout.STAGING / ".tmp-probe-0123"
    probe.touch()
    young = {item.key for item in store.garbage(now=time.time() + 10, days=0)}
    old = {item.key for item in store.garbage(now=time.time() + 60, days=0)}

    assert f"{layout.STAGING}/{probe.name}" not in young
    assert f"{layout.STAGING}/{probe.name}" in old


def test_date_that_a_run_begins_meanwhile_is_no_garbage(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A run that begins a new date while garbage is looked for stops nothing, and its work is none."""
    key = layout.work("2013-02-09", "a" * 64)
    list_files = type(store.root).list

    def list_and_begin(root: Root, prefix: str) -> tuple[Entry, ...]:
        if prefix == layout.commits(DATE):
            Path(root.url, key).mkdir(parents=True, exist_ok=True)
            Path(root.url, key, "part-00000.ids").touch()
        return list_files(root, prefix)

    monkeypatch.setattr(type(store.root), "list", list_and_begin)
    garbage = store.garbage(now=time.time() + WEEKS)

    assert key not in {item.key for item in garbage}


def test_run_that_was_committed_meanwhile_survives(store: Store):
    """What became referenced between finding and collecting is kept."""
    garbage = store.garbage(now=time.time() + WEEKS)
    plan = make_plan("0.5")
    parent, _ = store.settle(plan, republish=True)
    score(store, plan, 2)
    commit = store.publish(publication(plan, 2), parent)
    store.collect((*garbage, replace(garbage[0], key=layout.run(commit.run), folder=True)))

    assert store.verify(DATE).problems == ()


def test_prune_removes_the_finished_work_alone(store: Store):
    """A date's own finished work goes; work of other plans stays."""
    commit = store.head(DATE)
    assert commit
    store.prune(commit)

    assert store.work(make_plan("0.8")).finished() == frozenset()
    assert store.work(make_plan("0.9")).finished() == {0}
    assert store.verify(DATE).problems == ()


def test_no_empty_folder_of_a_date_stays(tmp_path: Path):
    """The last plan's work takes its date's folder along, by pruning and by collecting; an earlier one leaves it."""
    store, folder = open_store(str(tmp_path)), tmp_path / layout.WORK / DATE
    score(store, make_plan("0.9"), 1)
    score(store, make_plan("0.8"), 1)
    commit = store.publish(publication(make_plan("0.8"), 1), None)
    store.prune(commit)
    after_pruning = folder.exists()
    store.collect(store.garbage(now=time.time() + WEEKS))

    assert after_pruning
    assert not folder.exists()
    score(store, make_plan("0.8"), 1)
    store.prune(commit)
    assert not folder.exists()
