"""`batchscore rescore-quarantine`: rows that were set aside, scored later, and none of them lost on the way."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_world import CONFIG, DAY, OUTPUTS, SNAPSHOT

from batchscore import read_published

WITH = ("--config", CONFIG)
ON = (*WITH, "--date", DAY)
BAD = ("c0-000007", "c0-000140", "c0-000299")


def broken(world, **keys) -> None:
    """Set three rows aside: an age, a plan that nobody listed, and a missing number; then run."""
    world.configure(rows={"on_bad": "quarantine", "max_bad_count": 5, "max_bad_percent": 5}, **keys)
    world.set_value("age", 7, -1)
    world.set_value("plan", 40, "gold", 1)
    world.set_value("visits", 99, None, 2)
    assert world.run().code == 0


def rescore(world, *more):
    """Rescore, and return how it ended."""
    return world("rescore-quarantine", *ON, *more)


def document(world, name, revision=None):
    """Return a document of a revision, by default of the newest."""
    if revision is None:
        return json.loads(world.path(f"{OUTPUTS}/{DAY}/{name}").read_text())
    commit = json.loads(world.path(f"{OUTPUTS}/_batchscore/commits/{DAY}/{revision:06d}.json").read_text())
    return json.loads(world.path(f"{OUTPUTS}/_batchscore/runs/{commit['run']}/{name}").read_text())


def aside(world) -> list[tuple[str, list[str]]]:
    """Return id and reasons of what is set aside now."""
    folder = world.path(f"{OUTPUTS}/{DAY}/quarantine.parquet")
    if not folder.exists():
        return []
    rows = pd.concat([pd.read_parquet(path) for path in sorted(folder.iterdir())])
    return [(row.customer_id, list(row.reasons)) for row in rows.itertuples()]


def mend_schema(world) -> None:
    """Let plans be gold."""
    world.feature("plan", categories=["basic", "plus", "pro", "gold"])


@pytest.mark.parametrize("single", [False, True], ids=["parts", "one-file"])
def test_a_mended_schema_brings_rows_back(world, single):
    """Revision 2 holds revision 1 as it was and the row that fits now; nothing is lost, and everything copes with it."""
    broken(world, output__single_file=single)
    first = {name: document(world, name) for name in ("manifest.json", "summary_metrics.json")}
    before = world.predictions()
    mend_schema(world)
    ended = rescore(world, "--reason", "gold is a plan", "--json")
    assert ended.code == 0, ended.err[-1500:]
    manifest, summary = document(world, "manifest.json"), document(world, "summary_metrics.json")
    after = world.predictions()

    assert (ended.code, ended.document["status"], ended.document["commit"]["number"]) == (0, "published", 2)
    assert summary["rows"] == {
        "read": 300,
        "scored": 298,
        "written": 298,
        "rejected": 2,
        "flagged": int(after["risk_flag"].sum()),
    }
    assert {reason: count for reason, count in summary["rejected"].items() if count} == {"below-min": 1, "null": 1}
    assert aside(world) == [("c0-000007", ["below-min"]), ("c0-000299", ["null"])]
    assert after["customer_id"].tolist() == [*before["customer_id"], "c0-000140"]
    pd.testing.assert_frame_equal(after[:-1], before)
    assert manifest["parts"][:3] == first["manifest.json"]["parts"]
    assert manifest["id_digest"] == first["manifest.json"]["id_digest"]
    modulus = 1 << 128
    assert (int(manifest["scored_id_digest"], 16) + int(manifest["rejected_id_digest"], 16)) % modulus == int(
        manifest["id_digest"], 16
    )
    commits = world.path(f"{OUTPUTS}/_batchscore/commits/{DAY}")
    assert manifest["plan"]["base"]["revision"] == 1
    assert (
        manifest["plan"]["base"]["manifest_sha256"]
        == json.loads((commits / "000001.json").read_text())["manifest_sha256"]
    )
    assert document(world, "metadata.json")["rescored"] == {
        "revision": 1,
        "source": None,
        "rows": {"aside": 3, "read": 3, "scored": 1, "still_aside": 2},
    }
    assert (
        summary["profiles"]["features"]["amount"]["count"] == 298
        if "count" in summary["profiles"]["features"]["amount"]
        else True
    )
    table = read_published(str(world.path(OUTPUTS)), DAY)
    assert table["customer_id"].tolist() == after["customer_id"].tolist()
    said = {name: world(name, *ON) for name in ("verify", "replay", "show", "plan", "why")[:4]}
    assert {name: each.code for name, each in said.items()} == dict.fromkeys(said, 0)
    # One partition has the row that is scored again; files that hold none were not even read.
    assert f"SAME {DAY}: 3 parts, byte for byte; 3 more are of an earlier revision" in said["replay"].out
    compared = world("diff", *WITH, f"{DAY}@1", f"{DAY}@2", "--json").document
    assert (compared["changed"], compared["rows"]["only_new"], compared["rows"]["only_old"]) == (0, 1, 0)
    listed = world("runs", *WITH, "--json").document["runs"]
    assert [(each["revision"], each["rejected"], each["reason"]) for each in listed] == [
        (1, 3, None),
        (2, 2, "gold is a plan"),
    ]


def test_the_same_rescoring_again_changes_nothing(world):
    """Neither does the plain run of the day: what it would publish stands there, and more."""
    broken(world)
    mended = {**world.config}
    mend_schema(world)
    assert rescore(world).code == 0
    before = world.published()
    again = rescore(world)
    world.feature("plan", categories=["basic", "plus", "pro"])
    plain, planned = world.run(), world("plan", *ON)

    assert again.code == plain.code == 0
    assert "revision 2 has these rows already: nothing to do" in again.out
    assert "is published already, from the same inputs (revision 2): nothing to do" in plain.out
    assert "nothing to do" in planned.out
    assert world.published() == before
    assert mended == world.config


def test_mended_rows_come_from_a_file_one_after_the_other(world):
    """A second rescoring adds to the first; rows of the file that were never set aside are not looked at."""
    broken(world)
    mend_schema(world)
    rescore(world)
    mended = world.rows(0).slice(0, 20).to_pandas()
    mended.loc[7, "age"] = 41
    pq.write_table(
        pa.Table.from_pandas(mended, schema=world.rows(0).schema),
        world.path("mended.parquet"),
        write_page_checksum=True,
    )
    ended = rescore(world, "--from", "mended.parquet", "--json")
    [replayed, verified, why] = [world("replay", *ON), world("verify", *ON), world("why", *ON, "c0-000007", "--json")]
    summary = document(world, "summary_metrics.json")

    assert ended.code == 0, ended.err
    assert (summary["rows"]["read"], summary["rows"]["scored"], summary["rows"]["rejected"]) == (300, 299, 1)
    assert aside(world) == [("c0-000299", ["null"])]
    assert world.predictions()["customer_id"].tolist()[-2:] == ["c0-000140", "c0-000007"]
    assert (replayed.code, verified.code) == (0, 0), replayed.out + verified.out
    assert f"SAME {DAY}: 1 part, byte for byte; 6 more" in replayed.out
    assert (why.code, why.document["scored_in"], why.document["source"]) == (0, 3, {"file": "mended.parquet", "row": 7})
    assert why.document["set_aside"]["row"]["reasons"] == ["below-min"]
    assert why.document["features"][1]["received"] == 41
    old = world("why", *ON, "c0-000140", "--json").document
    assert (old["same"], old["scored_in"], old["source"]["file"]) == (True, 2, f"{SNAPSHOT}/part-1.parquet")
    assert world("why", *ON, "c0-000001", "--json").document["scored_in"] == 1


def test_a_source_mended_in_place_is_read_again(world):
    """The file that changed is read, whatever rows it has now; the others only where they hold such a row."""
    broken(world)
    world.set_value("visits", 99, 12, 2)
    world.rewrite(lambda table: table.take(list(range(99, -1, -1))), 2)
    ended = rescore(world)

    assert ended.code == 0, ended.err
    assert "rescored 1 of the 3 rows that revision 1 set aside; 2 stay set aside" in ended.out
    assert [path for path, _ in aside(world)] == ["c0-000007", "c0-000140"]
    assert world("why", *ON, "c0-000299", "--json").document["source"] == {
        "file": f"{SNAPSHOT}/part-2.parquet",
        "row": 0,
    }
    assert world("verify", *ON).code == 0


def test_what_can_not_be_rescored_changes_nothing(world):
    """Nothing mended is code 12, another threshold is code 14, an unpublished date is code 2, an id that stands twice 12."""
    unpublished = rescore(world)
    broken(world)
    before = world.published()
    nothing = rescore(world)
    mend_schema(world)
    world.configure(postprocess__threshold=0.6)
    other = rescore(world)
    world.configure(postprocess__threshold=0.7)
    twice = world.rows(1).slice(40, 1)
    world.path("twice").mkdir()
    for name in ("a", "b"):
        pq.write_table(twice, world.path(f"twice/{name}.parquet"), write_page_checksum=True)
    world.configure(partition__rows=1)
    cut = rescore(world, "--from", "twice")
    world.configure(partition__rows=100)
    doubled = rescore(world, "--from", "twice")

    assert [each.code for each in (unpublished, nothing, other, cut, doubled)] == [2, 12, 14, 14, 12]
    assert "all of them still break the contract (null 1, below-min 1, not-in-categories 1)" in nothing.err
    assert "postprocess.threshold: 0.7 → 0.6" in other.err
    assert "E-CONTRACT-DUPLICATE-ID" in doubled.err
    assert world.published() == before


def test_a_held_rescoring_is_released_as_it_is(world):
    """The gates judge the whole date; a held revision is published later by its date alone."""
    broken(world)
    mend_schema(world)
    world.configure(volume={"min_rows": 1000, "on_breach": "hold"})
    held = rescore(world)
    waiting = rescore(world)
    released = world("release", *ON, "--reason", "looked at it")

    assert (held.code, waiting.code, released.code) == (15, 15, 0), released.err
    assert len(world.predictions()) == 298
    assert world("verify", *ON).code == 0


def test_nothing_set_aside_is_nothing_to_do(world):
    """Code 0, and it says so."""
    world.run()
    ended = rescore(world)

    assert ended.code == 0
    assert "revision 1 has set no row aside that could be read again: nothing to do" in ended.out
