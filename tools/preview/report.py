"""The report of the storm in the flights example, as `batchscore report` writes it, photographed."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

from examples.flights import build as example
from tools.preview.browser import photograph

STORM = dt.date(2013, 2, 8)
FRIDAYS = [STORM - dt.timedelta(weeks=weeks) for weeks in range(5, 0, -1)]
WIDTH, HEIGHT = 900, 3900


def draw_report(folder: Path, picture: Path) -> None:
    """Score five Fridays and the storm against the profile of January's, and draw the storm's report.

    Args:
        folder: An empty folder for the example.
        picture: The file to write.
    """
    options = example.Options(root=folder, first=FRIDAYS[0], last=STORM, shift=dt.timedelta())
    example.build(options)
    for date in FRIDAYS:
        _batchscore(folder, "run", f"--date={date}", "--run-type=scheduled", "--by=cron")
    span = ("--from=2013-01-01", "--to=2013-01-31", "--name=january", "--version=1")
    made = json.loads(_batchscore(folder, "reference", "create", *span, "--output=january.json", "--json"))
    pin = (f"--set=drift.reference.path={made['path']}", f"--set=drift.reference.sha256={made['sha256']}")
    drift = (*pin, "--set=drift.min_rows=100")
    _batchscore(folder, "run", f"--date={STORM}", "--run-type=scheduled", "--by=cron", *drift)
    _batchscore(folder, "report", f"--date={STORM}", "--output=report.html")
    photograph(folder, "report.html", picture, width=WIDTH, height=HEIGHT)


def _batchscore(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "batchscore", *words, f"--config={example.CONFIG}"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
