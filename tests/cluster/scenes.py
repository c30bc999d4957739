"""The words that the scenarios are told in: kubectl, helm, Jobs of the probe, waiting, and a timeline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from node.layout import CONFIG, RUN, VOLUME

HERE = Path(__file__).resolve().parent
CHART = HERE.parents[1] / "helm" / "batchscore"
NAMESPACE, RELEASE = "scoring", "flights"
NAME = f"{RELEASE}-batchscore"
OWNED = "daskclusters,daskworkergroups,deployments,services,secrets,pods"
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


def get(kind: str, *arguments: object) -> Any:
    """Return an object, or a list of them, as data."""
    return json.loads(kubectl("get", kind, *arguments, "-o", "json"))


def names(kind: str, *arguments: object) -> list[str]:
    """Return `kind/name` of what there is, sorted."""
    return sorted(kubectl("get", kind, *arguments, "-o", "name").split())


def helm(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run helm in the namespace."""
    return inside("helm", "-n", NAMESPACE, *arguments, check=check)


def install(*arguments: object, release: str = RELEASE) -> None:
    """Install or upgrade the chart with the tests' values."""
    helm("upgrade", "--install", release, CHART, "-f", HERE / "values.yaml", "--wait", "--timeout", "240s", *arguments)


def start(name: str, environment: Mapping[str, str] | None = None) -> str:
    """Make a Job of the CronJob by hand, whose driver runs the probe; return its name."""
    made = kubectl("create", "job", name, f"--from=cronjob/{NAME}", "--dry-run=client", "-o", "json")
    job = json.loads(made)
    driver = job["spec"]["template"]["spec"]["containers"][0]
    driver["args"] = ["python3", "-c", (HERE / "probe.py").read_text(encoding="utf-8")]
    driver["env"] += [{"name": key, "value": value} for key, value in (environment or {}).items()]
    kubectl("create", "-f", "-", given=json.dumps(job))
    return name


def until(what: str, seconds: float, look: Callable[[], T]) -> T:
    """Wait until `look` returns something true, and return it; tell how long that took."""
    began = time.monotonic()
    while not (found := look()):
        assert time.monotonic() - began < seconds, f"no {what} in {seconds:.0f} s"
        time.sleep(0.3)
    tell(f"{what}: after {time.monotonic() - began:.1f} s")
    return found


def tell(text: str) -> None:
    """Write a line of the timeline."""
    sys.stdout.write(f"{time.strftime('%T')}  {text}\n")


def ending(job: str) -> tuple[str, str] | None:
    """Return how a Job ended and why; None while it runs."""
    for condition in get("job", job)["status"].get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], condition.get("reason", "")
    return None


def drivers(job: str) -> list[Any]:
    """Return the driver pods of a Job, the oldest first."""
    found = get("pods", "-l", f"batch.kubernetes.io/job-name={job}")["items"]
    return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])


def left(job: str) -> list[str]:
    """Return what is left of the Dask clusters of a Job."""
    return names(OWNED, "-l", f"batchscore.io/job={job}")


def pods(job: str, component: str) -> list[str]:
    """Return the names of the pods of a Job's cluster."""
    selector = f"batchscore.io/job={job},dask.org/component={component}"
    return [name.removeprefix("pod/") for name in names("pods", "-l", selector)]


def parts(job: str) -> int:
    """Return how many parts a probe has written."""
    return len([path for path in (VOLUME / "probe" / job).glob("part-*") if "." not in path.name])


def log(job: str) -> str:
    """Return what the drivers of a Job said, the oldest first."""
    return "\n".join(kubectl("logs", pod["metadata"]["name"], check=False) for pod in drivers(job))
