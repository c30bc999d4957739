"""What a run costs in counts, which no busy machine can move: files opened, models loaded, tasks, syncs, bytes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from forked_cli import ROOT
from small_world import CONFIG, DAY, MODEL, OUTPUTS, SNAPSHOT, World, write_snapshot

from batchscore import parts

SPY = """
import gc, json, os, sys
from collections import Counter
import typer.main
opened, synced, built = Counter(), Counter(), []
collected = []
def note(event, args):
    if event == "open" and isinstance(args[0], str):
        opened[args[0]] += 1
        if "_batchscore/work" in args[0] and args[0].endswith(".parquet"):
            collected.append((sum(each["collections"] for each in gc.get_stats()), gc.isenabled()))
sys.addaudithook(note)
real = os.fsync
def fsync(descriptor):
    synced["fsync"] += 1
    real(descriptor)
os.fsync = fsync
build = typer.main.get_command_from_info
typer.main.get_command_from_info = lambda *given, **more: built.append(1) or build(*given, **more)
leave = os._exit
def tell_and_leave(code):
    looked = sys.modules["pydantic.plugin._loader"]._plugins is not None
    print("COSTS " + json.dumps([opened, collected[0], synced["fsync"], len(built), looked]), file=sys.stderr, flush=True)
    leave(code)
os._exit = tell_and_leave
"""
FEW = 100
"""Collections before the first part is stored: those of the interpreter's own start, and of the scoring."""
MAIN = "sys.argv = ['batchscore', *sys.argv[1:]]\nfrom batchscore.cli import main; main()"
TAKEN_AND_FREED = """
import resource, sys
import numpy as np
from batchscore import machine
if "kept" in sys.argv:
    machine.keep_freed_memory()
for _ in range(50):
    several = [np.ones(400_000) for _ in range(8)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
ALL_AT_START = """
import batchscore.cli
batchscore.cli._leave_out_others = lambda argv: None
os.getenv = lambda name, default=None: default
"""
HASHED_TWICE = """
from batchscore.ingest import reading
class Twice(reading.PartitionReader):
    def _load(self, fragment):
        super()._load(fragment)
        self._inputs.clear()
        return super()._load(fragment)
reading.PartitionReader = Twice
import batchscore.score.job as job
job.PartitionReader = Twice
"""


class Costs:
    """What one run in a fresh interpreter opened, synced and built, and how often garbage was looked for before a part was."""

    def __init__(self, world: World, *more: str, twin: str = "") -> None:
        command = [sys.executable, "-c", SPY + twin + MAIN, "run", "--config", CONFIG, "--date", DAY, *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, cwd=world.root, env=environment, capture_output=True, text=True, check=True)
        line = next(each for each in done.stderr.splitlines() if each.startswith("COSTS "))
        opened, (self.collections, self.collects), *rest = json.loads(line.removeprefix("COSTS "))
        self.opened = Counter(opened)
        self.syncs, self.built, self.looks_for_plugins = rest

    def of_snapshot(self) -> dict[str, int]:
        """Return how often each file of the snapshot was opened."""
        return {path.rsplit("/", 1)[-1]: count for path, count in self.opened.items() if path.startswith(SNAPSHOT)}


def small_files(world: World, files: int, rows: int = 300) -> World:
    """Cut the world's snapshot into so many files, and have all of them be one partition."""
    for path in world.path(SNAPSHOT).glob("*.parquet"):
        path.unlink()
    write_snapshot(world.path(SNAPSHOT), rows=rows, files=files)
    world.configure(partition__rows=1_000)
    return world


@pytest.mark.timeout(300)
def test_a_small_file_is_opened_twice_and_the_model_once(world):
    """The driver reads a footer, a worker the file; the model is opened once for all that is done with it."""
    costs = Costs(small_files(world, 12))

    assert costs.of_snapshot() == {f"part-{number}.parquet": 2 for number in range(12)}
    assert costs.opened[MODEL] == 1


@pytest.mark.timeout(300)
def test_nothing_is_collected_while_the_run_starts(world):
    """Imports leave no garbage to look for; from the scoring on the collector runs."""
    costs = Costs(small_files(world, 3))

    assert costs.collections < FEW
    assert costs.collects


@pytest.mark.timeout(300)
def test_twin_that_collects_is_seen(world):
    """With the collector running from the start there are hundreds of collections: the count above can fail."""
    assert Costs(small_files(world, 3), twin="gc.disable = lambda: None\n").collections > FEW


@pytest.mark.timeout(300)
def test_one_command_is_built_and_no_plugin_is_looked_for(world):
    """Of all commands the one that is asked for is built, and pydantic asks no installed package for plugins."""
    costs = Costs(small_files(world, 1))

    assert (costs.built, costs.looks_for_plugins) == (1, False)


@pytest.mark.timeout(300)
def test_twin_that_builds_all_at_the_start_is_seen(world):
    """All commands are built and plugins are looked for: the test above can fail."""
    costs = Costs(small_files(world, 1), twin=ALL_AT_START)

    assert costs.built > 15
    assert costs.looks_for_plugins


@pytest.mark.timeout(300)
def test_twin_that_reads_twice_is_seen(world):
    """A worker that reads each file twice opens it three times: the count above can fail."""
    costs = Costs(small_files(world, 3), twin=HASHED_TWICE)

    assert costs.of_snapshot() == {f"part-{number}.parquet": 3 for number in range(3)}


@pytest.mark.timeout(300)
def test_more_files_cost_no_sync_and_no_task(world, another_world):
    """What is stored, and synced, goes by partition and not by file: small files share one."""
    few, many = small_files(world, 2), small_files(another_world("many"), 30)
    syncs = [Costs(each).syncs for each in (few, many)]
    parts = [len(list(each.path(f"{OUTPUTS}/{DAY}/predictions.parquet").iterdir())) for each in (few, many)]

    assert syncs[0] == syncs[1]
    assert parts == [1, 1]


@pytest.mark.timeout(300)
def test_twin_with_more_partitions_costs_more(world):
    """Three partitions of the same rows are synced more often than one: the comparison above can fail."""
    world = small_files(world, 3)
    one = Costs(world).syncs
    world.configure(partition__rows=100, output__path="outputs-three")

    assert Costs(world).syncs > one


@pytest.mark.timeout(300)
def test_a_row_costs_few_bytes(world):
    """A prediction of id, score and flag takes at most 20 bytes: zstd, and no dictionary of values that are all new."""
    small_files(world, 1, rows=5_000)
    world.configure(partition__rows=10_000)
    ended = world.run()
    size = sum(path.stat().st_size for path in world.path(f"{OUTPUTS}/{DAY}/predictions.parquet").iterdir())

    assert ended.code == 0, ended.err
    assert size < 20 * 5_000


def test_twin_with_a_dictionary_costs_more(monkeypatch):
    """Ids that are all new, written with a dictionary, take more bytes: the writer's options are what is bounded."""
    rng = np.random.default_rng(5)
    table = pa.table({"id": [f"C-{each:010d}" for each in rng.permutation(20_000)], "score": rng.random(20_000)})
    plain = len(parts.serialise(table).data)
    monkeypatch.setitem(parts.WRITER, "use_dictionary", value=True)

    assert len(parts.serialise(table).data) > 1.1 * plain


def test_freed_memory_is_kept(missing):
    """What is taken and freed again and again faults in once; the twin, without our settings, faults each time."""
    if platform.libc_ver()[0] != "glibc":
        missing("glibc")
    # A cluster of worker processes that another test had in this process leaves its settings here.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    line = [sys.executable, "-c", TAKEN_AND_FREED]
    kept, twin = (
        int(subprocess.run([*line, word], env=plain, capture_output=True, check=True).stdout)
        for word in ("kept", "twin")
    )

    assert twin - kept > 20 * 8 * 400_000 * 8 / 4096
