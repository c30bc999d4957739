"""Telling others that a date was published: a marker file, or a webhook; bounded, and never the exit code."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from batchscore.errors import BatchscoreError
from batchscore.store import Commit, MarkerOptions, WebhookOptions, open_root


@dataclass(frozen=True, kw_only=True)
class Notified:
    """What became of a notification."""

    status: Literal["off", "sent", "failed"]
    """`failed`: it may have arrived or not."""
    detail: str = ""
    """Where it went, or why it failed."""


def notify(options: MarkerOptions | WebhookOptions | None, pipeline: str, commit: Commit) -> Notified:
    """Tell of a commit, within the configured seconds; called again for the same commit it tells the same.

    Args:
        options: `output.notify`; None when nobody is told.
        pipeline: The pipeline's name.
        commit: What was published.
    """
    if options is None:
        return Notified(status="off")
    content = {
        "pipeline": pipeline,
        "date": commit.date,
        "revision": commit.number,
        "run": commit.run,
        "manifest_sha256": commit.manifest_sha256,
    }
    data = json.dumps(content, sort_keys=True).encode() + b"\n"
    if isinstance(options, MarkerOptions):
        path = options.path.replace("{date}", commit.date)
        return _bounded(lambda: _mark(path, data), options.seconds, path)
    url = options.url.replace("{date}", commit.date)
    return _bounded(lambda: _post(url, data, options.seconds), options.seconds, url.partition("?")[0])


def _mark(path: str, data: bytes) -> None:
    folder, _, name = path.rpartition("/")
    open_root(folder or ".").replace(name, data)


def _post(url: str, data: bytes, seconds: float) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")  # noqa: S310 - the options allow http and https only
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
        answer.read(1)


def _bounded(action: Callable[[], None], seconds: float, where: str) -> Notified:
    """Run `action` in a thread of its own, since a socket's timeout bounds each step but not their sum."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            action()
        except (OSError, ValueError, BatchscoreError) as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="notify", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return Notified(status="failed", detail=f"{where} gave no answer within {seconds:g} s")
    if errors:
        return Notified(status="failed", detail=f"{where}: {errors[0]}")
    return Notified(status="sent", detail=where)
