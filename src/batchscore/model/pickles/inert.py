"""Reading a pickle without running any of it: every class and function becomes an inert placeholder.

Nothing is imported, called or hashed; dictionaries stay lists of pairs, since hashing what a hostile file nests can
take for ever. joblib's arrays lie raw in the middle of its pickles; they are stepped over, so that what comes after
them is read as well (`pickletools` alone stops at the first one).
"""

from __future__ import annotations

import io
import math
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass, field
from typing import Any, ClassVar

from batchscore.model.pickles.placeholders import (
    Array,
    Damaged,
    Made,
    Name,
    Pairs,
    array_values,
    dtype_of,
    plain_values,
)

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"


@dataclass
class Contents:
    """What a pickle holds."""

    root: Any = None
    """The object that loading would have returned, made of placeholders."""
    names: set[str] = field(default_factory=set)
    """Every class and function that the file names, dotted."""
    reaching: set[str] = field(default_factory=set)
    """Those of them that go through another name to reach theirs: what they end at may be anybody's."""
    notes: set[str] = field(default_factory=set)
    """What is unusual."""


def read_pickle(content: bytes) -> Contents:
    """Read a pickle or a joblib file, uncompressed, to its end.

    Raises:
        Damaged: When the bytes are no pickle, end too early, or go on after the end.
    """
    found = Contents()
    stream = io.BytesIO(content)
    try:
        found.root = _Reader(stream, found, joblib=True).load()
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(_reason(error)) from error
    trailing = len(content) - stream.tell()
    if trailing:
        raise Damaged(f"{trailing} bytes follow after its end, which no loader reads", trailing=True)
    return found


def _reason(error: Exception) -> str:
    """Return in words why the reader stopped; its own words where they say something."""
    if isinstance(error, EOFError) or str(error) == "pickle data was truncated":
        return "it ends too early"
    if isinstance(error, KeyError | IndexError):
        return "it is no pickle, or is damaged"
    return f"it is no pickle, or is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


# The C unpickler can not be told to leave REDUCE alone; the one in Python is a table of its operations.
_Unpickler: Any = pickle._Unpickler  # noqa: SLF001


class _Reader(_Unpickler):  # type: ignore[misc]
    def __init__(self, stream: io.BytesIO, found: Contents, *, joblib: bool) -> None:
        super().__init__(stream, encoding="latin-1")
        self._stream = stream
        self._found = found
        self._joblib = joblib

    def find_class(self, module: str, name: str) -> Name:
        if getattr(self, "proto", 0) < 3 and self.fix_imports:  # noqa: PLR2004 - the pickles of Python 2's names
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        named = Name(module, name)
        self._found.names.add(str(named))
        if "." in name:
            self._found.reaching.add(str(named))
        return named

    def get_extension(self, code: int) -> None:
        self.append(self.find_class("copyreg", f"extension_{code}"))

    def persistent_load(self, pid: object) -> Made:
        self._found.notes.add("refers to objects outside the file (persistent ids)")
        return Made(Name("pickle", "persistent_load"), (pid,))

    def _instantiate(self, of: object, args: list[Any]) -> None:
        self.append(self._made(of, tuple(args)))

    def _made(self, of: object, args: Any) -> Any:
        args = tuple(args) if isinstance(args, tuple | list) else (args,)
        if not isinstance(of, Name):
            self._found.notes.add("calls what is no class or function")
            return Made(Name("builtins", type(of).__name__), args)
        if str(of) == "copyreg._reconstructor" and args and isinstance(args[0], Name):
            return Made(args[0], args[1:])
        if str(of) == "_codecs.encode" and len(args) == 2 and isinstance(args[0], str):  # noqa: PLR2004
            return args[0].encode("latin-1", "replace")
        return Made(of, args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], args)
        if isinstance(self.stack[-1], Made) and keywords:
            self.stack[-1].items.append(keywords)

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if not isinstance(made, Made):
            self._found.notes.add("sets the state of what has none")
            return
        made.state = state
        if self._joblib and str(made.of) == _WRAPPER:
            self.stack[-1] = self._array(state)
        elif self._joblib and str(made.of).startswith("joblib.numpy_pickle_compat."):
            self._found.notes.add("keeps arrays in other files, as joblib before 0.10 did")

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._extend(self.stack[-1], values)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._extend(self.stack[-1], [(key, value)])

    def load_setitems(self) -> None:
        flat = self.pop_mark()
        self._extend(self.stack[-1], list(zip(flat[::2], flat[1::2], strict=False)))

    def load_empty_dictionary(self) -> None:
        self.append(Pairs())

    def load_dict(self) -> None:
        flat = self.pop_mark()
        self.append(Pairs(zip(flat[::2], flat[1::2], strict=False)))

    def load_empty_set(self) -> None:
        self.append(Made(Name("builtins", "set")))

    def load_frozenset(self) -> None:
        self.append(Made(Name("builtins", "frozenset"), items=self.pop_mark()))

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        # The original reserves the memory before it looks whether there are so many bytes.
        if size > len(self._stream.getbuffer()):
            raise Damaged("ends in the middle of a byte array")
        self.append(bytes(self.read(size)))

    def load_buffer(self) -> None:
        self._found.notes.add("refers to buffers outside the file")
        self.append(Made(Name("pickle", "buffer")))

    def load_readonly_buffer(self) -> None:
        pass

    def _extend(self, target: object, values: list[Any]) -> None:
        if isinstance(target, Made):
            target.items.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            self._found.notes.add("adds to what can not grow")

    def _array(self, state: Any) -> Array:
        given = state if isinstance(state, Pairs) else Pairs()
        shape = given.get("shape")
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise Damaged("holds an array whose shape is none")
        code, size, objects = dtype_of(given.get("dtype"))
        if objects:
            inner = _Reader(self._stream, self._found, joblib=False).load()
            return inner if isinstance(inner, Array) else Array(shape, array_values(inner))
        if given.get("numpy_array_alignment_bytes") is not None:
            self._raw(int.from_bytes(self._raw(1), "little"))
        raw = self._raw(math.prod(shape) * size)
        return Array(shape, plain_values(code, raw))

    def _raw(self, size: int) -> bytes:
        if size > len(self._stream.getbuffer()) - self._stream.tell():
            raise Damaged("ends in the middle of an array")
        return self._stream.read(size)

    dispatch: ClassVar[dict[int, Any]] = {
        **_Unpickler.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_appends,
        pickle.EMPTY_DICT[0]: load_empty_dictionary,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.NEXT_BUFFER[0]: load_buffer,
        pickle.READONLY_BUFFER[0]: load_readonly_buffer,
    }
