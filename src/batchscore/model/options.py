"""The model's section of the configuration."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from batchscore.errors import ModelError
from batchscore.strict import FROM_LIST, Section

Output = Literal["probability", "value", "class"]
"""What the scores are: a probability in 0..1, a regressor's value, or the index of a class."""

ClassLabel = str | int | float | bool
"""The label of a class, as plain Python."""


def names_latest(text: str) -> bool:
    """Whether the text names `latest`, in any spelling: case, percent signs, full-width or invisible characters.

    Examples:
        >>> names_latest("models/flights-LATEST.joblib"), names_latest("l%61test"), names_latest("flights_v1.joblib")
        (True, True, False)
    """
    plain = unicodedata.normalize("NFKC", unquote(text))
    visible = "".join(char for char in plain if unicodedata.category(char) not in ("Cf", "Mn"))
    return "latest" in visible.casefold()


def _not_latest(text: str) -> str:
    if names_latest(text):
        raise ValueError("names `latest`, which is no version; name one release")
    return text


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be a sha256: 64 lowercase hexadecimal digits")
    return text


def _iso_date(text: str) -> str:
    try:
        same = date.fromisoformat(text).isoformat() == text
    except ValueError:
        same = False
    if not same:
        raise ValueError("must be an ISO date such as 2013-01-31")
    return text


Sha256 = Annotated[str, AfterValidator(_digest)]
"""A sha256 as 64 lowercase hexadecimal digits."""


def score_names(output: Output, classes: tuple[ClassLabel, ...]) -> tuple[str, ...]:
    """Return the names of the scores: one, or one per class when there are three classes or more.

    Examples:
        >>> score_names("probability", (0, 1))
        ('prediction',)
        >>> score_names("probability", ("a", "b", "c"))
        ('prediction_a', 'prediction_b', 'prediction_c')
        >>> score_names("class", (0, 1))
        ('label',)
    """
    if output == "class":
        return ("label",)
    if output == "probability" and len(classes) > 2:  # noqa: PLR2004 - two classes need one probability
        return tuple(f"prediction_{label}" for label in classes)
    return ("prediction",)


class GoldenOptions(Section):
    """`model.golden`: a small sample with the scores that the model must give, bit for bit."""

    path: str = Field(min_length=1)
    """A parquet file with the features and the expected scores, in columns named as the scores."""
    sha256: Sha256
    """sha256 of the file."""


def _off(given: object) -> object:
    """Take YAML's `off`, which is a boolean, for the word."""
    return "off" if given is False else given


class CompiledOptions(Section):
    """`model.compiled`: whether a compiled model scores in the artifact's place; it changes no bit of the result."""

    mode: Annotated[Literal["auto", "off", "require"], BeforeValidator(_off)] = "auto"
    """`auto` uses one where there is one and makes one after the first run; `require` refuses to run without (code 11)."""
    sha256: Sha256 | None = None
    """sha256 of the compiled model beside the artifact; without it only those under the output root are used."""


class ModelOptions(Section):
    """`model`: which model scores, pinned by version and digest."""

    path: Annotated[str, AfterValidator(_not_latest)] = Field(min_length=1)
    """The artifact; its suffix names the format."""
    version: Annotated[str, AfterValidator(_not_latest)] = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """The version of the release, as text."""
    sha256: Sha256
    """sha256 of the artifact; nothing of it is loaded before the digest matches."""
    output: Output = "probability"
    """`probability` (classifiers), `value` (regressors) or `class` (the label alone)."""
    positive_class: bool | int | str | None = None
    """The class whose probability is the prediction; the last one of two by default."""
    valid_from: Annotated[str, AfterValidator(_iso_date)] | None = None
    """In a list of models: the first snapshot date that this one scores."""
    trained_until: Annotated[str, AfterValidator(_iso_date)] | None = None
    """The last date of the training data."""
    allow_trained_after: bool = False
    """Whether a snapshot from before `trained_until` may be scored; recorded when it is."""
    schema_sha256: Sha256 | None = None
    """The digest of the feature schema that the model was released with."""
    golden: GoldenOptions | None = None
    """A sample that is scored before the run and must agree in every bit."""
    compiled: CompiledOptions = CompiledOptions()
    """Whether a compiled model scores in the artifact's place."""
    trusted: Annotated[tuple[str, ...], FROM_LIST] = ()
    """For skops: the types that may be loaded beyond those that skops trusts by itself; the refusal lists them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.positive_class is not None and self.output != "probability":
            raise ValueError(f"has positive_class, which needs output: probability, not {self.output}")
        if self.allow_trained_after and self.trained_until is None:
            raise ValueError("has allow_trained_after without trained_until, so there is nothing to allow")
        if self.trusted and not self.path.lower().endswith(".skops"):
            raise ValueError("has trusted, which only a .skops file obeys")
        return self


def check_models(models: tuple[ModelOptions, ...]) -> tuple[ModelOptions, ...]:
    """Check a list of models by date: every one says from when it is valid, in ascending order.

    Raises:
        ValueError: With the fact, as pydantic's validators do.
    """
    starts = [model.valid_from for model in models]
    if None in starts:
        raise ValueError(f"lists model {starts.index(None)} without valid_from")
    for earlier, later in pairwise(starts):
        if str(earlier) >= str(later):
            raise ValueError(f"lists valid_from {later} after {earlier}; each must be later than the one before")
    return models


ModelList = Annotated[tuple[ModelOptions, ...], FROM_LIST, Field(min_length=1), AfterValidator(check_models)]
"""`model` as a list: models by date."""


def resolve_model(models: ModelOptions | Sequence[ModelOptions], day: date) -> ModelOptions:
    """Return the model that is valid on a snapshot's date: the last one whose `valid_from` is not after it.

    Raises:
        ModelError: When no model was valid yet.
    """
    listed = [models] if isinstance(models, ModelOptions) else list(models)
    valid = [model for model in listed if model.valid_from is None or model.valid_from <= day.isoformat()]
    if not valid:
        first = min(model.valid_from or "" for model in listed)
        raise ModelError(
            f"no model is valid on {day.isoformat()}: the first one is valid from {first}",
            slug="NOT-VALID-YET",
            remedy="add the model of that time to the list, or score a later date",
        )
    return max(valid, key=lambda model: model.valid_from or "")
