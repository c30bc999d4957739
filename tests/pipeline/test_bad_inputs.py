"""Every bad input ends in its code and one sentence with a remedy, and readers see what they saw before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import bad_table
import pytest
from bad_models import CANARY
from bad_row import Bad, error_id, message, remedy
from forked_cli import Ended

from batchscore.errors import UNKNOWN_STATE

PAGE = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
STATES = re.compile(rf"Nothing was (published|scored or published).*|{re.escape(UNKNOWN_STATE)}")
AS_JSON = bad_table.ROWS[::12]


def told(ended: Ended) -> list[str]:
    """Return what stands on stderr but for log lines."""
    return [line for line in ended.err.splitlines() if not line.startswith("{")]


def name(row: Bad) -> str:
    """Return a row's name in the list of tests."""
    return re.sub(r"[^a-z0-9]+", "-", row.what.lower()).strip("-")


@pytest.mark.parametrize("row", bad_table.ROWS, ids=name)
def test_a_bad_input_is_refused(world, row):
    """Its code and id, one sentence that names thing and fact, a remedy, the state; nothing is published."""
    row.spoil(world)
    before = world.published()
    ended = row.run(world)
    first, second, last = told(ended)

    assert (ended.code, error_id(ended)) == (row.code, row.error), ended.err
    assert first == f"error[{row.error}]: {message(ended)}"
    assert [part for part in row.says if part not in message(ended)] == []
    assert second == f"help: {remedy(ended)}"
    assert remedy(ended)
    assert STATES.fullmatch(last)
    assert "Traceback" not in ended.err + ended.out
    assert str(world.root) not in ended.err
    assert world.published() == before
    assert not world.path(CANARY).exists()
    assert ended.out == ""


@pytest.mark.parametrize("row", AS_JSON, ids=name)
def test_a_refusal_as_json_is_one_document(world, row):
    """`--json` gives the same as a document on stdout, and logs stay on stderr."""
    row.spoil(world)
    ended = row.run(world, "--json")
    document = ended.document

    assert ended.code == row.code
    assert {key: document[key] for key in ("error", "exit_code", "message", "help")} == {
        "error": row.error,
        "exit_code": row.code,
        "message": message(ended),
        "help": remedy(ended),
    }
    assert STATES.fullmatch(document["state"])
    assert "traceback" not in document["context"]


def test_a_good_input_is_not_refused(world):
    """The twin of all rows: the pipeline that they spoil is in order."""
    ended = world.run()

    assert (ended.code, told(ended)) == (0, [])


def test_no_row_stands_twice():
    """Each row is another bad input, and there are enough of them."""
    names = [row.what for row in bad_table.ROWS]

    assert len(names) == len(set(names))
    assert len(names) >= 60


def test_the_page_is_current():
    """docs/bad-inputs.md has every row with its code and id, in order, and no path of a machine."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (\d+) \| `(E-[A-Z0-9-]+)` \|", page, re.MULTILINE)

    assert rows == [(row.what.replace("|", "\\|"), str(row.code), row.error) for row in bad_table.ROWS]
    assert re.findall(r"/(?:tmp|root|work|home)/", page) == []


def test_every_class_of_refusal_has_a_row():
    """Codes that no bad input brings about are those of clusters, leases, signals and damage to our own state."""
    codes = {row.code for row in bad_table.ROWS}

    assert codes == {2, 10, 11, 12, 13, 14, 15, 16, 20, 23}


def test_the_document_holds_all_violations_of_the_contract(world):
    """The sentence shows the first ones; a machine gets all, with files and columns."""
    world.rewrite(lambda table: table.select(["region"]), 0, 1)
    context = json.loads(world.run("--json").out)["context"]

    assert context["columns"] == ["amount", "age", "visits", "plan", "customer_id"]
    assert len(context["violations"]) == 5
    assert [Path(path).name for path in context["files"]] == ["part-0.parquet", "part-1.parquet"]
