"""`batchscore backfill` as a user types it: what is missing is run, what is there is left alone, every date is told."""

from __future__ import annotations

import json

import pytest
import small_world
from small_world import CONFIG, DAY, OUTPUTS

DAYS = (DAY, "2024-03-02", "2024-03-03", "2024-03-04")
RANGE = ("--config", CONFIG, "--from", DAYS[0], "--to", DAYS[-1])


@pytest.fixture
def filled(world):
    """Give a pipeline whose first date is published and whose third has no snapshot."""
    for day in (DAYS[1], DAYS[3]):
        small_world.write_snapshot(world.path(f"data/customers_{day.replace('-', '_')}"))
    world.run()
    return world


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_a_gap_is_told_alike_however_many_run_at_once(filled, at_once):
    """The missing date is code 20 with its id, the others are published, and `-q` keeps every process quiet."""
    ended = filled("backfill", *RANGE, "--keep-going", "--max-parallel", at_once, "-q")
    lines = [line.split(maxsplit=5) for line in ended.out.splitlines()]

    assert ended.code == 20
    assert [line[:2] for line in lines[1:4]] == [
        [DAYS[1], "published"],
        [DAYS[2], "failed"],
        [DAYS[3], "published"],
    ]
    assert lines[2][4:] == ["20", lines[2][5]]
    assert lines[2][5].startswith("E-MISSING-NOT-FOUND: the snapshot ")
    assert '"level": "info"' not in ended.err
    assert not filled.path(f"{OUTPUTS}/{DAYS[2]}").exists()


def test_the_first_failure_stops_the_rest_and_the_next_try_goes_on(filled):
    """Without `--keep-going` nothing begins after a failure; with the snapshot there, only what is missing is run."""
    stopped = filled("backfill", *RANGE, "--json")
    small_world.write_snapshot(filled.path("data/customers_2024_03_03"))
    resumed = filled("backfill", *RANGE, "--json")
    again = filled("backfill", *RANGE)

    assert [each["status"] for each in json.loads(stopped.out)["dates"]] == ["published", "failed", "stopped"]
    assert [each["date"] for each in json.loads(resumed.out)["dates"]] == [DAYS[2], DAYS[3]]
    assert (stopped.code, resumed.code, again.code) == (20, 0, 0)
    assert again.out.strip() == "nothing to do; 4 were published before"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--republish", "--all"), "E-USAGE-REASON"),
        (("--republish", "--reason", "late rows"), "E-USAGE-REPUBLISH-ALL"),
        (("--to", "tomorrow"), "--to 'tomorrow' is not a date"),
    ],
)
def test_what_would_do_nothing_is_refused(filled, more, said):
    """A request that can not be meant so is code 2 and names the option, whatever is published."""
    ended = filled("backfill", *RANGE, *more)

    assert ended.code == 2
    assert said in ended.err
