"""The machine and this process: host, hardware, versions of libraries, which go to metadata.json, and how memory is kept."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

LIBRARIES = frozenset(
    {
        "batchscore",
        "dask",
        "distributed",
        "joblib",
        "lightgbm",
        "numpy",
        "obstore",
        "onnxruntime",
        "pandas",
        "prometheus-client",
    }
    | {"pyarrow", "pydantic", "scikit-learn", "scipy", "skops", "xgboost"}
)
"""Libraries whose versions are recorded."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = 1 << 30, 32 << 20
"""Bytes from which glibc gives memory back; the second is the greatest that it takes."""
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(_TRIM_THRESHOLD), "MALLOC_MMAP_THRESHOLD_": str(_MMAP_THRESHOLD)}
"""The environment in which a process keeps freed memory, as `keep_freed_memory` has this one do."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def worker_name() -> str:
    """Return the name of this process: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def peak_memory_bytes() -> int:
    """Return this process's peak resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for what is needed next, where it can be told to (glibc).

    Batches of a partition take and free the same megabytes again and again; given back to the system each time, they cost
    more in page faults than the scoring of a linear model.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)


def library_versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the libraries that are installed, sorted by name."""
    found = {"python": platform.python_version()}
    for name in sorted(LIBRARIES):
        with suppress(PackageNotFoundError):
            found[name] = installed_version(name)
    return found


def installed_version(package: str) -> str:
    """Return the version of an installed package, as `importlib.metadata.version` does.

    Only the one line is read: parsing what else a package says of itself, as an e-mail, takes half a millisecond each.

    Raises:
        PackageNotFoundError: When it is not installed.
    """
    found = distribution(package)
    head = (found.read_text("METADATA") or "").partition("\n\n")[0]
    lines = (line for line in head.splitlines() if line.startswith("Version:"))
    return next((line.removeprefix("Version:").strip() for line in lines), None) or found.version


def hardware() -> dict[str, Any]:
    """Return the facts of this machine that can change the last bits of a score."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "libc": " ".join(platform.libc_ver()),
    }
    # Only what is loaded anyway: neither library is imported to be described.
    if "numpy" in sys.modules:
        from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
            __cpu_features__,
        )

        facts["simd"] = sorted(name for name, present in __cpu_features__.items() if present)
    if "threadpoolctl" in sys.modules:
        from threadpoolctl import threadpool_info

        facts["threadpools"] = sorted(
            f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}".strip()
            for pool in threadpool_info()
        )
    return facts


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
