"""The DaskCluster object: what it says, and that the operator's schema takes it and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from batchscore.cluster.creation import new_name
from batchscore.cluster.daskcluster import build
from batchscore.cluster.job import Identity
from batchscore.cluster.options import KubernetesOptions, workers_for
from batchscore.errors import ConfigError

IDENTITY = Identity(namespace="scoring", pod="p", job="flights-1", job_uid="1234", owner="flights", config_map="conf")
EVERYTHING: dict[str, Any] = {
    "image": "registry/batchscore@sha256:1",
    "image_pull_secrets": ["registry"],
    "service_account": "flights-worker",
    "working_dir": "/data",
    "labels": {"app.kubernetes.io/instance": "flights"},
    "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
    "env_from": [{"secretRef": {"name": "s3"}}],
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}],
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "scheduler": {"priority_class_name": "high", "resources": {"limits": {"memory": "1Gi"}}},
    "worker": {
        "threads": 2,
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        "node_selector": {"pool": "batch"},
        "affinity": {"nodeAffinity": {}},
        "topology_spread_constraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "labels": {"team": "risk"},
        "env": [{"name": "EXTRA", "value": "1"}],
    },
}


def _build(**changes: Any) -> dict[str, Any]:
    return build("c", KubernetesOptions.model_validate({**EVERYTHING, **changes}), IDENTITY, workers=3, attempt="mark")


def test_metadata() -> None:
    """The Job owns the cluster without blocking, and the cluster says whose it is."""
    metadata = _build()["metadata"]

    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "flights-1",
            "uid": "1234",
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "batchscore",
        "app.kubernetes.io/instance": "flights",
        "batchscore.io/owner": "flights",
        "batchscore.io/job": "flights-1",
    }
    assert metadata["annotations"] == {"batchscore.io/attempt": "mark", "batchscore.io/job-uid": "1234"}


@pytest.mark.parametrize("quantity", ["1Gx", "2 Gi", "", "-1", "1Gi2", True, [1], "Gi"])
def test_no_quantity(quantity: object) -> None:
    """What is no quantity of Kubernetes is named with the key that it stands in."""
    with pytest.raises(ValueError, match=r"limits\.memory"):
        _build(worker={"resources": {"limits": {"memory": quantity}}})


@pytest.mark.parametrize("quantity", [1, 0.5, "1", "500m", "2Gi", "1.5", ".5", "1e3", "129E", "123Ki", "1.G"])
def test_quantity(quantity: object) -> None:
    """The twin: every way to write one is taken; the operator's schema wants text, also of a number."""
    worker = _build(worker={"resources": {"requests": {"cpu": quantity}}})["spec"]["worker"]

    assert worker["spec"]["containers"][0]["resources"] == {"requests": {"cpu": str(quantity)}}


def test_pods_are_restricted() -> None:
    """Scheduler and workers keep the pod security standard *restricted*, and get no token."""
    for kind in ("scheduler", "worker"):
        spec = _build()["spec"][kind]["spec"]
        (container,) = spec["containers"]

        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_commands() -> None:
    """The commands are those that distributed still has, without a worker name, with nine tenths of the memory limit."""
    spec = _build()["spec"]
    scheduler = spec["scheduler"]["spec"]["containers"][0]["args"]
    worker = spec["worker"]["spec"]["containers"][0]["args"]

    assert scheduler[:4] == ["dask", "scheduler", "--protocol", "tls"]
    assert worker[:4] == ["dask", "worker", "--nthreads", "2"]
    assert "--name" not in worker
    assert worker[-2:] == ["--memory-limit", str(int(4 * 2**30 * 0.9))]


def test_values_reach_the_pods() -> None:
    """Where a pod runs, what it may use, what it mounts and what its environment is come from the options."""
    worker = _build()["spec"]["worker"]
    spec = worker["spec"]
    (container,) = spec["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}

    assert worker["replicas"] == 3
    assert worker["metadata"]["labels"] == {"team": "risk"}
    assert spec["tolerations"] == EVERYTHING["worker"]["tolerations"]
    assert spec["nodeSelector"] == {"pool": "batch"}
    assert spec["serviceAccountName"] == "flights-worker"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert {volume["name"] for volume in spec["volumes"]} == {"scratch", "tls", "config", "data"}
    assert environment["DASK_SCHEDULER_ADDRESS"] == "tls://c-scheduler.scoring.svc:8786"
    assert (environment["AWS_REGION"], environment["EXTRA"]) == ("eu-central-1", "1")
    assert container["envFrom"] == EVERYTHING["env_from"]
    assert container["workingDir"] == "/data"


@pytest.mark.parametrize(("group", "mode"), [(10001, 0o440), (None, 0o444)])
def test_certificates_can_be_read(group: int | None, mode: int) -> None:
    """The kubelet writes Secrets as root: the pod's user reads them by the volumes' group, or without one as anybody."""
    volumes = _build(fs_group=group)["spec"]["worker"]["spec"]["volumes"]

    assert [one["secret"]["defaultMode"] for one in volumes if one["name"] == "tls"] == [mode]


def test_without_tls() -> None:
    """Without TLS there is no Secret to mount and no setting that asks for encryption."""
    spec = _build(tls=False)["spec"]["scheduler"]["spec"]

    assert "tls" not in {volume["name"] for volume in spec["volumes"]}
    assert not [one["name"] for one in spec["containers"][0]["env"] if "TLS" in one["name"] or "ENCRYPT" in one["name"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"worker": {"tolerations": [{"kye": "spot"}]}}, "spec.worker.spec.tolerations.0"),
        ({"worker": {"resources": {"limit": {"memory": "1Gi"}}}}, "'limit' was unexpected"),
        ({"env": [{"name": "X", "value": 1}]}, "value: 1 is not of type 'string'"),
        ({"volumes": [{"name": "model", "image": {"reference": "x"}}]}, "'image' was unexpected"),
        ({"env": [{"nam": "X", "value": "1"}]}, "'nam' was unexpected"),
        ({"scheduler": {"affinity": {"nodeAffinit": {}}}}, "'nodeAffinit' was unexpected"),
        ({"image": None}, "cluster.kubernetes.image is missing"),
    ],
)
def test_refused(changes: dict[str, Any], words: str) -> None:
    """A field that the API server would drop without a word is code 10 with its path."""
    with pytest.raises(ConfigError) as caught:
        _build(**changes)

    assert words in caught.value.message


@pytest.mark.parametrize("owner", ["flights", "o" * 63, "a-" * 20])
def test_names(owner: str) -> None:
    """Names are new each time, and never longer than the operator takes."""
    identity = Identity(namespace="n", pod="p", job="j", job_uid="12345678-9", owner=owner)
    names = {new_name(identity) for _ in range(20)}

    assert len(names) == 20
    assert max(map(len, names)) <= 53
    assert all(name.replace("-", "").isalnum() and "--" not in name for name in names)


@pytest.mark.parametrize(
    ("partitions", "rows", "wanted"),
    [
        (0, 0, 1),
        (1, 10, 1),
        (4, 100, 1),
        (4, 1_000_001, 2),
        (3, 50_000_000, 2),
        (40, 50_000_000, 8),
        (40, 3_000_000, 3),
    ],
)
def test_workers_from_the_plan(partitions: int, rows: int, wanted: int) -> None:
    """One worker per million rows, never more than have a partition for each thread, within the bounds."""
    options = KubernetesOptions.model_validate({"max_workers": 8, "worker": {"threads": 2}})

    assert workers_for(options, partitions=partitions, rows=rows) == wanted


def test_settings_are_what_dask_reads() -> None:
    """Dask's own reader of its environment gives the settings back, texts, numbers and mappings alike."""
    from dask.config import collect_env

    settings = {
        "distributed.scheduler.no-workers-timeout": "300.0s",
        "distributed.scheduler.allowed-failures": 2,
        "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": "1073741824"},
    }
    cluster = build("c", KubernetesOptions(image="i"), IDENTITY, workers=1, settings=settings)
    (container,) = cluster["spec"]["worker"]["spec"]["containers"]
    read = collect_env({one["name"]: one["value"] for one in container["env"]})["distributed"]

    assert read["scheduler"] == {"no_workers_timeout": "300.0s", "allowed_failures": 2}
    assert read["nanny"]["pre_spawn_environ"] == {"MALLOC_TRIM_THRESHOLD_": "1073741824"}
    assert read["comm"]["require_encryption"] is True
