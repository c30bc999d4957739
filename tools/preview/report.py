"""The report of the storm in the flights example, as `batchscore report` writes it, photographed.

What differs from run to run (the run's number, its times) is set, so that the picture is the same each time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from batchscore.answers.proving import report
from batchscore.store import Published
from batchscore.text import Given
from examples.flights import build as example
from tools.preview.browser import photograph

STORM = dt.date(2013, 2, 8)
FRIDAYS = [STORM - dt.timedelta(weeks=weeks) for weeks in range(5, 0, -1)]
WIDTH, HEIGHT = 900, 3900
SET: dict[str, Any] = {
    "run_id": "5f" * 16,
    "started_at": "2013-02-09T02:15:04+00:00",
    "ended_at": "2013-02-09T02:15:07+00:00",
    "execution_time_sec": 2.9,
    "stages": {"resolve": 0.6, "cluster": 0.0, "load": 0.8, "score": 1.2, "reduce": 0.2, "publish": 0.4},
}
"""What a clock and chance gave."""


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
    write_report(folder, folder / "report.html")
    photograph(folder, "report.html", picture, width=WIDTH, height=HEIGHT)


def write_report(folder: Path, path: Path) -> None:
    """Write the storm's report of an example that was run, with the run's number and times set."""
    read = Published.document

    def document(published: Published, name: str) -> dict[str, Any]:
        found = read(published, name)
        return found | SET if name == "metadata.json" else found

    with contextlib.chdir(folder), mock.patch.object(Published, "document", document):
        report(Given(files=(example.CONFIG,)), STORM.isoformat(), history=False, output=str(path), runbooks=None)


def _batchscore(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "batchscore", *words, f"--config={example.CONFIG}"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
