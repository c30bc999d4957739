"""A page served on loopback and photographed by a headless Chromium."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECONDS = 300
"""How long a picture may take, on a machine that does much else."""
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --virtual-time-budget=20000"


def find(name: str) -> str:
    """Return the path of a program, or end with its name."""
    path = shutil.which(name)
    if path is None:
        sys.exit(f"{name} is not on PATH")
    return path


def photograph(folder: Path, page: str, picture: Path, *, width: int, height: int) -> None:
    """Draw a page of a folder in a window of this size, in pixels."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as profile:
            command = [find("chromium"), *FLAGS.split(), f"--user-data-dir={profile}", f"--screenshot={picture}"]
            address = f"http://127.0.0.1:{server.server_address[1]}/{page}"
            shot = [*command, f"--window-size={width},{height}", address]
            subprocess.run(shot, check=True, capture_output=True, timeout=SECONDS)  # noqa: S603 - our own page
    finally:
        server.shutdown()
        server.server_close()
