"""The chart agrees with the code and with its own sources, word for word."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

import pytest
import yaml
from rendering import CHART, ENVIRONMENTS, OPERATOR, RELEASED, ROOT, Helm, Render, one, pod_specs

from batchscore.errors import EXIT_CODES


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Load scripts/chart.py."""
    spec = importlib.util.spec_from_file_location("chart_generator", ROOT / "scripts" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_policy_and_readme_are_generated(generator: ModuleType) -> None:
    """The failure policy and the README are what scripts/chart.py writes."""
    assert (CHART / "files" / "pod-failure-policy.yaml").read_text() == generator.failure_policy()
    assert (CHART / "README.md").read_text() == generator.readme()


def test_schema_is_generated(generator: ModuleType) -> None:
    """The schema of `run` is that of the configuration."""
    pytest.importorskip("batchscore.config")

    assert (CHART / "values.schema.json").read_text() == generator.values_schema()


def test_every_value_is_documented(generator: ModuleType) -> None:
    """Every value has a line in the README: its own, or that of the section it stands in."""
    documented = {key for key, _, _ in generator.documented()}
    open_sections = {"run", "files", "env", "global"}

    def undocumented(node: object, path: str) -> list[str]:
        if path in documented or path in open_sections:
            return []
        if isinstance(node, dict) and node:
            return [leaf for key, value in node.items() for leaf in undocumented(value, f"{path}.{key}".lstrip("."))]
        return [path]

    assert undocumented(yaml.safe_load((CHART / "values.yaml").read_text()), "") == []


def test_exit_codes(render: Render) -> None:
    """Both Jobs fail at once on exactly the codes that never retry, and ignore disruptions first."""
    objects = render("--set", "backfill.enabled=true,backfill.from=2013-01-01,backfill.to=2013-01-31")
    final = [row.code for row in EXIT_CODES if row.code and not row.retriable]
    wanted = {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "driver", "operator": "In", "values": final}},
        ]
    }
    backfill = next(item for item in objects if item["kind"] == "Job" and "backfill" in item["metadata"]["name"])

    assert one(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["podFailurePolicy"] == wanted
    assert backfill["spec"]["podFailurePolicy"] == wanted
    assert all(code in (2, 3) or 10 <= code <= 19 for code in final)
    assert not {1, 130, 143, *range(20, 30)} & set(final)


def test_run_is_the_configuration(helm: Helm) -> None:
    """`.Values.run` reaches the ConfigMap key for key, whole numbers included."""
    outcome = helm(
        "template", "f", CHART, "-f", CHART / "ci" / "values.yaml", "--set", "run.rows.max_bad_count=12345678"
    )
    data = one(outcome.objects, "ConfigMap", _config_name(outcome.objects))["data"]
    given = yaml.safe_load((CHART / "ci" / "values.yaml").read_text())["run"]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["run"]
    written = json.loads(data["run.yaml"])

    assert {key: written[key] for key in given} == given
    assert {key: written[key] for key in defaults} == defaults
    assert written["rows"] == {"max_bad_count": 12345678}
    assert set(written) == set(given) | set(defaults) | {"rows"}
    assert yaml.safe_load(data["run.yaml"]) == written
    assert "12345678" in data["run.yaml"]


def test_platform_sections_are_the_codes(helm: Helm) -> None:
    """What the chart adds to `cluster.kubernetes`, and what the environments set, is what the code knows."""
    from batchscore.cluster.options import KubernetesOptions
    from batchscore.strict import parse_section

    for environment in sorted(ENVIRONMENTS.glob("*.yaml")):
        objects = helm("template", "f", CHART, "-f", environment, *RELEASED, *OPERATOR).objects
        data = one(objects, "ConfigMap", _config_name(objects))["data"]
        platform = yaml.safe_load(data["platform.yaml"])["cluster"]["kubernetes"]
        given = yaml.safe_load(data["run.yaml"])["cluster"]["kubernetes"]
        options = parse_section(KubernetesOptions, {**platform, **given}, source=environment.name)

        assert options.image == platform["image"]


def _config_name(objects: list[dict[str, object]]) -> str:
    return next(item["metadata"]["name"] for item in objects if "-config-" in item["metadata"]["name"])  # type: ignore[index]


def test_rules_and_dashboards_are_their_sources(render: Render) -> None:
    """Alert rules and dashboards come through as they are in files/, never through a template."""
    objects = render()
    rules = CHART / "files" / "batchscore.rules.yml"
    dashboards = sorted((CHART / "files" / "dashboards").glob("*.json"))
    rendered = {
        name: text
        for item in objects
        if item["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in item["data"].items()
    }

    assert one(objects, "PrometheusRule", "flights-batchscore")["spec"] == yaml.safe_load(rules.read_text())
    assert rendered == {path.name: path.read_text() for path in dashboards}


def unparsable(arguments: list[str]) -> list[str]:
    """Return what the command line has against the arguments of a container: unknown words, and required ones that are missing."""
    from tools.docs.commands_page import commands

    known = {name.removeprefix("batchscore "): command for name, command in commands()}
    words = arguments[1:]
    name = words[0] if words[0] in known else " ".join(words[:2])
    if name not in known:
        return [name]
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    options = [param for param in known[name].params if param.param_type_name == "option"]
    unknown = given - {text for param in options for text in (*param.opts, *param.secondary_opts)}
    missing = [param.opts[-1] for param in options if param.required and not given & set(param.opts)]
    return sorted(unknown) + missing


def test_commands_are_the_command_lines(render: Render) -> None:
    """Every `batchscore …` that the chart starts is one that the command line takes; a hook that can not start is found here."""
    objects = render("--set", "backfill.enabled=true,backfill.from=2013-01-01,backfill.to=2013-01-31")
    started = {
        name: container["args"]
        for name, pod in pod_specs(objects).items()
        for container in pod["containers"]
        if container["args"][0] == "batchscore"
    }

    assert len(started) == 4
    assert [name for name, arguments in started.items() if unparsable(arguments)] == []
    assert unparsable(["batchscore", "metrics", "forget", "--config", "f"]) == ["--run-type"]
    assert unparsable(["batchscore", "run", "--config", "f", "--date", "d", "--wings"]) == ["--wings"]
