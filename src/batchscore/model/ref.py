"""The reference to a verified model: what travels to workers, and what the record of a run says of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batchscore.model.compiled.ways import Way
from batchscore.model.options import ClassLabel, ModelOptions, Output, score_names


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A verified model: all that a worker needs to load it, and all that the record says of it."""

    name: str
    """The file's name without version and suffix."""
    version: str
    """The version, as configured."""
    path: str
    """The path, as configured."""
    sha256: str
    """sha256 of the file's bytes."""
    size: int
    """Bytes of the file."""
    format: str
    """The format: joblib, skops or onnx."""
    output: Output
    """What the scores are."""
    classes: tuple[ClassLabel, ...]
    """The labels of the classes, in the model's order; empty for a regressor."""
    positive: int | None
    """The index of the class whose probability is the prediction; None when there is no such class."""
    trained_until: str | None
    """The last date of the training data, as configured."""
    trained_after: bool
    """Whether the model saw data from after the snapshot's date, by permission."""
    golden: Mapping[str, Any] | None
    """How the golden sample agreed: digest, rows, and which way; None without one."""
    way: Way
    """Whether a compiled model scores, and why not."""
    options: ModelOptions = field(repr=False)
    """The options that `load` obeys."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the model says of itself: library versions, estimator tree, number of features."""
    own: bool = False
    """Whether the estimator's own code does everything, though something faster gives the same bits."""

    def as_released(self) -> ModelRef:
        """Return the reference by which workers load the artifact and let its own code alone score."""
        return replace(self, own=True, way=Way(candidate=None, why="the artifact itself is asked for"))

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the columns of the score matrix."""
        return score_names(self.output, self.classes)

    @property
    def libraries(self) -> dict[str, str]:
        """The versions of the libraries that the model comes from, as it names them."""
        named = (text.rpartition(" ") for text in self.facts["library"].split(", ") if text)
        return {name: version for name, _, version in named}

    def record(self) -> dict[str, Any]:
        """Return the model's entry in the record of a run."""
        names = ("name", "version", "path", "sha256", "size", "format", "output", "trained_until", "trained_after")
        positive = None if self.positive is None else self.classes[self.positive]
        return {
            **{name: getattr(self, name) for name in names},
            "classes": list(self.classes),
            "positive_class": positive,
            "golden": None if self.golden is None else dict(self.golden),
            "compiled": self.way.record(),
            **self.facts,
        }
