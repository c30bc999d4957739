"""Strict reading: YAML without surprises, models that refuse what they do not know.

YAML 1.1 turns `1.20` into a float, `no` into a boolean and lets the last of two equal keys win;
here duplicate keys are errors, and strict types turn the other traps into errors with the key's path.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batchscore.errors import ConfigError


class Section(BaseModel):
    """A section of a configuration file: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())


FROM_LIST = Field(strict=False)
"""Annotates a tuple, so that a YAML list is taken for it; what is inside stays strict."""

TAG = "|"
"""Begins the tag of one of several forms that a section may have."""

SectionT = TypeVar("SectionT", bound=Section)


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses duplicate keys and leaves dates as the text they are."""


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        key = _key(loader, key_node)
        line = key_node.start_mark.line + 1
        if key in seen:
            raise ConfigError(
                f"the key {key!r} stands twice, in lines {seen[key]} and {line}",
                slug="DUPLICATE-KEY",
                remedy="keep one of the two",
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return {_key(loader, k): loader.construct_object(v, deep=True) for k, v in node.value}


def _key(loader: Any, node: yaml.Node) -> Any:
    """Return a key; the word `null` is one like any other, such as in a rule's condition `null: true`."""
    key = loader.construct_object(node, deep=True)
    return node.value if key is None and node.value else key


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def parse_yaml(text: str, *, source: str) -> Any:
    """Parse one YAML document.

    Args:
        text: The document.
        source: The file's name, for the message.

    Raises:
        ConfigError: When the text is no YAML or holds a duplicate key.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of the safe loader
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}", slug=error.slug, remedy=error.remedy) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid YAML: {_yaml_fact(error)}", slug="YAML", remedy="mend it") from None


def _yaml_fact(error: Exception) -> str:
    """Say what is wrong and where, without the text around it, which may hold a secret."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(error.problem).split())}"


def parse_section(
    model: type[SectionT],
    content: Any,
    *,
    source: str,
    origin: Callable[[Sequence[str]], str | None] = lambda _: None,
    reference: str = "config/reference.yaml",
) -> SectionT:
    """Check `content` against `model`.

    Args:
        model: The section's class.
        content: What `parse_yaml` returned.
        source: The file's name, for the message.
        origin: Which of several files, or which option, a key's value is from; None when none of them alone.
        reference: The file that explains every key, for the remedy.

    Raises:
        ConfigError: With every violation, each by its key's path, the fact, and the nearest right name.
    """
    require_mapping(content, source=source)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = _problems(model, error.errors(include_url=False))
        told = [(origin(problem.keys) or source, problem.text) for problem in problems]
        raise ConfigError(
            "; ".join(
                f"{where}: {'; '.join(text for _, text in of)}" for where, of in groupby(told, key=itemgetter(0))
            ),
            slug=problems[0].slug,
            remedy=f"`batchscore validate` checks it again; every key is explained in {reference}",
            keys=[".".join(problem.keys) for problem in problems],
        ) from None


def require_mapping(content: Any, *, source: str) -> Mapping[str, Any]:
    """Return `content` when it is a mapping.

    Raises:
        ConfigError: When it is something else.
    """
    if isinstance(content, Mapping):
        return content
    raise ConfigError(
        f"{source} must hold a mapping of keys, not {_kind(content)}",
        slug="MAPPING",
        remedy="write `key: value` lines",
    )


def key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key of `model` and of the sections inside it."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield f"{prefix}{key}"
        for section in sections_of(field.annotation):
            yield from key_paths(section, f"{prefix}{key}.")


def sections_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the section classes that a field's annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_of(inner)]


def _keys(location: Iterable[object]) -> list[str]:
    """Return a key's path without what tells the forms of a section or of a value apart, such as `tuple[str, ...]`."""
    parts = [str(part) for part in location if not (str(part).startswith(TAG) or "[" in str(part))]
    return parts[:-1] if parts and parts[-1] in ("bool", "int", "float", "str") else parts


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """What is wrong with one key."""

    keys: Sequence[str]
    """The key's path."""
    text: str
    """The sentence."""
    slug: str
    """What kind of problem it is."""


def _problems(model: type[BaseModel], found: Sequence[Any]) -> list[_Problem]:
    """Return one problem for each key: the forms that a value fails to have are one, and so is a list of bad items."""
    paths = [_keys(item["loc"]) for item in found]
    of_keys: dict[tuple[str, ...], list[Any]] = {}
    for keys, item in zip(paths, found, strict=True):
        # Bad items do not count as items: a list of them would also be told to be empty.
        if item["type"] != "too_short" or not any(
            len(other) > len(keys) and other[: len(keys)] == keys for other in paths
        ):
            of_keys.setdefault(tuple(keys), []).append(item)
    return [_explain(model, keys, items) for keys, items in of_keys.items()]


def _explain(model: type[BaseModel], keys: Sequence[str], items: Sequence[Any]) -> _Problem:
    path, first = ".".join(keys), items[0]
    if first["type"] == "extra_forbidden":
        return _Problem(keys=keys, text=f"unknown key '{path}'{_nearest(model, path)}", slug="UNKNOWN-KEY")
    if first["type"] == "missing":
        return _Problem(keys=keys, text=f"the key '{path}' is missing", slug="MISSING-KEY")
    facts = dict.fromkeys(_fact(item) for item in items)
    fact = " or ".join([*facts][:1] + [fact.removeprefix("should be ") for fact in [*facts][1:]])
    named = f"the key '{path}' " if path else ""
    text = f"{named}{fact}{_quoted(first['type'], first['input'])}{_text_hint(first['type'], first['input'])}"
    return _Problem(keys=keys, text=text, slug="VALUE" if first["type"] == "value_error" else "TYPE")


def _fact(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    tag = str(context.get("discriminator")).strip("'")
    told = {
        "model_type": "must hold keys of its own",
        "model_attributes_type": "must hold keys of its own",
        "dict_type": "must hold keys of its own",
        "tuple_type": "should be a list",
        "too_short": "is a list without an item",
        "union_tag_invalid": f"has the {tag} '{context.get('tag')}', which is none of {context.get('expected_tags')}",
        "union_tag_not_found": f"lacks its {tag}",
    }
    message = str(item["msg"])
    for prefix in ("Value error, ", "Input ", "String "):
        message = message.removeprefix(prefix)
    return told.get(kind, message)


def _quoted(kind: str, given: object) -> str:
    """Say what a value is, unless it is long or may be a secret."""
    if isinstance(given, Mapping | list | tuple):
        return f" (it is {_kind(given)})" if kind in ("string_type", "int_type", "float_type", "bool_type") else ""
    if given is None:
        return " (it is null)"
    return "" if _may_be_secret(given) else f" (it is {given!r}, {_kind(given)})"


def _may_be_secret(given: object) -> bool:
    """Whether a text is an address that may carry a password or a signature."""
    return isinstance(given, str) and "://" in given and any(sign in given for sign in "@?")


def _text_hint(kind: str, given: object) -> str:
    wants_text = kind == "string_type" and isinstance(given, int | float)
    return f'; put it in quotes: "{given}"' if wants_text else ""


def _nearest(model: type[BaseModel], path: str) -> str:
    parts = path.split(".")
    section = ".".join(part for part in parts[:-1] if not part.isdecimal())
    beside = [key.rsplit(".", 1)[-1] for key in key_paths(model) if key.rpartition(".")[0] == section]
    near = difflib.get_close_matches(parts[-1], beside, n=1, cutoff=0.75)
    if near:
        return f"; did you mean '{'.'.join([*parts[:-1], near[0]])}'?"
    elsewhere = {key.rsplit(".", 1)[-1]: key for key in key_paths(model)}
    near = difflib.get_close_matches(parts[-1], list(elsewhere), n=1, cutoff=0.75)
    return f"; did you mean '{elsewhere[near[0]]}'?" if near else ""


def _kind(value: object) -> str:
    kinds = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return "nothing" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
