"""Where workers come from: threads of this process, a local cluster, an existing scheduler, or Kubernetes.

Callers know `connect` and `Workers` and nothing else. `local` threads run on Dask's own threaded scheduler and never
import `distributed`; everything else runs on `distributed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from batchscore.cluster.options import KubernetesOptions
from batchscore.errors import BatchscoreError
from batchscore.plan import Partition
from batchscore.strict import Section

ResultT = TypeVar("ResultT")


class TlsOptions(Section):
    """`cluster.tls`: mutual TLS towards an existing scheduler."""

    ca_file: str
    """The certificate authority's certificate, a PEM file."""
    cert_file: str
    """This client's certificate, a PEM file."""
    key_file: str
    """This client's private key, a PEM file."""


class ClusterOptions(Section):
    """`cluster`: who does the work, and how long anybody waits for it."""

    kind: Literal["local", "address", "kubernetes"] = "local"
    """`local` embeds the workers, `address` connects to an existing Dask scheduler, `kubernetes` launches a cluster."""
    workers: int = Field(default=2, ge=1, le=1024)
    """Threads, or processes with `processes: true`; with `address` the fewest workers to wait for."""
    processes: bool = False
    """Whether local workers are processes, so that a crash or an out-of-memory row can be survived."""
    address: str | None = None
    """The scheduler's address, such as `tls://scheduler:8786`; only with `kind: address`."""
    tls: TlsOptions | None = None
    """Mutual TLS towards the scheduler; only with `kind: address`."""
    start_minutes: float = Field(default=5.0, gt=0)
    """How long to wait for the first workers before code 22, and for lost ones to come back."""
    deadline_minutes: float = Field(default=720.0, gt=0)
    """How long the whole scoring may take before code 24."""
    task_deaths: int = Field(default=2, ge=0, le=10)
    """How many workers may die over one partition before it is given up with code 24; at `address` the scheduler's own setting counts."""
    silence_minutes: float = Field(default=2.0, gt=0)
    """How long a worker may be silent before another one gets its partition; at `address` the scheduler's own setting counts."""
    reconnects: int = Field(default=2, ge=0, le=10)
    """How often the missing partitions are handed out again after the scheduler was lost."""

    kubernetes: KubernetesOptions = KubernetesOptions()
    """The cluster that is launched; only with `kind: kubernetes`."""

    @model_validator(mode="after")
    def _address_goes_with_kind(self) -> Self:
        if (self.kind == "address") != (self.address is not None):
            raise ValueError("needs 'address' with kind: address, and only then")
        if self.address is not None and re.fullmatch(r"([a-z]+://)?[^\s/]+:[0-9]{1,5}/?", self.address) is None:
            raise ValueError(f"has the address {self.address!r}, which is none with a port, as tls://scheduler:8786 is")
        if self.tls is not None and self.kind != "address":
            raise ValueError("takes 'tls' only with kind: address")
        return self


class Workers(Protocol):
    """Somebody who runs a task over partitions."""

    count: int
    """How many tasks run at once."""

    def run(
        self,
        task: Callable[[Partition], ResultT | BatchscoreError],
        partitions: Sequence[Partition],
        take: Callable[[ResultT], None],
    ) -> None:
        """Run `task` over `partitions`, in bounded chunks, and hand every result to `take`.

        `take` is called in the caller's thread, in the order of completion. A task returns its error instead of
        raising it; after an error no partition of a higher index is started, and the error of the lowest index is
        raised, so that the same bad input gives the same message for any number of workers.

        Raises:
            BatchscoreError: The task's own error.
            NoCluster: When the workers or the scheduler are gone and do not come back in time.
            PartitionsFailed: When a partition killed its workers, or the deadline passed.
        """

    def try_alone(
        self, task: Callable[[Partition], ResultT | BatchscoreError], partition: Partition, *, surely: bool
    ) -> ResultT | BatchscoreError | None:
        """Run `task` over one partition while nothing else runs, and return None when its worker died of it.

        Args:
            task: Returns its error instead of raising it.
            partition: The partition.
            surely: Whether `task_deaths` workers may die of something else; otherwise the first death counts.

        Raises:
            NoCluster: When the workers or the scheduler are gone and do not come back in time.
        """


def check_pods(options: ClusterOptions) -> None:
    """Check what `cluster.kubernetes` says in Kubernetes' own words, without a cluster; nothing with another `kind`.

    Raises:
        ConfigError: With the path and the fact of every violation, as a run would end with it.
    """
    if options.kind == "kubernetes":
        from batchscore.cluster.specimen import check_options

        check_options(options.kubernetes)


def connect(options: ClusterOptions, partitions: Sequence[Partition]) -> AbstractContextManager[Workers]:
    """Return the workers that `options` describe; leaving the context removes what it launched.

    Args:
        options: The section `cluster`.
        partitions: What they will score: it decides how many are launched.

    Raises:
        ConfigError: With `kind: kubernetes` outside of a Job of the chart.
        NoCluster: When there is no cluster, or no worker, in time.
    """
    if options.kind == "local" and not options.processes:
        from batchscore.cluster.threads import threads

        return threads(options.workers)
    if options.kind == "kubernetes":
        from batchscore.cluster.launched import launched_workers

        return launched_workers(options, partitions)
    from batchscore.cluster.processes import local_processes, scheduler_at

    return local_processes(options) if options.kind == "local" else scheduler_at(options)


def chunks(partitions: Sequence[Partition], size: int) -> Iterator[Sequence[Partition]]:
    """Cut partitions into runs of `size`, in order."""
    for start in range(0, len(partitions), size):
        yield partitions[start : start + size]
