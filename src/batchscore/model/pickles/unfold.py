"""Decompressing what joblib compresses, in bounded memory and to the last byte."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from batchscore.model.pickles.placeholders import Damaged

MAX_BYTES = 8 << 30
"""A compressed file that unfolds to more is no model."""
_CHUNK = 1 << 20

_COMPRESSIONS: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda: zlib.decompressobj(wbits=31)),
    (b"BZ", "bz2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", "xz", lzma.LZMADecompressor),
    (b"\x5d\x00", "lzma", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE)),
    (b"\x78", "zlib", zlib.decompressobj),
)


def decompressed(content: bytes) -> tuple[str | None, bytes]:
    """Return the name of the compression, None without one, and the bytes inside.

    Raises:
        Damaged: When the compressed data ends early, is followed by other bytes, or unfolds to more than `MAX_BYTES`.
    """
    for magic, name, make in _COMPRESSIONS:
        if content.startswith(magic):
            return name, _unfold(content, make())
    if content.startswith((b"\x04\x22\x4d\x18", b"ZF")):
        raise Damaged("its compression (lz4, or joblib's before 0.10) is not followed")
    return None, content


def _unfold(content: bytes, unfolder: Any) -> bytes:
    out = io.BytesIO()
    for start in range(0, len(content), _CHUNK):
        piece = content[start : start + _CHUNK]
        # A megabyte of zeros may unfold to a gigabyte, so the output is bounded at every step as well.
        while piece or not getattr(unfolder, "needs_input", True):
            out.write(unfolder.decompress(piece, _CHUNK * 64))
            piece = getattr(unfolder, "unconsumed_tail", b"")
            if out.tell() > MAX_BYTES:
                raise Damaged(f"it unfolds to more than {MAX_BYTES} bytes")
            if unfolder.eof:
                rest = len(unfolder.unused_data) + max(len(content) - start - _CHUNK, 0)
                if rest:
                    raise Damaged(f"{rest} bytes follow after its compressed end", trailing=True)
                return out.getvalue()
    raise Damaged("it ends in the middle of its compressed data")
