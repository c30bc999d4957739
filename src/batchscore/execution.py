"""This execution of a plan: stages, workers, hosts, seconds; and metadata.json, the only document that knows them."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from batchscore import machine
from batchscore.check import Checked
from batchscore.cluster import Workers
from batchscore.deadline import deadline
from batchscore.documents import FORMAT_VERSION
from batchscore.judge import Judgement
from batchscore.metrics import RunType
from batchscore.report import PartitionOutcome, Totals
from batchscore.watch import Stopwatch

Clock = Callable[[], float]
"""Returns the time, in seconds since the epoch."""
STAGES = ("resolve", "cluster", "load", "score", "reduce", "publish")
"""The stages of a run whose wall seconds are recorded."""
PARTITION_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Upper edges of the histogram of seconds per partition."""


class Execution:
    """What the clock and the machines say of one run."""

    def __init__(self, *, run_id: str, run_type: RunType, attempt: int, clock: Clock) -> None:
        self.run_id = run_id
        self.run_type = run_type
        self.clock = clock
        self.started = clock()
        self.attempt = attempt
        self.watch = Stopwatch()
        self.workers = 0
        self.reused = 0
        self.retried = 0
        self._without_checksums: set[str] = set()
        self._hosts: set[str] = set()
        self._peak_memory = 0
        self._counts = [0] * (len(PARTITION_SECONDS) + 1)
        self._seconds: Counter[str] = Counter()
        self._published_from: float | None = None

    def add(self, outcome: PartitionOutcome) -> None:
        """Add one partition's execution."""
        self.reused += outcome.reused
        self.retried += outcome.retries > 0
        self._without_checksums.update(outcome.without_checksums)
        self._hosts.add(outcome.worker)
        self._peak_memory = max(self._peak_memory, outcome.peak_memory_bytes)
        self._counts[bisect_left(PARTITION_SECONDS, sum(outcome.seconds.values()))] += 1
        self._seconds.update(outcome.seconds)

    @contextmanager
    def connected(self, connect: Callable[[], AbstractContextManager[Workers]], seconds: float) -> Iterator[Workers]:
        """Start the workers and score with them, within a deadline; the seconds are those of `cluster` and `score`."""
        with deadline(seconds, "scoring"), self.watch("cluster"), connect() as workers:
            self.workers = workers.count
            with self.watch("score"):
                yield workers

    def publishing(self) -> None:
        """Note that publishing begins; its seconds end where metadata.json is written."""
        self._published_from = perf_counter()

    def counts(self) -> dict[str, Any]:
        """Return what one log line says of the scoring."""
        return {"workers": self.workers, "reused": self.reused, "seconds": round(self.watch.seconds.get("score", 0), 3)}

    def stages(self) -> dict[str, float]:
        """Return the wall seconds of every stage; `load` is part of `score`, summed over workers."""
        publish = perf_counter() - self._published_from if self._published_from else 0.0
        seconds = self.watch.seconds | {"load": self._seconds["load"], "publish": publish}
        return {stage: round(seconds.get(stage, 0.0), 6) for stage in STAGES}

    def record(self) -> dict[str, Any]:
        """Return what metadata.json says of the execution alone."""
        return {
            "attempts": self.attempt,
            "stages": self.stages(),
            "partition_seconds": {
                "edges": list(PARTITION_SECONDS),
                "counts": list(self._counts),
                "sum": round(self._seconds.total(), 6),
                "stages": {stage: round(seconds, 6) for stage, seconds in sorted(self._seconds.items())},
            },
            "workers": self.workers,
            "reused_partitions": self.reused,
            "retried_partitions": self.retried,
            "files_without_page_checksums": len(self._without_checksums),
            "peak_worker_memory_bytes": self._peak_memory,
            "hosts": sorted(self._hosts),
            "image": os.environ.get("BATCHSCORE_IMAGE"),
            "versions": machine.library_versions(),
            "hardware": machine.hardware(),
        }


def metadata_document(
    checked: Checked,
    totals: Totals,
    judgement: Judgement,
    execution: Execution,
    *,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of metadata.json.

    Args:
        checked: The date, checked.
        totals: The sum of all partition reports.
        judgement: The gates' verdicts and the volume baseline.
        execution: This execution.
        asked: Who asked, and why.
    """
    config, plan = checked.config, checked.plan
    ended = execution.clock()
    return {
        "format_version": FORMAT_VERSION,
        "model_version": checked.model.version,
        "data_snapshot": checked.snapshot_name,
        "records_scored": totals.rows()["scored"],
        "execution_time_sec": round(ended - execution.started, 3),
        "pipeline": config.pipeline,
        "environment": config.environment,
        "date": plan.date,
        "run_id": execution.run_id,
        "plan_id": plan.plan_id,
        "input_id": plan.input_id,
        "run_type": execution.run_type,
        **asked,
        "started_at": _iso(execution.started),
        "ended_at": _iso(ended),
        "run_timeout_seconds": config.cluster.deadline_minutes * 60,
        **execution.record(),
        "model": checked.model.record(),
        "schema": {"name": checked.schema.name, "version": checked.schema.version, "sha256": checked.schema_sha256},
        **judgement.record(),
        "alerts": config.alerts.model_dump(mode="json"),
        "config": config.model_dump(mode="json", by_alias=True),
        "ignored_columns": list(checked.ignored),
        "files": {
            footer.file.path: {"modified_ns": footer.stat.modified_ns, "inode": footer.stat.inode}
            for footer in checked.footers
        },
    }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
