"""The contract: columns from footers, values per row, rows set aside; nothing drifts in silently."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore import ingest, plan, preprocess
from batchscore.errors import ContractError, TooManyBadRows
from batchscore.schema import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    name="t",
    version="1",
    features=(
        Feature(name="n", dtype="int64", min=0, max=1_000_000, allow=("int32",)),
        Feature(name="f", dtype="float64", min=-1e6, max=1e6),
        Feature(name="c", dtype="string", categories=("a", "b")),
        Feature(name="t", dtype="timestamp[us]"),
        Feature(name="b", dtype="bool"),
        Feature(name="o", dtype="float64", nullable=True, finite=False),
    ),
)
COLUMNS = ["id", *SCHEMA.names]


def good(count: int = 6) -> pa.Table:
    """Make rows that keep the contract."""
    return pa.table(
        {
            "id": pa.array([f"i{number}" for number in range(count)]),
            "n": pa.array(range(count), pa.int64()),
            "f": pa.array([number / 4 for number in range(count)]),
            "c": pa.array(["ab"[number % 2] for number in range(count)]),
            "t": pa.array([datetime(2013, 2, 8, number, tzinfo=UTC).replace(tzinfo=None) for number in range(count)]),
            "b": pa.array([number % 2 == 0 for number in range(count)]),
            "o": pa.array([None, float("nan"), *([1.0] * (count - 2))]),
        }
    )


def put(table: pa.Table, name: str, values: object, arrow_type: pa.DataType | None = None) -> pa.Table:
    """Replace a column."""
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, arrow_type)
    return table.set_column(table.schema.get_field_index(name), name, column)


def recast(name: str, arrow_type: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Write a column as another type."""
    return lambda table: put(table, name, table[name].cast(arrow_type))


DRIFT: dict[str, tuple[Callable[[pa.Table], pa.Table], str | None]] = {
    "missing": (lambda t: t.drop_columns(["f"]), "column 'f' is missing"),
    "renamed": (lambda t: t.rename_columns([{"f": "F "}.get(n, n) for n in t.column_names]), "did you mean 'F '?"),
    "extra": (lambda t: t.append_column("z", t["n"]), "column 'z' is neither a feature"),
    "reordered": (lambda t: t.select(t.column_names[::-1]), None),
    "duplicate": (lambda t: t.append_column("f", t["f"]), "column 'f' stands twice"),
    "f64-to-f32": (recast("f", pa.float32()), "column 'f' must be float64 and is float32"),
    "i64-to-i32-allowed": (recast("n", pa.int32()), None),
    "i64-to-f64": (recast("n", pa.float64()), "column 'n' must be int64 or int32 and is float64"),
    "i64-to-str": (recast("n", pa.string()), "column 'n' must be int64 or int32 and is string"),
    "uint64": (lambda t: put(t, "n", [2**63 + 1] * 6, pa.uint64()), "is uint64"),
    "decimal": (lambda t: put(t, "f", [Decimal("1.5")] * 6), "must be float64 and is decimal128(2, 1)"),
    "list": (lambda t: put(t, "f", [[1.0]] * 6), "must be float64 and is list"),
    "dictionary": (lambda t: put(t, "c", t["c"].dictionary_encode()), None),
    "large-string": (recast("c", pa.large_string()), None),
    "timestamp-unit": (recast("t", pa.timestamp("ms")), "must be timestamp[us] and is timestamp[ms]"),
    "time-zone": (recast("t", pa.timestamp("us", "UTC")), "is timestamp[us, tz=UTC]"),
    "bool-to-int": (recast("b", pa.int8()), "column 'b' must be bool and is int8"),
    "digits-as-text": (lambda t: put(t, "f", ["7"] * 6), "must be float64 and is string"),
    "all-null": (lambda t: put(t, "c", [None] * 6, pa.null()), "holds no value at all"),
    "id-missing": (lambda t: t.drop_columns(["id"]), "the id column 'id' is missing"),
    "id-float": (lambda t: put(t, "id", [1.0] * 6), "the id column 'id' must be text or whole numbers and is double"),
    "id-mixed": (lambda t: put(t, "id", range(6), pa.int64()), "column 'id' is string in 2 files and int64"),
    "empty": (lambda t: t.slice(0, 0), None),
    "null": (lambda t: put(t, "n", [None, 1, 2, 3, 4, 5], pa.int64()), "n: null"),
    "nan": (lambda t: put(t, "f", [float("nan")] + [0.0] * 5), "f: not-finite"),
    "infinite": (lambda t: put(t, "f", [float("-inf")] + [0.0] * 5), "f: not-finite, f: below-min"),
    "1e308": (lambda t: put(t, "f", [1e308] + [0.0] * 5), "f: above-max"),
    "negative": (lambda t: put(t, "n", [-1, 1, 2, 3, 4, 5], pa.int64()), "n: below-min"),
    "stranger": (lambda t: put(t, "c", ["z", *"ababa"]), "c: not-in-categories"),
    "null-id": (lambda t: put(t, "id", [None, *"bcdef"]), "1 id is null"),
    "twice": (lambda t: put(t, "id", [*"ybcdey"]), "1 id is that of an earlier row"),
}
DRIFT["id-float"] = (DRIFT["id-float"][0], "the id column 'id' must be text or whole numbers and is float64")


def _run(folder: Path) -> None:
    """Do what a run does with a snapshot before it scores."""
    footers = ingest.list_snapshot(str(folder), COLUMNS)
    preprocess.raise_violations(preprocess.check_columns(footers, SCHEMA, id_column="id", extra_columns="fail"))
    for partition in plan.split([footer.file for footer in footers], 1_000):
        reader = ingest.PartitionReader(partition, COLUMNS, max_bytes=2**30, dictionary=["c"])
        checks, tables, row = [], [], 0
        for batch in reader.batches():
            checks.append(preprocess.check_rows(batch, SCHEMA, first_row=row))
            row += batch.num_rows
            tables.append(batch)
        check = preprocess.merge_checks(checks)
        preprocess.check_ids(pa.chunked_array([table["id"] for table in tables]), partition)
        if check.findings:
            raise preprocess.bad_rows_error(check, partition)
        for table in tables:
            assert preprocess.cast(table, SCHEMA).column_names == list(SCHEMA.names)


@pytest.mark.parametrize("place", [0, 2], ids=["first", "last"])
@pytest.mark.parametrize("kind", DRIFT)
def test_drift_is_named_or_harmless(tmp_path: Path, kind: str, place: int) -> None:
    """Each kind of drift, in the first or the last of three files, is refused with its file, or is truly harmless."""
    change, message = DRIFT[kind]
    for number in range(3):
        table = put(good(), "id", [f"{number}-{row}" for row in range(6)])
        if number == place:
            table = change(table)
        pq.write_table(table, tmp_path / f"p{number}.parquet", write_page_checksum=True)

    if message is None:
        _run(tmp_path)
        return
    with pytest.raises(ContractError) as caught:
        _run(tmp_path)

    assert message in caught.value.message
    assert f"p{place}.parquet" in caught.value.message
    assert caught.value.exit_code == 12


def test_all_violations_are_listed_once(tmp_path: Path) -> None:
    """The same violation in several files is one, and the error knows them all."""
    for number in range(4):
        table = good().drop_columns(["f"]) if number % 2 else good()
        if number == 3:
            table = recast("n", pa.float64())(table)
        pq.write_table(table, tmp_path / f"p{number}.parquet")
    footers = ingest.list_snapshot(str(tmp_path), COLUMNS)

    violations = preprocess.check_columns(footers, SCHEMA, id_column="id", passthrough=["w"])

    assert [str(violation) for violation in violations] == [
        (
            "column 'n' must be int64 or int32 and is float64 in 1 of 4 files (first: p3.parquet)"
            "; whole numbers with missing values are often written as float64"
        ),
        "column 'f' is missing in 2 of 4 files (first: p1.parquet)",
        "the column to pass through 'w' is missing in 4 of 4 files (first: p0.parquet)",
    ]
    with pytest.raises(ContractError) as caught:
        preprocess.raise_violations(violations)
    assert caught.value.id == "E-CONTRACT-COLUMN-TYPE"
    assert len(caught.value.context["violations"]) == 3  # type: ignore[arg-type]


def test_extra_columns_are_listed(tmp_path: Path) -> None:
    """Ignored columns are known by name; passed through they are not extra."""
    pq.write_table(good().append_column("z", good()["n"]), tmp_path / "a.parquet")
    footers = ingest.list_snapshot(str(tmp_path), COLUMNS)

    assert preprocess.extra_columns(footers, SCHEMA, id_column="id") == ("z",)
    assert preprocess.extra_columns(footers, SCHEMA, id_column="id", passthrough="all") == ()
    for passthrough in ("all", ["z"]):
        options = {"id_column": "id", "passthrough": passthrough, "extra_columns": "fail"}
        assert preprocess.check_columns(footers, SCHEMA, **options) == ()  # type: ignore[arg-type]


VALUES = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([-1.5, -1.0, 0.0, 2.0, 2.5]),
)


@given(st.lists(VALUES, max_size=40), st.integers(0, 40), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_row_checks_are_a_plain_loop(values: list[float | None], cut: int, nullable: bool, finite: bool) -> None:
    """The vectorised checks find exactly the rows that a loop finds, in chunks too."""
    feature = Feature(name="x", dtype="float64", nullable=nullable, finite=finite, min=-1, max=2)
    schema = FeatureSchema(name="s", version="1", features=(feature,))
    column = pa.chunked_array([pa.array(values[:cut], pa.float64()), pa.array(values[cut:], pa.float64())])

    check = preprocess.check_rows(pa.table({"x": column}), schema, first_row=100)

    wanted = {
        "null": [r for r, v in enumerate(values) if v is None and not nullable],
        "not-finite": [r for r, v in enumerate(values) if v is not None and not np.isfinite(v) and finite],
        "below-min": [r for r, v in enumerate(values) if v is not None and v < -1],
        "above-max": [r for r, v in enumerate(values) if v is not None and v > 2],
    }
    assert {f.reason: (f.rows - 100).tolist() for f in check.findings} == {k: v for k, v in wanted.items() if v}
    assert {k: v for k, v in check.counts.items() if v} == {k: len(v) for k, v in wanted.items() if v}
    assert np.flatnonzero(check.mask(100)).tolist() == sorted({row for rows in wanted.values() for row in rows})


@given(st.lists(st.sampled_from(["a", "b", "z", None]), max_size=30))
@settings(max_examples=50, deadline=None)
def test_categories_in_both_layouts(values: list[str | None]) -> None:
    """Plain text and dictionaries give the same rows, also where a dictionary holds strangers that no row uses."""
    schema = FeatureSchema(
        name="s", version="1", features=(Feature(name="c", dtype="string", categories=("a", "b"), nullable=True),)
    )
    plain = pa.array(values, pa.string())
    padded = pa.concat_arrays([pa.array(["z"]), plain]).dictionary_encode().slice(1)

    found = [
        [f.rows.tolist() for f in preprocess.check_rows(pa.table({"c": column}), schema).findings]
        for column in (plain, plain.dictionary_encode(), padded)
    ]

    rows = [row for row, value in enumerate(values) if value == "z"]
    assert found == [[rows] if rows else []] * 3


def test_bounds_of_every_type() -> None:
    """Bounds compare exactly at the edges of unsigned and narrow numbers, floats of 32 bits, dates and times."""
    cases = [
        ("uint64", [0, 2**64 - 1], {"max": 2**64 - 2}, [("above-max", [1])]),
        ("int64", [2**53, 2**53 + 1], {"max": 2**53}, [("above-max", [1])]),
        ("int8", [-128, 127], {"min": -1000, "max": 1000}, []),
        ("float32", [0.1, 0.2], {"min": 0.1, "max": 0.1}, [("above-max", [0, 1])]),
        ("date32", [date(2013, 1, 1), date(2014, 1, 1)], {"max": "2013-12-31"}, [("above-max", [1])]),
        ("timestamp[us]", [2**62, 0], {"max": "2013-12-31T00:00:00+01:00"}, [("above-max", [0])]),
    ]
    for dtype, values, bounds, wanted in cases:
        feature = Feature(name="x", dtype=dtype, **bounds)  # type: ignore[arg-type]
        schema = FeatureSchema(name="s", version="1", features=(feature,))
        arrow_type = {"date32": pa.date32(), "timestamp[us]": pa.timestamp("us")}.get(dtype) or getattr(pa, dtype)()
        check = preprocess.check_rows(pa.table({"x": pa.array(values, arrow_type)}), schema)

        assert [(f.reason, f.rows.tolist()) for f in check.findings] == wanted, dtype


def test_a_lossy_cast_is_a_reason() -> None:
    """A value that does not survive the declared cast is a bad row and not a wrong number."""
    feature = Feature(name="t", dtype="timestamp[us]", allow=("date32",))
    schema = FeatureSchema(name="s", version="1", features=(feature,))
    days = pa.array([0, 2**31 - 1, None, 15_000], pa.int32()).cast(pa.date32())

    check = preprocess.check_rows(pa.table({"t": days}), schema)
    fine = preprocess.cast(pa.table({"t": days}).take([0, 3]), schema)

    assert [(f.reason, f.rows.tolist()) for f in check.findings] == [("null", [2]), ("cast-loss", [1])]
    assert fine["t"].cast(pa.date32()).to_pylist() == [date(1970, 1, 1), date(2011, 1, 26)]


def _partition() -> plan.Partition:
    common = {"size": 1, "footer_sha256": "", "object_version": None}
    fragments = (
        plan.Fragment(path="d/a.parquet", row_groups=(1,), first_row=100, rows=4, **common),  # type: ignore[arg-type]
        plan.Fragment(path="d/b.parquet", row_groups=(0,), first_row=0, rows=6, **common),  # type: ignore[arg-type]
    )
    return plan.Partition(index=3, fragments=fragments, rows=10, decoded_bytes=1)


def test_rows_are_located() -> None:
    """A row of a partition is a row of a file."""
    assert preprocess.locate(_partition(), [0, 3, 4, 9]) == (
        ("d/a.parquet", 100),
        ("d/a.parquet", 103),
        ("d/b.parquet", 0),
        ("d/b.parquet", 5),
    )


def test_bad_rows_are_named_without_values() -> None:
    """The error has file, row number, reasons and counts, and not one value."""
    table = put(good(), "f", [0.0, 987654321.5, float("nan"), 0.0, 0.0, float("inf")])
    check = preprocess.check_rows(put(table, "c", ["a", "secret", *"abab"]), SCHEMA, first_row=3)

    error = preprocess.bad_rows_error(check, _partition())

    assert error.message == (
        "3 of 6 rows of part-00003 break the contract (not-finite 2, above-max 2, not-in-categories 1): "
        "d/b.parquet row 0 (f: above-max, c: not-in-categories), d/b.parquet row 1 (f: not-finite), "
        "d/b.parquet row 4 (f: not-finite, f: above-max)"
    )
    assert error.context["counts"] == {"not-finite": 2, "above-max": 2, "not-in-categories": 1}


def test_quarantine_has_all_of_a_bad_row() -> None:
    """A quarantine row says which, where, why, and what stood there; its schema is always the same."""
    table = put(put(good(), "f", [0.0, 1e9, 0.0, 0.0, 0.0, float("inf")]), "c", ["a", "z", *"abab"])
    check = preprocess.check_rows(table, SCHEMA, first_row=2)
    clean = preprocess.check_rows(good(), SCHEMA)

    result = preprocess.quarantine_table(table, check, _partition(), id_column="id", first_row=2)
    empty = preprocess.quarantine_table(good(), clean, _partition(), id_column="id")

    assert result.to_pylist() == [
        {
            "id": "i1",
            "source_file": "d/a.parquet",
            "row_number": 103,
            "reasons": ["above-max", "not-in-categories"],
            "columns": ["f", "c"],
            "values": ["1000000000", "z"],
        },
        {
            "id": "i5",
            "source_file": "d/b.parquet",
            "row_number": 3,
            "reasons": ["not-finite", "above-max"],
            "columns": ["f"],
            "values": ["inf"],
        },
    ]
    assert empty.schema == result.schema


@pytest.mark.parametrize(
    ("bad", "count", "percent", "fact"),
    [
        (0, 0, 0.0, None),
        (1, 0, 100.0, "max_bad_count is 0"),
        (5, 5, 5.0, None),
        (5, 5, 4.9, "max_bad_percent is 4.9"),
        (6, 5, 5.0, "rows.max_bad_count is 5 and rows.max_bad_percent is 5"),
    ],
)
def test_both_limits_of_the_budget_hold(bad: int, count: int, percent: float, fact: str | None) -> None:
    """One row above either limit is code 16."""
    options = preprocess.RowsOptions(on_bad="quarantine", max_bad_count=count, max_bad_percent=percent)
    if fact is None:
        preprocess.check_budget(bad, 100, {"null": bad}, options)
        return
    with pytest.raises(TooManyBadRows, match=fact) as caught:
        preprocess.check_budget(bad, 100, {"null": bad}, options)

    assert caught.value.exit_code == 16
