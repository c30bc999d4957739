"""`python -m benchmarks`: measure against the hand-written loop and the peers, and write docs/performance.md."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks import page
from benchmarks.cases import CASES, PEERS, ROOT, USUAL, Case, Work
from benchmarks.rounds import install_peers, run_case, say

SMALL_LOAD = 1.0
"""Above this load average other work disturbs the measurement, and that is said."""


def main() -> None:
    """Run the chosen cases, print each table as soon as it is known, and write it."""
    given = _parse()
    absent = {} if given.no_peers else install_peers()
    page.write(given.page, {"versions": page.versions()})
    for name in given.cases or USUAL:
        case = _changed(CASES[name], rows=given.rows, peers=not given.no_peers)
        results = run_case(case, given.rounds, absent)
        block = page.table(results, given.rounds)
        print(f"\n{block}\n", flush=True)
        page.write(given.page, {name: block})
    shutil.rmtree(ROOT / "out", ignore_errors=True)
    say(f"written: {given.page}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: {' '.join(USUAL)}; all: {' '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--rows", type=int, help="other numbers of rows, to try things out; never written as results")
    parser.add_argument("--no-peers", action="store_true", help="only the loop and batchscore")
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"), help="default: %(default)s")
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in CASES]
    if unknown or given.rounds < 1:
        parser.error(f"no such case: {' '.join(unknown)}" if unknown else "--rounds must be at least 1")
    if given.rows and given.page == Path("docs/performance.md"):
        given.page = ROOT / "performance.md"
    return given


def _changed(case: Case, *, rows: int | None, peers: bool) -> Case:
    """Return a case with other rows, or without the peers."""
    kept = case.contenders if peers else tuple(who for who in case.contenders if who not in PEERS)
    works = tuple(_resized(work, rows) for work in case.works) if rows else case.works
    return replace(case, works=works, contenders=kept)


def _resized(work: Work, rows: int) -> Work:
    return replace(work, rows=rows)


if __name__ == "__main__":
    main()
