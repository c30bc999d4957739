"""The ledger of published dates, read back from the store: what was published when, of how many rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

from batchscore import history
from batchscore.check import Checked
from batchscore.errors import OutputExists
from batchscore.ingest import digest_of_ranges
from batchscore.metrics import RunType
from batchscore.store import Commit, Store

MANIFEST, METADATA, SUMMARY = "manifest.json", "metadata.json", "summary_metrics.json"
SAME_WEEKDAYS = 16
"""How many earlier dates of the same weekday are read for a volume baseline."""


def run_type(store: Store, day: date, asked: str | None) -> RunType:
    """Work out a run's type; the newest published date is read from the store, never from a metrics server."""
    dates = store.dates()
    return history.run_type(day, newest=date.fromisoformat(dates[-1]) if dates else None, asked=asked)


def volume_points(store: Store, day: date) -> list[tuple[date, int]]:
    """Return scored rows of earlier published dates of the same weekday, ascending; the newest revision of each."""
    dates = [found for text in store.dates() if (found := date.fromisoformat(text)) < day]
    same = [found for found in dates if found.weekday() == day.weekday()][-SAME_WEEKDAYS:]
    with ThreadPoolExecutor(max_workers=4) as threads:
        return list(zip(same, threads.map(lambda found: _rows(store, found), same), strict=True))


def previous_snapshot(store: Store, day: date) -> list[dict[str, Any]] | None:
    """Return the input files, as planned, of the newest date published before `day`; None when there is none."""
    earlier = [text for text in store.dates() if text < day.isoformat()]
    if not earlier:
        return None
    plan: Mapping[str, Any] = store.published(earlier[-1]).document(MANIFEST)["plan"]
    return list(plan["inputs"])


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


def _identity(stat: Any) -> dict[str, Any]:  # noqa: ANN401 - sources.Stat
    return {"modified_ns": stat.modified_ns, "inode": stat.inode}


def _rows(store: Store, day: date) -> int:
    rows: int = store.published(day.isoformat()).document(SUMMARY)["rows"]["scored"]
    return rows
