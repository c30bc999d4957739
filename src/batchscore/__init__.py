"""Deterministic, versioned, auditable batch scoring on Dask."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchscore.store import read_published as read_published

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `read_published` when it is first asked for: `import batchscore` itself imports nothing."""
    if name == "read_published":
        from batchscore.store import read_published

        return read_published
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
