"""The feature schema: an artifact of its own, in the model's order, that says what a row must look like."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from batchscore.errors import ConfigError
from batchscore.strict import FROM_LIST, Section, parse_section, parse_yaml

DType = Literal[
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "string",
    "date32",
    "timestamp[us]",
]

_INTEGERS = {
    dtype: (bits, dtype.startswith("int"))
    for dtype in get_args(DType)
    if "int" in dtype
    for bits in [int(dtype.rsplit("t", 1)[-1])]
}
_TIMES = ("date32", "timestamp[us]")


class Feature(Section):
    """One column that the model takes."""

    name: str = Field(min_length=1)
    """The column's name in the snapshot and in the model."""
    dtype: DType
    """The column's type, in the words of the feature schema."""
    nullable: bool = False
    """Whether nulls are allowed."""
    finite: bool = True
    """Whether NaN and infinities are bad, in floats; a NaN is no null."""
    min: int | float | str | None = None
    """The smallest value that is allowed, in the column's type (dates as ISO text)."""
    max: int | float | str | None = None
    """The largest value that is allowed."""
    categories: Annotated[tuple[str, ...], FROM_LIST] | Annotated[tuple[int, ...], FROM_LIST] | None = None
    """The only values that are allowed; text or whole numbers."""
    allow: Annotated[tuple[DType, ...], FROM_LIST] = ()
    """Other types that are read and cast without loss to `dtype`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wider in self.allow:
            if not is_lossless(wider, self.dtype):
                raise ValueError(f"of '{self.name}' allows {wider}, which does not fit into {self.dtype} without loss")
        for bound in ("min", "max"):
            _check_bound(self.name, self.dtype, bound, getattr(self, bound))
        if self.min is not None and self.max is not None and _is_above(self.min, self.max, self.dtype):
            raise ValueError(f"of '{self.name}' has min {self.min!r} above max {self.max!r}")
        if self.categories is not None:
            self._check_categories(self.categories)
        return self

    def _check_categories(self, categories: tuple[str | int, ...]) -> None:
        wanted = str if self.dtype == "string" else int if self.dtype in _INTEGERS else None
        if wanted is None or any(type(value) is not wanted for value in categories):
            raise ValueError(f"of '{self.name}' has categories that are not values of {self.dtype}")
        beyond = [value for value in categories if isinstance(value, int) and not _fits(value, self.dtype)]
        if beyond:
            raise ValueError(f"of '{self.name}' has the category {beyond[0]}, which no {self.dtype} can be")
        if len(set(categories)) != len(categories):
            raise ValueError(f"of '{self.name}' lists a category twice")


class FeatureSchema(Section):
    """The features of a model, in the model's order."""

    name: str = Field(min_length=1)
    """The schema's name."""
    version: str = Field(min_length=1)
    """The schema's version, as text."""
    features: Annotated[tuple[Feature, ...], FROM_LIST] = Field(min_length=1)
    """The features, in the order in which the model takes them."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"features lists '{twice[0]}' twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        return tuple(feature.name for feature in self.features)

    @property
    def digest(self) -> str:
        """The sha256 of the schema's content: comments and the layout of the file do not count."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()


def read_schema(content: bytes, *, source: str) -> FeatureSchema:
    """Read a feature schema from the bytes of its file.

    Raises:
        ConfigError: When the file is not a feature schema, with every violation.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source} is not UTF-8 text", slug="ENCODING", remedy="save the file as UTF-8") from error
    content = parse_yaml(text, source=source)
    return parse_section(FeatureSchema, content, source=source, reference="config/reference.schema.yaml")


def is_lossless(given: str, wanted: str) -> bool:
    """Whether every value of type `given` is exactly a value of type `wanted`."""
    if given == wanted:
        return True
    if given in _INTEGERS and wanted in _INTEGERS:
        (bits, signed), (wider, wider_signed) = _INTEGERS[given], _INTEGERS[wanted]
        return wider > bits if signed <= wider_signed else False
    if given in _INTEGERS and wanted.startswith("float"):
        return _INTEGERS[given][0] <= {"float32": 16, "float64": 32}[wanted]
    return (given, wanted) in {("float32", "float64"), ("bool", "int8"), ("date32", "timestamp[us]")}


def read_moment(dtype: str, text: str) -> date | datetime:
    """Return the day or the time that a bound names; times hold no zone, as in the columns, and are UTC.

    Raises:
        ValueError: When the text is no ISO date or time, or one beyond the years 1 to 9999.
    """
    if dtype == "date32":
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise ValueError(f"{text!r} is beyond the years 1 to 9999 in UTC") from error


def _check_bound(name: str, dtype: str, bound: str, value: object) -> None:
    if value is None:
        return
    if dtype in _TIMES:
        _check_moment(name, dtype, bound, value)
    elif dtype in ("bool", "string"):
        raise ValueError(f"of '{name}' has {bound}, which a {dtype} column can not have")
    elif not _is_number(value, dtype):
        raise ValueError(f"of '{name}' has {bound} {value!r}, which is not a value of {dtype}")
    elif isinstance(value, int) and dtype in _INTEGERS and not _leaves_some(bound, value, dtype):
        raise ValueError(f"of '{name}' has {bound} {value}, which no {dtype} can keep")


def _check_moment(name: str, dtype: str, bound: str, value: object) -> None:
    try:
        read_moment(dtype, value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"of '{name}' has {bound} {value!r}, which is no ISO {dtype}") from None


def _is_number(value: object, dtype: str) -> bool:
    """Whether a bound is a number to compare a column with: NaN is none, since nothing is below or above it."""
    if isinstance(value, int):
        return dtype in _INTEGERS or abs(value) <= sys.float_info.max
    return isinstance(value, float) and dtype not in _INTEGERS and not math.isnan(value)


def _leaves_some(bound: str, value: int, dtype: str) -> bool:
    least, greatest = _range(dtype)
    return value <= greatest if bound == "min" else value >= least


def _fits(value: int, dtype: str) -> bool:
    least, greatest = _range(dtype)
    return least <= value <= greatest


def _range(dtype: str) -> tuple[int, int]:
    """Return the least and the greatest value of a type of whole numbers."""
    bits, signed = _INTEGERS[dtype]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _is_above(low: float | str, high: float | str, dtype: str) -> bool:
    if isinstance(low, str) or isinstance(high, str):
        return read_moment(dtype, str(low)) > read_moment(dtype, str(high))
    return low > high
