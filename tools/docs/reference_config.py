"""config/reference.yaml and reference.schema.yaml: every key with what it means, what it takes, and its default."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batchscore.config import RunConfig
from batchscore.schema import FeatureSchema
from batchscore.strict import sections_of
from tools.docs.config_schema import schema
from tools.docs.docstrings import field_docs

WIDTH = 118
BELOW = "the keys below"

HEAD = """\
# Every key of the configuration: what it means, what it takes, its default.
# Generated from the code by `make docs`, and itself a valid configuration; config/schema.json tells editors the same.
# Keys marked "required" must be given; of all others a file needs only those that differ from the default.
# Sections that are off by default stand below their key as comments.
"""

SCHEMA_HEAD = """\
# Every key of a feature schema: what it means, what it takes, its default.
# Generated from the code by `make docs`, and itself a valid schema; keys marked "required" must be given.
# Features stand in the order in which the model takes them; columns of the snapshot are found by name, in any order.
# Text is text however the file encodes it (large, as a view, by a dictionary).
# No other type is taken for the declared one but those in `allow`, whose every value fits:
# narrower integers of either kind into wider signed ones, unsigned into wider unsigned ones, integers of up to 16 bits
# into float32 and of up to 32 into float64, float32 into float64, bool into int8, date32 into timestamp[us].
"""

DIGEST = "0123456789abcdef" * 4
EXAMPLES: Mapping[str, object] = {
    "name": "flights",
    "version": "1",
    "features.name": "dep_delay",
    "features.dtype": "int64",
    "pipeline": "flights",
    "snapshot.path": "data/batch/flights_{date:%Y_%m_%d}.parquet",
    "snapshot.id": "flight_id",
    "schema": "config/flights.schema.yaml",
    "model.path": "artifacts/models/flights_late_v1.2.0.joblib",
    "model.version": "1.2.0",
    "model.sha256": DIGEST,
    "output.path": "outputs",
    "model.golden.path": "artifacts/models/flights_late_v1.2.0.golden.parquet",
    "model.golden.sha256": DIGEST,
    "calibration.kind": "sigmoid",
    "postprocess.segments.column": "carrier",
    "postprocess.segments.thresholds": {"US": 0.4, "UA": 0.6},
    "postprocess.rules.name": "storm",
    "postprocess.rules.when.column": "wind_gust",
    "postprocess.rules.then.lookup.path": "config/desks.csv",
    "postprocess.rules.then.lookup.sha256": DIGEST,
    "postprocess.rules.then.lookup.by": "carrier",
    "postprocess.rules.then.lookup.value": "desk",
    "postprocess.rules.then.lookup.into": "desk",
    "output.notify.path": "outputs/ready/{date}",
    "output.notify.url": "http://catalogue:8080/published/{date}",
    "drift.reference.path": "artifacts/references/flights_2013-01.json",
    "drift.reference.sha256": DIGEST,
    "cluster.tls.ca_file": "/etc/dask/ca.pem",
    "cluster.tls.cert_file": "/etc/dask/client.pem",
    "cluster.tls.key_file": "/etc/dask/client-key.pem",
}
"""What stands where a key has no default."""

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}


def page() -> str:
    """Return the whole reference of the configuration."""
    return _page(RunConfig, HEAD, schema())


def schema_page() -> str:
    """Return the whole reference of the feature schema."""
    return _page(FeatureSchema, SCHEMA_HEAD, FeatureSchema.model_json_schema())


def _page(root: type[BaseModel], head: str, content: Mapping[str, Any]) -> str:
    definitions = {**content["$defs"], root.__name__: content}
    return head + "\n".join(_section(root, "", definitions, off=False)) + "\n"


def _section(section: type[BaseModel], path: str, definitions: Mapping[str, Any], *, off: bool) -> Iterator[str]:
    """Yield the lines of a section's keys, not indented; `off` when the section itself stands in a comment."""
    docs = field_docs(section)
    fields = definitions[section.__name__]["properties"]
    for name, field in section.model_fields.items():
        key = field.alias or name
        yield from [""] if not path else []
        yield from _comment(docs[name], _takes(field, fields[key], definitions))
        yield from _key(key, field, f"{path}.{key}".lstrip("."), definitions, off=off)


def _key(key: str, field: FieldInfo, path: str, definitions: Mapping[str, Any], *, off: bool) -> Iterator[str]:
    """Yield the line of a key, and the lines of the sections inside it: in a comment when there are none by default."""
    forms = sections_of(field.annotation)
    default = EXAMPLES.get(path) if field.is_required() else field.get_default(call_default_factory=True)
    several = _is_list(field) and (off or not field.is_required())
    there = bool(forms) and not several and (field.is_required() or isinstance(default, BaseModel))
    yield f"{key}:" if forms and (there or off) else f"{key}: {_yaml(default or _only(field))}"
    for form in forms[:1] if there else forms:
        lines = list(_section(form, path, definitions, off=off or not there))
        lines = lines if len(forms) == 1 or there else [f"# {_first_line(form)}", *lines]
        if _is_list(field):
            lines = ["-", *(f"  {line}" for line in lines)]
        sign = "  " if there or off else "#   "
        yield from (f"{sign}{line}".rstrip() for line in lines)


def _only(field: FieldInfo) -> object:
    """Return the one value that a key takes, or its default, which is empty or null."""
    allowed = get_args(field.annotation)
    if field.is_required() and get_origin(field.annotation) is Literal:
        return allowed[0]
    return field.get_default(call_default_factory=True)


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").splitlines()[0]


def _is_list(field: FieldInfo) -> bool:
    """Whether a field holds several sections: a tuple and nothing else."""
    return get_origin(field.annotation) is tuple or any(
        get_origin(part) is tuple and sections_of(part) for part in get_args(field.annotation)[:1]
    )


def _takes(field: FieldInfo, content: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return what a key takes, in brackets; nothing for a plain section."""
    words = list(dict.fromkeys(_words(content, definitions)))
    if words == [BELOW]:
        return ""
    required = "; required" if field.is_required() and BELOW not in words else ""
    return f"[{', or '.join(words)}{required}]"


def _words(content: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for several in ("anyOf", "oneOf"):
        for form in content.get(several, ()):
            yield from _words(form, definitions)
    if "$ref" in content:
        yield BELOW
    if "enum" in content:
        yield " | ".join(map(str, content["enum"]))
    elif "const" in content:
        yield str(content["const"])
    elif content.get("type") == "array":
        items = content.get("items", {})
        yield f"list of {'/'.join(dict.fromkeys(_words(items, definitions))) or 'two numbers'}"
    elif "type" in content:
        yield _WORDS[content["type"]] + _bounds(content)


def _bounds(content: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "pattern": "like"}
    found = [f"{sign} {content[key]}" for key, sign in signs.items() if key in content]
    return f" {', '.join(found)}" if found else ""


def _comment(text: str, takes: str) -> Iterator[str]:
    whole = f"{text} {takes}".strip()
    for part in [whole] if len(whole) <= WIDTH - 2 else [text, takes]:
        yield from (f"# {line}" for line in textwrap.wrap(part, WIDTH - 2, break_on_hyphens=False))


def _yaml(value: object) -> str:
    """Return a value as it stands in YAML: JSON, but texts that need no quotes have none."""
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalpha() and value.lower() not in _NO_TEXT:
        return value
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False)


_NO_TEXT = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
