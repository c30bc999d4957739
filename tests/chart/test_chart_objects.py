"""What the rendered objects say, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import CHART, Helm, Render, one

from batchscore import ending
from batchscore.cluster import kubernetes
from batchscore.cluster.options import KubernetesOptions
from batchscore.config import load_config

BACKFILL = ("--set", "backfill.enabled=true,backfill.from=2013-01-01,backfill.to=2013-01-31")


def test_cron_job(render: Render) -> None:
    """The CronJob never overlaps, knows its time zone, and forgives a late start."""
    spec = one(render(), "CronJob")["spec"]
    job = spec.pop("jobTemplate")["spec"]
    pod = job.pop("template")["spec"]
    job.pop("podFailurePolicy")

    assert spec == {
        "schedule": "15 2 * * *",
        "timeZone": "Etc/UTC",
        "suspend": False,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 21600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 5,
    }
    assert job == {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 6600,
        "ttlSecondsAfterFinished": 172800,
        "podReplacementPolicy": "Failed",
    }
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] == 90


def test_the_driver_knows_its_grace(render: Render) -> None:
    """The driver is told how long the kubelet waits, under the name that it reads."""
    pod = one(render("--set", "job.terminationGracePeriodSeconds=120"), "CronJob")["spec"]["jobTemplate"]["spec"][
        "template"
    ]["spec"]
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}

    assert pod["terminationGracePeriodSeconds"] == 120
    assert environment[ending.PLATFORM_GRACE] == "120"


def test_a_removal_fits_into_the_grace(helm: Helm) -> None:
    """What the driver keeps back is enough for a removal, and the chart refuses a grace that has no room for both and a push."""
    refused = helm("template", CHART, "-f", CHART / "ci" / "values.yaml", "--set", "run.metrics.budget_seconds=46")
    needed = ending.KEPT_BACK_SECONDS + kubernetes._REMOVE_SECONDS + 46

    assert kubernetes._REMOVE_SECONDS < ending.KEPT_BACK_SECONDS
    assert f"must be at least {needed:.0f}:" in refused.error


def test_schedule_has_one_source(render: Render) -> None:
    """Cron and time zone come from the run's configuration."""
    spec = one(render("--set", "run.schedule.cron=0 5 * * 1,run.schedule.timezone=Europe/Berlin"), "CronJob")["spec"]

    assert (spec["schedule"], spec["timeZone"]) == ("0 5 * * 1", "Europe/Berlin")


def test_driver_arguments(render: Render) -> None:
    """The driver runs the scheduled date, the backfill its range; quotes keep dates text."""
    objects = render(*BACKFILL, "--set", "driver.args={--log-format,json},backfill.args={--reason,night}")
    config = ["--config", "/etc/batchscore/platform.yaml", "--config", "/etc/batchscore/run.yaml"]
    driver = one(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    backfill = next(item for item in objects if "-backfill-" in item["metadata"]["name"])
    container = backfill["spec"]["template"]["spec"]["containers"][0]

    assert driver["args"] == ["batchscore", "run", *config, "--date", "scheduled", "--log-format", "json"]
    assert container["args"] == [
        "batchscore", "backfill", *config, "--from", "2013-01-01", "--to", "2013-01-31", "--reason", "night"
    ]  # fmt: skip


def _config(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return next(item for item in objects if item["kind"] == "ConfigMap" and "-config-" in item["metadata"]["name"])


@pytest.mark.parametrize(
    "change", ["--set-json=run.postprocess.threshold=0.8", "--set=image.digest=sha256:" + "1" * 64, "--set=files.x=y"]
)
def test_config_is_named_by_its_digest(render: Render, change: str) -> None:
    """Whatever changes the configuration changes its name, everywhere it is used; nothing else does."""
    before, after = _config(render()), _config(render(change))
    same = _config(render("--set", "cronJob.suspend=true"))
    cron_job = one(render(change), "CronJob")
    volumes = {v["name"]: v for v in cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]}

    assert before["immutable"] is True
    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert before["metadata"]["name"] == same["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == after["metadata"]["name"]


def test_config_survives_upgrade_and_rollback(render: Render) -> None:
    """The ConfigMap is a hook without deletion, so Helm never takes it from a running Job; a sweep does when nobody uses it."""
    objects = render()
    annotations = _config(objects)["metadata"]["annotations"]
    sweep = one(objects, "Job", "flights-batchscore-sweep")
    container = sweep["spec"]["template"]["spec"]["containers"][0]

    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade,pre-rollback"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert sweep["metadata"]["annotations"]["helm.sh/hook"] == "post-upgrade,post-rollback"
    assert {"name": "BATCHSCORE_CONFIG", "value": _config(objects)["metadata"]["name"]} in container["env"]


def test_hooks_at_uninstall(render: Render) -> None:
    """Uninstall waits for drivers, forgets the metrics, then removes the configurations; without a Pushgateway there is nothing to forget."""
    objects = render()
    bare = render("--set", "run.metrics.pushgateway=null")

    def weights(found: list[dict[str, Any]]) -> dict[str, str]:
        return {
            item["metadata"]["name"].removeprefix("flights-batchscore-"): item["metadata"]["annotations"][
                "helm.sh/hook-weight"
            ]
            for item in found
            if item["kind"] == "Job" and "post-delete" in item["metadata"]["annotations"]["helm.sh/hook"]
        }

    assert weights(objects) == {"wait": "-1", "forget": "0", "clean": "5"}
    assert weights(bare) == {"clean": "5"}


def test_hooks_without_roles(render: Render) -> None:
    """Who may make no roles gets none: only the hook that asks nothing of the API server is left."""
    objects = render("--set", "rbac.create=false")
    bare = render("--set", "rbac.create=false,run.metrics.pushgateway=null")

    assert not {item["kind"] for item in objects} & {"Role", "RoleBinding"}
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "Job"] == ["flights-batchscore-forget"]
    assert one(objects, "ServiceAccount", "flights-batchscore-hooks")
    assert not [item for item in bare if item["metadata"]["name"].endswith(("-hooks", "-forget"))]


def test_hooks_are_let_in(render: Render, tmp_path: Path) -> None:
    """A hook bears what keeps a mesh away, and the one that speaks to the gateway has the files that it asks for."""
    values = {
        "driver": {"labels": {"mesh": "off"}, "annotations": {"inject": "disabled"}},
        "volumes": [{"name": "push", "secret": {"secretName": "push"}}],
        "volumeMounts": [{"name": "push", "mountPath": "/etc/push"}],
    }
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    jobs = [item for item in render("--values", str(path)) if item["kind"] == "Job"]
    forget = one(jobs, "Job", "flights-batchscore-forget")["spec"]["template"]["spec"]

    assert len(jobs) == 4
    for job in jobs:
        metadata = job["spec"]["template"]["metadata"]
        assert metadata["labels"]["mesh"] == "off"
        assert metadata["labels"]["app.kubernetes.io/component"] == "hook"
        assert metadata["annotations"]["inject"] == "disabled"
    assert values["volumes"][0] in forget["volumes"]
    assert values["volumeMounts"][0] in forget["containers"][0]["volumeMounts"]


def test_large_user_ids(render: Render, tmp_path: Path) -> None:
    """The ids that OpenShift gives, out of a values file, reach the run's configuration as whole numbers."""
    path = tmp_path / "values.yaml"
    path.write_text("podSecurityContext: {runAsUser: 1000650000, runAsGroup: 1000650001, fsGroup: 1000650002}\n")
    platform = yaml.safe_load(_config(render("--values", str(path)))["data"]["platform.yaml"])
    options = KubernetesOptions.model_validate(platform["cluster"]["kubernetes"])

    assert (options.run_as_user, options.run_as_group, options.fs_group) == (1000650000, 1000650001, 1000650002)


def test_claim_is_kept(render: Render) -> None:
    """Outputs outlive the release."""
    claim = one(render(), "PersistentVolumeClaim")
    existing = render("--set", "storage.persistentVolumeClaim.existingClaim=mine")

    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "storageClassName" not in claim["spec"]
    assert "PersistentVolumeClaim" not in {item["kind"] for item in existing}
    assert "mine" in _config(existing)["data"]["platform.yaml"]


def test_storage_class(render: Render) -> None:
    """A named class is asked for; the empty one, which switches provisioning off, is not taken for none."""
    named = one(render("--set", "storage.persistentVolumeClaim.storageClassName=fast"), "PersistentVolumeClaim")
    empty = one(render("--set-string", "storage.persistentVolumeClaim.storageClassName="), "PersistentVolumeClaim")

    assert named["spec"]["storageClassName"] == "fast"
    assert empty["spec"]["storageClassName"] == ""


def test_object_store(render: Render) -> None:
    """Credentials reach driver and workers as environment, never the configuration, and port 443 opens."""
    objects = render(
        "--set",
        "storage.objectStore.enabled=true,storage.objectStore.secret=s3,storage.persistentVolumeClaim.enabled=false",
    )
    driver = one(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    platform = yaml.safe_load(_config(objects)["data"]["platform.yaml"])["cluster"]["kubernetes"]
    egress = one(objects, "NetworkPolicy", "flights-batchscore-worker")["spec"]["egress"]

    assert driver["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert platform["env_from"] == [{"secretRef": {"name": "s3"}}]
    assert platform["volumes"] == []
    assert driver["workingDir"] == platform["working_dir"] == "/tmp"
    assert {"ports": [{"protocol": "TCP", "port": 443}]} in egress


def test_network_policies(render: Render) -> None:
    """Only driver and workers reach the scheduler's RPC port, only the operator (and Prometheus if it scrapes) its HTTP port."""
    objects = render("--set", "monitoring.podMonitor.enabled=false")
    ours = {"app.kubernetes.io/name": "batchscore", "app.kubernetes.io/instance": "flights"}
    scheduler = one(objects, "NetworkPolicy", "flights-batchscore-scheduler")["spec"]
    driver = one(objects, "NetworkPolicy", "flights-batchscore-driver")["spec"]
    worker = one(objects, "NetworkPolicy", "flights-batchscore-worker")["spec"]

    assert scheduler["podSelector"] == {"matchLabels": {**ours, "dask.org/component": "scheduler"}}
    assert scheduler["ingress"] == [
        {
            "from": [
                {"podSelector": {"matchLabels": {**ours, "app.kubernetes.io/component": "driver"}}},
                {"podSelector": {"matchLabels": {**ours, "dask.org/component": "worker"}}},
            ],
            "ports": [{"protocol": "TCP", "port": 8786}],
        },
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dask-operator"}}}],
            "ports": [{"protocol": "TCP", "port": 8787}],
        },
    ]
    assert "ingress" not in driver
    assert "Ingress" in driver["policyTypes"]
    assert [rule["from"] for rule in worker["ingress"]] == [
        [{"podSelector": {"matchLabels": {**ours, "dask.org/component": kind}}} for kind in ("scheduler", "worker")]
    ]
    assert all(rule.get("to") for policy in (driver, scheduler, worker) for rule in policy["egress"])


@pytest.mark.parametrize(
    ("options", "events"),
    [
        ((), "post-upgrade,post-rollback,post-delete"),
        (("--set", "rbac.create=false"), "post-delete"),
        (("--set", "configMaps.sweep=false"), "post-delete"),
    ],
    ids=["all hooks", "no rights", "no sweep"],
)
def test_hooks_have_a_way_out(render: Render, options: tuple[str, ...], events: str) -> None:
    """In a namespace that denies all traffic the hooks still reach API server and Pushgateway, also after the release is gone."""
    objects = render(*options)
    policy = one(objects, "NetworkPolicy", "flights-batchscore-hooks")
    jobs = [item for item in objects if item["kind"] == "Job" and "helm.sh/hook" in item["metadata"]["annotations"]]
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    open_ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]

    assert policy["metadata"]["annotations"]["helm.sh/hook"] == events
    assert set(events.split(",")) == {
        event for job in jobs for event in job["metadata"]["annotations"]["helm.sh/hook"].split(",")
    }
    assert jobs
    assert all(selected <= job["spec"]["template"]["metadata"]["labels"].items() for job in jobs)
    assert open_ports == [53, 53, 443, 6443, 9091]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    assert "NetworkPolicy" not in {item["kind"] for item in render(*options, "--set", "networkPolicy.enabled=false")}


def test_embedded_run_has_no_dask_policies(render: Render) -> None:
    """A run inside the driver's own pod needs neither scheduler nor worker policies."""
    objects = render("--set", "run.cluster.kind=local,run.cluster.kubernetes=null")
    names = {item["metadata"]["name"] for item in objects if item["kind"] == "NetworkPolicy"}

    assert names == {"flights-batchscore-driver", "flights-batchscore-hooks"}
    assert yaml.safe_load(_config(objects)["data"]["platform.yaml"]) == {"cluster": {"deadline_minutes": 110}}


@pytest.mark.parametrize(("seconds", "minutes"), [("6600", 110), ("90", 1.5), ("60000000", 1000000)])
def test_a_run_takes_as_long_as_its_job_may(render: Render, seconds: str, minutes: float) -> None:
    """The deadline of the scoring, which the alert on stuck runs looks at, is that of the Job."""
    objects = render("--set", f"job.activeDeadlineSeconds={seconds}")

    assert yaml.safe_load(_config(objects)["data"]["platform.yaml"])["cluster"]["deadline_minutes"] == minutes


def test_the_runs_own_deadline_wins(render: Render, tmp_path: Path) -> None:
    """A deadline in `run` is the one that a run obeys, as with all that the chart adds."""
    data = _config(render("--set", "run.cluster.deadline_minutes=30"))["data"]
    for name in ("platform.yaml", "run.yaml"):
        (tmp_path / name).write_text(data[name])
    config = load_config([str(tmp_path / name) for name in ("platform.yaml", "run.yaml")])

    assert config.cluster.deadline_minutes == 30


def test_validate_hook(render: Render) -> None:
    """`helm test` validates with the very configuration, volumes and environment of the driver, without a Job's names or a token."""
    objects = render()
    pod = one(objects, "Pod")["spec"]
    driver = one(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    names = [variable["name"] for variable in pod["containers"][0]["env"]]

    assert pod["containers"][0]["args"][:2] == ["batchscore", "validate"]
    assert pod["volumes"] == driver["volumes"]
    assert pod["containers"][0]["volumeMounts"] == driver["containers"][0]["volumeMounts"]
    assert names == [
        "BATCHSCORE_NAMESPACE",
        "BATCHSCORE_POD",
        "BATCHSCORE_OWNER",
        "BATCHSCORE_IMAGE",
        "BATCHSCORE_GRACE_SECONDS",
        "BATCHSCORE_CONFIG",
    ]


def test_pushgateway_scrape_keeps_labels(render: Render) -> None:
    """Without `honorLabels` every rule would be empty; under its Service's name PushgatewayDown would fire for ever."""
    objects = render()
    endpoint = one(objects, "ServiceMonitor")["spec"]["endpoints"][0]
    groups = one(objects, "PrometheusRule", "flights-batchscore")["spec"]["groups"]
    down = [rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == "PushgatewayDown"]

    assert endpoint["honorLabels"] is True
    assert [(rule["targetLabel"], rule["replacement"]) for rule in endpoint["relabelings"]] == [("job", "pushgateway")]
    assert ['up{job="pushgateway"}' in expression for expression in down] == [True]


def test_notes(helm: Helm) -> None:
    """The notes tell the next three commands, and warn of a movable image."""
    notes = helm(
        "install",
        "flights",
        CHART,
        "-n",
        "scoring",
        "-f",
        CHART / "ci" / "values.yaml",
        "--set",
        "image.digest=",
        "--dry-run=client",
    ).output

    assert "helm test flights -n scoring --logs" in notes
    assert "create job flights-batchscore-manual --from=cronjob/flights-batchscore" in notes
    assert "logs -f -l app.kubernetes.io/instance=flights" in notes
    assert "WARNING: the image is named by a tag" in notes
    assert "WARNING: run names an object store" not in notes
    assert "any host on the ports 443 and 6443: set networkPolicy.apiServerCidrs" in notes


def test_notes_of_a_known_api_server(helm: Helm) -> None:
    """Who names the API server's network is not warned."""
    ci = ("-f", CHART / "ci" / "values.yaml", "--dry-run=client")
    notes = helm("install", "flights", CHART, *ci, "--set", "networkPolicy.apiServerCidrs={10.96.0.1/32}").output

    assert "any host on the ports" not in notes


def test_notes_of_a_store_out_of_reach(helm: Helm) -> None:
    """A path in an object store that no network policy lets the run reach is warned about."""
    ci = ("-f", CHART / "ci" / "values.yaml", "--dry-run=client")
    notes = helm("install", "flights", CHART, *ci, "--set", "run.output.path=s3://b/o").output
    opened = helm(
        "install", "flights", CHART, *ci, "--set", "run.output.path=s3://b/o,storage.objectStore.enabled=true"
    ).output

    assert "WARNING: run names an object store" in notes
    assert "WARNING: run names an object store" not in opened
