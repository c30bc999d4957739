"""`python -m examples.churn`: build the example."""

from __future__ import annotations

import argparse
import time
from datetime import date
from pathlib import Path

from examples.churn.build import Options, build


def main() -> None:
    """Read the arguments, build, and say what was built and how long it took."""
    started = time.monotonic()
    options = _parse()
    for line in build(options) or ["all there already, nothing to build"]:
        print(f"  {line}")
    print(f"churn: {options.root} ready in {time.monotonic() - started:.1f} s")


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m examples.churn", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/churn"), help="the folder to build in")
    parser.add_argument("--date", type=date.fromisoformat, default=date(2026, 2, 8), help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=128_734, help="how many customers (default: %(default)s)")
    parser.add_argument("--files", type=int, default=1, help="more than one: a directory of parts (default: one)")
    parser.add_argument("--model", choices=("logreg", "hgb", "rf"), default="logreg", help="default: %(default)s")
    given = parser.parse_args()
    if given.rows < 0 or given.files < 1:
        parser.error("--rows must not be negative and --files must be at least 1")
    return Options(root=given.out, day=given.date, rows=given.rows, files=given.files, model=given.model)


if __name__ == "__main__":
    main()
