import hashlib
import io
import math
import time
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verified import Model

from batchscore.errors import ConfigError
from batchscore.postprocess import PostprocessOptions, build, check_options, columns_used
from batchscore.strict import parse_section

TYPES = {
    "carrier": "string",
    "origin": "string",
    "delay": "int32",
    "amount": "float64",
    "vip": "bool",
    "day": "date32",
    "at": "timestamp[us]",
    "note": None,
}


def rows():
    """Return five rows of every type, with nulls."""
    return pa.table(
        {
            "carrier": ["AA", "B6", None, "UA", "AA"],
            "origin": ["JFK", "LGA", "EWR", "JFK", "LGA"],
            "delay": pa.array([5, None, 90, -3, 15], pa.int32()),
            "amount": pa.array([1.5, float("nan"), None, 0.0, -2.0]),
            "vip": [True, False, None, True, False],
            "day": [date(2013, 1, 1), date(2013, 2, 8), None, date(2013, 3, 1), date(2013, 2, 8)],
            "at": pa.array(["2013-02-08T06:00", None, "2013-02-08T18:00", None, None]).cast(pa.timestamp("us")),
            "note": ["a", "b", "c", "d", "e"],
        }
    )


SCORES = np.array([[0.1], [0.3], [0.5], [0.7], [0.9]])


def options(*rules, **keys):
    """Read a section with rules."""
    return parse_section(PostprocessOptions, {"threshold": 0.6, "rules": list(rules)} | keys, source="run.yaml")


def no_file(path):
    """There are no files."""
    raise FileNotFoundError(path)


def decide(given, *, table=None, model=None, read=no_file, scores=SCORES):
    """Decide the five rows."""
    table = rows() if table is None else table
    decider = build(given, None, model or Model(), TYPES, read=read)
    return decider.decide(scores, table.select(list(columns_used(given))))


def where(condition, **keys):
    """Return the rows in which one condition holds."""
    made = decide(options({"name": "one", "when": [condition]}, **keys))
    return [at for at, name in enumerate(made.columns["rule"].to_pylist()) if name == "one"]


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ({"column": "carrier", "equals": "AA"}, [0, 4]),
        ({"column": "carrier", "differs": "AA"}, [1, 3]),
        ({"column": "carrier", "one_of": ["AA", "UA", "ZZ"]}, [0, 3, 4]),
        ({"column": "carrier", "none_of": ["AA", "UA"]}, [1]),
        ({"column": "carrier", "null": True}, [2]),
        ({"column": "carrier", "null": False}, [0, 1, 3, 4]),
        ({"column": "origin", "null": True}, []),
        ({"column": "origin", "equals": "JFK"}, [0, 3]),
        ({"column": "delay", "above": 5}, [2, 4]),
        ({"column": "delay", "at_least": 5}, [0, 2, 4]),
        ({"column": "delay", "below": 5}, [3]),
        ({"column": "delay", "at_most": 5.5}, [0, 3]),
        ({"column": "delay", "at_least": 0, "below": 20}, [0, 4]),
        ({"column": "delay", "one_of": [5, 90]}, [0, 2]),
        ({"column": "delay", "none_of": [5, 90]}, [3, 4]),
        ({"column": "delay", "differs": 5}, [2, 3, 4]),
        ({"column": "amount", "null": True}, [1, 2]),
        ({"column": "amount", "differs": 0}, [0, 4]),
        ({"column": "amount", "none_of": [0.0]}, [0, 4]),
        ({"column": "amount", "at_most": 0}, [3, 4]),
        ({"column": "vip", "equals": True}, [0, 3]),
        ({"column": "vip", "equals": False}, [1, 4]),
        ({"column": "vip", "differs": True}, [1, 4]),
        ({"column": "day", "equals": "2013-02-08"}, [1, 4]),
        ({"column": "day", "above": "2013-02-08"}, [3]),
        ({"column": "day", "one_of": ["2013-01-01", "2013-03-01"]}, [0, 3]),
        ({"column": "at", "below": "2013-02-08T12:00:00"}, [0]),
        ({"column": "at", "at_least": "2013-02-08T18:00"}, [2]),
        ({"column": "prediction", "at_least": 0.5}, [2, 3, 4]),
        ({"column": "raw_prediction", "below": 0.2}, [0]),
    ],
)
def test_conditions(condition, held):
    """Comparisons, ranges, sets and null tests; a null or NaN fulfils nothing but `null: true`."""
    assert where(condition) == held


@pytest.mark.parametrize("kind", ["dictionary", "large", "view", "chunks"])
def test_texts_are_texts_however_they_are_encoded(kind):
    """The same rows hold for every encoding and chunking."""
    plain = rows()
    carrier = plain["carrier"]
    made = {
        "dictionary": lambda: pa.chunked_array(
            [carrier.slice(0, 2).dictionary_encode().chunk(0), carrier.slice(2).dictionary_encode().chunk(0)]
        ),
        "large": lambda: carrier.cast(pa.large_string()),
        "view": lambda: carrier.cast(pa.string_view()),
        "chunks": lambda: pa.chunked_array([carrier.slice(0, 2).chunk(0), carrier.slice(2).chunk(0)]),
    }[kind]()
    table = plain.set_column(0, "carrier", made)
    section = options(
        {"name": "aa", "when": [{"column": "carrier", "one_of": ["AA", "ZZ"]}]},
        {"name": "not-b6", "when": [{"column": "carrier", "differs": "B6"}]},
    )

    assert decide(section, table=table).columns["rule"].to_pylist() == ["aa", None, None, "not-b6", "aa"]


HUB = {"name": "hub", "when": [{"column": "origin", "equals": "JFK"}]}
LATE = {"name": "late", "when": [{"column": "prediction", "at_least": 0.5}]}


def test_the_first_rule_that_holds_decides():
    """In order; later ones see the row as decided."""
    made = decide(options({**HUB, "then": {"prediction": 0.0}}, {**LATE, "then": {"set": {"action": "call"}}}))

    assert {name: values.to_pylist() for name, values in made.columns.items()} == {
        "raw_prediction": [0.1, 0.3, 0.5, 0.7, 0.9],
        "prediction": [0.0, 0.3, 0.5, 0.0, 0.9],
        "risk_flag": [False, False, False, False, True],
        "rule": ["hub", None, "late", "hub", "late"],
        "action": [None, None, "call", None, "call"],
    }
    assert made.counts == {"rule:hub": 2, "rule:late": 2}
    assert made.flagged_rows == 1


def test_every_rule_that_holds_acts():
    """Conditions see the values before any rule; effects add up in order."""
    made = decide(
        options(
            {**HUB, "then": {"at_most": 0.4, "set": {"action": "wait", "weight": 1}}},
            {**LATE, "then": {"at_least": 0.6, "set": {"action": "call", "weight": 0.5}}},
            match="all",
        )
    )

    assert made.columns["rule"].to_pylist() == ["hub", None, "late", "hub;late", "late"]
    assert made.columns["prediction"].to_pylist() == [0.1, 0.3, 0.6, 0.6, 0.9]
    assert made.columns["action"].to_pylist() == ["wait", None, "call", "call", "call"]
    assert made.columns["weight"].to_pylist() == [1.0, None, 0.5, 0.5, 0.5]
    assert made.counts == {"rule:hub": 2, "rule:late": 3}


def test_a_rule_may_set_the_flag():
    """Whatever the threshold says; rows that no rule decides keep their own."""
    made = decide(
        options(
            {**HUB, "then": {"flag": False}},
            {"name": "b6", "when": [{"column": "carrier", "equals": "B6"}], "then": {"flag": True}},
        )
    )

    assert made.columns["risk_flag"].to_pylist() == [False, True, False, False, True]
    assert "raw_prediction" not in made.columns


def test_rules_see_labels():
    """Of three classes or more, and of a model that gives labels alone."""
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [1.0, 0, 0], [0, 0, 1.0]])
    model = Model(classes=("a", "b", "c"), positive=None)
    section = options({"name": "c", "when": [{"column": "label", "equals": "c"}]})
    of_scores = decide(section, scores=scores, model=model)
    of_labels = decide(
        options({"name": "c", "when": [{"column": "label", "equals": "c"}]}, threshold=None),
        scores=np.array([[2.0], [0], [1], [2], [0]]),
        model=Model(output="class", classes=("a", "b", "c"), positive=None),
    )

    assert of_scores.columns["rule"].to_pylist() == [None, None, "c", None, "c"]
    assert of_labels.columns["rule"].to_pylist() == ["c", None, None, "c", None]
    assert list(of_labels.columns) == ["label", "rule"]
    with pytest.raises(ConfigError, match="compares the column 'label', which is int64, with text"):
        decide(section, scores=scores, model=Model(classes=(1, 2, 3), positive=None))
    with pytest.raises(ConfigError, match="'label' is no known column"):
        decide(section)


def test_no_rows_make_the_same_columns():
    """A partition without rows has the columns and types of every other one."""
    section = options(
        {**HUB, "then": {"prediction": 0.0, "flag": True, "set": {"action": "call", "n": 1}}}, LATE, review_band=0.1
    )
    for match in ("first", "all"):
        section = section.model_copy(update={"match": match})
        full, none = decide(section), decide(section, table=rows().slice(0, 0), scores=SCORES[:0])

        assert {name: values.type for name, values in none.columns.items()} == {
            name: values.type for name, values in full.columns.items()
        }
        assert set(none.counts.values()) == {0}


def test_a_row_does_not_depend_on_its_neighbours():
    """Cut in pieces, the same columns come out."""
    section = options({**HUB, "then": {"set": {"action": "call"}}}, LATE, match="all")
    whole = decide(section)
    pieces = [decide(section, table=rows().slice(at, 1), scores=SCORES[at : at + 1]) for at in range(5)]

    for name, values in whole.columns.items():
        assert values.to_pylist() == [piece.columns[name].to_pylist()[0] for piece in pieces]


# --- lookups ---------------------------------------------------------------------------------------------------------


def stored(content, path="rates.csv", **lookup):
    """Return a rule that looks up, and what reads its table."""
    content = content.encode() if isinstance(content, str) else content
    table = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "by": "carrier", "value": "rate"} | lookup
    rule = {"name": "rated", "when": [{"column": "prediction", "at_least": 0.0}], "then": {"lookup": table}}
    return options(rule), lambda _: content


@pytest.mark.parametrize("encoded", [False, True])
def test_a_lookup_sets_a_column_or_the_prediction(encoded):
    """A key that is not in the table, and a null, change nothing."""
    text = "carrier,rate,tier\nAA,0.25,gold\nUA,0.75,silver\n"
    table = rows()
    table = table.set_column(0, "carrier", table["carrier"].dictionary_encode()) if encoded else table
    section, read = stored(text, into="prediction")
    moved = decide(section, read=read, table=table)
    section, read = stored(text, into="tier", value="tier")
    set_ = decide(section, read=read, table=table)

    assert moved.columns["prediction"].to_pylist() == [0.25, 0.3, 0.5, 0.75, 0.25]
    assert moved.columns["raw_prediction"].to_pylist() == SCORES[:, 0].tolist()
    assert set_.columns["tier"].to_pylist() == ["gold", None, None, "silver", "gold"]


def test_keys_may_be_numbers_or_texts_that_look_like_numbers():
    """The column's type in the schema decides how a CSV is read; parquet has its own types."""
    section, read = stored("minutes,rate\n5,0.5\n90,1\n", by="delay", key="minutes", into="prediction")
    assert decide(section, read=read).columns["prediction"].to_pylist() == [0.5, 0.3, 1.0, 0.7, 0.9]
    section, read = stored("carrier,rate\n007,0.5\n9,1\n", into="prediction")
    table = rows().set_column(0, "carrier", pa.array(["007", "7", "9", "09", None]))
    assert decide(section, read=read, table=table).columns["prediction"].to_pylist() == [0.5, 0.3, 1.0, 0.7, 0.9]
    sink = io.BytesIO()
    pq.write_table(pa.table({"carrier": pa.array(["AA"]).dictionary_encode(), "rate": pa.array([1], pa.int8())}), sink)
    section, read = stored(sink.getvalue(), path="rates.parquet", into="grade")

    assert decide(section, read=read).columns["grade"].to_pylist() == [1, None, None, None, 1]


@pytest.mark.parametrize(
    ("by", "asked", "keys", "found"),
    [
        ("amount", pa.array([5.0, 5.5, None, float("nan"), -20.0]), [5, -20], [1, None, None, None, 2]),
        ("amount", pa.array([5.0, 5.5, None, float("inf"), -0.0], pa.float32()), [5, 0], [1, None, None, None, 2]),
        ("delay", pa.array([5, 2**64 - 5, None, 2**63, 7], pa.uint64()), [5, -5], [1, None, None, None, None]),
        ("delay", pa.array([5, -5, None, 127, 7], pa.int8()), [5, 2**62], [1, None, None, None, None]),
    ],
    ids=["float64", "float32", "uint64", "int8"],
)
def test_numbers_of_any_type_are_looked_up(by, asked, keys, found):
    """What has no equal among the whole keys, and a null or NaN, changes nothing."""
    text = f"key,rate\n{keys[0]},1\n{keys[1]},2\n"
    section, read = stored(text, by=by, key="key", into="grade")
    table = rows().set_column(rows().column_names.index(by), by, asked)

    assert decide(section, read=read, table=table).columns["grade"].to_pylist() == found


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us")])
def test_times_of_any_unit_are_looked_up(kind):
    """Keys in seconds find rows in microseconds."""
    at = pa.array(["2013-02-08T06:00"]).cast(kind)
    sink = io.BytesIO()
    pq.write_table(pa.table({"at": at, "rate": [1]}), sink, store_schema=True)
    section, read = stored(sink.getvalue(), path="rates.parquet", by="at", into="grade")

    assert decide(section, read=read).columns["grade"].to_pylist() == [1, None, None, None, None]


def test_values_that_fit_nowhere_are_refused():
    """A whole number above what 64 bits with a sign hold, as key or value: code 10 before anything is scored."""
    for name in ("carrier", "rate"):
        content = {"carrier": ["AA"], "rate": [1]} | {name: pa.array([2**63], pa.uint64())}
        sink = io.BytesIO()
        pq.write_table(pa.table(content), sink)
        section, read = stored(sink.getvalue(), path="rates.parquet", into="grade")
        with pytest.raises(ConfigError, match="too large or too fine") as caught:
            decide(section, read=read)

        assert caught.value.id == "E-CONFIG-TABLE-VALUE"


@pytest.mark.parametrize(
    ("text", "keys", "fact"),
    [
        ("carrier,rate\nAA,0.5\nAA,0.6\n", {"into": "prediction"}, "has a key twice in the column 'carrier'"),
        (
            "carrier,rate\nAA,gold\n",
            {"into": "prediction"},
            "gives predictions out of the column 'rate', which is string",
        ),
        ("carrier,rate\nAA,1.5\n", {"into": "prediction"}, "that lie outside their range"),
        ("carrier,rate\nAA,\n", {"into": "grade"}, "has a null in the column 'rate'"),
        ("carrier,price\nAA,1\n", {"into": "grade"}, "has no single column 'rate' (its columns are carrier, price)"),
        ("carrier,rate\n", {"into": "grade"}, "has 0 rows"),
        (
            "delay,rate\nlong,1\n",
            {"by": "delay", "into": "grade"},
            "which is int32, among keys of 'delay', which are string",
        ),
        ("delay,rate\n1.5,1\n", {"by": "delay", "into": "grade"}, "has keys with fractions"),
        ("carrier,rate\nAA,1\n", {"into": "grade", "sha256": "0" * 64}, "but the configuration pins"),
        ("carrier,rate\nAA,1\n", {"into": "grade", "path": "rates.txt"}, "is neither .csv nor .parquet"),
    ],
)
def test_mistakes_of_tables_are_named(text, keys, fact):
    """Each is code 10 with the path of the rule's key."""
    section, read = stored(text, **keys)
    with pytest.raises(ConfigError) as caught:
        decide(section, read=read)

    assert fact in caught.value.message
    assert caught.value.message.startswith("postprocess.rules.0.then.lookup")


# --- mistakes --------------------------------------------------------------------------------------------------------


def rule(condition=None, **keys):
    """Return a rule that is right but for what is given."""
    return {"name": "r", "when": [condition or {"column": "vip", "equals": True}]} | keys


@pytest.mark.parametrize(
    ("rules", "fact"),
    [
        (
            [rule({"column": "carier", "equals": "AA"})],
            "postprocess.rules.0.when.0.column 'carier' is no known column; did you mean 'carrier'?",
        ),
        ([rule({"column": "score", "above": 0.5})], "postprocess.rules.0.when.0.column 'score' is no known column"),
        (
            [rule({"column": "delay", "equals": "5"})],
            "postprocess.rules.0.when.0.equals compares the column 'delay', which is int32, with text ('5')",
        ),
        (
            [rule({"column": "carrier", "equals": 9})],
            "compares the column 'carrier', which is string, with a number (9)",
        ),
        ([rule({"column": "carrier", "one_of": ["AA", 9]})], "when.0.one_of compares the column 'carrier'"),
        ([rule({"column": "carrier", "equals": True})], "with a boolean (True)"),
        ([rule({"column": "vip", "equals": 1})], "compares the column 'vip', which is bool, with a number (1)"),
        (
            [rule({"column": "vip", "above": False})],
            "when.0.above orders the column 'vip', which is bool and has no order",
        ),
        (
            [rule({"column": "carrier", "at_least": "B"})],
            "orders the column 'carrier', which is string and has no order",
        ),
        ([rule({"column": "day", "above": "8.2.2013"})], "'8.2.2013', which is no ISO date"),
        ([rule({"column": "day", "above": 2013})], "compares the column 'day', which is date32, with a number (2013)"),
        ([rule({"column": "at", "above": "noon"})], "'noon', which is no ISO time"),
        ([rule({"column": "at", "above": "2013-02-08T12:00:00+01:00"})], "which has a time zone"),
        ([rule({"column": "amount", "equals": float("nan")})], "NaN, which equals nothing; use `null: true`"),
        (
            [rule({"column": "prediction", "equals": "high"})],
            "compares the column 'prediction', which is float64, with text",
        ),
        ([rule(), rule()], "postprocess.rules.1.name 'r' stands twice"),
        (
            [rule(then={"prediction": 1.5})],
            "postprocess.rules.0.then.prediction is 1.5, but a probability lies in 0..1",
        ),
        ([rule(then={"at_most": 70})], "then.at_most is 70.0, but a probability"),
        ([rule(then={"set": {"prediction": 1}})], "then.set.prediction is the name of another column"),
        ([rule(then={"set": {"risk_flag": True}})], "then.set.risk_flag is the name of another column"),
        ([rule(then={"set": {"carrier": "AA"}})], "then.set.carrier is the name of another column"),
        (
            [rule(then={"set": {"tier": 1}}), rule(name="s", then={"set": {"tier": "b"}})],
            "postprocess.rules.1.then.set.tier is text, but another rule sets it to number",
        ),
        (
            [rule(then={"lookup": {"path": "t.csv", "sha256": "a" * 64, "by": "carier", "value": "v", "into": "x"}})],
            "then.lookup.by 'carier' is no known column; did you mean 'carrier'?",
        ),
        (
            [
                rule(
                    then={
                        "lookup": {"path": "t.csv", "sha256": "a" * 64, "by": "carrier", "value": "v", "into": "delay"}
                    }
                )
            ],
            "then.lookup.into 'delay' is the name of another column",
        ),
        ([rule(name=f"r{at}") for at in range(63)], "has 63 rules; at most 62"),
    ],
)
def test_mistakes_of_rules_are_named_when_the_configuration_is_loaded(rules, fact):
    """Against the schema's types, each with its key's path and code 10."""
    with pytest.raises(ConfigError) as caught:
        check_options(options(*rules), None, "probability", TYPES)

    assert fact in caught.value.message
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("rules", "fact"),
    [
        ([{"name": "r"}], "'rules.0.when' is missing"),
        ([{"name": "r", "when": []}], "the key 'rules.0.when'"),
        ([{"name": "Big Rule", "when": [{"column": "x", "null": True}]}], "the key 'rules.0.name'"),
        ([rule({"column": "x"})], "tests nothing of 'x'"),
        ([rule({"column": "x", "one_of": []})], "the key 'rules.0.when.0.one_of'"),
        ([rule({"column": "x", "equal": 1})], "unknown key 'rules.0.when.0.equal'; did you mean"),
        ([rule(then={"code": "x > 1"})], "unknown key 'rules.0.then.code'"),
        ([rule(then={"at_most": 0.1, "at_least": 0.2})], "has at_least 0.2 above at_most 0.1"),
        ([rule(then={"prediction": float("inf")})], "the key 'rules.0.then.prediction'"),
        ([rule(then={"set": {"x": [1]}})], "the key 'rules.0.then.set.x"),
        ("x > 1", "the key 'rules'"),
    ],
)
def test_mistakes_in_the_form_of_rules_are_named(rules, fact):
    """What no schema is needed for."""
    with pytest.raises(ConfigError) as caught:
        parse_section(PostprocessOptions, {"rules": rules}, source="run.yaml")

    assert fact in caught.value.message


def test_a_flag_needs_a_threshold_and_a_prediction_needs_a_score():
    """A rule can not set what is not there."""
    with pytest.raises(ConfigError, match=r"then\.flag needs postprocess\.threshold"):
        check_options(options(rule(then={"flag": True}), threshold=None), None, "probability", TYPES)
    with pytest.raises(ConfigError, match=r"move a prediction, but model\.output is class"):
        check_options(options(rule(then={"prediction": 0.5}), threshold=None), None, "class", TYPES)


def test_all_mistakes_are_listed():
    """Not only the first."""
    with pytest.raises(ConfigError) as caught:
        check_options(
            options(rule({"column": "a", "null": True}), rule({"column": "b", "null": True})), None, "value", TYPES
        )

    assert caught.value.context["keys"] == [
        "postprocess.rules.0.when.0.column",
        "postprocess.rules.1.name",
        "postprocess.rules.1.when.0.column",
    ]


def test_a_passthrough_column_is_checked_when_its_type_is_known():
    """Its type comes with the snapshot's footers, after the configuration."""
    section = options(rule({"column": "note", "above": 3}))
    check_options(section, None, "probability", TYPES)
    with pytest.raises(ConfigError, match=r"orders the column 'note', which is string"):
        check_options(section, None, "probability", {**TYPES, "note": "string"})

    assert columns_used(section) == ("note",)


def test_rules_are_data():
    """What looks like code is a text that equals nothing."""
    evil = "__import__('os').system('touch sung')"
    made = decide(options(rule({"column": "carrier", "equals": evil}, then={"set": {"action": evil}})))

    assert made.columns["rule"].to_pylist() == [None] * 5


def test_why_shows_every_rules_outcome():
    """Also of a rule that an earlier one keeps from acting, with the row's value and what was asked of it."""
    section = options({**HUB, "then": {"prediction": 0.0}}, LATE)
    decider = build(section, None, Model(), TYPES, read=no_file)
    held = [
        {rule.name: rule.holds for rule in decider.tests(SCORES[at : at + 1], rows().slice(at, 1))} for at in range(5)
    ]
    [hub, late] = decider.tests(SCORES[3:4], rows().slice(3, 1))

    assert [row["hub"] for row in held] == [True, False, False, True, False]
    assert [row["late"] for row in held] == [False, False, True, True, True]
    assert hub.conditions[0].column == HUB["when"][0]["column"]
    assert all(each.holds for each in (*hub.conditions, *late.conditions))


@pytest.mark.parametrize("count", [1, 8, 9, 16, 17, 62])
def test_many_rules_are_told_apart(count):
    """The `rule` column joins those that held, for any number of rules that may be given."""
    every = [
        {"name": f"r{at}", "when": [{"column": "prediction", "at_least": at / count}], "then": {}}
        for at in range(count)
    ]
    made = decide(options(*every, match="all"))
    wanted = [
        ";".join(f"r{at}" for at in range(count) if score >= at / count) or None
        for score in made.columns["prediction"].to_pylist()
    ]

    assert made.columns["rule"].to_pylist() == wanted


def with_anything_under_nulls(array):
    """Return the array with NaN, 127, true, the last place, in the place of its nulls."""
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(with_anything_under_nulls(array.indices), array.dictionary)
    under = {pa.float64(): float("nan"), pa.bool_(): True}.get(array.type, 127)
    filled = array.fill_null(under)
    return pa.Array.from_buffers(array.type, len(array), [array.buffers()[0], *filled.buffers()[1:]])


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 23])
def test_what_lies_in_the_place_of_a_null_means_nothing(start):
    """Nor does where in memory a batch begins: values are looked at as they lie there."""
    table = pa.concat_tables([rows()] * 8)
    coded = {
        "carrier": table["carrier"].dictionary_encode().combine_chunks(),
        **{name: table[name].combine_chunks() for name in ("delay", "amount", "vip")},
    }
    plain = pa.table(coded).slice(start, 13)
    dirty = pa.table({name: with_anything_under_nulls(array) for name, array in coded.items()}).slice(start, 13)
    conditions = [
        {"column": "carrier", "differs": "UA"},
        {"column": "delay", "above": 10},
        {"column": "amount", "null": True},
        {"column": "amount", "below": 2},
        {"column": "vip", "equals": True},
        {"column": "delay", "null": False},
    ]
    section = options(
        *({"name": f"r{at}", "when": [condition], "then": {}} for at, condition in enumerate(conditions)), match="all"
    )
    scores = np.full((13, 1), 0.5)
    made = [decide(section, table=each, scores=scores).columns["rule"] for each in (plain, dirty)]
    alone = [
        decide(section, table=pa.table(plain.slice(at, 1).to_pydict(), plain.schema), scores=scores[:1]).columns[
            "rule"
        ][0]
        for at in range(13)
    ]

    assert dirty.column("delay").null_count == plain.column("delay").null_count > 0
    assert made[0].equals(made[1])
    assert made[0].to_pylist() == [each.as_py() for each in alone]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_limit_takes_the_place_of_what_equals_it(zero):
    """Also where only the sign of a zero differs, whatever stands around it."""
    section = options(
        {"name": "cap", "when": [{"column": "origin", "null": False}], "then": {"at_least": zero, "at_most": 0.5}}
    )
    given = np.array([[0.0], [-0.0], [0.5], [0.7], [-0.0]])
    made = decide(section, scores=given).columns["prediction"].to_numpy()

    assert np.signbit(made).tolist() == [math.copysign(1, zero) < 0] * 2 + [False] * 2 + [math.copysign(1, zero) < 0]
    assert made.tolist() == [0.0, 0.0, 0.5, 0.5, 0.0]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-5, 5), st.just(float("nan"))), max_size=12),
    low=st.floats(-5, 5),
    high=st.floats(-5, 5),
    match=st.sampled_from(["first", "all"]),
)
def test_rules_agree_with_plain_python(values, low, high, match):
    """Against a loop over the rows, for any values, bounds and both ways of matching."""
    section = options(
        {"name": "a", "when": [{"column": "amount", "at_least": low}], "then": {"at_most": 0.25}},
        {"name": "b", "when": [{"column": "amount", "below": high}], "then": {"at_least": 0.75, "flag": False}},
        {"name": "c", "when": [{"column": "amount", "null": True}], "then": {"prediction": 0.5}},
        match=match,
    )
    table = pa.table({"amount": pa.array(values, pa.float64(), from_pandas=False)})
    made = decide(section, table=table, scores=np.full((len(values), 1), 0.5))
    expected = []
    for value in values:
        gone = value is None or math.isnan(value)
        held = [
            name
            for name, holds in [("a", not gone and value >= low), ("b", not gone and value < high), ("c", gone)]
            if holds
        ]
        held = held[:1] if match == "first" else held
        score = 0.5
        for name in held:
            score = {"a": min(score, 0.25), "b": max(score, 0.75), "c": 0.5}[name]
        expected.append((";".join(held) or None, score, score >= 0.6 and "b" not in held))
    names = ("rule", "prediction", "risk_flag")

    assert list(zip(*(made.columns[name].to_pylist() for name in names), strict=True)) == expected


def test_five_rules_cost_little():
    """Prints what a million rows cost; the ratio is the benchmark's to hold."""
    rng = np.random.default_rng(0)
    n = 200_000
    table = pa.table(
        {
            "carrier": pa.array(rng.choice(["AA", "B6", "UA"], n)),
            "delay": pa.array(rng.integers(0, 99, n, dtype=np.int32)),
            "amount": rng.random(n),
        }
    )
    section = options(
        rule({"column": "carrier", "one_of": ["AA", "UA"]}, name="a", then={"at_most": 0.9}),
        rule({"column": "delay", "at_least": 50, "below": 70}, name="b", then={"set": {"action": "call"}}),
        rule({"column": "amount", "above": 0.5}, name="c"),
        rule({"column": "prediction", "above": 0.9}, name="d", then={"flag": True}),
        rule({"column": "carrier", "equals": "B6"}, name="e", then={"set": {"action": "wait"}}),
    )
    decider = build(section, None, Model(), TYPES, read=no_file)
    scores = rng.random((n, 1))
    decider.decide(scores, table)
    started = time.perf_counter()
    made = decider.decide(scores, table)
    print(f"{(time.perf_counter() - started) / n * 1e9:.0f} ns per row")

    assert sum(made.counts.values()) == n - made.columns["rule"].null_count


@pytest.mark.parametrize("limit", ["at_most", "at_least"])
def test_a_prediction_that_is_set_is_not_limited_too(limit):
    """Which of the two would win can not be read off the rule."""
    then = {"prediction": 0.5, limit: 0.5}
    rule = {"name": "a", "when": [{"column": "delay", "above": 1}], "then": then}
    with pytest.raises(ConfigError, match=r"rules\.0\.then.*both prediction and a limit"):
        parse_section(PostprocessOptions, {"rules": [rule]}, source="run.yaml")
