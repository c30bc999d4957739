"""The DaskCluster object of a run, built from the options. Pure, but for the operator's schema that it is checked by.

We write the object ourselves: the operator's client library still writes commands that distributed 2026.6 removed,
and the API server drops fields that the operator's schema does not know, without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchscore.cluster.crd import check
from batchscore.cluster.job import Identity
from batchscore.cluster.options import KubernetesOptions, PodOptions
from batchscore.errors import ConfigError

GROUP = "kubernetes.dask.org"
OWNER = "batchscore.io/owner"
JOB = "batchscore.io/job"
JOB_UID = "batchscore.io/job-uid"
ATTEMPT = "batchscore.io/attempt"
CLUSTER = "dask.org/cluster-name"
COMPONENT = "dask.org/component"

RPC_PORT, HTTP_PORT, WORKER_HTTP_PORT = 8786, 8787, 8788
_TLS_DIRECTORY = "/etc/batchscore-tls"
_MEMORY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

# The operator asks over HTTP whether the scheduler is idle; that route is not among distributed's own defaults,
# and its other way, plain RPC, ends at our TLS. Nothing more is served than that, the metrics and the health.
_HTTP_ROUTES = ["distributed.http.scheduler.prometheus", "distributed.http.health", "distributed.http.scheduler.api"]


def scheduler_address(name: str, namespace: str, *, tls: bool) -> str:
    """Return the address of the scheduler's Service; without the cluster's domain, which is not `cluster.local` everywhere."""
    return f"{'tls' if tls else 'tcp'}://{name}-scheduler.{namespace}.svc:{RPC_PORT}"


def secret_name(name: str) -> str:
    """Return the name of the Secret with the certificates of the cluster `name`."""
    return f"{name}-tls"


def path(namespace: str, name: str | None = None) -> str:
    """Return the API path of the DaskClusters of a namespace, or of one of them."""
    clusters = f"/apis/{GROUP}/v1/namespaces/{namespace}/daskclusters"
    return clusters if name is None else f"{clusters}/{name}"


def secret_path(namespace: str, name: str) -> str:
    """Return the API path of the Secret with the certificates of the cluster `name`."""
    return f"/api/v1/namespaces/{namespace}/secrets/{secret_name(name)}"


def owner_reference(identity: Identity) -> dict[str, Any]:
    """Return what makes the Job the owner: when it goes, so does all that the run created. It blocks nothing."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": identity.job,
        "uid": identity.job_uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def metadata(name: str, options: KubernetesOptions, identity: Identity, *, attempt: str = "") -> dict[str, Any]:
    """Return the metadata of an object of this run.

    Args:
        name: The object's name.
        options: Whose labels it bears.
        identity: Its owner.
        attempt: A random mark, by which we know our own object when an answer was lost.
    """
    return {
        "name": name,
        "namespace": identity.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "batchscore",
            **options.labels,
            OWNER: identity.owner,
            JOB: identity.job,
        },
        "annotations": {ATTEMPT: attempt, JOB_UID: identity.job_uid},
        "ownerReferences": [owner_reference(identity)],
    }


def build(
    name: str,
    options: KubernetesOptions,
    identity: Identity,
    *,
    workers: int,
    attempt: str = "",
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the DaskCluster.

    Args:
        name: Its name, unique to the attempt, at most 53 characters.
        options: What its pods look like.
        identity: Who we are.
        workers: How many workers.
        attempt: As for `metadata`.
        settings: Dask's own settings for scheduler and workers, by their dotted names; plain values.

    Raises:
        ConfigError: When the options make an object that the operator's schema refuses.
    """
    if options.image is None:
        raise ConfigError(
            "cluster.kubernetes.image is missing",
            slug="NO-IMAGE",
            remedy="the chart fills it in; elsewhere name the driver's own image",
        )
    address = scheduler_address(name, identity.namespace, tls=options.tls)
    selector = {CLUSTER: name, COMPONENT: "scheduler"}
    cluster = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "DaskCluster",
        "metadata": metadata(name, options, identity, attempt=attempt),
        "spec": {
            "idleTimeout": options.idle_timeout_seconds,
            "scheduler": {
                "metadata": _pod_metadata(options.scheduler),
                "spec": _pod(name, options, identity, options.scheduler, _scheduler(options, settings or {})),
                "service": {
                    "type": "ClusterIP",
                    "selector": selector,
                    "ports": [_port("tcp-comm", RPC_PORT), _port("http-dashboard", HTTP_PORT)],
                },
            },
            "worker": {
                "replicas": workers,
                "metadata": _pod_metadata(options.worker),
                "spec": _pod(name, options, identity, options.worker, _worker(options, settings or {}, address)),
            },
        },
    }
    check(cluster)
    return cluster


def _pod_metadata(pod: PodOptions) -> dict[str, Any]:
    return {"labels": dict(pod.labels), "annotations": dict(pod.annotations)}


def _port(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "protocol": "TCP", "port": port, "targetPort": name}


def _pod(
    name: str, options: KubernetesOptions, identity: Identity, pod: PodOptions, container: dict[str, Any]
) -> dict[str, Any]:
    """Return a pod that the security standard *restricted* admits."""
    volumes, mounts = _volumes(name, options, identity)
    security: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": options.run_as_user,
        "runAsGroup": options.run_as_group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if options.fs_group is not None:
        security |= {"fsGroup": options.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": options.service_account,
        "priorityClassName": pod.priority_class_name,
        "nodeSelector": dict(pod.node_selector),
        "tolerations": list(pod.tolerations),
        "affinity": dict(pod.affinity),
        "topologySpreadConstraints": list(pod.topology_spread_constraints),
        "imagePullSecrets": [{"name": secret} for secret in options.image_pull_secrets],
        "securityContext": security,
        "volumes": volumes,
        "containers": [
            {
                **_container(options, pod),
                **container,
                "env": [*container["env"], *options.env, *pod.env],
                "volumeMounts": mounts,
            }
        ],
    }
    # An empty value and an absent one mean the same to Kubernetes; only False is said.
    return {key: value for key, value in spec.items() if value or value is False}


def _container(options: KubernetesOptions, pod: PodOptions) -> dict[str, Any]:
    return {
        "image": options.image,
        "imagePullPolicy": options.image_pull_policy,
        "workingDir": options.working_dir,
        "envFrom": list(options.env_from),
        "resources": dict(pod.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _volumes(
    name: str, options: KubernetesOptions, identity: Identity
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {"sizeLimit": options.scratch_size}}]
    mounts: list[dict[str, Any]] = [{"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108 - a volume of the pod's own
    if options.tls:
        # Without a group of the volumes' own, only everybody can read what the kubelet writes as root.
        mode = 0o444 if options.fs_group is None else 0o440
        volumes.append({"name": "tls", "secret": {"secretName": secret_name(name), "defaultMode": mode}})
        mounts.append({"name": "tls", "mountPath": _TLS_DIRECTORY, "readOnly": True})
    if identity.config_map is not None:
        volumes.append({"name": "config", "configMap": {"name": identity.config_map}})
        mounts.append({"name": "config", "mountPath": "/etc/batchscore", "readOnly": True})
    return [*volumes, *options.volumes], [*mounts, *options.volume_mounts]


def _scheduler(options: KubernetesOptions, settings: Mapping[str, Any]) -> dict[str, Any]:
    protocol = "tls" if options.tls else "tcp"
    health = {"httpGet": {"path": "/health", "port": "http-dashboard"}}
    return {
        "name": "scheduler",
        "args": [
            *("dask", "scheduler", "--protocol", protocol, "--host", "0.0.0.0"),  # noqa: S104 - a pod's own network
            *("--port", str(RPC_PORT), "--dashboard-address", f":{HTTP_PORT}", "--no-dashboard"),
        ],
        "env": [
            *_environment(options, "scheduler", {**settings, "distributed.scheduler.http.routes": _HTTP_ROUTES}),
        ],
        "ports": [
            {"name": "tcp-comm", "containerPort": RPC_PORT, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": HTTP_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {**health, "periodSeconds": 2, "timeoutSeconds": 2},
        # Generous: a busy scheduler must not be killed, only one that hangs.
        "livenessProbe": {
            **health,
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 9,
        },
    }


def _worker(options: KubernetesOptions, settings: Mapping[str, Any], address: str) -> dict[str, Any]:
    health = {"httpGet": {"path": "/health", "port": "http-dashboard"}}
    limit = _memory_limit(options.worker.resources)
    return {
        "name": "worker",
        "args": [
            # No --name: a replaced worker would be refused as "name taken" for as long as the lost one is remembered.
            *("dask", "worker", "--nthreads", str(options.worker.threads), "--death-timeout", "60"),
            *("--dashboard-address", f":{WORKER_HTTP_PORT}", "--no-dashboard", "--local-directory", "/tmp"),  # noqa: S108
            *(() if limit is None else ("--memory-limit", str(limit))),
        ],
        "env": [*_environment(options, "worker", settings), _variable("DASK_SCHEDULER_ADDRESS", address)],
        "ports": [{"name": "http-dashboard", "containerPort": WORKER_HTTP_PORT, "protocol": "TCP"}],
        "readinessProbe": {**health, "periodSeconds": 2, "timeoutSeconds": 2},
    }


def _environment(options: KubernetesOptions, role: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return Dask's settings as environment; it reads a value that is no text as a Python literal."""
    secured = {
        "distributed.comm.require-encryption": True,
        "distributed.comm.default-scheme": "tls",
        "distributed.comm.tls.ca-file": f"{_TLS_DIRECTORY}/ca.crt",
        f"distributed.comm.tls.{role}.cert": f"{_TLS_DIRECTORY}/tls.crt",
        f"distributed.comm.tls.{role}.key": f"{_TLS_DIRECTORY}/tls.key",
    }
    every = {**settings, **(secured if options.tls else {})}
    return [
        _variable("DASK_" + key.upper().replace(".", "__").replace("-", "_"), str(value))
        for key, value in sorted(every.items())
    ]


def _variable(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _memory_limit(resources: Mapping[str, Any]) -> int | None:
    """Return nine tenths of the container's memory limit in bytes, so that the nanny blames the task before the kernel kills."""
    limit = str((resources.get("limits") or {}).get("memory") or "")
    number = limit.rstrip("KkMGTi")
    unit = limit[len(number) :]
    if not limit or (unit and unit not in _MEMORY_UNITS):
        return None
    try:
        return int(float(number) * _MEMORY_UNITS.get(unit, 1) * 0.9)
    except ValueError:
        return None
