"""Held runs: complete, unpublished, and waiting for a person to release or discard them.

`held/<date>/000001.json` holds the commit that would publish the run; a verdict is a file beside it.
The commit is the truth: a run whose commit exists is released, whatever verdict lies there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from batchscore.errors import OutputExists, UsageError
from batchscore.store import layout
from batchscore.store.commits import Commit, commit_from, commits, head
from batchscore.store.publish import Publication, acknowledge, build, check_files, record
from batchscore.store.root import Root
from batchscore.store.sealed import put_once, read_sealed, seal

State = Literal["open", "released", "discarded"]


@dataclass(frozen=True, kw_only=True)
class HeldRun:
    """A run that a gate refused to publish."""

    number: int
    """Its number within the date, from 1."""
    commit: Commit
    """What would publish it."""
    why: str
    """What the gate said, in one sentence."""
    gates: tuple[Mapping[str, Any], ...]
    """The gates' verdicts with their numbers, as in metadata.json."""
    state: State
    """Whether it still waits."""

    @property
    def remedy(self) -> str:
        """What ends its waiting."""
        return "`batchscore release` publishes it, `batchscore discard` drops it"


def waiting(runs: Iterable[HeldRun], input_id: str) -> HeldRun | None:
    """Return the run of the same inputs that waits to be released or discarded; None when there is none."""
    return next((run for run in runs if run.state == "open" and run.commit.input_id == input_id), None)


def hold(root: Root, publication: Publication, parent: Commit | None, *, why: str, gates: tuple[Any, ...]) -> HeldRun:
    """Build a run and set it aside instead of publishing it.

    Args:
        root: The output root.
        publication: The run.
        parent: The date's newest commit when the run was decided on.
        why: What the gate said.
        gates: The gates' verdicts.

    Returns:
        The held run: ours, or that of another run of the same plan that waits already.
    """
    commit = build(root, publication, parent)
    while True:
        before = held_runs(root, commit.date)
        other = waiting(before, commit.input_id)
        if other is not None:
            root.delete_folder(layout.run(commit.run))
            return other
        number = before[-1].number + 1 if before else 1
        data = seal({"commit": asdict(commit), "why": why, "gates": list(gates)})
        if put_once(root, layout.held(commit.date, number), data) == data:
            return HeldRun(number=number, commit=commit, why=why, gates=tuple(gates), state="open")


def held_runs(root: Root, date: str) -> tuple[HeldRun, ...]:
    """Return all held runs of a date, oldest first, whatever became of them."""
    keys = [entry.key for entry in root.list(layout.held(date))]
    numbers = sorted(number for key in keys if (number := layout.number(key)) is not None)
    if not numbers:
        return ()
    discarded = {found[0] for key in keys if (found := layout.verdict(key)) and found[1] == "discard"}
    published = {commit.run for commit in commits(root, date)}
    return tuple(_read(root, date, number, discarded, published) for number in numbers)


def release(root: Root, date: str, *, by: str, reason: str) -> Commit:
    """Publish the newest open held run of a date: exactly its bytes, whatever the gates would say now.

    The commit says who released it and why; its type stays that of the run, since that is what was scored.
    Releasing it again finishes what a crash left undone and changes nothing else.

    Raises:
        UsageError: When no run of the date is held.
        OutputExists: When the date was published since the run was held.
    """
    found = held_runs(root, date)
    waiting = [run for run in found if run.state == "open"] or [run for run in found[-1:] if run.state == "released"]
    if not waiting:
        raise _nothing_held(date)
    held = waiting[-1]
    if held.state == "open":
        commit = _publish(root, held, by=by, reason=reason)
    else:
        commit = next(commit for commit in commits(root, date) if commit.run == held.commit.run)
    _say(root, held, "release", by=commit.by, reason=commit.reason or reason)
    return acknowledge(root, commit)


def discard(root: Root, date: str, *, by: str, reason: str) -> HeldRun:
    """Drop the newest open held run of a date; its files stay until garbage collection.

    Raises:
        UsageError: When no run of the date is held.
    """
    waiting = [run for run in held_runs(root, date) if run.state == "open"]
    if not waiting:
        raise _nothing_held(date)
    _say(root, waiting[-1], "discard", by=by, reason=reason)
    return replace(waiting[-1], state="discarded")


def _publish(root: Root, held: HeldRun, *, by: str, reason: str) -> Commit:
    wanted = replace(held.commit, by=by, reason=reason, held=held.number)
    current = head(root, wanted.date)
    if (current.sha256 if current else None) != wanted.parent_sha256:
        raise _overtaken(wanted, current)
    _check_whole(root, wanted)
    first = record(root, wanted)
    if first.run != wanted.run:
        raise _overtaken(wanted, first)
    return first


def _check_whole(root: Root, wanted: Commit) -> None:
    """Hash every file of a held run.

    Raises:
        StateDamaged: When one is missing or not the file that was held.
    """
    fact = "it is not the file that was held"
    documents = ((layout.run(wanted.run, name), wanted.document_sha256(name)) for name in layout.DOCUMENTS)
    check_files(root, documents, fact)
    manifest, _ = read_sealed(root, layout.run(wanted.run, layout.MANIFEST))
    data = layout.published_files(manifest).items()
    check_files(root, ((layout.run(wanted.run, path), sha256) for path, (sha256, _) in data), fact)


def _read(root: Root, date: str, number: int, discarded: set[int], published: set[str]) -> HeldRun:
    content, _ = read_sealed(root, layout.held(date, number))
    commit = commit_from(content["commit"], "")
    state: State = "released" if commit.run in published else "discarded" if number in discarded else "open"
    return HeldRun(number=number, commit=commit, why=content["why"], gates=tuple(content["gates"]), state=state)


def _say(root: Root, held: HeldRun, verdict: str, *, by: str, reason: str) -> None:
    data = seal({"run": held.commit.run, "verdict": verdict, "by": by, "reason": reason})
    put_once(root, layout.held(held.commit.date, held.number, verdict), data)  # one that was said before stands


def _nothing_held(date: str) -> UsageError:
    return UsageError(
        f"no run of {date} is held", slug="NOT-HELD", remedy="`batchscore runs` lists the runs and their states"
    )


def _overtaken(wanted: Commit, current: Commit | None) -> OutputExists:
    now = f"as revision {current.number} by {current.by}" if current else "no more"
    return OutputExists(
        f"{wanted.date} is published {now} since the run was held",
        slug="OVERTAKEN",
        remedy="discard the held run; `run --republish` makes a new one",
    )
