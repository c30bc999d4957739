"""The ledger of published dates, read back from the store: what was published when, of how many rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from typing import Any

from batchscore import history
from batchscore.check import Checked
from batchscore.errors import OutputExists, StateDamaged
from batchscore.gate import VolumeOptions
from batchscore.history import VolumePoint
from batchscore.ingest import digest_of_ranges
from batchscore.metrics import RunType
from batchscore.store import Commit, Store

MANIFEST, METADATA, SUMMARY = "manifest.json", "metadata.json", "summary_metrics.json"
SAME_WEEKDAYS = 16
"""How many earlier dates of the same weekday are read for a volume baseline: twice what counts, for ignored dates."""
MOST_DAYS = 400
"""How many days back a volume baseline reads."""


def run_type(store: Store, day: date, asked: RunType | None) -> RunType:
    """Work out a run's type; the newest published date is read from the store, never from a metrics server.

    Args:
        store: The output.
        day: The date that is run.
        asked: What the command line says, if anything.
    """
    dates = store.dates()
    if asked == "manual":
        return "manual"
    return history.run_type(
        day,
        newest_published=date.fromisoformat(dates[-1]) if dates else None,
        by_schedule=asked == "scheduled",
        by_backfill=asked == "backfill",
    )


def volume_points(store: Store, day: date, options: VolumeOptions) -> list[VolumePoint]:
    """Return the volumes of the newest revisions of comparable dates before `day`, ascending, as far back as counts.

    Dates of `volume.ignore_dates` are not read: so a date whose summary is damaged need not stop all later ones.
    """
    before = [found for text in store.dates() if (found := date.fromisoformat(text)) < day]
    if options.compare == "weekday":
        before = [found for found in before if found.weekday() == day.weekday()][-SAME_WEEKDAYS:]
    ignored = set(options.ignore_dates)
    before = [found for found in before if (day - found).days < MOST_DAYS and found.isoformat() not in ignored]
    with ThreadPoolExecutor(max_workers=4) as threads:
        return list(threads.map(lambda found: VolumePoint(date=found, rows=_rows(store, found)), before))


def previous_snapshot(store: Store, day: date) -> list[dict[str, Any]] | None:
    """Return the identity of the snapshot of the newest date published before `day`; None when there is none."""
    earlier = [text for text in store.dates() if text < day.isoformat()]
    if not earlier:
        return None
    return snapshot_identity(store.published(earlier[-1]).document(MANIFEST)["plan"])


def newest_scheduled(store: Store) -> str | None:
    """Return the newest date whose metrics the alerts should look at; damaged ones can not be pushed."""
    for day in reversed(store.dates()):
        with suppress(StateDamaged):
            if store.published(day).document(METADATA)["run_type"] == "scheduled":
                return day
    return None


def snapshot_identity(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what tells two snapshots apart whatever their files are called: size, rows and footer digest of each."""
    return [{name: file[name] for name in ("size", "rows", "footer_sha256")} for file in plan["inputs"]]


def check_inputs_unchanged(store: Store, commit: Commit, checked: Checked) -> None:
    """Compare the snapshot's content with what was published, when its files are not the very same ones.

    A byte changed inside a page leaves size and footer as they were: where change times or inodes differ,
    the byte ranges that the published run read are hashed again.

    Raises:
        OutputExists: When the content differs.
    """
    published = store.published(commit.date, commit.number)
    before = published.document(METADATA)["files"]
    touched = {footer.file.path for footer in checked.footers if _identity(footer.stat) != before.get(footer.file.path)}
    if not touched:
        return
    for items in published.document(MANIFEST)["inputs"]:
        for item in items:
            if item["path"] in touched and digest_of_ranges(item["path"], item["ranges"]) != item["sha256"]:
                raise OutputExists(
                    f"{commit.date} is published, and the content of '{item['path']}' has changed since",
                    slug="INPUT-CHANGED",
                    remedy="a snapshot must not change; restore it, or `--republish --reason TEXT` scores it again",
                    path=item["path"],
                )


def _identity(stat: Any) -> dict[str, Any]:
    return {"modified_ns": stat.modified_ns, "inode": stat.inode}


def _rows(store: Store, day: date) -> int:
    rows: int = store.published(day.isoformat()).document(SUMMARY)["rows"]["scored"]
    return rows
