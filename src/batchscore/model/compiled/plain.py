"""Plain data in one file: a tree of texts, numbers and lists, and arrays of numbers; the same content is the same bytes.

The file is a line that names the format, a line of JSON, the arrays as they lie in memory (little-endian, each at a
multiple of 64 bytes), and the sha256 of all that. Reading it runs nothing that the file says.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

MAGIC = b"batchscore plain data 1\n"
"""How every file begins; the number is the format's version."""
_ALIGNED = 64
_DIGEST_BYTES = 32
_KINDS = frozenset({"|b1", "|i1", "|u1", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)), "<f4", "<f8"})
"""The types that an array may have, in numpy's spelling."""


class DamagedFile(ValueError):
    """The bytes are no such file, or are not as they were written; the text says what is wrong."""


def pack(content: Mapping[str, Any]) -> bytes:
    """Write plain data.

    Args:
        content: Texts, whole numbers, floats (the infinite ones and NaN too), booleans, None, lists, mappings with
            texts as keys, and numpy arrays of numbers; an array keeps its order in memory.

    Raises:
        TypeError: When something else is in it.
    """
    arrays: list[np.ndarray] = []
    tree = _flat(content, arrays)
    listed: list[dict[str, Any]] = []
    at = 0
    for array in arrays:
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        listed.append({"dtype": array.dtype.str, "shape": list(array.shape), "order": order, "start": at})
        at += -(-array.nbytes // _ALIGNED) * _ALIGNED
    head = MAGIC + json.dumps({"arrays": listed, "bytes": at, "content": tree}, sort_keys=True).encode() + b"\n"
    pieces = [head, b"\0" * (-len(head) % _ALIGNED)]
    for array, each in zip(arrays, listed, strict=True):
        data = array.tobytes(each["order"])
        pieces += [data, b"\0" * (-len(data) % _ALIGNED)]
    body = b"".join(pieces)
    return body + hashlib.sha256(body).digest()


def unpack(data: bytes) -> dict[str, Any]:
    """Read what `pack` wrote; arrays are copies, each in its order.

    Raises:
        DamagedFile: When a byte is not as it was written, or the file is another thing.
    """
    if not data.startswith(MAGIC):
        raise DamagedFile("it does not begin as a file of plain data of this version does")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise DamagedFile("it does not match the digest of itself that it carries")
    end = body.find(b"\n", len(MAGIC)) + 1
    try:
        head = json.loads(body[len(MAGIC) : end])
        first = end + -end % _ALIGNED
        if len(body) != first + head["bytes"]:
            raise DamagedFile("its length is not the one that it declares")
        arrays = [_array(body, first, each) for each in head["arrays"]]
        content = _deep(head["content"], arrays)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, DamagedFile):
            raise
        raise DamagedFile(f"it is not written as a file of plain data is: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise DamagedFile("it holds no mapping")
    return content


def _flat(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        array = value.astype(value.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in _KINDS:
            raise TypeError(f"an array of {value.dtype} is no plain data")
        whole = array if array.flags.c_contiguous or array.flags.f_contiguous else np.ascontiguousarray(array)
        arrays.append(whole)
        return {"$array": len(arrays) - 1}
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise TypeError("a key is no text, or begins with '$'")
        return {key: _flat(value[key], arrays) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_flat(each, arrays) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, str | int | None):
        return value
    raise TypeError(f"{type(value).__name__} is no plain data")


def _deep(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_deep(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$array"}:
        return arrays[value["$array"]]
    if value.keys() == {"$float"}:
        return float(value["$float"])
    return {key: _deep(each, arrays) for key, each in value.items()}


def _array(body: bytes, first: int, each: Mapping[str, Any]) -> np.ndarray:
    kind, shape = str(each["dtype"]), tuple(int(length) for length in each["shape"])
    start, count = int(each["start"]), math.prod(shape)
    if kind not in _KINDS or min(shape, default=0) < 0 or start < 0 or each["order"] not in ("C", "F"):
        raise DamagedFile("an array is not declared as arrays are")
    values = np.frombuffer(body, np.dtype(kind), count, first + start)
    return np.array(values.reshape(shape, order=each["order"]), order="K")
