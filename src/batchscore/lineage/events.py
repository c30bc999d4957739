"""Telling a run's events: never an exception, never longer than the budget, whatever store and server do.

Like a push of metrics, an event changes neither what a run publishes nor its exit code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from batchscore.lineage.event import Kind, Published, Subject, event
from batchscore.lineage.options import LineageOptions
from batchscore.secret import read_token

SHOWN = 500
"""Characters of a server's answer that a message shows."""

Put = Callable[[str, bytes], None]
"""Keeps an event under a name."""


class Events:
    """All events of one run; without `lineage.events` every method does nothing.

    Args:
        options: The `lineage` section.
        subject: What they are about.
        put: Keeps an event beside the outputs; None where there is no place for it, and it is only sent.
    """

    def __init__(self, options: LineageOptions, subject: Subject, put: Put | None) -> None:
        self._options, self._subject, self._put = options, subject, put
        self._left = options.budget_seconds
        self._started: _Telling | None = None

    def start(self, moment: float) -> None:
        """Tell that the run started, in the background; how that went is told with the run's end."""
        self._started = self._tell("START", moment)

    def complete(self, moment: float, published: Published | None = None) -> tuple[str, ...]:
        """Tell that the run succeeded; return what went wrong with its events, a sentence each.

        Args:
            moment: When, in epoch seconds.
            published: What it published; None when it found its date published and did nothing.
        """
        return self._end("COMPLETE", moment, published)

    def fail(self, moment: float, error: str) -> tuple[str, ...]:
        """Tell that the run failed, with its error in one sentence; return what went wrong with its events."""
        return self._end("FAIL", moment, error)

    def _end(self, kind: Kind, moment: float, said: Published | str | None) -> tuple[str, ...]:
        # What the start still needs may not use up the end's time.
        before = self._wait(self._started, self._left / 2)
        after = self._wait(self._tell(kind, moment, said), self._left)
        return tuple(sentence for sentence in (before, after) if sentence)

    def _tell(self, kind: Kind, moment: float, said: Published | str | None = None) -> _Telling | None:
        if not self._options.events:
            return None
        name = f"{self._subject.run_id}-{kind.lower()}.json"

        def tell() -> None:
            data = event(self._subject, kind, moment, said)
            try:
                if self._put is not None:
                    self._put(name, data)
            finally:
                if self._options.url is not None:
                    _post(self._options, self._options.url, data, self._options.budget_seconds)

        return _Telling(kind, tell)

    def _wait(self, telling: _Telling | None, seconds: float) -> str:
        if telling is None:
            return ""
        before = time.monotonic()
        sentence = telling.outcome(seconds)
        self._left = max(0.0, self._left - (time.monotonic() - before))
        return sentence


class _Telling:
    """One event in a thread of its own; one that hangs beyond its time is left behind."""

    def __init__(self, kind: Kind, tell: Callable[[], None]) -> None:
        self._kind, self._tell = kind, tell
        self._sentence = f"the {kind} event was not told in time"
        self._thread = threading.Thread(target=self._run, name=f"lineage-{kind.lower()}", daemon=True)
        self._thread.start()

    def outcome(self, seconds: float) -> str:
        """Wait until it is told, at most so long; return what went wrong, or nothing."""
        self._thread.join(seconds)
        return self._sentence

    def _run(self) -> None:
        try:
            self._tell()
        except Exception as error:  # noqa: BLE001 - an event must never end a run, whatever is wrong with it
            said = " ".join(f"{type(error).__name__}: {error}".split())
            self._sentence = f"the {self._kind} event was not told: {said}"
        else:
            self._sentence = ""


def _post(options: LineageOptions, url: str, data: bytes, seconds: float) -> None:
    import urllib.error
    import urllib.request

    from batchscore.outbound import opener

    headers = {"Content-Type": "application/json"}
    if options.bearer_token_file is not None:
        headers["Authorization"] = f"Bearer {read_token(options.bearer_token_file)}"
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")  # noqa: S310 - the option admits http and https only
    try:
        with opener(use_proxy=options.use_proxy).open(request, timeout=seconds) as answer:
            answer.read(SHOWN)
    except urllib.error.HTTPError as error:
        with error:
            said = " ".join(error.read(SHOWN).decode("utf-8", "replace").split())
        raise OSError(f"the server answered {error.code} {error.reason}: {said}") from error
