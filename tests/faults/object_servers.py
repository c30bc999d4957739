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
AZURITE = "azurite@3.35.0"
"""The emulator of Azure's blob store, from the Node.js registry."""
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


def azurite_path() -> Path:
    """Return where Azurite is, or would be, once installed."""
    return cache() / AZURITE.replace("@", "-") / "node_modules" / ".bin" / "azurite-blob"


def install_azurite() -> Path:
    """Install Azurite unless it is there; needs npm.

    Raises:
        FileNotFoundError: When there is no npm.
    """
    path = azurite_path()
    if path.exists():
        return path
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm: install Node.js to install Azurite")
    folder = path.parents[2]
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", AZURITE]
    subprocess.run(command, check=True, timeout=600)
    return path


@contextmanager
def minio(folder: Path) -> Iterator[str]:
    """Run MinIO over a folder and give its address; it ends with the block."""
    address = f"127.0.0.1:{_free_port()}"
    secrets = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
    command = [str(build_minio()), "server", str(folder), "--address", address, "--quiet"]
    with _serving(command, folder.parent / "minio.log", f"http://{address}/minio/health/ready", secrets):
        yield f"http://{address}"


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Run Azurite over a folder and give its address; it ends with the block."""
    port = str(_free_port())
    command = [str(install_azurite()), "--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", port]
    command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with _serving(command, folder.parent / "azurite.log", f"http://127.0.0.1:{port}/", {}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _serving(command: list[str], log: Path, ready: str, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=output)
        try:
            _wait_for(ready)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_for(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if "/health/" not in url:
                return  # it answers, if only with a refusal
            time.sleep(0.1)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    print(build_minio())
    print(install_azurite())
