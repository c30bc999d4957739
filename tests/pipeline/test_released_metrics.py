"""A held run tells that it is held, and its release tells the same numbers as if no gate had held it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from servers import pushgateway
from small_world import CONFIG, DAY, ROWS, World


def test_a_release_ends_what_the_hold_began(world: World, require: Callable[[str], str], tmp_path: Path):
    """In the group of the scheduled run: held and without rows first, then published with all of them."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url, volume__min_rows=ROWS + 1, volume__on_breach="hold")
        held = world.run("--run-type=scheduled")
        before = _plain(gateway.series())
        released = world("release", "--config", CONFIG, "--date", DAY, "--reason", "seen")
        after = _plain(gateway.series())

    assert (held.code, released.code) == (15, 0)
    assert (before["last_run_held"], before["last_run_success"], "scored_rows" in before) == (1.0, 0.0, False)
    assert (after["last_run_held"], after["last_run_success"], after["scored_rows"]) == (0.0, 1.0, float(ROWS))


def test_a_discard_ends_what_the_hold_began(world: World, require: Callable[[str], str], tmp_path: Path):
    """Of two held dates the first discard leaves the alert to the other; no discard claims a success or other times."""
    other = "2024-03-02"
    world.deliver(other)
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url, volume__min_rows=ROWS + 1, volume__on_breach="hold")
        held = [world.run("--run-type=scheduled", date=day).code for day in (DAY, other)]
        states = [_plain(gateway.series())]
        for day in (DAY, other):
            dropped = world("discard", "--config", CONFIG, "--date", day, "--reason", "half of it is missing")
            assert dropped.code == 0, dropped.err
            states.append(_plain(gateway.series()))

    assert held == [15, 15]
    assert [state["last_run_held"] for state in states] == [1.0, 1.0, 0.0]
    assert states[2] | {"last_run_held": 1.0} == states[0]
    assert states[2]["last_run_success"] == 0.0


def test_a_released_date_is_what_was_scored(world: World, require: Callable[[str], str], tmp_path: Path):
    """A scheduled run that was held and released is scheduled in `runs`, and the newest for `metrics push`."""
    other = "2024-03-02"
    world.deliver(other)
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        first = world.run("--run-type=scheduled")
        world.configure(volume__min_rows=ROWS + 1, volume__on_breach="hold")
        second = world.run("--run-type=scheduled", date=other)
        released = world("release", "--config", CONFIG, "--date", other, "--reason", "seen", "--by", "ana")
        newest, older = (world("metrics", "push", "--config", CONFIG, "--date", day) for day in (other, DAY))
    listed = world("runs", "--config", CONFIG, "--json").document["runs"]

    assert (first.code, second.code, released.code, newest.code, older.code) == (0, 15, 0, 0, 0)
    assert [(run["date"], run["run_type"], run["reason"]) for run in listed] == [
        (DAY, "scheduled", None),
        (other, "scheduled", "seen"),
    ]
    assert listed[1]["by"] == "ana"
    assert "note:" not in newest.out
    assert f"the newest scheduled date is {other}" in older.out


def test_pushing_an_older_date_says_that_the_newest_is_not_what_the_alerts_see(
    world: World, require: Callable[[str], str], tmp_path: Path
):
    """A push of the newest scheduled date says nothing; one of an older date says so and names the newest."""
    other = "2024-03-02"
    world.deliver(other)
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        ran = [world.run("--run-type=scheduled", date=day).code for day in (DAY, other)]
        newest, older = (world("metrics", "push", "--config", CONFIG, "--date", day) for day in (other, DAY))

    assert (ran, newest.code, older.code) == ([0, 0], 0, 0)
    assert "note:" not in newest.out
    assert f"the newest scheduled date is {other}" in older.out


def _plain(series: dict[str, float]) -> dict[str, float]:
    """Return the scheduled group's series that have no label of their own."""
    own = re.compile(
        r'batchscore_(\w+)\{environment="dev",instance="",job="batchscore",pipeline="small",run_type="scheduled"\}'
    )
    return {found[1]: value for name, value in series.items() if (found := own.fullmatch(name))}
