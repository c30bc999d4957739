"""The command line of these tests is the real one: a fork answers as a fresh interpreter does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from forked_cli import Ended, real_cli
from small_world import CONFIG, DAY

RUN = ("run", "--config", CONFIG, "--date", DAY)
CLOCKED = {"run_id", "started_at", "ended_at", "execution_time_sec", "stages", "partition_seconds", "files", "hosts"}
"""What two runs of the same plan never share."""
MEASURED = {"peak_worker_memory_bytes", "sha256", "summary_sha256", "manifest_sha256", "metadata_sha256", "run", "at"}
LOADED = {"threadpools"}
"""The warm process has loaded more libraries than one run needs."""


def told(ended: Ended) -> dict[str, Any]:
    """Return a command's JSON document without clocks and measurements."""
    return _without(ended.document)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in CLOCKED | MEASURED | LOADED}
    return [_without(item) for item in value] if isinstance(value, list) else value


def events(ended: Ended) -> list[tuple[str, str]]:
    """Return the log's events by level; the versions of a record are compared in the document."""
    return [(line["level"], line["event"]) for line in ended.logs if line["event"] != "progress"]


@pytest.mark.timeout(180)
def test_a_fork_publishes_what_a_fresh_interpreter_publishes(world, another_world):
    """The same exit code, document, log lines and bytes of predictions."""
    fresh_world = another_world("fresh")
    forked = world.run("--json")
    fresh = real_cli(*RUN, "--json", cwd=fresh_world.root)
    digests = [json.loads(w.path(f"outputs/{DAY}/manifest.json").read_text())["parts"] for w in (world, fresh_world)]

    assert (forked.code, fresh.code) == (0, 0), forked.err
    assert told(forked) == told(fresh)
    assert events(forked) == events(fresh)
    assert digests[0] == digests[1]


@pytest.mark.timeout(180)
def test_a_fork_fails_as_a_fresh_interpreter_fails(world, another_world):
    """The same exit code and the same text on both streams, but for the log's times and ids."""
    fresh_world = another_world("fresh")
    for each in (world, fresh_world):
        each.configure(model__sha256="0" * 64)
    forked = world.run()
    fresh = real_cli(*RUN, cwd=fresh_world.root)
    said = [[line for line in each.err.splitlines() if not line.startswith("{")] for each in (forked, fresh)]

    assert (forked.code, forked.out) == (fresh.code, fresh.out) == (11, "")
    assert said[0] == said[1]
    assert events(forked) == events(fresh)


def test_the_server_has_no_pool_of_threads(world):
    """Nothing was run before a fork, and nothing stays after one; jemalloc's own thread, of pyarrow, knows of forks."""
    before = world.cli.threads()
    world.run()

    assert before | world.cli.threads() <= {"jemalloc_bg_thd"}
