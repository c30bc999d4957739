"""The benchmark's own instruments: they see what they must, and the tables hold what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.cases import CASES, LOOP, OURS
from benchmarks.measure import CommandFailed, Usage, measure
from benchmarks.outputs import difference, look_at
from benchmarks.page import table, write
from benchmarks.rounds import Results

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
HOLD = "import time; held = b'x' * (200 << 20); time.sleep(0.5)"
WRAP = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def written(folder: Path, ids: list[str], scores: list[float], name: str = "part.parquet") -> Path:
    """Write what a contender writes."""
    folder.mkdir(exist_ok=True)
    flags = [score >= 0.7 for score in scores]
    pq.write_table(pa.table({"customer_id": ids, "prediction": scores, "risk_flag": flags}), folder / name)
    return folder


def usage(wall: float) -> Usage:
    """Make up what a command took."""
    return Usage(wall=wall, cpu=2 * wall, memory=int(wall * 2**20))


@pytest.mark.parametrize(("code", "least"), [(BURN, 0.3), (ORPHAN, 0.3), ("pass", 0.0)])
def test_cpu_of_the_whole_tree_is_counted(code, least):
    """A process that outlives its parent counts too: it is waited for."""
    found = measure([sys.executable, "-c", code])

    assert found.cpu >= least


def test_memory_of_a_child_is_seen():
    """200 MiB in a child of the command are seen."""
    assert measure([sys.executable, "-c", WRAP]).memory > 200 << 20


def test_a_failing_command_says_why():
    """The end of what it said comes along."""
    with pytest.raises(CommandFailed, match="no such thing"):
        measure([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_the_same_rows_in_another_order_are_the_same_scores(tmp_path):
    """Files and rows may come in any order, since rows are found by id."""
    one = look_at(written(tmp_path / "one", ["a", "b"], [0.25, 0.75]))
    written(tmp_path / "two", ["b"], [0.75], "a.parquet")
    two = look_at(written(tmp_path / "two", ["a"], [0.25], "b.parquet"))

    assert difference(one, two) == ""


@pytest.mark.parametrize(
    ("ids", "scores", "fact"),
    [
        (["a", "b"], [0.25, 0.7500000000000001], "1 of 2 scores differ"),
        (["a", "b"], [0.25, 0.5], "1 flags"),
        (["a", "c"], [0.25, 0.75], "other ids"),
        (["a"], [0.25], "1 rows of 2"),
    ],
)
def test_the_last_bit_is_seen(tmp_path, ids, scores, fact):
    """Another bit, flag, id or number of rows is told."""
    reference = look_at(written(tmp_path / "one", ["a", "b"], [0.25, 0.75]))

    assert fact in difference(reference, look_at(written(tmp_path / "two", ids, scores)))


def test_the_table_holds_ratios_of_each_round():
    """The ratio is the median of the rounds' ratios; who did not run, or scored otherwise, is named."""
    [work] = CASES["logreg-1m"].works
    results = Results(case=CASES["logreg-1m"])
    for loop, ours in ((1.0, 2.0), (10.0, 15.0), (2.0, 6.0)):
        results.usages["loop", work.name].append(usage(loop))
        results.usages["batchscore", work.name].append(usage(ours))
    results.absent = dict.fromkeys(("polars", "joblib", "mlflow", "dask"), "could not be installed")
    results.differs = {"batchscore": "3 of 9 scores differ"}
    text = table(results, rounds=3)

    assert f"| {LOOP.title} | 1.00 | 1.00 | 1.00 | 2.00 | 4.00 | 2 | every bit |" in text
    assert f"| {OURS.title} | 2.00 | 2.00 | 2.00 | 6.00 | 12.00 | 6 | **no** |" in text
    assert "Not measured: naive Dask, which could not be installed." in text
    assert f"Other scores: {OURS.title}: 3 of 9 scores differ." in text


def test_further_files_are_the_difference_of_two_works():
    """With two works the cost of one unit more is what is told."""
    case = CASES["small-files"]
    results = Results(case=case)
    for name in ("loop", "batchscore"):
        for work, wall in zip(case.works, (1.0, 5.9), strict=True):
            results.usages[name, work.name].append(usage(wall))

    assert "| 5.0 | 10.0 |" in table(results, rounds=1)


def test_a_block_replaces_its_own_and_nothing_else(tmp_path):
    """The text around is by hand and stays."""
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nBy hand.\n")
    write(page, {"a": "first", "b": "second"})
    write(page, {"a": r"third \1"})

    assert page.read_text() == (
        "# Performance\n\nBy hand.\n\n<!-- bench:a -->\nthird \\1\n<!-- end:a -->\n\n"
        "<!-- bench:b -->\nsecond\n<!-- end:b -->\n"
    )
