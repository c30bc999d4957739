"""Tell consumers that a date is published: a marker file or a request, within a deadline, never more than a warning."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from batchscore.errors import BatchscoreError
from batchscore.store.commits import Commit
from batchscore.store.files import FileRoot
from batchscore.store.root import Root, is_there
from batchscore.store.sealed import seal

if TYPE_CHECKING:
    from batchscore.store import MarkerOptions, WebhookOptions


def notify(options: MarkerOptions | WebhookOptions, commit: Commit, *, again: bool = False) -> str | None:
    """Tell that a commit is published; telling it again does no harm.

    Both kinds carry the commit's content; `{date}` in the path or address is the commit's date.

    Args:
        options: `output.notify`.
        commit: What was published or released.
        again: Whether it was told before: then a marker that is not there is written, and nothing else happens.

    Returns:
        What went wrong, in one sentence for the log; None when all is well.
    """
    outcome = [f"it took longer than {options.seconds:g} s"]

    def attempt() -> None:
        outcome[0] = _tell(options, commit, again=again)

    # A thread that hangs is left behind: a server that drips bytes outlives every timeout of a socket.
    teller = threading.Thread(target=attempt, name="notify", daemon=True)
    teller.start()
    teller.join(options.seconds)
    return f"output.notify ({options.kind}) failed: {outcome[0]}" if outcome[0] else None


def _tell(options: MarkerOptions | WebhookOptions, commit: Commit, *, again: bool) -> str:
    data = seal(asdict(commit) | {"commit_sha256": commit.sha256})
    try:
        if options.kind == "marker":
            root, name = _place(options.path.replace("{date}", commit.date))
            if not (again and is_there(root, name)):
                root.replace(name, data)
            return ""
        return "" if again else _post(options.url.replace("{date}", commit.date), data, options.seconds)
    except (BatchscoreError, OSError) as error:
        return " ".join(str(error).split())


def _place(path: str) -> tuple[Root, str]:
    """Return the folder of a marker, and its name there."""
    folder, _, name = path.rpartition("/")
    if "://" not in path:
        return FileRoot(folder or ("/" if path.startswith("/") else ".")), Path(name).name
    from batchscore.store.objects import ObjectRoot

    return ObjectRoot(folder), name


def _post(url: str, data: bytes, seconds: float) -> str:
    import urllib.error
    import urllib.request

    from batchscore.outbound import opener

    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310 - the option admits http and https only
    try:
        with opener().open(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"the server answered {error.code}"
