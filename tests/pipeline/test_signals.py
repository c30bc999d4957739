"""A driver that is told to stop stops: within seconds, with its own code, nothing half made, and the next one goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from driving import (
    DATE,
    Project,
    fail_to_prune,
    finished_partitions,
    make_project,
    metadata,
    published,
    run,
    same_inputs,
    slow,
    start,
    until,
)
from storing import published_as_a_reader_sees

from batchscore.store import clean

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def _undisturbed(project: Project, folder: Path) -> float:
    """Return the seconds that a slow run takes."""
    begun = time.monotonic()
    with same_inputs(project, folder / "undisturbed") as other:
        assert run(other, before=slow, given=(0.02,)).status == 0
        seconds = time.monotonic() - begun
        shutil.rmtree(other.root)
    return seconds


def stop_somewhere(
    folder: Path,
    *,
    rounds: int,
    seed: int = 11,
    processes: bool = False,
    before: Callable[[float], None] = slow,
) -> tuple[dict[int, int], float, int]:
    """Stop drivers at random moments and finish them; return how they ended, the slowest end, and partitions kept."""
    chance = random.Random(seed)
    project = make_project(folder / "project", files=4, groups=4)
    assert run(project).status == 0
    wanted = published(project)
    whole_run = min(_undisturbed(project, folder) for _ in range(3))  # a busy moment makes one of them longer
    ends: dict[int, int] = {}
    slowest, kept = 0.0, 0
    options = ("run", *(("--set", "cluster.processes=true") if processes else ()))
    for number in range(rounds):
        with same_inputs(project, folder / f"{number}") as victim:
            driver = start(victim, *options, before=before, given=(0.02,))
            time.sleep(chance.uniform(0.02, 1.2 * whole_run))
            kind = chance.choice(list(CODES))
            if driver.alive:
                driver.signal(kind)
            sent = time.monotonic()
            ended = driver.wait(30)
            slowest = max(slowest, time.monotonic() - sent)
            # Before its first line of code a process has no handler, and the system ends it by the same signal.
            assert ended.status in (0, CODES[kind], -kind), ended.stderr
            seen = published_as_a_reader_sees(victim.outputs) if victim.outputs.exists() else None
            if ended.status == CODES[kind]:
                is_published = bool(victim.store.head(DATE))
                assert (f"{DATE} is published by this run" in ended.stderr) == is_published, ended.stderr
                # Before the store is open the sentence is a weaker one, which is true of both.
                unpublished = "Nothing was published." in ended.stderr, "Nothing is half published" in ended.stderr
                assert any(unpublished) == (not is_published), ended.stderr
            assert ended.status or seen
            finished = finished_partitions(victim)
            again = run(victim)
            assert again.status == 0, again.stderr
            assert published(victim) == wanted
            if not seen and ended.status:
                assert metadata(victim)["reused_partitions"] in (finished, 0)
                kept += finished
            ends[ended.status] = ends.get(ended.status, 0) + 1
            shutil.rmtree(victim.root)
    return ends, slowest, kept


@pytest.mark.timeout(300)
def test_stopping_at_some_moments(fast_path: Path, figures: Callable[..., None]):
    """SIGTERM is 143 and SIGINT is 130, within seconds, at 5 random moments."""
    _, slowest, kept = stop_somewhere(fast_path, rounds=5)

    assert slowest < 20
    figures(signals=5, slowest_seconds=round(slowest, 2), partitions_kept=kept, wrong=0)


def careless(seconds: float) -> None:
    """Take some time for each partition, and leave at a signal as if all were done."""
    from batchscore import ending

    def leave_at_once(_environ: object) -> None:
        for number in CODES:
            signal.signal(number, lambda *_: os._exit(0))

    ending.raise_signals = leave_at_once
    slow(seconds)


@pytest.mark.timeout(300)
def test_a_driver_that_leaves_as_if_all_were_done_is_noticed(fast_path: Path):
    """The twin: the check sees one that ends with 0 and has published nothing."""
    with pytest.raises(AssertionError, match=r"assert \(0 or None\)"):
        stop_somewhere(fast_path, rounds=10, before=careless)


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("processes", [False, True])
def test_stopping_at_fifty_moments(fast_path: Path, figures: Callable[..., None], processes: bool):
    """SIGTERM is 143 and SIGINT is 130 at random moments, with threads (50) and with worker processes (10)."""
    rounds = 10 if processes else 50
    ends, slowest, kept = stop_somewhere(fast_path, rounds=rounds, processes=processes)

    assert slowest < 20
    assert ends.get(143, 0) + ends.get(130, 0) > rounds // 3
    figures(signals=rounds, slowest_seconds=round(slowest, 2), partitions_kept=kept, wrong=0)


@pytest.mark.timeout(200)
def test_a_busy_run_ends_at_once(fast_path: Path):
    """The driver does not wait for the partitions that its threads are in the middle of."""
    project = make_project(fast_path / "project")
    driver = start(project, before=slow, given=(60,))
    until(lambda: (project.outputs / "_batchscore/leases").is_dir() and any(_leases(project)))
    time.sleep(0.5)
    driver.signal(signal.SIGTERM)
    sent = time.monotonic()
    ended = driver.wait(30)

    assert ended.status == 143
    assert time.monotonic() - sent < 10
    assert ended.told[0] == "error[E-TERMINATED]: terminated by SIGTERM"
    assert ended.told[-1] == "Nothing was published."
    assert not _leases(project)


def _leases(project: Project) -> list[Path]:
    return list((project.outputs / "_batchscore/leases").glob("*.json"))


def swallow(grace: float) -> None:
    """Let the run meet its signal inside a finaliser, where an exception is lost, and work on for a minute."""
    from batchscore import ending
    from batchscore import run as running

    ending.GRACE_SECONDS = grace

    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    def score_all(*_: object) -> None:
        Finalised()
        time.sleep(60)

    running.score_all = score_all


def test_a_signal_that_is_lost_is_raised_again(fast_path: Path):
    """An exception that Python drops is raised again, and the run ends as if it had been heard at once."""
    project = make_project(fast_path / "project")
    ended = run(project, before=swallow, given=(50.0,))

    assert ended.status == 143
    assert ended.told[-3:] == [
        "error[E-TERMINATED]: terminated by SIGTERM",
        "help: run the same command again: it resumes",
        "Nothing was published.",
    ]
    assert not (project.outputs / DATE).exists()


def signal_at_the_start_of_a_thread() -> None:
    """Send the signal when the thread that keeps the lease has just begun, inside the standard library's start of it."""
    begin = threading._start_new_thread

    def begin_and_signal(bootstrap: Callable[[], None], *others: Any) -> int:
        number: int = begin(bootstrap, *others)
        if bootstrap.__self__.name == "lease":
            bootstrap.__self__._started.wait()
            os.kill(os.getpid(), signal.SIGTERM)
        return number

    threading._start_new_thread = begin_and_signal


def fail_on_the_way_out() -> None:
    """Let the run fail over its own tidying when a signal has ended it."""
    from batchscore import run as running

    def score_all(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            raise RuntimeError("release unlocked lock")

    running.score_all = score_all


@pytest.mark.parametrize("before", [signal_at_the_start_of_a_thread, fail_on_the_way_out])
def test_a_signal_is_no_error_of_what_it_interrupts(fast_path: Path, before: Callable[[], None]):
    """A signal is told as itself, where a library takes every error for its own and where one follows on the way out."""
    project = make_project(fast_path / "project")
    ended = run(project, before=before)

    assert ended.status == 143
    assert ended.told[-3] == "error[E-TERMINATED]: terminated by SIGTERM"
    assert run(project).status == 0


def deaf(grace: float) -> None:
    """Let the run drop whatever a signal raises, again and again."""
    from batchscore import ending
    from batchscore import run as running

    ending.GRACE_SECONDS = grace

    def score_all(*_: object) -> None:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        while True:
            with suppress(BaseException):
                time.sleep(60)

    running.score_all = score_all


def test_a_signal_that_nobody_hears_ends_the_run_all_the_same(fast_path: Path):
    """A run that drops the exception each time does not go on beyond its grace."""
    project = make_project(fast_path / "project")
    begun = time.monotonic()
    ended = run(project, before=deaf, given=(1.0,))

    assert ended.status == 143
    assert time.monotonic() - begun < 40
    assert "cut off" in ended.told[-1]
    assert not (project.outputs / DATE).exists()


def dawdle() -> None:
    """Let the run be interrupted, say so, and take a minute to end."""
    from batchscore import run as running
    from batchscore.errors import Interrupted

    def score_all(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except Interrupted:
            os.write(2, b"interrupted once\n")
            time.sleep(60)

    running.score_all = score_all


def test_a_second_interruption_ends_the_run_at_once(fast_path: Path):
    """On a machine of one's own a second Ctrl-C waits for nothing: neither for a clean end nor for the grace."""
    driver = start(make_project(fast_path / "project"), before=dawdle)
    until(lambda: "interrupted once" in driver.stderr())
    driver.signal(signal.SIGINT)
    ended = driver.wait(30)

    assert ended.status == 130
    assert ended.told == ["interrupted once"]


def signal_after_commit() -> None:
    """Send the signal when the commit is made and the finished work is about to be removed."""

    def prune(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    clean.prune = prune


def test_a_signal_after_the_commit_says_that_the_date_is_published(fast_path: Path):
    """Who is stopped after the commit says what is there, and the next run finds it done."""
    project = make_project(fast_path / "project")
    ended = run(project, before=signal_after_commit)

    assert ended.status == 143
    assert ended.told[-1] == f"{DATE} is published by this run, as revision 1."
    assert "nothing to do" in run(project).stdout


def test_a_published_date_is_published_even_if_its_work_stays(fast_path: Path):
    """What can not be removed after the commit is a warning, not a failed run."""
    project = make_project(fast_path / "project")
    ended = run(project, before=fail_to_prune)

    assert ended.status == 0
    assert ended.event("finished work not removed")["level"] == "warning"
    assert finished_partitions(project) == 8


def test_the_deadline_ends_the_scoring(fast_path: Path):
    """A run that takes too long is code 24, says so, and the next one goes on."""
    project = make_project(fast_path / "project")
    ended = run(project, "run", "--set", "cluster.deadline_minutes=0.04", before=slow, given=(1.3,))

    assert ended.status == 24
    assert "error[E-PARTITIONS-DEADLINE]: scoring was not done after 2 s" in ended.told[0]
    kept = finished_partitions(project)
    assert kept > 0
    assert run(project).status == 0
    assert metadata(project)["reused_partitions"] >= kept


EARLY = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "batchscore.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from batchscore.__main__ import main
main()
"""


def test_an_interruption_before_the_command_line_is_there_says_nothing():
    """Ctrl-C while the command line is still imported ends the process, without a traceback."""
    ended = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == -signal.SIGINT
    assert ended.stdout + ended.stderr == ""
