"""One launch of a cluster against a scripted API server, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apiserver import Script, serve

from batchscore.cluster.api import ApiServer
from batchscore.cluster.job import Identity
from batchscore.cluster.kubernetes import Launched, launch
from batchscore.cluster.options import KubernetesOptions
from batchscore.errors import BatchscoreError

IDENTITY = Identity(
    namespace="scoring",
    pod="flights-1-abcde",
    job="flights-1",
    job_uid="11112222-3333",
    owner="flights",
    config_map="conf",
)


def options(**changes: Any) -> KubernetesOptions:
    """Return quick options."""
    return KubernetesOptions.model_validate(
        {"image": "registry/batchscore@sha256:1", "give_up_seconds": 1, "min_workers": 2, **changes}
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a launch."""

    error: BatchscoreError | None
    """How it failed; None when the cluster was used."""
    seconds: float
    """Wall seconds, the removal included."""
    seen: Any
    """What the body returned."""


def attempt(
    script: Script,
    *,
    deadline: float = 6.0,
    body: Callable[[Launched], Any] = lambda cluster: cluster.name,
    **changes: Any,
) -> Result:
    """Launch a cluster of two workers within `deadline` seconds, run `body` with it, and let it be removed."""
    began = time.monotonic()
    seen: Any = None
    error: BatchscoreError | None = None
    with serve(script) as url:
        api = ApiServer(url=url, pause_seconds=0.05)
        try:
            with launch(options(**changes), IDENTITY, 2, began + deadline, api=api, poll_seconds=0.05) as cluster:
                seen = body(cluster)
        except BatchscoreError as caught:
            error = caught
    return Result(error=error, seconds=time.monotonic() - began, seen=seen)
