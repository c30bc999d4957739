"""Run a command and measure its whole process tree: wall and CPU seconds, and proportional memory."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.05
"""How often the memory is looked at."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one command took, from its start to its exit."""

    wall: float
    """Seconds from start to exit."""
    cpu: float
    """User and system seconds of the command and of all processes that came of it, waited for by it or by us."""
    memory: int
    """The greatest sum, over its processes, of proportional set sizes that was seen, in bytes."""


class CommandFailed(Exception):
    """A command ended with a code other than 0."""


def measure(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end.

    Raises:
        CommandFailed: With the last lines of what it said.
    """
    adopt_orphans()
    began = time.monotonic()
    with subprocess.Popen(  # noqa: S603 - commands of this benchmark
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        said = _Tail(child)
        memory, status, usage = _watched(child.pid)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime + _orphans_cpu()
        if child.returncode:
            raise CommandFailed(f"{' '.join(command)} ended with {child.returncode}: {said.text()}")
    return Usage(wall=wall, cpu=cpu, memory=memory)


def adopt_orphans() -> None:
    """Have processes whose parent ends become ours, so that their CPU can be waited for."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def _watched(pid: int) -> tuple[int, int, os.struct_rusage]:
    """Wait for a process, looking at its tree's memory meanwhile; return the peak, its status and its usage."""
    peak = 0
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return peak, status, usage
        peak = max(peak, sum(_pss(each) for each in _tree(pid)))
        time.sleep(SAMPLE_SECONDS)


def _orphans_cpu() -> float:
    """Wait for what the command left behind, such as the resource tracker of multiprocessing."""
    seconds, deadline = 0.0, time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            found, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if found:
            seconds += usage.ru_utime + usage.ru_stime
        else:
            time.sleep(0.01)
    return seconds


def _tree(pid: int) -> list[int]:
    """List a process and all that came of it; the kernel lists children by thread."""
    found = [pid]
    for each in found:
        for task in _listed(f"/proc/{each}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{each}/task/{task}/children").read_text().split())
    return found


def _listed(folder: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - names of threads, not paths
    return []


def _pss(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        line = next(each for each in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if each[:4] == "Pss:")
        return int(line.split()[1]) * _KIB
    return 0


class _Tail:
    """Reads what a command says in a thread of its own, so that a full pipe does not stop it; keeps the end."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        from threading import Thread

        self._said = b""
        self._thread = Thread(target=self._read, args=(child,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return the last lines."""
        self._thread.join(1)
        return self._said.decode(errors="replace")[-2000:]

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None  # noqa: S101 - it was asked for
        for line in child.stderr:
            self._said = (self._said + line)[-4000:]
