"""Races of publishers on prepared parts: exactly one commit, and no reader ever sees less than a whole run."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from storing import DATE, finished, fork, make_plan, publication, published_as_a_reader_sees, score

from batchscore.store import Store, layout, open_store
from batchscore.store.files import FileRoot
from batchscore.store.root import Exists

PARTS = 3
SAME, OTHER = "0.7", "0.8"


@dataclass
class Tally:
    """What many races came to."""

    races: int = 0
    """Races run."""
    polls: int = 0
    """Times that the reader looked."""
    whole: int = 0
    """Times that it read a whole run, every byte hashed."""
    killed: int = 0
    """Publishers that were killed on the way."""
    lost: int = 0
    """Publishers that were told that another plan was first."""


def race(root: Path, contestants: list[tuple[str, int | None]], tally: Tally) -> None:
    """Let publishers of prepared parts go at once while a reader polls, and check what came of it.

    Args:
        root: An empty folder.
        contestants: The plan of each, and the side effect before which it is killed, if any.
        tally: Where the counts go.
    """
    store = open_store(str(root / "outputs"))
    store.claim_pipeline("flights")
    plans = {threshold: make_plan(threshold) for threshold, _ in contestants}
    for plan in plans.values():
        score(store, plan, PARTS)
    gate, start = os.pipe()

    def publish(threshold: str) -> None:
        os.close(start)
        os.read(gate, 1)
        commit = store.publish(publication(plans[threshold], PARTS), None)
        (root / f"believes-{os.getpid()}").write_text(commit.run)

    children = [fork(lambda plan=plan: publish(plan), kill_at) for plan, kill_at in contestants]
    os.close(gate)
    os.close(start)
    _poll(root / "outputs", children, tally)
    statuses = [finished(child) for child in children]
    check(store, root, statuses, tally)


def _poll(root: Path, children: list[int], tally: Tally) -> None:
    """Read the date until all children have ended; what was once seen must stay the same run."""
    seen: set[str] = set()
    while not all(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) for child in children):
        for _ in range(50):
            run = published_as_a_reader_sees(root)
            tally.polls += 1
            if run:
                tally.whole += 1
                seen.add(run)
    assert len(seen) <= 1


def check(store: Store, root: Path, statuses: list[int], tally: Tally) -> None:
    """See that one run was committed, that every winner knows it, and that nothing of it is missing."""
    beliefs = {path.read_text() for path in root.glob("believes-*")}
    commits = store.commits(DATE)
    assert set(statuses) <= {0, 14, -9}
    assert len(commits) == 1
    assert beliefs in ({commits[0].run}, set())
    plan = make_plan(SAME) if commits[0].plan_id == make_plan(SAME).plan_id else make_plan(OTHER)
    assert store.settle(plan) == (commits[0], True)  # a winner that was killed may have left the projection behind
    assert store.verify(DATE).problems == ()
    assert published_as_a_reader_sees(root / "outputs") == commits[0].run
    tally.races += 1
    tally.killed += statuses.count(-9)
    tally.lost += statuses.count(14)


def races(folder: Path, rounds: int, *, seed: int = 4) -> Tally:
    """Run many races: of the same plan, of two plans, and with one publisher killed somewhere."""
    chance, tally = random.Random(seed), Tally()
    kinds: list[list[tuple[str, bool]]] = [
        [(SAME, False), (SAME, False)],
        [(SAME, False), (OTHER, False)],
        [(SAME, False), (SAME, True)],
        [(SAME, False), (OTHER, False), (OTHER, True)],
    ]
    for number in range(rounds):
        root = folder / f"{number}"
        root.mkdir()
        kind = kinds[number % len(kinds)]
        race(root, [(plan, chance.randint(1, 70) if dies else None) for plan, dies in kind], tally)
        shutil.rmtree(root)
    return tally


def test_some_races_have_one_winner_each(fast_path: Path, figures: Callable[..., None]):
    """In 40 races one run is committed each time and no reader sees less than a whole one."""
    tally = races(fast_path, 40)

    assert tally.races == 40
    assert tally.polls > 1000
    figures(**vars(tally))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_thousand_races_have_one_winner_each(fast_path: Path, figures: Callable[..., None]):
    """In 1,000 races one run is committed each time, and no reader sees less than a whole one."""
    tally = races(fast_path, 1000)

    assert tally.races == 1000
    assert tally.lost > 100
    assert tally.killed > 100
    figures(**vars(tally))


def test_twin_that_looks_and_then_renames_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test has teeth: a commit by "not there? then rename" lets two runs win, and is caught."""

    def look_then_rename(root: FileRoot, path: Path, key: str, data: bytes) -> None:
        temporary = root._write_aside(path, data)
        if path.exists():
            raise Exists(key, path.read_bytes())
        time.sleep(0.002)
        temporary.rename(path)

    monkeypatch.setattr(FileRoot, "_create", look_then_rename)
    with pytest.raises(AssertionError):
        races(fast_path, 40)


def test_twin_that_publishes_part_by_part_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test has teeth: a date that is filled in place is seen half full."""

    def copy_in_place(root: FileRoot, date: str, name: str) -> None:
        target = Path(root.url, layout.RUNS, "in-place")
        target.mkdir(exist_ok=True)
        link = Path(root.url, date)
        if not link.is_symlink():
            link.symlink_to(f"{layout.RUNS}/in-place")
        for path in sorted(Path(root.url, layout.run(name)).iterdir()):
            time.sleep(0.001)
            if path.is_dir():
                shutil.copytree(path, target / path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, target / path.name)

    monkeypatch.setattr(FileRoot, "project", copy_in_place)
    monkeypatch.setattr(
        FileRoot, "projected", lambda root, date: None if not Path(root.url, date).exists() else _head(root)
    )
    with pytest.raises((AssertionError, FileNotFoundError, ValueError)):
        races(fast_path, 4)


def _head(root: FileRoot) -> str:
    head = Store(root).head(DATE)
    assert head
    return head.run
