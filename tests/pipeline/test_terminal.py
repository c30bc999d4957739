"""What a person sees at a terminal while a run goes on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

from forked_cli import ROOT
from small_world import CONFIG, DAY


def at_a_terminal(world, *argv: str) -> tuple[int, str]:
    """Run a command line at a terminal of its own; return its code and all that it wrote there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "400"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "batchscore", *argv]
    with subprocess.Popen(command, cwd=world.root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as done:
        os.close(theirs)
        seen = bytearray()
        # An error is how a terminal says that its last writer has gone.
        with contextlib.suppress(OSError):
            while block := os.read(ours, 65536):
                seen += block
        os.close(ours)
    return done.returncode, seen.decode()


def test_log_lines_and_the_bar_stand_on_lines_of_their_own(world):
    """The bar counts rows and not an unknown number, no log line is written behind it, and it is gone at the end."""
    code, seen = at_a_terminal(world, "run", "--config", CONFIG, "--date", DAY)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", seen))
    bars = [line for line in lines if line.startswith("scoring")]

    assert code == 0, seen
    assert [event for event in ("run started", "run ended") if not any(event in line for line in lines)] == []
    assert bars
    assert [bar for bar in bars if "info" in bar or "/300" not in bar] == []
    assert lines[-2].strip().startswith("batchscore replay")
