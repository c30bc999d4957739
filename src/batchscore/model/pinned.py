"""Bytes that are what they are pinned to be: one file of one release, checked before it is parsed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import PurePosixPath

from batchscore import transit
from batchscore.errors import ConfigError, ModelError
from batchscore.model.options import names_latest

Read = Callable[[str], bytes]
"""Returns the bytes of a path; raises FileNotFoundError when there is nothing."""


def read_pinned(path: str, sha256: str, read: Read, *, what: str, slug: str) -> bytes:
    """Return the bytes of a file whose digest is pinned.

    Args:
        path: The file's path, as configured.
        sha256: The pinned digest.
        read: Returns the bytes of a path.
        what: What the file is, for the message.
        slug: What the slugs of the errors begin with; empty for the model itself.

    Raises:
        ModelError: When there is no such file, it can not be read, or it is another one.
    """
    try:
        content = transit.read_pinned(path, sha256, read)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"the {what} '{path}' does not exist", slug=f"{slug}MISSING", remedy="check the path", path=path
        ) from error
    except (IsADirectoryError, PermissionError) as error:
        raise _unreadable(path, what, slug, error.strerror or type(error).__name__) from error
    except ConfigError as error:
        if error.slug != "NOT-A-FILE":
            raise
        raise _unreadable(path, what, slug, "it is no regular file") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"the {what} '{path}' has the sha256 {found}, but the configuration pins {sha256}",
            slug=f"{slug}DIGEST",
            remedy="nothing of the file was loaded; restore the released file, or pin the one that you mean to use",
            path=path,
            found=found,
            pinned=sha256,
        )
    return content


def _unreadable(path: str, what: str, slug: str, fact: str) -> ModelError:
    return ModelError(
        f"the {what} '{path}' can not be read: {fact}",
        slug=f"{slug}UNREADABLE",
        remedy="the path must name one readable file",
        path=path,
    )


def refuse_latest_link(path: str) -> None:
    """Refuse a local path that leads through a symlink to something named `latest`.

    Raises:
        ModelError: When it does.
    """
    for target in _link_targets(path):
        if names_latest(target):
            raise ModelError(
                f"the model '{path}' leads through a symlink to '{target}', and `latest` names no version",
                slug="LATEST",
                remedy="name the file of one release",
                path=path,
            )


def _link_targets(path: str) -> list[str]:
    """Return the text of every symlink on the way to a local path's file; at most 40, as Linux does."""
    targets: list[str] = []
    at = os.path.abspath(path) if "://" not in path else ""  # noqa: PTH100 - Path.absolute keeps the ".." in it
    while at and len(targets) < 40:  # noqa: PLR2004
        parts = PurePosixPath(at).parts
        prefixes = [os.path.join(*parts[: end + 1]) for end in range(len(parts))]  # noqa: PTH118 - the same text
        link = next((prefix for prefix in prefixes if os.path.islink(prefix)), None)  # noqa: PTH114
        if link is None:
            break
        rest = parts[len(PurePosixPath(link).parts) :]
        targets.append(os.readlink(link))  # noqa: PTH115
        at = os.path.normpath(os.path.join(os.path.dirname(link), targets[-1], *rest))  # noqa: PTH118, PTH120
    return targets
