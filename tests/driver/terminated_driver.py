"""A driver process for the tests of signals: it launches a cluster, says so, waits, and ends with its error's code."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from scripted import IDENTITY, options

from batchscore import logs
from batchscore.cluster.api import ApiServer
from batchscore.cluster.kubernetes import launch
from batchscore.errors import BatchscoreError, Terminated


def terminate(number: int, frame: FrameType | None) -> None:
    """Raise what the command line raises for SIGTERM."""
    raise Terminated("terminated by SIGTERM", slug="SIGTERM")


def main() -> int:
    """Launch, then wait for the signal."""
    signal.signal(signal.SIGTERM, terminate)
    logs.configure("text")
    api = ApiServer(url=sys.argv[1], pause_seconds=0.05)
    try:
        with launch(options(), IDENTITY, 2, time.monotonic() + 30, api=api, poll_seconds=0.05):
            os.write(1, b"ready\n")
            time.sleep(30)
    except BatchscoreError as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
