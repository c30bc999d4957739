"""What the driver's pod runs in the scenarios about the cluster itself: the real launch, and tasks that only write a file.

Run as `python3 -c` inside the image, with the chart's own configuration, account, policies and volumes.
PARTS tasks of SECONDS each; the task GREEDY takes more memory than there is; EXIT is the code at the end.
"""

import os
import socket
import sys
import time
from pathlib import Path

import yaml

from batchscore import ending, logs
from batchscore.cluster import ClusterOptions, connect
from batchscore.errors import BatchscoreError
from batchscore.plan import Partition
from batchscore.strict import parse_section


def task_for(folder, seconds, greedy):
    """Return a task, by value: workers do not have this file."""

    def write_part(partition):
        import os
        import socket
        from pathlib import Path

        if partition.index == greedy:
            held = []
            while True:
                held.append(bytearray(b"x" * 10_000_000))
                time.sleep(0.02)
        time.sleep(seconds)
        part = Path(folder, f"part-{partition.index:04d}")
        aside = part.with_suffix(f".{os.getpid()}")
        aside.write_text(socket.gethostname())
        aside.replace(part)
        return socket.gethostname()

    return write_part


def options():
    """Read `cluster` as the command line does: the later file wins, key by key."""

    def merged(first, second):
        both = {**first, **second}
        shared = [key for key in first if isinstance(first[key], dict) and isinstance(second.get(key), dict)]
        return {**both, **{key: merged(first[key], second[key]) for key in shared}}

    files = [yaml.safe_load(Path(f"/etc/batchscore/{name}.yaml").read_text()) for name in ("platform", "run")]
    return parse_section(ClusterOptions, {**merged(*files)["cluster"], **extra()}, source="the configuration")


def extra():
    """Return what the Job's environment changes."""
    return {"start_minutes": float(os.environ["MINUTES"])} if "MINUTES" in os.environ else {}


def main():
    """Launch, hand out the tasks, end."""
    ending.raise_signals(os.environ)
    logs.configure("text")
    folder = Path("/data/probe", os.environ["BATCHSCORE_JOB"])
    folder.mkdir(parents=True, exist_ok=True)
    count, seconds = int(os.environ.get("PARTS", "20")), float(os.environ.get("SECONDS", "0.2"))
    everything = [Partition(index=index, fragments=(), rows=1, decoded_bytes=1) for index in range(count)]
    hosts = []
    with connect(options(), everything) as workers:
        workers.run(task_for(str(folder), seconds, int(os.environ.get("GREEDY", "-1"))), everything, hosts.append)
    sys.stdout.write(f"{len(hosts)} of {count} parts by {sorted(set(hosts))} on {socket.gethostname()}\n")
    return int(os.environ.get("EXIT", "0"))


try:
    CODE = main()
except BatchscoreError as error:
    sys.stderr.write(f"error[{error.id}]: {error.message}\n")
    CODE = error.exit_code
sys.exit(CODE)
