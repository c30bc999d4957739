"""The object form on a real S3 server with atomic conditional puts: kills, races, and answers that lie."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import object_runs
import obstore
import pytest
from driving import forking
from faulty import Faults, at_random, faulty
from s3_server import Server
from storing import DATE, deterministic_files, make_plan, score, whole_run

from batchscore.errors import BatchscoreError, StorageFailed
from batchscore.store import Store, objects, open_store
from batchscore.store.objects import ObjectRoot
from batchscore.store.root import Exists


def listing(store: Store) -> list[tuple[str, str | None]]:
    """Return every object with its version."""
    pages = obstore.list(objects.client(store.url), chunk_size=1000)
    return sorted((item["path"], item["e_tag"], str(item["last_modified"])) for page in pages for item in page)


def crash_everywhere(server: Server, parts: int, *, step: int) -> int:
    """Kill a run before its n-th side effect, for every n in steps; return how many points were tried."""
    plan = make_plan()
    reference = open_store(server.url())
    whole_run(reference, plan, parts)
    wanted = deterministic_files(reference)
    for tried, point in enumerate(count(1, step), 1):
        store = open_store(server.url())
        status = object_runs.end(
            object_runs.start(object_runs.run_all, server.environment, point, store.url, "0.7", parts)
        )
        assert status in (0, -9)
        newest, committed = store.head(DATE), store.work(plan).finished()
        if newest:
            assert all(problem.path == store.root.shown(DATE) for problem in store.verify(DATE).problems)
        rerun = whole_run(store, plan, parts)
        assert rerun.done == (newest is not None)
        assert set(rerun.scored) == (set() if newest else set(range(parts)) - committed)
        assert deterministic_files(store) == wanted
        assert store.verify(DATE).problems == ()
        before = listing(store)
        assert whole_run(store, plan, parts).done
        assert listing(store) == before
        if status == 0:
            return tried
    raise AssertionError


@pytest.mark.timeout(300)
def test_kill_anywhere_then_one_rerun(server: Server, figures: Callable[..., None]):
    """A small run survives a kill at every eleventh of its side effects."""
    points = crash_everywhere(server, 2, step=11)

    assert points >= 4
    figures(points=points, lost=0)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_kill_at_every_point(server: Server, figures: Callable[..., None]):
    """A run of 12 partitions survives a kill at each of its side effects."""
    points = crash_everywhere(server, 12, step=1)

    assert points >= 100
    figures(points=points, lost=0)


def races(
    server: Server,
    folder: Path,
    rounds: int,
    *,
    seed: int = 4,
    publish: Callable[..., None] = object_runs.publish,
) -> dict[str, int]:
    """Race publishers of prepared parts: same plan, other plan, one killed; a reader polls."""
    chance = random.Random(seed)
    kinds = [("0.7", "0.7", None), ("0.7", "0.8", None), ("0.7", "0.7", 30), ("0.7", "0.8", 30)]
    tally = {"races": 0, "polls": 0, "whole": 0, "killed": 0, "lost": 0}
    for number in range(rounds):
        first, second, dies = kinds[number % len(kinds)]
        store = open_store(server.url())
        store.claim_pipeline("flights")
        for threshold in {first, second}:
            score(store, make_plan(threshold), 2)
        gate = forking().Barrier(2)
        beliefs = [folder / f"{number}-{name}" for name in ("one", "two")]
        kill_at = chance.randint(1, dies) if dies else None
        publishers = ((first, None, beliefs[0]), (second, kill_at, beliefs[1]))
        children = [
            object_runs.start(publish, server.environment, kill, store.url, threshold, 2, gate, belief)
            for threshold, kill, belief in publishers
        ]
        _poll(store, children, tally)
        statuses = [object_runs.end(child) for child in children]
        commits = store.commits(DATE)
        assert set(statuses) <= {0, 14, -9}
        assert len(commits) == 1
        assert {path.read_text() for path in beliefs if path.exists()} <= {commits[0].run}
        winner = next(plan for plan in (make_plan(first), make_plan(second)) if plan.plan_id == commits[0].plan_id)
        assert store.settle(winner) == (commits[0], True)
        assert store.verify(DATE).problems == ()
        tally["races"] += 1
        tally["killed"] += statuses.count(-9)
        tally["lost"] += statuses.count(14)
    return tally


def _poll(store: Store, children: list[BaseProcess], tally: dict[str, int]) -> None:
    seen: set[str] = set()
    while any(child.is_alive() for child in children):
        tally["polls"] += 1
        if store.head(DATE):
            published = store.published(DATE)
            for path, (sha256, _) in published.files().items():
                published.read(path, sha256)
            seen.add(published.commit.run)
            tally["whole"] += 1
    assert len(seen) <= 1


@pytest.mark.timeout(300)
def test_some_races_have_one_winner_each(server: Server, tmp_path: Path, figures: Callable[..., None]):
    """In 12 races one run is committed each time and the reader sees only whole ones."""
    tally = races(server, tmp_path, 12)

    assert tally["races"] == 12
    figures(**tally)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_thousand_races_have_one_winner_each(server: Server, tmp_path: Path, figures: Callable[..., None]):
    """In 1,000 races on an object store one run is committed each time."""
    tally = races(server, tmp_path, 1000)

    assert tally["races"] == 1000
    figures(**tally)


@pytest.mark.timeout(300)
def test_twin_that_looks_and_then_puts_fails(server: Server, tmp_path: Path):
    """The races have teeth: a commit by "not there? then put" lets two runs win, and is caught."""
    with pytest.raises(AssertionError):
        races(server, tmp_path, 12, publish=object_runs.publish_carelessly)


def runs_through_faults(server: Server, rounds: int, monkeypatch: pytest.MonkeyPatch, *, rate: float) -> dict[str, int]:
    """Run, and run again, through a proxy that misbehaves; look at the result without it."""
    tally = {"runs": 0, "retryable": 0, "false_conflicts": 0}
    for seed in range(rounds):
        url, faults = server.url(), Faults(choose=at_random(seed, rate))
        with faulty(server.address, faults) as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            objects.client.cache_clear()
            store = open_store(url)
            for _ in range(4):
                try:
                    whole_run(store, make_plan(), 4)
                    break
                except StorageFailed:
                    tally["retryable"] += 1
            assert whole_run(store, make_plan(), 4).done
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        objects.client.cache_clear()
        clean = open_store(url)
        assert len(clean.commits(DATE)) == 1
        assert clean.verify(DATE).problems == ()
        tally["runs"] += 1
        for kind, number in faults.injected.items():
            tally[kind] = tally.get(kind, 0) + number
    return tally


@pytest.mark.timeout(300)
def test_some_runs_through_faults_end_right(
    server: Server, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None]
):
    """With 5 % of each kind of fault runs end right or with a clean retryable code, and never in a false conflict."""
    monkeypatch.setattr(objects, "PAUSES", (0.01, 0.02, 0.04, 0.08, 0.16, 0.16, 0.16))
    figures(**runs_through_faults(server, 2, monkeypatch, rate=0.05))


@pytest.mark.timeout(300)
def test_twin_that_trusts_the_client_fails(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The faults have teeth: a store that believes "already exists" ends in a false conflict."""

    def believe(root: ObjectRoot, key: str, data: bytes) -> None:
        try:
            obstore.put(objects.client(root.url), key, data, mode="create")
        except objects.exceptions.AlreadyExistsError:
            raise Exists(key, b"") from None
        except objects.exceptions.BaseError as error:
            raise StorageFailed(str(error)) from error

    monkeypatch.setattr(ObjectRoot, "create", believe)
    with pytest.raises((AssertionError, BatchscoreError, ValueError)):
        runs_through_faults(server, 3, monkeypatch, rate=0.05)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_many_runs_through_faults_end_right(
    server: Server, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., None]
):
    """The same, 60 times."""
    monkeypatch.setattr(objects, "PAUSES", (0.01, 0.02, 0.04, 0.08, 0.16, 0.16, 0.16))
    figures(**runs_through_faults(server, 60, monkeypatch, rate=0.05))
