"""Business rules as declared data: conditions over columns and scores, and what follows from them. Pure.

A rule's conditions must all hold; a null (and a NaN) fulfils none of them but `null: true`. Rules look at the values
as they are before any rule, in order: with `match: first` the first one that holds decides a row, with `match: all`
each one that holds acts, and a later one acts upon what an earlier one did. There is no code in strings.
"""

from __future__ import annotations

from batchscore.rules.apply import CompiledRules, Outcome, compile_rules
from batchscore.rules.check import check_rules, family, value_problem
from batchscore.rules.options import Condition, Lookup, Rule, Then, Value
from batchscore.rules.rows import Rows
from batchscore.rules.tables import Sha256, read_table
from batchscore.rules.told import ConditionTest, RuleTest, tell_rules

__all__ = [
    "CompiledRules",
    "Condition",
    "ConditionTest",
    "Lookup",
    "Outcome",
    "Rows",
    "Rule",
    "RuleTest",
    "Sha256",
    "Then",
    "Value",
    "check_rules",
    "compile_rules",
    "family",
    "read_table",
    "tell_rules",
    "value_problem",
]
