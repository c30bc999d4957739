"""Every gate in all three modes, from the command line to what readers see."""

import hashlib
import json

import pytest
import small_world
from small_world import CONFIG, DAY, OUTPUTS

WITH = ("--config", CONFIG)
NEXT = "2024-03-08"


def volume(world, mode) -> None:
    """Want more rows than there are."""
    world.configure(volume={"min_rows": 1000, "on_breach": mode})


def flagged(world, mode) -> None:
    """Want no flag."""
    world.configure(flagged={"max_share": 0.0, "on_breach": mode})


def rejected(world, mode) -> None:
    """Want no row set aside, and set one aside."""
    world.configure(
        rows={"on_bad": "quarantine", "max_bad_count": 90, "max_bad_percent": 30},
        rejected={"max_share": 0.0, "on_breach": mode},
    )
    world.feature("age", max=80)


def drift(world, mode) -> None:
    """Compare with what was published the week before, of other customers who bought far less."""
    created = world(
        "reference", "create", *WITH, "--from", DAY, "--to", DAY, "--name", "week", "--version", "1", "-o", "week.json"
    )
    assert created.code == 0, created.err
    digest = hashlib.sha256(world.path("week.json").read_bytes()).hexdigest()
    world.configure(drift={"reference": {"path": "week.json", "sha256": digest}, "min_rows": 1, "on_breach": mode})
    path = world.path(f"data/customers_{NEXT.replace('-', '_')}/part-0.parquet")
    table = small_world.pq.read_table(path)
    amount = small_world.pa.array([value * 100 for value in table["amount"].to_pylist()])
    small_world.pq.write_table(
        table.set_column(table.column_names.index("amount"), "amount", amount), path, write_page_checksum=True
    )


@pytest.mark.parametrize("mode", ["warn", "hold", "fail"])
@pytest.mark.parametrize("gate", [volume, drift, flagged, rejected], ids=lambda gate: gate.__name__)
def test_a_gate_warns_holds_or_fails(world, gate, mode):
    """It publishes with a warning; keeps a complete run, with its numbers, for a release; or keeps nothing."""
    world.run()
    small_world.write_snapshot(world.path(f"data/customers_{NEXT.replace('-', '_')}"), seed=1)
    gate(world, mode)
    before = world.published()
    ended = world.run(date=NEXT)
    listed = world("runs", *WITH, "--json").document["runs"]
    waiting = [run for run in listed if run["state"] == "held"]

    if mode == "warn":
        warnings = json.loads(world.path(f"{OUTPUTS}/{NEXT}/metadata.json").read_text())["warnings"]
        assert ended.code == 0
        assert [text for text in warnings if text.startswith(f"{gate.__name__}: ")]
        return
    assert (ended.code, world.published()) == (15, before)
    assert gate.__name__ in ended.err
    released = world("release", *WITH, "--date", NEXT, "--reason", "looked at it", "--by", "ada")
    if mode == "fail":
        assert (waiting, released.code) == ([], 2)
        return
    [held] = waiting
    assert held["rows"] > 200
    assert held["reason"].startswith(f"{gate.__name__}: ")
    assert released.code == 0, released.err
    commit = json.loads(world.path(f"{OUTPUTS}/_batchscore/commits/{NEXT}/000001.json").read_text())
    assert (commit["by"], commit["reason"], commit["held"]) == ("ada", "looked at it", 1)
    assert len(world.predictions(NEXT)) == held["rows"]


def test_a_held_run_can_be_looked_at(world):
    """`show` of a date that is only held has the verdicts, and is not taken for a published one; `plan` says it waits."""
    volume(world, "hold")
    held = world.run()
    planned = world("plan", *WITH, "--date", DAY, "--json").document["state"]
    shown = world("show", *WITH, "--date", DAY)
    told = world("show", *WITH, "--date", DAY, "--json").document
    world("discard", *WITH, "--date", DAY, "--reason", "half of it")
    dropped = world("show", *WITH, "--date", DAY)

    assert (held.code, shown.code, dropped.code) == (15, 0, 2)
    assert planned["action"] == "refuse"
    assert planned["text"].startswith("held run 1 of the same plan waits, volume: 300 rows")
    assert shown.out.splitlines()[0] == f"small (dev), {DAY}, held run 1: NOT PUBLISHED"
    assert "volume: hold    300 rows" in shown.out
    assert "baseline_runs 0, rows 300" in shown.out
    assert f"batchscore release --config {CONFIG} --date {DAY} --reason TEXT" in shown.out
    assert "commit" not in told
    assert (told["held"]["state"], told["held"]["gates"][0]["numbers"]["rows"]) == ("open", 300)
    assert "E-USAGE-NOT-PUBLISHED" in dropped.err


def test_a_held_run_waits_beside_what_is_published(world):
    """`show` shows the published revision with a note and the verdicts of the held run; a revision alone has no note."""
    world.run()
    volume(world, "hold")
    held = world.run("--republish", "--reason", "again", "--set", "postprocess.threshold=0.5")
    shown = world("show", *WITH, "--date", DAY)
    told = world("show", *WITH, "--date", DAY, "--json").document
    first = world("show", *WITH, "--date", DAY, "--revision", "1")
    released = world("release", *WITH, "--date", DAY, "--reason", "seen")

    assert (held.code, shown.code, released.code) == (15, 0, 0)
    assert shown.out.splitlines()[0] == f"small (dev), {DAY}, revision 1"
    assert "note: held run 1 of this date waits and is NOT PUBLISHED" in shown.out
    assert (told["commit"]["number"], told["held"]["number"]) == (1, 1)
    assert "NOT PUBLISHED" not in first.out
    assert "held by volume: 300 rows" in released.out


def test_a_damaged_earlier_date_stops_a_run_until_it_is_ignored(world):
    """A baseline of damaged numbers would be none: code 18 names the file; `volume.ignore_dates` goes on without it."""
    world.run()
    small_world.write_snapshot(world.path(f"data/customers_{NEXT.replace('-', '_')}"), seed=1)
    world.path(f"{OUTPUTS}/{DAY}/summary_metrics.json").write_text("{")

    stopped = world.run(date=NEXT)
    gone_on = world.run(f"--set=volume.ignore_dates=[{DAY}]", date=NEXT)

    assert (stopped.code, gone_on.code) == (18, 0)
    assert "summary_metrics.json is damaged" in stopped.err
    assert world(*("show", *WITH, "--date", NEXT, "--json")).document["metadata"]["volume"]["dates"] == []
