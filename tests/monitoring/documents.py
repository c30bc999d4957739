"""Published documents as a run writes them, for tests: every number can be told apart."""

from __future__ import annotations

import json
from typing import Any

FEATURES = ("carrier", "dep_delay", "distance", "hour", "wind_speed")


def profile(rows: int = 1000, nulls: int = 20, nans: int = 0) -> dict[str, Any]:
    """Return a column's profile, as far as the metrics and the report read it."""
    return {"kind": "numeric", "rows": rows, "nulls": nulls, "nans": nans, "total": "625p-1"}


def summary(**changes: Any) -> dict[str, Any]:
    """Return a `summary_metrics.json`."""
    content = {
        "format_version": 1,
        "pipeline": "flights",
        "date": "2013-02-08",
        "plan_id": "1a" * 32,
        "rows": {"read": 1000, "scored": 980, "written": 980, "rejected": 20, "flagged": 210},
        "rejected": {"null": 12, "not-finite": 0, "below-min": 5, "above-max": 0, "unknown-category": 4},
        "counts": {},
        "partitions": [
            {"index": 0, "read": 600, "scored": 590, "rejected": 10, "flagged": 110},
            {"index": 1, "read": 400, "scored": 390, "rejected": 10, "flagged": 100},
        ],
        "profiles": {
            "features": {name: profile(nulls=8 * place, nans=2 * place) for place, name in enumerate(FEATURES)},
            "scores": {"prediction": profile()},
        },
        "histograms": {"prediction": {"edges": [i / 20 for i in range(21)], "counts": [49] * 20}},
        "quantiles": {
            "prediction": {"p01": 0.01, "p05": 0.05, "p25": 0.2, "p50": 0.3, "p75": 0.5, "p95": 0.8, "p99": 0.9}
        },
        "drift": {
            "reference": {
                "name": "january",
                "version": "1",
                "sha256": "2b" * 32,
                "histograms": {"prediction": {"edges": [i / 20 for i in range(21)], "counts": [0] * 10 + [98] * 10}},
            },
            "features": {name: {"psi": 0.02 * place, "js": 0.01, "ks": 0.03} for place, name in enumerate(FEATURES)},
            "prediction": {"psi": 0.11, "js": 0.02, "ks": 0.05},
        },
        "id_digest": "3c" * 16,
        "input_bytes": 123_456,
        "output_bytes": 65_432,
    }
    return json.loads(json.dumps({**content, **changes}))


def metadata(**changes: Any) -> dict[str, Any]:
    """Return a `metadata.json`."""
    content = {
        "format_version": 1,
        "model_version": "1.2.0",
        "data_snapshot": "flights_2013_02_08",
        "records_scored": 980,
        "execution_time_sec": 42.25,
        "pipeline": "flights",
        "environment": "prod",
        "date": "2013-02-08",
        "run_id": "4d" * 8,
        "plan_id": "1a" * 32,
        "input_id": "5e" * 32,
        "run_type": "scheduled",
        "by": "cron",
        "reason": None,
        "attempts": 1,
        "started_at": "2013-02-09T02:15:00.250000+00:00",
        "ended_at": "2013-02-09T02:15:42.500000+00:00",
        "run_timeout_seconds": 7200,
        "stages": {"resolve": 1.5, "cluster": 2.0, "load": 3.25, "score": 30.0, "reduce": 1.0, "publish": 4.5},
        "partition_seconds": {"edges": [0.1, 1, 10, 100], "counts": [0, 0, 1, 1, 0], "sum": 28.5},
        "workers": 2,
        "retried_partitions": 1,
        "reused_partitions": 0,
        "peak_worker_memory_bytes": 512 * 1024**2,
        "hosts": ["worker-0", "worker-1"],
        "versions": {"batchscore": "0.1.0", "python": "3.11.7", "scikit-learn": "1.9.1"},
        "image": None,
        "hardware": {},
        "model": {"name": "flights_late", "version": "1.2.0", "sha256": "6f" * 32, "format": "joblib"},
        "volume": {"baseline_rows": 1900.0, "deviation_rows": 95.0, "runs": 5, "dates": [], "label": "Fridays"},
        "next_deadline": 1_360_548_900,
        "input_unchanged": False,
        "gates": [],
        "warnings": [],
        "alerts": {
            "volume_low_ratio": 0.6,
            "volume_high_ratio": 1.6,
            "baseline_runs": 4,
            "rejected_ratio": 0.02,
            "slow_ratio": 2.0,
            "slow_min_seconds": 120.0,
            "prediction_drift_psi": 0.2,
            "feature_drift_psi": 0.25,
        },
        "files": {},
    }
    return json.loads(json.dumps({**content, **changes}))
