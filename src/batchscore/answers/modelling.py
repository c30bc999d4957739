"""Answers about model files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from batchscore import model, sources, text
from batchscore.answers.asking import create_file, parse_day
from batchscore.check import load_schema
from batchscore.compiling import compile_now
from batchscore.config import RunConfig, load_config
from batchscore.errors import ConfigError, ModelError, UsageError
from batchscore.text import Answer, Given

_LARGEST_BYTES = 2 << 30
"""A file beyond this is not read into memory to be inspected."""


def model_inspect(path: str) -> Answer:
    """Tell what a model file holds, without running any of it."""
    from batchscore.model.inspect import inspect

    try:
        size = sources.stat(path).size
        if size > _LARGEST_BYTES:
            raise ModelError(
                f"'{path}' has {text.size(size)}, which is more than any model",
                slug="INSPECT",
                remedy=f"files of up to {text.size(_LARGEST_BYTES)} are inspected",
                path=path,
            )
        content = sources.read(path, 0, size)
    except FileNotFoundError as error:
        raise ModelError(
            f"the model file '{path}' is missing", slug="MISSING", remedy="check the path", path=path
        ) from error
    except ConfigError as error:
        if error.slug != "NOT-A-FILE":
            raise
        raise ModelError(
            f"'{path}' is no regular file", slug="UNREADABLE", remedy="the path must name one readable file", path=path
        ) from error
    found = inspect(path, content)
    facts = [
        ("file", f"{found.path}, {found.format}, {text.size(found.size)}"),
        ("sha256", found.sha256),
        ("compression", found.compression),
        ("libraries", ", ".join(f"{name} {version}" for name, version in found.libraries.items()) or None),
        ("estimator", found.estimator),
        ("features", ", ".join(found.features) if found.features is not None else found.n_features),
        ("classes", None if found.classes is None else ", ".join(map(repr, found.classes))),
        ("types", f"{len(found.types)}: {', '.join(found.types)}"),
        ("needs trust", ", ".join(found.review) or "nothing beyond the usual libraries"),
    ]
    lines = [*text.pairs(facts), *(f"note: {note}" for note in found.notes), "", "to pin it:", found.yaml.rstrip("\n")]
    return Answer(text="\n".join(lines), document={**found.record(), "yaml": found.yaml})


def model_compile(given: Given, given_date: str | None, output: str | None) -> Answer:
    """Compile a model, prove it, write it, and tell how to pin it."""
    from batchscore.model.compiled.making import NotCompilable

    config = load_config(given.files, given.overrides)
    if given_date is None and not isinstance(config.model, model.ModelOptions):
        raise UsageError("`model` is a list of models", slug="WHICH-MODEL", remedy="name one by its date: --date")
    options = model.resolve_model(config.model, date.max if given_date is None else parse_day(given_date))
    schema, _ = load_schema(config)
    try:
        found = compile_now(config, options, schema)
    except NotCompilable as reason:
        raise ModelError(
            f"the model '{options.path}' does not compile: {reason}",
            slug="NOT-COMPILABLE",
            remedy="nothing was written; it scores by its own code, and the same result comes out",
            path=options.path,
        ) from reason
    path = output or found.path
    _write(path, found.content, config)
    pin = ["model:", "  compiled:", f'    sha256: "{found.sha256}"']
    rows, versions = found.proof["bit_equal_rows"], found.made["versions"]
    facts = [
        ("model", f"{options.path}, {options.version}"),
        ("proof", f"{rows:,} rows of {len(found.proof['samples'])} samples, every bit equal"),
        ("made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("file", f"{path}, {text.size(len(found.content))}"),
        ("sha256", found.sha256),
    ]
    moved = [] if path == found.path else [f"note: a run looks for it at {found.path}"]
    return Answer(
        text="\n".join([*text.pairs(facts), *moved, "", "to pin it:", *pin]),
        document={
            "path": path,
            "sha256": found.sha256,
            "made_of": dict(found.made),
            "proof": dict(found.proof),
            "yaml": "\n".join(pin) + "\n",
        },
    )


def _write(path: str, content: bytes, config: RunConfig) -> None:
    """Write a compiled model; finding the same bytes there is success."""
    if Path(path).is_file() and Path(path).read_bytes() == content:
        return
    exists = UsageError(
        f"'{path}' exists already and is another one",
        slug="COMPILED-EXISTS",
        remedy="remove it, or write to another file with -o; a configuration that pins it needs the new digest",
    )
    create_file(path, content, config, exists=exists, remedy="name a local file with -o and put it beside the artifact")
