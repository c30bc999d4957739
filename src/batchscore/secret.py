"""Secrets from files: what is wrong with one is told without a word of what it holds."""

from __future__ import annotations

from pathlib import Path


class SecretError(OSError):
    """A file holds no secret that can be sent; trying again would change nothing."""


def read_secret(path: str) -> str:
    """Return what a file holds, without trailing line ends: a Secret may be replaced while we run.

    Raises:
        SecretError: When it can not be read, or is empty.
    """
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SecretError(f"the file {path!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretError(f"the file {path!r} is not UTF-8 text") from None  # the error holds the file's bytes
    if not secret:
        raise SecretError(f"the file {path!r} is empty")
    return secret


def read_token(path: str) -> str:
    """Return the bearer token of a file, fit for a header: `http.client` would put another one into its message.

    Raises:
        SecretError: When it can not be read, or is no token.
    """
    token = read_secret(path)
    if not (token.isascii() and token.isprintable()):
        raise SecretError(f"the file {path!r} holds no token: one line of plain characters")
    return token
