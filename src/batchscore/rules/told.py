"""Every rule on one row, condition by condition, for a person who asks why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchscore.rules.options import Rule
from batchscore.rules.rows import Rows


@dataclass(frozen=True, kw_only=True)
class ConditionTest:
    """One condition on one row."""

    column: str
    """The column that it looks at."""
    test: str
    """What it asks for, such as `at_least 60`."""
    value: Any
    """The row's value."""
    holds: bool
    """Whether the condition holds."""


@dataclass(frozen=True, kw_only=True)
class RuleTest:
    """One rule on one row, whatever the other rules do."""

    name: str
    """The rule."""
    holds: bool
    """Whether all its conditions hold."""
    conditions: tuple[ConditionTest, ...]
    """Its conditions, in order."""


def tell_rules(rules: Sequence[Rule], rows: Rows) -> tuple[RuleTest, ...]:
    """Return every rule with its conditions on one row.

    Args:
        rules: The rules, in order.
        rows: One row.
    """
    return tuple(_tested(rule, rows) for rule in rules)


def _tested(rule: Rule, rows: Rows) -> RuleTest:
    conditions = tuple(
        ConditionTest(
            column=condition.column,
            test=condition.words,
            value=rows.column(condition.column)[0].as_py(),
            holds=bool(rows.holds(condition)[0]),
        )
        for condition in rule.when
    )
    return RuleTest(name=rule.name, holds=all(each.holds for each in conditions), conditions=conditions)
