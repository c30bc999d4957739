"""SIGKILL at every numbered side effect of a run, until a run ends untouched."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from storing import (
    DATE,
    deterministic_files,
    forked,
    make_plan,
    publication,
    published_as_a_reader_sees,
    score,
    snapshot,
    whole_run,
)

from batchscore.errors import StateDamaged
from batchscore.store import Store, effects, layout, open_store
from batchscore.store.files import FileRoot
from batchscore.store.root import Exists


def crash_everywhere(folder: Path, parts: int, *, step: int = 1, republish: bool = False) -> int:
    """Kill a run before its n-th side effect, for every n; return how many points there were.

    After each kill: a reader sees nothing, or a whole run; one rerun makes only what was not committed and ends in
    the same bytes as an undisturbed run; a third run changes nothing.
    """
    plan = make_plan("0.8")
    reference = prepared(folder / "reference", parts, republish=republish)
    whole_run(reference, plan, parts, republish=republish)
    wanted = deterministic_files(reference)
    for point in count(1, step):
        root = folder / f"{point}"
        store = prepared(root, parts, republish=republish)
        before = store.head(DATE)
        status = forked(lambda store=store: whole_run(store, plan, parts, republish=republish), kill_at=point)
        assert status in (0, -signal.SIGKILL)
        check_reader(store, root, before.run if before else None)
        committed = store.work(plan).finished()
        is_published = store.head(DATE) != before
        rerun = whole_run(store, plan, parts, republish=republish)
        assert rerun.done == is_published
        assert set(rerun.scored) == (set() if is_published else set(range(parts)) - committed)
        check_finished(store, root, wanted)
        last = snapshot(root)
        assert whole_run(store, plan, parts, republish=republish).done
        assert snapshot(root) == last
        shutil.rmtree(root)
        if status == 0:
            return point - 1
    raise AssertionError


def prepared(root: Path, parts: int, *, republish: bool) -> Store:
    """Return an empty store, or one with a revision to be followed."""
    store = open_store(str(root))
    if republish:
        whole_run(store, make_plan("0.7"), parts)
    return store


def check_reader(store: Store, root: Path, before: str | None) -> None:
    """See what a reader sees after a kill: the old run or the whole new one, by link and by record."""
    newest = store.head(DATE)
    seen = published_as_a_reader_sees(root)
    assert seen in (before, newest.run if newest else None)
    if newest:
        problems = store.verify(DATE).problems
        assert [problem.path for problem in problems] in ([], [str(root / DATE)])


def check_finished(store: Store, root: Path, wanted: dict[str, bytes]) -> None:
    """See that the date is published, whole, and the bytes are the wanted ones."""
    assert deterministic_files(store) == wanted
    assert store.verify(DATE).problems == ()
    assert published_as_a_reader_sees(root) == store.head(DATE).run
    assert store.work(make_plan("0.8")).finished() == frozenset()


def test_kill_anywhere_then_one_rerun(fast_path: Path, figures: Callable[..., None]):
    """A small run survives a kill at every third of its side effects."""
    points = crash_everywhere(fast_path, 2, step=3)

    assert points > 100
    figures(points=points // 3, lost=0)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("parts", "republish"), [(40, False), (10, True)])
def test_kill_at_every_point_of_a_long_run(fast_path: Path, figures: Callable[..., None], parts: int, republish: bool):
    """A run of 40 partitions survives a kill at each of its side effects; so does a second revision."""
    points = crash_everywhere(fast_path, parts, republish=republish)

    assert points >= (800 if parts == 40 else 200)
    figures(points=points, lost=0)


def test_kill_anywhere_in_hold_and_release(fast_path: Path, figures: Callable[..., None]):
    """Holding and releasing survive a kill at every third side effect: one held run, one commit, exactly the held bytes."""
    plan = make_plan("0.8")

    def hold(store: Store) -> None:
        score(store, plan, 2)
        store.hold(publication(plan, 2), store.head(DATE), why="drift")

    for point in count(1, 3):
        store = prepared(fast_path / f"{point}", 2, republish=True)
        first = store.head(DATE)
        held = forked(lambda store=store: hold(store), kill_at=point)
        assert store.head(DATE) == first
        hold(store)
        (waiting,) = store.held(DATE)
        released = forked(lambda store=store: store.release(DATE, by="ana", reason="fine"), kill_at=point)
        commit = store.release(DATE, by="ana", reason="fine")
        assert commit.run == waiting.commit.run
        assert store.commits(DATE) == (first, commit)
        assert [run.state for run in store.held(DATE)] == ["released"]
        assert store.verify(DATE).problems == ()
        shutil.rmtree(store.url)
        if held == released == 0:
            break

    assert point > 50
    figures(points=point // 3, lost=0)


def _write_in_place(root: FileRoot, path: Path, key: str, data: bytes) -> None:
    """The broken twin: write where the file belongs, and look first whether it is there."""
    root.make_folder(path.parent)
    if path.exists():
        if path.read_bytes() != data:
            raise Exists(key, path.read_bytes())
        return
    with path.open("wb") as file:
        for start in range(0, len(data), 200):
            effects.tick("write", str(path))
            os.write(file.fileno(), data[start : start + 200])


def test_twin_that_writes_in_place_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test has teeth: a store that writes in place is caught."""
    monkeypatch.setattr(FileRoot, "_create", _write_in_place)
    monkeypatch.setattr(FileRoot, "probe", lambda _: None)
    with pytest.raises(StateDamaged, match="is damaged"):
        crash_everywhere(fast_path, 2)


def test_twin_that_commits_before_it_builds_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test has teeth: a run that is built where it will be read, after its commit, is caught."""
    from batchscore.store import publish

    build, record = publish.build, publish.record

    def early(root, publication, parent):
        commit = build(root, publication, parent)
        Path(root.shown(layout.run(commit.run))).rename(root.shown(f"aside-{commit.run}"))
        return commit

    def late(root, commit):
        done = record(root, commit)
        effects.tick("rename", commit.run)
        Path(root.shown(f"aside-{commit.run}")).rename(root.shown(layout.run(commit.run)))
        return done

    monkeypatch.setattr(publish, "build", early)
    monkeypatch.setattr(publish, "record", late)
    with pytest.raises(AssertionError, match=r"summary_metrics\.json"):
        crash_everywhere(fast_path, 2, step=3)
