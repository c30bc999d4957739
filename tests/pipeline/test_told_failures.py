"""Every end is told: one that nobody foresaw, one from before the output is open, and a success whose run was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from servers import answers, hostile, pushgateway
from small_world import CONFIG, DAY, ROWS, World

ROOT = Path(__file__).parents[2]
BUG = (
    "import sys; sys.argv = ['batchscore', *sys.argv[1:]]\n"
    "import batchscore.run\n"
    "def check_date(*_): raise RuntimeError('nobody foresaw this')\n"
    "batchscore.run.check_date = check_date\n"
    "from batchscore.cli import main; main()"
)
"""The command line, with a bug in the check of a date."""
KILLED = (
    "import sys; sys.argv = ['batchscore', *sys.argv[1:]]\n"
    "import os\n"
    "from batchscore.telling import Telling\n"
    "Telling.published = lambda *_: os._exit(137)\n"
    "from batchscore.cli import main; main()"
)
"""The command line, killed when the date is published and nobody was told."""
BROKEN = KILLED.replace("lambda *_: os._exit(137)", "lambda *_: 1 / 0")
"""The command line, with a bug in what comes after the commit."""
OK = answers("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def test_an_error_that_nobody_foresaw_is_told(world: World, require: Callable[[str], str], tmp_path: Path):
    """After a success a bug ends the run with 1: the gateway has the failure with its reason, lineage a FAIL event."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url, lineage__events=True)
        good = world.run("--run-type=scheduled")
        before = _scheduled(gateway.series())
        bad = _run(world, BUG)
        after = _scheduled(gateway.series())
    (failed,) = world.path(f"outputs/_batchscore/events/{DAY}").glob("*-fail.json")
    message = json.loads(failed.read_bytes())["run"]["facets"]["errorMessage"]["message"]

    assert (good.code, bad.returncode) == (0, 1)
    assert (_success(before), _success(after)) == ((1.0, []), (0.0, ["bug"]))
    assert after["start"] > before["start"]
    assert message.startswith("E-BUG-UNEXPECTED: ")
    assert message.endswith("RuntimeError: nobody foresaw this")


def test_an_output_that_can_not_be_opened_is_told(world: World, require: Callable[[str], str], tmp_path: Path):
    """Code 23 is pushed with the reason `storage` to the group that was asked for, and the FAIL event is sent."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway, hostile(OK) as server:
        world.configure(
            metrics__pushgateway=gateway.url,
            lineage__events=True,
            lineage__url=server.url,
            output__path="/proc/nope",
        )
        ended = world.run("--run-type=scheduled")
        told = _scheduled(gateway.series())
    sent = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]

    assert ended.code == 23
    assert _success(told) == (0.0, ["storage"])
    assert [event["eventType"] for event in sent] == ["FAIL"]


def test_a_success_that_nobody_was_told_of_is_told_by_the_next_run(
    world: World, require: Callable[[str], str], tmp_path: Path
):
    """A run is killed after its commit: its retry finds the date published, and pushes its numbers."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        killed = _run(world, KILLED)
        before = _rows(gateway.series())
        again = world.run("--run-type=scheduled")
        after = gateway.series()

    assert (killed.returncode, again.code) == (137, 0)
    assert (before, _rows(after)) == ([], [float(ROWS)])
    assert _success(_scheduled(after)) == (1.0, [])


def test_an_older_date_is_not_told_again(world: World, require: Callable[[str], str], tmp_path: Path):
    """A scheduled run that finds an older date published leaves the numbers of the newest one in the gateway."""
    other = "2024-03-02"
    world.deliver(other)
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        codes = [world.run("--run-type=scheduled", date=day).code for day in (DAY, other)]
        newest = _dates(gateway.series())
        again = world.run("--run-type=scheduled")
        after = _dates(gateway.series())

    assert (codes, again.code) == ([0, 0], 0)
    assert len(newest) == 1
    assert after == newest


def test_an_error_after_the_commit_is_told(world: World, require: Callable[[str], str], tmp_path: Path):
    """The date is published and the run ends with 1: that is pushed, and the next run sets it right."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        broken = _run(world, BROKEN)
        told = _success(_scheduled(gateway.series()))
        world.run("--run-type=scheduled")
        after = gateway.series()

    assert broken.returncode == 1
    assert f"{DAY} is published by this run" in broken.stderr
    assert told == (0.0, ["bug"])
    assert (_success(_scheduled(after)), _rows(after)) == ((1.0, []), [float(ROWS)])


def _run(world: World, code: str) -> subprocess.CompletedProcess[str]:
    """Run the date as scheduled by another command line."""
    argv = [sys.executable, "-c", code, "run", "--config", CONFIG, "--date", DAY, "--run-type=scheduled"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        argv, cwd=world.root, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def _rows(series: dict[str, float]) -> list[float]:
    return [value for name, value in series.items() if name.startswith("batchscore_scored_rows{")]


def _dates(series: dict[str, float]) -> list[float]:
    wanted = "batchscore_last_success_snapshot_timestamp_seconds{"
    return [value for name, value in series.items() if name.startswith(wanted)]


def _scheduled(series: dict[str, float]) -> dict[str, float]:
    """Return success, start and reasons of the last run in the scheduled group."""
    names = {"last_run_success": "success", "last_run_start_timestamp_seconds": "start"}
    mine = {name: value for name, value in series.items() if 'run_type="scheduled"' in name}
    found = {short: value for name, value in mine.items() for long, short in names.items() if f"_{long}{{" in name}
    reasons = {name.partition('reason="')[2].partition('"')[0]: value for name, value in mine.items()}
    return found | {reason: value for reason, value in reasons.items() if reason}


def _success(told: dict[str, float]) -> tuple[float, list[str]]:
    """Return whether it succeeded, and the reasons that hold."""
    reasons = [name for name, value in told.items() if value == 1.0 and name not in ("success", "start")]
    return told["success"], reasons
