"""Real servers on free loopback ports for the tests, and one that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_SECONDS = 30.0


def free_port() -> int:
    """Return a loopback port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, *, method: str = "GET", data: bytes | None = None, seconds: float = 20.0) -> str:
    """Return what `url` answers; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=data, method=method), timeout=seconds) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def serving(command: list[str], ready: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends.

    Args:
        command: The program and its arguments.
        ready: An address that answers once the server is up.
        log: Where its output goes; shown when it does not come up.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
    try:
        _await(ready, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(ready: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            fetch(ready, seconds=1.0)
        except urllib.error.HTTPError as error:
            if error.code < http.client.INTERNAL_SERVER_ERROR:  # it wants a password; 503 is "not yet"
                return
            time.sleep(0.05)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} did not come up: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Pushgateway:
    """A running Pushgateway."""

    url: str
    """Its base address."""
    process: subprocess.Popen[bytes]
    """Its process."""

    def text(self) -> str:
        """Return all that it serves."""
        return fetch(f"{self.url}/metrics")

    def series(self) -> dict[str, float]:
        """Return batchscore's series and the gateway's notes on pushes, by name and labels as they are served."""
        wanted = ("batchscore_", "push_")
        lines = [line for line in self.text().splitlines() if line.startswith(wanted)]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@contextlib.contextmanager
def pushgateway(
    program: str, folder: Path, *, web_config: Path | None = None, port: int | None = None
) -> Iterator[Pushgateway]:
    """Run a Pushgateway that keeps nothing on disk, on a free port unless one is given."""
    port = port or free_port()
    command = [program, f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]
    scheme = "http"
    if web_config is not None:
        command.append(f"--web.config.file={web_config}")
        scheme = "https" if "tls_server_config" in web_config.read_text() else "http"
    with serving(command, f"http://127.0.0.1:{port}/-/ready", folder / f"pushgateway-{port}.log") as process:
        yield Pushgateway(f"{scheme}://127.0.0.1:{port}", process)


@dataclass
class Hostile:
    """A server that behaves as told, and counts."""

    url: str
    """Its base address."""
    requests: list[bytes] = field(default_factory=list)
    """The first bytes of each request."""


@contextlib.contextmanager
def hostile(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[Hostile]:
    """Accept connections, read what is sent, and hand each to `behave`, until the block ends."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        server = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=answer, args=(connection,)))
                    threads[-1].start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(0.2)
                request = b""
                with contextlib.suppress(TimeoutError):
                    while block := connection.recv(65536):
                        request += block
                server.requests.append(request)
                connection.settimeout(None)
                behave(connection, over)

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield server
        finally:
            over.set()
            for thread in threads:
                thread.join(10)


def answers(text: str) -> Callable[[socket.socket, threading.Event], None]:
    """Send `text` and close."""
    return lambda connection, _: connection.sendall(text.encode())


@dataclass
class Webhook:
    """A server that keeps what it is sent."""

    url: str
    """Its address."""
    status: int = 204
    """What it answers."""
    sent: list[bytes] = field(default_factory=list)
    """The bodies of the requests, in order."""


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a webhook on a free port; a redirect leads to a place that notes whoever follows it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(hook.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            hook.sent.append(b"a request without the commit")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(url=f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


def says_nothing(_: socket.socket, over: threading.Event) -> None:
    """Keep the connection open and silent."""
    over.wait(60)


def drips(connection: socket.socket, over: threading.Event) -> None:
    """Send an answer that is never whole, a byte at a time: no read of the client's ever times out."""
    for letter in "HTTP/1.1 200 OK\r\nX-Drip: " + "d" * 10_000:
        connection.sendall(letter.encode())
        if over.wait(0.1):
            return


def stops(connection: socket.socket, over: threading.Event) -> None:
    """Begin a good answer and never end it: once the connection is cut, it looks like an answer without headers."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    over.wait(60.0)


@contextlib.contextmanager
def alertmanager(program: str, folder: Path, config: Path) -> Iterator[str]:
    """Run an Alertmanager of its own, and give its address."""
    port = free_port()
    command = [
        program,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with serving(command, f"http://127.0.0.1:{port}/-/ready", folder / "alertmanager.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def prometheus(
    program: str, folder: Path, data: Path, *, look_back: str = "5m", settings: str = "scrape_configs: []\n"
) -> Iterator[str]:
    """Run a Prometheus on the data that is there, and give its address; by default it scrapes nothing."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(settings)
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=3650d",
        f"--query.lookback-delta={look_back}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/-/ready", folder / f"prometheus-{port}.log"):
        yield url


def ask(url: str, expression: str, **options: float) -> list[dict[str, Any]]:
    """Return what Prometheus answers: of one moment (`time`), or of a range (`start`, `end`, `step`)."""
    kind = "query_range" if "step" in options else "query"
    query = urllib.parse.urlencode({"query": expression, **options})
    answer = json.loads(fetch(f"{url}/api/v1/{kind}", method="POST", data=query.encode(), seconds=120))
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
