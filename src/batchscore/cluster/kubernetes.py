"""A Dask cluster of one run's own, through the dask-kubernetes operator: launched, waited for, explained and removed.

Readiness is ours: the scheduler's pod is ready and enough workers are; `status.phase` stays Pending in healthy clusters.
Three nets catch a cluster whose driver vanished: its Job owns it, the operator removes an idle one, the next run sweeps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from batchscore.cluster import daskcluster, reasons, removal
from batchscore.cluster.api import ApiServer, in_cluster, refused
from batchscore.cluster.certificates import Credentials
from batchscore.cluster.creation import create
from batchscore.cluster.job import Identity
from batchscore.cluster.options import KubernetesOptions
from batchscore.cluster.reasons import REMEDIES, Trouble
from batchscore.ending import to_its_end
from batchscore.errors import NoCluster
from batchscore.logs import logger

if TYPE_CHECKING:
    from distributed import Client, Security

_REMOVE_SECONDS = 20.0
"""How long a removal is asked for, whatever signal arrives; within `ending.KEPT_BACK_SECONDS`."""
_EXPLAIN_SECONDS = 10.0
"""What is set aside of a wait, at most, to find out why it was in vain."""
_CLOSE_SECONDS = 2.0
"""How long a client may take to close."""


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A cluster of this run."""

    api: ApiServer
    """Where it lives."""
    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    options: KubernetesOptions
    """What was asked for."""
    enough: int
    """Workers that a run starts with; the others may come later."""
    credentials: Credentials | None
    """What driver and cluster prove themselves with; None without TLS."""
    poll_seconds: float = 1.0
    """Pause between two looks."""

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return daskcluster.scheduler_address(self.name, self.namespace, tls=self.credentials is not None)

    @property
    def security(self) -> Security | None:
        """How a Dask client connects; None without TLS."""
        return self.credentials.security() if self.credentials is not None else None

    def wait(self, until: float) -> None:
        """Wait until the scheduler and enough workers are ready; also after the scheduler was lost.

        Args:
            until: The `time.monotonic()` by which this has ended, one way or the other.

        Raises:
            NoCluster: When they are not, with the reason; before `until` when a pod keeps failing to start,
                or when the cluster is gone.
        """
        began = time.monotonic()
        last_look = until - min(_EXPLAIN_SECONDS, (until - began) / 5)
        failing_since: float | None = None
        while True:
            pods = self.pods(until)
            if self.is_ready(pods):
                return
            now = time.monotonic()
            lasting = any(trouble.lasting for trouble in reasons.pod_troubles(pods))
            failing_since = (failing_since or now) if lasting else None
            hopeless = failing_since is not None and now - failing_since >= self.options.give_up_seconds
            if hopeless or now + self.poll_seconds >= last_look:
                raise self.explain(pods, waited=now - began, until=until)
            self._must_exist(until)
            time.sleep(self.poll_seconds)

    def is_ready(self, pods: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the scheduler and enough workers are ready."""
        return reasons.ready(pods, "scheduler") > 0 and reasons.ready(pods, "worker") >= self.enough

    def pods(self, until: float) -> Sequence[Mapping[str, Any]]:
        """Return the cluster's pods, by name.

        Raises:
            NoCluster: When they can not be listed.
        """
        return self._list("pods", until, labelSelector=f"{daskcluster.CLUSTER}={self.name}")

    def explain(self, pods: Sequence[Mapping[str, Any]], *, waited: float, until: float) -> NoCluster:
        """Return the error that says why the cluster is not ready; where asking fails, that is the error.

        Args:
            pods: The cluster's pods.
            waited: Seconds that were waited.
            until: The `time.monotonic()` at which to give up asking.
        """
        try:
            main, *others = self._troubles(pods, until)
            log = self._last_lines(main.pod, until) if main.slug == "CRASH" and main.pod else ()
        except NoCluster as error:
            return error
        ending = f"; its last words: {log[-1]}" if log else ""
        return NoCluster(
            f"no Dask cluster after {waited:.0f} s: {main.text}{ending}",
            slug=main.slug,
            remedy=REMEDIES[main.slug],
            cluster=self.name,
            ready_workers=reasons.ready(pods, "worker"),
            wanted_workers=self.enough,
            troubles=[trouble.text for trouble in others[:5]],
            log=list(log),
        )

    def open_client(self, until: float) -> Client:
        """Return a Dask client that is connected and sees enough workers; the caller closes it, by `close`.

        It does not outlive its scheduler for long: after a lost one, open another.

        Raises:
            NoCluster: When there is none by `until`, with the reason that the pods give.
        """
        began = time.monotonic()
        last_try = until - min(_EXPLAIN_SECONDS, (until - began) / 5)
        while time.monotonic() < last_try:
            client = self._try_client(last_try)
            if client is not None:
                return client
            time.sleep(max(0.0, min(self.poll_seconds, last_try - time.monotonic())))
        waited = time.monotonic() - began
        pods = self.pods(until)
        if not self.is_ready(pods):
            self._must_exist(until)
            raise self.explain(pods, waited=waited, until=until)
        raise NoCluster(
            f"the scheduler at {self.address} could not be used within {waited:.0f} s, though all its pods are ready",
            slug="UNREACHABLE",
            remedy="check network policies, service mesh and DNS between driver, scheduler and workers",
        )

    def _try_client(self, until: float) -> Client | None:
        from distributed import Client

        try:
            left = max(until - time.monotonic(), 0.1)
            client = Client(self.address, security=self.security, timeout=min(left, 10), set_as_default=False)
        except (OSError, TimeoutError):
            return None
        try:
            client.wait_for_workers(self.enough, timeout=max(until - time.monotonic(), 0.1))
        except (OSError, TimeoutError):
            close(client)
            return None
        except BaseException:
            close(client)
            raise
        return client

    def _must_exist(self, until: float) -> None:
        answer = self.api.request("GET", daskcluster.path(self.namespace, self.name), until=until)
        going = answer.ok and answer.body["metadata"].get("deletionTimestamp")
        if answer.is_missing or going:
            raise NoCluster(
                f"the Dask cluster '{self.name}' was removed while the run waited for it",
                slug="REMOVED",
                remedy="look for who deletes DaskClusters, or for an idle timeout that is too short",
            )
        if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:
            raise refused(answer, f"read the DaskCluster '{self.name}'")

    def _troubles(self, pods: Sequence[Mapping[str, Any]], until: float) -> tuple[Trouble, ...]:
        found = reasons.pod_troubles(pods)
        if any(trouble.slug != "STARTING" for trouble in found):
            return found
        events = self._list("events", until, fieldSelector="type=Warning")
        found = (*reasons.event_troubles(events, self.name), *found)
        return found or (reasons.no_pods(self.name, pods, enough=self.enough),)

    def _last_lines(self, pod: str, until: float) -> tuple[str, ...]:
        """Return the last lines of a crashed container: of its last life, or of this one when there was none before."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        for query in ({"previous": "true"}, {}):
            answer = self.api.request("GET", path, until=until, query={"tailLines": "10", **query})
            if answer.status == HTTPStatus.FORBIDDEN:
                raise refused(answer, f"read the log of the pod '{pod}'")
            if answer.ok and answer.text.strip():
                return tuple(line[:300] for line in answer.text.strip().splitlines())
        return ()

    def _list(self, kind: str, until: float, **query: str) -> Sequence[Mapping[str, Any]]:
        answer = self.api.request("GET", f"/api/v1/namespaces/{self.namespace}/{kind}", until=until, query=query)
        if not answer.ok:
            raise refused(answer, f"list {kind}")
        items: list[Mapping[str, Any]] = answer.body.get("items") or []
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))


def close(client: Client) -> None:
    """Close a client; a scheduler that does not answer is not waited for."""
    with suppress(TimeoutError):
        client.close(timeout=_CLOSE_SECONDS)


@contextmanager
def launch(  # noqa: PLR0913 - each is a thing of its own
    options: KubernetesOptions,
    identity: Identity,
    workers: int,
    deadline: float,
    *,
    settings: Mapping[str, Any] | None = None,
    api: ApiServer | None = None,
    poll_seconds: float = 1.0,
) -> Iterator[Launched]:
    """Launch a Dask cluster, and remove it whatever happens.

    Args:
        options: What its pods look like.
        identity: Who we are; the Job owns all that is created.
        workers: How many workers.
        deadline: The `time.monotonic()` by which scheduler and enough workers must be ready.
        settings: Dask's own settings for scheduler and workers, by their dotted names, as `dask.config.set` takes them.
        api: The API server; by default that of the pod this runs in.
        poll_seconds: Pause between two looks at the pods.

    Yields:
        The cluster, ready.

    Raises:
        ConfigError: When the options make an object that is refused.
        NoCluster: When it is not ready in time, with the reason.
    """
    server = api if api is not None else in_cluster(os.environ)
    began = time.monotonic()
    removal.sweep(server, identity, until=deadline)
    ours: dict[str, str | None] = {}
    try:
        made = create(server, options, identity, workers=workers, until=deadline, settings=settings or {}, ours=ours)
        cluster = Launched(
            api=server,
            namespace=identity.namespace,
            name=made.name,
            options=options,
            enough=min(workers, options.min_workers),
            credentials=made.credentials,
            poll_seconds=poll_seconds,
        )
        cluster.wait(deadline)
        logger(__name__).info("cluster_ready", cluster=made.name, seconds=round(time.monotonic() - began, 1))
        yield cluster
    except BaseException:
        _remove(server, identity, ours, tls=options.tls)
        raise
    _remove(server, identity, ours, tls=options.tls)
    wait_seconds = options.removal_wait_seconds
    if not removal.await_removal(
        server, identity.namespace, list(ours), seconds=wait_seconds, poll_seconds=poll_seconds
    ):
        logger(__name__).info("cluster_removal_goes_on", clusters=list(ours), waited_seconds=wait_seconds)


def _remove(api: ApiServer, identity: Identity, ours: Mapping[str, str | None], *, tls: bool) -> None:
    with to_its_end():
        removal.remove(api, identity.namespace, ours, tls=tls, seconds=_REMOVE_SECONDS)
