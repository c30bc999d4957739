"""The compiled library: loaded once, only when it was built from the source that lies beside it."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

SOURCES = ("kernel.c", "columns.h", "ids.h", "moments.h", "thrift.h", "tile.h", "variant.h")
"""The library's sources."""
NAME = "kernel.so"
"""The library's file, beside its sources."""
FOLDER = Path(__file__).parent
"""Where both are."""

KEYS = 4096
"""Signs and exponents of floats: KEYS of moments.h."""

_pointer, _int, _long = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_AVOIDED: ContextVar[bool] = ContextVar("avoided", default=False)


class Ensemble(ctypes.Structure):
    """`struct ensemble` of kernel.c, field by field."""

    _fields_ = (
        *((name, _int) for name in ("n_features", "n_columns", "n_trees", "n_outputs", "width", "narrow", "small")),
        ("limit", _int),
        *((name, _pointer) for name in ("threshold_start", "thresholds")),
        *((name, _pointer) for name in ("column_start", "column_base", "column_kind", "column_missing", "known")),
        *((name, _pointer) for name in ("trees", "singles", "multis", "categories", "nodes", "slots", "sets")),
        *((name, _pointer) for name in ("values", "base")),
    )


class Profile(ctypes.Structure):
    """`struct profile` of moments.h, field by field."""

    _fields_ = (
        *(
            (name, _long)
            for name in ("count", "nans", "negative_infinities", "positive_infinities", "zeros", "shelves")
        ),
        *((name, ctypes.c_double) for name in ("minimum", "maximum")),
        ("places", ctypes.c_uint16 * KEYS),
    )


class Pages(ctypes.Structure):
    """`struct pages` of thrift.h, field by field."""

    _fields_ = (
        *((name, _long) for name in ("values", "uncompressed", "checksums")),
        *((name, _long) for name in ("dictionary", "dictionary_length", "dictionary_size")),
    )


def library() -> ctypes.CDLL | None:
    """Return the compiled library; None where there is none for this source, or inside `without`."""
    return None if _AVOIDED.get() else _load()[0]


def compiled() -> tuple[bool, str]:
    """Return whether the compiled library runs, and why it does not."""
    if _AVOIDED.get():
        return False, "it is not wanted here"
    loaded, reason = _load()
    return loaded is not None, reason


@contextmanager
def without() -> Iterator[None]:
    """Do everything in numpy inside the block, as where there is no library; for comparing the two."""
    token = _AVOIDED.set(True)
    try:
        yield
    finally:
        _AVOIDED.reset(token)


def source_digest(folder: Path) -> str:
    """Return the digest of the library's sources in a folder, which the library is built with and asked for."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()


@cache
def exponential() -> int:
    """Return the address of the C library's `exp`, the one that scipy calls."""
    return ctypes.cast(ctypes.CDLL(None).exp, _pointer).value or 0


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    return opened(FOLDER)


def opened(folder: Path) -> tuple[ctypes.CDLL | None, str]:
    """Open the library of a folder; return None and the reason when there is none that belongs to its sources."""
    if not (folder / NAME).exists():
        return None, "it was not built: no C compiler"
    try:
        # Not PyDLL: the interpreter's lock is released while the library works.
        loaded = ctypes.CDLL(str(folder / NAME))
        loaded.batchscore_source.restype = ctypes.c_char_p
        if loaded.batchscore_source().decode() != source_digest(folder):
            return None, "it was built from another source: install batchscore again"
    except (OSError, AttributeError) as error:
        return None, f"it can not be loaded: {error}"
    loaded.batchscore_sigmoid.argtypes = (_pointer, _pointer, _long, _pointer)
    loaded.batchscore_sigmoid.restype = None
    loaded.batchscore_profile.argtypes = (_pointer, _long, ctypes.POINTER(Profile), _pointer)
    loaded.batchscore_profile.restype = _int
    loaded.batchscore_trees.argtypes = (ctypes.POINTER(Ensemble), _pointer, _long, _long, _long, _pointer, _int)
    loaded.batchscore_trees.restype = _int
    loaded.batchscore_columns.argtypes = (_pointer, _long, _long, _long, _pointer, _long, _long, _int)
    loaded.batchscore_columns.restype = _int
    loaded.batchscore_used.argtypes = (_pointer, _pointer, _long, _long, _long, _pointer)
    loaded.batchscore_used.restype = None
    loaded.batchscore_hash_texts.argtypes = (_pointer, _int, _pointer, _long, _long, _pointer, _pointer)
    loaded.batchscore_hash_texts.restype = _int
    loaded.batchscore_hash_numbers.argtypes = (_pointer, _long, _pointer, _pointer)
    loaded.batchscore_hash_numbers.restype = None
    loaded.batchscore_footer.argtypes = (ctypes.c_char_p, *(_long,) * 4, _pointer, _pointer, ctypes.POINTER(_long))
    loaded.batchscore_footer.restype = _long
    loaded.batchscore_pages.argtypes = (_pointer, _long, ctypes.POINTER(Pages))
    loaded.batchscore_pages.restype = _int
    return loaded, ""
