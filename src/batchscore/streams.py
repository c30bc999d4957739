"""This process's stdout and stderr: what can not be written to them does not decide how a run ends."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Forgiving(io.FileIO):
    """Drops what can not be written for one of the reasons in `forgiven`."""

    forgiven: ClassVar[type[OSError]] = BrokenPipeError

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or pretend to."""
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except self.forgiven:
            return size
        return size if written is None else written


class _ForgivingAll(_Forgiving):
    """Drops whatever can not be written."""

    forgiven = OSError


def guard() -> None:
    """Let stderr lose lines rather than raise, and stdout do so once its reader has gone.

    Logs on a full disk or a collector that died must not end a run, and `| head` is no failure of the command.
    A stdout on a full disk still raises: whoever asked for the answer has not got it.
    """
    for number in (0, 1, 2):
        _occupy(number)
    sys.stdout = _text(_Forgiving(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_ForgivingAll(2, "wb", closefd=False), sys.stderr, line_buffering=True)


def give_up_stdout() -> None:
    """Send what stdout still holds nowhere, so that the end of the process has nothing left to fail at."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    with suppress(OSError):
        sys.stdout.flush()


def _occupy(number: int) -> None:
    """Open a standard stream that is closed: the next file would take its number, and get what libraries print."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)


def _text(raw: io.RawIOBase, old: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """Return a text stream with the encoding of the old one; a closed one is None."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding if old else "utf-8",
        errors=old.errors if old else "backslashreplace",
        line_buffering=line_buffering or raw.isatty(),
    )
