"""What lies on the volume before batchscore comes: the flights example, shifted so that the storm is the latest Friday before today.

Run as a program it builds all of it into a folder: `python tests/cluster/world.py FOLDER`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

STORM = date(2013, 2, 8)
LAST = date(2013, 2, 28)
"""As in the source; all days up to here together are the snapshot of the runs that something happens to."""
NEXT_MODEL, NEXT_VERSION = "artifacts/models/flights_late_v1.3.0.joblib", "1.3.0"
BROKEN = "data/broken.parquet"
"""A snapshot that lacks a column."""
CONFIG, FACTS = "config/flights.yaml", "world.json"


def storm(today: date) -> date:
    """Return the latest Friday before a day."""
    return today - timedelta(days=(today.weekday() - 4 - 1) % 7 + 1)


def make(root: Path) -> None:
    """Build the example, a second version of its model, a broken snapshot, and what the tests must know of them."""
    import pyarrow.parquet

    from examples import folder
    from examples.flights.build import DATA, Options, build
    from examples.flights.snapshots import snapshot_path
    from examples.flights.source import read_departures
    from examples.flights.train import train

    today = datetime.now(UTC).date()
    day = storm(today)
    shift = day - STORM
    build(Options(root=root, first=date(2013, 1, 1), last=LAST, shift=shift))
    rows = read_departures()
    digest = folder.write_model(root / NEXT_MODEL, train(rows[rows["day"] <= "2013-01-21"]))
    table = pyarrow.parquet.read_table(snapshot_path(root / DATA, day))
    pyarrow.parquet.write_table(table.drop_columns(["dep_delay"]), root / BROKEN)
    facts = {
        "storm": day.isoformat(),
        "fridays": [(day - timedelta(weeks=weeks)).isoformat() for weeks in (4, 3, 2, 1)],
        "offset_days": (day - today).days,
        "rows": table.num_rows,
        "next_sha256": digest,
    }
    (root / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    for path in (root, *root.rglob("*")):  # the pods have a user of their own, and a host path knows no fsGroup
        path.chmod(0o777 if path.is_dir() else 0o644)


def facts(root: Path) -> dict[str, Any]:
    """Return what `make` wrote down."""
    found: dict[str, Any] = json.loads((root / FACTS).read_text(encoding="utf-8"))
    return found


def values(root: Path) -> dict[str, Any]:
    """Return the chart's values for what was built: the example's own configuration, on the schedule of the tests."""
    run = yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))
    run["environment"] = "test"
    run["schedule"] |= {"cron": "* * * * *", "timezone": "Etc/UTC", "offset_days": facts(root)["offset_days"]}
    return {"run": run}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
