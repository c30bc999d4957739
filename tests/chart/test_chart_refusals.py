"""What the chart refuses, and in which words."""

from __future__ import annotations

import pytest
from rendering import CHART, ENVIRONMENTS, RELEASED, Helm

CI = ("--values", CHART / "ci" / "values.yaml")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cronJob.suspended=true", "suspended"),
        ("image.tag=latest", "/image/tag"),
        ("image.digest=sha256:12", "/image/digest"),
        ("image.repository=registry/batchscore:1.0", "/image/repository"),
        ("image.repository=batchscore@sha256:12", "/image/repository"),
        ("networkPolicy.apiServerPorts={65536}", "/networkPolicy/apiServerPorts/0"),
        ("networkPolicy.apiServerCidrs={kubernetes.default.svc}", "/networkPolicy/apiServerCidrs/0"),
        ("networkPolicy.apiServerCidrs={10.0.0.1}", "/networkPolicy/apiServerCidrs/0"),
        ("networkPolicy.apiServerCidrs={10.0.0.0/33}", "/networkPolicy/apiServerCidrs/0"),
        ("cronJob.startingDeadlineSeconds=5", "/cronJob/startingDeadlineSeconds"),
        ("job.terminationGracePeriodSeconds=10", "/job/terminationGracePeriodSeconds"),
        ("job.backoffLimit=many", "/job/backoffLimit"),
        ("networkpolicy.enabled=false", "networkpolicy"),
        ("run.pipelin=flights", "pipelin"),
        ("run.cluster.kubernetes.max_worker=3", "max_worker"),
        ("run.postprocess.treshold=0.5", "treshold"),
        ("run.partition.rows=0", "/run/partition/rows"),
        ("backfill.from=yesterday", "/backfill/from"),
        ("storage.persistentVolumeClaim.mountPath=data", "mountPath"),
        ("fullnameOverride=" + "n" * 41, "fullnameOverride"),
        ("unknown=1", "unknown"),
    ],
)
def test_schema(helm: Helm, setting: str, words: str) -> None:
    """A typo or a wrong value is refused, and the message says which."""
    outcome = helm("template", CHART, *CI, "--set", setting)

    assert outcome.code != 0
    assert words in outcome.error


def test_right_values_pass(helm: Helm) -> None:
    """The twin: right values of the same keys are taken."""
    outcome = helm(
        "template",
        CHART,
        *CI,
        "--set",
        "cronJob.suspend=true,job.backoffLimit=2,run.partition.rows=5,global.anything=1,"
        "image.repository=localhost:5000/team/batchscore,"
        "networkPolicy.apiServerPorts={65535},networkPolicy.apiServerCidrs={10.96.0.1/32,::/0,fd00::1/128}",
    )

    assert outcome.code == 0, outcome.error


def test_what_is_released_must_be_named(helm: Helm) -> None:
    """An environment without a model's version and digest is refused."""
    outcome = helm("template", CHART, "--values", ENVIRONMENTS / "dev.yaml", "--set", "operator.check=false")

    assert outcome.code != 0
    assert "sha256" in outcome.error
    assert "version" in outcome.error


def test_operator_missing(helm: Helm) -> None:
    """A cluster without the operator's CRDs is refused with the remedy; an embedded run does not need them."""
    common = ("--values", ENVIRONMENTS / "dev.yaml", *RELEASED)
    refused = helm("template", CHART, *common)
    told = helm("template", CHART, *common, "--api-versions", "kubernetes.dask.org/v1")
    embedded = helm("template", CHART, *common, "--set", "run.cluster.kind=local,run.cluster.kubernetes=null")

    assert refused.code != 0
    assert "operator and its CRDs must be installed first" in refused.error
    assert told.code == 0, told.error
    assert embedded.code == 0, embedded.error


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("backfill.enabled=true", "backfill.from and backfill.to"),
        ("backfill.enabled=true,backfill.from=2013-02-01", "backfill.from and backfill.to"),
        ("backfill.enabled=true,backfill.from=2013-02-01,backfill.to=2013-01-31", "lies after"),
        (r"files.run\.yaml=x", "files.run.yaml is the name of a file that the chart writes"),
        ("fullnameOverride=Flights_X", '"Flights_X"'),
        ("storage.objectStore.secret=s3", "needs storage.objectStore.enabled"),
        ("storage.persistentVolumeClaim.enabled=false", "share nothing"),
        (r"driver.labels.app\.kubernetes\.io/component=x", "driver.labels may not set app.kubernetes.io/component"),
        (r"run.cluster.kubernetes.labels.app\.kubernetes\.io/instance=x", "kubernetes.labels may not set"),
        (r"run.cluster.kubernetes.worker.labels.dask\.org/component=x", "worker.labels may not set dask.org/component"),
        ("run.schedule.cron=@daily", "five fields"),
        ("run.schedule=null", "five fields"),
        ("run.schedule.timezone=", "run.schedule.timezone is missing"),
        ("run.metrics.budget_seconds=50", "terminationGracePeriodSeconds must be at least 95"),
        ("job.terminationGracePeriodSeconds=60,run.lineage.events=true", "must be at least 65"),
    ],
)
def test_combinations(helm: Helm, settings: str, words: str) -> None:
    """Values that make no sense together are refused."""
    outcome = helm("template", CHART, *CI, "--set", settings)

    assert outcome.code != 0
    assert words in outcome.error


@pytest.mark.parametrize(
    "settings",
    [
        "cronJob.enabled=false,run.schedule=null",
        "run.cluster=null",
        "rbac.create=false",
        "job.terminationGracePeriodSeconds=60",
        "run.lineage.events=true,run.lineage.budget_seconds=35",
    ],
)
def test_combinations_that_pass(helm: Helm, settings: str) -> None:
    """The twin: what is needed by nothing may be absent."""
    outcome = helm("template", CHART, *CI, "--set", settings)

    assert outcome.code == 0, outcome.error


@pytest.mark.parametrize("release", ["2024-flights", "flights.v2"])
def test_release_name(helm: Helm, release: str) -> None:
    """A release whose name can not begin the name of a Service is refused, and an own name mends it."""
    refused = helm("template", release, CHART, *CI)
    mended = helm("template", release, CHART, *CI, "--set", "fullnameOverride=flights")

    assert refused.code != 0
    assert "Set fullnameOverride" in refused.error
    assert mended.code == 0, mended.error
