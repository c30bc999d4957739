"""Runs against an object store in processes of their own.

The client's threads do not survive a fork, so children come from a server process that has imported everything and
called nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from driving import forking
from storing import make_plan, publication, whole_run

from batchscore.errors import BatchscoreError
from batchscore.store import Store, effects, open_store
from batchscore.store.objects import ObjectRoot
from batchscore.store.root import Exists


def start(
    action: Callable[..., None], environment: Mapping[str, str], kill_at: int | None, *arguments: object
) -> BaseProcess:
    """Start an action in a child; its exit code is 0, the error's, or -9."""
    child: BaseProcess = forking().Process(target=_act, args=(action, dict(environment), kill_at, arguments))
    child.start()
    return child


def end(child: BaseProcess) -> int:
    """Wait for a child and return its exit code."""
    child.join(300)
    code = child.exitcode
    child.close()
    assert code is not None
    return code


def run_all(url: str, threshold: str, parts: int) -> None:
    """Do a whole run."""
    whole_run(open_store(url), make_plan(threshold), parts)


def publish(url: str, threshold: str, parts: int, gate: Barrier, belief: Path) -> None:
    """Publish prepared parts when all are ready, and write down which run is believed to be published."""
    store: Store = open_store(url)
    store.head("2013-02-08")
    gate.wait(60)
    commit = store.publish(publication(make_plan(threshold), parts), None)
    belief.write_text(commit.run)


def publish_carelessly(url: str, threshold: str, parts: int, gate: Barrier, belief: Path) -> None:
    """The broken twin of `publish`: a commit record is put if it was not there when somebody looked."""
    create = ObjectRoot.create

    def look_then_put(root: ObjectRoot, key: str, data: bytes) -> None:
        if "/commits/" not in key:
            return create(root, key, data)
        if root.list(key.rpartition("/")[0]):
            raise Exists(key, root.read(key))
        time.sleep(0.2)
        return root.replace(key, data)

    ObjectRoot.create = look_then_put  # type: ignore[method-assign]
    publish(url, threshold, parts, gate, belief)


def _act(
    action: Callable[..., None], environment: dict[str, str], kill_at: int | None, arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    if kill_at is not None:
        os.environ[effects.KILL_AT] = str(kill_at)
    try:
        action(*arguments)
    except BatchscoreError as error:
        print(error.id, error)
        os._exit(error.exit_code)
