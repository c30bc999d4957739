"""Alternating rounds: everybody does all work once in each, so that a machine that gets slower hurts all alike."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import ENVIRONMENT, PEERS_PYTHON, ROOT, Case, Contender, Work
from benchmarks.measure import CommandFailed, Usage, measure
from benchmarks.outputs import Output, difference, look_at
from examples.churn.build import MODEL

_PLACES = ROOT / "out"


@dataclass
class Results:
    """What one case came to."""

    case: Case
    usages: dict[tuple[str, str], list[Usage]] = field(default_factory=lambda: defaultdict(list))
    """By contender and work, one for each round."""
    differs: dict[str, str] = field(default_factory=dict)
    """Contenders whose scores are not the reference's, and in what."""
    absent: dict[str, str] = field(default_factory=dict)
    """Contenders that could not run, and why."""

    def median(self, who: Contender, work: Work, what: str) -> float:
        """Return the median of one quantity over the rounds."""
        return statistics.median(getattr(each, what) for each in self.usages[who.name, work.name])

    def ratio(self, who: Contender, work: Work, what: str) -> float:
        """Return the median, over the rounds, of a quantity's ratio to the reference's in the same round."""
        mine, reference = self.usages[who.name, work.name], self.usages[self.case.contenders[0].name, work.name]
        return statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(mine, reference, strict=True))

    def further(self, who: Contender, what: str) -> float:
        """Return the median cost of one unit more, with two works."""
        less, more = (self.usages[who.name, work.name] for work in self.case.works)
        pairs = zip(less, more, strict=True)
        return statistics.median((getattr(b, what) - getattr(a, what)) / self.case.more for a, b in pairs)


def run_case(case: Case, rounds: int, absent: dict[str, str]) -> Results:
    """Build the work, let everybody do it once unmeasured and compare the outputs, then measure."""
    results = Results(case=case, absent={who.name: absent[who.name] for who in case.contenders if who.name in absent})
    for work in case.works:
        say(f"{case.name}: building {work.name}")
        work.build()
    runners = [who for who in case.contenders if who.name not in results.absent]
    for work in case.works:
        outputs: dict[str, Output] = {}
        for who in list(runners):
            try:
                _once(who, work, keep=True)
                outputs[who.name] = look_at(_place(who, work) / who.scores)
            except CommandFailed as error:
                if who in case.contenders[:2]:
                    raise
                results.absent[who.name] = f"it fails: {str(error).splitlines()[-1]}"
                runners.remove(who)
        _compare(case, work, outputs, results)
        shutil.rmtree(_PLACES)
    for number in range(rounds):
        for work in case.works:
            for who in runners[number % len(runners) :] + runners[: number % len(runners)]:
                usage = _once(who, work)
                results.usages[who.name, work.name].append(usage)
                say(
                    f"{case.name} {number + 1}/{rounds} {work.name:<22} {who.name:<10} {usage.wall:7.2f} s"
                    f"  CPU {usage.cpu:7.2f} s  {usage.memory / 2**20:6.0f} MiB"
                )
    return results


def say(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def install_peers() -> dict[str, str]:
    """Install the peers' locked packages in an environment of their own; return the peers that are not there, and why.

    Needs the project's environment, and the registry that the machine is set up for.
    """
    from benchmarks.cases import PEERS

    failed = _install() if not (ROOT / "venv/.ready").exists() else ""
    absent = {}
    for peer in PEERS:
        if not PEERS_PYTHON.exists():
            absent[peer.name] = failed
            continue
        found = _quietly([str(PEERS_PYTHON), "-c", f"import {peer.needs}"])
        if found:
            absent[peer.name] = f"{failed} {found}".strip()
    for name, why in absent.items():
        say(f"NOT MEASURED: {name}: {why}")
    return absent


def _install() -> str:
    """Make the peers' environment; return what went wrong."""
    say("installing the peers in build/bench/venv")
    uv = str(Path(sys.executable).with_name("uv"))
    sync = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
    steps = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ROOT / "venv")],
        [*sync, "--python", str(PEERS_PYTHON), "requirements/bench.txt"],
    )
    for step in steps:
        if failed := _quietly(step):
            return f"could not be installed: {failed}"
    (ROOT / "venv/.ready").touch()
    return ""


def _quietly(command: list[str]) -> str:
    """Run a command; return the last line of what it said when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file's commands
    return "" if not done.returncode else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def _once(who: Contender, work: Work, *, keep: bool = False) -> Usage:
    if who.name == "mlflow":
        _save_for_mlflow(work)
    place = _place(who, work)
    place.parent.mkdir(parents=True, exist_ok=True)
    cwd = work.folder if who.scores else None
    usage = measure(who.command(work, place), cwd=cwd, env=ENVIRONMENT)
    if not keep:
        shutil.rmtree(place)
    return usage


def _save_for_mlflow(work: Work) -> None:
    folder = work.folder / "mlflow"
    if not folder.exists():
        save = ["benchmarks/contenders/mlflow_pyfunc.py", "--save", str(work.folder / MODEL), str(folder)]
        if failed := _quietly([str(PEERS_PYTHON.absolute()), *save]):
            raise CommandFailed(f"the model could not be saved: {failed}")


def _place(who: Contender, work: Work) -> Path:
    return _PLACES / f"{work.name}-{who.name}"


def _compare(case: Case, work: Work, outputs: dict[str, Output], results: Results) -> None:
    reference = outputs[case.contenders[0].name]
    for name, output in outputs.items():
        if found := difference(reference, output):
            results.differs[name] = f"{results.differs[name]}; {found}" if name in results.differs else found
            say(f"{case.name}: the scores of {name} are not the reference's on {work.name}: {found}")
