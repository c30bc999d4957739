"""Requests to servers outside: a redirect is not followed, and a proxy is used only where that is asked for."""

from __future__ import annotations

import urllib.request
from typing import Any


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST arrives as a GET without its content, and takes a token to whoever is named: it is the error."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def opener(*handlers: urllib.request.BaseHandler, use_proxy: bool = False) -> urllib.request.OpenerDirector:
    """Return what opens requests.

    Args:
        handlers: More handlers, such as of connections that can be cut.
        use_proxy: Whether the environment's proxies are used.
    """
    proxies = urllib.request.ProxyHandler() if use_proxy else urllib.request.ProxyHandler({})
    return urllib.request.build_opener(proxies, NoRedirect(), *handlers)
