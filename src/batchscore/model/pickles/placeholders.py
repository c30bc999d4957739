"""What stands for the objects of a pickle that is only looked at: names, calls, dictionaries, arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_KEPT_BYTES = 1 << 20
"""Arrays up to this size are kept, since feature names and classes may be among them."""
_PLAIN_DTYPE = re.compile(r"[biufUS]\d*|\?")
_OBJECT_FLAG = 1
"""numpy's NPY_ITEM_HASOBJECT."""


class Damaged(Exception):
    """The bytes are no pickle, end too early, or go on after the end.

    Args:
        fact: What is wrong.
        trailing: Whether it is that bytes follow after the end.
    """

    def __init__(self, fact: str, *, trailing: bool = False) -> None:
        super().__init__(fact)
        self.trailing = trailing


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that the file names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What calling a class or function would have made."""

    of: Name
    """The class or function."""
    args: tuple[Any, ...] = ()
    """The arguments."""
    state: Any = None
    """What `__setstate__` or the attributes would have been given."""
    items: list[Any] = field(default_factory=list)
    """What would have been appended, set or added."""


class Pairs(list[tuple[Any, Any]]):
    """A dictionary as a list of its pairs."""

    def get(self, name: str) -> Any:
        """Return the last value of a text key; None when there is none."""
        return next((value for key, value in reversed(self) if isinstance(key, str) and key == name), None)


@dataclass(eq=False)
class Array:
    """An array: its values when they are few and plain, else None."""

    shape: tuple[int, ...]
    values: list[Any] | None


def array_values(thing: Any) -> list[Any] | None:
    """Return the values of an array that came as a placeholder; None when they are many or no plain ones."""
    if isinstance(thing, Array):
        return thing.values
    if not isinstance(thing, Made):
        return None
    if str(thing.of).endswith("numeric._frombuffer") and len(thing.args) > 1 and isinstance(thing.args[0], bytes):
        code, _, objects = dtype_of(thing.args[1])
        return None if objects else plain_values(code, thing.args[0])
    if not str(thing.of).endswith("multiarray._reconstruct") or not isinstance(thing.state, tuple):
        return None
    *_, kind, _, data = thing.state if len(thing.state) > 2 else (None, None, None)  # noqa: PLR2004
    if isinstance(data, list):
        return data
    code, _, objects = dtype_of(kind)
    return plain_values(code, data) if isinstance(data, bytes) and not objects else None


def dtype_of(kind: Any) -> tuple[str, int, bool]:
    """Return the code with its byte order, the bytes per item, and whether items are objects."""
    if (
        not isinstance(kind, Made)
        or str(kind.of) != "numpy.dtype"
        or not kind.args
        or not isinstance(kind.args[0], str)
    ):
        raise Damaged("holds an array of no known type")
    code = kind.args[0]
    state = kind.state if isinstance(kind.state, tuple) else ()
    order = state[1] if len(state) > 1 and state[1] in ("<", ">") else ""
    objects = code.startswith("O") or (len(state) > 7 and isinstance(state[7], int) and bool(state[7] & _OBJECT_FLAG))  # noqa: PLR2004
    match = re.fullmatch(r"[a-zA-Z](\d{1,9})|b|\?", code)
    if match is None and not objects:
        raise Damaged(f"holds an array of the unknown type {code[:20]!r}")
    size = int(match[1]) if match and match[1] else 1
    # The code of a text counts characters, each of which has four bytes.
    return order + code, size * 4 if code.startswith("U") else size, objects


def plain_values(code: str, raw: bytes) -> list[Any] | None:
    """Return the values of raw bytes; None when they are many or no plain ones."""
    if len(raw) > _KEPT_BYTES or not _PLAIN_DTYPE.fullmatch(code.lstrip("<>")):
        return None
    try:
        values: list[Any] = np.frombuffer(raw, dtype=np.dtype(code)).tolist()
    except (TypeError, ValueError):
        return None
    return values
