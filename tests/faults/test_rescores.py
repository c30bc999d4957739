"""Rescoring under a killed driver, on a file system and in an object store: the old revision stands until the new one does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import yaml
from driving import DATE, KILLED, Ended, Project, make_project, published, run
from faulty import Faults, at_random, faulty
from s3_server import Server
from storing import snapshot
from test_s3_drivers import InS3, another, in_s3

from batchscore import rescoring
from batchscore.report import Totals
from batchscore.store import Store, effects

RESCORE = "rescore-quarantine"
ROWS = 80
QUARANTINE = {"rows": {"on_bad": "quarantine", "max_bad_count": 60, "max_bad_percent": 60}}


def limited(project: Project, most: float) -> None:
    """Let the third feature be no larger than that."""
    path = project.root / "config/schema.yaml"
    schema = yaml.safe_load(path.read_text())
    schema["features"][2]["max"] = most
    path.write_text(yaml.safe_dump(schema))


@pytest.fixture
def project(fast_path: Path) -> Project:
    """Give a project of 4 partitions of which some rows will be set aside."""
    made = make_project(fast_path / "project", files=4, config=QUARANTINE)
    limited(made, 2.0)
    return made


def conserved(store: Store, revision: int) -> int:
    """See that every row of the date is in a revision once; return how many are scored."""
    found = store.published(DATE, revision)
    scored, aside = (
        found.table(name).column("id").to_pylist() for name in ("predictions.parquet", "quarantine.parquet")
    )
    assert len(scored) + len(aside) == len({*scored, *aside}) == ROWS
    return len(scored)


def rescored_once(ended: Ended, store: Store) -> None:
    """See that a rescoring came to revision 2, and that more rows are scored than in the first, and not all."""
    assert ended.status == 0, ended.stderr[-3000:]
    assert [commit.number for commit in store.commits(DATE)] == [1, 2]
    assert store.verify(DATE).problems == ()
    assert 0 < conserved(store, 1) < conserved(store, 2) < ROWS


def killed_at(victim: Project, point: int, wanted: dict[str, bytes]) -> bool:
    """Kill a rescoring before a side effect; see what stands then, and that the next try ends it; say if it was killed."""
    before = published(victim)
    first = run(victim, RESCORE, kill_at=point)
    assert first.status in (0, KILLED), first.stderr
    done = len(victim.store.commits(DATE)) == 2
    assert published(victim) in ((before, wanted) if done else (before,))

    rescored_once(run(victim, RESCORE), victim.store)
    assert published(victim) == wanted

    last = snapshot(victim.outputs)
    third = run(victim, RESCORE)
    assert third.status == 0
    assert "nothing to do" in third.stdout
    assert snapshot(victim.outputs) == last
    return first.status == KILLED


def kill_everywhere(folder: Path, project: Project, *, first: int, step: int) -> int:
    """Kill a rescoring at every `step`-th side effect, until one ends untouched; return how many were killed."""
    assert run(project).status == 0
    limited(project, 2.8)
    prepared = folder / "prepared"
    shutil.copytree(project.outputs, prepared, symlinks=True)
    rescored_once(run(project, RESCORE), project.store)
    wanted = published(project)
    for kills in count():
        shutil.rmtree(project.outputs)
        shutil.copytree(prepared, project.outputs, symlinks=True)
        if not killed_at(project, first + kills * step, wanted):
            return kills
    raise AssertionError


@pytest.mark.timeout(400)
def test_a_rescoring_killed_here_and_there(fast_path: Path, project: Project, figures: Callable[..., None]) -> None:
    """A rescoring of 4 partitions survives a kill at every 31st of its side effects: the next one ends it, once."""
    kills = kill_everywhere(fast_path, project, first=5, step=31)

    assert kills >= 4
    figures(kills=kills, wrong=0)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_a_rescoring_killed_at_every_side_effect(
    fast_path: Path, project: Project, figures: Callable[..., None]
) -> None:
    """The same at each of them."""
    kills = kill_everywhere(fast_path, project, first=1, step=1)

    assert kills > 100
    figures(kills=kills, wrong=0)


def keep_none() -> None:
    """In a driver, before its command: forget the rows that can not be scored yet, and that there is a check of it."""
    rescoring._put = lambda *_: None
    rescoring._lost_ids = lambda *_: None
    Totals.unbalanced = lambda *_: None


def test_the_twin_that_loses_rows(project: Project) -> None:
    """The check has teeth: a revision without the rows that stay set aside does not conserve them."""
    assert run(project).status == 0
    limited(project, 2.8)
    source = f"data/{DATE}/part-000.parquet"  # rows of other files stay as they are
    ended = run(project, RESCORE, "--from", source, before=keep_none)

    assert ended.status == 0, ended.stderr
    with pytest.raises(AssertionError):
        conserved(project.store, 2)


@pytest.fixture
def world(server: Server, project: Project) -> InS3:
    """Give the project in S3, where all that is written stays until the test ends; its schema is a file."""
    made = in_s3(server, project)
    config = yaml.safe_load((project.root / "config/run.yaml").read_text())
    config["schema"] = "config/schema.yaml"
    (project.root / "config/run.yaml").write_text(yaml.safe_dump(config))
    return made


def in_another(world: InS3, folder: Path) -> InS3:
    """Give a project of the same inputs with an output root and a schema of its own."""
    with another(world, folder) as target:
        shutil.copy(world.project.root / "config/schema.yaml", folder / "config/schema.yaml")
        limited(target.project, 2.0)
        return target


@pytest.mark.timeout(900)
def test_rescoring_in_an_object_store(
    world: InS3, server: Server, fast_path: Path, figures: Callable[..., None]
) -> None:
    """Revision 2 is the same in S3 undisturbed, after a kill at 3 points, and through 3 % of each kind of fault."""
    wanted, kills = None, 0
    for number, point in enumerate((10_000, 20, 55, 90)):
        target = in_another(world, fast_path / f"{number}")
        assert target.run().status == 0
        limited(target.project, 2.8)
        first = target.run(RESCORE, **{effects.KILL_AT: str(point)})
        assert first.status in (0, KILLED), first.stderr
        kills += first.status == KILLED
        conserved(target.store, 1)
        rescored_once(target.run(RESCORE), target.store)
        wanted = wanted or target.documents()
        assert target.documents() == wanted
        assert "nothing to do" in target.run(RESCORE).stdout
    target, faults = in_another(world, fast_path / "faults"), Faults(choose=at_random(5, 0.03))
    assert target.run().status == 0
    limited(target.project, 2.8)
    with faulty(server.address, faults) as address:
        tries = [target.run(RESCORE, AWS_ENDPOINT_URL=address)]
        while tries[-1].status == 23 and len(tries) < 8:
            tries.append(target.run(RESCORE, AWS_ENDPOINT_URL=address))
    rescored_once(tries[-1], target.store)
    replayed = target.run("replay")

    assert target.documents() == wanted
    assert replayed.status == 0, replayed.stderr
    assert kills >= 2
    figures(kills=kills, faults=sum(faults.injected.values()), wrong=0)
