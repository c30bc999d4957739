"""What the chart's hooks do to a release: `python -m batchscore.cluster.configs` removes configurations that no unfinished Job uses.

`--all` removes all of them, and `--wait` waits until the release's drivers have ended. Each revision of a release has its own immutable ConfigMap, and a Job keeps the one it was made with.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from batchscore import logs
from batchscore.cluster import removal
from batchscore.cluster.api import ApiServer, in_cluster, refused
from batchscore.cluster.job import is_finished
from batchscore.errors import NoCluster

_SECONDS = 60.0
_ENDING_SECONDS = 150.0
"""How long drivers are waited for: their grace period, and a minute."""
_ANSWER_SECONDS = 15.0
"""How long the last question of a wait may take."""


def sweep_configs(api: ApiServer, namespace: str, release: str, *, keep: str | None, until: float) -> tuple[str, ...]:
    """Remove the configurations of a release but those that are in use; return the names of the removed.

    Args:
        api: The API server.
        namespace: The release's namespace.
        release: The release's name.
        keep: The configuration of the present revision; None when the release is gone, and then all of them go.
        until: The `time.monotonic()` at which to give up.

    Raises:
        NoCluster: When the API server refuses or does not answer; nothing is removed on a guess.
    """
    selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=config"
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    names = {item["metadata"]["name"] for item in _items(api, path, "list ConfigMaps", until, labelSelector=selector)}
    used: set[str] = set()
    if keep is not None:
        jobs = _items(api, f"/apis/batch/v1/namespaces/{namespace}/jobs", "list Jobs", until)
        used = {keep, *(name for job in jobs if not is_finished(job) for name in config_maps(job))}
    unused = tuple(sorted(names - used))
    for name in unused:
        problem = removal.delete(api, f"{path}/{name}", until)
        if problem:
            raise NoCluster(
                f"the ConfigMap '{name}' can not be removed: {problem}",
                slug="CONFIG-LEFTOVER",
                remedy="remove it by hand",
            )
    logs.logger(__name__).info("configs_swept", removed=list(unused), kept=sorted(names & used))
    return unused


def await_drivers(api: ApiServer, namespace: str, release: str, *, until: float, poll_seconds: float = 1.0) -> bool:
    """Wait until no driver of a release runs, since one that is terminated still pushes metrics; return whether it is so.

    Raises:
        NoCluster: When the API server refuses or does not answer.
    """
    selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=driver"
    path = f"/api/v1/namespaces/{namespace}/pods"
    while True:
        pods = _items(api, path, "list pods", until + _ANSWER_SECONDS, labelSelector=selector)
        running = [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        if not running or time.monotonic() + poll_seconds >= until:
            logs.logger(__name__).info("drivers_ended", left=sorted(running))
            return not running
        time.sleep(poll_seconds)


def config_maps(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the ConfigMaps that a Job's pods mount."""
    for volume in job["spec"]["template"]["spec"].get("volumes") or ():
        if "configMap" in volume:
            yield str(volume["configMap"]["name"])


def _items(api: ApiServer, path: str, doing: str, until: float, **query: str) -> list[Mapping[str, Any]]:
    answer = api.request("GET", path, until=until, query=query)
    if not answer.ok:
        raise refused(answer, doing)
    items: list[Mapping[str, Any]] = answer.body.get("items") or []
    return items


def main(arguments: list[str], environ: Mapping[str, str], api: ApiServer | None = None) -> None:
    """Sweep the release that the environment names; with `--all`, every configuration of it; with `--wait`, only wait."""
    server = api if api is not None else in_cluster(environ)
    namespace, release = environ["BATCHSCORE_NAMESPACE"], environ["BATCHSCORE_RELEASE"]
    if "--wait" in arguments:
        await_drivers(server, namespace, release, until=time.monotonic() + _ENDING_SECONDS)
        return
    sweep_configs(
        server,
        namespace,
        release,
        keep=None if "--all" in arguments else environ["BATCHSCORE_CONFIG"],
        until=time.monotonic() + _SECONDS,
    )


if __name__ == "__main__":
    logs.configure()
    main(sys.argv[1:], os.environ)
