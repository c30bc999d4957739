"""`cluster.kubernetes`: what the pods of the run's own Dask cluster look like, and how long they are waited for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from batchscore.strict import FROM_LIST, Section

KubernetesObject = dict[str, Any]
"""A part of a pod in Kubernetes' own words; it is checked against the operator's schema before anything is created."""

_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")


class PodOptions(Section):
    """Where a pod runs and what it may use; everything inside a key is in Kubernetes' own words."""

    resources: KubernetesObject = Field(default_factory=dict)
    """`requests` and `limits` of the container."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """Taints that are tolerated."""
    affinity: KubernetesObject = Field(default_factory=dict)
    """Affinity to nodes and pods."""
    topology_spread_constraints: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """How pods are spread over nodes."""
    priority_class_name: str | None = None
    """The priority class."""
    labels: dict[str, str] = Field(default_factory=dict)
    """More labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """More annotations."""
    env: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """More environment of this kind of pod, as `EnvVar` objects."""

    @field_validator("resources")
    @classmethod
    def _quantities(cls, resources: KubernetesObject) -> KubernetesObject:
        """Refuse what is no quantity, and make text of a number: the operator's schema takes any text, and only text."""
        written = dict(resources)
        for kind, entries in resources.items():
            if not isinstance(entries, dict):  # `claims` is a list; what else is none, the schema refuses
                continue
            for name, value in entries.items():
                if _QUANTITY.fullmatch(str(value)) is None:
                    raise ValueError(f"has in {kind}.{name} no quantity such as 500m or 2Gi, but {value!r}")
            written[kind] = {name: str(value) for name, value in entries.items()}
        return written


class WorkerOptions(PodOptions):
    """A worker pod."""

    threads: int = Field(default=1, ge=1, le=64)
    """Partitions that one worker scores at the same time."""


class KubernetesOptions(Section):
    """`cluster.kubernetes`: the Dask cluster that the driver launches through the dask-kubernetes operator."""

    image: str | None = None
    """Image of scheduler and workers: the driver's own. The chart fills it in."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When nodes pull the image."""
    image_pull_secrets: Annotated[tuple[str, ...], FROM_LIST] = ()
    """Names of Secrets with registry credentials."""
    service_account: str | None = None
    """Service account of scheduler and workers; they get no token of it."""
    working_dir: str = "/tmp"  # noqa: S108 - a path inside the pod, on its own volume
    """Working directory of scheduler and workers: the driver's own."""
    run_as_user: int = Field(default=10001, ge=1)
    """User of the pods."""
    run_as_group: int = Field(default=10001, ge=1)
    """Group of the pods."""
    fs_group: int | None = Field(default=10001, ge=1)
    """Group that owns the volumes; null where they do not support it."""
    scratch_size: str = "2Gi"
    """Size of the scratch volume at `/tmp`."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the cluster and of all its pods."""
    env: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """Environment of scheduler and workers, as `EnvVar` objects."""
    env_from: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """Sources of environment, as `EnvFromSource` objects."""
    volumes: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """Volumes of scheduler and workers."""
    volume_mounts: Annotated[tuple[KubernetesObject, ...], FROM_LIST] = ()
    """Where those volumes are mounted."""
    scheduler: PodOptions = PodOptions()
    """The scheduler's pod."""
    worker: WorkerOptions = WorkerOptions()
    """The workers' pods."""
    tls: bool = True
    """Mutual TLS between driver, scheduler and workers, from a certificate authority of this run alone."""
    min_workers: int = Field(default=1, ge=1, le=1000)
    """Workers that must be there before the run starts; the others may come later."""
    max_workers: int = Field(default=4, ge=1, le=1000)
    """The most workers that are asked for."""
    rows_per_worker: int = Field(default=1_000_000, ge=1)
    """Rows for which one more worker is asked for."""
    give_up_seconds: int = Field(default=45, ge=1, le=3600)
    """How long a pod may fail to start, by a bad image, a crash or a bad reference, before the run gives up early."""
    removal_wait_seconds: int = Field(default=15, ge=0, le=600)
    """How long the end of a run waits to see its cluster gone; the removal goes on without it."""
    idle_timeout_seconds: int = Field(default=600, ge=60, le=86400)
    """After how long without work the operator removes the cluster of a driver that vanished; above any pause of a run."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"has min_workers {self.min_workers} above max_workers {self.max_workers}")
        return self


def workers_for(options: KubernetesOptions, *, partitions: int, rows: int) -> int:
    """Return how many workers a plan asks for, within the bounds of `options`.

    One for each `rows_per_worker` rows begun, never more than there are partitions to keep all their threads busy.

    Args:
        options: The bounds.
        partitions: Partitions to score, at least 0.
        rows: Rows to score, at least 0.
    """
    by_rows = -(-rows // options.rows_per_worker)
    useful = -(-partitions // options.worker.threads)
    return max(options.min_workers, min(by_rows, useful, options.max_workers))
