"""One plan, one result: the same bytes for any number of workers, of either kind, in any order."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from driving import DATE, Project, published, run, same_inputs, write_project
from unit import made_models

FAMILIES = (
    "logistic, 2 classes",
    "logistic, numbers, 3 classes",
    "boosting",
    "forest",
    "perceptron, numbers",
    "calibrated",
    "components",
)
QUICK = ("logistic, 2 classes", "logistic, numbers, 3 classes", "components")
ROWS = 257
PARTITIONS = 11


def project_of(kind: str, root: Path, *, group_rows: int = ROWS, rows: int | None = None) -> Project:
    """Write a project with a model of that kind: partitions of odd sizes in four files, or so many rows in one."""
    estimator, schema, make = made_models.fitted(kind)
    whole = make(ROWS * PARTITIONS, 3)
    ids = pa.array([f"r-{number:06d}" for number in range(whole.num_rows)])
    whole = whole.append_column("id", ids)
    cuts = [0, 3 * ROWS, 4 * ROWS, 9 * ROWS + 100, whole.num_rows]
    tables = [whole.slice(start, stop - start) for start, stop in pairwise(cuts if rows is None else [0, rows])]
    features = [
        {"name": f.name, "dtype": f.dtype, "nullable": f.nullable, **({"finite": False} if not f.finite else {})}
        for f in schema.features
    ]
    return write_project(root, estimator, features, tables, group_rows=group_rows, config={"partition": {"rows": ROWS}})


def tangled(chunk: int, seed: int) -> None:
    """Hand out `chunk` tasks at a time, and let them take random times, so that they end in another order."""
    from batchscore import gather
    from batchscore.cluster import threads

    original, chance = threads.chunks, random.Random(seed)
    threads.chunks = lambda partitions, _: original(partitions, chunk)
    attempt = gather.attempt

    def late(job, partition):
        time.sleep(chance.uniform(0, 0.03))
        return attempt(job, partition)

    gather.attempt = late


def variants() -> list[tuple[str, dict[str, object]]]:
    """Return the ways to run one plan: a name, and what `driving.run` is told."""
    ways: list[tuple[str, dict[str, object]]] = [
        (f"{count} threads", {"argv": ("--set", f"cluster.workers={count}")}) for count in (1, 2, 4, 8)
    ]
    ways += [
        (
            f"{chunk} at a time, shuffled",
            {"argv": ("--set", "cluster.workers=4"), "before": tangled, "given": (chunk, chunk)},
        )
        for chunk in (1, 3, 7)
    ]
    return ways


def outcome(project: Project, root: Path, **way: object) -> dict[str, bytes]:
    """Run a project's inputs into an output of their own; return what must be the same."""
    with same_inputs(project, root) as copy:
        ended = run(copy, "run", *way.pop("argv", ()), **way)
        assert ended.status == 0, ended.stderr[-3000:]
        found = published(copy)
        shutil.rmtree(root)
    return found


def scores(found: dict[str, bytes]) -> pd.DataFrame:
    """Return the predictions in input order."""
    parts = [pq.read_table(pa.BufferReader(data)) for name, data in sorted(found.items()) if name.endswith(".parquet")]
    return pa.concat_tables(parts).to_pandas()


def same_for_all(kind: str, folder: Path, *, processes: bool) -> int:
    """Compare all ways of running one plan, byte by byte; return how many were compared."""
    project = project_of(kind, folder / "project")
    ways = variants()
    if processes:
        argv = ("--set", "cluster.workers=2", "--set", "cluster.processes=true")
        ways.append(("2 processes", {"argv": argv}))
    wanted = outcome(project, folder / "first", argv=("--set", "cluster.workers=1"))
    for name, way in ways[0 if processes else 2 :]:
        assert outcome(project, folder / "other", **way) == wanted, name
    reference = scores(wanted)
    for rows in (1, 600, 100_000):
        found = scores(outcome(project, folder / "other", argv=("--set", f"partition.rows={rows}")))
        pd.testing.assert_frame_equal(found, reference, check_exact=True)
    return len(ways) + 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", QUICK)
def test_one_result_for_some_models(kind: str, fast_path: Path, figures: Callable[..., None]):
    """For 4 and 8 threads, 1, 3 and 7 tasks in flight, and in any order, all published bytes are the same."""
    figures(model=kind, ways=same_for_all(kind, fast_path, processes=False), differing=0)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", FAMILIES)
def test_one_result_for_every_family(kind: str, fast_path: Path, figures: Callable[..., None]):
    """For 1, 2, 4 and 8 threads and for processes the same, for each family of models."""
    figures(model=kind, ways=same_for_all(kind, fast_path, processes=True), differing=0)


@pytest.mark.timeout(200)
def test_one_result_for_processes_and_any_hash_seed(fast_path: Path, figures: Callable[..., None]):
    """Worker processes, and whole interpreters with random hash seeds, give the bytes that threads give."""
    project = project_of("logistic, 2 classes", fast_path / "project")
    wanted = outcome(project, fast_path / "threads")
    for seed, processes in (("0", "false"), ("4711", "true")):
        with same_inputs(project, fast_path / seed) as copy:
            argv = ["run", "--set", f"cluster.processes={processes}", "--config", "config/run.yaml", "--date", DATE]
            ended = interpreted(copy, argv, {"PYTHONHASHSEED": seed})

            assert ended == 0
            assert published(copy) == wanted
    figures(ways=3, differing=0)


def interpreted(project: Project, argv: list[str], env: dict[str, str]) -> int:
    """Run a command in an interpreter of its own, as a person does; return its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "batchscore", *argv],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        timeout=150,
        check=False,
    )
    return done.returncode


def call_on_whole_batches() -> None:
    """The broken twin: call the model on as many rows as there are."""
    from batchscore.model.preparation import Preparation

    original = Preparation.blocks
    Preparation.blocks = lambda self, rows, _: original(self, rows, rows.num_rows)


@pytest.mark.timeout(200)
def test_twin_that_scores_whole_batches_fails(fast_path: Path):
    """The test has teeth: scores of whole batches depend on how the snapshot is cut."""
    project = project_of("logistic, numbers, 3 classes", fast_path / "project", group_rows=1, rows=60)
    found = [
        scores(outcome(project, fast_path / "twin", argv=argv, before=call_on_whole_batches))
        for argv in (("--set", "partition.rows=1"), ("--set", "partition.rows=100000"))
    ]

    assert (found[0]["id"] == found[1]["id"]).all()
    assert not np.array_equal(*(each.filter(like="prediction") for each in found))


def add_floats(seed: int) -> None:
    """The broken twin: sums that are floats, added in the order of arrival."""
    from batchscore.profile.sums import Exact

    def add(self: Exact, other: Exact) -> Exact:
        mantissa, divisor = float(self.fraction + 0.0 + other.fraction).as_integer_ratio()
        return Exact.of(mantissa, 1 - divisor.bit_length())

    tangled(4, seed)
    Exact.__add__ = add


@pytest.mark.timeout(200)
def test_twin_that_adds_floats_fails(fast_path: Path):
    """The test has teeth: sums of floats depend on the order in which partitions end."""
    project = project_of("logistic, numbers, 3 classes", fast_path / "project")
    argv = ("--set", "cluster.workers=4")
    found = [outcome(project, fast_path / "twin", argv=argv, before=add_floats, given=(seed,)) for seed in range(4)]

    assert len({each["summary_metrics.json"] for each in found}) > 1
    assert len({each["predictions.parquet/part-00000.parquet"] for each in found}) == 1
