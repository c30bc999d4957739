"""A proxy in front of an object store that misbehaves on purpose: lost answers, errors after the write, changed bytes."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("lost-answer", "error-after-write", "unavailable", "conflict", "short-body", "flipped-byte", "delay")
WRITER = b"parquet-cpp-arrow"
"""What a footer says of its writer: with a flipped bit in it (`flipped-writer`) it still parses."""


@dataclass
class Faults:
    """What the proxy does to the requests that pass it."""

    choose: Callable[[str, str], str | None]
    """From method and path to a kind of fault, or None."""
    injected: Counter[str] = field(default_factory=Counter)
    """How often each kind was done."""
    drop_headers: tuple[str, ...] = ()
    """Headers that never reach the store, in lower case."""


def at_random(seed: int, rate: float) -> Callable[[str, str], str | None]:
    """Choose each kind of fault with the same probability."""
    chance, lock = random.Random(seed), threading.Lock()

    def choose(_method: str, _path: str) -> str | None:
        with lock:
            drawn = chance.random()
        return KINDS[int(drawn / rate)] if drawn < rate * len(KINDS) else None

    return choose


def in_order(script: list[tuple[str, str, str | None]]) -> Callable[[str, str], str | None]:
    """Do each fault of a script once: (method, part of the path, kind); it is used up as it matches.

    A kind of None lets a request pass.
    """
    lock = threading.Lock()

    def choose(method: str, path: str) -> str | None:
        with lock:
            for step in script:
                if step[0] == method and step[1] in path:
                    script.remove(step)
                    return step[2]
        return None

    return choose


def always(method: str, part: str, kind: str) -> Callable[[str, str], str | None]:
    """Do one kind of fault to every request that matches."""
    return lambda asked, path: kind if asked == method and part in path else None


@contextmanager
def faulty(upstream: str, faults: Faults) -> Iterator[str]:
    """Run the proxy in front of a store and give its address."""
    host = urlsplit(upstream).netloc

    class Handler(_Handler):
        target, plan = host, faults

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _flipped(answer: bytes, place: int) -> bytes:
    return answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: closed connections are the point of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = ""
    plan: Faults

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.plan.choose(self.command, self.path)
        if kind:
            self.plan.injected[kind] += 1
        if kind == "unavailable":
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif kind == "conflict" and self.command == "PUT":
            self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        elif kind == "denied":
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            if kind == "delay":
                time.sleep(0.3)
            self._forward(body, kind)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

    def _forward(self, body: bytes, kind: str | None) -> None:
        status, headers, answer = self._ask(body)
        if kind == "lost-answer":
            self.close_connection = True
        elif kind == "error-after-write":
            self._answer(500, b"<Error><Code>InternalError</Code></Error>")
        else:
            if kind == "flipped-byte" and self.command == "GET" and answer:
                # Another byte each time: two readings that are damaged alike would be believed, and rightly.
                answer = _flipped(answer, (len(answer) // 2 + self.plan.injected[kind]) % len(answer))
            if kind == "flipped-writer" and WRITER in answer:
                answer = _flipped(answer, answer.index(WRITER))
            self._answer(status, answer, headers, cut=kind == "short-body" and self.command == "GET")

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in self.plan.drop_headers:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers or []:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        with suppress(ConnectionError):
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
