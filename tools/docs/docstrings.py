"""The docstrings below the fields of a section, read from its source: at run time they are gone."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from batchscore.strict import sections_of

if TYPE_CHECKING:
    from pydantic import BaseModel


def sections_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a section and all sections inside it, each where it is met first."""
    seen: list[type[BaseModel]] = []
    waiting = [model]
    while waiting:
        section = waiting.pop(0)
        if section not in seen:
            seen.append(section)
            waiting += [inner for field in section.model_fields.values() for inner in sections_of(field.annotation)]
    yield from seen


def field_docs(section: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of every field by the field's name, those of base classes too, as one line each."""
    docs: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if cls.__module__.startswith("batchscore."):
            docs |= _module_docs(inspect.getfile(cls)).get(cls.__name__, {})
    return docs


@cache
def _module_docs(file: str) -> Mapping[str, Mapping[str, str]]:
    with open(file, encoding="utf-8") as source:  # noqa: PTH123 - a path as inspect gives it
        tree = ast.parse(source.read())
    return {node.name: dict(_class_docs(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _class_docs(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(node.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
