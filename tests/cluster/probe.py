"""What the driver's pod runs in the scenarios about the cluster itself: the real launch, and tasks that only write a file.

Run as `python3 -c` inside the image, with the chart's own configuration, account, policies and volumes.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import yaml
from distributed import as_completed

from batchscore import logs
from batchscore.cluster.job import identity_from
from batchscore.cluster.kubernetes import launch
from batchscore.cluster.options import KubernetesOptions
from batchscore.errors import BatchscoreError, Terminated
from batchscore.strict import parse_section


def terminate(number, frame):
    """End as the command line does on SIGTERM."""
    raise Terminated("terminated by SIGTERM", slug="SIGTERM")


def write_part(folder, index, seconds):
    """Write one part, whole or not at all."""
    time.sleep(seconds)
    part = Path(folder, f"part-{index:04d}")
    aside = part.with_suffix(f".{os.getpid()}")
    aside.write_text(socket.gethostname())
    aside.replace(part)
    return socket.gethostname()


def options():
    """Read `cluster.kubernetes` as the command line does: the later file wins, key by key."""

    def merged(first, second):
        both = {**first, **second}
        shared = [key for key in first if isinstance(first[key], dict) and isinstance(second.get(key), dict)]
        return {**both, **{key: merged(first[key], second[key]) for key in shared}}

    files = [yaml.safe_load(Path(f"/etc/batchscore/{name}.yaml").read_text()) for name in ("platform", "run")]
    return parse_section(KubernetesOptions, merged(*files)["cluster"]["kubernetes"], source="the configuration")


def main():
    """Launch, hand out PARTS tasks of SECONDS, end with EXIT."""
    signal.signal(signal.SIGTERM, terminate)
    logs.configure("text")
    identity = identity_from(os.environ)
    folder = Path("/data/probe", identity.job)
    folder.mkdir(parents=True, exist_ok=True)
    parts, seconds = int(os.environ.get("PARTS", "20")), float(os.environ.get("SECONDS", "0.2"))
    wait = float(os.environ.get("WAIT", "150"))
    began = time.monotonic()
    with launch(options(), identity, 2, began + wait) as cluster:
        with cluster.open_client(time.monotonic() + 90) as client:
            missing = [index for index in range(parts) if not (folder / f"part-{index:04d}").exists()]
            futures = client.map(
                write_part, [str(folder)] * len(missing), missing, [seconds] * len(missing), pure=False
            )
            hosts = {future.result() for future in as_completed(futures)}
        sys.stdout.write(f"scored {len(missing)} of {parts} on {sorted(hosts)}\n")
    return int(os.environ.get("EXIT", "0"))


try:
    CODE = main()
except BatchscoreError as error:
    sys.stderr.write(f"error[{error.id}]: {error.message}\n")
    CODE = error.exit_code
sys.exit(CODE)
