"""What follows a commit and was cut short is made up for by the next command on the date: pruning, and telling others."""

from __future__ import annotations

import json

from servers import webhook
from small_world import CONFIG, DAY, OUTPUTS, World

ON = ("--config", CONFIG, "--date", DAY)
STATE = f"{OUTPUTS}/_batchscore"


def test_work_that_a_kill_left_goes_with_the_next_run(world: World):
    """A run that finds nothing to do removes the finished work of the commit that it finds, and of that alone."""
    world.run()
    plan_id = json.loads(world.path(f"{STATE}/commits/{DAY}/000001.json").read_bytes())["plan_id"]
    for name in (plan_id, "of-another-plan"):
        world.path(f"{STATE}/work/{DAY}/{name}").mkdir(parents=True)
        world.path(f"{STATE}/work/{DAY}/{name}/part-00000.ids").write_bytes(b"left")
    again = world.run()

    assert "nothing to do" in again.out
    assert [path.name for path in world.path(f"{STATE}/work/{DAY}").iterdir()] == ["of-another-plan"]


def test_release_leaves_no_finished_work(world: World):
    """A held run keeps its work while somebody may ask for it again; after the release nobody needs it."""
    world.configure(volume={"max_rows": 200, "on_breach": "hold"})
    world.run()
    held = list(world.path(f"{STATE}/work/{DAY}").iterdir())
    released = world("release", *ON, "--reason", "a sale")

    assert (len(held), released.code) == (1, 0)
    assert not world.path(f"{STATE}/work/{DAY}").exists()


def test_marker_that_is_not_there_is_written_by_the_next_run(world: World):
    """A place that could not be written is a warning; a run that finds nothing to do writes the marker, as often."""
    world.configure(output__notify={"kind": "marker", "path": "ready/{date}"})
    world.path("ready").write_text("in the way")
    first = world.run()
    world.path("ready").unlink()
    seen = []
    for _ in range(2):
        world.run()
        seen.append(json.loads(world.path(f"ready/{DAY}").read_bytes())["number"])
        world.path(f"ready/{DAY}").unlink()

    assert first.code == 0
    assert "notification failed" in first.err
    assert seen == [1, 1]


def test_marker_that_is_there_stays_as_it_is(world: World):
    """What was told is not told again: one marker for all dates is not taken back to an older one."""
    world.configure(output__notify={"kind": "marker", "path": "ready"})
    world.run()
    world.path("ready").write_text("of a newer date")
    world.run()

    assert world.path("ready").read_text() == "of a newer date"


def test_webhook_is_called_until_it_succeeds_once(world: World):
    """A call that failed is repeated by the next run of the date; one that succeeded is not."""
    calls = []
    with webhook() as hook:
        world.configure(output__notify={"kind": "webhook", "url": f"{hook.url}/{{date}}"})
        for hook.status in (500, 500, 204, 204):
            world.run()
            calls.append(len(hook.sent))

    assert calls == [1, 2, 3, 3]
    assert len(set(hook.sent)) == 1
