"""Publishing a run: build it in private, commit it by one exclusive record, let the date show it.

Read `publish` top to bottom: before `record` nothing is visible, after it the whole run is; there is nothing between.
Any step may be the last one of a killed process: whoever comes next finds out how far it came.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from batchscore.errors import BatchscoreError, OutputExists, StateDamaged, StorageFailed
from batchscore.plan import Plan, differences
from batchscore.report import Part
from batchscore.store import layout
from batchscore.store.commits import Commit, commit_from, head
from batchscore.store.root import Root, Stage
from batchscore.store.sealed import damaged, put_once, read_checked, read_sealed, seal, unseal

THREADS = 8
"""Threads that hash parts: neither hashing nor waiting holds the interpreter's lock."""

Documents = Callable[[Mapping[str, tuple[str, int]]], Mapping[str, Mapping[str, Any]]]
"""From the data files by path, with sha256 and size, to the content of the three JSON files by name."""
SingleFile = Callable[[Iterator[bytes], BinaryIO], None]
"""Writes the one predictions file from the parts' bytes, in order."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A finished run that is to be published."""

    plan: Plan
    """What decided its bytes."""
    run_id: str
    """128 random bits in hex, fresh for every attempt to publish."""
    predictions: tuple[Part, ...]
    """The predictions parts that are new, in partition order."""
    quarantine: tuple[Part, ...]
    """The parts of rows set aside, in partition order; empty when there are none."""
    documents: Documents
    """Gives the JSON files, once the data files are there; ids and the other two's digests are added to metadata."""
    single_file: SingleFile | None = None
    """Writes the predictions as one file; None for a directory of the parts."""
    base: Commit | None = None
    """The revision whose parts of predictions are taken over; None when all parts are in the work folder."""
    taken_over: tuple[Part, ...] = ()
    """Those parts; they come before `predictions`. Of a base whose predictions are one file, that file."""
    run_type: str = "manual"
    """scheduled, manual or backfill."""
    by: str
    """Who asked."""
    reason: str | None = None
    """Why, when somebody had to say."""

    @property
    def run(self) -> str:
        """The run's name."""
        return layout.run_name(self.plan.date, self.plan.plan_id, self.run_id)


def publish(root: Root, publication: Publication, parent: Commit | None) -> Commit:
    """Publish a run as the revision after `parent`.

    Args:
        root: The output root.
        publication: The run.
        parent: The date's newest commit when the run was decided on, from `settle`.

    Returns:
        The commit: ours, or that of another run of the same plan that was first.

    Raises:
        OutputExists: When a run of another plan was first.
        StateDamaged: When a stored part is not as it was written.
        StorageFailed: When storage failed; the message says what is published. Nothing is cleaned up then.
    """
    plan = publication.plan
    first = overtaken(root, plan, parent)
    if first is not None:
        return first
    with _told(f"nothing of {plan.date} was published"):
        try:
            commit = build(root, publication, parent)
        except (StateDamaged, FileNotFoundError) as error:
            # A run of the same plan that was first prunes the parts: then they are not damaged but published.
            first = overtaken(root, plan, parent)
            if first is not None:
                return first
            if isinstance(error, StateDamaged):
                raise
            raise damaged(root.shown(layout.work(plan.date, plan.plan_id)), f"a file vanished ({error})") from error
    recorded = record(root, commit)
    if recorded.run != commit.run:
        root.delete_folder(layout.run(commit.run))
        return _lost(root, plan, head(root, plan.date))
    return acknowledge(root, recorded)


def overtaken(root: Root, plan: Plan, parent: Commit | None) -> Commit | None:
    """Return the commit of another run of the same plan that was first; None while the date stands as it stood.

    Args:
        root: The output root.
        plan: What this run scores.
        parent: The date's newest commit when this run was decided on, from `settle`.

    Raises:
        OutputExists: When a run of another plan was first.
    """
    current = head(root, plan.date)
    return None if _same(current, parent) else _lost(root, plan, current)


def build(root: Root, publication: Publication, parent: Commit | None) -> Commit:
    """Build the run's folder, complete and durable but not committed; return the commit that would publish it."""
    plan = publication.plan
    check_parts(root, publication)
    with root.stage(publication.run) as stage:
        files = _put_data(root, stage, publication)
        documents = _seal_documents(publication, publication.documents(files))
        _agree(files, documents)
        for name in layout.DOCUMENTS:
            stage.write(name, documents[name])
    digests = {name: hashlib.sha256(documents[name]).hexdigest() for name in layout.DOCUMENTS}
    return Commit(
        date=plan.date,
        number=parent.number + 1 if parent else 1,
        run=publication.run,
        run_id=publication.run_id,
        plan_id=plan.plan_id,
        input_id=plan.input_id,
        manifest_sha256=digests[layout.MANIFEST],
        summary_sha256=digests[layout.SUMMARY],
        metadata_sha256=digests[layout.METADATA],
        parent_sha256=parent.sha256 if parent else None,
        run_type=publication.run_type,
        by=publication.by,
        reason=publication.reason,
    )


def record(root: Root, commit: Commit) -> Commit:
    """Write the commit record, the moment of publication; return the commit that has its number: ours or another's."""
    key = layout.commit(commit.date, commit.number)
    with _told(f"whether {commit.date} was published is unknown until then"):
        there = put_once(root, key, commit.sealed())
    return commit_from(unseal(there, source=root.shown(key)), hashlib.sha256(there).hexdigest())


def acknowledge(root: Root, commit: Commit) -> Commit:
    """Make a commit durable, whoever wrote it, and let its date show the newest one; return `commit`."""
    with _told(
        f"{commit.date} is published as revision {commit.number}, only {root.shown(commit.date)} may lag behind"
    ):
        root.confirm(layout.commit(commit.date, commit.number))
        roll_forward(root, commit.date)
    return commit


def roll_forward(root: Root, date: str) -> None:
    """Let a date show its newest commit; looked at again afterwards, since a slower run may have shown an older one.

    What shows the newest commit may be mixed all the same where another run's projection has not ended: it is made
    anew once after each note of one was seen. The note stays, as its owner may go on: the next run makes it anew again.

    Raises:
        StorageFailed: When others keep changing it.
    """
    mended: frozenset[str] = frozenset()
    for _ in range(20):
        newest = head(root, date)
        if newest is None:
            return
        unfinished = root.projecting(date, besides=newest.run)
        if root.projected(date) == newest.run and unfinished <= mended:
            return
        root.project(date, newest.run)
        mended |= unfinished
    raise StorageFailed(
        f"{root.shown(date)} keeps being changed by other runs",
        slug="PROJECTION",
        remedy="run the same command again when they have ended",
    )


def check_parts(root: Root, publication: Publication) -> None:
    """Hash every part that is to be published.

    Raises:
        StateDamaged: When a part is missing or other bytes.
    """
    stored = [*_predictions(publication), *_quarantine(publication)]
    check_files(root, ((key, part.sha256) for part, key in stored), "its bytes are not those that were scored")


def check_files(root: Root, files: Iterable[tuple[str, str]], fact: str) -> None:
    """Hash files that are to be published.

    Args:
        root: The output root.
        files: Their keys, and the sha256 that each must have.
        fact: What is said of one that has another.

    Raises:
        StateDamaged: When a file is missing or has another digest.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(lambda file: _check(root, file[0], file[1], fact), list(files)):
            pass


def other_plan(root: Root, commit: Commit, plan: Plan) -> OutputExists:
    """Return the error of a date that another plan published, with the differences of the two plans."""
    manifest, _ = read_sealed(root, layout.run(commit.run, layout.MANIFEST))
    found = [str(difference) for difference in differences(manifest["plan"], plan.record())]
    return OutputExists(
        f"{commit.date} is published as revision {commit.number} by another plan: {'; '.join(found[:5])}"
        + (f"; and {len(found) - 5} more" if len(found) > 5 else ""),  # noqa: PLR2004 - as many as stand above
        slug="OTHER-PLAN",
        remedy="`--republish --reason TEXT` publishes a new revision and keeps the old one",
        revision=commit.number,
        differences=found,
    )


def _lost(root: Root, plan: Plan, winner: Commit | None) -> Commit:
    if winner and winner.input_id == plan.input_id:
        return acknowledge(root, winner)
    if winner:
        raise other_plan(root, winner, plan)
    raise damaged(root.shown(layout.commits(plan.date)), "a commit record vanished while this run scored")


def _same(one: Commit | None, other: Commit | None) -> bool:
    return (one.sha256 if one else None) == (other.sha256 if other else None)


_Stored = tuple[Part, str]
"""A part, and the key that its bytes lie under."""


def _predictions(publication: Publication) -> Iterator[_Stored]:
    base = publication.base
    for part in publication.taken_over:
        if base is None:
            raise BatchscoreError("parts are taken over from no revision", slug="NO-BASE")
        path = layout.PREDICTIONS if part.name == layout.PREDICTIONS else f"{layout.PREDICTIONS}/{part.name}"
        yield part, layout.run(base.run, path)
    for part in publication.predictions:
        yield part, _key(publication, part)


def _quarantine(publication: Publication) -> Iterator[_Stored]:
    for part in publication.quarantine:
        yield part, _key(publication, part)


def _key(publication: Publication, part: Part) -> str:
    return layout.work_part(publication.plan.date, publication.plan.plan_id, part.name, part.sha256)


def _check(root: Root, key: str, sha256: str, fact: str) -> None:
    for _ in range(root.reads):
        try:
            if root.digest(key)[0] == sha256:
                return
        except FileNotFoundError:
            raise damaged(root.shown(key), "it is missing") from None
    raise damaged(root.shown(key), fact)


def _put_data(root: Root, stage: Stage, publication: Publication) -> dict[str, tuple[str, int]]:
    placed = [(f"{layout.QUARANTINE}/{part.name}", part, key) for part, key in _quarantine(publication)]
    if publication.single_file is None:
        placed += [(f"{layout.PREDICTIONS}/{part.name}", part, key) for part, key in _predictions(publication)]
    stage.take((key, path, part.size) for path, part, key in placed)
    files = {path: (part.sha256, part.size) for path, part, _ in placed}
    if publication.single_file is not None:
        write = publication.single_file
        parts = (read_checked(root, key, part.sha256) for part, key in _predictions(publication))
        files[layout.PREDICTIONS] = stage.stream(layout.PREDICTIONS, lambda sink: write(parts, sink))
    return files


def _seal_documents(publication: Publication, contents: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    summary, manifest = seal(contents[layout.SUMMARY]), seal(contents[layout.MANIFEST])
    metadata = {
        **contents[layout.METADATA],
        "date": publication.plan.date,
        "run_id": publication.run_id,
        "plan_id": publication.plan.plan_id,
        "input_id": publication.plan.input_id,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "summary_sha256": hashlib.sha256(summary).hexdigest(),
    }
    return {layout.SUMMARY: summary, layout.MANIFEST: manifest, layout.METADATA: seal(metadata)}


def _agree(files: Mapping[str, tuple[str, int]], documents: Mapping[str, bytes]) -> None:
    if layout.published_files(json.loads(documents[layout.MANIFEST])) != files:
        raise BatchscoreError("the manifest does not declare the files of its run", slug="MANIFEST")


@contextmanager
def _told(state: str) -> Iterator[None]:
    """Add to a storage failure what was and was not published."""
    try:
        yield
    except StorageFailed as error:
        raise StorageFailed(
            error.message, slug=error.slug, remedy=f"{error.remedy}; {state}", **error.context
        ) from error
