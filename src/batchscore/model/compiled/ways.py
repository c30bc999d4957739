"""The two ways to score: with the artifact itself, or with a compiled model that was made of it; and which one is taken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.errors import BatchscoreError, ModelError
from batchscore.model.compiled import CompiledFile, CompiledModel, NotUsable, read_compiled

if TYPE_CHECKING:
    from batchscore.model.options import ModelOptions
    from batchscore.model.pinned import Read
    from batchscore.schema import FeatureSchema


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A compiled model that may score, or why there is none."""

    made: Mapping[str, Any]
    """What it must be made of: `compiled.made_of`."""
    file: CompiledFile | None
    """Where it lies; None when there is none."""
    why: str
    """Why there is none; empty when there is one."""
    untried: bool = False
    """Whether nobody has tried to make one yet."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way that was taken."""

    candidate: Candidate | None
    """The compiled model that scores; None when the artifact does."""
    why: str
    """Why the artifact scores; empty when a compiled model does."""
    bit_equal_rows: int = 0
    """Rows on which the compiled model was proven."""
    untried: bool = False
    """Whether nobody has tried to make a compiled model yet."""

    def record(self) -> dict[str, Any]:
        """Return what the record of a run says of it."""
        if self.candidate is None or self.candidate.file is None:
            return {"used": False, "why": self.why}
        file = self.candidate.file
        return {"used": True, "path": file.path, "sha256": file.sha256, "bit_equal_rows": self.bit_equal_rows}


NOT_ASKED = Candidate(made={}, file=None, why="nobody offered one")


def take_way(
    options: ModelOptions,
    schema: FeatureSchema,
    candidate: Candidate,
    read: Read,
    check: Callable[[CompiledModel], None],
) -> tuple[CompiledModel | None, Way]:
    """Return the compiled model if it can be used, and the way that is taken.

    Args:
        options: The model's section of the configuration.
        schema: The feature schema.
        candidate: The compiled model that may score.
        read: Returns the bytes of a path.
        check: Looks at the golden sample; raises `ModelError` when it does not agree.

    Raises:
        ModelError: When the configuration requires a compiled model, and none can be used.
    """
    try:
        model = open_compiled(candidate, schema, read)
        check(model)
    except (NotUsable, ModelError) as reason:
        why = reason.message if isinstance(reason, ModelError) else f"the compiled model {reason}"
        if options.compiled.mode == "require":
            raise _required(options, why) from reason
        return None, Way(candidate=None, why=why, untried=candidate.untried)
    return model, Way(candidate=candidate, why="", bit_equal_rows=model.bit_equal_rows)


def open_compiled(candidate: Candidate, schema: FeatureSchema, read: Read) -> CompiledModel:
    """Read a compiled model whose digest is known.

    Raises:
        NotUsable: When there is none, it is another file, it is damaged, or was made of something else.
    """
    file = candidate.file
    if file is None:
        raise NotUsable(f"is not there: {candidate.why}")
    try:
        content = read(file.path)
    except OSError as error:
        raise NotUsable(f"'{file.path}' can not be read: {error.strerror or type(error).__name__}") from error
    except BatchscoreError as error:
        raise NotUsable(f"'{file.path}' can not be read: {error.message}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise NotUsable(f"'{file.path}' has the sha256 {found}, not {file.sha256}")
    return read_compiled(content, candidate.made, schema)


def open_surely(candidate: Candidate, schema: FeatureSchema, read: Read) -> CompiledModel:
    """Read the compiled model that the driver verified.

    Raises:
        ModelError: When it is gone, or is another file now.
    """
    try:
        return open_compiled(candidate, schema, read)
    except NotUsable as reason:
        raise ModelError(
            f"the compiled model {reason}",
            slug="COMPILED-GONE",
            remedy="run again: a compiled model that is not there is made anew, or not used",
        ) from reason


def _required(options: ModelOptions, why: str) -> ModelError:
    return ModelError(
        f"model.compiled.mode is require, but {why}",
        slug="COMPILED",
        remedy="`batchscore model compile` writes a compiled model and prints the lines that pin it; mode auto goes on"
        " without one",
        path=options.path,
    )
