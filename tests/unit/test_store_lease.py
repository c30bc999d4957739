"""The lease: it stops a second live driver, and never stands in the way of anybody else."""

import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from storing import DATE

from batchscore.errors import DateBusy
from batchscore.store import holder, layout
from batchscore.store.files import FileRoot
from batchscore.store.lease import Holder, _sealed, leased


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    """Give an empty root."""
    return FileRoot(str(tmp_path))


def elsewhere(run_id: str = "other", **more) -> Holder:
    """Return a holder on another machine."""
    return replace(holder(run_id), host="far-away", **more)


def test_lease_is_there_while_held_and_gone_after(root: FileRoot):
    """A lease lasts as long as its block."""
    with leased(root, DATE, holder("mine")):
        held = len(root.list(layout.LEASES))

    assert (held, root.list(layout.LEASES)) == (1, ())


def test_live_holder_on_this_host_is_busy_at_once(root: FileRoot):
    """A process that lives here is known to live: code 21, with its number."""
    with (
        leased(root, DATE, holder("first")),
        pytest.raises(DateBusy, match=f"process {os.getpid()}"),
        leased(root, DATE, holder("second")),
    ):
        pass


def test_dead_process_of_this_host_is_taken_over_at_once(root: FileRoot):
    """A holder whose process is gone does not cost a second."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    root.create(layout.lease(DATE), _sealed(replace(holder("dead"), process=ended.pid)))
    began = time.monotonic()
    with leased(root, DATE, holder("mine")):
        pass

    assert time.monotonic() - began < 1


def test_process_number_that_was_used_again_is_no_life(root: FileRoot):
    """The start of a process tells it from a later one with its number."""
    root.create(layout.lease(DATE), _sealed(replace(holder("dead"), started=1)))
    with leased(root, DATE, holder("mine")):
        pass


def test_earlier_attempt_of_the_same_job_is_taken_over_at_once(root: FileRoot):
    """A Job's next attempt knows that the one before is over, wherever it ran."""
    root.create(layout.lease(DATE), _sealed(elsewhere(job="uid", attempt=0)))
    with leased(root, DATE, replace(holder("mine"), job="uid", attempt=1), silence=60):
        pass


def test_silent_holder_elsewhere_is_taken_over_after_the_silence(root: FileRoot):
    """A holder on another machine that does not beat is waited out, no longer."""
    root.create(layout.lease(DATE), _sealed(elsewhere()))
    began = time.monotonic()
    with leased(root, DATE, holder("mine"), silence=0.5):
        waited = time.monotonic() - began

    assert 0.5 <= waited < 3


def test_beating_holder_elsewhere_is_busy(root: FileRoot):
    """A holder on another machine that beats is alive."""
    root.create(layout.lease(DATE), _sealed(elsewhere()))
    beat = threading.Timer(0.3, lambda: root.replace(layout.lease(DATE), _sealed(elsewhere(), 1)))
    beat.start()
    with pytest.raises(DateBusy, match="far-away"), leased(root, DATE, holder("mine"), silence=20):
        pass
    beat.join()


def test_unreadable_lease_holds_nothing(root: FileRoot):
    """Whatever else lies there is no lease."""
    root.create(layout.lease(DATE), b"\0")
    with leased(root, DATE, holder("mine")):
        pass


def test_heart_beats_and_stops_when_the_lease_is_lost(root: FileRoot):
    """The beat goes on while held; a lease that somebody took over is left to them."""
    with leased(root, DATE, holder("mine"), beat=0.05):
        first = root.read(layout.lease(DATE))
        time.sleep(0.3)
        later = root.read(layout.lease(DATE))
        root.replace(layout.lease(DATE), _sealed(elsewhere()))
        time.sleep(0.2)
        taken = root.read(layout.lease(DATE))

    assert first != later
    assert taken == _sealed(elsewhere())
    assert root.read(layout.lease(DATE)) == taken
