"""`python -m benchmarks.verify`: how fast `batchscore verify` hashes, against sha256 alone; writes docs/performance.md.

A published date of 1 M rows and one of 50 M; the cost of a byte is what the second takes longer, over its bytes more,
so that the start of a process does not count. Both read from the page cache, in turns.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks import page
from benchmarks.cases import DAY, ENVIRONMENT, ROOT, Work, batchscore
from benchmarks.measure import measure
from benchmarks.rounds import say

ROUNDS = 5
WORKS = tuple(Work(rows=millions * 1_000_000, files=10 * millions, model="logreg") for millions in (1, 50))
THREADS = (1, 2)
ALONE = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    list(pool.map(digest, sorted(path for path in Path(sys.argv[2]).rglob("*") if path.is_file())))
"""


def main() -> None:
    """Publish both dates, measure, and write the table."""
    for work in WORKS:
        _publish(work)
    less, more = (_bytes(work) for work in WORKS)
    seconds: dict[str, list[float]] = {name: [] for name in _commands(WORKS[0])}
    for number in range(ROUNDS):
        for name, taken in seconds.items():
            first, second = (_wall(_commands(work)[name], work) for work in WORKS)
            taken.append(second - first)
            say(f"verify {number + 1}/{ROUNDS} {name:<22} {first:6.2f} s {second:6.2f} s")
    speeds = {name: [(more - less) / 1e6 / each for each in taken] for name, taken in seconds.items()}
    block = "\n".join(
        [
            "### Verify, against sha256 alone",
            "",
            page.conditions(ROUNDS),
            f"A date of {less / 1e6:.0f} MB and one of {more / 1e6:.0f} MB, in the page cache; speed is of the bytes that the second has more.",
            "",
            "| command | MB/s | verify's speed by this one's |",
            "|---|---:|---:|",
            *(f"| {name} | {statistics.median(each):.0f} | {_ratio(speeds, name)} |" for name, each in speeds.items()),
        ]
    )
    print(f"\n{block}\n")
    page.write(Path("docs/performance.md"), {"verify": block})


def _ratio(speeds: dict[str, list[float]], name: str) -> str:
    pairs = zip(speeds["`batchscore verify`"], speeds[name], strict=True)
    return f"{statistics.median(ours / theirs for ours, theirs in pairs):.2f}"


def _outputs(work: Work) -> Path:
    return (ROOT / "verify" / work.name).resolve()


def _publish(work: Work) -> None:
    work.build()
    if not (_outputs(work) / DAY.isoformat()).exists():
        say(f"verify: publishing {work.name}")
        measure(batchscore(work, _outputs(work)), cwd=work.folder, env=ENVIRONMENT)


def _bytes(work: Work) -> int:
    return sum(path.stat().st_size for path in _folder(work).rglob("*") if path.is_file())


def _folder(work: Work) -> Path:
    return (_outputs(work) / DAY.isoformat()).resolve()


def _commands(work: Work) -> dict[str, list[str]]:
    options = ["--config", "config/churn.yaml", "--date", DAY.isoformat(), "--set", f"output.path={_outputs(work)}"]
    return {
        "`batchscore verify`": [sys.executable, "-m", "batchscore", "verify", *options],
        **{
            f"sha256 alone, {count} thread{'s' * (count > 1)}": [
                sys.executable,
                "-c",
                ALONE,
                str(count),
                str(_folder(work)),
            ]
            for count in THREADS
        },
    }


def _wall(command: list[str], work: Work) -> float:
    return measure(command, cwd=work.folder, env=ENVIRONMENT).wall


if __name__ == "__main__":
    main()
