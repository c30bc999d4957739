"""A driver that is terminated removes its cluster within its grace; one that is killed leaves it to the next run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from apiserver import Fault, Script, nothing, serve
from scripted import attempt
from terminated_driver import terminate

from batchscore.cluster.api import ApiServer
from batchscore.errors import Terminated

HERE = Path(__file__).parent
GRACE = 10.0


@contextmanager
def driver(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a driver process; it is gone afterwards."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
    command = [sys.executable, str(HERE / "terminated_driver.py"), url]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came"
        time.sleep(0.02)


def _ready(script: Script) -> bool:
    return any(time.monotonic() - born > 1.0 for born in script.born.values())


MOMENTS = {
    "while it scores": (Script, _ready),
    "while it waits for pods": (lambda: Script(pods=nothing), _ready),
    "while the cluster's creation is unanswered": (
        lambda: Script(faults=[Fault("POST", r"/daskclusters$", -2, seconds=8)]),
        lambda script: script.born,
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm(moment: str, ended: Callable[..., None]) -> None:
    """SIGTERM at any moment: code 143, and cluster and Secret are gone within the grace period."""
    make, reached = MOMENTS[moment]
    script = make()
    with serve(script) as url, driver(url) as process:
        until(lambda: reached(script))
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.wait(timeout=GRACE + 5)
        ended(f"SIGTERM {moment}", None, seconds=time.monotonic() - began, deadline=GRACE, code=code)

        assert code == 143, process.stderr and process.stderr.read().decode()
        assert time.monotonic() - began < GRACE
        assert (script.clusters, script.secrets) == ({}, {})


def _ask(api: ApiServer) -> None:
    api.request("GET", "/apis/kubernetes.dask.org/v1", until=time.monotonic() + 20)


def _ask_while(api: ApiServer, arrival: threading.Timer) -> None:
    arrival.start()  # here, since the signal may arrive at once
    _ask(api)
    time.sleep(5)


def test_signal_within_a_request() -> None:
    """What a signal's handler raises comes out of a request as it is, at whatever moment of it the signal arrives."""
    before = signal.signal(signal.SIGUSR1, terminate)
    moments = random.Random(0)
    try:
        with serve(Script()) as url:
            api = ApiServer(url=url)
            _ask(api)
            for _ in range(100):
                arrival = threading.Timer(
                    moments.uniform(0, 0.01), signal.pthread_kill, [threading.main_thread().ident, signal.SIGUSR1]
                )
                with pytest.raises(Terminated):
                    _ask_while(api, arrival)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_second_sigterm_does_not_stop_the_removal() -> None:
    """A signal that arrives while the cluster is being removed does not leave it behind."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", 500, times=8)])
    with serve(script) as url, driver(url) as process:
        until(lambda: _ready(script))
        process.send_signal(signal.SIGTERM)
        until(lambda: any(request.startswith("DELETE") for request in script.requests))
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=GRACE + 5) == 143
        assert script.clusters == {}


def test_killed_driver_is_swept_after() -> None:
    """SIGKILL leaves a cluster, and the next attempt of the same Job removes it before it starts its own."""
    script = Script()
    with serve(script) as url, driver(url) as process:
        until(lambda: _ready(script))
        process.kill()
        process.wait(timeout=5)
    orphan = list(script.clusters)
    result = attempt(script)

    assert len(orphan) == 1
    assert result.error is None
    assert script.clusters == {}
