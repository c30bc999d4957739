"""Where stdout and stderr lead does not decide how a run ends: full disks, closed streams and readers that have gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked_cli import ROOT
from small_world import CONFIG, DAY, OUTPUTS

RUN = ("run", "--config", CONFIG, "--date", DAY)
REFUSED = ("validate", "--config", CONFIG, "--date", "2023-02-29", "--json")


def typed(world, redirections: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Type a command line with redirections into a shell; it prints the exit code last on stdout."""
    command = f'"$@" {redirections}; echo "${{PIPESTATUS[0]}}" >&9'
    return subprocess.run(
        ["bash", "-c", f"exec 9>&1; {command}", "bash", sys.executable, "-m", "batchscore", *argv],
        cwd=world.root,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "redirections",
    ["2>/dev/full", "<&- >&- 2>&-", "2>&1 | true"],
)
def test_a_run_publishes_wherever_its_streams_lead(world, redirections):
    """A log on a full disk, closed streams and a dead reader cost lines and no run, and the code stays 0."""
    ended = typed(world, redirections, *RUN)

    assert ended.stdout.splitlines()[-1] == "0", ended.stderr
    assert list(world.predictions().columns) == ["customer_id", "prediction", "risk_flag"]


def test_workers_of_their_own_publish_with_a_full_log(world):
    """Worker processes lose their lines as the driver does."""
    ended = typed(world, "2>/dev/full", *RUN, "-v", "--set", "cluster.processes=true")

    assert ended.stdout.splitlines()[-1] == "0"
    assert world.path(f"{OUTPUTS}/{DAY}").is_symlink()


@pytest.mark.parametrize("redirections", ["| true", ">/dev/full", ">&-", "2>&-"])
def test_a_refusal_keeps_its_code(world, redirections):
    """A usage error is code 2, and neither a bug nor a traceback, where it can not be printed."""
    ended = typed(world, redirections, *REFUSED)

    assert ended.stdout.splitlines()[-1] == "2"
    assert "Traceback" not in ended.stderr


def test_an_answer_that_can_not_be_written_is_code_23(world):
    """Whoever asked for it did not get it; the run itself is published, and one sentence says both."""
    ended = typed(world, ">/dev/full", *RUN, "-q")

    assert ended.stdout.splitlines()[-1] == "23"
    assert ended.stderr.startswith("error[E-STORAGE-STDOUT]: the command is done, but its answer can not be written")
    assert world.path(f"{OUTPUTS}/{DAY}").is_symlink()


def test_help_has_code_0_when_nobody_reads_on(world):
    """`batchscore run --help | true` is no failure."""
    assert typed(world, "| true", "run", "--help").stdout.splitlines()[-1] == "0"


def test_no_file_of_a_run_takes_the_number_of_a_closed_stream(world):
    """What a library prints on descriptor 2 goes nowhere, and not into a part."""
    code = (
        "import os, sys; sys.argv = ['batchscore', '--version']\n"
        "from batchscore.cli import main\n"
        "try: main()\n"
        "except SystemExit: os.write(9, os.readlink('/proc/self/fd/2').encode())\n"
    )
    done = subprocess.run(
        ["bash", "-c", 'exec 9>&1; "$@" 2>&-', "bash", sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        cwd=Path(world.root),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.endswith(os.devnull)
