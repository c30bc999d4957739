"""A scripted Kubernetes API server over real HTTP: objects, rights, and faults on request. No cluster, no root.

It knows DaskClusters, Secrets, Jobs, pods, events and logs of one namespace, grants what the chart's Role grants and
nothing else, and lets a script say which pods a cluster gets and which requests go wrong.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

ROLE = Path(__file__).resolve().parents[2] / "helm" / "batchscore" / "files" / "driver-rules.yaml"
Object = dict[str, Any]
Right = tuple[str, str, str]
"""API group, resource, verb."""
PodScript = Callable[[str, int, float], list[Object]]
"""From a cluster's name, its wanted workers and its age in seconds to its pods."""


def role() -> frozenset[Right]:
    """Return the rights of the chart's Role."""
    rules = yaml.safe_load(ROLE.read_text(encoding="utf-8"))
    return frozenset(
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def pod(cluster: str, kind: str, number: int = 0, *, ready: bool = False, **status: Any) -> Object:
    """Return a pod of a cluster as the API server shows it."""
    name = f"{cluster}-scheduler-abc" if kind == "scheduler" else f"{cluster}-default-worker-{number}"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "labels": {"dask.org/cluster-name": cluster, "dask.org/component": kind}},
        "status": {"phase": "Running" if ready else "Pending", "conditions": conditions, **status},
    }


def waiting(reason: str, message: str = "", **container: Any) -> Object:
    """Return the status of a pod whose container waits for `reason`."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "c", "image": "registry/batchscore@sha256:1", "state": state, **container}]}


def healthy(cluster: str, workers: int, age: float) -> list[Object]:
    """Bring the scheduler after 0.1 s and the workers after 0.2 s."""
    return [
        pod(cluster, "scheduler", ready=age > 0.1, **({} if age > 0.1 else waiting("ContainerCreating"))),
        *(pod(cluster, "worker", number, ready=age > 0.2) for number in range(workers)),
    ]


def nothing(cluster: str, workers: int, age: float) -> list[Object]:
    """Bring no pod at all, as an operator that is down."""
    return []


@dataclass
class Fault:
    """What goes wrong with some requests."""

    method: str
    """The HTTP method."""
    path: str
    """A regular expression that the path must match somewhere."""
    status: int = 500
    """The answer's status; 0 closes the connection, -1 hangs, -2 serves the request and then loses the answer."""
    times: int = 1_000_000
    """How often."""
    body: Object | str = ""
    """The answer: an object, or text as a proxy would send it."""
    seconds: float = 0.0
    """How long to hold the answer back."""


@dataclass
class Script:
    """The state of the scripted API server."""

    pods: PodScript = healthy
    """Which pods a cluster gets."""
    events: Callable[[str], list[Object]] = lambda cluster: []
    """Which warnings are there for a cluster."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Log text by `previous` or `current`; a missing one is answered 400, as a real server does."""
    rights: frozenset[Right] = field(default_factory=role)
    """What the driver may do."""
    faults: list[Fault] = field(default_factory=list)
    """What goes wrong."""
    knows_dask: bool = True
    """Whether the operator's CRDs are installed."""
    removal_seconds: float = 0.0
    """How long a deleted cluster stays, terminating."""
    clusters: dict[str, Object] = field(default_factory=dict)
    """The DaskClusters, by name."""
    secrets: dict[str, Object] = field(default_factory=dict)
    """The Secrets, by name."""
    jobs: dict[str, Object] = field(default_factory=dict)
    """The Jobs, by name."""
    config_maps: dict[str, Object] = field(default_factory=dict)
    """The ConfigMaps, by name."""
    drivers: list[list[Object]] = field(default_factory=lambda: [[]])
    """The driver pods of the release, one list for each question; the last one stays."""
    requests: list[str] = field(default_factory=list)
    """Every request, as method and path."""
    used: set[Right] = field(default_factory=set)
    """Every right that was needed and granted."""
    born: dict[str, float] = field(default_factory=dict)
    """When each cluster was created, monotonic."""
    dying: dict[str, float] = field(default_factory=dict)
    """When each cluster was deleted, monotonic."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Guards all of it."""

    def job(self, name: str, uid: str, *, finished: str | None = None, **metadata: Any) -> None:
        """Put a Job there."""
        conditions = [{"type": finished, "status": "True"}] if finished else []
        created = {"creationTimestamp": "2013-02-09T03:00:00Z"}
        self.jobs[name] = {
            "metadata": {"name": name, "uid": uid, **created, **metadata},
            "status": {"conditions": conditions},
        }

    def fault(self, method: str, path: str) -> Fault | None:
        """Return the next fault for a request, and count it."""
        for one in self.faults:
            if one.method == method and one.times > 0 and re.search(one.path, path):
                one.times -= 1
                return one
        return None

    def reap(self) -> None:
        """Let clusters go whose removal is through."""
        for name, since in list(self.dying.items()):
            if time.monotonic() - since >= self.removal_seconds:
                self.clusters.pop(name, None)
                del self.dying[name]


def status(code: int, reason: str, message: str) -> tuple[int, Object]:
    """Return a refusal as the API server words it."""
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the script keeps the requests."""

    def _serve(self) -> None:
        script = self.server.script
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        with script.lock:
            script.requests.append(f"{self.command} {url.path}")
            fault = script.fault(self.command, url.path)
        if fault is not None and fault.status == 0:
            self.close_connection = True
            return
        if fault is not None and fault.status == -1:
            self.server.stopped.wait(fault.seconds or 60)
            self.close_connection = True
            return
        if fault is not None and fault.status > 0:
            self._answer(fault.status, fault.body)
            return
        with script.lock:
            script.reap()
            code, answer = self._handle(url.path, parse_qs(url.query), body)
        if fault is not None:
            self.server.stopped.wait(fault.seconds)
            self.close_connection = True
            return
        self._answer(code, answer)

    do_GET = do_POST = do_DELETE = _serve

    def _answer(self, code: int, body: Object | str) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _handle(self, path: str, query: Mapping[str, Sequence[str]], body: Object) -> tuple[int, Object | str]:
        script = self.server.script
        if path == "/apis/kubernetes.dask.org/v1":
            return (200, {"kind": "APIResourceList"}) if script.knows_dask else (404, "404 page not found\n")
        match = re.fullmatch(r"/(?:api|apis/([^/]+))/v1/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/(log))?", path)
        if not match:
            return 404, "404 page not found\n"
        group, _, resource, name, sub = match.groups(default="")
        if group == "kubernetes.dask.org" and not script.knows_dask:
            return 404, "404 page not found\n"
        verb = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}[self.command]
        right = (group, f"{resource}/{sub}" if sub else resource, verb)
        if right not in script.rights:
            what = f'{right[1]} is forbidden: User "driver" cannot {verb} resource "{right[1]}" in API group "{group}"'
            return status(403, "Forbidden", what)
        script.used.add(right)
        return getattr(self, f"_{resource}")(verb, name, query, body, sub)

    def _daskclusters(
        self, verb: str, name: str, query: Mapping[str, Sequence[str]], body: Object, _: str
    ) -> tuple[int, Object | str]:
        script = self.server.script
        if verb == "create":
            code, created = self._create(script.clusters, body)
            if code == 201:
                script.born[body["metadata"]["name"]] = time.monotonic()
            return code, created
        if verb == "list":
            key, value = query["labelSelector"][0].split("=")
            return 200, {"items": [c for c in script.clusters.values() if c["metadata"]["labels"].get(key) == value]}
        if name not in script.clusters:
            return status(404, "NotFound", f'daskclusters "{name}" not found')
        found = script.clusters[name]
        if verb == "get":
            return 200, found
        wanted = body.get("preconditions", {}).get("uid", found["metadata"]["uid"])
        if wanted != found["metadata"]["uid"]:
            return status(409, "Conflict", "the UID in the precondition does not match")
        found["metadata"].setdefault("deletionTimestamp", "2013-02-09T03:00:00Z")
        script.dying.setdefault(name, time.monotonic())
        script.reap()
        return 200, found

    def _secrets(
        self, verb: str, name: str, _: Mapping[str, Sequence[str]], body: Object, __: str
    ) -> tuple[int, Object | str]:
        secrets = self.server.script.secrets
        if verb == "create":
            return self._create(secrets, body)
        if name not in secrets:
            return status(404, "NotFound", f'secrets "{name}" not found')
        return 200, secrets.pop(name)

    def _create(self, kept: dict[str, Object], body: Object) -> tuple[int, Object | str]:
        name = body["metadata"]["name"]
        if name in kept:
            return status(409, "AlreadyExists", f'"{name}" already exists')
        body["metadata"]["uid"] = str(uuid.uuid4())
        kept[name] = body
        return 201, body

    def _jobs(
        self, verb: str, name: str, _: Mapping[str, Sequence[str]], __: Object, ___: str
    ) -> tuple[int, Object | str]:
        jobs = self.server.script.jobs
        if verb == "list":
            return 200, {"items": list(jobs.values())}
        return (200, jobs[name]) if name in jobs else status(404, "NotFound", f'jobs.batch "{name}" not found')

    def _configmaps(
        self, verb: str, name: str, query: Mapping[str, Sequence[str]], _: Object, __: str
    ) -> tuple[int, Object | str]:
        maps = self.server.script.config_maps
        if verb == "list":
            wanted = dict(pair.split("=") for pair in query["labelSelector"][0].split(","))
            return 200, {"items": [m for m in maps.values() if wanted.items() <= m["metadata"]["labels"].items()]}
        return (200, maps.pop(name)) if name in maps else status(404, "NotFound", f'configmaps "{name}" not found')

    def _pods(
        self, verb: str, name: str, query: Mapping[str, Sequence[str]], _: Object, sub: str
    ) -> tuple[int, Object | str]:
        script = self.server.script
        if sub == "log":
            kind = "previous" if "previous" in query else "current"
            missing = status(400, "BadRequest", f'previous terminated container in pod "{name}" not found')
            return (200, script.logs[kind]) if kind in script.logs else missing
        assert verb == "list"
        if "app.kubernetes.io/component=driver" in query["labelSelector"][0]:
            return 200, {"items": script.drivers.pop(0) if len(script.drivers) > 1 else script.drivers[0]}
        cluster = query["labelSelector"][0].split("=")[1]
        if cluster not in script.clusters:
            return 200, {"items": []}
        workers = script.clusters[cluster]["spec"]["worker"]["replicas"]
        return 200, {"items": script.pods(cluster, workers, time.monotonic() - script.born[cluster])}

    def _events(
        self, verb: str, _: str, __: Mapping[str, Sequence[str]], ___: Object, ____: str
    ) -> tuple[int, Object | str]:
        assert verb == "list"
        script = self.server.script
        return 200, {"items": [event for cluster in script.clusters for event in script.events(cluster)]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.stopped = threading.Event()


@contextmanager
def serve(script: Script) -> Iterator[str]:
    """Serve a script on a free port of the loopback; yield the address."""
    server = _Server(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
