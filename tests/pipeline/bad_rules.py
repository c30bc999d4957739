"""Bad rules, segments, calibrations and lookup tables."""

from __future__ import annotations

from typing import Any

from bad_row import Bad, row
from small_world import World

DIGEST = "0" * 64


def rules(*given: dict[str, Any], **keys: Any):
    """Set rules, and other keys."""
    return lambda world: world.configure(postprocess__rules=list(given), output__passthrough=["region"], **keys)


def when(*conditions: dict[str, Any], then: dict[str, Any] | None = None, name: str = "a") -> dict[str, Any]:
    """Make a rule."""
    return {"name": name, "when": list(conditions), **({"then": then} if then else {})}


def _table(text: str, then: dict[str, Any]):
    """Write a lookup table, and a rule that pins it."""

    def spoil(world: World) -> None:
        import hashlib

        world.path("desks.csv").write_text(text)
        lookup = {"path": "desks.csv", "sha256": hashlib.sha256(text.encode()).hexdigest(), **then}
        rules(when({"column": "age", "above": 1}, then={"lookup": lookup}))(world)

    return spoil


OLD = {"column": "age", "at_least": 60}
FIRST = "postprocess.rules.0"
DESK = {"by": "region", "value": "desk", "into": "desk"}

# A table: one row a line.
# fmt: off
ROWS: tuple[Bad, ...] = (
    row(10, "E-CONFIG-RULES", "a rule on a column that is not there", f"{FIRST}.when.0.column 'agee'", "did you mean 'age'?", spoil=rules(when({"column": "agee", "above": 1}))),
    row(10, "E-CONFIG-RULES", "a rule on a column that is not carried along", f"{FIRST}.when.0.column 'region'", "no known column", spoil=lambda w: w.configure(postprocess__rules=[when({"column": "region", "equals": "north"})])),
    row(10, "E-CONFIG-RULES", "a rule that compares a number with a text", f"{FIRST}.when.0.at_least", "'age', which is int32", "text ('60')", spoil=rules(when({"column": "age", "at_least": "60"}))),
    row(10, "E-CONFIG-RULES", "a rule that compares a text with a number", f"{FIRST}.when.0.equals", "'plan', which is string", "a number (3)", spoil=rules(when({"column": "plan", "equals": 3}))),
    row(10, "E-CONFIG-RULES", "a rule that compares a passed-through text with a number", f"{FIRST}.when.0.equals", "'region', which is string", spoil=rules(when({"column": "region", "equals": 3}))),
    row(10, "E-CONFIG-RULES", "the same where all columns are passed through", f"{FIRST}.when.0.equals", "'region', which is string", spoil=lambda w: w.configure(postprocess__rules=[when({"column": "region", "equals": 3})], output__passthrough="all")),
    row(10, "E-CONFIG-RULES", "a rule that orders texts", f"{FIRST}.when.0.above", "'plan'", "no order", spoil=rules(when({"column": "plan", "above": "basic"}))),
    row(10, "E-CONFIG-RULES", "a rule that compares with NaN", f"{FIRST}.when.0.equals", "`null: true`", spoil=rules(when({"column": "amount", "equals": float("nan")}))),
    row(10, "E-CONFIG-RULES", "two rules of one name", "postprocess.rules.1.name 'a' stands twice", spoil=rules(when(OLD), when(OLD))),
    row(10, "E-CONFIG-RULES", "a rule that makes a probability of 80", f"{FIRST}.then.prediction is 80", "0..1", spoil=rules(when(OLD, then={"prediction": 80.0}))),
    row(10, "E-CONFIG-RULES", "a rule that sets a column of the snapshot", f"{FIRST}.then.set.region", "another column", spoil=rules(when(OLD, then={"set": {"region": "south"}}))),
    row(10, "E-CONFIG-RULES", "two rules that set a column to a text and a number", "postprocess.rules.1.then.set.desk is number", "text", spoil=rules(when(OLD, then={"set": {"desk": "x"}}), when(OLD, then={"set": {"desk": 1}}, name="b"))),
    row(10, "E-CONFIG-RULES", "a rule that sets a whole number of more than 64 bits", f"{FIRST}.then.set.code is 99999999999999999999", "64 bits", spoil=rules(when(OLD, then={"set": {"code": 99999999999999999999}}))),
    row(10, "E-CONFIG-RULES", "a rule that sets a column without a name", f"{FIRST}.then.set has a column without a name", spoil=rules(when(OLD, then={"set": {"": "x"}}))),
    row(10, "E-CONFIG-DUPLICATE-COLUMN", "a rule that sets the id", f"{FIRST}.then.set.customer_id", "the id", spoil=rules(when(OLD, then={"set": {"customer_id": "x"}}))),
    row(10, "E-CONFIG-DUPLICATE-COLUMN", "a flag that is named as the id", "postprocess.flag", "the id", spoil=lambda w: w.configure(postprocess__flag="customer_id")),
    row(10, "E-CONFIG-RULES", "a rule that sets a flag that is not there", f"{FIRST}.then.flag", "postprocess.threshold", spoil=rules(when(OLD, then={"flag": True}), postprocess__threshold=None)),
    row(10, "E-CONFIG-VALUE", "a rule that tests nothing", "'postprocess.rules.0.when.0'", "tests nothing", spoil=rules(when({"column": "age"}))),
    row(10, "E-CONFIG-VALUE", "a cap below the floor", "'postprocess.rules.0.then'", "at_least 0.9 above at_most 0.1", spoil=rules(when(OLD, then={"at_least": 0.9, "at_most": 0.1}))),
    row(10, "E-CONFIG-UNKNOWN-KEY", "code in a rule", "'postprocess.rules.0.when.0.expression'", spoil=rules(when({"column": "age", "expression": "__import__('os').system('touch canary.txt')"}))),
    row(10, "E-CONFIG-SEGMENTS", "segments of a column that is not there", "'postprocess.segments.column'".strip("'"), "'state'", spoil=lambda w: w.configure(postprocess__segments={"column": "state", "thresholds": {"x": 0.5}})),
    row(10, "E-CONFIG-SEGMENTS", "segments of numbers with fractions", "'amount' is float64", spoil=lambda w: w.configure(postprocess__segments={"column": "amount", "thresholds": {1: 0.5}})),
    row(10, "E-CONFIG-TABLE-MISSING", "a calibration whose table is missing", "'curve.csv'", spoil=lambda w: w.configure(calibration={"kind": "isotonic", "path": "curve.csv", "sha256": DIGEST})),
    row(10, "E-CONFIG-TABLE-DIGEST", "another calibration than the pinned one", "'curve.csv'", DIGEST, spoil=lambda w: [w.path("curve.csv").write_text("score,probability\n0,0\n1,1\n"), w.configure(calibration={"kind": "isotonic", "path": "curve.csv", "sha256": DIGEST})]),
    row(10, "E-CONFIG-TABLE-MISSING", "a lookup table that is missing", "'none.csv'", spoil=rules(when(OLD, then={"lookup": {"path": "none.csv", "sha256": DIGEST, **DESK}}))),
    row(10, "E-CONFIG-TABLE-COLUMN", "a lookup table without its column of values", "'desk'", "region, other", spoil=_table("region,other\nnorth,1\n", DESK)),
    row(10, "E-CONFIG-RULES-DATA", "a lookup table with a key that stands twice", "a key twice", spoil=_table("region,desk\nnorth,1\nnorth,2\n", DESK)),
    row(10, "E-CONFIG-RULES-DATA", "a lookup of numbers among texts", "'age', which is int32", spoil=_table("region,desk\nnorth,1\n", {**DESK, "by": "age", "key": "region"})),
)
