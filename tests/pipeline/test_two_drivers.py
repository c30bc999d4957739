"""Two whole drivers on one date: one publishes, the other says so, and no reader sees less than a whole run."""

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from driving import (
    DATE,
    KILLED,
    Driver,
    Project,
    finished_partitions,
    make_project,
    published,
    run,
    same_inputs,
    slow,
    start,
    until,
)
from storing import published_as_a_reader_sees

from batchscore.store import effects, layout, lease

OTHER = ("run", "--set", "postprocess.threshold=0.9")


def without_lease() -> None:
    """Take the lease away: it is there to save work, and nothing may rest on it."""
    lease._acquire = lambda *_: None


def race(project: Project, drivers: list[Driver], tally: Counter[str]) -> None:
    """Poll as a reader until all drivers have ended, and check that one run was published, whole, and stayed."""
    seen: set[str] = set()
    while any(driver.alive for driver in drivers):
        found = published_as_a_reader_sees(project.outputs) if project.outputs.exists() else None
        seen |= {found} - {None}
        tally["polls"] += 1
        time.sleep(0.002)
    ended = [driver.wait() for driver in drivers]
    assert {each.status for each in ended} <= {0, 14, 21, KILLED}, [each.stderr[-2000:] for each in ended]
    assert len(seen) <= 1
    assert len(project.store.commits(DATE)) <= 1
    for each in ended:
        tally[f"exit {each.status}"] += 1
        tally["no-op"] += "nothing to do" in each.stdout
    rerun = run(project)
    assert rerun.status in (0, 14), rerun.stderr
    assert len(project.store.commits(DATE)) == 1
    assert not seen or project.store.head(DATE).run in seen
    assert project.store.verify(DATE).problems == ()


def pairs(folder: Path, rounds: int, *, seed: int = 3) -> Counter[str]:
    """Run pairs of drivers: of the same plan, of two plans, and with one killed; half of them without the lease."""
    chance, tally = random.Random(seed), Counter()
    project = make_project(folder / "project", files=2, groups=2)
    assert run(project).status == 0
    wanted = published(project)
    for number in range(rounds):
        with same_inputs(project, folder / f"{number}") as target:
            kind = number % 3
            kill = {effects.KILL_AT: str(chance.randint(1, 150))} if kind == 2 else {}
            before = without_lease if number % 2 else None
            first = start(target, env=kill, before=before)
            second = start(target, *(OTHER if kind == 1 else ()), before=before)
            race(target, [first, second], tally)
            if kind != 1:
                assert published(target) == wanted
            tally["pairs"] += 1
            shutil.rmtree(target.root)
    return tally


@pytest.mark.timeout(300)
def test_some_pairs_publish_once_each(fast_path: Path, figures: Callable[..., None]):
    """In 4 pairs of drivers one run is published each time."""
    tally = pairs(fast_path, 4)

    assert tally["pairs"] == 4
    figures(**tally)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_thirty_pairs_publish_once_each(fast_path: Path, figures: Callable[..., None]):
    """In 30 pairs of drivers one run is published each time, and each way to lose was seen."""
    tally = pairs(fast_path, 30)

    assert tally["exit 14"] > 0
    assert tally["no-op"] + tally["exit 21"] > 0
    figures(**tally)


def test_the_second_driver_of_a_date_is_told_who_has_it(fast_path: Path):
    """While a driver lives, another one is code 21 and names the holder; afterwards it finds the date done."""
    project = make_project(fast_path / "project")
    first = start(project, before=slow, given=(0.7,))
    until(lambda: finished_partitions(project))
    second = run(project)

    assert second.status == 21
    assert f"process {first.pid} on" in second.told[0]
    assert first.wait().status == 0
    assert "nothing to do" in run(project).stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rerun_after_a_kill_is_never_in_its_own_way(fast_path: Path, number: int):
    """The lease of a driver that is gone holds nobody up: the rerun goes on at once."""
    project = make_project(fast_path / "project")
    first = start(project, before=slow, given=(0.5,))
    until(lambda: finished_partitions(project))
    first.signal(number)
    first.wait()
    begun = time.monotonic()
    rerun = run(project)

    assert rerun.status == 0
    assert time.monotonic() - begun < lease.SILENCE / 2
    assert "reused" in rerun.stdout


def pruned_before(step: str, folder: str) -> None:
    """In a driver, before its command: wait with a step of the run until another driver has published and pruned."""
    from batchscore import run as running

    without_lease()
    original = getattr(running, step)

    def late(*given):
        (Path(folder) / "here").touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        return original(*given)

    setattr(running, step, late)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("step", ["check_totals", "judge", "conclude"])
def test_a_driver_whose_work_was_pruned_finds_the_date_done(fast_path: Path, step: str, other: bool):
    """Whoever was first prunes the work that both share: the slower one says so, whatever it was about to do."""
    project = make_project(fast_path / "project", files=2, groups=2)
    slower = start(project, before=pruned_before, given=(step, str(fast_path)))
    until((fast_path / "here").exists)
    first = start(project, *(OTHER if other else ()), before=without_lease).wait()
    (fast_path / "go").touch()
    ended = slower.wait()

    assert first.status == 0
    assert ended.status == (14 if other else 0), ended.stderr
    assert other or "nothing to do" in ended.stdout
    assert len(project.store.commits(DATE)) == 1


def meet(folder: str, count: int, *, blindly: bool) -> None:
    """Let drivers reach their commits together, without a lease.

    Args:
        folder: Where they leave word.
        count: How many are waited for.
        blindly: The broken twin: commit without minding that the number is taken.
    """
    from batchscore.store import publish

    without_lease()
    record = _record_blindly if blindly else publish.record

    def together(root, commit):
        (Path(folder) / f"here-{commit.run_id}").touch()
        while len(list(Path(folder).glob("here-*"))) < count:
            time.sleep(0.01)
        return record(root, commit)

    publish.record = together


def _record_blindly(root, commit):
    root.replace(layout.commit(commit.date, commit.number), commit.sealed())
    return commit


def meeting(folder: Path, *, blindly: bool) -> tuple[Project, list[int]]:
    """Let two drivers of two plans commit at the same moment; return how they ended."""
    project = make_project(folder / "project", files=2, groups=2)
    drivers = [
        start(project, *argv, before=partial(meet, blindly=blindly), given=(str(folder), 2)) for argv in ((), OTHER)
    ]
    return project, sorted(driver.wait().status for driver in drivers)


def test_drivers_that_commit_together_publish_once(fast_path: Path):
    """Of two plans that reach their commit at the same moment one wins, and the other is code 14."""
    project, statuses = meeting(fast_path, blindly=False)

    assert statuses == [0, 14]
    assert project.store.verify(DATE).problems == ()


def test_twin_that_commits_blindly_fails(fast_path: Path):
    """The test has teeth: a commit that replaces lets both drivers win."""
    _, statuses = meeting(fast_path, blindly=True)

    assert statuses != [0, 14]
