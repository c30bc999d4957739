"""The commit records of a date: numbered, put-if-absent, each with the digest of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from batchscore.store import layout
from batchscore.store.root import Root
from batchscore.store.sealed import damaged, read_sealed, seal


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What was published: the one record that makes a run visible."""

    date: str
    """The date, ISO."""
    number: int
    """The revision, from 1."""
    run: str
    """The run's name: its folder in `runs/`."""
    run_id: str
    """The run's random id."""
    plan_id: str
    """The digest of all that decides the bytes."""
    input_id: str
    """The same without library versions."""
    manifest_sha256: str
    """sha256 of manifest.json."""
    summary_sha256: str
    """sha256 of summary_metrics.json."""
    metadata_sha256: str
    """sha256 of metadata.json."""
    parent_sha256: str | None
    """sha256 of the commit record before; None for the first."""
    run_type: str
    """scheduled, manual or backfill."""
    by: str
    """Who asked."""
    reason: str | None
    """Why, when somebody had to say."""
    held: int | None = None
    """The number of the held run that this one released; None for an ordinary run."""
    sha256: str = ""
    """sha256 of the commit record's own bytes, known once it is written or read."""

    def document_sha256(self, name: str) -> str:
        """Return the sha256 of one of the run's JSON files."""
        digests = {
            layout.MANIFEST: self.manifest_sha256,
            layout.SUMMARY: self.summary_sha256,
            layout.METADATA: self.metadata_sha256,
        }
        return digests[name]

    def sealed(self) -> bytes:
        """Return the bytes of the commit record."""
        return seal({key: value for key, value in asdict(self).items() if key != "sha256"})


def commit_from(content: Mapping[str, Any], sha256: str) -> Commit:
    """Return the commit of a record's content.

    Args:
        content: What the record holds; keys of later formats are left out.
        sha256: The digest of the record's bytes.
    """
    known = {item.name for item in fields(Commit)}
    return Commit(**{**{key: value for key, value in content.items() if key in known}, "sha256": sha256})


def head(root: Root, date: str) -> Commit | None:
    """Return the newest commit of a date; None when nothing is published.

    The listing only says where to begin: what it leaves out is found by asking for the next number.

    Raises:
        StateDamaged: When its record is damaged.
    """
    number, newest = _listed_head(root, date)
    while following := _read_if_there(root, date, number + 1):
        newest, number = following, number + 1
    return newest


def _listed_head(root: Root, date: str) -> tuple[int, Commit | None]:
    number = 0
    for _ in range(root.reads):
        number = max(commit_numbers(root, date), default=0)
        newest = _read_if_there(root, date, number) if number else None
        if newest or not number:
            return number, newest
    raise damaged(root.shown(layout.commit(date, number)), "it is listed, but not there")


def commits(root: Root, date: str) -> tuple[Commit, ...]:
    """Return all commits of a date, oldest first.

    Raises:
        StateDamaged: When a record is damaged or missing.
    """
    newest = head(root, date)
    older = [_read_if_there(root, date, number) for number in range(1, newest.number)] if newest else []
    if None in older:
        raise damaged(root.shown(layout.commit(date, older.index(None) + 1)), "it is missing")
    return (*(commit for commit in older if commit), newest) if newest else ()


def commit_numbers(root: Root, date: str) -> tuple[int, ...]:
    """Return the numbers of a date's commits, as they are listed, ascending."""
    found = (layout.number(entry.key) for entry in root.list(layout.commits(date)))
    return tuple(sorted(number for number in found if number is not None))


def _read_if_there(root: Root, date: str, number: int) -> Commit | None:
    try:
        return read_commit(root, date, number)
    except FileNotFoundError:
        return None


def read_commit(root: Root, date: str, number: int) -> Commit:
    """Return one commit of a date."""
    content, sha256 = read_sealed(root, layout.commit(date, number))
    return commit_from(content, sha256)


def dates(root: Root) -> tuple[str, ...]:
    """Return the dates that are published, ascending."""
    folders = root.folders(layout.COMMITS)
    return tuple(date for date in folders if layout.is_date(date) and commit_numbers(root, date))
