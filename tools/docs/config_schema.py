"""config/schema.json: the JSON Schema of the configuration, for editors; the program itself checks more."""

from __future__ import annotations

import json
from typing import Any

from batchscore.config import RunConfig
from tools.docs.docstrings import field_docs, sections_below

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> str:
    """Return the schema as text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `RunConfig`, with the docstrings of the fields as descriptions."""
    content = RunConfig.model_json_schema(by_alias=True)
    definitions = content.get("$defs", {})
    for section in sections_below(RunConfig):
        described = content if section is RunConfig else definitions[section.__name__]
        docs = field_docs(section)
        for name, field in section.model_fields.items():
            _describe(described["properties"][field.alias or name], docs[name])
    return {"$schema": DIALECT, **content, "title": "batchscore configuration"}


def _describe(field: dict[str, Any], text: str) -> None:
    field.pop("title", None)
    field["description"] = text
