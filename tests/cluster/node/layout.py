"""Where everything lies and what it is called: folders, addresses, and how to run a command."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

API_ADDRESS = "10.77.0.10"
SERVICES, PODS = "10.96.0.0/16", "10.244.0.0/16"
DNS_ADDRESS, API_SERVICE = "10.96.0.10", "10.96.0.1"
CONTROLLERS = Path("/sys/fs/cgroup")
BEGAN = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of the cluster."""

    name: str
    """Its name in Kubernetes."""
    address: str
    """Its address."""
    pods: str
    """The network of its pods."""
    number: int
    """1, or 2 for the one in a network namespace of its own."""

    @property
    def suffix(self) -> str:
        """What its files and processes are told apart by."""
        return "" if self.number == 1 else str(self.number)


FIRST = Node(name="node1", address=API_ADDRESS, pods="10.244.0.0/24", number=1)
SECOND = Node(name="node2", address="10.77.0.12", pods="10.244.1.0/24", number=2)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("BATCHSCORE_CLUSTER_CACHE") or Path(base, "batchscore-cluster", "1.34.10")).resolve()


CACHE = _cache()
BIN = CACHE / "bin"
"""The binaries that build.sh made."""
RUN = CACHE / "run"
"""The state of the running cluster; gone when it is down."""
PKI, CONFIG, LOGS = RUN / "pki", RUN / "config", RUN / "logs"
VOLUME = RUN / "volume"
"""The folder behind the tests' persistent volume."""
CGROUP = "batchscore-node-" + hashlib.sha256(str(CACHE).encode()).hexdigest()[:8]
"""One sub-tree of cgroups for each cache, so that two clusters can run side by side."""
KUBECTL = (BIN / "kubectl", "--kubeconfig", CONFIG / "admin.kubeconfig")


def say(text: str) -> None:
    """Report a step with the seconds since the start."""
    sys.stdout.write(f"{time.monotonic() - BEGAN:7.1f}s  {text}\n")
    sys.stdout.flush()


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command; raise when it fails."""
    return subprocess.run([str(word) for word in command], check=True, **options)


def succeeds(*command: object) -> bool:
    """Whether a command succeeds; its output is dropped."""
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0


def controllers() -> list[Path]:
    """Return the roots of the cgroup v1 controllers."""
    return [path for path in CONTROLLERS.iterdir() if (path / "cgroup.procs").exists() and path.name != "unified"]
