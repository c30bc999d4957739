"""The chart renders, lints and validates, everywhere it should."""

from __future__ import annotations

import copy

import pytest
import yaml
from rendering import CHART, ENVIRONMENTS, OPERATOR, RELEASED, Helm, Render

OLDEST, NEWEST = "1.29", "1.35"
OWN_KINDS = {"PrometheusRule", "PodMonitor", "ServiceMonitor"}
BACKFILL = ("--set", "backfill.enabled=true,backfill.from=2013-01-01,backfill.to=2013-01-31")


def complaints(objects: list[dict[str, object]], version: str) -> list[str]:
    """Validate against the schemas of Kubernetes `version`, with unknown fields forbidden."""
    import kubernetes_validate

    found = []
    for item in objects:
        if item["kind"] in OWN_KINDS:
            continue
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{item['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
    return found


def test_lint(helm: Helm) -> None:
    """`helm lint --strict` finds nothing."""
    outcome = helm("lint", "--strict", CHART, "--values", CHART / "ci" / "values.yaml")

    assert outcome.code == 0, outcome.output + outcome.error


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("environment", sorted(path.stem for path in ENVIRONMENTS.glob("*.yaml")))
def test_environment(helm: Helm, environment: str, version: str) -> None:
    """Every environment renders objects that the oldest and the newest Kubernetes accept."""
    values = ENVIRONMENTS / f"{environment}.yaml"
    outcome = helm(
        "template",
        "flights",
        CHART,
        "--values",
        values,
        *RELEASED,
        *OPERATOR,
        *BACKFILL,
        "--kube-version",
        f"{version}.0",
    )

    assert {item["kind"] for item in outcome.objects} >= {"CronJob", "Job", "ConfigMap", "Role", "NetworkPolicy"}
    assert complaints(outcome.objects, version) == []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_validation_has_teeth(render: Render, version: str) -> None:
    """The validation above refuses an unknown field and a wrong type."""
    objects = copy.deepcopy(render())
    cron_job = next(item for item in objects if item["kind"] == "CronJob")
    cron_job["spec"]["suspended"] = True
    cron_job["spec"]["startingDeadlineSeconds"] = "soon"

    assert len(complaints(objects, version)) == 1


@pytest.mark.parametrize("version", ["1.28.9", "1.36.0"])
def test_unsupported_kubernetes(helm: Helm, version: str) -> None:
    """A Kubernetes outside the stated range is refused."""
    outcome = helm("template", CHART, "--values", CHART / "ci" / "values.yaml", "--kube-version", version)

    assert outcome.code != 0
    assert "incompatible" in outcome.error


def test_two_environments_share_no_name(helm: Helm) -> None:
    """Two environments in two namespaces have no cluster-wide object, so they cannot touch each other."""
    wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "PriorityClass",
        "CustomResourceDefinition",
        "Namespace",
        "PersistentVolume",
    }
    for namespace, environment in (("one", "dev"), ("two", "staging")):
        outcome = helm(
            "template",
            "flights",
            CHART,
            "-n",
            namespace,
            "-f",
            ENVIRONMENTS / f"{environment}.yaml",
            *RELEASED,
            *OPERATOR,
        )

        assert {item["metadata"].get("namespace") for item in outcome.objects} == {namespace}
        assert not wide & {item["kind"] for item in outcome.objects}


def test_long_release_name(helm: Helm) -> None:
    """The longest release name still gives names that Kubernetes takes."""
    release = "r" * 53
    outcome = helm("template", release, CHART, "-f", CHART / "ci" / "values.yaml", *BACKFILL)
    names = {(item["kind"], item["metadata"]["name"]) for item in outcome.objects}

    assert max(len(name) for _, name in names) <= 63
    assert max(len(name) for kind, name in names if kind == "CronJob") <= 52


def test_names_like_numbers(helm: Helm) -> None:
    """A release and a namespace that YAML would read as numbers stay text."""
    arguments = ("--namespace", "2025", "--set", "fullnameOverride=flights", *BACKFILL)
    outcome = helm("template", "2024", CHART, "-f", CHART / "ci" / "values.yaml", *arguments)

    assert complaints(outcome.objects, NEWEST) == []
    assert {item["metadata"]["namespace"] for item in outcome.objects} == {"2025"}
    assert {item["metadata"]["labels"]["app.kubernetes.io/instance"] for item in outcome.objects} == {"2024"}


def test_packaged_files() -> None:
    """Nothing but the chart's own kinds of files lies in its folder, so nothing else is packaged."""
    strange = [
        path
        for path in CHART.rglob("*")
        if path.is_file() and path.suffix not in {".yaml", ".yml", ".tpl", ".json", ".md", ".txt"}
    ]

    assert strange == []
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["apiVersion"] == "v2"
