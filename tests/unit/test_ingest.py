"""A snapshot is listed once, read by ranges, hashed as it is parsed; damage and bombs end in one named error."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore import ingest, plan
from batchscore.errors import BatchscoreError, ConfigError, ContractError, SnapshotCorrupt, SnapshotMissing
from batchscore.kernel import library as shared
from batchscore.strict import parse_section

DAY = date(2013, 2, 8)
COLUMNS = ("id", "kind", "x")
CAP = 2 * 1024**3


@pytest.fixture(params=["compiled", "python"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read footers and page headers in the compiled kernel, and in Python as where there is none."""
    if request.param == "python":
        monkeypatch.setattr(shared, "_load", lambda: (None, "it is not wanted here"))
    else:
        request.getfixturevalue("needs_kernel")


def rows(count: int, start: int = 0) -> pa.Table:
    """Make rows with an id, a category, a number and a column that nobody needs."""
    numbers = range(start, start + count)
    return pa.table(
        {
            "id": pa.array([f"row-{number:08d}" for number in numbers]),
            "unused": pa.array([random.Random(number).random() for number in numbers]),
            "kind": pa.array([None if number % 7 == 0 else f"k{number % 5}" for number in numbers]),
            "x": pa.array([number / 3 for number in numbers]),
        }
    )


def write(path: Path, table: pa.Table, **options: object) -> Path:
    """Write parquet as our own writers do."""
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(table, path, **{"write_page_checksum": True, "row_group_size": 100, **options})
    return path


def partitions(path: Path, size: int = 1_000, columns: Sequence[str] = COLUMNS) -> tuple[plan.Partition, ...]:
    """List and split."""
    return plan.split([footer.file for footer in ingest.list_snapshot(str(path), columns)], size)


def read(path: Path, **options: object) -> pa.Table:
    """Read all of a snapshot as a table."""
    batches = []
    for partition in partitions(path):
        reader = ingest.PartitionReader(partition, COLUMNS, **{"max_bytes": CAP, **options})  # type: ignore[arg-type]
        batches += list(reader.batches())
    return pa.Table.from_batches(batches)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("data/x.parquet", "data/x.parquet"),
        ("s3://b/{date}/x", "s3://b/2013-02-08/x"),
        ("d/f_{date:%Y_%m_%d}.parquet", "d/f_2013_02_08.parquet"),
        ("{date:%Y/%m/%d}/{date:%j}", "2013/02/08/039"),
        ("{date:%G-W%V-%u}{date:%y}{date:%F}", "2013-W06-5132013-02-08"),
        ("/abs/../x", "/abs/../x"),
    ],
)
def test_resolves_templates(template: str, path: str) -> None:
    """The date is put in by fixed codes; the rest of the text is left alone."""
    assert ingest.resolve(template, DAY) == path


@pytest.mark.parametrize(
    "template",
    [
        "{c.secret}",
        "{date.year}",
        "{date!r}",
        "{}",
        "{date:}",
        "{date:Y}",
        "{date:%H}",
        "{date:%Y%}",
        "{date:%-d}",
        "{date:../%Y}",
        "{date:/%Y}",
        "{date:%Y\0}",
        "{{date}}",
        "{date",
        "date}",
        "x\0y",
        "{date:%Y{date}}",
        "{date:%Y*}",
        "{date:%Y.}{date:.%m}",
    ],
)
def test_refuses_templates(template: str) -> None:
    """Anything but the one field with plain date codes is a wrong configuration."""
    if template == "{date:%Y.}{date:.%m}":
        assert ".." in ingest.resolve(template, DAY)  # two fields side by side stay a file name, not a folder
        return
    with pytest.raises(ConfigError) as caught:
        parse_section(ingest.SnapshotOptions, {"path": template, "id": "id"}, source="run.yaml")

    assert caught.value.exit_code == 10


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, on_sleep: Callable[[float], None] = lambda _: None) -> None:
        self.now = 0.0
        self._on_sleep = on_sleep

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self._on_sleep(self.now)


def test_waits_for_a_late_snapshot(tmp_path: Path) -> None:
    """The run goes on when the ready file is there, and not when only the data is."""
    options = ingest.SnapshotOptions(path="x", id="id", ready="_SUCCESS", wait_minutes=5)
    write(tmp_path / "day" / "a.parquet", rows(3))
    clock = Clock(lambda now: (tmp_path / "day" / "_SUCCESS").touch() if now > 100 else None)

    ingest.wait_for_snapshot(options, str(tmp_path / "day"), date=DAY, clock=clock, sleep=clock.sleep)

    assert 100 < clock.now <= 120


@pytest.mark.parametrize("ready", [None, "_SUCCESS", "{folder}/ready_{date:%m}"])
def test_missing_snapshot_is_20(tmp_path: Path, ready: str | None) -> None:
    """What is not there in time is code 20, after exactly the time that was allowed."""
    (tmp_path / "day").mkdir()
    text = ready and ready.replace("{folder}", str(tmp_path))
    options = ingest.SnapshotOptions(path="x", id="id", ready=text, wait_minutes=2)
    clock = Clock()

    with pytest.raises(SnapshotMissing, match=r"(is not there|holds no file) after 2 minutes"):
        ingest.wait_for_snapshot(options, str(tmp_path / "day"), date=DAY, clock=clock, sleep=clock.sleep)
    with pytest.raises(SnapshotMissing, match="is not there"):
        ingest.list_snapshot(str(tmp_path / "day"), COLUMNS)

    assert clock.now == 120


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, "the snapshot '{folder}/day' is not there"),
        ("day/_SUCCESS", "the snapshot '{folder}/day' holds no file"),
        ("day/a.parquet", "the file '{folder}/day/b.parquet' of the snapshot is not there"),
    ],
    ids=["nothing", "an empty folder", "a symlink that leads nowhere"],
)
def test_what_is_missing_is_named(tmp_path: Path, made: str | None, told: str) -> None:
    """A folder that is there is not said to be missing, and neither is the whole for one file of it."""
    if made:
        (tmp_path / "day").mkdir()
        (tmp_path / made).touch()
    if made == "day/a.parquet":
        (tmp_path / "day/b.parquet").symlink_to("nowhere")
    options = ingest.SnapshotOptions(path="x", id="id")

    with pytest.raises(SnapshotMissing) as caught:
        ingest.wait_for_snapshot(options, str(tmp_path / "day"), date=DAY)

    assert caught.value.message == told.format(folder=tmp_path)


def test_a_wait_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the log knows what an hour of silence waits for; one line says it, however long it takes."""
    options = ingest.SnapshotOptions(path="x", id="id", wait_minutes=60)
    clock = Clock()
    with pytest.raises(SnapshotMissing):
        ingest.wait_for_snapshot(options, str(tmp_path / "day"), date=DAY, clock=clock, sleep=clock.sleep)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [(line["event"], line["why"], line["minutes"]) for line in lines] == [
        ("waiting for the snapshot", f"the snapshot '{tmp_path}/day' is not there", 60)
    ]


def test_ready_file_beside_a_file_is_no_data(tmp_path: Path) -> None:
    """A bare ready name is looked for beside a snapshot that is a file, in one that is a directory."""
    options = ingest.SnapshotOptions(path="x", id="id", ready="done_{date}")
    path = write(tmp_path / "day" / "a.parquet", rows(3))
    (tmp_path / "day" / "done_2013-02-08").touch()

    beside = ingest.ready_path(options, str(path), DAY)
    inside = ingest.ready_path(options, str(tmp_path / "day"), DAY)

    assert beside == inside == f"{tmp_path}/day/done_2013-02-08"
    ingest.wait_for_snapshot(options, str(path), date=DAY, sleep=lambda _: pytest.fail("waited"))
    assert len(ingest.list_snapshot(str(tmp_path / "day"), COLUMNS, ready=inside)) == 1


@pytest.mark.usefixtures("both_ways")
def test_lists_footers(tmp_path: Path) -> None:
    """A footer gives rows, types in our words, its digest, and at least the real decoded bytes."""
    path = write(tmp_path / "a.parquet", rows(250))
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little") + 8

    (footer,) = ingest.list_snapshot(str(path), COLUMNS)

    assert [group.rows for group in footer.file.row_groups] == [100, 100, 50]
    assert [(column.name, column.dtype) for column in footer.columns] == [
        ("id", "string"),
        ("unused", "float64"),
        ("kind", "string"),
        ("x", "float64"),
    ]
    assert footer.file.footer_sha256 == hashlib.sha256(content[-length:]).hexdigest()
    assert footer.stat.inode == path.stat().st_ino
    assert all(group.decoded_bytes >= group.rows * 16 for group in footer.file.row_groups)


@pytest.mark.parametrize(
    ("arrow_type", "word"),
    [
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.dictionary(pa.int32(), pa.large_string()), "string"),
        (pa.float32(), "float32"),
        (pa.date32(), "date32"),
        (pa.timestamp("us"), "timestamp[us]"),
        (pa.timestamp("us", "UTC"), "timestamp[us, tz=UTC]"),
        (pa.timestamp("ns"), "timestamp[ns]"),
        (pa.decimal128(5, 2), "decimal128(5, 2)"),
        (pa.list_(pa.int64()), "list<element: int64>"),
        (pa.bool_(), "bool"),
        (pa.null(), "null"),
        (pa.binary(), "binary"),
        (pa.uint16(), "uint16"),
    ],
)
def test_types_have_one_word(tmp_path: Path, arrow_type: pa.DataType, word: str) -> None:
    """Text is string in every layout; a time zone or another unit is another type."""
    table = pa.table({"c": pa.array([None, None], arrow_type), "n": pa.array([1, 2])})
    path = write(tmp_path / "a.parquet", table)

    (footer,) = ingest.list_snapshot(str(path), None)

    assert [column.dtype for column in footer.columns] == [word, "int64"]


def test_empty_is_12_unless_allowed(tmp_path: Path) -> None:
    """No rows in all is a broken contract; a file of no rows beside others is legal."""
    write(tmp_path / "a.parquet", rows(0))

    with pytest.raises(ContractError, match="holds no rows"):
        ingest.list_snapshot(str(tmp_path), COLUMNS)
    assert [f.file.rows for f in ingest.list_snapshot(str(tmp_path), COLUMNS, allow_empty=True)] == [0]
    write(tmp_path / "b.parquet", rows(5))
    assert read(tmp_path).num_rows == 5


@pytest.mark.usefixtures("both_ways")
def test_reads_across_files_by_name(tmp_path: Path) -> None:
    """Small files share a batch; columns come in the asked order; text has one layout; rows keep their order."""
    table = rows(90)
    write(tmp_path / "a.parquet", table.slice(0, 30))
    write(tmp_path / "b.parquet", table.slice(30, 20).select(["x", "kind", "unused", "id"]))
    large = table.slice(50).set_column(0, "id", table["id"].slice(50).cast(pa.large_string()))
    write(tmp_path / "c.parquet", large.set_column(2, "kind", large["kind"].dictionary_encode()), row_group_size=17)

    result = read(tmp_path, dictionary=["kind"], batch_rows=40)

    assert result.schema.types == [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.float64()]
    assert [len(chunk) for chunk in result["id"].chunks] == [40, 40, 10]
    assert result.set_column(1, "kind", result["kind"].cast(pa.string())).equals(table.select(COLUMNS))


@given(
    st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=120),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(1, 120),
)
@settings(max_examples=60, deadline=None)
def test_batches_are_the_rows_in_order(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int | None], group: int, size: int, first: int
) -> None:
    """Numbers, text, dictionaries and lists, with nulls, come as written, however row groups, files and batches are cut."""
    texts = [None if number is None else f"t{number}" for number in numbers]
    table = pa.table({"n": pa.array(numbers, pa.int64()), "t": pa.array(texts, pa.string())})
    table = table.append_column("l", pa.array([None if n is None else [n, n] for n in numbers], pa.list_(pa.int64())))
    table = table.append_column("k", table["t"].combine_chunks())
    folder = tmp_path_factory.mktemp("s")
    write(folder / "a.parquet", table.slice(0, first), row_group_size=group)
    write(folder / "b.parquet", table.slice(first), row_group_size=group)

    (partition,) = partitions(folder, columns=table.column_names)
    reader = ingest.PartitionReader(partition, table.column_names, max_bytes=CAP, dictionary=["k"], batch_rows=size)
    batches = list(reader.batches())

    assert [batch.num_rows for batch in batches[:-1]] == [size] * (len(batches) - 1)
    for batch in batches:
        batch.validate(full=True)
    whole = pa.Table.from_batches(batches)
    assert whole.set_column(3, "k", whole["k"].cast(pa.string())).equals(table)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_in_deltas_comes_as_a_dictionary(tmp_path: Path, encoding: str) -> None:
    """Text that a file holds in an encoding without dictionaries is read like any other, beside files that have one."""
    table = rows(90)
    write(tmp_path / "a.parquet", table.slice(0, 30))
    write(
        tmp_path / "b.parquet",
        table.slice(30),
        use_dictionary=False,
        column_encoding={"kind": encoding, "id": encoding},
    )

    result = read(tmp_path, dictionary=["kind"], batch_rows=40)

    assert result.schema.types == [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.float64()]
    assert [len(chunk) for chunk in result["id"].chunks] == [40, 40, 10]
    assert result.set_column(1, "kind", result["kind"].cast(pa.string())).equals(table.select(COLUMNS))


def test_a_dotted_name_is_its_own_column(tmp_path: Path) -> None:
    """`a` does not pull in `a.b`, and nested columns are read whole."""
    table = pa.table({"a.b": [1, 2], "a": [3, 4], "s": [{"p": 1, "q": [5]}, {"p": 2, "q": []}]})
    path = write(tmp_path / "a.parquet", table)
    (partition,) = partitions(path, columns=["a", "s"])

    (batch,) = ingest.PartitionReader(partition, ["s", "a"], max_bytes=CAP).batches()

    assert batch.to_pydict() == table.select(["s", "a"]).to_pydict()


@pytest.mark.usefixtures("both_ways")
def test_columns_that_are_not_needed_take_no_memory(tmp_path: Path) -> None:
    """One of 40 columns is needed, a bit of it in every row group: the rest of the file is not in memory."""
    chance = np.random.default_rng(0)
    table = pa.table({f"c{number}": chance.random(200_000) for number in range(40)})
    path = write(tmp_path / "a.parquet", table, row_group_size=10_000)
    (partition,) = partitions(path, size=200_000, columns=["c0"])
    del table

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE

    list(ingest.PartitionReader(partition, ["c0"], max_bytes=CAP).batches())
    before = resident()
    batches = ingest.PartitionReader(partition, ["c0"], max_bytes=CAP).batches()
    next(batches)

    assert path.stat().st_size > 50_000_000
    assert resident() - before < 20_000_000


def test_ranges_are_what_was_read(tmp_path: Path) -> None:
    """Only needed bytes are read and hashed; a file that is needed nearly whole is hashed whole."""
    wide = rows(400).append_column("big", pa.array([os.urandom(2_000) for _ in range(400)]))
    path = write(tmp_path / "a.parquet", wide, row_group_size=100)
    content = path.read_bytes()
    first, *_ = partitions(path, 200)
    reader = ingest.PartitionReader(first, COLUMNS, max_bytes=CAP)
    (batch,) = reader.batches()
    (record,) = reader.inputs
    (whole,) = partitions(path, 400, wide.column_names)
    whole_reader = ingest.PartitionReader(whole, wide.column_names, max_bytes=CAP)
    list(whole_reader.batches())

    assert batch.num_rows == 200
    assert not record.whole
    assert sum(stop - start for start, stop in record.ranges) < len(content) / 10
    assert record.sha256 == hashlib.sha256(b"".join(content[a:b] for a, b in record.ranges)).hexdigest()
    assert whole_reader.inputs[0].whole
    assert whole_reader.inputs[0].sha256 == hashlib.sha256(content).hexdigest()
    assert whole_reader.without_checksums == ()


def test_only_the_ranges_are_looked_at(tmp_path: Path) -> None:
    """Damage outside of the ranges does not reach the parser; the same damage inside does."""
    path = write(tmp_path / "a.parquet", rows(1_000).append_column("big", pa.array([os.urandom(999)] * 1_000)))
    first, *_ = partitions(path, 100)
    list((reader := ingest.PartitionReader(first, COLUMNS, max_bytes=CAP)).batches())
    (inside, _), *_ = reader.inputs[0].ranges
    content = bytearray(path.read_bytes())
    outside = reader.inputs[0].ranges[-1][1] + 10_000
    content[outside] ^= 1
    path.write_bytes(content)
    list(ingest.PartitionReader(first, COLUMNS, max_bytes=CAP).batches())
    content[inside + 60] ^= 1
    path.write_bytes(content)

    with pytest.raises(SnapshotCorrupt):
        list(ingest.PartitionReader(first, COLUMNS, max_bytes=CAP).batches())


def _replace(path: Path) -> None:
    write(path, rows(300, start=7))


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _vanish(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_replace, _grow, _vanish])
def test_a_changed_file_is_13(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A file that is not what was listed is code 13 and named."""
    path = write(tmp_path / "a.parquet", rows(300))
    (partition,) = partitions(path)
    change(path)

    with pytest.raises(SnapshotCorrupt, match=r"a\.parquet.* changed while it was read") as caught:
        list(ingest.PartitionReader(partition, COLUMNS, max_bytes=CAP).batches())

    assert caught.value.id == "E-SNAPSHOT-CHANGED"


@pytest.mark.parametrize(("count", "call"), [(300, 1), (90_000, 2)], ids=["read-once", "footer-first"])
def test_a_rewrite_during_the_read_is_13(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, call: int
) -> None:
    """Even the same bytes, written again during a read or between two, are noticed."""
    path = write(tmp_path / "a.parquet", rows(count))
    partition, *_ = partitions(path)
    real, calls = os.preadv, []

    def rewriting(*args: object) -> int:
        calls.append(args)
        if len(calls) == call:
            os.utime(path, ns=(1, 1))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", rewriting)

    with pytest.raises(SnapshotCorrupt, match="changed while it was read"):
        list(ingest.PartitionReader(partition, COLUMNS, max_bytes=CAP).batches())


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "0 bytes"),
        (b"PAR1", "4 bytes"),
        (b"PAR1" * 3, "footer claims"),
        (b"a;b;c\n1;2;3\n" * 9, "does not end as a parquet file does"),
        (b"PAR1" + bytes(100) + b"PARE", "encrypted"),
        (b"PAR1" + bytes(100) + (90).to_bytes(4, "little") + b"PAR1", "footer can not be parsed"),
        (b"PAR1" + b"\xff" * 100 + (2**31 + 5).to_bytes(4, "little") + b"PAR1", "footer claims"),
    ],
)
def test_what_is_no_parquet_is_13(tmp_path: Path, content: bytes, fact: str) -> None:
    """A file that is no whole parquet file is named with the cause, from its end alone."""
    write(tmp_path / "a.parquet", rows(5))
    (tmp_path / "b.parquet").write_bytes(content)

    with pytest.raises(SnapshotCorrupt, match=fact) as caught:
        ingest.list_snapshot(str(tmp_path), COLUMNS)

    assert caught.value.context["path"] == f"{tmp_path}/b.parquet"


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("field", [0x29, 0x49])
def test_a_footer_of_millions_of_elements_is_13(tmp_path: Path, field: int) -> None:
    """A footer that would unfold to gigabytes is refused before it does, be it by its columns or its row groups."""
    count = 5_000_000
    varint = bytes([count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14 & 0x7F | 0x80, count >> 21])
    schema = b"\x29\x1c\x48\x00\x00" if field == 0x49 else b""  # one column, then the list of millions
    footer = schema + (b"\x29" if field == 0x49 else bytes([field])) + b"\xfc" + varint + b"\x48\x00\x00" * count
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")

    with pytest.raises(SnapshotCorrupt, match="footer can not be parsed: it declares 5000000"):
        ingest.list_snapshot(str(tmp_path), COLUMNS)


def test_text_that_is_not_utf8_is_13(tmp_path: Path) -> None:
    """Text that is no UTF-8 is a damaged file, also where it comes as a dictionary."""
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"]).buffers())
    table = rows(2).set_column(2, "kind", bad)
    write(tmp_path / "a.parquet", table)

    for dictionary in ([], ["kind"]):
        with pytest.raises(SnapshotCorrupt, match=r"a\.parquet.*UTF"):
            read(tmp_path, dictionary=dictionary)


def test_declared_sizes_are_checked_before_reading(tmp_path: Path) -> None:
    """A row group that is too large by its footer alone is refused before any worker."""
    path = write(tmp_path / "a.parquet", rows(1_000), row_group_size=1_000)
    found = partitions(path)

    ingest.check_sizes(found, found[0].decoded_bytes)
    with pytest.raises(ContractError, match=r"a\.parquet.*declares .* partition.max_bytes") as caught:
        ingest.check_sizes(found, found[0].decoded_bytes - 1)

    assert caught.value.id == "E-CONTRACT-TOO-LARGE"


BOMB = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from batchscore import ingest, plan
from batchscore.errors import ContractError
(partition,) = plan.split([f.file for f in ingest.list_snapshot(sys.argv[2], ["id", "s"])], 10**9)
ingest.check_sizes([partition], 2 * 1024**3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for batch in ingest.PartitionReader(partition, ["id", "s"], max_bytes=1024**3).batches():
        del batch
except ContractError as error:
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(error.id, error.context["declared_bytes"], error.context["decoded_bytes"], (after - before) // 1024)
"""


@pytest.mark.parametrize(("count", "length"), [(2_000_000, 10_000), (20_000, 1_000_000)])
def test_a_bomb_ends_in_one_error(tmp_path: Path, count: int, length: int) -> None:
    """A file of under 2 MB that decodes to 20 GB is refused while decoding, and memory stays small."""
    path = tmp_path / "bomb.parquet"
    indices = pa.Array.from_buffers(pa.int32(), count, [None, pa.py_buffer(bytes(4 * count))])
    bomb = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * length]))
    small = pa.DictionaryArray.from_arrays(indices, pa.array([1]))
    pq.write_table(pa.table({"id": small, "s": bomb}), path, row_group_size=count, write_page_checksum=True)
    source = str(Path(ingest.__file__).parents[2])

    done = subprocess.run([sys.executable, "-c", BOMB, source, str(path)], capture_output=True, text=True, check=True)
    slug, declared, decoded, grown = done.stdout.split()

    assert path.stat().st_size < 2_100_000
    assert slug == "E-CONTRACT-DECODED-SIZE"
    assert int(declared) < int(decoded) / 10
    assert int(grown) < 900, f"{grown} MB"


def _mutants(content: bytes, count: int) -> list[tuple[str, bytes]]:
    chance = random.Random(20130208)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    mutants = []
    for number in range(count):
        mutant = bytearray(content)
        kind = ("page", "footer", "cut", "length", "swap")[number % 5]
        if kind == "page":
            mutant[chance.randrange(4, footer)] ^= 1 << chance.randrange(8)
        elif kind == "footer":
            mutant[chance.randrange(footer, len(content))] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del mutant[chance.randrange(len(content)) :]
        elif kind == "length":
            mutant[-8:-4] = chance.randbytes(4)
        else:
            at = chance.randrange(4, footer - 64)
            mutant[at : at + 32] = chance.randbytes(32)
        mutants.append((kind, bytes(mutant)))
    return mutants


def _outcome(path: Path, planned: plan.Partition) -> str:
    """Read a mutant both as a fresh snapshot and as the partition of the file that was listed."""
    verdicts = []
    for partition in (None, planned):
        try:
            (current,) = (partition,) if partition else partitions(path)
            reader = ingest.PartitionReader(current, COLUMNS, dictionary=["kind"], max_bytes=CAP)
            table = pa.Table.from_batches(list(reader.batches()))
            verdicts.append("same" if table.equals(_outcome.wanted) else "silent")  # type: ignore[attr-defined]
        except BatchscoreError as error:
            verdicts.append(
                str(error.exit_code) if str(path) in str(error) or "holds no rows" in str(error) else "unnamed"
            )
    return "/".join(verdicts)


def _sweep(tmp_path: Path, *, checksums: bool, count: int = 300) -> list[tuple[str, str]]:
    path = write(tmp_path / "a.parquet", rows(400), write_page_checksum=checksums)
    (planned,) = partitions(path)
    reader = ingest.PartitionReader(planned, COLUMNS, dictionary=["kind"], max_bytes=CAP)
    _outcome.wanted = pa.Table.from_batches(list(reader.batches()))  # type: ignore[attr-defined]
    outcomes = []
    for kind, mutant in _mutants(path.read_bytes(), count):
        path.write_bytes(mutant)
        outcomes.append((kind, _outcome(path, planned)))
    return outcomes


@pytest.mark.usefixtures("both_ways")
def test_mutants_never_succeed_silently(tmp_path: Path) -> None:
    """Of hundreds of damaged files none gives other rows against the plan's listing, and each error names the file."""
    outcomes = _sweep(tmp_path, checksums=True)

    against_plan = {outcome.split("/")[1] for _, outcome in outcomes}
    assert against_plan <= {"13", "same"}
    assert not [each for each in outcomes if each[0] != "footer" and "silent" in each[1]]
    assert not [each for each in outcomes if "unnamed" in each[1]]
    assert sum(outcome.endswith("13") for _, outcome in outcomes) > 220


@pytest.mark.usefixtures("both_ways")
def test_twin_without_checksums_is_fooled(tmp_path: Path) -> None:
    """The twin: without page checksums the same flips give other rows and nobody notices, but it is on record."""
    outcomes = _sweep(tmp_path, checksums=False, count=120)
    path = write(tmp_path / "b" / "a.parquet", rows(10), write_page_checksum=False)
    (partition,) = partitions(path)
    list((reader := ingest.PartitionReader(partition, COLUMNS, max_bytes=CAP)).batches())

    assert sum("silent" in outcome.split("/")[1] for _, outcome in outcomes) > 5
    assert reader.without_checksums == (str(path),)
