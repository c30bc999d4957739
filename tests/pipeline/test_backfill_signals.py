"""`batchscore backfill` that is ended early, with real processes: no run outlives it, and no further one begins."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from small_world import CONFIG, SNAPSHOT, World

OPTIONS = ("--config", CONFIG, "--from", "2024-04-01", "--to", "2024-04-04", "--keep-going")
WAITING = ("--set", "snapshot.wait_minutes=10")
NOBODY_IS_TOLD = """
from batchscore import backfill, cli, ending
backfill.OwnProcesses.stop = lambda self: None
ending.GRACE_SECONDS = 1
cli.main()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Start a backfill whose runs wait for snapshots; return once so many of them have started."""
    started: list[subprocess.Popen[str]] = []

    def begin(*python: str, at_once: int = 2) -> subprocess.Popen[str]:
        command = [sys.executable, *python, "backfill", *OPTIONS, *WAITING, "--max-parallel", str(at_once)]
        process = subprocess.Popen(
            command,
            cwd=world.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        begun = (line for line in process.stderr if "run started" in line)
        assert len(list(islice(begun, at_once))) == at_once
        return process

    assert not world.path(SNAPSHOT.replace("_03_01", "_04_01")).exists()
    yield begin
    for process in started:
        process.kill()
        process.communicate()


def check_all_ended(process: subprocess.Popen[str], code: int, following: str = "2024-04-03") -> None:
    """See that the backfill ended with its code, in time, and its runs before it; all of them hold its stderr open."""
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "was cut off" not in told
    assert following not in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_runs_in_own_processes_end_with_the_backfill(start: Start, number: signal.Signals, code: int):
    """A signal to the backfill ends its runs first, each as resumable as on its own, and no further one begins."""
    process = start("-m", "batchscore")
    process.send_signal(number)

    check_all_ended(process, code)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_no_failure_of_one_date(start: Start, number: signal.Signals, code: int):
    """One date after the other, `--keep-going` goes on after failed dates and not after a signal."""
    process = start("-m", "batchscore", at_once=1)
    process.send_signal(number)

    check_all_ended(process, code, following="2024-04-02")


def test_twin_that_tells_nobody_fails(start: Start):
    """The test has teeth: a backfill that waits for runs that nobody told of the signal is cut off."""
    process = start("-c", NOBODY_IS_TOLD)
    process.terminate()
    with pytest.raises(AssertionError, match="was cut off"):
        check_all_ended(process, 143)


def test_runs_in_own_processes_notice_that_the_backfill_was_killed(start: Start):
    """A backfill that is killed tells nobody: its runs end because it is no longer there."""
    process = start("-m", "batchscore")
    process.kill()

    check_all_ended(process, -signal.SIGKILL)
