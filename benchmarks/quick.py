"""`python -m benchmarks.quick`: this tree against an earlier commit, in alternating rounds, within three minutes.

Both run in this environment, each with its own `PYTHONPATH`; what they publish is compared byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cases import DAY, ENVIRONMENT, ROOT, Work, batchscore
from benchmarks.measure import Usage, measure

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKS = (Work(rows=300_000, files=6, model="logreg"), Work(rows=100_000, files=2, model="hgb"))
SOURCES = ("*.c", "*.h", "*.pyx")
"""What extensions are compiled from."""


def main() -> None:
    """Measure both trees and print the ratios; end with 1 when they publish other bytes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--base", default="HEAD~1", help="the commit to compare with (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    here = Path.cwd()
    for work in WORKS:
        work.build()
    with worktree(given.base) as base:
        trees = {given.base: base, "this tree": here}
        for name, tree in trees.items():
            check_imported_from(tree, name)
        for line in borrow_extensions(here, base, given.base):
            print(line)
        different = [line for work in WORKS for line in compare(work, trees, given.rounds)]
    for line in different:
        print(line)
    raise SystemExit(bool(different))


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """Check a commit out, apart from this tree, and remove it in the end."""
    folder = (ROOT / "base").absolute()
    _git("worktree", "prune")
    if folder.exists():
        shutil.rmtree(folder)
        _git("worktree", "prune")
    ROOT.mkdir(parents=True, exist_ok=True)
    _git("worktree", "add", "--quiet", "--detach", str(folder), revision)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def check_imported_from(tree: Path, name: str) -> None:
    """See that a run would take its code from `tree`, not from the installed package."""
    code = "import batchscore, sys; sys.exit(batchscore.__file__)"
    done = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], env={**os.environ, **_path(tree)}, capture_output=True, text=True, check=False
    )
    if not Path(done.stderr.strip()).is_relative_to(tree):
        raise SystemExit(f"{name} would run {done.stderr.strip()}, which is not of {tree}")


def borrow_extensions(here: Path, base: Path, revision: str) -> list[str]:
    """Give the base the extensions that are built here when their sources are the same; say what runs without."""
    built = sorted((here / "src").rglob("*.so"))
    if not built:
        return []
    changed = ["git", "diff", "--quiet", revision, "--", *SOURCES]
    same = subprocess.run(changed, check=False)  # noqa: S603 - git
    if same.returncode:
        return [f"note: {revision} runs without its compiled extensions, whose sources have changed since"]
    for path in built:
        target = base / path.relative_to(here)
        if target.parent.is_dir():
            shutil.copy2(path, target)
    return []


def compare(work: Work, trees: dict[str, Path], rounds: int) -> list[str]:
    """Measure both trees on one work, print the ratios, and return what they publish differently."""
    usages: dict[str, list[Usage]] = {name: [] for name in trees}
    found: dict[str, dict[str, str]] = {}
    for number in range(rounds + 1):
        for name in list(trees)[:: 1 if number % 2 else -1]:
            usage, found[name] = _run(work, trees[name])
            if number:  # the first round warms caches up
                usages[name].append(usage)
    old, new = usages.values()
    print(f"{work.name}: this tree against {next(iter(trees))}, medians of {rounds} alternating rounds")
    for what in ("wall", "cpu", "memory"):
        ratio = statistics.median(getattr(b, what) / getattr(a, what) for a, b in zip(old, new, strict=True))
        before, after = (statistics.median(getattr(each, what) for each in side) for side in (old, new))
        scale = 2**20 if what == "memory" else 1
        print(f"  {what:<7} x {ratio:5.2f}   {before / scale:8.2f} → {after / scale:8.2f}", flush=True)
    first, second = found.values()
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return [f"{work.name}: other bytes are published in {', '.join(names)}"] if names else []


def _run(work: Work, tree: Path) -> tuple[Usage, dict[str, str]]:
    """Run once; return what it took, and the sha256 of all that is the same on every execution."""
    out = ROOT / "out" / f"quick-{work.name}"
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    usage = measure(batchscore(work, out), cwd=work.folder, env={**ENVIRONMENT, **_path(tree)})
    published = (out / DAY.isoformat()).resolve()
    files = [path for path in sorted(published.rglob("*")) if path.is_file() and path.name != "metadata.json"]
    digests = {str(path.relative_to(published)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    shutil.rmtree(out)
    return usage, digests


def _path(tree: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(tree / "src")}


def _git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)  # noqa: S603, S607


if __name__ == "__main__":
    main()
