"""Compile the kernel when a wheel or an editable install is built; without a C compiler, go on without it."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("kernel.c", "columns.h", "ids.h", "moments.h", "thrift.h", "tile.h", "variant.h")
# No contraction: each product and each sum is rounded by itself, as in the libraries whose bits are matched.
FLAGS = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=default", "-g0", "-s", "-Wno-psabi")


class CustomBuildHook(BuildHookInterface[Any]):
    """Put `kernel.so` beside its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Compile, and tag the wheel as one of this platform when that worked."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root, "src", "batchscore", "kernel")
        reason = build_kernel(folder)
        if reason:
            self.app.display_warning(f"the compiled kernel is left out, everything works without it: {reason}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        # It is loaded by ctypes and knows nothing of Python: one wheel for all versions.
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append("src/batchscore/kernel/kernel.so")


def build_kernel(folder: Path) -> str:
    """Compile the sources in a folder into its `kernel.so`; return why that did not work, in one line."""
    target = folder / "kernel.so"
    made = folder / "kernel.so.new"
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, *FLAGS, f'-DSOURCE="{digest}"', "-o", made.name, "kernel.c"]
    target.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        return f"no C compiler ('{compiler[0]}': {error.strerror})"
    if done.returncode:
        made.unlink(missing_ok=True)
        return f"'{compiler[0]}' failed: {' '.join((done.stderr or done.stdout).split())[:300]}"
    made.replace(target)
    return ""


if __name__ == "__main__":
    sys.exit(build_kernel(Path(__file__).parent / "src" / "batchscore" / "kernel") or None)
