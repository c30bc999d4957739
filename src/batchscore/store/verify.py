"""Verification: what lies there is what was published, byte for byte, back to the first commit of the date."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from batchscore.errors import BatchscoreError, StateDamaged
from batchscore.store import layout
from batchscore.store.commits import Commit, commit_numbers, read_commit
from batchscore.store.held import held_runs
from batchscore.store.read import Published, not_published
from batchscore.store.root import Root
from batchscore.store.sealed import read_sealed


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was published."""

    path: str
    """The file, as a person writes it."""
    fact: str
    """What is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification looked at and found."""

    date: str
    """The date."""
    revisions: int
    """Commits of the date."""
    files: int
    """Files that were hashed."""
    bytes: int
    """Bytes that were hashed."""
    problems: tuple[Problem, ...]
    """What is wrong, in the order of the paths; empty when all is as it was published."""


@dataclass(frozen=True, kw_only=True)
class _Expected:
    key: str
    sha256: str


def verify(root: Root, date: str, *, threads: int | None = None) -> Verification:
    """Hash every file of every revision and held run of a date, and walk the chain of its commits.

    Args:
        root: The output root.
        date: The date, ISO.
        threads: Files hashed at once; by default one for each CPU, at least 2.

    Raises:
        UsageError: When the date was never published: nothing of it is there, or only held runs, and those are sound.
    """
    problems: list[Problem] = []
    chain = _walk(root, date, problems)
    waiting = _held(root, date, problems)
    expected = [file for commit in (*chain, *waiting) for file in _run_files(root, commit, problems)]
    # When the newest record can not be read, what the date must show is unknown, and that record is named already.
    if chain and chain[-1].number == commit_numbers(root, date)[-1]:
        expected += _projection(root, date, chain, problems)
    with ThreadPoolExecutor(threads or max(2, os.cpu_count() or 2)) as pool:
        sizes = list(pool.map(lambda file: _check(root, file, problems), expected))
    if not chain and not problems:
        raise not_published(root, date)
    if any(problem.path.startswith(root.shown(f"{date}/")) for problem in problems):
        problems += _unfinished(root, chain[-1])
    return Verification(
        date=date,
        revisions=len(chain),
        files=len(expected),
        bytes=sum(sizes),
        problems=tuple(sorted(set(problems), key=lambda problem: (problem.path, problem.fact))),
    )


def _walk(root: Root, date: str, problems: list[Problem]) -> list[Commit]:
    """Read the commits, each against the digest that the next one holds of it."""
    numbers = commit_numbers(root, date)
    if numbers or root.list(layout.held(date)):
        _sound(root, layout.PIPELINE, problems)
    chain: list[Commit] = []
    for before, number in zip((0, *numbers), numbers, strict=False):
        if number != before + 1:
            problems.append(Problem(path=root.shown(layout.commit(date, before + 1)), fact="it is missing"))
        shown = root.shown(layout.commit(date, number))
        try:
            commit = read_commit(root, date, number)
        except StateDamaged as error:
            problems.append(Problem(path=shown, fact=_fact(error)))
            continue
        if (commit.date, commit.number) != (date, number):
            problems.append(Problem(path=shown, fact="it is the record of another date or revision"))
        parent = chain[-1].sha256 if chain and chain[-1].number == number - 1 else None
        if commit.parent_sha256 != parent and (parent or number == 1):
            problems.append(Problem(path=shown, fact="it does not follow from the commit before it"))
        chain.append(commit)
    if not numbers and _was_published(root, date):
        problems.append(Problem(path=root.shown(layout.commits(date)), fact="there is no commit record"))
    problems += _strangers(root, layout.commits(date), _is_commit)
    return chain


def _was_published(root: Root, date: str) -> bool:
    """Whether a date without a commit record shows something all the same, or has runs that were not held."""
    runs = {name for name in root.folders(layout.RUNS) if name.startswith(f"{date}-")}
    if root.occupied(date) or not runs:
        return root.occupied(date)
    try:
        return not runs <= {run.commit.run for run in held_runs(root, date)}
    except StateDamaged:
        return False  # it is named as what it is


def _held(root: Root, date: str, problems: list[Problem]) -> list[Commit]:
    problems += _strangers(root, layout.held(date), _is_held)
    for entry in root.list(layout.held(date)):
        if _is_held(entry.key):
            _sound(root, entry.key, problems)
    try:
        return [run.commit for run in held_runs(root, date) if run.state == "open"]
    except StateDamaged:
        return []  # named already


def _is_commit(key: str) -> bool:
    return layout.number(key) is not None


def _is_held(key: str) -> bool:
    return layout.number(key) is not None or layout.verdict(key) is not None


def _sound(root: Root, key: str, problems: list[Problem]) -> None:
    try:
        read_sealed(root, key)
    except (StateDamaged, FileNotFoundError) as error:
        problems.append(Problem(path=root.shown(key), fact=_fact(error)))


def _strangers(root: Root, folder: str, known: Callable[[str], bool]) -> Iterator[Problem]:
    """Find files that do not belong in a folder; private ones that a kill left behind are garbage, not changes."""
    for entry in root.list(folder):
        if not known(entry.key) and not entry.key.rsplit("/", 1)[-1].startswith(layout.TEMPORARY):
            yield Problem(path=root.shown(entry.key), fact="it does not belong there")


def _run_files(root: Root, commit: Commit, problems: list[Problem]) -> list[_Expected]:
    """Return what a run must consist of, and name what is there beyond that."""
    declared = {name: commit.document_sha256(name) for name in layout.DOCUMENTS}
    try:
        manifest = Published(root, commit).document(layout.MANIFEST)
        declared |= {path: sha256 for path, (sha256, _) in layout.published_files(manifest).items()}
    except StateDamaged as error:
        problems.append(Problem(path=root.shown(layout.run(commit.run, layout.MANIFEST)), fact=_fact(error)))
        return _expected(layout.run(commit.run), declared)
    expected = _expected(layout.run(commit.run), declared)
    keys = {file.key for file in expected}
    problems += [
        Problem(path=root.shown(entry.key), fact="it was not published")
        for entry in root.list(layout.run(commit.run))
        if entry.key not in keys
    ]
    return expected


def _expected(folder: str, declared: dict[str, str]) -> list[_Expected]:
    return [_Expected(key=f"{folder}/{path}", sha256=sha256) for path, sha256 in sorted(declared.items())]


def _projection(root: Root, date: str, chain: list[Commit], problems: list[Problem]) -> list[_Expected]:
    """Check that the date shows its newest commit; where the projection is a copy, return what it must consist of."""
    newest = chain[-1]
    try:
        shown = root.projected(date)
    except BatchscoreError as error:
        shown = _fact(error)
    if shown and _is_of_a_lost_commit(root, chain, shown):
        fact = f"it is missing: the date shows the run {shown}, which no commit record names"
        problems.append(Problem(path=root.shown(layout.commit(date, newest.number + 1)), fact=fact))
        return []
    if shown != newest.run:
        problems.append(Problem(path=root.shown(date), fact=f"it does not show the newest commit, {newest.number}"))
        return []
    if not root.flat:
        return []
    prefix = layout.run(newest.run)
    copies = [
        _Expected(key=f"{date}{file.key.removeprefix(prefix)}", sha256=file.sha256)
        for file in _run_files(root, newest, [])
    ]
    keys = {file.key for file in copies}
    problems += [
        Problem(path=root.shown(entry.key), fact="it was not published")
        for entry in root.list(date)
        if entry.key not in keys
    ]
    return copies


def _is_of_a_lost_commit(root: Root, chain: list[Commit], name: str) -> bool:
    """Whether a run is there that no commit names, though all up to the newest are read: it was shown after its own."""
    is_named = name in {commit.run for commit in chain}
    return not is_named and len(chain) == chain[-1].number and bool(root.list(layout.run(name)))


def _unfinished(root: Root, newest: Commit) -> Iterator[Problem]:
    """Name what may have changed the date since its newest commit was copied there; running again mends that."""
    for note in sorted(root.projecting(newest.date, besides=newest.run)):
        fact = "a copy of another revision to the date has not ended; `batchscore run` copies the newest one again"
        yield Problem(path=root.shown(note), fact=fact)


def _check(root: Root, file: _Expected, problems: list[Problem]) -> int:
    found: tuple[str, int] | None = None
    for _ in range(root.reads):
        try:
            found = root.digest(file.key)
        except FileNotFoundError:
            problems.append(Problem(path=root.shown(file.key), fact="it is missing"))
            return 0
        except StateDamaged as error:
            problems.append(Problem(path=root.shown(file.key), fact=_fact(error)))
            return 0
        if found[0] == file.sha256:
            return found[1]
    problems.append(Problem(path=root.shown(file.key), fact="its bytes are not those that were published"))
    return found[1] if found else 0


def _fact(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    _, newer, rest = str(error).partition(" has format version ")
    return f"it has format version {rest}" if newer else str(error).rpartition(" is damaged: ")[2]
