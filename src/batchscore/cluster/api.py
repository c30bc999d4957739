"""Requests to the Kubernetes API server: each has a wall limit, blips are retried until a deadline, and an answer is never guessed.

Plain HTTP instead of a client library: kr8s takes every status but 200 for "does not exist", and its waits have no deadline.
"""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.errors import ConfigError, NoCluster

if TYPE_CHECKING:
    import httpx

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REQUEST_SECONDS = 10.0
"""The longest that one request may take, all of it; the API server's own limit for a short request is 60 s."""
_BLIPS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the API server answered."""

    status: int
    """The HTTP status."""
    body: Mapping[str, Any]
    """The JSON object; empty when the answer was none."""
    text: str
    """The answer as text."""
    retried: bool
    """Whether an earlier try of the same request may have reached the server."""

    @property
    def ok(self) -> bool:
        """Whether the request was granted."""
        return self.status // 100 == 2  # noqa: PLR2004 - 2xx

    @property
    def is_missing(self) -> bool:
        """Whether the API server itself says that the object does not exist; a proxy's bare 404 says nothing."""
        return (
            self.status == HTTPStatus.NOT_FOUND
            and self.body.get("kind") == "Status"
            and self.body.get("reason") == "NotFound"
        )

    @property
    def message(self) -> str:
        """The server's explanation, in one line."""
        return " ".join(str(self.body.get("message") or self.text or f"status {self.status}").split())[:500]


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """The API server of the cluster that we run in, and our account there."""

    url: str
    """Its address, such as `https://10.96.0.1:443`."""
    token_file: Path | None = None
    """The account's token; read for every request, since it is renewed while we run."""
    ca_file: Path | None = None
    """The authority that signed the server's certificate."""
    pause_seconds: float = 0.5
    """The first pause before a retry; it doubles up to eight times that."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers."""

    def request(
        self,
        method: str,
        path: str,
        *,
        until: float,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a request, again after blips (429, 5xx, a broken connection, silence), until it is answered.

        A POST that is sent again may meet its own first try: `retried` says so, and the caller reads back.

        Args:
            method: The HTTP method.
            path: The path, from `/`.
            until: The `time.monotonic()` at which to give up.
            query: Query parameters.
            body: The object to send.

        Raises:
            NoCluster: When there was no answer by `until`, with the last reason.
        """
        retried, pause, last = False, self.pause_seconds, "no time was left for a first try"
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise NoCluster(
                    f"the Kubernetes API server did not answer {method} {path} in time: {last}",
                    slug="API",
                    remedy="look at the API server's health; the next run starts afresh and resumes",
                    url=self.url,
                )
            answer = self._try(
                method, path, query=query, body=body, seconds=min(left, REQUEST_SECONDS), retried=retried
            )
            if isinstance(answer, Answer) and answer.status not in _BLIPS:
                return answer
            if isinstance(answer, Answer):
                last = f"{answer.status} {answer.message}"
            elif not retried or left >= REQUEST_SECONDS:  # one that our own end cut short says less than those before
                last = answer
            retried = True
            time.sleep(max(0.0, min(pause, until - time.monotonic())))
            pause = min(pause * 2, self.pause_seconds * 8)

    def _try(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        seconds: float,
        retried: bool,
    ) -> Answer | str:
        import httpx

        try:
            response = _outcome(self._send(method, path, query=query, body=body, seconds=seconds))
        except TimeoutError:
            return f"silence for {seconds:.0f} s"
        except (httpx.TransportError, OSError) as error:
            return f"{type(error).__name__} {error}".strip()
        text = response.text
        return Answer(status=response.status_code, body=_object(text), text=text, retried=retried)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        seconds: float,
    ) -> httpx.Response:
        """Send once; `asyncio.timeout` is a wall limit, where a client's own timeouts count per socket read."""
        import httpx

        headers = {"Accept": "application/json", **self.headers}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {self.token_file.read_text(encoding='utf-8').strip()}"
        changed = self.ca_file.stat().st_mtime_ns if self.ca_file is not None else 0
        trust = _trust(self.ca_file, changed)
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=trust, timeout=seconds, trust_env=False) as client,
        ):
            return await client.request(method, self.url + path, params=query, json=body, headers=headers)


def in_cluster(environ: Mapping[str, str], account: Path = ACCOUNT) -> ApiServer:
    """Return the API server of the cluster that this process runs in, by the variables and files that a pod gets.

    Raises:
        ConfigError: When this process does not run in a pod, or its pod has no token.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").is_file():
        fact = "this process does not run in a pod" if not host else f"{account / 'token'} is missing"
        raise ConfigError(
            f"cluster.kind is 'kubernetes', but {fact}",
            slug="NOT-IN-A-POD",
            remedy="run it as the chart's Job, or use cluster.kind local or address",
        )
    shown = f"[{host}]" if ":" in host else host
    return ApiServer(url=f"https://{shown}:{port}", token_file=account / "token", ca_file=account / "ca.crt")


def refused(answer: Answer, doing: str) -> NoCluster:
    """Return the error for an answer that grants nothing and that no retry mends.

    Args:
        answer: The answer.
        doing: What was wanted, such as "create the DaskCluster 'x'".
    """
    if answer.status in (401, 403) and "exceeded quota" not in answer.message:
        return NoCluster(
            f"the driver may not {doing}: {answer.message}",
            slug="FORBIDDEN",
            remedy="install the chart's Role (rbac.create), or grant what the message names",
        )
    slug = "QUOTA" if "exceeded quota" in answer.message else "REFUSED"
    return NoCluster(
        f"the Kubernetes API server refused to {doing}: {answer.status} {answer.message}",
        slug=slug,
        remedy="raise the quota, or ask for less" if slug == "QUOTA" else "read the server's message",
    )


def _outcome(sending: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    """Wait for a request that a thread of its own sends; one that is no longer waited for is given up.

    What a signal's handler raises is raised in the main thread, in the midst of whatever runs there. An event loop would
    lose it, or wrap it in a group; so none runs there.
    """
    future = asyncio.run_coroutine_threadsafe(sending, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # before any later request, since the loop takes them in order
        raise


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="kubernetes-api", daemon=True).start()
    return loop


def _object(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


@functools.lru_cache(maxsize=4)
def _trust(ca_file: Path | None, changed: int) -> ssl.SSLContext:  # noqa: ARG001 - part of the cache's key
    """Return whom to trust; kept, since making it takes longer than a request, until the file changes."""
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
