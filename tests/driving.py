"""Whole drivers for the tests: a small project, and the real command line run on it in a process of its own.

A driver is forked from a server process that has imported the libraries and run nothing, so that it starts in
milliseconds and no lock or thread of anybody else is copied into it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from batchscore.store import Store, effects, layout, open_store

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

DATE = "2013-02-08"
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Project:
    """A folder with a snapshot, a model and a configuration; a driver runs in it."""

    root: Path
    """The folder."""

    @property
    def outputs(self) -> Path:
        """The output root."""
        return self.root / "outputs"

    @property
    def store(self) -> Store:
        """The store at the output root."""
        return open_store(str(self.outputs))

    def file(self, number: int) -> Path:
        """Return a file of the snapshot."""
        return self.root / f"data/{DATE}/part-{number:03d}.parquet"


def make_project(
    root: Path,
    *,
    files: int = 8,
    groups: int = 1,
    rows: int = 20,
    config: Mapping[str, Any] | None = None,
) -> Project:
    """Write a project of `files` x `groups` partitions of `rows` rows each, with a small logistic regression."""
    from sklearn.linear_model import LogisticRegression

    chance = np.random.default_rng(7)
    known = chance.normal(size=(200, 3))
    model = LogisticRegression().fit(known, (known.sum(axis=1) + chance.normal(size=200)) > 0)
    tables = [numbered(number * groups * rows, groups * rows) for number in range(files)]
    features = [{"name": name, "dtype": "float64"} for name in ("a", "b", "c")]
    keys = {"partition": {"rows": rows}, **(config or {})}
    return write_project(root, model, features, tables, group_rows=rows, config=keys)


def numbered(first: int, rows: int) -> pa.Table:
    """Return rows that depend on their number alone."""
    numbers = np.arange(first, first + rows)
    values = {name: np.sin(numbers * (at + 1.7)) * (at + 1) for at, name in enumerate("abc")}
    return pa.table({"id": [f"r-{number:07d}" for number in numbers], **values})


def write_project(
    root: Path,
    model: object,
    features: Sequence[Mapping[str, Any]],
    tables: Sequence[pa.Table],
    *,
    group_rows: int,
    config: Mapping[str, Any] | None = None,
) -> Project:
    """Write a project: one file of the snapshot per table, the model with its digest pinned, the schema, the config."""
    for folder in (f"data/{DATE}", "config", "models"):
        (root / folder).mkdir(parents=True)
    project = Project(root)
    for number, table in enumerate(tables):
        pq.write_table(table, project.file(number), row_group_size=group_rows, write_page_checksum=True)
    path = root / "models/m_v1.0.0.joblib"
    joblib.dump(model, path)
    pinned = {"path": "models/m_v1.0.0.joblib", "version": "1.0.0", "sha256": digest(path), "compiled": {"mode": "off"}}
    content = {
        "pipeline": "proof",
        "snapshot": {"path": "data/{date}", "id": "id"},
        "schema": "config/schema.yaml",
        "model": pinned,
        "output": {"path": "outputs"},
        **(config or {}),
    }
    (root / "config/schema.yaml").write_text(
        yaml.safe_dump({"name": "proof", "version": "1", "features": [dict(feature) for feature in features]})
    )
    (root / "config/run.yaml").write_text(yaml.safe_dump(content))
    return project


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Ended:
    """A driver that has ended."""

    status: int
    """Its exit code; negative for the signal that killed it."""
    stdout: str
    """What it printed."""
    stderr: str
    """Its log and its error."""

    def event(self, name: str) -> dict[str, Any]:
        """Return the last log line of that event; empty when there is none."""
        found = [line for line in self.logged() if line.get("event") == name]
        return found[-1] if found else {}

    def logged(self) -> list[dict[str, Any]]:
        """Return the log lines."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]

    @property
    def told(self) -> list[str]:
        """What a person is told on stderr: all but the log lines."""
        return [line for line in self.stderr.splitlines() if line and not line.startswith("{")]


class Driver:
    """A running `batchscore` command."""

    def __init__(self, process: ForkServerProcess, out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def pid(self) -> int:
        """Its process number."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.is_alive()

    def stderr(self) -> str:
        """Return what it has written to stderr so far."""
        return self._err.read_text() if self._err.exists() else ""

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = 100) -> Ended:
        """Wait for its end; one that is still there after `seconds` is killed, and the test fails."""
        self.process.join(seconds)
        hung = self.process.is_alive()
        if hung:
            self.process.kill()
            self.process.join()
        ended = Ended(self.process.exitcode or 0, self._out.read_text(), self._err.read_text())
        assert not hung, f"still running after {seconds} s:\n{ended.stderr[-3000:]}"
        self._out.unlink()
        self._err.unlink()
        return ended


def start(
    project: Project,
    *argv: str,
    env: Mapping[str, str] | None = None,
    before: Callable[..., object] | None = None,
    given: tuple[object, ...] = (),
) -> Driver:
    """Start a command in the project's folder.

    Args:
        project: Where it runs.
        argv: The command and its arguments; `--config` and `--date` are added to what needs them.
        env: More environment variables.
        before: A function of a module, called with `given` in the new process before the command line.
        given: Its arguments.
    """
    folder = project.root / "logs"
    folder.mkdir(exist_ok=True)
    stem = folder / os.urandom(6).hex()
    out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
    for path in (out, err):  # it may be ended before its first line
        path.touch()
    line = [*(argv or ("run",)), "--config", "config/run.yaml", "--date", DATE]
    task = (line, str(project.root), str(out), str(err), dict(env or {}), before, given)
    process = forking().Process(target=_drive, args=task)
    process.start()
    return Driver(process, out, err)


def run(project: Project, *argv: str, kill_at: int | None = None, seconds: float = 100, **more: Any) -> Ended:
    """Run a command to its end; `kill_at` is the side effect, counted from 1, before which it kills itself."""
    env = dict(more.pop("env", {}))
    if kill_at is not None:
        env[effects.KILL_AT] = str(kill_at)
    return start(project, *argv, env=env, **more).wait(seconds)


def forking() -> Any:
    """Return the context whose processes are forked from a server that has the libraries.

    A process has one such server, and whoever starts it decides what is in it: so everybody asks here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded", "pytest"])
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # Python 3.11 does not tell the server otherwise
    return context


def _drive(
    argv: list[str],
    folder: str,
    out: str,
    err: str,
    env: dict[str, str],
    before: Callable[..., object] | None,
    given: tuple[object, ...],
) -> None:
    os.chdir(folder)
    for path, number in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
    os.environ.update(env)
    sys.argv = ["batchscore", *argv]
    if before is not None:
        before(*given)
    from batchscore.cli import main

    main()


def published(project: Project) -> dict[str, bytes]:
    """Return the bytes of the published run that must be the same on every execution of its plan."""
    folder = project.outputs / DATE
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != layout.METADATA
    }


def metadata(project: Project) -> dict[str, Any]:
    """Return metadata.json of the published run."""
    content: dict[str, Any] = json.loads((project.outputs / DATE / layout.METADATA).read_bytes())
    return content


@contextmanager
def same_inputs(project: Project, root: Path) -> Iterator[Project]:
    """Give a project with the same inputs and an empty output."""
    root.mkdir()
    for name in ("data", "config", "models"):
        (root / name).symlink_to(project.root / name)
    yield Project(root)


def finished_partitions(project: Project) -> int:
    """Return how many partitions have their record in the work folder, over all plans."""
    plans = project.store.root.folders(f"{layout.WORK}/{DATE}")
    records = (entry.key for plan in plans for entry in project.store.root.list(layout.work(DATE, plan)))
    return sum(layout.record_index(key) is not None for key in records)


def until(condition: Callable[[], object], seconds: float = 100) -> None:
    """Wait for something, and fail when it does not come."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def slow(seconds: float) -> None:
    """In a driver, before its command: let every partition take longer, so that what is done to a run meets it at work."""
    from batchscore import score

    original = score.score_partition

    def slower(job: Any, partition: Any) -> Any:
        time.sleep(seconds)
        return original(job, partition)

    score.score_partition = slower


def fail_to_prune() -> None:
    """In a driver, before its command: let the removal of the finished work fail, after the commit."""
    from batchscore.errors import StorageFailed
    from batchscore.store import clean

    def prune(*_: object) -> None:
        raise StorageFailed("the work folder can not be deleted", slug="PERMISSION")

    clean.prune = prune
