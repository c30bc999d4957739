"""Reading a skops file without skops: its schema as the placeholders that a pickle would give, in bounded memory."""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import Any

import numpy as np

from batchscore.model.pickles.inert import Contents
from batchscore.model.pickles.placeholders import Array, Damaged, Made, Name, Pairs
from batchscore.model.pickles.unfold import MAX_BYTES

SCHEMA_BYTES = 256 << 20
"""A skops file with a larger schema.json is no model."""
_END = b"PK\x05\x06"
_END_BYTES = 22
"""The record that ends an archive; only the archive's comment may follow."""
_ARRAY_BYTES = 64 << 20
"""Arrays of more bytes than this are not read, only their shapes."""
_MANY = 1 << 20
"""Likewise arrays of more values."""


def read_skops(content: bytes) -> tuple[Contents, str]:
    """Return what a skops file holds, and the version of skops that wrote it; nothing of it is run.

    Args:
        content: The file's bytes, from anybody.

    Raises:
        Damaged: When it is no archive of skops, unfolds to more than any model, or bytes stand around the archive.
        Exception: Of many kinds, when it is no skops file.
    """
    found = Contents()
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise Damaged("it is no zip archive, or is cut off") from error
    with archive:
        _refuse_strays(archive, content)
        if "schema.json" not in archive.namelist():
            raise Damaged("it has no schema.json, so skops did not write it")
        _refuse_bomb(archive)
        schema = json.loads(archive.read("schema.json"))
        if not isinstance(schema, dict):
            raise Damaged("its schema.json holds no object")
        found.root = _node(schema, archive, found, 0)
    return found, str(schema.get("_skops_version", "unknown"))


def _refuse_strays(archive: zipfile.ZipFile, content: bytes) -> None:
    """Refuse bytes before the first member and after the last record, which a reader of archives skips."""
    before = min((member.header_offset for member in archive.infolist()), default=0)
    after = len(content) - content.rfind(_END) - _END_BYTES - len(archive.comment)
    if before or after:
        raise Damaged(f"{before + after} bytes stand before or after its archive, which no loader reads", trailing=True)


def _refuse_bomb(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that unfolds to more than any model; no member gives more bytes than it declares."""
    total = sum(member.file_size for member in archive.infolist())
    schema = archive.getinfo("schema.json").file_size
    if total > MAX_BYTES or schema > SCHEMA_BYTES:
        raise Damaged(f"it unfolds to {total} bytes, {schema} of them its schema.json")


def _node(node: Any, archive: zipfile.ZipFile, found: Contents, depth: int) -> Any:
    """Turn a node of skops' schema into the placeholder that a pickle would have given."""
    if not isinstance(node, dict) or "__loader__" not in node:
        return None
    loader, content = node["__loader__"], node.get("content")
    name = Name(str(node.get("__module__")), str(node.get("__class__")))
    found.names.add(str(name))
    if loader == "JsonNode":
        return json.loads(content) if isinstance(content, str) else None
    if loader == "NdArrayNode":
        return _skops_array(node, archive, found, depth)
    inner: list[Any] = []
    if isinstance(content, list):
        inner = [_node(part, archive, found, depth + 1) for part in content]
    elif isinstance(content, dict) and "__loader__" in content:
        inner = [_node(content, archive, found, depth + 1)]
    elif isinstance(content, dict):
        inner = [(key, _node(part, archive, found, depth + 1)) for key, part in content.items()]
    if loader == "DictNode":
        return Pairs(inner)
    if loader in ("ListNode", "TupleNode"):
        return inner if loader == "ListNode" else tuple(inner)
    return Made(name, state=inner[0] if len(inner) == 1 and isinstance(inner[0], Pairs) else Pairs())


def _skops_array(node: dict[str, Any], archive: zipfile.ZipFile, found: Contents, depth: int) -> Array:
    if node.get("type") == "numpy":
        return _stored_array(archive, str(node["file"]))
    parts = _node(node["content"], archive, found, depth + 1) if isinstance(node.get("content"), dict) else None
    listed = [_node(part, archive, found, depth + 1) for part in node["content"]] if parts is None else list(parts)
    return Array((len(listed),), listed)


def _stored_array(archive: zipfile.ZipFile, name: str) -> Array:
    """Read an array's header, and its values only when they are few: its bytes may be anybody's bomb."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
    if math.prod(shape) > _MANY or math.prod(shape) * kind.itemsize > _ARRAY_BYTES:
        return Array(shape, None)
    values = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    return Array(values.shape, values.ravel().tolist())
