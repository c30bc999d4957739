"""Real servers for the fault tests: built once by the Go toolchain into the user's cache, by version, and run on loopback.

python tests/faults/object_servers.py      builds MinIO (some minutes) and prints where it is
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
"""An S3 server with atomic conditional puts; a tool of the tests only, never shipped."""
USER, PASSWORD = "batchscore", "batchscore-tests"


def cache() -> Path:
    """Return the folder of this user's built tools."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchscore-tests"


def minio_path() -> Path:
    """Return where MinIO is, or would be, once built."""
    return cache() / f"minio-{MINIO.rpartition('@')[2]}" / "minio"


def build_minio() -> Path:
    """Build MinIO unless it is there; needs a Go toolchain.

    Raises:
        FileNotFoundError: When there is no Go toolchain.
    """
    path = minio_path()
    if path.exists():
        return path
    if shutil.which("go") is None:
        raise FileNotFoundError("go: install a Go toolchain to build MinIO")
    room = path.parent.with_suffix(".building")
    environment = {**os.environ, "GOBIN": str(room), "GOFLAGS": "-p=2", "CGO_ENABLED": "0"}
    subprocess.run(["nice", "-n", "10", "go", "install", "-trimpath", MINIO], env=environment, check=True, timeout=1800)
    room.rename(path.parent)
    return path


@contextmanager
def minio(folder: Path) -> Iterator[str]:
    """Run MinIO over a folder and give its address; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secrets = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
    log = (folder.parent / "minio.log").open("wb")
    process = subprocess.Popen(
        [build_minio(), "server", str(folder), "--address", f"127.0.0.1:{port}", "--quiet"],
        env={**os.environ, **secrets},
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/minio/health/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait_for(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    print(build_minio())
