"""Peak memory of whole runs of the churn example, by number of rows: `python -m benchmarks.memory [ROWS ...]`.

Each run is a fresh process of the command line, with all checks, digests and statistics; its peak is what the kernel
says of it when it has ended.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import date
from pathlib import Path

from examples.churn.build import Options, build

DAY = date(2026, 2, 8)
ROWS = (1_000_000, 10_000_000)
ROWS_PER_FILE = 500_000


def main() -> None:
    """Build, run and print one line per number of rows, the peak also as a ratio to the first."""
    first = None
    for rows in [int(each) for each in sys.argv[1:]] or ROWS:
        folder = Path(f"build/bench/churn-{rows}")
        build(Options(root=folder, day=DAY, rows=rows, files=-(-rows // ROWS_PER_FILE), model="logreg"))
        seconds, peak = run(folder)
        first = first or peak
        print(f"{rows:>12,} rows  {seconds:7.1f} s  peak {peak / 2**20:7.0f} MiB  x {peak / first:.2f}", flush=True)


def run(folder: Path) -> tuple[float, int]:
    """Score the folder's snapshot into an output root of its own; return wall seconds and peak bytes."""
    outputs = Path(f"outputs-{time.time_ns()}")
    line = [sys.executable, "-m", "batchscore", "run", "-q", "--config", "config/churn.yaml", "--date", DAY.isoformat()]
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(sys.executable, [*line, "--set", f"output.path={outputs}"])  # noqa: S606 - no shell is wanted
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"the run ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
