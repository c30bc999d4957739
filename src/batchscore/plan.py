"""The plan: what is read, how it is cut into partitions, and the identity of the result. Pure.

A plan is born from the resolved configuration and from parquet footers alone, never from the number of workers.
`plan_id` is the digest of all that decides the bytes of the result; `input_id` is the same without library versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from pydantic import Field

from batchscore.strict import Section


class PartitionOptions(Section):
    """`partition`: how the snapshot is cut into units of work."""

    rows: int = Field(default=200_000, ge=1, le=50_000_000)
    """Rows per partition, about: row groups are never split, small files share a partition."""
    max_bytes: int = Field(default=2 * 1024**3, ge=1024)
    """The most bytes that one partition may decode to; more is a broken contract (code 12)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """One row group of a parquet file, as its footer declares it."""

    rows: int
    """Number of rows."""
    decoded_bytes: int
    """Declared uncompressed bytes of the columns that are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One file of the snapshot, as it was listed."""

    path: str
    """The path as configured, with the date filled in; for a directory, the path of the file in it."""
    size: int
    """Bytes of the whole file."""
    footer_sha256: str
    """sha256 of the footer: the metadata, its length and the closing magic."""
    object_version: str | None
    """The object store's version or tag; None on file systems."""
    row_groups: tuple[RowGroup, ...]
    """The row groups, in file order."""

    @property
    def rows(self) -> int:
        """Number of rows in the file."""
        return sum(group.rows for group in self.row_groups)

    def record(self) -> dict[str, Any]:
        """Return what identifies the file in a plan."""
        return {
            "path": self.path,
            "size": self.size,
            "rows": self.rows,
            "footer_sha256": self.footer_sha256,
            "object_version": self.object_version,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """Some row groups of one file: what one partition reads of it."""

    path: str
    """The file's path."""
    size: int
    """Bytes of the whole file, as listed."""
    footer_sha256: str
    """sha256 of the footer, as listed."""
    object_version: str | None
    """The object's version, as listed."""
    row_groups: tuple[int, ...]
    """Indices of the row groups, ascending and adjacent."""
    first_row: int
    """The number, within the file, of the fragment's first row; counted from 0."""
    rows: int
    """Number of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One unit of work: its index names the part, orders the merge and stands in every log line and error."""

    index: int
    """Position in the snapshot, from 0."""
    fragments: tuple[Fragment, ...]
    """What is read, in input order."""
    rows: int
    """Number of rows."""
    decoded_bytes: int
    """Declared uncompressed bytes of the columns that are read."""

    @property
    def name(self) -> str:
        """The name of the partition's part, such as `part-00012`."""
        return f"part-{self.index:05d}"


def split(files: Sequence[InputFile], rows: int) -> tuple[Partition, ...]:
    """Cut files into partitions of about `rows` rows.

    Small files share a partition, big files are split by row group, a row group is never split.
    A row group joins the current partition unless that would exceed `rows`; the order is the files' order.
    A snapshot of no rows is one partition of none, so that its empty part still has a schema.

    Args:
        files: The snapshot's files, in order.
        rows: Rows per partition, at least 1.
    """
    groups = list(_cut(files, rows))
    return tuple(
        Partition(
            index=index,
            fragments=tuple(_fragments(group)),
            rows=sum(file.row_groups[number].rows for file, number, _ in group),
            decoded_bytes=sum(file.row_groups[number].decoded_bytes for file, number, _ in group),
        )
        for index, group in enumerate(groups or [[]])
    )


_Piece = tuple[InputFile, int, int]
"""A file, the index of a row group in it, and the number of that group's first row."""


def _cut(files: Sequence[InputFile], rows: int) -> Iterator[list[_Piece]]:
    current: list[_Piece] = []
    held = 0
    for piece in _pieces(files):
        file, number, _ = piece
        more = file.row_groups[number].rows
        if current and held + more > rows:
            yield current
            current, held = [], 0
        current.append(piece)
        held += more
    if current:
        yield current


def _pieces(files: Sequence[InputFile]) -> Iterator[_Piece]:
    for file in files:
        first = 0
        for number, group in enumerate(file.row_groups):
            if group.rows:
                yield file, number, first
            first += group.rows


def _fragments(pieces: Sequence[_Piece]) -> Iterator[Fragment]:
    start = 0
    while start < len(pieces):
        file, _, first = pieces[start]
        stop = start
        while stop < len(pieces) and pieces[stop][0] is file:
            stop += 1
        numbers = tuple(number for _, number, _ in pieces[start:stop])
        yield Fragment(
            path=file.path,
            size=file.size,
            footer_sha256=file.footer_sha256,
            object_version=file.object_version,
            row_groups=numbers,
            first_row=first,
            rows=sum(file.row_groups[number].rows for number in numbers),
        )
        start = stop


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides the result of one date, and the partitions that follow from it."""

    pipeline: str
    """The pipeline's name."""
    date: str
    """The snapshot's date, ISO."""
    inputs: tuple[InputFile, ...]
    """The snapshot's files, in order."""
    config: Mapping[str, Any]
    """The keys of the resolved configuration that decide the result, by dotted name, defaults filled in."""
    artifacts: Mapping[str, str]
    """sha256 of each artifact: model, schema, calibration, drift reference, lookup tables."""
    scoring: Mapping[str, Any]
    """Parameters of the scorer and the writer that change bits: block rows, codec, level, row group rows."""
    versions: Mapping[str, str]
    """Versions of this package and of the libraries that decide bits."""
    partitions: tuple[Partition, ...]
    """The units of work."""
    base: Mapping[str, Any] | None = None
    """The revision whose rows set aside are scored, by number, manifest digest and rows; None for a whole snapshot."""

    def record(self) -> dict[str, Any]:
        """Return the plan's content: plain data, the same for the same result."""
        return {
            "pipeline": self.pipeline,
            "date": self.date,
            "inputs": [file.record() for file in self.inputs],
            "config": dict(self.config),
            "artifacts": dict(self.artifacts),
            "scoring": dict(self.scoring),
            "versions": dict(self.versions),
            **({"base": dict(self.base)} if self.base else {}),
        }

    @cached_property
    def plan_id(self) -> str:
        """The digest of all that decides the bytes of the result."""
        return digest_of(self.record())

    @cached_property
    def input_id(self) -> str:
        """The digest of the plan without library versions: whether a date is done."""
        return digest_of({key: value for key, value in self.record().items() if key != "versions"})

    @property
    def rows(self) -> int:
        """Number of rows in the snapshot."""
        return sum(file.rows for file in self.inputs)

    @property
    def planned_rows(self) -> int:
        """Number of rows to score: those of the snapshot, unless it was limited, or those that a base set aside."""
        if self.base is not None:
            return int(self.base["rows"])
        return sum(partition.rows for partition in self.partitions)

    def limited(self, rows: int) -> Plan:
        """Return the plan of the first `rows` rows: its last partition stops before its fragments end."""
        kept: list[Partition] = []
        for partition in self.partitions:
            left = rows - sum(earlier.rows for earlier in kept)
            if left > 0 or not kept:
                kept.append(replace(partition, rows=min(partition.rows, left)))
        return replace(self, partitions=tuple(kept))


def canonical_json(content: object) -> bytes:
    """Encode plain data as the one JSON text that stands for it: sorted keys, no spaces, ASCII."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest_of(content: object) -> str:
    """Return the sha256 of plain data in canonical form."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two plans differ."""

    key: str
    """What differs, by dotted name, such as `config.postprocess.threshold` or `inputs.data/a.parquet.size`."""
    old: object
    """The published value; None when it was absent."""
    new: object
    """The value now; None when it is absent."""

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return where two plan records differ, sorted by key.

    Args:
        old: The published plan's record.
        new: The plan's record now.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    return tuple(
        Difference(key=key, old=before.get(key), new=after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _flat(record: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    if isinstance(record, Mapping) and record:
        for key, value in record.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix == "inputs" and isinstance(record, Sequence):
        for file in record:
            yield from _flat({k: v for k, v in file.items() if k != "path"}, f"{prefix}.{file['path']}")
    else:
        yield prefix, record


def _shown(value: object) -> str:
    return "absent" if value is None else str(value) if not isinstance(value, str) else repr(value)


def partition_from(record: Mapping[str, Any]) -> Partition:
    """Rebuild a partition from `partition_record`."""
    fragments = tuple(
        Fragment(**{**fragment, "row_groups": tuple(fragment["row_groups"])}) for fragment in record["fragments"]
    )
    return Partition(**{**record, "fragments": fragments})


def partition_record(partition: Partition) -> dict[str, Any]:
    """Return a partition as plain data."""
    # Not `asdict`, which copies every text and number of what may be 100,000 fragments.
    fragments = [{name: getattr(fragment, name) for name in _FRAGMENT} for fragment in partition.fragments]
    return {name: getattr(partition, name) for name in _PARTITION} | {"fragments": fragments}


_FRAGMENT = tuple(field.name for field in fields(Fragment))
_PARTITION = tuple(field.name for field in fields(Partition))
