"""The model: named once, verified on the very bytes that are then parsed, loaded once per process.

`verify` runs on the driver and returns a `ModelRef`, which is all that travels; `load` turns the reference into a
`LoadedModel` on a worker, checks the digest again on its own bytes, and keeps the model for the life of the process.
Nothing is unpickled before its digest matched.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol

from batchscore.errors import ModelError
from batchscore.model.compiled.ways import NOT_ASKED, Candidate, open_surely, take_way
from batchscore.model.golden import check_golden, golden_sample
from batchscore.model.options import (
    ClassLabel,
    GoldenOptions,
    ModelList,
    ModelOptions,
    Output,
    resolve_model,
    score_names,
)
from batchscore.model.pinned import Read, read_pinned, refuse_latest_link
from batchscore.model.ref import ModelRef

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from batchscore.schema import FeatureSchema

__all__ = [
    "Candidate",
    "GoldenOptions",
    "LoadedModel",
    "ModelList",
    "ModelOptions",
    "ModelRef",
    "Output",
    "golden_sample",
    "load",
    "resolve_model",
    "score_names",
    "verify",
]

FORMATS: Mapping[str, str] = {
    ".joblib": "joblib",
    ".pkl": "joblib",
    ".pickle": "joblib",
    ".skops": "skops",
    ".onnx": "onnx",
}
"""The format of each suffix."""
_KEPT_MODELS = 4
"""A process keeps the last models that it loaded, since a backfill may need one per date."""


class LoadedModel(Protocol):
    """A model in memory; safe to call from several threads."""

    @property
    def schema(self) -> FeatureSchema:
        """The features, in the model's order."""

    @property
    def output(self) -> Output:
        """What the scores are."""

    @property
    def classes(self) -> tuple[ClassLabel, ...]:
        """The labels of the classes, in the model's order; empty for a regressor."""

    @property
    def positive(self) -> int | None:
        """The index of the class whose probability is the prediction; None when there is no such class."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the model says of itself, for the record: library versions, estimator tree, number of features."""

    @property
    def takes(self) -> Literal["matrix", "frame"]:
        """What the whole model is given: a float64 matrix, or a pandas frame typed by the schema."""

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[Any]:
        """Yield what `predict` takes, of exactly `block_rows` rows each: the given ones, and the last one repeated."""

    def predict(self, block: Any) -> np.ndarray:
        """Return the scores of a block as float64 of shape `(n_rows, n_scores)`, in `score_names`' order."""

    def plain(self, table: pa.Table) -> np.ndarray:
        """Return the scores of one plain call over the table as pandas reads it: the golden sample's second way."""


def verify(
    options: ModelOptions,
    schema: FeatureSchema,
    day: date,
    *,
    read: Read,
    score: Callable[[LoadedModel, pa.Table], np.ndarray],
    compiled: Candidate = NOT_ASKED,
) -> ModelRef:
    """Check the model before any input is read, and load it into this process.

    Args:
        options: The model's section of the configuration.
        schema: The feature schema.
        day: The date of the snapshot.
        read: Returns the bytes of a path.
        score: Scores a table as the run will; the golden sample goes through it.
        compiled: The compiled model that may score; the artifact is then hashed, but not loaded.

    Raises:
        ModelError: When the model is missing, refused or incompatible; each cause has its own slug.
    """
    refuse_latest_link(options.path)
    _check_schema_digest(options, schema)
    trained_after = _check_trained_until(options, day)
    content = read_pinned(options.path, options.sha256, read, what="model", slug="")
    sample = None
    if options.golden is not None:
        sample = read_pinned(options.golden.path, options.golden.sha256, read, what="golden sample", slug="GOLDEN-")
    found: list[dict[str, Any]] = []

    def check(model: LoadedModel) -> None:
        if sample is not None and options.golden is not None:
            found.append({"sha256": options.golden.sha256, **check_golden(model, sample, score)})

    quick, way = take_way(options, schema, compiled, read, check)
    if quick is not None:
        model: LoadedModel = _keep(_compiled_key(compiled, schema), lambda: quick)
    else:
        model = _load_once(options, schema, lambda: content, own=False)
        check(model)
    return ModelRef(
        name=_name(options),
        version=options.version,
        path=options.path,
        sha256=options.sha256,
        size=len(content),
        format=model_format(options.path),
        output=options.output,
        classes=model.classes,
        positive=model.positive,
        trained_until=options.trained_until,
        trained_after=trained_after,
        golden=found[-1] if found else None,
        way=way,
        options=options,
        facts=model.facts,
    )


_LOADED: dict[tuple[str, str, str], LoadedModel] = {}
_LOCK = threading.Lock()


def load_artifact(options: ModelOptions, schema: FeatureSchema, *, read: Read, own: bool = False) -> LoadedModel:
    """Return the model itself, never a compiled one, loaded at most once in this process.

    Raises:
        ModelError: When the file is missing, refused or incompatible.
    """
    content = partial(read_pinned, options.path, options.sha256, read, what="model", slug="")
    return _load_once(options, schema, content, own=own)


def load(ref: ModelRef, schema: FeatureSchema, *, read: Read) -> LoadedModel:
    """Return the model of `ref`, loaded at most once in this process; safe to call from several threads.

    Raises:
        ModelError: When the file is gone or is another one now, or can not be loaded here.
    """
    candidate = ref.way.candidate
    if candidate is not None:
        return _keep(_compiled_key(candidate, schema), lambda: open_surely(candidate, schema, read))
    return load_artifact(ref.options, schema, read=read, own=ref.own)


def model_format(path: str) -> str:
    """Return the format that the path's suffix names.

    Raises:
        ModelError: When the suffix is unknown.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in FORMATS:
        raise ModelError(
            f"the model '{path}' has the suffix '{suffix}', which names no known format",
            slug="FORMAT",
            remedy=f"the suffixes are {', '.join(FORMATS)}",
            path=path,
        )
    return FORMATS[suffix]


def _load_once(options: ModelOptions, schema: FeatureSchema, content: Callable[[], bytes], *, own: bool) -> LoadedModel:
    kind = model_format(options.path)
    return _keep(_key(options, schema, own=own), lambda: _parse(kind, options, schema, content(), own=own))


def _keep(key: tuple[str, str, str], make: Callable[[], LoadedModel]) -> LoadedModel:
    # Threads that ask at the same time wait for the first one, rather than read and parse the file as well.
    with _LOCK:
        if key not in _LOADED:
            model = make()
            while len(_LOADED) >= _KEPT_MODELS:
                del _LOADED[next(iter(_LOADED))]
            _LOADED[key] = model
        return _LOADED[key]


def _parse(kind: str, options: ModelOptions, schema: FeatureSchema, content: bytes, *, own: bool) -> LoadedModel:
    loader = importlib.import_module(f"batchscore.model.{kind}")
    model: LoadedModel = loader.load_model(options, schema, content, own=own)
    return model


def _key(options: ModelOptions, schema: FeatureSchema, *, own: bool) -> tuple[str, str, str]:
    return (
        f"own {options.sha256}" if own else options.sha256,
        schema.digest,
        options.model_dump_json(include={"path", "output", "positive_class", "trusted"}),
    )


def _compiled_key(candidate: Candidate, schema: FeatureSchema) -> tuple[str, str, str]:
    return ("compiled", schema.digest, "" if candidate.file is None else candidate.file.sha256)


def _name(options: ModelOptions) -> str:
    stem = PurePosixPath(options.path).stem
    return re.sub(rf"[-_.]?v?{re.escape(options.version)}$", "", stem) or stem


def _check_schema_digest(options: ModelOptions, schema: FeatureSchema) -> None:
    if options.schema_sha256 is not None and options.schema_sha256 != schema.digest:
        raise ModelError(
            f"the feature schema '{schema.name}' {schema.version} has the digest {schema.digest}, "
            f"but the model was released with {options.schema_sha256}",
            slug="SCHEMA-DIGEST",
            remedy="use the schema of the model's release, or release the model again with this one",
        )


def _check_trained_until(options: ModelOptions, day: date) -> bool:
    after = options.trained_until is not None and date.fromisoformat(options.trained_until) > day
    if after and not options.allow_trained_after:
        raise ModelError(
            f"the model {options.version} was trained on data until {options.trained_until}, "
            f"which is after the snapshot's date {day.isoformat()}",
            slug="TRAINED-AFTER",
            remedy="use a model that was trained before, or set model.allow_trained_after: true, which is recorded",
        )
    return after
