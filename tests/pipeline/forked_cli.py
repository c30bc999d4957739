"""The real command line, run in a child that is forked from a process which imported everything and ran nothing.

A fresh interpreter spends seconds on importing the data stack; a fork of one that has it spends none. The server
runs no Python thread and no pool before it forks, so that a child is what a fresh process is: `test_forked_cli.py`
compares the two.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""How long one command may take."""
START_SECONDS = 120.0
"""How long the imports may take, on a machine that does much else."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_WARM = (
    "batchscore.cli",
    "batchscore.answers",
    "batchscore.prove",
    "batchscore.compare",
    "batchscore.model.joblib",
    "batchscore.cluster.threads",
    "batchscore.store.probe",
    "dask.threaded",
    "getpass",
    "joblib",
    "pandas",
    "pyarrow.parquet",
    "scipy.special",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "threadpoolctl",
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """The exit code; minus the signal when one killed it."""
    out: str
    """What it wrote to stdout."""
    err: str
    """What it wrote to stderr."""

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The log lines, of a command with JSON logs."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


class ForkedCli:
    """Runs command lines one after the other, each in a fork of the server."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._answer(START_SECONDS)

    def __call__(self, *argv: str, cwd: Path, env: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Ended:
        """Run `batchscore` with `argv`."""
        with tempfile.TemporaryDirectory(prefix="forked-cli-") as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            environment = {**os.environ, **(env or {})}
            self._ask({"argv": argv, "cwd": str(cwd), "env": environment, "out": str(out), "err": str(err)})
            pid = self._answer(SECONDS)
            try:
                code = self._answer(seconds)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._answer(SECONDS)
                raise TimeoutError(f"{argv} took over {seconds} s; stderr: {err.read_text()}") from None
            return Ended(code=code, out=out.read_text(encoding="utf-8"), err=err.read_text(encoding="utf-8"))

    def threads(self) -> set[str]:
        """Return the names of the server's threads but the first."""
        first = str(self._server.pid)
        tasks = [task for task in Path(f"/proc/{first}/task").iterdir() if task.name != first]
        return {(task / "comm").read_text().strip() for task in tasks}

    def _ask(self, request: Mapping[str, Any]) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self, seconds: float) -> int:
        """Read one number; the pipe is not buffered, so that `select` sees all that is there."""
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            raise TimeoutError
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("the server of forked command lines ended")
        return int(line)


@contextmanager
def forked_cli() -> Iterator[ForkedCli]:
    """Start a server, and end it."""
    path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(ONE_THREAD, "1")}
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as server:
        try:
            yield ForkedCli(server)
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(10)


def real_cli(*argv: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run `batchscore` with `argv` in a fresh interpreter, as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **(env or {})}
    done = subprocess.run(
        [sys.executable, "-m", "batchscore", *argv],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def _serve() -> None:
    """Import, say nothing, then fork for each line of stdin."""
    import gc
    import importlib

    for name in _WARM:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: Mapping[str, Any]) -> None:
    """Turn this child into the command: its folder, environment, streams and arguments; never returns."""
    for stream, path, flags in ((0, os.devnull, os.O_RDONLY), (1, request["out"], 0), (2, request["err"], 0)):
        descriptor = os.open(path, flags or os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["batchscore", *request["argv"]]
    os._exit(_command())


def _command() -> int:
    from batchscore.cli import main

    try:
        main()
    except SystemExit as exit_:
        return _code(exit_.code)
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _code(given: Sequence[object] | str | int | None) -> int:
    return given if isinstance(given, int) else 0 if given is None else 1


if __name__ == "__main__":
    _serve()
