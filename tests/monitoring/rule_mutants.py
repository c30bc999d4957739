"""Rules made wrong on purpose: each threshold, comparison, grouping, window and wait, one at a time."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Rule = dict[str, Any]

RULES = Path(__file__).parents[2] / "helm" / "batchscore" / "files" / "batchscore.rules.yml"
EVERY: list[Rule] = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
"""Every alert and record of the product, in order."""
COMPARISONS = {"<": ("<=", ">"), ">": (">=", "<"), ">=": (">", "<"), "<=": ("<", ">"), "==": ("!=",)}
OPERATORS = {" and ": " unless ", " unless ": " and ", " - ": " + ", " / ": " * ", " * ": " / "}
AGGREGATIONS = {"topk": "bottomk"}


@dataclass(frozen=True)
class Mutant:
    """One rule with one fault."""

    rule: str
    """The name of the alert or record."""
    what: str
    """The fault."""
    changed: Rule
    """The rule with it."""


def table() -> str:
    """Return how many mutants each rule has, as Markdown."""
    every = {name_of(rule): len(list(mutants(rule))) for rule in EVERY}
    rows = [f"| `{name}` | {count} |\n" for name, count in every.items()]
    return MUTATED.format(count=sum(every.values())) + "".join(rows)


MUTATED = """\

## Rules made wrong on purpose

Each threshold, comparison, label of a grouping, window and wait of each rule is changed, one at a time, and the promtool tests run against it.
The tests notice every one of the {count} wrong rules; `make test-monitoring` does it anew, and fails for one that is not noticed.

| Rule | Wrong ones, all noticed |
|---|---:|
"""


def name_of(rule: Mapping[str, Any]) -> str:
    """Return the name of an alert or record."""
    return str(rule.get("alert") or rule["record"])


def mutants(rule: Rule) -> Iterator[Mutant]:
    """Return every mutant of a rule."""
    expression = " ".join(rule["expr"].split())
    for what, changed in _expressions(expression):
        yield Mutant(name_of(rule), what, {**copy.deepcopy(rule), "expr": changed})
    wait = rule.get("for")
    if wait:
        yield Mutant(name_of(rule), f"for {wait} -> 0m", {**copy.deepcopy(rule), "for": "0m"})
        longer = f"{3 * int(wait.removesuffix('m'))}m"
        yield Mutant(name_of(rule), f"for {wait} -> {longer}", {**copy.deepcopy(rule), "for": longer})


def _expressions(text: str) -> Iterator[tuple[str, str]]:
    yield from _each(text, r"(?<![=!<>~])(?:<=|>=|==|<|>)(?![=~])", lambda found: COMPARISONS[found])
    yield from _each(text, r"(?<![\w.\"\[:])\d+(?:\.\d+)?(?![\w.:\"])", _other_numbers)
    yield from _each(text, r"(?<=[\[ ])\d+[hdm]\b", _other_durations)
    yield from _each(
        text, r"batchscore_(?:alert_\w+|run_timeout_seconds)", lambda found: (f"(0.5 * {found})", f"(2 * {found})")
    )
    yield from _each(text, r'\{run_type="scheduled"\}', lambda _: ("",))
    yield from _each(text, r"(?:on|by) \([^)]+\)", _fewer_labels)
    yield from _each(text, r"topk", lambda _: ("bottomk",))
    for operator, other in OPERATORS.items():
        yield from _each(text, re.escape(operator), lambda _, other=other: (other,))


def _each(text: str, pattern: str, others: Callable[[str], tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for place, match in enumerate(re.finditer(pattern, text)):
        for other in others(match.group()):
            what = f"{match.group().strip()} ({place + 1}) -> {other.strip() or 'nothing'}"
            yield what, text[: match.start()] + other + text[match.end() :]


def _other_numbers(found: str) -> tuple[str, ...]:
    return ("1", "-1") if found == "0" else (str(float(found) * 2), str(float(found) / 2))


def _other_durations(found: str) -> tuple[str, ...]:
    minutes = int(found[:-1]) * {"m": 1, "h": 60, "d": 1440}[found[-1]]
    return (f"{minutes * 2}m", f"{minutes // 2}m")


def _fewer_labels(found: str) -> tuple[str, ...]:
    head, _, inside = found.removesuffix(")").partition("(")
    labels = [label.strip() for label in inside.split(",")]
    return tuple(f"{head}({', '.join(one for one in labels if one != gone)})" for gone in labels)
