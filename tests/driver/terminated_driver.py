"""A driver process for the tests of signals: the real command line, with one more command that launches a cluster and waits.

Arguments: the API server, seconds of grace without a platform, seconds of a removal.
"""

from __future__ import annotations

import os
import sys
import time

from scripted import IDENTITY, options

from batchscore import cli, ending, logs
from batchscore.cluster import kubernetes
from batchscore.cluster.api import ApiServer


@cli.app.command("launch")
def launch(url: str) -> None:
    """Launch, say so, then wait for the signal."""
    logs.configure("text")
    api = ApiServer(url=url, pause_seconds=0.05)
    with kubernetes.launch(options(), IDENTITY, 2, time.monotonic() + 30, api=api, poll_seconds=0.05):
        os.write(1, b"ready\n")
        time.sleep(60)


if __name__ == "__main__":
    ending.GRACE_SECONDS, kubernetes._REMOVE_SECONDS = map(float, sys.argv[2:])
    sys.argv = ["batchscore", "launch", sys.argv[1]]
    cli.main()
