"""The lease of a date: it saves two drivers from doing the same work, and is trusted with nothing else.

A driver that lost its lease and goes on does no harm: it writes names of its own, and its commit fails.
Clocks are never compared: a lease is silent when the waiter sees no new beat in `SILENCE` seconds of its own.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from batchscore import logs
from batchscore.errors import BatchscoreError, DateBusy, StateDamaged
from batchscore.store import layout
from batchscore.store.root import Root
from batchscore.store.sealed import put_once, read_sealed, seal

BEAT = 5.0
"""Seconds between two beats."""
SILENCE = 30.0
"""Seconds without a beat after which a holder elsewhere counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a date: enough to tell whether it still lives."""

    run_id: str
    """The run's random id."""
    host: str
    """The machine's or pod's name."""
    boot: str
    """The kernel's boot id and the process namespace: process numbers mean the same only within these."""
    process: int
    """The process number."""
    started: int
    """The process's start in clock ticks since boot: numbers are used again, starts are not."""
    job: str = ""
    """The Kubernetes Job's uid; empty outside of one."""
    attempt: int = 0
    """The attempt within the Job: a later one knows that the earlier ones are over."""
    beat: int = 0
    """Counts up while the holder lives."""


def holder(run_id: str, *, job: str = "", attempt: int = 0) -> Holder:
    """Return this process as a holder."""
    process = os.getpid()
    return Holder(
        run_id=run_id,
        host=socket.gethostname(),
        boot=_boot(),
        process=process,
        started=_started(process) or 0,
        job=job,
        attempt=attempt,
    )


@contextmanager
def leased(root: Root, date: str, me: Holder, *, beat: float = BEAT, silence: float = SILENCE) -> Iterator[None]:
    """Hold a date while the block runs.

    Args:
        root: The output root.
        date: The date.
        me: This process.
        beat: Seconds between two beats.
        silence: Seconds without a beat after which another holder counts as gone; waited for here.

    Raises:
        DateBusy: When a live run holds the date.
    """
    _acquire(root, date, me, silence)
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(root, date, me, over, beat), name="lease", daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join(beat)
        with suppress(BatchscoreError):
            if _is_mine(_read(root, date), me):
                root.delete(layout.lease(date))


def _acquire(root: Root, date: str, me: Holder, silence: float) -> None:
    while True:
        with suppress(StateDamaged):  # a lease that can not be read holds nothing
            if put_once(root, layout.lease(date), _sealed(me)) == _sealed(me):
                return
        found = _read(root, date)
        if found and not _is_gone(found, me) and not _falls_silent(root, date, found, silence):
            raise _busy(date, found)
        root.delete(layout.lease(date))


def _is_gone(found: Holder, me: Holder) -> bool:
    """Whether a holder is certainly over, by what can be known at once."""
    if found.job and found.job == me.job and found.attempt < me.attempt:
        return True
    return _is_local(found, me) and _started(found.process) != found.started


def _falls_silent(root: Root, date: str, found: Holder, silence: float) -> bool:
    """Watch a holder elsewhere until it beats (False) or was silent for long enough (True)."""
    if _is_local(found, holder(found.run_id)):
        return False
    deadline = time.monotonic() + silence
    while time.monotonic() < deadline:
        time.sleep(min(1.0, silence / 10))
        if _read(root, date) != found:
            return _read(root, date) is None
    return True


def _is_local(found: Holder, me: Holder) -> bool:
    return (found.host, found.boot) == (me.host, me.boot)


def _is_mine(found: Holder | None, me: Holder) -> bool:
    return found is not None and (found.run_id, found.process) == (me.run_id, me.process)


def _beat(root: Root, date: str, me: Holder, over: threading.Event, beat: float) -> None:
    count = 0
    while not over.wait(beat):
        count += 1
        try:
            if not _is_mine(_read(root, date), me):
                return
            root.replace(layout.lease(date), _sealed(me, count))
        except (BatchscoreError, OSError) as error:
            logs.logger(__name__).warning("lease not renewed", date=date, error=str(error))


def _read(root: Root, date: str) -> Holder | None:
    """Return who holds a date; a lease that can not be read holds nothing."""
    try:
        content, _ = read_sealed(root, layout.lease(date))
        return Holder(**{item.name: content[item.name] for item in fields(Holder)})
    except (FileNotFoundError, StateDamaged, KeyError):
        return None


def _sealed(me: Holder, beat: int = 0) -> bytes:
    return seal({**asdict(me), "beat": beat})


def _boot() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(process: int) -> int | None:
    """Return when a process started; None when there is none, or only its remains."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(rest[18])


def _busy(date: str, found: Holder) -> DateBusy:
    return DateBusy(
        f"{date} is held by a live run (process {found.process} on {found.host}, run {found.run_id[:12]})",
        slug="LEASE",
        remedy="let it finish; the same command may be tried again at any time",
        host=found.host,
        process=found.process,
        run_id=found.run_id,
    )
