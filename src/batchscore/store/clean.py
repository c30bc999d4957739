"""Garbage collection: what no commit and no held run refers to, once it is old enough to be nobody's any more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from batchscore.store import layout
from batchscore.store.commits import Commit, commits
from batchscore.store.held import held_runs
from batchscore.store.lease import SILENCE
from batchscore.store.publish import roll_forward
from batchscore.store.root import Entry, Root

DAY = 86_400
_CREATED_IN = (
    layout.STAGING,
    layout.COMMITS,
    layout.HELD,
    layout.LEASES,
    layout.PROBES,
    layout.COMPILED,
    layout.TOLD,
)
"""Folders in which a private file may stay behind a kill."""
_ARTIFACT = re.compile(r"([0-9a-f]{64})-")


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """One folder or file that may be removed."""

    key: str
    """Its key."""
    why: str
    """Why it is not needed."""
    bytes: int
    """Bytes of the names in it; on a file system a published run may share them."""
    folder: bool
    """Whether it is a folder."""


def find_garbage(root: Root, *, now: float, days: float, models: Collection[str] | None = None) -> tuple[Garbage, ...]:
    """Return what can be removed, sorted by key; nothing that a commit or an open held run refers to.

    Args:
        root: The output root.
        now: The time, in seconds since the epoch.
        days: How long something that may belong to another run must have been left alone; whatever it
            says, dates whose lease still beats are left alone, and what is of no date is for as long as a lease is.
        models: The sha256 of the models that are still configured; what was compiled from others, and can be compiled
            again, is not needed. None: nothing compiled is garbage.
    """
    before = now - days * DAY
    quiet = min(before, now - SILENCE)
    busy = {_date_in(entry.key) for entry in root.list(layout.LEASES) if entry.modified >= quiet}
    known = {date: commits(root, date) for date in _dates(root)}
    found = [*_work(root, known), *_runs(root, known), *_staging(root), *_leftovers(root), *_projecting(root)]
    found += _compiled(root, models)
    return tuple(
        Garbage(key=key, why=why, bytes=sum(entry.size for entry in entries), folder=folder)
        for key, why, entries, folder in sorted(found, key=lambda item: item[0])
        if entries
        and all(entry.modified < (before if _date_in(key) else quiet) for entry in entries)
        and _date_in(key) not in busy
    )


def collect(root: Root, garbage: Iterable[Garbage]) -> None:
    """Remove garbage; what became referenced since it was found stays.

    Every item is looked at again, since a run may have been committed or released meanwhile.
    Before the note of a copy goes that never ended, the date shows its newest commit once more.
    """
    for item in garbage:
        if item.key.startswith(f"{layout.RUNS}/") and _is_referenced(root, item.key.rsplit("/", 1)[-1]):
            continue
        if item.key.startswith(f"{layout.PROJECTING}/"):
            roll_forward(root, item.key.split("/")[2])
        if item.key.startswith(f"{layout.WORK}/"):
            _remove_work(root, item.key)
        elif item.folder:
            root.delete_folder(item.key)
        else:
            root.delete(item.key)


def prune(root: Root, commit: Commit) -> None:
    """Remove the work of the plan that a commit has published: the run holds all of it."""
    _remove_work(root, layout.work(commit.date, commit.plan_id))


def _remove_work(root: Root, key: str) -> None:
    """Remove the work of one plan, where there is some, and the folder of its date when that was the last."""
    folder, _, plan_id = key.rpartition("/")
    if plan_id in root.folders(folder):
        root.delete_folder(key)
    root.delete_empty(folder)


_Found = tuple[str, str, tuple[Entry, ...], bool]


def _dates(root: Root) -> list[str]:
    work = set(root.folders(layout.WORK)) | set(root.folders(layout.COMMITS)) | set(root.folders(layout.HELD))
    named = work | {name[:10] for name in root.folders(layout.RUNS)}
    return sorted(date for date in named if layout.is_date(date))


def _work(root: Root, known: dict[str, tuple[Commit, ...]]) -> Iterator[_Found]:
    for date, published in known.items():  # of these alone: a run may have begun a date meanwhile
        complete = {commit.plan_id for commit in published} | {run.commit.plan_id for run in held_runs(root, date)}
        for plan_id in root.folders(f"{layout.WORK}/{date}"):
            key = layout.work(date, plan_id)
            why = "its run is complete" if plan_id in complete else "nobody came back to finish it"
            yield key, why, root.list(key), True


def _runs(root: Root, known: dict[str, tuple[Commit, ...]]) -> Iterator[_Found]:
    referenced = {commit.run for found in known.values() for commit in found}
    referenced |= {run.commit.run for date in known for run in held_runs(root, date) if run.state == "open"}
    for name in root.folders(layout.RUNS):
        if name not in referenced:
            yield layout.run(name), "no commit refers to it", root.list(layout.run(name)), True


def _staging(root: Root) -> Iterator[_Found]:
    for name in root.folders(layout.STAGING):
        key = f"{layout.STAGING}/{name}"
        yield key, "it was being built when its run ended", root.list(key), True


def _leftovers(root: Root) -> Iterator[_Found]:
    for folder in _CREATED_IN:
        for entry in root.list(folder):
            *above, name = entry.key.removeprefix(f"{folder}/").split("/")
            is_in_stage = folder == layout.STAGING and above
            if name.startswith(layout.TEMPORARY) and not is_in_stage:
                yield entry.key, "it was being written when its run ended", (entry,), False


def _projecting(root: Root) -> Iterator[_Found]:
    for entry in root.list(layout.PROJECTING):
        yield entry.key, "a copy of its run to the date never ended", (entry,), False


def _compiled(root: Root, models: Collection[str] | None) -> Iterator[_Found]:
    for entry in root.list(layout.COMPILED):
        made_of = _ARTIFACT.match(entry.key.rsplit("/", 1)[-1])
        if models is not None and made_of and made_of[1] not in models:
            yield entry.key, "it was compiled from a model that is no longer configured", (entry,), False


def _date_in(key: str) -> str | None:
    """Return the date in a key, so that nothing is taken from under a run that holds its lease."""
    found = re.search(r"/(\d{4}-\d{2}-\d{2})", key)
    return found[1] if found else None


def _is_referenced(root: Root, name: str) -> bool:
    date = name[:10]
    open_runs = (run.commit.run for run in held_runs(root, date) if run.state == "open")
    return name in {commit.run for commit in commits(root, date)} or name in open_runs
