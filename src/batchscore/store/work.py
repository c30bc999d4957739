"""The work folder of a plan: what its partitions came to, kept until the run is published.

A partition's data is stored by content, then its record is put there if absent: the record is the task's commit.
Whoever finds the record scores nothing; whoever scores the partition twice finds the same bytes, or an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchscore.errors import NotDeterministic
from batchscore.report import Part
from batchscore.store import layout
from batchscore.store.root import Exists, Root
from batchscore.store.sealed import damaged, put_once, read_checked, read_sealed, seal, unseal

_HEADER = 32
"""An ids file begins with the sha256 of the rest."""


@dataclass(frozen=True, kw_only=True)
class WorkFolder:
    """The work folder of one plan; it travels to workers by pickle, a few hundred bytes."""

    root: Root
    """The output root."""
    date: str
    """The date of the run."""
    plan_id: str
    """The plan's digest: work of another plan is never found here."""

    def finished(self) -> frozenset[int]:
        """Return the partitions that have a record: one listing, nothing is read."""
        keys = (layout.record_index(entry.key) for entry in self.root.list(layout.work(self.date, self.plan_id)))
        return frozenset(index for index in keys if index is not None)

    def report(self, index: int) -> dict[str, Any] | None:
        """Return the record of a partition; None when it is not finished.

        Raises:
            StateDamaged: When the record is damaged or belongs elsewhere.
        """
        key = layout.work_record(self.date, self.plan_id, index)
        try:
            content, _ = read_sealed(self.root, key)
        except FileNotFoundError:
            return None
        if (content["plan_id"], content["index"]) != (self.plan_id, index):
            raise damaged(self.root.shown(key), "it is the record of another partition or plan")
        report: dict[str, Any] = content["report"]
        return report

    def put_part(self, index: int, data: bytes) -> str:
        """Store the bytes of a part, durably, and return their sha256; the same bytes again change nothing.

        Raises:
            StateDamaged: When what lies under that digest is other bytes.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        key = layout.work_part(self.date, self.plan_id, layout.part_name(index), sha256)
        try:
            self.root.create(key, data)
        except Exists:  # who was first wrote the same, or it is damaged
            read_checked(self.root, key, sha256)
        return sha256

    def put_ids(self, index: int, data: bytes) -> None:
        """Store the id hashes of a partition.

        Raises:
            NotDeterministic: When the partition had other ids before.
        """
        key = layout.work_ids(self.date, self.plan_id, index)
        try:
            self.root.create(key, hashlib.sha256(data).digest() + data)
        except Exists:
            if self.ids(index) != data:
                raise _not_deterministic(index, "its ids") from None

    def ids(self, index: int, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of a partition's id hashes; read whole, they are checked by their digest.

        Raises:
            StateDamaged: When they are missing, or read whole and damaged.
        """
        key = layout.work_ids(self.date, self.plan_id, index)
        whole = (start, stop) == (0, None)
        for _ in range(self.root.reads):
            try:
                data = self.root.read(key, 0 if whole else _HEADER + start, None if stop is None else _HEADER + stop)
            except FileNotFoundError:
                raise damaged(self.root.shown(key), "it is missing") from None
            if not whole:
                return data
            if hashlib.sha256(data[_HEADER:]).digest() == data[:_HEADER]:
                return data[_HEADER:]
        raise damaged(self.root.shown(key), "it does not match the digest at its start")

    def put_list(self, data: bytes) -> str:
        """Store the ids of a plan that takes only some rows, and return the sha256 of the file's bytes.

        Raises:
            StateDamaged: When what lies under that digest is other bytes.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        key = layout.work_list(self.date, self.plan_id, sha256)
        try:
            self.root.create(key, data)
        except Exists:  # who was first wrote the same, or it is damaged
            read_checked(self.root, key, sha256)
        return sha256

    def listed(self, sha256: str) -> bytes:
        """Return the bytes of `put_list`.

        Raises:
            StateDamaged: When they are missing or other bytes.
        """
        return read_checked(self.root, layout.work_list(self.date, self.plan_id, sha256), sha256)

    def part(self, part: Part) -> bytes:
        """Return the bytes of a stored part.

        Raises:
            StateDamaged: When they are missing or other bytes.
        """
        return read_checked(self.root, layout.work_part(self.date, self.plan_id, part.name, part.sha256), part.sha256)

    def commit(self, index: int, report: Mapping[str, Any]) -> None:
        """Record a partition as finished, after its parts are stored.

        Raises:
            NotDeterministic: When it was finished before with another report; the first one is kept.
            StateDamaged: When the record that lies there is damaged.
        """
        content = {"plan_id": self.plan_id, "index": index, "report": dict(report)}
        key = layout.work_record(self.date, self.plan_id, index)
        data = seal(content)
        there = put_once(self.root, key, data)
        if there != data:
            first, second = (unseal(found, source=self.root.shown(key))["report"] for found in (there, data))
            raise _not_deterministic(index, ", ".join(_differing(first, second)))


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    keys = sorted(first.keys() | second.keys())
    return [key for key in keys if first.get(key) != second.get(key)] or ["its record"]


def _not_deterministic(index: int, what: str) -> NotDeterministic:
    return NotDeterministic(
        f"partition {index} came out differently the second time: {what}",
        slug="PARTITION",
        remedy="compare the hosts' CPU kinds and library versions; the first result was kept",
        partition=index,
    )
