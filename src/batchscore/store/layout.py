"""Every name in an output root. Pure.

A key is a path relative to the root, with `/` between its parts, the same on file systems and object stores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date as Date  # noqa: N812 - `date` is the argument's name everywhere
from typing import Any

from batchscore.errors import UsageError

STATE = "_batchscore"
PIPELINE = f"{STATE}/pipeline.json"
WORK = f"{STATE}/work"
RUNS = f"{STATE}/runs"
COMMITS = f"{STATE}/commits"
HELD = f"{STATE}/held"
LEASES = f"{STATE}/leases"
PROBES = f"{STATE}/probes"
TOLD = f"{STATE}/told"
EVENTS = f"{STATE}/events"
COMPILED = f"{STATE}/compiled"
PROJECTING = f"{STATE}/projecting"
STAGING = f"{STATE}/staging"
"""Private and deletable."""

PREDICTIONS = "predictions.parquet"
QUARANTINE = "quarantine.parquet"
SUMMARY = "summary_metrics.json"
MANIFEST = "manifest.json"
METADATA = "metadata.json"
DOCUMENTS = (SUMMARY, MANIFEST, METADATA)
"""The JSON files of a run, in the order in which they are written and copied: metadata.json last."""

TEMPORARY = ".tmp-"
"""How the names of private files begin; one that stays behind a kill is garbage."""

_NUMBERED = re.compile(r"(\d{6})\.json")
_VERDICT = re.compile(r"(\d{6})\.(release|discard)\.json")


def is_date(text: str) -> bool:
    """Whether a text is an ISO date, written as we write it."""
    try:
        return Date.fromisoformat(text).isoformat() == text
    except (ValueError, TypeError):
        return False


def checked_date(date: str) -> str:
    """Return `date` when it is an ISO date, so that no other text ever becomes part of a path.

    Raises:
        UsageError: When it is anything else.
    """
    if is_date(date):
        return date
    raise UsageError(f"{date!r} is not an ISO date", slug="DATE", remedy="write it like 2013-02-08")


def part_name(index: int) -> str:
    """Return the file name of a partition's part in the published directory."""
    return f"part-{index:05d}.parquet"


def event(date: str, name: str) -> str:
    """Return the key of an event of a run of the date."""
    return f"{EVENTS}/{checked_date(date)}/{name}"


def compiled(name: str, sha256: str = "") -> str:
    """Return the key of the record of a compiled model; with its digest, the key of the model itself."""
    return f"{COMPILED}/{name}-{sha256[:16]}.compiled" if sha256 else f"{COMPILED}/{name}.json"


def compiling(name: str) -> str:
    """Return the key of the note that somebody has begun to compile a model."""
    return f"{COMPILED}/{name}.begun"


def work(date: str, plan_id: str) -> str:
    """Return the folder of a plan's finished partitions."""
    return f"{WORK}/{checked_date(date)}/{plan_id}"


def work_part(date: str, plan_id: str, name: str, sha256: str) -> str:
    """Return the key of a part's data, named by its content.

    Args:
        date: The date of the run.
        plan_id: The plan's digest.
        name: The part's file name in the published directory.
        sha256: The digest of its bytes.
    """
    return f"{work(date, plan_id)}/{name.removesuffix('.parquet')}-{sha256[:16]}.parquet"


def work_record(date: str, plan_id: str, index: int) -> str:
    """Return the key of a partition's task commit."""
    return f"{work(date, plan_id)}/part-{index:05d}.json"


def work_ids(date: str, plan_id: str, index: int) -> str:
    """Return the key of a partition's id hashes."""
    return f"{work(date, plan_id)}/part-{index:05d}.ids"


def work_list(date: str, plan_id: str, sha256: str) -> str:
    """Return the key of the ids that a plan is limited to, named by its content."""
    return f"{work(date, plan_id)}/only-{sha256[:16]}.parquet"


def record_index(key: str) -> int | None:
    """Return the partition of a task commit's key; None for any other key."""
    found = re.fullmatch(r"part-(\d{5,})\.json", key.rsplit("/", 1)[-1])
    return int(found[1]) if found else None


def run_name(date: str, plan_id: str, run_id: str) -> str:
    """Return the name of a run: it holds the random run id, so two runs never share one."""
    return f"{checked_date(date)}-{plan_id[:12]}-{run_id}"


def run(name: str, path: str = "") -> str:
    """Return the key of a run's folder, or of the file `path` in it."""
    return f"{RUNS}/{name}/{path}".rstrip("/")


def commits(date: str) -> str:
    """Return the folder of a date's commit records."""
    return f"{COMMITS}/{checked_date(date)}"


def commit(date: str, number: int) -> str:
    """Return the key of a commit record."""
    return f"{commits(date)}/{number:06d}.json"


def told(date: str, number: int) -> str:
    """Return the key of the note that others were notified of a commit."""
    return f"{TOLD}/{checked_date(date)}/{number:06d}.json"


def held(date: str, number: int | None = None, verdict: str = "") -> str:
    """Return the folder of a date's held runs, the key of one, or the key of its verdict."""
    folder = f"{HELD}/{checked_date(date)}"
    if number is None:
        return folder
    return f"{folder}/{number:06d}.{verdict}.json" if verdict else f"{folder}/{number:06d}.json"


def projecting(date: str, name: str = "", token: str = "") -> str:
    """Return the folder of the notes of a date's unfinished copies, or the key of one: which run, and a random token."""
    return f"{PROJECTING}/{checked_date(date)}/{name}/{token}".rstrip("/")


def lease(date: str) -> str:
    """Return the key of a date's lease."""
    return f"{LEASES}/{checked_date(date)}.json"


def number(key: str) -> int | None:
    """Return the number of a commit record's or held run's key; None for any other key."""
    found = _NUMBERED.fullmatch(key.rsplit("/", 1)[-1])
    return int(found[1]) if found else None


def verdict(key: str) -> tuple[int, str] | None:
    """Return number and verdict of a verdict's key; None for any other key."""
    found = _VERDICT.fullmatch(key.rsplit("/", 1)[-1])
    return (int(found[1]), found[2]) if found else None


def published_files(manifest: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return sha256 and size of every data file of a run, by path, as its manifest declares them.

    Args:
        manifest: `parts` and `quarantine` list the parts (name, sha256, size); `single_file` (sha256, size) says that
            the predictions are the one file `predictions.parquet` instead of a directory of the parts.
    """
    single = manifest.get("single_file")
    parts = {} if single else {f"{PREDICTIONS}/{part['name']}": part for part in manifest["parts"]}
    aside = {f"{QUARANTINE}/{part['name']}": part for part in manifest["quarantine"]}
    whole = {PREDICTIONS: single} if single else {}
    return {path: (file["sha256"], file["size"]) for path, file in sorted((parts | aside | whole).items())}
