"""One HTTP request to a Pushgateway, over a connection that another thread can cut."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from batchscore.metrics.options import MetricsOptions
from batchscore.outbound import opener
from batchscore.secret import SecretError, read_secret, read_token

SHOWN = 2_000
"""Characters of an answer's body that a message shows."""


class RefusedError(OSError):
    """Trying again would change nothing: the gateway's answer, or a file of ours that cannot be read."""


class Wire:
    """Makes requests and remembers their connection.

    prometheus_client's own handlers throw a refusal's body away, follow the machine's proxy variables, and trust
    either the system's authorities or demand a client certificate.

    Args:
        options: The `metrics` section.
        seconds: The longest silence between two bytes; the wall-clock limit is whoever calls `cut`.
    """

    def __init__(self, options: MetricsOptions, seconds: float) -> None:
        self._options = options
        self._seconds = max(seconds, 0.001)
        self._connection: http.client.HTTPConnection | None = None
        self.sent = 0
        """Bytes of the last request's body."""

    def handler(
        self,
        url: str,
        method: str,
        timeout: float | None,  # noqa: ARG002 - the client's default, which bounds nothing
        headers: Sequence[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        """Return the request as prometheus_client wants it: a function to call."""
        return functools.partial(self._request, url, method, headers, data)

    def cut(self) -> None:
        """End the request under way; safe at any time and from any thread."""
        connection = self._connection
        opened = getattr(connection, "sock", None)
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _request(self, url: str, method: str, headers: Sequence[tuple[str, str]], data: bytes) -> None:
        self.sent = len(data)
        request = urllib.request.Request(url, data=data or None, method=method)  # noqa: S310 - http(s) by MetricsOptions
        try:
            for name, value in (*headers, *self._credentials()):
                request.add_header(name, value)
            with self._opener().open(request, timeout=self._seconds) as answer:
                answer.read(SHOWN)
        except SecretError as error:
            raise RefusedError(str(error)) from error
        except urllib.error.HTTPError as error:
            with error:
                fact = f"the gateway answered {error.code} {error.reason}: {_printable(error.read(SHOWN))}"
            raise (RefusedError if error.code < http.client.INTERNAL_SERVER_ERROR else OSError)(fact) from error
        except urllib.error.URLError as error:
            kind = RefusedError if isinstance(error.reason, ssl.SSLCertVerificationError) else OSError
            raise kind(f"no connection to the gateway: {error.reason}") from error
        except http.client.HTTPException as error:
            raise OSError(f"the gateway's answer is no HTTP: {error!r}") from error

    def _credentials(self) -> list[tuple[str, str]]:
        options = self._options
        if options.bearer_token_file is not None:
            return [("Authorization", f"Bearer {read_token(options.bearer_token_file)}")]
        if options.basic_auth_password_file is not None:
            pair = f"{options.basic_auth_user}:{read_secret(options.basic_auth_password_file)}"
            return [("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")]
        return []

    def _opener(self) -> urllib.request.OpenerDirector:
        context = _trust(self._options.ca_file)
        return opener(_Http(self._remember), _Https(self._remember, context), use_proxy=self._options.use_proxy)

    def _remember(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection


class _Http(urllib.request.HTTPHandler):
    """Opens http addresses and tells which connection it uses."""

    def __init__(self, remember: Callable[[http.client.HTTPConnection], None]) -> None:
        super().__init__()
        self._remember = remember

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open `req`."""
        return self.do_open(self._connect, req)

    def _connect(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, **options)
        self._remember(connection)
        return connection


class _Https(urllib.request.HTTPSHandler):
    """Opens https addresses and tells which connection it uses."""

    def __init__(self, remember: Callable[[http.client.HTTPConnection], None], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._remember = remember
        self._trust = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open `req`."""
        return self.do_open(self._connect, req)

    def _connect(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = _CuttableHttps(host, context=self._trust, **options)
        self._remember(connection)
        return connection


class _CuttableHttps(http.client.HTTPSConnection):
    """Shakes hands after the socket is known: wrapping it in one go would hide it for as long as that takes."""

    def connect(self) -> None:
        """Connect, then shake hands."""
        http.client.HTTPConnection.connect(self)
        name = getattr(self, "_tunnel_host", None) or self.host
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        wrapped = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.sock = wrapped
        wrapped.do_handshake()


def _printable(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _trust(path: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError is one: there is no certificate in it
        fact = "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
        raise RefusedError(f"the file {path!r} {fact}") from error
