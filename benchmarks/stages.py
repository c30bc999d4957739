"""`python -m benchmarks.stages`: where the time of a whole run goes, by stage and by import."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import replace

from benchmarks.cases import CASES, DAY, ENVIRONMENT, ROOT, Work, batchscore
from benchmarks.measure import measure

SHOWN = 12
"""Packages whose import is told by name."""


def main() -> None:
    """Run one case's work once and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("case", nargs="?", default="logreg-4m", choices=CASES, help="default: %(default)s")
    parser.add_argument("--rows", type=int, help="another number of rows")
    given = parser.parse_args()
    work = CASES[given.case].works[-1]
    if given.rows:
        work = replace(work, rows=given.rows)
    work.build()
    for line in [*stages(work), "", *imports(work)]:
        print(line)


def stages(work: Work) -> list[str]:
    """Run it, and say what its metadata.json tells of the time."""
    out = ROOT / "out" / "stages"
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    usage = measure(batchscore(work, out), cwd=work.folder, env=ENVIRONMENT)
    metadata = json.loads((out / DAY.isoformat() / "metadata.json").read_text())
    shutil.rmtree(out)
    run = metadata["stages"]
    parts, workers = metadata["partition_seconds"]["stages"], metadata["workers"]
    outside = usage.wall - sum(seconds for stage, seconds in run.items() if stage != "load")
    lines = [
        f"{work.name}: {usage.wall:.2f} s wall, {usage.cpu:.2f} s CPU, {usage.memory / 2**20:.0f} MiB, {workers} workers",
        "",
        "| stage | wall s | share |",
        "|---|---:|---:|",
    ]
    whole = [(stage, run[stage]) for stage in ("resolve", "cluster", "score", "reduce", "publish")]
    lines += [_line(name, spent, usage.wall) for name, spent in [*whole, ("start, imports and end, outside", outside)]]
    total = sum(parts.values())
    lines += ["", f"| within score, summed over {workers} workers | s | ns a row | share |", "|---|---:|---:|---:|"]
    lines += [
        f"| {stage} | {spent:.2f} | {1e9 * spent / work.rows:.0f} | {100 * spent / total:.0f} % |"
        for stage, spent in sorted(parts.items(), key=lambda item: -item[1])
    ]
    return lines


def imports(work: Work) -> list[str]:
    """Run it again under `-X importtime`, and sum each package's own time."""
    out = ROOT / "out" / "imports"
    shutil.rmtree(out, ignore_errors=True)
    python, *rest = batchscore(work, out)
    done = subprocess.run(  # noqa: S603 - this very interpreter
        [python, "-X", "importtime", *rest],
        cwd=work.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.rmtree(out)
    spent = own_microseconds(done.stderr)
    lines = [f"| import of (all: {sum(spent.values()) / 1e6:.2f} s, slowed by being measured) | own ms |", "|---|---:|"]
    return lines + [f"| {name} | {spent[name] / 1e3:.0f} |" for name, _ in spent.most_common(SHOWN)]


def own_microseconds(said: str) -> Counter[str]:
    """Sum the lines of `-X importtime` by package: what is imported itself, without what it imports."""
    spent: Counter[str] = Counter()
    for line in said.splitlines():
        if line.startswith("import time:") and "self [us]" not in line:
            own, _, name = line.removeprefix("import time:").split("|")
            spent[name.strip().partition(".")[0]] += int(own)
    return spent


def _line(name: str, spent: float, whole: float) -> str:
    return f"| {name} | {spent:.2f} | {100 * spent / whole:.0f} % |"


if __name__ == "__main__":
    main()
