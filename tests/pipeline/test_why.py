"""`batchscore why`: one row, from the file to the decision, and whether it comes out again."""

import json

import pyarrow.parquet as pq
import pytest
from small_world import CONFIG, DAY, OUTPUTS, SNAPSHOT

ON = ("--config", CONFIG, "--date", DAY)
RULES = [
    {"name": "old", "when": [{"column": "age", "at_least": 60}], "then": {"at_least": 0.9}},
    {
        "name": "north",
        "when": [{"column": "region", "equals": "north"}, {"column": "visits", "above": 20}],
        "then": {"set": {"desk": "north"}},
    },
]


def ruled(world) -> None:
    """Add calibration, rules and a bad row."""
    world.configure(
        rows={"on_bad": "quarantine", "max_bad_count": 5, "max_bad_percent": 5},
        calibration={"kind": "sigmoid", "a": 1.7, "b": -0.4},
        output__passthrough=["region"],
        postprocess__rules=RULES,
    )
    world.set_value("age", 5, -1, 1)
    world.set_value("plan", 5, "gold", 1)


def test_a_row_is_explained_and_comes_out_again(world):
    """File and row, what the model received, scores, the threshold, every rule, the one that decided, and equal bits."""
    ruled(world)
    world.run()
    published = world.predictions().set_index("customer_id")
    chosen = published[published["rule"] == "north"].index[-1]
    part, row = divmod(int(chosen[3:]), 100)
    source = world.rows(part).slice(row, 1).to_pylist()[0]
    asked = world("why", *ON, chosen, "--json")
    said = world("why", *ON, chosen)
    found = asked.document

    assert (asked.code, said.code, found["same"]) == (0, 0, True)
    assert found["source"] == {"file": f"{SNAPSHOT}/part-{part}.parquet", "row": row}
    assert {each["name"]: each["received"] for each in found["features"]} == {
        name: source[name] for name in ("amount", "age", "visits", "plan")
    }
    assert (
        found["published"]["raw_prediction"] == found["scores"]["prediction"] == published.loc[chosen, "raw_prediction"]
    )
    assert [(rule["name"], rule["holds"]) for rule in found["rules"]] == [("old", False), ("north", True)]
    assert (found["decided_by"], found["threshold"]) == ("north", 0.7)
    assert found["model"]["sha256"] == world.config["model"]["sha256"]
    assert found["parts_read"] == 1, "the other parts' statistics leave no room for the id"
    assert "SAME: scored again, all 7 columns come out bit for bit" in said.out
    assert "decided  region equals north: yes, north; visits above 20: yes" in " ".join(said.out.split(" ")).replace(
        "   ", "  "
    )


def test_a_row_that_was_set_aside_says_why(world):
    """With its file, its row, all its reasons and the values that offended."""
    ruled(world)
    world.run()
    asked = world("why", *ON, "c0-000105", "--json")
    said = world("why", *ON, "c0-000105")

    assert (asked.code, asked.document["status"]) == (0, "set-aside")
    assert asked.document["row"] == {
        "customer_id": "c0-000105",
        "source_file": f"{SNAPSHOT}/part-1.parquet",
        "row_number": 5,
        "reasons": ["below-min", "not-in-categories"],
        "columns": ["age", "plan"],
        "values": ["-1", "gold"],
    }
    assert "plan = gold" in said.out


@pytest.mark.parametrize("given", ["c0-000999", "C0-000001", ""])
def test_an_unknown_id_has_its_sentence(world, given):
    """Code 2, and every part was looked through to be sure."""
    world.run()
    ended = world("why", *ON, given)

    assert ended.code == 2
    assert f"error[E-USAGE-UNKNOWN-ID]: no row of {DAY}, revision 1, has the customer_id {given!r}" in ended.err


def test_numbers_are_ids_too(world):
    """A whole number is found as it is printed, and nothing that only looks alike."""
    for number in range(3):
        world.rewrite(
            lambda table, number=number: table.set_column(
                0, "customer_id", [[100 * number + row for row in range(table.num_rows)]]
            ),
            number,
        )
    world.run()

    assert world("why", *ON, "142", "--json").document["id"] == 142
    assert [world("why", *ON, given).code for given in ("0142", "1_4", "300")] == [2, 2, 2]


def test_a_score_that_does_not_come_out_again_is_code_3(world):
    """A record that says another number is told apart, column by column."""
    world.configure(output__single_file=True)
    world.run()
    run = world.path(f"{OUTPUTS}/{DAY}").resolve()
    forged = pq.read_table(run / "predictions.parquet").to_pandas()
    forged.loc[7, "prediction"] += 1e-12
    _forge(world, run, forged)
    ended = world("why", *ON, "c0-000007", "--json")

    assert ended.code == 3
    assert list(ended.document["differences"]) == ["prediction"]
    assert world("why", *ON, "c0-000008").code == 0


def _forge(world, run, table) -> None:
    """Publish other predictions with a chain of digests that is right."""
    import hashlib

    import pyarrow as pa

    from batchscore.parts import serialise
    from batchscore.store import seal

    def put(path, data: bytes) -> str:
        path.chmod(0o644)
        path.unlink()
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    data = serialise(pa.Table.from_pandas(table, preserve_index=False)).data
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["single_file"] = {"sha256": put(run / "predictions.parquet", data), "size": len(data)}
    commit = world.path(f"{OUTPUTS}/_batchscore/commits/{DAY}/000001.json")
    content = json.loads(commit.read_text())
    content["manifest_sha256"] = put(run / "manifest.json", seal(manifest))
    put(commit, seal(content))
