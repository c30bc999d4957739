"""What one partition and one run report: numbers that merge exactly. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from batchscore import profile
from batchscore.profile import Profile

MODULUS = 1 << 128
"""Id digests are sums modulo this."""


@dataclass(frozen=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
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
    features: Mapping[str, Any]
    """The profile of every feature, over the scored rows, as plain data (`profile`)."""
    scores: Mapping[str, Any]
    """The profile of every score column, over the scored rows, as plain data."""
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
    without_checksums: tuple[str, ...] = ()
    """Files of which a page carries no checksum, so that a bit that flipped before the hashing is not seen."""
    retries: int = 0
    """Storage requests that were tried again."""


class Totals:
    """The sum of partition reports. Every number merges exactly, so that the order of `add` does not matter."""

    def __init__(self) -> None:
        self.reports: dict[int, PartitionReport] = {}
        self.rejected: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.features: dict[str, Profile] = {}
        self.scores: dict[str, Profile] = {}
        self.kept: Part | None = None
        """Rows that an earlier revision set aside and that stay so."""
        self.again = 0
        """Rows that an earlier revision read and set aside, and that were read again."""
        self._digests = {"id_digest": 0, "scored_id_digest": 0, "rejected_id_digest": 0}

    def add(self, report: PartitionReport) -> None:
        """Add one partition's report, whose profiles are then dropped."""
        self.rejected.update(report.rejected)
        self.counts.update(report.counts)
        self.features = _merged(self.features, report.features)
        self.scores = _merged(self.scores, report.scores)
        for name in self._digests:
            self._digests[name] = (self._digests[name] + getattr(report, name)) % MODULUS
        self.reports[report.index] = replace(report, features={}, scores={})

    def add_again(self, report: PartitionReport) -> None:
        """Add the report of rows that an earlier revision read and set aside: they were read, and are bad, only once."""
        self.add(report)
        self.again += report.read_rows
        for name in ("id_digest", "rejected_id_digest"):
            self._digests[name] = (self._digests[name] - report.id_digest) % MODULUS

    @property
    def in_order(self) -> tuple[PartitionReport, ...]:
        """The reports by index, without profiles."""
        return tuple(self.reports[index] for index in sorted(self.reports))

    @property
    def quarantine(self) -> tuple[Part, ...]:
        """The parts of rows set aside, by index."""
        found = [report.quarantine for report in self.in_order if report.quarantine]
        return (*found, *([self.kept] if self.kept else []))

    def rows(self) -> dict[str, int]:
        """Return the row counts of the run."""
        reports = self.reports.values()
        scored = sum(report.scored_rows for report in reports)
        return {
            "read": sum(report.read_rows for report in reports) - self.again,
            "scored": scored,
            "written": sum(report.predictions.rows for report in reports),
            "rejected": sum(report.rejected_rows for report in reports) - self.again,
            "flagged": sum(report.flagged_rows for report in reports),
        }

    def digest(self, name: str) -> str:
        """Return one of the id digests, 32 hex digits."""
        return f"{self._digests[name]:032x}"

    def unbalanced(self, planned_rows: int) -> str | None:
        """Say which sum does not close; None when rows are conserved.

        Args:
            planned_rows: Rows of the snapshot, from its footers.
        """
        rows = self.rows()
        if rows["read"] != planned_rows:
            return f"{rows['read']} rows were read of {planned_rows} planned"
        if rows["read"] != rows["scored"] + rows["rejected"] or rows["written"] != rows["scored"]:
            return f"{rows['read']} rows read are not {rows['scored']} scored and {rows['rejected']} set aside"
        scored, rejected = self._digests["scored_id_digest"], self._digests["rejected_id_digest"]
        if (scored + rejected) % MODULUS != self._digests["id_digest"]:
            return "the ids read are not the ids scored and set aside"
        return None


def _merged(profiles: dict[str, Profile], found: Mapping[str, Any]) -> dict[str, Profile]:
    new = {name: profile.from_dict(content) for name, content in found.items()}
    return profile.merge_all([profiles, new]) if profiles and new else profiles or new


def report_record(report: PartitionReport) -> dict[str, Any]:
    """Return a report as plain data, as it is stored in the work folder."""
    # Not `asdict` of the whole, which copies every number of every profile.
    return {name: getattr(report, name) for name in _REPORT} | {
        "predictions": asdict(report.predictions),
        "quarantine": asdict(report.quarantine) if report.quarantine else None,
        "inputs": input_records(report),
    }


def input_records(report: PartitionReport) -> list[dict[str, Any]]:
    """Return what a partition read as plain data."""
    return [{name: getattr(item, name) for name in _INPUT} for item in report.inputs]


def report_from(record: Mapping[str, Any]) -> PartitionReport:
    """Rebuild a report from `report_record`."""
    quarantine = record["quarantine"]
    inputs = tuple(
        InputRange(**{**item, "ranges": tuple((start, stop) for start, stop in item["ranges"])})
        for item in record["inputs"]
    )
    return PartitionReport(
        **{
            **record,
            "predictions": Part(**record["predictions"]),
            "quarantine": Part(**quarantine) if quarantine else None,
            "inputs": inputs,
        }
    )


_REPORT = tuple(each.name for each in fields(PartitionReport))
_INPUT = tuple(each.name for each in fields(InputRange))
