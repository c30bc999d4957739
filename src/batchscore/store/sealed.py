"""JSON files that carry a digest of themselves, and reads that are checked by a digest.

`sha256` in a file is the digest of the file's exact bytes with that field's own 64 digits as zeros.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from batchscore.errors import StateDamaged
from batchscore.store.root import Exists

if TYPE_CHECKING:
    from batchscore.store.root import Root

FORMAT_VERSION = 1
"""The format of the files that are written; older ones are read, newer ones refused."""

_ZEROS = "0" * 64
_SEAL = re.compile(rb'\{\n"format_version": \d+,\n"sha256": "([0-9a-f]{64})"')


def seal(content: Mapping[str, Any]) -> bytes:
    r"""Write plain data as a sealed JSON file: the same bytes for the same content.

    One line per key, and one per element of a list, so that a difference of two files is readable.

    >>> unseal(seal({"rows": {"read": 3}}), source="x.json")["rows"]
    {'read': 3}
    """
    body = {key: content[key] for key in sorted(content) if key not in ("format_version", "sha256")}
    lines = [f"{_text(key)}: {_lines(value)}" for key, value in body.items()]
    head = [f'"format_version": {FORMAT_VERSION}', f'"sha256": "{_ZEROS}"']
    blank = ("{\n" + ",\n".join(head + lines) + "\n}\n").encode("ascii")
    digest = hashlib.sha256(blank).hexdigest()
    return blank.replace(_ZEROS.encode(), digest.encode(), 1)


def unseal(data: bytes, *, source: str) -> dict[str, Any]:
    """Read a sealed JSON file.

    Args:
        data: The file's bytes.
        source: The file's name, for the message.

    Raises:
        StateDamaged: When a byte is not as it was written, or the format is newer than this version knows.
    """
    found = _SEAL.match(data)
    blank = data[: found.start(1)] + _ZEROS.encode() + data[found.end(1) :] if found else b""
    if not found or hashlib.sha256(blank).hexdigest().encode() != found[1]:
        raise damaged(source, "it does not match the digest of itself that it carries")
    content: dict[str, Any] = json.loads(data)
    if content["format_version"] > FORMAT_VERSION:
        raise StateDamaged(
            f"{source} has format version {content['format_version']}, this batchscore reads up to {FORMAT_VERSION}",
            slug="NEWER-FORMAT",
            remedy="run the batchscore that wrote it, or a newer one",
        )
    return content


def read_sealed(root: Root, key: str) -> tuple[dict[str, Any], str]:
    """Read a sealed file of the store: its content and the sha256 of its bytes.

    Raises:
        FileNotFoundError: When there is no such file.
        StateDamaged: When it is damaged; over a network it is read again first.
    """
    data = read_sealed_bytes(root, key)
    return unseal(data, source=root.shown(key)), hashlib.sha256(data).hexdigest()


def read_sealed_bytes(root: Root, key: str) -> bytes:
    """Read the bytes of a sealed file of the store, checked: `read_sealed`."""
    for attempt in range(1, root.reads + 1):
        data = root.read(key)
        try:
            unseal(data, source=root.shown(key))
        except StateDamaged:
            if attempt == root.reads:
                raise
        else:
            return data
    raise AssertionError(key)


def put_once(root: Root, key: str, data: bytes) -> bytes:
    """Write a sealed file if there is none; return the bytes that lie there: ours, or those of who was first.

    What lies there is believed only when its own digest says so: bytes that changed on the way back from a network
    store must not make our own file somebody else's.

    Raises:
        StateDamaged: When the file that lies there is damaged.
        StorageFailed: When it failed, or its outcome stays unknown.
    """
    while True:
        try:
            root.create(key, data)
        except Exists:
            with suppress(FileNotFoundError):  # it was removed meanwhile: try again
                return read_sealed_bytes(root, key)
        else:
            return data


def read_checked(root: Root, key: str, sha256: str) -> bytes:
    """Read a file of the store whose digest is known.

    Raises:
        StateDamaged: When it is missing or other bytes; over a network it is read again first.
    """
    for _ in range(root.reads):
        try:
            data = root.read(key)
        except FileNotFoundError:
            raise damaged(root.shown(key), "it is missing") from None
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    raise damaged(root.shown(key), f"its sha256 is not {sha256[:12]}…")


def damaged(source: str, fact: str) -> StateDamaged:
    """Return the error of a stored file that is not as it was written."""
    return StateDamaged(
        f"{source} is damaged: {fact}",
        slug="FILE",
        remedy="restore the file, or, if it lies under _batchscore/work, delete the date's work folder and run again",
        file=source,
    )


def _lines(value: object) -> str:
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(_text(item) for item in value) + "\n]"
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
