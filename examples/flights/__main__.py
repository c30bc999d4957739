"""`python -m examples.flights`: build the example."""

from __future__ import annotations

import argparse
import time
from datetime import date, timedelta
from pathlib import Path

from examples.flights.build import FIRST, LAST, Options, build


def main() -> None:
    """Read the arguments, build, and say what was built and how long it took."""
    started = time.monotonic()
    options = _parse()
    built = build(options)
    for line in built or ["all there already, nothing to build"]:
        print(f"  {line}")
    print(f"flights: {options.root} ready in {time.monotonic() - started:.1f} s")


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m examples.flights", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/flights"), help="the folder to build in")
    parser.add_argument(
        "--days", default="2013-01-01..2013-02-28", help="FROM..TO, as in the source (default: %(default)s)"
    )
    parser.add_argument("--all-days", action="store_true", help="the whole of 2013")
    parser.add_argument("--shift-weeks", type=int, default=0, help="move all dates by so many weeks")
    given = parser.parse_args()
    try:
        first, last = (date.fromisoformat(day) for day in given.days.split(".."))
    except ValueError:
        parser.error(f"--days {given.days!r} is not FROM..TO with two ISO dates")
    if given.all_days:
        first, last = FIRST, LAST
    if not FIRST <= first <= last <= LAST:
        parser.error(f"--days {given.days!r} is not a span within 2013")
    return Options(root=given.out, first=first, last=last, shift=timedelta(weeks=given.shift_weeks))


if __name__ == "__main__":
    main()
