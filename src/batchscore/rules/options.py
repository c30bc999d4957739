"""What a rule may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from batchscore.rules.tables import Sha256
from batchscore.strict import FROM_LIST, Section

Value = bool | int | float | str
"""A constant of a rule; dates and times are ISO text."""

COMPARISONS = ("equals", "differs", "above", "at_least", "below", "at_most")
"""The keys that compare with one value."""
SETS = ("one_of", "none_of")
"""The keys that compare with a list of values."""


class Condition(Section):
    """A test of one column; all keys that are given must hold."""

    column: str = Field(min_length=1)
    """A feature, a passthrough column, `prediction`, `raw_prediction` or `label`."""
    equals: Value | None = None
    """The value itself."""
    differs: Value | None = None
    """Any other value; not a null."""
    above: Value | None = None
    """More than this."""
    at_least: Value | None = None
    """This or more."""
    below: Value | None = None
    """Less than this."""
    at_most: Value | None = None
    """This or less."""
    one_of: Annotated[tuple[Value, ...], FROM_LIST] | None = Field(default=None, min_length=1)
    """Any of these values."""
    none_of: Annotated[tuple[Value, ...], FROM_LIST] | None = Field(default=None, min_length=1)
    """None of these values; not a null."""
    null: bool | None = None
    """`true`: null or NaN; `false`: any value."""

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if not any(getattr(self, key) is not None for key in (*COMPARISONS, *SETS, "null")):
            raise ValueError(f"tests nothing of '{self.column}'; give one of {', '.join((*COMPARISONS, *SETS))}, null")
        return self

    @property
    def words(self) -> str:
        """What the condition asks for, in its own keys."""
        keys = (*COMPARISONS, *SETS, "null")
        given = {key: value for key in keys if (value := getattr(self, key)) is not None}
        return ", ".join(
            f"{key} {', '.join(map(str, value)) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else value}"
            for key, value in given.items()
        )

    def tests(self) -> Iterator[tuple[str, Value]]:
        """Yield (key, value) of every value that the column is compared with."""
        for key in COMPARISONS:
            if (value := getattr(self, key)) is not None:
                yield key, value
        for key in SETS:
            for value in getattr(self, key) or ():
                yield key, value


class Lookup(Section):
    """A value out of a small versioned table."""

    path: str = Field(min_length=1)
    """A CSV or parquet file."""
    sha256: Sha256
    """sha256 of the file."""
    by: str = Field(min_length=1)
    """The column of the row that is looked up, and of the table's keys unless `key` says otherwise."""
    key: str | None = None
    """The table's column of keys, when it has another name."""
    value: str = Field(min_length=1)
    """The table's column of values."""
    into: str = Field(min_length=1)
    """The column that gets the value: a new one, or `prediction`; a key that is not there changes nothing."""


class Then(Section):
    """What follows when a rule holds."""

    prediction: float | None = Field(default=None, allow_inf_nan=False)
    """The prediction becomes this."""
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    """The prediction is capped at this."""
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    """The prediction is raised to this."""
    flag: bool | None = None
    """The flag becomes this, whatever the threshold says."""
    set: dict[str, Value] = Field(default_factory=dict)
    """New columns and their values; null where no rule set one."""
    lookup: Lookup | None = None
    """A value out of a table."""

    @model_validator(mode="after")
    def _follows_something(self) -> Self:
        if self.prediction is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("has both prediction and a limit of it; write the number that comes out")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"has at_least {self.at_least} above at_most {self.at_most}")
        return self

    @property
    def moves_prediction(self) -> bool:
        """Whether the prediction may become another one."""
        numbers = (self.prediction, self.at_most, self.at_least)
        return any(number is not None for number in numbers) or (
            self.lookup is not None and self.lookup.into == "prediction"
        )


class Rule(Section):
    """One business rule."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """The rule's name, as it stands in the `rule` column."""
    when: Annotated[tuple[Condition, ...], FROM_LIST] = Field(min_length=1)
    """The conditions; all must hold."""
    then: Then = Then()
    """What follows; a rule without it only marks its rows."""
