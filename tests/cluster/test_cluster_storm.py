"""From the CronJob's tick to the published storm and its metrics, on a real node."""

from __future__ import annotations

import time
from typing import Any

import pytest
import scenes
from node.layout import VOLUME
from scenes import finished, get, kubectl, log, names, pods, published, start, until
from timeline import show, step

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True), pytest.mark.usefixtures("installed")]


def test_seeded(facts: dict[str, Any]) -> None:
    """Four earlier Fridays are scored as scheduled runs, embedded in the driver's pod."""
    each = " ".join(facts["fridays"])
    options = f"{' '.join(scenes.CONFIGS)} --run-type scheduled --set cluster.kind=local"
    start("seed", "sh", "-c", f"set -e; for day in {each}; do batchscore run {options} --date $day; done")
    finished("seed")
    step("four earlier Fridays are scored")

    assert all((VOLUME / "outputs" / day / "manifest.json").exists() for day in facts["fridays"])


def test_storm(facts: dict[str, Any]) -> None:
    """The CronJob's own Job scores the storm with two workers over TLS, and leaves nothing running."""
    before = set(names("jobs"))
    patch = '{"spec": {"suspend": %s}}'
    kubectl("patch", "cronjob", scenes.NAME, "-p", patch % "false")
    (made,) = until("the CronJob's Job", 90, lambda: set(names("jobs")) - before)
    kubectl("patch", "cronjob", scenes.NAME, "-p", patch % "true")
    step("the CronJob has started its Job")
    job = made.rpartition("/")[2]
    until("two running workers", 200, lambda: len(pods(job, "worker", phase="Running")) == 2)
    step("scheduler and two workers run")
    show("During the run", f"$ kubectl get all,daskcluster\n{kubectl('get', 'all,daskcluster')}")
    finished(job)
    step("the Job is complete")
    until("nothing of the cluster left", scenes.GONE, lambda: not scenes.left(job))
    step("the Dask cluster is gone")
    time.sleep(1)
    show("After the run", f"$ kubectl get all,daskcluster\n{kubectl('get', 'all,daskcluster')}")
    record = scenes.metadata("outputs")

    assert get("job", job)["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert record["run_type"] == "scheduled"
    assert record["date"] == facts["storm"]
    assert record["records_scored"] == facts["rows"] == 458
    assert record["volume"]["runs"] == 4
    assert f"the Job '{job}' was scheduled for" in log(job)


def test_made_by_hand(facts: dict[str, Any]) -> None:
    """A Job made by hand bears no tick: it takes the last one before its creation, says so, and finds the date published."""
    kubectl("create", "job", "by-hand", f"--from=cronjob/{scenes.NAME}")
    finished("by-hand")

    assert "the Job 'by-hand' was made by hand at" in log("by-hand")
    assert facts["storm"] in log("by-hand")
    assert "cluster_created" not in log("by-hand")


def test_same_bytes_as_embedded() -> None:
    """The embedded run of the same image publishes the same bytes."""
    finished(scenes.start_run("embedded", {"cluster.kind": "local"}))
    ours, embedded = published("outputs"), published("outputs-embedded")

    assert ours == embedded
    assert {"manifest.json", "summary_metrics.json", "predictions.parquet/part-00000.parquet"} <= set(ours)


def test_metrics(facts: dict[str, Any]) -> None:
    """Prometheus has the numbers of the storm and of its baseline."""
    rows = 'batchscore_scored_rows{pipeline="flights",environment="test",run_type="scheduled"}'
    (found,) = until("the rows in Prometheus", 60, lambda: scenes.query(f"{rows} == {facts['rows']}"))
    step("the metrics are in Prometheus")
    (ratio,) = until("the ratio", 60, lambda: scenes.query("pipeline:batchscore_scored_rows:baseline_ratio"))

    assert found["metric"]["job"] == "batchscore"
    assert float(ratio["value"][1]) < 0.6
