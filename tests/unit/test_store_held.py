"""Held runs: complete, unpublished, released or dropped by a person, exactly once."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from storing import DATE, deterministic_files, make_plan, publication, run, score

from batchscore.errors import Held, OutputExists, StateDamaged, UsageError
from batchscore.store import Store, layout, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an empty store."""
    return open_store(str(tmp_path))


def hold(store: Store, threshold: str = "0.7", *, republish: bool = False, run_type: str = "manual"):
    """Score a run and hold it."""
    store.claim_pipeline("flights")
    plan = make_plan(threshold)
    parent, _ = store.settle(plan, republish=republish)
    score(store, plan)
    return store.hold(
        replace(publication(plan), run_type=run_type), parent, why="volume fell by 50 %", gates=({"gate": "volume"},)
    )


def test_held_run_is_complete_and_unpublished(store: Store):
    """A held run has its folder and its record; the date shows nothing."""
    held = hold(store)

    assert (held.number, held.state, held.why) == (1, "open", "volume fell by 50 %")
    assert store.held(DATE) == (held,)
    assert store.head(DATE) is None
    assert not store.root.occupied(DATE)


def test_same_plan_again_is_held(store: Store):
    """The same plan is code 15 while its run waits, and says why."""
    hold(store)
    with pytest.raises(Held, match="is held: volume fell by 50 %"):
        store.settle(make_plan())


def test_holding_twice_keeps_the_first(store: Store):
    """Two runs of one plan that a gate refuses make one held run."""
    first = hold(store)
    plan = make_plan()
    second = store.hold(publication(plan), None, why="again", gates=())

    assert second == first
    assert store.root.folders(layout.RUNS) == (first.commit.run,)


def test_release_publishes_exactly_those_bytes(store: Store):
    """Release publishes the run that was held, with its type and with who and why, once."""
    held = hold(store, run_type="scheduled")
    before = {entry.key: store.root.read(entry.key) for entry in store.root.list(layout.run(held.commit.run))}
    commit = store.release(DATE, by="ana", reason="the storm")
    again = store.release(DATE, by="bob", reason="also")

    assert {entry.key: store.root.read(entry.key) for entry in store.root.list(layout.run(commit.run))} == before
    assert (commit.by, commit.reason, commit.held, commit.run_type) == ("ana", "the storm", 1, "scheduled")
    assert again == commit
    assert [run.state for run in store.held(DATE)] == ["released"]
    assert store.verify(DATE).problems == ()
    assert run(store, make_plan()).done
    assert deterministic_files(store)


def test_discard_frees_the_plan(store: Store):
    """A discarded run can not be released, and its plan may run again."""
    hold(store)
    dropped = store.discard(DATE, by="ana", reason="wrong file")
    with pytest.raises(UsageError, match="no run of 2013-02-08 is held"):
        store.release(DATE, by="ana", reason="no")

    assert dropped.state == "discarded"
    assert run(store, make_plan()).commit


def test_newest_open_run_is_released(store: Store):
    """Of several held runs release takes the newest open one."""
    hold(store, "0.7")
    hold(store, "0.8")
    commit = store.release(DATE, by="ana", reason="fine")

    assert commit.held == 2
    assert [run.state for run in store.held(DATE)] == ["open", "released"]


def test_release_never_covers_a_newer_publication(store: Store):
    """A date that was published since the run was held is not taken back."""
    hold(store, "0.7")
    run(store, make_plan("0.8"))
    with pytest.raises(OutputExists, match="since the run was held"):
        store.release(DATE, by="ana", reason="fine")


def test_held_republish_is_released_as_the_next_revision(store: Store):
    """A republish may be held too; the old revision stays current until the release."""
    first = run(store, make_plan("0.7")).commit
    hold(store, "0.8", republish=True)
    shown = store.head(DATE)
    second = store.release(DATE, by="ana", reason="fine")

    assert shown == first
    assert first and (second.number, second.parent_sha256) == (2, first.sha256)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_cut, Path.unlink], ids=["damaged", "gone"])
@pytest.mark.parametrize("name", [*layout.DOCUMENTS, f"{layout.PREDICTIONS}/part-00001.parquet"])
def test_damaged_held_run_is_not_released(store: Store, name: str, damage: Callable[[Path], None]):
    """A held file that changed or went is found before it is published, data and documents alike."""
    held = hold(store)
    damage(Path(store.root.shown(layout.run(held.commit.run, name))))
    with pytest.raises(StateDamaged, match=re.escape(name)):
        store.release(DATE, by="ana", reason="fine")

    assert store.head(DATE) is None


def test_release_that_was_cut_short_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A release that ended right after its commit is finished by the next one."""
    from batchscore.store import held as module

    hold(store)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_say", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.release(DATE, by="ana", reason="fine")
    commit = store.release(DATE, by="bob", reason="finish")

    assert commit.by == "ana"
    assert store.root.projected(DATE) == commit.run
    assert store.verify(DATE).problems == ()
