"""The date in an object store while drivers are paused and killed: in the end it shows its newest commit, unmixed."""

from collections.abc import Callable
from threading import Lock
from time import time
from uuid import uuid4

import obstore
import pytest
from storing import DATE, make_plan, publication, run, score

from batchscore.store import Commit, Store, effects, layout, objects, publish
from batchscore.store.objects import ObjectRoot

OLD, NEW = make_plan("0.7"), make_plan("0.8")
WEEKS = 30 * 86_400
Tick = Callable[[str, str, str], None]


class Died(BaseException):
    """The driver is dead."""


@pytest.fixture
def store() -> Store:
    """Give an empty object store in memory."""
    return Store(ObjectRoot(f"memory:///{uuid4().hex}"))


@pytest.fixture
def committed(store: Store) -> Commit:
    """Give the first revision, committed by a driver that has not let the date show it yet."""
    store.claim_pipeline("flights")
    score(store, OLD)
    return publish.record(store.root, publish.build(store.root, publication(OLD), None))


def overtaken_at_first_copy(store: Store, committed: Commit, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Let another driver publish whole while the first one is about to copy; the first dies after three copies."""
    lock, copies, newer = Lock(), [], []

    def tick(change: str, target: str, source: str = "") -> None:
        if change != "copy" or not target.startswith(DATE) or committed.run not in source:
            return
        with lock:
            copies.append(target)
            if len(copies) == 1:
                newer.append(run(store, NEW, republish=True).commit)
            if len(copies) > 3:
                raise Died

    with monkeypatch.context() as patched:
        patched.setattr(effects, "tick", tick)
        with pytest.raises(Died):
            publish.acknowledge(store.root, committed)
    return newer[0]


def versions(store: Store) -> list[tuple[str, str | None]]:
    """Return every object with its version."""
    pages = obstore.list(objects.client(store.url))
    return sorted((item["path"], str(item["e_tag"])) for page in pages for item in page)


def test_date_that_a_dead_driver_mixed_is_mended_by_the_next_run(
    store: Store, committed: Commit, monkeypatch: pytest.MonkeyPatch
):
    """A run that finds nothing to do copies the newest revision again, as often as an older copy may have gone on."""
    newest = overtaken_at_first_copy(store, committed, monkeypatch)
    mixed, shown = store.verify(DATE).problems, store.root.projected(DATE)
    again = run(store, NEW)
    mended = store.verify(DATE).problems
    manifest = layout.MANIFEST
    store.root.copy(layout.run(committed.run, manifest), f"{DATE}/{manifest}")  # its owner was not dead after all
    run(store, NEW)

    assert (shown, again.done, again.commit) == (newest.run, True, newest)
    assert {layout.PROJECTING in problem.path for problem in mixed} == {False, True}
    assert mended == store.verify(DATE).problems == ()


def test_driver_that_was_paused_copies_no_older_revision(
    store: Store, committed: Commit, monkeypatch: pytest.MonkeyPatch
):
    """Who wakes up before its copies finds a newer commit, copies nothing of its own, and lets the date show that."""
    copied: list[str] = []

    def tick(change: str, target: str, source: str = "") -> None:
        if change == "delete" and target == f"{DATE}/{layout.METADATA}" and store.head(DATE) == committed:
            run(store, NEW, republish=True)
        if change == "copy" and target.startswith(DATE) and committed.run in source:
            copied.append(target)

    with monkeypatch.context() as patched:
        patched.setattr(effects, "tick", tick)
        publish.acknowledge(store.root, committed)

    assert copied == []
    assert store.verify(DATE).problems == ()
    assert store.verify(DATE).revisions == 2
    assert store.root.list(layout.PROJECTING) == ()


def test_cleaning_mends_the_date_before_the_note_goes(store: Store, committed: Commit, monkeypatch: pytest.MonkeyPatch):
    """The note of a copy that never ended is garbage once it is old; the date is whole before it goes."""
    overtaken_at_first_copy(store, committed, monkeypatch)
    young = [item for item in store.garbage(now=time()) if layout.PROJECTING in item.key]
    old = [item for item in store.garbage(now=time() + WEEKS) if layout.PROJECTING in item.key]
    store.collect(tuple(old))

    assert (len(young), len(old)) == (0, 1)
    assert store.verify(DATE).problems == ()
    assert store.root.list(layout.PROJECTING) == ()


def test_note_of_the_newest_revision_costs_nothing(store: Store):
    """A copy of what the date shows can mix nothing: a run that finds nothing to do changes no object."""
    commit = run(store, NEW).commit
    assert commit
    store.root.create(layout.projecting(DATE, commit.run, "0123"), b"")
    before = versions(store)

    assert run(store, NEW).done
    assert versions(store) == before
