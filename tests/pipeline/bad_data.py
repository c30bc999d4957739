"""Bad snapshots: columns, values, ids, sizes, damage, absence; gates, and outputs that are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import small_world
from bad_row import Bad, row
from small_world import DAY, MODEL, OUTPUTS, SNAPSHOT, World

ALL = (0, 1, 2)


def drop(*columns: str, of: tuple[int, ...] = (0,)):
    """Drop columns of files."""
    return lambda world: world.rewrite(lambda table: table.drop_columns(list(columns)), *of)


def rename(old: str, new: str, of: tuple[int, ...] = ALL):
    """Rename a column of files."""
    return lambda world: world.rewrite(
        lambda table: table.rename_columns([new if name == old else name for name in table.column_names]), *of
    )


def recast(column: str, dtype: pa.DataType, of: tuple[int, ...] = ALL):
    """Give a column of files another type."""

    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(column)
        return table.set_column(at, column, table[column].cast(dtype))

    return lambda world: world.rewrite(change, *of)


def value(column: str, given: Any, row_number: int = 7, number: int = 0):
    """Change one value."""
    return lambda world: world.set_value(column, row_number, given, number)


def quarantine(count: int = 1000, percent: float = 100, **more: Any):
    """Set bad rows aside, within a budget."""
    return {"rows": {"on_bad": "quarantine", "max_bad_count": count, "max_bad_percent": percent}, **more}


def _same_id(world: World, number: int) -> None:
    world.set_value("customer_id", 5, world.rows(0)["customer_id"][3].as_py(), number)


def _all_bad(world: World, count: int, percent: float) -> None:
    for at in range(6):
        world.set_value("age", at, 200 + at)
    world.configure(**quarantine(count, percent))


def _no_rows(world: World) -> None:
    world.rewrite(lambda table: table.slice(0, 0), *ALL)


def _cut(world: World) -> None:
    world.part(1).write_bytes(world.part(1).read_bytes()[:-100])


def _flip(world: World, number: int = 1) -> None:
    chunk = pq.ParquetFile(world.part(number)).metadata.row_group(0).column(1)
    content = bytearray(world.part(number).read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 20] ^= 0x10
    world.part(number).write_bytes(content)


def _write(content: bytes):
    return lambda world: world.part(1).write_bytes(content)


def _magic(world: World) -> None:
    content = world.part(1).read_bytes()
    world.part(1).write_bytes(content[:-4] + b"PAR2")


def _encrypted(world: World) -> None:
    content = world.part(1).read_bytes()
    world.part(1).write_bytes(content[:-4] + b"PARE")


def _long_footer(world: World) -> None:
    content = world.part(1).read_bytes()
    world.part(1).write_bytes(content[:-8] + (2**31 - 1).to_bytes(4, "little") + content[-4:])


class Meanwhile:
    """A model that, when it is loaded, waits until the snapshot is listed and then changes a file of it."""

    CHANGES = {  # noqa: RUF012 - read only
        "replaced": "__import__('shutil').copy('other.parquet', '{part}')",
        "grown": "open('{part}', 'ab').write(b'x')",
        "gone": "__import__('os').remove('{part}')",
        "joined": "__import__('shutil').copy('other.parquet', '{part}'.replace('part-2', 'part-9'))",
    }

    def __init__(self, part: str, how: str) -> None:
        change = self.CHANGES[how].format(part=part)
        load = "__import__('joblib').load('models/real.joblib')"
        self.code = f"[__import__('time').sleep(1), {change}, {load}][-1]"

    def __reduce__(self) -> Any:
        """Tell pickle to evaluate the expression, whose last value is the real model."""
        return (eval, (self.code,))


def _meanwhile(world: World, how: str) -> None:
    world.path(MODEL).rename(world.path("models/real.joblib"))
    pq.write_table(world.rows(2).slice(1), world.path("other.parquet"))
    world.release(Meanwhile(f"{SNAPSHOT}/part-2.parquet", how))


def _resumed(world: World) -> None:
    """Fail in the last partition, then flip a bit in the first file, whose footer does not show it."""
    world.set_value("age", 7, -1, 2)
    world.configure(cluster__workers=1)
    world.run()
    _flip(world, 0)


def _bomb(world: World) -> None:
    """Write a small file whose ids decode to many bytes each: one long text, many times, as a dictionary."""
    rows = 20_000
    table = small_world.customers(rows, seed=9).set_column(0, "customer_id", pa.array(["x" * 20_000] * rows))
    pq.write_table(table, world.part(1), compression="zstd", use_dictionary=["customer_id"])
    world.configure(partition__max_bytes=64 * 1024**2)


def _big(world: World) -> None:
    world.configure(partition__max_bytes=2048)


def _nested(world: World) -> None:
    world.rewrite(lambda table: table.append_column("tags", pa.array([["a", "b"]] * table.num_rows)), *ALL)
    world.configure(output__passthrough=["tags"])


def _own_name(world: World) -> None:
    world.rewrite(lambda table: table.rename_columns([*table.column_names[:-1], "prediction"]), *ALL)
    world.configure(output__passthrough="all")


def _twice(table: pa.Table) -> pa.Table:
    return table.append_column("age", table["age"])


def _not_utf8(world: World) -> None:
    table = world.rows(0)
    column = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("plan"), "plan", column), world.part(0))


# A table: one row a line.
# fmt: off
COLUMNS: tuple[Bad, ...] = (
    row(12, "E-CONTRACT-MISSING-COLUMN", "a missing column in one of three files", "'visits' is missing in 1 of 3 files", "part-0.parquet", spoil=drop("visits")),
    row(12, "E-CONTRACT-MISSING-COLUMN", "two missing columns: both are named", "'amount'", "'visits'", spoil=drop("amount", "visits", of=ALL)),
    row(12, "E-CONTRACT-MISSING-COLUMN", "a renamed column", "'visits' is missing", "did you mean 'Visits'", spoil=rename("visits", "Visits")),
    row(12, "E-CONTRACT-MISSING-ID", "no id column", "'customer_id' is missing", "did you mean 'customerId'", spoil=rename("customer_id", "customerId")),
    row(12, "E-CONTRACT-DUPLICATE-COLUMN", "a column that stands twice", "'age' stands twice", spoil=lambda w: w.rewrite(_twice)),
    row(12, "E-CONTRACT-EXTRA-COLUMN", "a column too many, with `extra_columns: fail`", "'region'", spoil=lambda w: w.configure(snapshot__extra_columns="fail")),
    row(12, "E-CONTRACT-MISSING-PASSTHROUGH", "a missing column to pass through", "'segment' is missing", spoil=lambda w: w.configure(output__passthrough=["segment"])),
    row(12, "E-CONTRACT-PASSTHROUGH-TYPE", "a list to pass through", "'tags'", "list", spoil=_nested),
    row(10, "E-CONFIG-DUPLICATE-COLUMN", "a snapshot that has a column `prediction`, with `passthrough: all`", "'prediction'", spoil=_own_name),
    row(12, "E-CONTRACT-COLUMN-TYPE", "whole numbers as float64", "'age' must be int32 and is float64", "missing values", spoil=recast("age", pa.float64())),
    row(12, "E-CONTRACT-COLUMN-TYPE", "whole numbers of other width, without `allow`", "'age' must be int32 and is int64", spoil=recast("age", pa.int64())),
    row(12, "E-CONTRACT-COLUMN-TYPE", "numbers as text", "'visits' must be int64 and is string", spoil=recast("visits", pa.string())),
    row(12, "E-CONTRACT-COLUMN-TYPE", "another type in one file of three", "'amount' must be float64 and is float32 in 1 of 3 files", "part-2.parquet", "`allow: [float32]` in the feature schema takes it", spoil=recast("amount", pa.float32(), (2,))),
    row(12, "E-CONTRACT-COLUMN-TYPE", "a column without a single value", "'visits'", "null", spoil=lambda w: w.rewrite(lambda t: t.set_column(3, "visits", pa.nulls(t.num_rows)))),
    row(12, "E-CONTRACT-ID-TYPE", "ids that are floats", "'customer_id'", "float64", spoil=lambda w: w.rewrite(lambda t: t.set_column(0, "customer_id", pa.array(np.arange(t.num_rows, dtype=float))), *ALL)),
    row(12, "E-CONTRACT-MIXED-TYPE", "ids that are text in one file and numbers in another", "'customer_id'", "int64", spoil=lambda w: w.rewrite(lambda t: t.set_column(0, "customer_id", pa.array(range(t.num_rows))), 2)),
)

VALUES: tuple[Bad, ...] = (
    row(12, "E-CONTRACT-BAD-ROWS", "a null in a feature that is not nullable", "part-0.parquet row 7", "age: null", spoil=value("age", None)),
    row(12, "E-CONTRACT-BAD-ROWS", "NaN in a feature that must be finite", "row 7", "amount: not-finite", spoil=value("amount", float("nan"))),
    row(12, "E-CONTRACT-BAD-ROWS", "infinity", "row 7", "amount: not-finite", spoil=value("amount", float("inf"))),
    row(12, "E-CONTRACT-BAD-ROWS", "a value below the smallest", "row 7", "age: below-min", spoil=value("age", -1)),
    row(12, "E-CONTRACT-BAD-ROWS", "a value above the largest, in the last file", "part-2.parquet row 7", "age: above-max", spoil=value("age", 121, number=2)),
    row(12, "E-CONTRACT-BAD-ROWS", "an unknown category", "row 7", "plan: not-in-categories", spoil=value("plan", "gold")),
    row(13, "E-SNAPSHOT-CORRUPT", "text that is not UTF-8", "part-0.parquet", "UTF", spoil=_not_utf8),
    row(12, "E-CONTRACT-NULL-ID", "a null id", "1 id is null", "part-0.parquet row 7", spoil=value("customer_id", None)),
    row(12, "E-CONTRACT-NULL-ID", "a null id, although bad rows are set aside", "1 id is null", spoil=lambda w: [w.configure(**quarantine()), value("customer_id", None)(w)]),
    row(12, "E-CONTRACT-DUPLICATE-ID", "an id that stands twice in a file", "part-0.parquet row 3", "row 5", spoil=lambda w: _same_id(w, 0)),
    row(12, "E-CONTRACT-DUPLICATE-ID", "an id that stands in two files of one partition", "part-0.parquet row 3", "part-2.parquet row 5", spoil=lambda w: [_same_id(w, 2), w.configure(partition__rows=10_000)]),
    row(12, "E-CONTRACT-DUPLICATE-ID", "an id that stands in two partitions", "part-0.parquet row 3", "part-2.parquet row 5", spoil=lambda w: _same_id(w, 2)),
    row(12, "E-CONTRACT-EMPTY", "no rows", f"'{SNAPSHOT}' holds no rows", "3 files", spoil=_no_rows),
    row(12, "E-CONTRACT-TOO-LARGE", "a partition that declares more bytes than allowed", "part-0.parquet", "2048", "partition.max_bytes", spoil=_big),
    row(12, "E-CONTRACT-DECODED-SIZE", "a small file that decodes to 400 MB", "part-1.parquet", "partition.max_bytes", spoil=_bomb),
    row(16, "E-ROWS-BUDGET", "more bad rows than `max_bad_count`", "6 of 300 rows are bad", "above-max 6", "rows.max_bad_count is 5", spoil=lambda w: _all_bad(w, 5, 100)),
    row(16, "E-ROWS-BUDGET", "more bad rows than `max_bad_percent`", "6 of 300 rows are bad", "rows.max_bad_percent is 1.5", spoil=lambda w: _all_bad(w, 100, 1.5)),
)

FILES: tuple[Bad, ...] = (
    row(13, "E-SNAPSHOT-CORRUPT", "a truncated file", "part-1.parquet' is corrupt", spoil=_cut),
    row(13, "E-SNAPSHOT-CORRUPT", "a flipped bit in a page", "part-1.parquet' is corrupt", spoil=_flip),
    row(13, "E-SNAPSHOT-CORRUPT", "another format's magic at the end", "part-1.parquet' is corrupt", "does not end as a parquet file", spoil=_magic),
    row(13, "E-SNAPSHOT-CORRUPT", "an encrypted file", "part-1.parquet' is corrupt", "encrypted", spoil=_encrypted),
    row(13, "E-SNAPSHOT-CORRUPT", "a file of no bytes", "part-1.parquet' is corrupt", "0 bytes", spoil=_write(b"")),
    row(13, "E-SNAPSHOT-CORRUPT", "zeros instead of a file", "part-1.parquet' is corrupt", spoil=_write(bytes(4096))),
    row(13, "E-SNAPSHOT-CORRUPT", "a CSV file", "part-1.parquet' is corrupt", spoil=_write(b"customer_id,age\n1,2\n" * 50)),
    row(13, "E-SNAPSHOT-CORRUPT", "a footer that claims 2 GB", "part-1.parquet' is corrupt", "claims", spoil=_long_footer),
    row(13, "E-SNAPSHOT-CHANGED", "a file that is replaced between listing and reading", "part-2.parquet' changed while it was read", spoil=lambda w: _meanwhile(w, "replaced")),
    row(13, "E-SNAPSHOT-CHANGED", "a file that grows between listing and reading", "part-2.parquet' changed while it was read", "bytes", spoil=lambda w: _meanwhile(w, "grown")),
    row(13, "E-SNAPSHOT-CHANGED", "a file that is gone between listing and reading", "part-2.parquet' was listed and is gone", spoil=lambda w: _meanwhile(w, "gone")),
    row(13, "E-SNAPSHOT-CHANGED", "a file that comes after the listing", "part-9.parquet' came after the snapshot was listed", spoil=lambda w: _meanwhile(w, "joined")),
    row(13, "E-SNAPSHOT-CHANGED-SINCE-SCORED", "a bit that changes after a failed attempt scored it", "part-0.parquet' has changed since partition 0", spoil=_resumed),
    row(10, "E-CONFIG-TABLE", "a table of Delta Lake instead of a snapshot", f"'{SNAPSHOT}' is a table of Delta Lake", spoil=lambda w: w.path(f"{SNAPSHOT}/_delta_log").mkdir()),
    row(10, "E-CONFIG-NOT-A-FILE", "a device instead of a snapshot", "'/dev/zero' is not a regular file", spoil=lambda w: w.configure(snapshot__path="/dev/zero")),
    row(20, "E-MISSING-NOT-FOUND", "no snapshot of this date", "customers_2024_03_02", "is not there", date="2024-03-02"),
    row(20, "E-MISSING-NOT-FOUND", "an empty folder", f"'{SNAPSHOT}'", "holds no file", spoil=lambda w: [w.part(n).unlink() for n in ALL]),
    row(20, "E-MISSING-NOT-READY", "no ready file", "'data/customers_2024_03_01/_SUCCESS'", "is not there", spoil=lambda w: w.configure(snapshot__ready="_SUCCESS")),
)

OUTPUT: tuple[Bad, ...] = (
    row(14, "E-OUTPUT-OTHER-PLAN", "the date is published with another threshold", "revision 1", "config.postprocess.threshold: 0.7 → 0.8", spoil=lambda w: [w.run(), w.configure(postprocess__threshold=0.8)]),
    row(14, "E-OUTPUT-OTHER-PLAN", "the date is published from another file", "inputs.", "part-1.parquet.size", spoil=lambda w: [w.run(), w.rewrite(lambda t: t.slice(1), 1)]),
    row(14, "E-OUTPUT-INPUT-CHANGED", "a byte of the input changed after the date was published", "part-1.parquet", "has changed since", spoil=lambda w: [w.run(), _flip(w)]),
    row(14, "E-OUTPUT-FOREIGN", "something else lies at the date's place", f"{OUTPUTS}/{DAY} exists", spoil=lambda w: w.path(f"{OUTPUTS}/{DAY}").mkdir(parents=True)),
    row(15, "E-GATE-FAIL", "fewer rows than `volume.min_rows`, `on_breach: fail`", "300 rows", "fewer than volume.min_rows 500", spoil=lambda w: w.configure(volume={"min_rows": 500, "on_breach": "fail"})),
    row(15, "E-GATE-HOLD", "more rows than `volume.max_rows`, `on_breach: hold`", "held", "more than volume.max_rows 200", spoil=lambda w: w.configure(volume={"max_rows": 200, "on_breach": "hold"})),
    row(15, "E-GATE-WAITING", "the same run again, while it is held", "is held", "volume.max_rows 200", spoil=lambda w: [w.configure(volume={"max_rows": 200, "on_breach": "hold"}), w.run()]),
    row(15, "E-GATE-FAIL", "more flagged rows than `flagged.max_share`", "flagged.max_share 0", spoil=lambda w: w.configure(flagged={"max_share": 0.0, "on_breach": "fail"})),
    row(23, "E-STORAGE-NOT-A-FOLDER", "a file where a folder above the output should be", "small.yaml/outputs can not be written", spoil=lambda w: w.configure(output__path="small.yaml/outputs")),
    row(23, "E-STORAGE-NOT-A-FOLDER", "a file where the output folder should be", f"{OUTPUTS} can not be written", "a file stands", spoil=lambda w: w.path(OUTPUTS).write_text("")),
)

ROWS = COLUMNS + VALUES + FILES + OUTPUT
