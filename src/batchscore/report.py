"""What one partition and one run report: numbers that merge exactly, and the content of the JSON files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MODULUS = 1 << 128
"""Id digests are sums modulo this."""


@dataclass(frozen=True, kw_only=True)
class InputRange:
    """The bytes that one partition read of one file."""

    path: str
    """The file's path, as in the plan."""
    ranges: tuple[tuple[int, int], ...]
    """Byte ranges [start, end), ascending and disjoint; the footer's bytes are not among them."""
    sha256: str
    """sha256 over the ranges' bytes, in this order; the whole file's digest when the range is the whole file."""
    whole: bool
    """Whether the one range is the whole file."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of the output."""

    name: str
    """File name in the published directory, such as `part-00012.parquet`."""
    sha256: str
    """sha256 of the file's bytes."""
    size: int
    """Bytes of the file."""
    rows: int
    """Rows in the file."""
    logical_sha256: str
    """Digest of the columns' canonical values: the same whatever library version wrote the file."""


@dataclass(frozen=True, kw_only=True)
class PartitionReport:
    """What a worker reports of one partition: deterministic, and stored as the partition's task commit."""

    index: int
    """The partition's index."""
    read_rows: int
    """Rows read from the snapshot."""
    scored_rows: int
    """Rows in the predictions part."""
    rejected_rows: int
    """Rows set aside; `read_rows` = `scored_rows` + `rejected_rows`."""
    rejected: Mapping[str, int]
    """Rows per reason code; a row with two reasons counts in both."""
    flagged_rows: int
    """Rows whose flag is set."""
    id_digest: int
    """Sum of the 128-bit hashes of the ids of all rows read, modulo 2**128: the same in every order."""
    scored_id_digest: int
    """The same over the scored rows."""
    rejected_id_digest: int
    """The same over the rows set aside."""
    predictions: Part
    """The predictions part."""
    quarantine: Part | None
    """The part of rows set aside; None when there are none."""
    inputs: tuple[InputRange, ...]
    """What was read, in input order."""
    profiles: Mapping[str, Any]
    """The profiles of features and scores as plain data (`profile`)."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Other counts that add up, such as rows per rule and per label."""


@dataclass(frozen=True, kw_only=True)
class PartitionOutcome:
    """One execution of a partition: its report, and what the clock and the machine say of it."""

    report: PartitionReport
    """The deterministic report."""
    reused: bool
    """Whether the report was found in the work folder and nothing was scored."""
    seconds: Mapping[str, float]
    """Wall seconds by stage: read, check, prepare, infer, postprocess, write."""
    peak_memory_bytes: int
    """The worker process's peak resident memory."""
    worker: str
    """The worker's name: host and process."""
