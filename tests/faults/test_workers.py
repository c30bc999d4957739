"""Worker processes that die, freeze, crash or run out of memory: the run finishes, or ends in a code of its own."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import deadly
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deadly import DEADLY, DeadlyRegression
from driving import (
    DATE,
    Driver,
    Project,
    finished_partitions,
    make_project,
    metadata,
    numbered,
    published,
    run,
    same_inputs,
    start,
    until,
    write_project,
)

PROCESSES = ("run", "--set", "cluster.processes=true", "--set", "cluster.start_minutes=0.5")


def on_workers(log: str, seconds: float, crash: str = "", crash_at: int = -1) -> None:
    """Have every task note its execution and take its time; one partition may be deadly.

    Args:
        log: The file that gets a line per execution.
        seconds: How long a task takes besides its work.
        crash: What the deadly partition does: `segfault` or `memory`.
        crash_at: Its index.
    """
    import functools

    from batchscore import gather

    task = functools.partial(noted, gather.attempt, log, seconds, crash, crash_at)
    gather.attempt = task


def noted(attempt, log, seconds, crash, crash_at, job, partition):
    """Run a task on a worker, after a note."""
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    if job.work.report(partition.index) is None:
        os.write(descriptor, f"{partition.index} {os.getpid()}\n".encode())
    os.close(descriptor)
    if partition.index == crash_at and crash == "segfault":
        deadly.crash()
    if partition.index == crash_at and crash == "memory":
        _ = [bytearray(50_000_000) for _ in range(100_000)]
    time.sleep(seconds)
    return attempt(job, partition)


def workers_of(driver: Driver) -> list[psutil.Process]:
    """Return the worker processes below a driver that have begun to work."""
    try:
        below = psutil.Process(driver.pid).children(recursive=True)
        return [each for each in below if "spawn_main" in " ".join(each.cmdline())]
    except psutil.Error:
        return []


def executions(log: Path) -> list[int]:
    """Return the partitions that were executed, with repetitions."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def chaos(folder: Path, *, files: int, groups: int, every: float, task: float) -> dict[str, object]:
    """Kill a worker every few seconds, one that is past its first partition; return what came of it."""
    project = make_project(folder / "project", files=files, groups=groups)
    assert run(project).status == 0
    wanted = published(project)
    victim = Project(folder / "victim")
    victim.root.mkdir()
    for name in ("data", "config", "models"):
        (victim.root / name).symlink_to(project.root / name)
    log, kills = folder / "log", 0
    driver = start(victim, *PROCESSES, before=on_workers, given=(str(log), task))
    until(lambda: len(executions(log)) >= 2)
    while driver.alive:
        at_work = [worker for worker in workers_of(driver) if worked(log)[worker.pid] > 1]
        if at_work:
            at_work[kills % len(at_work)].kill()
            kills += 1
        driver.process.join(every)
    ended = driver.wait()
    assert ended.status == 0, ended.stderr[-3000:]
    assert published(victim) == wanted
    extra = len(executions(log)) - files * groups
    assert extra <= kills
    return {"partitions": files * groups, "kills": kills, "extra_executions": extra, "wrong": 0}


def worked(log: Path) -> Counter[int]:
    """Return how many partitions each worker process has begun."""
    return Counter(int(line.split()[1]) for line in log.read_text().splitlines())


@pytest.mark.timeout(300)
def test_workers_killed_now_and_then(fast_path: Path, figures: Callable[..., None]):
    """A run of 12 partitions finishes, with the same bytes, while workers at work are killed."""
    numbers = chaos(fast_path, files=4, groups=3, every=1, task=0.2)

    assert numbers["kills"] >= 1
    figures(**numbers)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_workers_killed_every_few_seconds(fast_path: Path, figures: Callable[..., None]):
    """A run of 200 partitions finishes, with the same bytes, while a worker is killed every 5 seconds."""
    numbers = chaos(fast_path, files=8, groups=25, every=5, task=0.5)

    assert numbers["kills"] > 5
    figures(**numbers)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("crash", ["segfault", pytest.param("memory", marks=pytest.mark.faults)])
def test_a_deadly_partition_is_named(fast_path: Path, figures: Callable[..., None], crash: str):
    """A partition that crashes every worker is code 24 with its file; what the others made is kept, and found again."""
    project = make_project(fast_path / "project", files=6)
    env = {"DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "0.5"} if crash == "memory" else {}
    given = (str(fast_path / "log"), 0.05, crash, 3)
    if crash == "memory":
        given = (*given, 700 * 1024**2)
    ended = run(
        project, *PROCESSES, env=env, before=limited if crash == "memory" else on_workers, given=given, seconds=150
    )

    assert ended.status == 24, ended.stderr[-3000:]
    assert ended.told[-3].startswith("error[E-PARTITIONS-KILLED-WORKER]: partition 3 killed 3 workers")
    assert "part-003.parquet" in ended.told[-3]
    again = run(project)
    assert again.status == 0
    # Those before it are always kept; one behind it may have been cancelled before it was done.
    kept = metadata(project)["reused_partitions"]
    assert kept >= 3
    figures(crash=crash, exit="24", kept=kept)


def limited(log: str, seconds: float, crash: str, crash_at: int, memory: int) -> None:
    """Do as `on_workers`, with a limit on the memory of each worker."""
    import functools

    import distributed

    on_workers(log, seconds, crash, crash_at)
    distributed.LocalCluster = functools.partial(distributed.LocalCluster, memory_limit=memory)


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_a_frozen_worker_is_replaced(fast_path: Path, figures: Callable[..., None]):
    """A worker that stops answering is given up, and the run finishes with the same bytes."""
    project = make_project(fast_path / "project")
    log = fast_path / "log"
    argv = (*PROCESSES, "--set", "cluster.silence_minutes=0.1")
    driver = start(project, *argv, before=on_workers, given=(str(log), 0.5))
    until(lambda: len(executions(log)) >= 2)
    frozen = int(log.read_text().split()[1])
    os.kill(frozen, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        ended = driver.wait(100)
    finally:
        if psutil.pid_exists(frozen):
            os.kill(frozen, signal.SIGKILL)

    assert ended.status == 0, ended.stderr[-3000:]
    assert project.store.verify(DATE).problems == ()
    figures(frozen=1, seconds=round(time.monotonic() - begun, 1), wrong=0)


def never_stops() -> None:
    """In a driver, before its command: let a local cluster wait for ever for the end of its workers."""
    import asyncio

    from distributed import LocalCluster

    from batchscore.cluster import processes

    processes.STOP_SECONDS = 1.0

    async def close(_cluster):
        await asyncio.sleep(3600)

    LocalCluster._close = close


@pytest.mark.timeout(200)
def test_a_cluster_that_does_not_stop_holds_no_run_up(fast_path: Path):
    """Its workers are killed, the run is published, and nothing is left behind."""
    project = make_project(fast_path / "project", files=2, groups=2)
    driver = start(project, *PROCESSES, before=never_stops)
    until(lambda: workers_of(driver))
    workers = workers_of(driver)
    ended = driver.wait(90)

    assert ended.status == 0, ended.stderr[-3000:]
    assert "its workers are killed" in ended.stderr
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    assert project.store.verify(DATE).problems == ()


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_no_workers_left_is_a_code(fast_path: Path, figures: Callable[..., None]):
    """When all workers are gone and none comes back, the run ends with 22, in time."""
    project = make_project(fast_path / "project")
    log = fast_path / "log"
    argv = (*PROCESSES[:3], "--set", "cluster.start_minutes=0.2")
    driver = start(project, *argv, before=never_again, given=(str(log), 0.5))
    until(lambda: len(executions(log)) >= 2)
    for worker in workers_of(driver):
        worker.kill()
    begun = time.monotonic()
    ended = driver.wait(90)

    assert ended.status == 22, ended.stderr[-3000:]
    assert time.monotonic() - begun < 12 + 30
    figures(exit="22", seconds=round(time.monotonic() - begun, 1))


def never_again(log: str, seconds: float) -> None:
    """Do as `on_workers`, where no worker can be started once two were."""
    from distributed import nanny

    on_workers(log, seconds)
    started: list[object] = []
    original = nanny.Nanny.instantiate

    async def instantiate(self):
        started.append(self)
        if len(started) > 2:
            raise OSError("no more processes")
        return await original(self)

    nanny.Nanny.instantiate = instantiate


@pytest.mark.faults
@pytest.mark.timeout(200)
def test_no_worker_process_outlives_its_driver(fast_path: Path, figures: Callable[..., None]):
    """After SIGKILL of the driver its workers leave by themselves, and the rerun goes on."""
    project = make_project(fast_path / "project")
    log = fast_path / "log"
    driver = start(project, *PROCESSES, before=on_workers, given=(str(log), 0.5))
    until(lambda: len(executions(log)) >= 3)
    workers = workers_of(driver)
    driver.signal(signal.SIGKILL)
    driver.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    again = run(project)

    assert workers
    assert left == []
    assert again.status == 0
    figures(workers=len(workers), left=0)


@pytest.mark.timeout(200)
def test_a_stopped_run_takes_its_workers_with_it(fast_path: Path):
    """SIGTERM ends a run with worker processes at work within seconds, and none of them stays."""
    project = make_project(fast_path / "project")
    log = fast_path / "log"
    driver = start(project, *PROCESSES, before=on_workers, given=(str(log), 30))
    until(lambda: len(executions(log)) >= 2)
    workers = workers_of(driver)
    driver.signal(signal.SIGTERM)
    begun = time.monotonic()
    ended = driver.wait(40)
    _, left = psutil.wait_procs(workers, timeout=20)

    assert ended.status == 143
    assert time.monotonic() - begun < 20
    assert left == []


def deadly_project(root: Path, *, most: int = 3) -> Project:
    """Write a project of four partitions whose model crashes over three rows: two in one partition, one in another."""
    rows, known = 24, np.random.default_rng(7).normal(size=(200, 3))
    model = DeadlyRegression().fit(known, known.sum(axis=1) > 0)
    tables = [numbered(number * rows, rows) for number in range(4)]
    for number, row in ((1, 0), (1, 17), (3, rows - 1)):
        values = tables[number]["a"].to_pylist()
        values[row] = DEADLY
        tables[number] = tables[number].set_column(1, "a", [values])
    keys = {
        "partition": {"rows": rows},
        "rows": {"on_bad": "quarantine", "max_bad_count": most, "max_bad_percent": 10},
    }
    features = [{"name": name, "dtype": "float64"} for name in ("a", "b", "c")]
    return write_project(root, model, features, tables, group_rows=rows, config=keys)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_deadly_rows_are_set_aside(fast_path: Path, figures: Callable[..., None]):
    """Whatever the number of workers, the same three rows are; the rest is published, replayed and explained."""
    project = deadly_project(fast_path / "project")
    results = []
    for workers in (1, 3):
        with same_inputs(project, fast_path / f"with-{workers}") as other:
            ended = run(other, *PROCESSES, "--set", f"cluster.workers={workers}", seconds=1200)
            assert ended.status == 0, ended.stderr[-3000:]
            results.append(published(other))
    [one, three] = results
    aside = pa.concat_tables(
        [pq.read_table(pa.BufferReader(data)) for name, data in one.items() if "quarantine" in name]
    )
    again = [run(other, command) for command in ("verify", "replay")]
    asked = run(other, "why", aside["id"][0].as_py())
    figures(workers="1, 3", rows_set_aside=aside.num_rows, exit="0")

    assert one == three
    assert aside.select(["id", "row_number", "reasons"]).to_pylist() == [
        {"id": "r-0000024", "row_number": 0, "reasons": ["killed-worker"]},
        {"id": "r-0000041", "row_number": 17, "reasons": ["killed-worker"]},
        {"id": "r-0000095", "row_number": 23, "reasons": ["killed-worker"]},
    ]
    assert [each.status for each in again] == [0, 0], again[1].stdout + again[1].stderr[-2000:]
    assert "killed-worker" in asked.stdout


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_more_deadly_rows_than_the_budget_end_the_run(fast_path: Path, figures: Callable[..., None]):
    """Code 16, which no attempt would mend; nothing is published, and what the other partitions made is kept."""
    project = deadly_project(fast_path / "project", most=1)
    ended = run(project, *PROCESSES, seconds=1200)
    figures(exit=str(ended.status))

    assert ended.status == 16, ended.stderr[-3000:]
    assert ended.told[-3].startswith("error[E-ROWS-BUDGET]: at least 2 of 96 rows are bad (killed-worker 2)")
    assert project.store.head(DATE) is None
    assert finished_partitions(project) > 0
