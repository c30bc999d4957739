"""Creation of a run's DaskCluster and of its Secret, under a name that nothing else has."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from batchscore.cluster import daskcluster, removal
from batchscore.cluster.api import ApiServer, refused
from batchscore.cluster.certificates import Credentials, issue
from batchscore.cluster.job import Identity
from batchscore.cluster.options import KubernetesOptions
from batchscore.errors import ConfigError, NoCluster
from batchscore.logs import logger

_NAMES_TRIED = 3


@dataclass(frozen=True, kw_only=True)
class Created:
    """A cluster that exists by our doing."""

    name: str
    """Its name."""
    credentials: Credentials | None
    """What driver and cluster prove themselves with; None without TLS."""


def create(  # noqa: PLR0913 - each is a thing of its own
    api: ApiServer,
    options: KubernetesOptions,
    identity: Identity,
    *,
    workers: int,
    until: float,
    settings: Mapping[str, Any],
    ours: MutableMapping[str, str | None],
) -> Created:
    """Create the Secret and the cluster.

    Args:
        api: The API server.
        options: What the pods look like.
        identity: Who we are.
        workers: How many workers.
        until: The `time.monotonic()` at which to give up.
        settings: Dask's own settings for scheduler and workers.
        ours: Gets the name of every cluster that may exist by our doing, with its uid once that is known;
            filled before the request, since an answer may be lost.

    Raises:
        ConfigError: When the object is malformed.
        NoCluster: When it can not be created.
    """
    name = ""
    for _ in range(_NAMES_TRIED):
        name, attempt = new_name(identity), secrets.token_hex(8)
        body = daskcluster.build(name, options, identity, workers=workers, attempt=attempt, settings=settings)
        credentials = issue(name, datetime.now(UTC)) if options.tls else None
        ours[name] = None
        if credentials is not None and not _create_secret(api, options, identity, name, credentials, until):
            del ours[name]
            continue
        uid = _create_cluster(api, identity, body, attempt, until)
        if uid is not None:
            ours[name] = uid
            logger(__name__).info("cluster_created", cluster=name, workers=workers, tls=options.tls)
            return Created(name=name, credentials=credentials)
        del ours[name]  # somebody else's, and not for us to remove; only the Secret is ours
        if credentials is not None:
            removal.delete(api, daskcluster.secret_path(identity.namespace, name), until)
    raise NoCluster(
        f"each of {_NAMES_TRIED} random names for the Dask cluster was taken, the last was '{name}'",
        slug="NAME-CLASH",
        remedy="look for what makes DaskClusters or Secrets of such names in this namespace",
    )


def new_name(identity: Identity) -> str:
    """Return a new name: the owner, the Job, and a random mark; at most 53 characters, the most that the operator takes."""
    return f"{identity.owner[:30].rstrip('-')}-{identity.job_uid[:8]}-{secrets.token_hex(4)}"


def _create_secret(
    api: ApiServer, options: KubernetesOptions, identity: Identity, cluster: str, credentials: Credentials, until: float
) -> bool:
    name = daskcluster.secret_name(cluster)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": daskcluster.metadata(name, options, identity),
        "stringData": credentials.files(),
    }
    answer = api.request("POST", f"/api/v1/namespaces/{identity.namespace}/secrets", until=until, body=body)
    if not answer.ok and answer.status != HTTPStatus.CONFLICT:
        raise refused(answer, f"create the Secret '{name}'")
    # 409: taken, or ours by a lost answer; we have no right to read it, so another name it is.
    return answer.ok


def _create_cluster(
    api: ApiServer, identity: Identity, body: Mapping[str, Any], attempt: str, until: float
) -> str | None:
    """Create the cluster and return its uid; None when the name belongs to somebody else."""
    path, name = daskcluster.path(identity.namespace), body["metadata"]["name"]
    answer = api.request("POST", path, until=until, body=body, query={"fieldValidation": "Strict"})
    if answer.status == HTTPStatus.CONFLICT:
        answer = api.request("GET", f"{path}/{name}", until=until)
        mine = answer.ok and answer.body["metadata"].get("annotations", {}).get(daskcluster.ATTEMPT) == attempt
        if (answer.ok and not mine) or answer.is_missing:
            return None
    if answer.status in (400, 422):
        raise ConfigError(
            f"the Kubernetes API server refuses the DaskCluster: {answer.message}",
            slug="DASKCLUSTER",
            remedy="mend the key of cluster.kubernetes that the message names",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        raise _unknown_kind(api, answer.message, until)
    if not answer.ok:
        raise refused(answer, f"create the DaskCluster '{name}'")
    return str(answer.body["metadata"]["uid"])


def _unknown_kind(api: ApiServer, message: str, until: float) -> NoCluster:
    unknown = api.request("GET", f"/apis/{daskcluster.GROUP}/v1", until=until).status == HTTPStatus.NOT_FOUND
    fact = f"this Kubernetes cluster does not know {daskcluster.GROUP}/v1" if unknown else message
    return NoCluster(
        f"the DaskCluster can not be created: {fact}",
        slug="NO-CRD" if unknown else "REFUSED",
        remedy="install the dask-kubernetes operator and its CRDs; docs/kubernetes.md has the commands",
    )
