"""Rules against the columns there are: what can be known when the configuration is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Literal

from batchscore.errors import ConfigError
from batchscore.rules.options import Condition, Rule, Value

Family = Literal["number", "text", "boolean", "date", "time"]

_FAMILIES: Mapping[str, Family] = {"string": "text", "bool": "boolean", "date32": "date", "timestamp[us]": "time"}
_ORDERED = ("above", "at_least", "below", "at_most")
_INT64 = (-(2**63), 2**63 - 1)
_MAX_RULES = 62
"""With `match: all` the rules that held are the bits of one int64 per row."""


def family(dtype: str) -> Family:
    """Return what kind of values a type of the feature schema has."""
    return _FAMILIES.get(dtype, "number")


def check_rules(
    rules: Sequence[Rule],
    types: Mapping[str, str | None],
    *,
    reserved: Sequence[str],
    probability: bool,
    has_flag: bool,
    key: str = "postprocess.rules",
) -> None:
    """Check every rule against the columns that it looks at.

    Args:
        rules: The rules, in order.
        types: Every column that rules may look at, with its type in the words of the feature schema; None where the
            type is not known yet, as of passthrough columns before a snapshot is listed.
        reserved: Names that no new column may have.
        probability: Whether the prediction is a probability.
        has_flag: Whether there is a flag.
        key: The path of the rules in the configuration.

    Raises:
        ConfigError: With every mistake, each by its key's path.
    """
    problems = list(_problems(rules, types, reserved, probability=probability, has_flag=has_flag, key=key))
    if problems:
        raise ConfigError(
            "; ".join(problems),
            slug="RULES",
            remedy="mend the rules; columns are features, passthrough columns, prediction, raw_prediction and label",
            keys=[problem.split(" ", 1)[0] for problem in problems],
        )


def _problems(
    rules: Sequence[Rule],
    types: Mapping[str, str | None],
    reserved: Sequence[str],
    *,
    probability: bool,
    has_flag: bool,
    key: str,
) -> Iterator[str]:
    if len(rules) > _MAX_RULES:
        yield f"{key} has {len(rules)} rules; at most {_MAX_RULES} are taken"
    kinds: dict[str, Family] = {}
    seen: set[str] = set()
    for at, rule in enumerate(rules):
        path = f"{key}.{at}"
        if rule.name in seen:
            yield f"{path}.name '{rule.name}' stands twice"
        seen.add(rule.name)
        for number, condition in enumerate(rule.when):
            yield from _condition_problems(condition, types, f"{path}.when.{number}")
        yield from _then_problems(rule, types, reserved, kinds, f"{path}.then")
        yield from _number_problems(rule, f"{path}.then", probability=probability)
        if rule.then.flag is not None and not has_flag:
            yield f"{path}.then.flag needs postprocess.threshold, without which there is no flag"


def _condition_problems(condition: Condition, types: Mapping[str, str | None], path: str) -> Iterator[str]:
    if condition.column not in types:
        if condition.column == "label":
            yield f"{path}.column 'label' is no known column: this model gives a prediction and no label"
        else:
            yield f"{path}.column '{condition.column}' is no known column{_nearest(condition.column, types)}"
        return
    dtype = types[condition.column]
    if dtype is None:
        return
    kind = family(dtype)
    for test, value in condition.tests():
        if test in _ORDERED and kind in ("text", "boolean"):
            yield f"{path}.{test} orders the column '{condition.column}', which is {dtype} and has no order"
        elif (fact := value_problem(value, kind)) is not None:
            yield f"{path}.{test} compares the column '{condition.column}', which is {dtype}, with {fact}"


def value_problem(value: Value, kind: Family) -> str | None:
    """Return what is wrong with a constant for a column of that kind; None when it fits."""
    given = "a boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "a number"
    wanted = {"number": "a number", "boolean": "a boolean"}.get(kind, "text")
    if given != wanted:
        return f"{given} ({value!r})"
    if kind in ("date", "time"):
        read = date.fromisoformat if kind == "date" else datetime.fromisoformat
        try:
            parsed = read(str(value))
        except ValueError:
            return f"{value!r}, which is no ISO {kind}"
        if isinstance(parsed, datetime) and parsed.tzinfo is not None:
            return f"{value!r}, which has a time zone, and the column has none"
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN, which equals nothing; use `null: true`"
    return None


def _then_problems(
    rule: Rule, types: Mapping[str, str | None], reserved: Sequence[str], kinds: dict[str, Family], path: str
) -> Iterator[str]:
    for name, value in rule.then.set.items():
        kind: Family = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        if kinds.setdefault(name, kind) != kind:
            yield f"{path}.set.{name} is {kind}, but another rule sets it to {kinds[name]}"
        if not name:
            yield f"{path}.set has a column without a name"
        if name in reserved or name in types:
            yield f"{path}.set.{name} is the name of another column"
        if kind == "number" and not isinstance(value, float) and not _INT64[0] <= int(value) <= _INT64[1]:
            yield f"{path}.set.{name} is {value}, which no whole number of 64 bits is"
    lookup = rule.then.lookup
    if lookup is None:
        return
    if lookup.by not in types:
        yield f"{path}.lookup.by '{lookup.by}' is no known column{_nearest(lookup.by, types)}"
    if lookup.into != "prediction" and (lookup.into in reserved or lookup.into in types):
        yield f"{path}.lookup.into '{lookup.into}' is the name of another column"


def _number_problems(rule: Rule, path: str, *, probability: bool) -> Iterator[str]:
    for name in ("prediction", "at_most", "at_least"):
        number = getattr(rule.then, name)
        if probability and number is not None and not 0 <= number <= 1:
            yield f"{path}.{name} is {number}, but a probability lies in 0..1"


def _nearest(name: str, types: Mapping[str, str | None]) -> str:
    near = difflib.get_close_matches(name, list(types), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
