"""The commands as a user types them, one after the other, on a small pipeline."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import stat
from datetime import date
from hashlib import sha256
from importlib.metadata import version

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_world
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from small_world import CONFIG, DAY, MODEL, NAMES, OUTPUTS, SNAPSHOT

WITH = ("--config", CONFIG)
ON = (*WITH, "--date", DAY)
DOCUMENTS = ("manifest.json", "metadata.json", "summary_metrics.json")


def document(world, name: str):
    """Return one of the published JSON files."""
    return json.loads(world.path(f"{OUTPUTS}/{DAY}/{name}").read_text())


def expected(world) -> np.ndarray:
    """Return what one plain call of the model gives for the whole snapshot."""
    frame = pd.concat([world.rows(number).to_pandas() for number in range(3)])
    return joblib.load(world.path(MODEL)).predict_proba(frame[list(NAMES)])[:, 1]


OF_A_FILE = small_world.ROWS // small_world.FILES
EXTRA = {
    "a_float32": pa.array([1.5] * OF_A_FILE, pa.float32()),
    "a_float64": pa.array([2.5] * OF_A_FILE, pa.float64()),
    "a_date32": pa.array([date(2024, 2, 29)] * OF_A_FILE, pa.date32()),
    "a_timestamp": pa.array(["2024-02-29T12:00"] * OF_A_FILE).cast(pa.timestamp("us")),
    "a_uint64": pa.array([2**64 - 1] * OF_A_FILE, pa.uint64()),
    "a_bool": pa.array([True] * OF_A_FILE, pa.bool_()),
}
"""Columns that no model takes."""


def test_a_day_is_planned_run_shown_verified_and_replayed(world):
    """Every command of a normal day ends with 0 and says what a person wants to know."""
    said = {
        "validate": world("validate", *ON),
        "plan": world("plan", *ON),
        "run": world.run(),
        "show": world("show", *ON),
        "runs": world("runs", *WITH),
        "verify": world("verify", *ON),
        "replay": world("replay", *ON),
        "diff": world("diff", *WITH, DAY, DAY),
        "plan again": world("plan", *ON),
    }

    assert {name: ended.code for name, ended in said.items()} == dict.fromkeys(said, 0)
    assert "in order" in said["validate"].out
    assert "300 rows" in said["plan"].out
    assert "nothing exists at the target" in said["plan"].out
    assert "300 scored of 300 read" in said["run"].out
    assert said["show"].out == said["run"].out
    assert " ()" not in said["show"].out
    assert "the plans are the same" in said["diff"].out
    assert DAY in said["runs"].out
    assert f"VERIFIED {DAY}" in said["verify"].out
    assert f"SAME {DAY}: 3 parts, byte for byte" in said["replay"].out
    assert "the same ids, predictions and decisions" in said["diff"].out
    assert "nothing to do" in said["plan again"].out


def test_what_to_type_next_is_about_the_same_run(world):
    """The printed commands see the same configuration, `--set` and spaces in paths included, and every command takes it."""
    over = world.path("over it all.yaml")
    over.write_text("{output: {passthrough: [region]}}")
    options = (*WITH, "--config", over.name, "--set", "output.path=other outputs")
    ran = world("run", *options, "--date", DAY)
    typed = [line.removeprefix("  next").strip() for line in ran.out.splitlines()[-2:]]
    ended = [world(*shlex.split(command)[1:]) for command in typed]
    others = [
        world(*command, *options)
        for command in (
            ["show", "--date", DAY],
            ["runs"],
            ["diff", DAY, DAY],
            ["metrics", "show", "--date", DAY],
            ["gc"],
        )
    ]

    assert [command.split()[:2] for command in typed] == [["batchscore", "verify"], ["batchscore", "replay"]]
    assert [each.code for each in (ran, *ended, *others)] == [0] * 8, [each.err for each in (*ended, *others)]
    assert not world.path(OUTPUTS).exists()


@pytest.mark.parametrize("command", ["report", "plan"])
def test_a_file_is_never_written_over_something_else(world, command):
    """A mistyped `--output` costs neither configuration nor snapshot; an earlier file of the same kind is replaced."""
    world.run()
    option = "-o" if command == "report" else "--output"
    before = world.tree()
    refused = [world(command, *ON, option, str(path)) for path in (CONFIG, MODEL, world.part(0), small_world.SCHEMA)]
    after = world.tree()
    written = [world(command, *ON, option, "told") for _ in range(2)]

    assert [ended.code for ended in refused] == [2] * 4
    assert all("is there already and is something else" in ended.err for ended in refused)
    assert after == before
    assert [ended.code for ended in written] == [0, 0]


def test_a_report_goes_into_a_pipe(world):
    """What is no file loses nothing by being written to, and is not read first."""
    world.run()
    os.mkfifo(world.path("pipe"))
    reader = os.open(world.path("pipe"), os.O_RDONLY | os.O_NONBLOCK)
    try:
        ended = world("plan", *ON, "--output", "pipe")
        written = os.read(reader, 1 << 16)
    finally:
        os.close(reader)

    assert ended.code == 0, ended.err
    assert json.loads(written)["state"]


def test_a_file_beyond_any_model_is_not_read_into_memory(world):
    """A sparse file of 3 GiB is refused at once, with code 11; the twin is any model."""
    with world.path("big.joblib").open("wb") as file:
        file.truncate(3 << 30)
    refused = world("model", "inspect", "big.joblib")

    assert refused.code == 11
    assert "'big.joblib' has 3.2 GB, which is more than any model" in refused.err
    assert world("model", "inspect", MODEL).code == 0


def _diff(world, *options):
    """Publish a second revision with other options, and compare it with the first."""
    world.run()
    again = world.run(*options, "--republish", "--reason", "another way to decide")
    assert again.code == 0, again.err
    sides = (f"{DAY}@1", f"{DAY}@2")
    return [world("diff", *WITH, *sides, "--exit-code", *more) for more in ([], ["--json"])]


def test_diff_compares_labels_of_a_model_without_scores(world):
    """Two models that give classes: as many rows differ as labels do."""
    world.configure(model__output="class", postprocess=None)
    world.run()
    before = world.predictions()["label"]
    world.release(small_world.fit(LogisticRegression(C=1e-4), small_world.target(small_world.customers())))
    told, listed = _diff(world)
    differing = int((world.predictions()["label"] != before).sum())

    assert differing > 0
    assert (told.code, listed.document["same"], listed.document["decisions"]) == (3, False, {"label": differing})
    assert f"'label' is another in {differing} rows" in told.out


def test_diff_compares_flags_of_other_names(world):
    """A flag that was renamed is still the flag."""
    told, listed = _diff(world, "--set", "postprocess.flag=churns", "--set", "postprocess.threshold=0.9")
    flags = world.predictions()

    assert (told.code, listed.document["decisions"], listed.document["only_columns"]) == (3, {}, [[], []])
    assert listed.document["crossed"]["lowered"] == (flags["prediction"] >= 0.7).sum() - flags["churns"].sum() > 0


def test_diff_compares_rules_and_what_they_set(world):
    """Other rules decide otherwise: their column differs, and one has a column that the other has not."""
    old = {"name": "old", "when": [{"column": "age", "at_least": 60}]}
    world.configure(postprocess__rules=[old])
    world.run()
    world.configure(postprocess__rules=[{**old, "name": "aged", "then": {"set": {"desk": "b"}}}])
    told, listed = _diff(world)
    marked = int((world.predictions()["rule"] == "aged").sum())

    assert (told.code, listed.document["changed"]) == (3, 0)
    assert listed.document["decisions"] == {"rule": marked}
    assert listed.document["only_columns"] == [[], ["desk"]]
    assert "only the new run has the column 'desk'" in told.out


def test_a_damaged_date_does_not_hide_the_others(world):
    """`runs` lists it as damaged and the others as they are, and ends in 18."""
    shutil.copytree(world.path(SNAPSHOT), world.path("data/customers_2024_03_02"))
    world.run()
    world.run(date="2024-03-02")
    world.path(f"{OUTPUTS}/{DAY}/metadata.json").write_text("{}")
    listed = world("runs", *WITH, "--json")

    assert listed.code == 18
    assert [(run["date"], run["state"], run["rows"]) for run in listed.document["runs"]] == [
        (DAY, "damaged", None),
        ("2024-03-02", "published", 300),
    ]
    assert "metadata.json is damaged" in listed.document["runs"][0]["reason"]


def test_a_report_names_a_damaged_date_and_draws_the_others(world):
    """The history is written and ends in 18; the page of a whole date is written and ends in 0, that of the other not."""
    later = "2024-03-02"
    world.deliver(later)
    assert (world.run().code, world.run(date=later).code) == (0, 0)
    world.path(f"{OUTPUTS}/{DAY}/summary_metrics.json").write_text("{")

    history = world("report", *WITH, "--history", "-o", "history.html", "--json")
    whole = world("report", *WITH, "--date", later, "-o", "whole.html")
    damaged = world("report", *ON, "-o", "damaged.html")

    assert (history.code, whole.code, damaged.code) == (18, 0, 18)
    assert list(history.document["damaged"]) == [DAY]
    assert f"{DAY} is not drawn: " in whole.out
    for page in ("history.html", "whole.html"):
        assert f"{DAY} is not drawn: " in world.path(page).read_text()
        assert f"{later}: 300 rows" in world.path(page).read_text()
    assert not world.path("damaged.html").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("report", *ON, "-o"),
        ("report", *WITH, "--history", "-o"),
        ("plan", *ON, "-o"),
        ("reference", "create", *WITH, f"--from={DAY}", f"--to={DAY}", "--name=a", "--version=1", "-o"),
        ("model", "compile", *WITH, "-o"),
    ],
    ids=["report", "history", "plan", "reference", "compile"],
)
@pytest.mark.parametrize(
    "file", [f"{OUTPUTS}/{DAY}/new.html", f"{OUTPUTS}/{DAY}/metadata.json", f"{OUTPUTS}/_batchscore/new.html"]
)
def test_nothing_is_written_among_the_runs(world, command, file):
    """A file of ours beside or over those of a run would make the date damaged: refused by every command."""
    assert world.run().code == 0
    before = world.tree()

    ended = world(*command, file)

    assert (ended.code, "E-USAGE-AMONG-RUNS" in ended.err) == (2, True)
    assert world.tree() == before


def test_what_is_told_of_a_gateway_is_true(world):
    """A group to forget is required, and what failed is what was asked for."""
    world.configure(metrics={"pushgateway": "http://127.0.0.1:9", "budget_seconds": 0.2})
    unknown = world("metrics", "forget", *WITH, "--run-type", "nightly")
    refused = world("metrics", "forget", *WITH, "--run-type", "manual")

    assert (unknown.code, "help: name one, or all" in unknown.err) == (2, True)
    assert refused.code == 23
    assert "the Pushgateway did not forget the group of manual runs" in refused.err
    assert "The published output is as it was." in refused.err


@pytest.mark.parametrize("address", ["scheduler", "tcp://scheduler", "tcp://:", "scheduler:port"])
def test_an_address_without_a_port_is_refused_at_once(world, address):
    """No deadline has to pass before it is seen."""
    ended = world.run("--set", "cluster.kind=address", "--set", f"cluster.address={address}")

    assert (ended.code, "as tls://scheduler:8786 is" in ended.err) == (10, True)


def test_worker_processes_warn_of_no_port(world):
    """Lines of stderr are log lines, also where another cluster on the machine has Dask's usual port."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # when it is taken already, so much the better
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        ended = world.run("--set", "cluster.processes=true")

    assert ended.code == 0
    assert [line for line in ended.err.splitlines() if not line.startswith("{")] == []


def test_the_predictions_are_those_of_the_model(world):
    """Ids in input order, scores within 1e-12 of one plain call, flags by the threshold, four documents."""
    world.run()
    published = world.predictions()
    ids = [text for number in range(3) for text in world.rows(number)["customer_id"].to_pylist()]

    assert published.columns.tolist() == ["customer_id", "prediction", "risk_flag"]
    assert published["customer_id"].tolist() == ids
    np.testing.assert_allclose(published["prediction"], expected(world), rtol=0, atol=1e-12)
    assert published["risk_flag"].tolist() == (published["prediction"] >= 0.7).tolist()
    assert sorted(path.name for path in world.path(f"{OUTPUTS}/{DAY}").iterdir()) == [*DOCUMENTS[:2], "predictions.parquet", DOCUMENTS[2]]  # fmt: skip
    assert {
        key: document(world, "metadata.json")[key] for key in ("model_version", "data_snapshot", "records_scored")
    } == {
        "model_version": "1.2.0",
        "data_snapshot": "customers_2024_03_01",
        "records_scored": 300,
    }


def test_the_same_plan_again_changes_no_byte(world):
    """A finished date run again exits 0, says so, and leaves every file as it is, times of change included."""
    world.run()
    before = world.tree()
    again = world.run()

    assert again.code == 0
    assert "is published already, from the same inputs (revision 1): nothing to do" in again.out
    assert world.tree() == before


@pytest.mark.parametrize("command", [("validate", *ON), ("plan", *ON), ("runs", *WITH), ("show", *ON), ("verify", *ON), ("diff", *WITH, DAY, DAY), ("gc", *WITH, "--days", "0")], ids=lambda command: command[0])  # fmt: skip
@pytest.mark.parametrize("published", [False, True], ids=["before", "after"])
def test_looking_changes_nothing(world, command, published):
    """Commands that only look leave the folder as it is, before the first run too."""
    if published:
        world.run()
    before = world.tree(), world.path(OUTPUTS).exists()
    world(*command)

    assert (world.tree(), world.path(OUTPUTS).exists()) == before


def test_a_place_where_nobody_can_make_a_folder_is_no_bug(world):
    """Under /proc the system says "no such file" of a folder that is to be made: code 23 that names it, not 1."""
    ran = world.run("--set", "output.path=/proc/nothing-here")

    assert ran.code == 23
    assert "/proc/nothing-here can not be written" in ran.err


def test_a_stranger_among_the_commits_stops_nobody(world):
    """A folder that is no date beside the commits is left alone; every command still works."""
    world.path(f"{OUTPUTS}/_batchscore/commits/x").mkdir(parents=True)
    world.path(f"{OUTPUTS}/_batchscore/commits/x/000001.json").write_text("{}")
    codes = [world.run().code] + [world(*command).code for command in (("runs", *WITH), ("gc", *WITH), ("verify", *ON))]

    assert codes == [0, 0, 0, 0]


def test_a_second_revision_keeps_the_first(world):
    """`--republish` with another threshold publishes revision 2; both can be shown and compared."""
    world.run()
    first = document(world, "summary_metrics.json")
    world.configure(postprocess__threshold=0.3)
    second = world.run("--republish", "--reason", "lower the threshold", "--json")
    compared = world("diff", *WITH, f"{DAY}@1", f"{DAY}@2", "--exit-code", "--json")
    listed = world("runs", *WITH, "--json").document["runs"]
    shown = world("show", *ON, "--revision", "1", "--json").document

    assert second.document["commit"]["number"] == 2
    assert [(run["revision"], run["state"], run["reason"]) for run in listed] == [(1, "replaced", None), (2, "published", "lower the threshold")]  # fmt: skip
    assert shown["summary"] == first
    assert compared.code == 3
    assert compared.document["changed"] == 0
    assert compared.document["crossed"]["raised"] > 0
    assert "config.postprocess.threshold: 0.7 → 0.3" in compared.document["plan"]
    assert world("verify", *ON).code == 0


def test_bad_rows_are_set_aside_with_their_reasons_and_values(world):
    """Within the budget the good rows are published, the bad ones lie in the quarantine, and the counts close."""
    world.configure(rows={"on_bad": "quarantine", "max_bad_count": 3, "max_bad_percent": 1})
    world.set_value("age", 7, -1)
    world.set_value("amount", 7, float("inf"))
    world.set_value("plan", 40, "gold", 1)
    world.set_value("visits", 99, None, 2)
    ended = world.run()
    aside = pq.read_table(world.path(f"{OUTPUTS}/{DAY}/quarantine.parquet")).to_pylist()
    summary = document(world, "summary_metrics.json")
    ids = [world.rows(number)["customer_id"][row].as_py() for number, row in ((0, 7), (1, 40), (2, 99))]

    assert ended.code == 0, ended.err
    assert aside == [
        {
            "customer_id": ids[0],
            "source_file": f"{SNAPSHOT}/part-0.parquet",
            "row_number": 7,
            "reasons": ["not-finite", "below-min"],
            "columns": ["amount", "age"],
            "values": ["inf", "-1"],
        },
        {
            "customer_id": ids[1],
            "source_file": f"{SNAPSHOT}/part-1.parquet",
            "row_number": 40,
            "reasons": ["not-in-categories"],
            "columns": ["plan"],
            "values": ["gold"],
        },
        {
            "customer_id": ids[2],
            "source_file": f"{SNAPSHOT}/part-2.parquet",
            "row_number": 99,
            "reasons": ["null"],
            "columns": ["visits"],
            "values": [None],
        },
    ]
    assert {key: summary["rows"][key] for key in ("read", "scored", "rejected")} == {"read": 300, "scored": 297, "rejected": 3}  # fmt: skip
    assert [part["rejected"] for part in summary["partitions"]] == [1, 1, 1]
    assert not set(ids) & set(world.predictions()["customer_id"])
    assert "3 set aside" in ended.out
    assert (world("verify", *ON).code, world("replay", *ON).code) == (0, 0)


def test_a_limited_run_publishes_nothing(world):
    """`--limit` scores the first rows in a private place and shows them."""
    before = world.tree()
    ended = world.run("--limit", "150", "--json")
    told = ended.document

    assert ended.code == 0
    assert (told["status"], told["summary"]["rows"]["scored"], len(told["first_rows"])) == ("tried", 150, 10)
    assert world.tree() == before


def test_one_is_one_and_an_id_is_no_quantity(world):
    """One file is no `1 files`, and an id that is a number keeps its digits together."""
    for number in (1, 2):
        world.part(number).unlink()
    world.rewrite(lambda table: table.set_column(0, "customer_id", pa.array(range(2_000_000, 2_000_000 + len(table)))))
    said = {
        "plan": world("plan", *ON).out,
        "limit": world.run("--limit", "1").out,
        "run": world.run().out,
        "verify": world("verify", *ON).out,
        "replay": world("replay", *ON).out,
        "why": world("why", *ON, "2000000").out,
    }

    assert f"{SNAPSHOT}: 1 file, 100 rows" in said["plan"]
    assert "1 footer ok" in said["plan"]
    assert "2000000 " in said["limit"]
    assert "2,000,000" not in "".join(said.values())
    assert "1 revision;" in said["verify"]
    assert "SAME 2024-03-01: 1 part, byte for byte" in said["replay"]
    assert [
        text for text in said.values() if re.search(r"\b1 (files|rows|parts|revisions|partitions|features)\b", text)
    ] == []


def test_a_held_run_is_released_as_it_was_scored(world):
    """Code 15 keeps the run; `release` publishes it, and it is the run that was judged."""
    world.configure(volume={"max_rows": 200, "on_breach": "hold"})
    held = world.run()
    listed = world("runs", *WITH, "--json").document["runs"]
    released = world("release", *ON, "--reason", "a sale", "--json")

    assert (held.code, [run["state"] for run in listed], released.code) == (15, ["held"], 0)
    assert released.document["summary"]["rows"]["scored"] == 300
    assert (world("verify", *ON).code, world.run().code) == (0, 0)


def test_a_second_release_tells_of_the_first(world):
    """Who released a run, and why, stands in its commit for ever; a later release says that, not its own reason."""
    world.configure(volume={"max_rows": 200, "on_breach": "hold"})
    world.run()
    first = world("release", *ON, "--reason", "a sale", "--by", "ana")
    second = world("release", *ON, "--reason", "again", "--by", "bob")

    assert (first.code, second.code) == (0, 0)
    assert first.out.splitlines()[0] == "released: a sale"
    assert second.out.splitlines()[0] == "released before, by ana: a sale"


def test_a_mistyped_date_is_no_damage(world):
    """`verify` of a date that was never run is code 2, in the words of `replay`."""
    world.run()
    told = [world(command, *WITH, "--date", "2024-03-31") for command in ("verify", "replay")]

    assert [ended.code for ended in told] == [2, 2]
    assert told[0].err == told[1].err
    assert "E-USAGE-NOT-PUBLISHED" in told[0].err


def test_a_held_run_is_dropped(world):
    """After `discard` nothing is published, and the same plan is scored again."""
    world.configure(volume={"max_rows": 200, "on_breach": "hold"})
    world.run()
    dropped = world("discard", *ON, "--reason", "wrong data")

    assert dropped.code == 0
    assert world.published() == {}
    assert world.run().code == 15


def test_one_file_is_the_same_rows_in_the_same_order(world, another_world):
    """`single_file` publishes a file where there was a folder."""
    single = another_world("single")
    single.configure(output__single_file=True)
    world.run()
    ended = single.run()

    assert ended.code == 0, ended.err
    assert single.path(f"{OUTPUTS}/{DAY}/predictions.parquet").is_file()
    pd.testing.assert_frame_equal(single.predictions(), world.predictions())
    assert (single("verify", *ON).code, single("replay", *ON).code) == (0, 0)


def test_the_plan_names_the_libraries_of_the_model(world):
    """What decides the scores is part of the plan: with LightGBM its version too, and else nothing new."""
    usual = {"batchscore", "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy"}
    world.run()
    before = document(world, "manifest.json")["plan"]["versions"]
    customers = small_world.customers()
    world.release(small_world.fit(LGBMClassifier(n_estimators=3, verbose=-1), small_world.target(customers)))
    ended = world.run("--republish", "--reason", "another model")
    after = document(world, "manifest.json")["plan"]["versions"]

    assert ended.code == 0, ended.err
    assert set(before) == usual
    assert after == {**before, "lightgbm": version("lightgbm")}


def test_all_columns_are_passed_through(world):
    """`passthrough: all` carries every input column behind the id, of every type, values and types as they are."""
    world.configure(output__passthrough="all")
    for number in range(3):
        world.rewrite(
            lambda table: pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **EXTRA}), number
        )
    validated = world("validate", *ON)
    ended = world.run()
    published = pq.read_table(world.path(f"{OUTPUTS}/{DAY}/predictions.parquet"))
    given = pa.concat_tables(world.rows(number) for number in range(3))

    assert (validated.code, ended.code) == (0, 0), ended.err
    assert published.column_names == [*given.column_names, "prediction", "risk_flag"]
    assert published.select(given.column_names).equals(given)


def test_rules_look_at_passed_through_columns_of_every_type(world):
    """A rule on a float, a date and a time that no model takes: rows are marked, and another kind of value is refused."""
    for number in range(3):
        world.rewrite(
            lambda table: pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **EXTRA}), number
        )
    conditions = [
        {"column": "a_float32", "above": 1.0},
        {"column": "a_float64", "above": 1.0},
        {"column": "a_date32", "above": "2024-01-01"},
        {"column": "a_timestamp", "at_most": "2024-02-29T12:00:00"},
    ]
    world.configure(output__passthrough="all", postprocess__rules=[{"name": "all", "when": conditions}])
    ended = world.run()
    rules = world.predictions()["rule"]
    world.configure(postprocess__rules=[{"name": "a", "when": [{"column": "a_date32", "above": 3}]}])
    refused = world("validate", *ON)

    assert ended.code == 0, ended.err
    assert (rules == "all").sum() == 300
    assert refused.code == 10
    assert "'a_date32', which is date32, with a number (3)" in refused.err


def test_files_get_the_mode_that_is_asked_for(world):
    """`output.mode` holds for every published file; folders may be entered by whoever may read."""
    world.configure(output__mode="0640")
    world.run()
    runs = world.path(f"{OUTPUTS}/_batchscore/runs")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in runs.rglob("*") if path.is_file()}

    assert modes == {0o640}
    assert {stat.S_IMODE(path.stat().st_mode) for path in runs.rglob("*") if path.is_dir()} == {0o750}


def test_three_classes_give_a_column_each(world):
    """The label is the most probable class, the prediction its probability, and the columns add up to 1."""
    world.release(small_world.three_classes())
    ended = world.run()
    published = world.predictions()
    classes = published[["prediction_high", "prediction_low", "prediction_mid"]]

    assert ended.code == 0, ended.err
    assert published["label"].tolist() == classes.idxmax(axis=1).str.removeprefix("prediction_").tolist()
    assert published["prediction"].tolist() == classes.max(axis=1).tolist()
    np.testing.assert_allclose(classes.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_a_regressor_gives_its_value(world):
    """`output: value` publishes what the regressor predicts, and a threshold in its unit flags."""
    world.release(small_world.regressor())
    world.configure(model__output="value", postprocess__threshold=50.0)
    ended = world.run()
    published = world.predictions()
    frame = pd.concat([world.rows(number).to_pandas() for number in range(3)])
    plain = joblib.load(world.path(MODEL)).predict(frame[list(NAMES)])

    assert ended.code == 0, ended.err
    np.testing.assert_allclose(published["prediction"], plain, rtol=1e-12, atol=1e-9)
    assert published["risk_flag"].tolist() == (published["prediction"] >= 50).tolist()


def test_labels_alone(world):
    """`output: class` publishes the label and no score."""
    world.configure(model__output="class", postprocess=None)
    ended = world.run()

    assert ended.code == 0, ended.err
    assert world.predictions().columns.tolist() == ["customer_id", "label"]
    assert (world("show", *ON).code, world("diff", *WITH, DAY, DAY).code) == (0, 0)


def test_without_a_threshold_nothing_is_flagged(world):
    """No threshold, no flag column, and the summary for a person says nothing of flags."""
    world.configure(postprocess=None)
    ended = world.run()

    assert ended.code == 0, ended.err
    assert world.predictions().columns.tolist() == ["customer_id", "prediction"]
    assert "None" not in ended.out


def test_an_empty_snapshot_is_a_result_when_it_is_allowed(world):
    """`allow_empty` publishes no rows, with columns and types."""
    world.run()
    types = pq.read_schema(world.path(f"{OUTPUTS}/{DAY}/predictions.parquet/part-00000.parquet"))
    small_world.write_snapshot(world.path("data/customers_2024_03_02"), rows=0)
    world.configure(snapshot__allow_empty=True)
    ended = world.run(date="2024-03-02")

    assert ended.code == 0, ended.err
    assert pq.read_schema(world.path(f"{OUTPUTS}/2024-03-02/predictions.parquet/part-00000.parquet")) == types
    assert world.predictions("2024-03-02").empty
    assert world("show", *WITH, "--date", "2024-03-02").code == 0


def test_many_small_files_are_few_partitions(world):
    """200 files of a handful of rows become partitions of about `partition.rows` rows, in the files' order."""
    folder = world.path("data/customers_2024_03_02")
    small_world.write_snapshot(folder, rows=900, files=200)
    ended = world.run(date="2024-03-02")
    planned = json.loads(world.path(f"{OUTPUTS}/2024-03-02/manifest.json").read_text())["partitions"]
    ids = [text for path in sorted(folder.iterdir()) for text in pq.read_table(path)["customer_id"].to_pylist()]

    assert ended.code == 0, ended.err
    assert sum(partition["rows"] for partition in planned) == 900
    assert 9 <= len(planned) <= 10
    assert world.predictions("2024-03-02")["customer_id"].tolist() == ids


def test_scores_do_not_depend_on_the_cut(world, another_world):
    """Other partitions and other numbers of workers: the same scores, bit by bit."""
    other = another_world("other")
    other.configure(partition__rows=1000, cluster__workers=4)
    world.run()
    other.run()

    pd.testing.assert_frame_equal(other.predictions(), world.predictions(), check_exact=True)
    assert len(list(other.path(f"{OUTPUTS}/{DAY}/predictions.parquet").iterdir())) == 1
    assert len(list(world.path(f"{OUTPUTS}/{DAY}/predictions.parquet").iterdir())) == 3


def test_a_failed_run_is_resumed(world):
    """What was scored before a failure is not scored again, once the cause is gone."""
    world.configure(cluster__workers=1)
    rows = world.rows(2)
    world.path(f"{OUTPUTS}/{DAY}").mkdir(parents=True)
    refused = world.run()
    world.path(f"{OUTPUTS}/{DAY}").rmdir()
    broken = world.part(2).read_bytes()
    world.part(2).write_bytes(broken[: len(broken) // 2] + b"\0" + broken[len(broken) // 2 + 1 :])
    failed = world.run()
    world.part(2).write_bytes(broken)
    resumed = world.run()

    assert (refused.code, failed.code, resumed.code) == (14, 13, 0)
    assert "reused 2 of 3 partitions, finished by an earlier attempt" in resumed.out
    assert world.predictions()["customer_id"].tolist()[200:] == rows["customer_id"].to_pylist()


def test_replay_names_the_cause_when_the_input_is_another(world):
    """A snapshot that changed since: DIFFERENT, the first row and column, and the file as the cause; code 3.

    The values change and neither size nor footer do, so that no plan shows it.
    """
    plain = {"compression": "none", "use_dictionary": False}
    world.rewrite(lambda table: table, **plain)
    world.run()
    world.rewrite(lambda table: table.set_column(3, "visits", pa.array(table["visits"].to_pylist()[::-1])), **plain)
    ended = world("replay", *ON)

    assert ended.code == 3
    assert f"DIFFERENT {DAY}: partition 0, row 'c0-00000" in ended.out
    assert "column 'prediction'" in ended.out
    assert "the plan differs in inputs.data/customers_2024_03_01/part-0.parquet.content: " in ended.out


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param(lambda world: world.path(MODEL).write_bytes(b"another"), "E-MODEL-DIGEST", id="another model"),
        pytest.param(lambda world: world.path(MODEL).unlink(), "E-MODEL-MISSING", id="no model"),
        pytest.param(lambda world: world.path(small_world.SCHEMA).unlink(), "E-CONFIG-SCHEMA-MISSING", id="no schema"),
        pytest.param(lambda world: shutil.rmtree(world.path(SNAPSHOT)), "E-MISSING-NOT-FOUND", id="no snapshot"),
        pytest.param(lambda world: world.part(1).write_bytes(b"PAR1"), "E-SNAPSHOT-CORRUPT", id="a corrupt file"),
        pytest.param(
            lambda world: world.rewrite(lambda rows: rows.drop(["age"]), 0, 1, 2),
            "E-CONTRACT-MISSING-COLUMN",
            id="a column less",
        ),
        pytest.param(lambda world: world.set_value("age", 3, 300), "E-CONTRACT-BAD-ROWS", id="a bad row"),
    ],
)
def test_replay_says_what_keeps_a_run_from_coming_out_again(world, change, cause):
    """A model or an input that is no longer what was scored is a difference: code 3, with the cause; all else is not.

    The twin is an output that was never published.
    """
    world.run()
    change(world)
    ended = world("replay", *ON, "--json")
    other = world("replay", *WITH, "--date", "2024-03-02")

    assert (ended.code, ended.document["error"]) == (3, "E-DIFFERENCES-NOT-AGAIN")
    assert ended.document["context"]["cause"] == cause
    assert f"{DAY} can not be scored again as it was: " in ended.document["message"]
    assert other.code == 2


def test_verify_names_a_flipped_byte(world):
    """One byte of one part: DAMAGED, the file by name, code 3; the twin is the verification of a whole date above."""
    world.run()
    part = world.path(f"{OUTPUTS}/{DAY}/predictions.parquet/part-00001.parquet").resolve()
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    ended = world("verify", *ON)

    assert ended.code == 3
    assert f"DAMAGED {DAY}: 1 problem in" in ended.out
    assert "part-00001.parquet" in ended.out


def test_overlays_and_overrides_win_in_order(world):
    """A later file wins key by key, and `--set` over all, as text for a text key."""
    world.path("prod.yaml").write_text('environment: prod\npostprocess: {flag: churns}\nmodel: {version: "9"}\n')
    ended = world.run("--config", "prod.yaml", "--set", "model.version=2.0", "--set", "postprocess.threshold=0.5")
    recorded = document(world, "metadata.json")

    assert ended.code == 0, ended.err
    assert (recorded["environment"], recorded["model_version"]) == ("prod", "2.0")
    assert world.predictions().columns.tolist() == ["customer_id", "prediction", "churns"]
    assert recorded["config"]["postprocess"]["threshold"] == 0.5


def test_another_threshold_names_the_place_of_the_flag(world):
    """A model of another positive class turns the prediction round."""
    world.release(small_world.fit(LogisticRegression(), np.where(small_world.target(small_world.customers()), "yes", "no")))  # fmt: skip
    world.configure(model__positive_class="no")
    ended = world.run()

    assert ended.code == 0, ended.err
    np.testing.assert_allclose(world.predictions()["prediction"], 1 - expected(world), rtol=0, atol=1e-12)


def test_validate_checks_the_pods_of_a_cluster(world):
    """A key inside `cluster.kubernetes` that the operator's schema does not know is found before the first night."""
    on = ("--set", "cluster.kind=kubernetes", "--set")
    good = "cluster.kubernetes.worker={tolerations: [{key: spot}]}"
    bad = "cluster.kubernetes.worker={tolerations: [{kye: spot}]}"
    wrong = [world("validate", *where, *on, bad) for where in (WITH, ON)]

    assert world("validate", *WITH, *on, good).code == 0
    assert [ended.code for ended in wrong] == [10, 10]
    assert all("E-CONFIG-DASKCLUSTER" in ended.err and "'kye'" in ended.err for ended in wrong)
    assert world("validate", *WITH, "--set", bad).code == 0  # of another kind it is not asked for


@pytest.mark.parametrize("passthrough", [["region"], "all"])
def test_validate_without_a_date_reads_the_pinned_tables(world, passthrough):
    """A table that is another one than the pinned one is found before there is a snapshot."""
    world.path("desks.csv").write_text("region,desk\n01,a\n1,b\n")
    digest = sha256(world.path("desks.csv").read_bytes()).hexdigest()

    def ruled(pinned):
        lookup = {"path": "desks.csv", "sha256": pinned, "by": "region", "value": "desk", "into": "desk"}
        rule = {"name": "a", "when": [{"column": "age", "above": 1}], "then": {"lookup": lookup}}
        world.configure(postprocess__rules=[rule], output__passthrough=passthrough)
        return world("validate", *WITH)

    assert ruled(digest).code == 0
    refused = ruled("0" * 64)
    assert refused.code == 10
    assert "E-CONFIG-TABLE-DIGEST" in refused.err
