"""The words that the scenarios are told in: kubectl, helm, Jobs of a run or of the probe, and waiting."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import world
from node.layout import CONFIG, RUN, VOLUME
from timeline import tell

HERE = Path(__file__).resolve().parent
CHART = HERE.parents[1] / "helm" / "batchscore"
NAMESPACE, RELEASE = "scoring", "flights"
NAME = f"{RELEASE}-batchscore"
OWNED = "daskclusters,daskworkergroups,deployments,services,secrets,pods"
CONFIGS = ("--config", "/etc/batchscore/platform.yaml", "--config", "/etc/batchscore/run.yaml")
WINTER = {"snapshot.path": "data/batch", "partition.rows": "900", "volume.on_breach": "warn", "volume.min_rows": "null"}
"""A run of some sixty partitions: long enough for something to happen to it."""
SLOWLY = {
    **WINTER,
    "cluster.kubernetes.worker.resources": '{"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "700Mi"}}',
    "cluster.kubernetes.min_workers": "1",
    "cluster.kubernetes.max_workers": "1",
}
"""The same by one worker that gets a fifth of a core: a helm upgrade fits into it on any machine."""
GONE = 180
"""Seconds that a removal may take on a busy machine.

The operator holds it for 60 s when the scheduler does not answer, and then pods have 30 s to end."""
T = TypeVar("T")


def inside(*command: object, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command inside the cluster's namespaces."""
    inner = (RUN / "init.pid").read_text(encoding="utf-8")
    words = ["nsenter", "-t", inner, "--net", "--mount", "--pid", *map(str, command)]
    environment = {
        "PATH": f"{RUN.parent / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "KUBECONFIG": str(CONFIG / "admin.kubeconfig"),
        "HOME": str(RUN),
    }
    done = subprocess.run(words, input=given, capture_output=True, text=True, env=environment, timeout=400, check=False)
    assert not check or done.returncode == 0, f"{' '.join(words[6:])}\n{done.stdout}\n{done.stderr}"
    return done


def kubectl(*arguments: object, given: str | None = None, check: bool = True, namespace: str = NAMESPACE) -> str:
    """Run kubectl in the namespace and return what it says."""
    return inside("kubectl", "-n", namespace, *arguments, given=given, check=check).stdout


def get(kind: str, *arguments: object, namespace: str = NAMESPACE) -> Any:
    """Return an object, or a list of them, as data."""
    return json.loads(kubectl("get", kind, *arguments, "-o", "json", namespace=namespace))


def names(kind: str, *arguments: object, namespace: str = NAMESPACE) -> list[str]:
    """Return `kind/name` of what there is, sorted."""
    return sorted(kubectl("get", kind, *arguments, "-o", "name", namespace=namespace).split())


def helm(*arguments: object, check: bool = True, namespace: str = NAMESPACE) -> subprocess.CompletedProcess[str]:
    """Run helm in the namespace."""
    return inside("helm", "-n", namespace, *arguments, check=check)


def install(*arguments: object, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the chart with the values of the tests and of the example."""
    values = RUN / "flights.values.json"
    values.write_text(json.dumps(world.values(VOLUME)), encoding="utf-8")
    files = ("-f", values, "-f", HERE / "values.yaml")
    options = ("--wait", "--timeout", "240s", *arguments)
    helm("upgrade", "--install", release, CHART, *files, *options, namespace=namespace)


def start(
    name: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **changes: Any,
) -> str:
    """Make a Job of the CronJob by hand, whose driver runs other arguments; return its name.

    Args:
        name: The Job's name.
        arguments: What the driver's container runs.
        environment: More variables for it.
        annotations: More annotations of the Job.
        changes: Keys of the Job's spec.
    """
    kubectl("delete", "job", name, "--ignore-not-found")  # of a session before, on a cluster that was kept
    made = kubectl("create", "job", name, f"--from=cronjob/{NAME}", "--dry-run=client", "-o", "json")
    job = json.loads(made)
    job["metadata"]["annotations"] = {**(job["metadata"].get("annotations") or {}), **(annotations or {})}
    driver = job["spec"]["template"]["spec"]["containers"][0]
    driver["args"] = list(arguments)
    driver["env"] += [{"name": key, "value": value} for key, value in (environment or {}).items()]
    job["spec"] |= changes
    kubectl("create", "-f", "-", given=json.dumps(job))
    return name


def run_arguments(name: str, date: str | None = None, settings: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the command line of a run into `outputs-NAME`, of the storm's date unless another is given."""
    given = {"output.path": f"outputs-{name}", **(WINTER if settings is None else settings)}
    day = date or world.facts(VOLUME)["storm"]
    return ("batchscore", "run", *CONFIGS, "--date", day, *[f"--set={key}={value}" for key, value in given.items()])


def start_run(name: str, settings: Mapping[str, str] | None = None, *, date: str | None = None, **changes: Any) -> str:
    """Make a Job that scores the whole winter, or what the settings say, into `outputs-NAME`."""
    shutil.rmtree(VOLUME / f"outputs-{name}", ignore_errors=True)
    return start(name, *run_arguments(name, date, settings), **changes)


def start_probe(name: str, environment: Mapping[str, str], **changes: Any) -> str:
    """Make a Job whose driver runs the probe."""
    code = (HERE / "probe.py").read_text(encoding="utf-8")
    return start(name, "python3", "-c", code, environment=environment, **changes)


def until(what: str, seconds: float, look: Callable[[], T]) -> T:
    """Wait until `look` returns something true, and return it; tell how long that took."""
    began = time.monotonic()
    while not (found := look()):
        assert time.monotonic() - began < seconds, f"no {what} in {seconds:.0f} s"
        time.sleep(0.3)
    tell(f"{what}: after {time.monotonic() - began:.1f} s")
    return found


def ending(job: str, namespace: str = NAMESPACE) -> tuple[str, str] | None:
    """Return how a Job ended and why; None while it runs."""
    for condition in get("job", job, namespace=namespace)["status"].get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], condition.get("reason", "")
    return None


def finished(job: str, wanted: tuple[str, str] = ("Complete", ""), seconds: float = 400) -> None:
    """Wait for a Job's end and check it."""
    found = until(f"the end of {job}", seconds, lambda: ending(job))

    assert found[0] == wanted[0], f"{found}\n{log(job)}"
    assert wanted[1] in found[1], f"{found}\n{log(job)}"


def drivers(job: str, namespace: str = NAMESPACE) -> list[Any]:
    """Return the driver pods of a Job, the oldest first."""
    found = get("pods", "-l", f"batch.kubernetes.io/job-name={job}", namespace=namespace)["items"]
    return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])


def left(job: str, namespace: str = NAMESPACE) -> list[str]:
    """Return what is left of the Dask clusters of a Job."""
    return names(OWNED, "-l", f"batchscore.io/job={job}", namespace=namespace)


def pods(job: str, component: str, *, phase: str = "") -> list[str]:
    """Return the names of the pods of a Job's cluster."""
    selector = f"batchscore.io/job={job},dask.org/component={component}"
    only = (f"--field-selector=status.phase={phase}",) if phase else ()
    return [name.removeprefix("pod/") for name in names("pods", "-l", selector, *only)]


def records(name: str) -> int:
    """Return how many partitions of a run into `outputs-NAME` are finished, while it runs."""
    return len(list((VOLUME / f"outputs-{name}" / "_batchscore" / "work").glob("*/*/part-*.json")))


def log(job: str, namespace: str = NAMESPACE) -> str:
    """Return what the drivers of a Job said, the oldest first."""
    said = [
        kubectl("logs", pod["metadata"]["name"], check=False, namespace=namespace) for pod in drivers(job, namespace)
    ]
    return "\n".join(said)


def error_of(job: str) -> str:
    """Return the line in which the newest driver of a Job said why it failed."""
    lines = [line for line in log(job).splitlines() if line.startswith("error[")]
    return lines[-1] if lines else ""


def exit_code(job: str) -> int:
    """Return the exit code of the newest driver of a Job."""
    code: int = drivers(job)[-1]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
    return code


def published(output: str, date: str | None = None) -> dict[str, bytes]:
    """Return what a run published, by path, without the record of its execution, which holds clocks and hosts."""
    folder = VOLUME / output / (date or world.facts(VOLUME)["storm"])
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "metadata.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def metadata(output: str, date: str | None = None) -> dict[str, Any]:
    """Return the record of the execution."""
    folder = VOLUME / output / (date or world.facts(VOLUME)["storm"])
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    return found


def query(expression: str) -> list[dict[str, Any]]:
    """Ask Prometheus, through the API server."""
    from urllib.parse import quote

    path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query?query="
    answer = inside("kubectl", "get", "--raw", path + quote(expression, safe=""), check=False)
    found: list[dict[str, Any]] = json.loads(answer.stdout)["data"]["result"] if answer.returncode == 0 else []
    return found
