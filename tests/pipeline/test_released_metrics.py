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


def _plain(series: dict[str, float]) -> dict[str, float]:
    """Return the scheduled group's series that have no label of their own."""
    own = re.compile(
        r'batchscore_(\w+)\{environment="dev",instance="",job="batchscore",pipeline="small",run_type="scheduled"\}'
    )
    return {found[1]: value for name, value in series.items() if (found := own.fullmatch(name))}
