"""The tables of docs/performance.md: each stands between two markers and is written anew when its case was run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases import PEERS, PEERS_PYTHON, Contender, Work
from benchmarks.rounds import Results

VERSIONS = "numpy pandas polars pyarrow scikit-learn scipy joblib dask distributed mlflow-skinny batchscore".split()  # noqa: SIM905
_GIB = 2**30


def table(results: Results, rounds: int) -> str:
    """Return a case's block: its title, its conditions, its table."""
    case = results.case
    body = _ratios(results) if len(case.works) == 1 else _slopes(results)
    absent = [f"Not measured: {_title(results, name)}, which {why}." for name, why in results.absent.items()]
    differs = [f"Other scores: {_title(results, name)}: {what}." for name, what in results.differs.items()]
    return "\n".join(
        [f"### {case.title[:1].upper()}{case.title[1:]}", "", conditions(rounds), "", *body, *absent, *differs]
    )


def write(page: Path, blocks: dict[str, str]) -> None:
    """Put blocks between their markers; those that the page does not have yet come at its end."""
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    for name, block in blocks.items():
        marked = f"<!-- bench:{name} -->\n{block}\n<!-- end:{name} -->"
        pattern = re.compile(rf"<!-- bench:{name} -->.*?<!-- end:{name} -->", flags=re.DOTALL)
        found = pattern.search(text)
        text = pattern.sub(lambda _: marked, text) if found else f"{text.rstrip()}\n\n{marked}\n"  # noqa: B023
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def conditions(rounds: int) -> str:
    """Say when, on what, with what, and how."""
    now = datetime.now(tz=UTC).strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    return (
        f"{now}, {_cpu()}, {os.cpu_count()} cores, {_memory():.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}; medians of {rounds} alternating rounds; load average {load:.1f}; "
        f"commit {_git('rev-parse', '--short', 'HEAD')}{'+' if _git('status', '--porcelain') else ''}."
    )


def versions() -> str:
    """Return one line with the versions in both environments."""
    ours, theirs = _versions(sys.executable), _versions(str(PEERS_PYTHON))
    return f"Versions: {ours}.\nOf the peers: {theirs or 'not installed'}."


def _ratios(results: Results) -> list[str]:
    [work] = results.case.works
    reference = results.case.contenders[0]
    lines = [
        f"| contender | x wall | x CPU | x memory | wall s | CPU s | memory MiB | scores as {reference.name} |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for who in _measured(results):
        ratios = (f"{results.ratio(who, work, what):.2f}" for what in ("wall", "cpu", "memory"))
        seconds = (f"{results.median(who, work, what):.2f}" for what in ("wall", "cpu"))
        memory = f"{results.median(who, work, 'memory') / 2**20:.0f}"
        same = "**no**" if who.name in results.differs else "every bit"
        lines.append(f"| {who.title} | {' | '.join((*ratios, *seconds, memory, same))} |")
    return [*lines, ""]


def _slopes(results: Results) -> list[str]:
    case = results.case
    scale, unit = (1e9, "ns") if case.unit == "row" else (1e3, "ms")
    works = " | ".join(f"{_short(work)}: wall s, CPU s, MiB" for work in case.works)
    costs = " | ".join(f"{what} {unit} per further {case.unit}" for what in ("wall", "CPU"))
    lines = [f"| contender | {works} | {costs} | x wall | x memory |", "|---|" + "---:|" * (len(case.works) + 4)]
    less, more = case.works
    for who in _measured(results):
        cells = [_three(results, who, work) for work in case.works]
        cells += [f"{scale * results.further(who, what):.1f}" for what in ("wall", "cpu")]
        cells += [f"{results.ratio(who, more, what):.2f}" for what in ("wall", "memory")]
        lines.append(f"| {who.title} | {' | '.join(cells)} |")
    grown = (
        f"{who.title}: {results.median(who, more, 'memory') / results.median(who, less, 'memory'):.2f}"
        for who in _measured(results)
    )
    return [*lines, "", f"Memory of the second against the first: {'; '.join(grown)}.", ""]


def _three(results: Results, who: Contender, work: Work) -> str:
    wall, cpu = (f"{results.median(who, work, what):.2f}" for what in ("wall", "cpu"))
    return f"{wall}, {cpu}, {results.median(who, work, 'memory') / 2**20:.0f}"


def _short(work: Work) -> str:
    return f"{work.rows / 1e6:g} M rows in {work.files:,} files"


def _measured(results: Results) -> list[Contender]:
    return [who for who in results.case.contenders if who.name not in results.absent]


def _title(results: Results, name: str) -> str:
    return next(who.title for who in (*results.case.contenders, *PEERS) if who.name == name)


def _versions(python: str) -> str:
    code = (
        "import sys, importlib.metadata as m\n"
        "have = {d.metadata['name'].lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(', '.join(f'{name} {have[name]}' for name in sys.argv[1:] if name in have))"
    )
    if not Path(python).exists():
        return ""
    done = subprocess.run([python, "-c", code, *VERSIONS], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return done.stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
