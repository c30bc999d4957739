"""A driver that is terminated removes its cluster within its grace; one that is killed leaves it to the next run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from apiserver import Fault, Script, nothing, serve
from scripted import attempt

from batchscore import ending
from batchscore.cluster.api import ApiServer
from batchscore.errors import Terminated

HERE = Path(__file__).parent
GRACE = 10.0
IN_A_POD = {ending.PLATFORM_GRACE: "90"}
TERMINATED = "error[E-TERMINATED]: terminated by SIGTERM"


@contextmanager
def driver(
    url: str, *, grace: float = 15.0, removal: float = 20.0, platform: Mapping[str, str] = IN_A_POD
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a driver process, with the command line's own handler of signals; it is gone afterwards."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
    command = [sys.executable, str(HERE / "terminated_driver.py"), url, str(grace), str(removal)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path, **platform}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came"
        time.sleep(0.02)


def told(process: subprocess.Popen[bytes]) -> str:
    """Return what an ended driver wrote to stderr."""
    return process.communicate()[1].decode()


def _deleting(script: Script) -> bool:
    return any(request.startswith("DELETE") for request in script.requests)


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

    def terminate(*_: object) -> None:
        raise Terminated("terminated by a signal")

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


@pytest.mark.parametrize("platform", [IN_A_POD, {}], ids=["in a pod", "elsewhere"])
def test_further_signals_do_not_stop_the_removal(platform: Mapping[str, str]) -> None:
    """Signals that arrive while the cluster is being removed do not leave it behind."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", 500, times=8)])
    with serve(script) as url, driver(url, platform=platform) as process:
        until(lambda: _ready(script))
        process.send_signal(signal.SIGTERM)
        until(lambda: _deleting(script))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=GRACE + 5) == 143
        assert (script.clusters, script.secrets) == ({}, {})


def test_further_signals_change_nothing_in_a_pod() -> None:
    """Where a platform gives its own grace, the run ends in its own words in spite of further signals."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", 500, times=3)])
    with serve(script) as url, driver(url) as process:
        until(lambda: _ready(script))
        process.send_signal(signal.SIGTERM)
        until(lambda: _deleting(script))
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=GRACE + 5) == 143
        assert TERMINATED in told(process)


def test_a_removal_outlasts_the_grace() -> None:
    """An API server that is silent for longer than the grace of a run elsewhere: the cluster goes all the same."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", -1, times=1, seconds=3)])
    with serve(script) as url, driver(url, grace=0.5, platform={}) as process:
        until(lambda: _ready(script))
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=GRACE + 5) == 143
        assert (script.clusters, script.secrets) == ({}, {})


def test_the_grace_is_the_platforms() -> None:
    """What the platform gives counts, less what is kept back: the end is a clean one, and what is left behind is named."""
    script = Script(faults=[Fault("DELETE", r"/daskclusters/", -1)])
    with serve(script) as url, driver(url, grace=0.1, removal=2.0) as process:
        until(lambda: _ready(script))
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=GRACE + 5)
        lines = told(process)

        assert code == 143
        assert "cluster_left_behind" in lines
        assert TERMINATED in lines


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
