"""`python -m benchmarks.scale`: what 100,000 files and 100,000 partitions cost the driver and the scheduler.

Plan: real files (tiny ones, hard links of one), through the real check, each count in a fresh process.
Hand out: a real scheduler, light workers and tasks that only report, through the real code that hands out and gathers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from benchmarks.cases import DAY, ROOT, Work

COUNTS = (10_000, 50_000, 100_000)
ROWS = 100
"""Rows of each tiny file."""
LINKS = 10_000
"""Hard links to one file; the next ones are of a copy, since file systems limit them."""
WORKERS = 32
_FOLDER = ROOT / "scale"
_MIB = 2**20


def main() -> None:
    """Measure every count and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, help=f"default: {' '.join(map(str, COUNTS))}")
    parser.add_argument("--only", choices=("plan", "tasks"))
    given = parser.parse_args()
    counts = given.counts or COUNTS
    if given.only != "tasks":
        print(
            "| files | check and plan s | CPU s | ms a file | documents s | manifest MiB | memory before → peak MiB |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for count in counts:
            print(_plan_line(count), flush=True)
    if given.only != "plan":
        print(
            "| partitions | hand out and gather s | CPU ms a task: driver | of it adding up | scheduler "
            "| driver MiB before → peak | scheduler MiB before → peak | most tasks held |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|---:|")
        for count in counts:
            print(_fresh("hand_out", count), flush=True)


def _plan_line(count: int) -> str:
    make_files(count)
    return _fresh("plan", count)


def _fresh(what: str, count: int) -> str:
    """Call a function of this module in a process of its own, whose memory is only its own."""
    code = f"from benchmarks import scale; print(scale.{what}({count}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout.strip().splitlines()[-1]


def make_files(count: int) -> Path:
    """Make so many tiny files of one schema, unless they are there."""
    work = Work(rows=ROWS, files=1, model="logreg")
    work.build()
    folder = _FOLDER / str(count)
    if (folder / "_SUCCESS").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"part-{number:06d}.parquet"
        if number % LINKS == 0:
            first = shutil.copy(work.data, path)
        else:
            path.hardlink_to(first)
    (folder / "_SUCCESS").touch()
    return folder


def plan(count: int) -> str:
    """Check and plan a snapshot of so many files; return a line of the table."""
    from batchscore import check
    from batchscore.config import load_config

    folder = (_FOLDER / str(count)).absolute()
    os.chdir(Work(rows=ROWS, files=1, model="logreg").folder)
    config = load_config(["config/churn.yaml"], [f"snapshot.path={folder}", "partition.rows=1"])
    check.verify_model(config, check.load_schema(config)[0], DAY)  # what it imports shall not count
    before, began, cpu = _memory("VmRSS"), time.monotonic(), time.process_time()
    checked = check.check_date(config, DAY)
    identity = (checked.plan.plan_id, checked.plan.input_id)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    began = time.monotonic()
    size = _documents(checked)
    documents = time.monotonic() - began
    assert len(checked.footers) == count and all(identity)  # noqa: PT018, S101 - else nothing was measured
    return (
        f"| {count:,} | {seconds:.1f} | {cpu:.1f} | {1e3 * seconds / count:.2f} | {documents:.1f} "
        f"| {size / _MIB:.0f} | {before:.0f} → {_memory('VmHWM'):.0f} |"
    )


def _documents(checked: Any) -> int:
    """Write the manifest of a run of which every file was a partition; return its bytes."""
    from dataclasses import replace

    from batchscore.documents import manifest_document
    from batchscore.report import InputRange, Totals
    from batchscore.store.sealed import seal

    totals, report = Totals(), a_report(0)
    for partition in checked.plan.partitions:
        paths = tuple(fragment.path for fragment in partition.fragments)
        inputs = tuple(InputRange(path=path, ranges=((0, 9_999),), sha256="0" * 64, whole=True) for path in paths)
        totals.reports[partition.index] = replace(report, index=partition.index, inputs=inputs, features={}, scores={})
    return len(seal(manifest_document(checked.plan, totals)))


def hand_out(count: int) -> str:
    """Hand out so many partitions to light workers and add up their reports; return a line of the table."""
    from batchscore.cluster import ClusterOptions, connect
    from batchscore.report import Totals

    partitions, totals = tuple(_partition(index) for index in range(count)), Totals()
    with _Cluster() as cluster:
        options = ClusterOptions(kind="address", address=cluster.address, workers=WORKERS)
        with connect(options, partitions) as workers:
            seen = _Seen(workers, cluster.scheduler)
            began = time.monotonic()

            def take(report: Any) -> None:
                at = time.thread_time()
                totals.add(report)
                seen.adding += time.thread_time() - at
                seen.look()

            workers.run(report_only, partitions, take)
            seen.look(surely=True)
            assert len(totals.reports) == count  # noqa: S101 - else nothing was measured
            return f"| {count:,} | {time.monotonic() - began:.1f} {seen.cells(count)} |"


def report_only(partition: Any) -> Any:
    """Do nothing but report: the task of a light worker."""
    return a_report(partition.index)


def a_report(index: int) -> Any:
    """Return a report of the size of a real one: 20 features, of which 17 are numbers, and a score."""
    from dataclasses import replace

    return replace(_model_report(), index=index)


def _model_report(kept: list[Any] = []) -> Any:  # noqa: B006 - made once in a process
    if not kept:
        import numpy as np

        from batchscore.profile import profile_scores
        from batchscore.report import InputRange, Part, PartitionReport

        scores = np.random.default_rng(1).random(2_000)
        profile = profile_scores(scores, probability=True).to_dict()
        part = Part(name="part.parquet", sha256="0" * 64, size=1, rows=1, logical_sha256="0" * 64)
        kept.append(
            PartitionReport(
                index=0,
                **dict.fromkeys(("read_rows", "scored_rows", "id_digest", "scored_id_digest"), 1),
                **dict.fromkeys(("rejected_rows", "flagged_rows", "rejected_id_digest"), 0),
                rejected={},
                predictions=part,
                quarantine=None,
                inputs=(InputRange(path="data/part.parquet", ranges=((0, 1),), sha256="0" * 64, whole=True),),
                features={},
                scores={f"column-{number:02d}": profile for number in range(18)},
            )
        )
    return kept[0]


def _partition(index: int) -> Any:
    from batchscore.plan import Fragment, Partition

    path = f"data/batch/customers_2026_02_08/part-{index:06d}.parquet"
    digest = f"{index:064x}"
    fragment = Fragment(
        path=path, size=1, footer_sha256=digest, object_version=None, row_groups=(0,), first_row=0, rows=1
    )
    return Partition(index=index, fragments=(fragment,), rows=1, decoded_bytes=1)


class _Seen:
    """What driver and scheduler take: CPU, memory, and the most tasks that the scheduler was seen to hold."""

    def __init__(self, workers: Any, scheduler: int) -> None:
        self.adding = 0.0
        self._workers = workers
        self._pids = (os.getpid(), scheduler)
        self._before = [(_cpu(pid), _memory("VmRSS", pid)) for pid in self._pids]
        self._tasks = 0
        self._next = 0.0

    def look(self, *, surely: bool = False) -> None:
        """Count the scheduler's tasks, but not more often than twice a second."""
        if surely or time.monotonic() > self._next:
            self._tasks = max(self._tasks, self._workers._client.run_on_scheduler(_tasks))  # noqa: SLF001 - its client
            self._next = time.monotonic() + 0.5

    def cells(self, count: int) -> str:
        """Return the cells of a line."""
        cpu = [1e3 * (_cpu(pid) - before) / count for pid, (before, _) in zip(self._pids, self._before, strict=True)]
        memory = [
            f"{before:.0f} → {_memory('VmHWM', pid):.0f}"
            for pid, (_, before) in zip(self._pids, self._before, strict=True)
        ]
        adding = f"{1e3 * self.adding / count:.2f}"
        return f"| {cpu[0]:.2f} | {adding} | {cpu[1]:.2f} | {' | '.join(memory)} | {self._tasks:,}"


def _tasks(dask_scheduler: Any = None) -> int:
    return len(dask_scheduler.tasks)


class _Cluster:
    """A scheduler in a process, and `WORKERS` workers of one thread in another."""

    def __enter__(self) -> Self:
        """Start both."""
        self._file = _FOLDER / "scheduler.json"
        _FOLDER.mkdir(parents=True, exist_ok=True)
        self._file.unlink(missing_ok=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        dask = [sys.executable, "-m", "dask", "scheduler", "--no-dashboard", "--host", "127.0.0.1", "--port", "0"]
        self._scheduler = subprocess.Popen([*dask, "--scheduler-file", str(self._file)], **quiet)  # noqa: S603
        deadline = time.monotonic() + 120
        while not self._file.exists():
            if time.monotonic() > deadline:
                raise SystemExit("the scheduler did not start")
            time.sleep(0.1)
        self.scheduler = self._scheduler.pid
        self.address = json.loads(self._file.read_text())["address"]
        code = f"from benchmarks import scale; scale.work({self.address!r})"
        self._workers = subprocess.Popen([sys.executable, "-c", code], **quiet)  # noqa: S603
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both."""
        for process in (self._workers, self._scheduler):
            process.terminate()
            process.wait()


def work(address: str) -> None:
    """Be `WORKERS` workers of one thread each, until stopped."""
    import asyncio

    from distributed import Worker

    async def serve() -> None:
        workers = [await Worker(address, nthreads=1, dashboard=False) for _ in range(WORKERS)]
        await asyncio.gather(*(worker.finished() for worker in workers))

    asyncio.run(serve())


def _cpu(pid: int) -> float:
    """Return the user and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(what: str, pid: int | None = None) -> float:
    """Return VmRSS or VmHWM of a process, in MiB."""
    lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    main()
