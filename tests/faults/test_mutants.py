"""Damaged parquet files: each is refused in one sentence that names it, or gives the very values it gave before."""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from driving import DATE, Project, forking, make_project, numbered, published, run

from batchscore.errors import BatchscoreError
from batchscore.ingest import PartitionReader, list_snapshot
from batchscore.plan import split
from batchscore.preprocess import check_columns, raise_violations
from batchscore.schema import Feature, FeatureSchema

COLUMNS = ("id", "a", "b", "c", "kind")
SCHEMA = FeatureSchema(
    name="mutants",
    version="1",
    features=(
        *(Feature(name=name, dtype="float64") for name in "abc"),
        Feature(name="kind", dtype="string", nullable=True),
    ),
)
SECONDS = 30.0
BATCH = 100


@dataclass(frozen=True)
class Mutant:
    """One way to damage a file."""

    kind: str
    """What was done."""
    data: bytes
    """The damaged file."""


def originals() -> list[bytes]:
    """Return good files: with and without compression, of both page versions, with texts in a dictionary, all checked."""
    table = numbered(0, 500)
    table = table.append_column("kind", pa.array(["red", "green", None, "blue", "a long word"] * 100))
    files = []
    for compression in ("none", "snappy", "zstd"):
        for version in ("1.0", "2.0"):
            sink = pa.BufferOutputStream()
            pq.write_table(
                table,
                sink,
                row_group_size=200,
                compression=compression,
                data_page_version=version,
                data_page_size=1024,
                use_dictionary=["kind"],
                write_page_checksum=True,
            )
            files.append(sink.getvalue().to_pybytes())
    return files


def mutants(count: int, seed: int, files: list[bytes]) -> Iterator[tuple[int, Mutant]]:
    """Yield damaged files, each with the number of the good one that it was."""
    chance = random.Random(seed)
    for _ in range(count):
        number = chance.randrange(len(files))
        yield number, mutate(chance, files[number], files)


def mutate(chance: random.Random, good: bytes, files: list[bytes]) -> Mutant:
    """Damage a file in one of the ways that disks, networks and half-done copies do."""
    kind = chance.choice(("flip", "flips", "cut", "zeros", "footer", "length", "magic", "insert", "swap", "tail"))
    data = bytearray(good)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    at = chance.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "flips":
        for _ in range(chance.randint(2, 40)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif kind == "cut":
        del data[at:]
    elif kind == "zeros":
        stop = min(len(data), at + chance.choice((16, 512, 4096)))
        data[at:stop] = bytes(stop - at)
    elif kind == "footer":
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(footer, len(data) - 8)] = chance.randrange(256)
    elif kind == "length":
        data[-8:-4] = chance.choice((0, 1, 2**31, 2**32 - 1, chance.randrange(2 * len(data)))).to_bytes(4, "little")
    elif kind == "magic":
        data[chance.choice((-1, -2, -3, -4))] ^= 1 << chance.randrange(8)
    elif kind == "insert":
        data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 9)))
    elif kind == "swap":
        start, size = chance.randrange(4, footer), chance.choice((64, 512))
        data[at : at + size], data[start : start + size] = data[start : start + size], data[at : at + size]
    else:
        other = chance.choice(files)
        data[-chance.randint(8, 600) :] = other[-chance.randint(8, 600) :]
    return Mutant(kind, bytes(data))


def read(path: str) -> pa.Table:
    """Read a file as a run does: its footer, the contract, its partitions, every value."""
    footers = list_snapshot(path, COLUMNS)
    raise_violations(check_columns(footers, SCHEMA, id_column="id", passthrough=(), extra_columns="ignore"))
    batches = []
    for partition in split([footer.file for footer in footers], 10_000):
        reader = PartitionReader(partition, COLUMNS, max_bytes=1 << 26)
        batches += reader.batches()
    return pa.Table.from_batches(batches)


def read_batch(folder: str, numbers: list[int], reports: str) -> None:
    """In a process of its own: read the mutants of a batch; a line for each, before and after."""
    good = {name: read(str(Path(folder, f"good-{name}.parquet"))) for name in {n % 1000 for n in numbers}}
    with Path(reports).open("a", buffering=1) as sink:
        for number in numbers:
            path = Path(folder, f"mutant-{number // 1000:05d}.parquet")
            sink.write(json.dumps({"begun": number}) + "\n")
            try:
                outcome = "same values" if read(str(path)).equals(good[number % 1000]) else "WRONG VALUES"
                told = ""
            except BatchscoreError as error:
                outcome, told = f"code {error.exit_code}", error.message
            except Exception as error:  # noqa: BLE001 - what nobody foresaw is what is looked for
                outcome, told = "UNFORESEEN", f"{type(error).__name__}: {error}"
            named = not told or (path.name in told and "\n" not in told)
            sink.write(json.dumps({"done": number, "outcome": outcome if named else f"UNNAMED {told}"}) + "\n")


def watched(folder: Path, numbers: list[int], context) -> Iterator[str]:
    """Read mutants in child processes under a watch; yield what each came to. A child that dies or hangs is replaced."""
    left = numbers
    while left:
        reports = folder / f"reports-{left[0]}"
        child = context.Process(target=read_batch, args=(str(folder), left, str(reports)))
        child.start()
        moved, size = time.monotonic(), -1
        while child.is_alive() and time.monotonic() - moved < SECONDS:
            child.join(0.2)
            now = reports.stat().st_size if reports.exists() else 0
            if now != size:
                moved, size = time.monotonic(), now
        hung = child.is_alive()
        child.kill()
        child.join()
        lines = [json.loads(line) for line in reports.read_text().splitlines()] if reports.exists() else []
        done = [line for line in lines if "done" in line]
        yield from (line["outcome"] for line in done)
        left = left[len(done) :]
        if left and lines and "begun" in lines[-1]:
            yield "HUNG" if hung else f"CRASHED {child.exitcode}"
            left = left[1:]


def read_mutants(folder: Path, count: int, seed: int = 6) -> Counter[str]:
    """Damage files and read them under a watch; count what came of it."""
    context = forking()
    files, tally = originals(), Counter()
    for number, data in enumerate(files):
        (folder / f"good-{number}.parquet").write_bytes(data)
    batch: list[int] = []
    for at, (number, mutant) in enumerate(mutants(count, seed, files)):
        if mutant.data == files[number]:
            tally["not changed"] += 1
            continue
        (folder / f"mutant-{at:05d}.parquet").write_bytes(mutant.data)
        batch.append(at * 1000 + number)
        if len(batch) == BATCH:
            tally.update(watched(folder, batch, context))
            batch = []
            for path in folder.glob("mutant-*"):
                path.unlink()
    tally.update(watched(folder, batch, context))
    return tally


def check(tally: Counter[str], count: int) -> dict[str, object]:
    """See that nothing hung, crashed, or gave other values without a word; return the figures."""
    bad = {outcome: times for outcome, times in tally.items() if outcome.split()[0].isupper()}
    assert not bad, bad
    assert sum(tally.values()) == count
    return {"mutants": count, **dict(sorted(tally.items())), "hung": 0, "crashed": 0, "silently_wrong": 0}


@pytest.mark.timeout(300)
def test_some_mutants_are_refused(fast_path: Path, figures: Callable[..., None]):
    """300 damaged files: none is read as something else, none hangs or kills its reader."""
    figures(**check(read_mutants(fast_path, 300), 300))


@pytest.mark.faults
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("seed", [61, 62])
def test_ten_thousand_mutants_are_refused(fast_path: Path, figures: Callable[..., None], seed: int):
    """10,000 damaged files: none is read as something else, none hangs or kills its reader."""
    figures(**check(read_mutants(fast_path, 5000, seed), 5000))


def score_mutants(folder: Path, count: int, seed: int = 8) -> Counter[str]:
    """Run damaged snapshots through the command line; count the exit codes."""
    project = make_project(folder / "project", files=2, groups=2, rows=60)
    assert run(project).status == 0
    wanted = published(project)
    shutil.rmtree(project.outputs)
    good = project.file(1).read_bytes()
    chance, tally = random.Random(seed), Counter()
    for _ in range(count):
        mutant = mutate(chance, good, [project.file(0).read_bytes(), good])
        project.file(1).write_bytes(mutant.data)
        ended = run(project, seconds=SECONDS + 30)
        tally[f"exit {ended.status}"] += 1
        if ended.status == 0:
            check_same(project, wanted, mutant)
            shutil.rmtree(project.outputs)
            continue
        errors = [line for line in ended.told if line.startswith("error[")]
        assert ended.status in (12, 13), (mutant.kind, ended.stderr[-2000:])
        assert len(errors) == 1
        assert project.file(1).name in errors[0] or "columns" in errors[0], errors
        assert not (project.outputs / DATE).exists()
    return tally


def check_same(project: Project, wanted: dict[str, bytes], mutant: Mutant) -> None:
    """See that a damaged file that is scored was damaged where no value lies: the parts are those of the good one."""
    found = published(project)
    assert {name: data for name, data in found.items() if name.endswith(".parquet")} == {
        name: data for name, data in wanted.items() if name.endswith(".parquet")
    }, mutant.kind


@pytest.mark.timeout(300)
def test_some_mutants_through_the_command_line(fast_path: Path, figures: Callable[..., None]):
    """10 damaged snapshots: code 12 or 13, one sentence that names the file, nothing published."""
    figures(mutants=10, **score_mutants(fast_path, 10))


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_two_hundred_mutants_through_the_command_line(fast_path: Path, figures: Callable[..., None]):
    """200 damaged snapshots through the command line: code 12 or 13 in one sentence, or the very same parts."""
    figures(mutants=200, **score_mutants(fast_path, 200))


def test_twin_that_does_not_verify_pages_fails(fast_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test has teeth: without page checksums, damaged files give other values without a word."""
    original = pq.ParquetFile

    def unchecked(*args, **options):
        return original(*args, **(options | {"page_checksum_verification": False}))

    monkeypatch.setattr(pq, "ParquetFile", unchecked)
    files = originals()
    good = []
    for number, data in enumerate(files):
        (fast_path / f"{number}.parquet").write_bytes(data)
        good.append(read(str(fast_path / f"{number}.parquet")))
    wrong = 0
    for number, mutant in mutants(200, 6, files):
        (fast_path / "mutant.parquet").write_bytes(mutant.data)
        try:
            wrong += not read(str(fast_path / "mutant.parquet")).equals(good[number])
        except BatchscoreError:
            continue

    assert wrong > 5
