"""The dashboards: current, well laid out, and every panel shows something of a real history."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from past import Past
from servers import ask
from simulated import DAYS, moment

from batchscore.metrics import CATALOGUE
from tools.grafana.__main__ import SCHEMA, schema

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "helm" / "batchscore" / "files" / "dashboards"
RULES = ROOT / "helm" / "batchscore" / "files" / "batchscore.rules.yml"
BOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
EVERY_BOARD = pytest.mark.parametrize("board", BOARDS)


def panels(board: str) -> list[dict[str, Any]]:
    """Return a board's panels."""
    return [inner for panel in BOARDS[board]["panels"] for inner in (panel, *(panel.get("panels") or ()))]


def drawn(board: str) -> list[dict[str, Any]]:
    """Return the panels that draw something."""
    return [panel for panel in panels(board) if panel["type"] != "row"]


def expressions(board: str) -> list[str]:
    """Return all queries of a board."""
    notes = BOARDS[board].get("annotations", {}).get("list", ())
    return [query["expr"] for panel in drawn(board) for query in panel["targets"]] + [
        n["target"]["expr"] for n in notes
    ]


def chosen(expression: str) -> str:
    """Put values in the place of the board's variables."""
    return (
        expression.replace('=~"$environment"', '=~".*"').replace("$environment", "prod").replace("$pipeline", "churn")
    )


QUERIES = [
    pytest.param(board, panel, target, id=f"{board}: {panel['title']} {target['refId']}")
    for board in BOARDS
    for panel in drawn(board)
    for target in panel["targets"]
]


def test_the_files_are_current(tmp_path: Path) -> None:
    """Generating both dashboards again changes nothing."""
    folder = str(ROOT / "tools" / "dashboards")
    code = f"import sys, json; sys.path.insert(0, {folder!r}); import generate; print(json.dumps(generate.boards()))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert json.loads(made.stdout) == {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}


@EVERY_BOARD
def test_every_expression_parses(board: str) -> None:
    """Every query is PromQL once its variables are filled in."""
    for expression in expressions(board):
        promql_parser.parse(chosen(expression))


@EVERY_BOARD
def test_every_metric_is_known(board: str) -> None:
    """Every metric is in the catalogue, a record of the rules, or Prometheus' own list of alerts."""
    records = set(re.findall(r"record: (\S+)", RULES.read_text()))
    known = {metric.name for metric in CATALOGUE} | {
        f"{metric.name}_bucket" for metric in CATALOGUE if metric.kind == "histogram"
    }

    for expression in expressions(board):
        names = set(re.findall(r"(?<![\w:])(?:batchscore_\w+|pipeline:\w+:\w+)", expression))
        assert names <= known | records, expression
        assert names or "ALERTS" in expression, expression


@EVERY_BOARD
def test_the_layout_holds(board: str) -> None:
    """Ids are unique, nothing overlaps or leaves the page, and every panel says what it shows and in what unit."""
    ids = [panel["id"] for panel in panels(board)]
    places = [(panel["title"], panel["gridPos"]) for panel in panels(board)]

    assert len(set(ids)) == len(ids)
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    assert [pair for pair in combinations(places, 2) if overlap(pair[0][1], pair[1][1])] == []
    for panel in drawn(board):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two panels lie on one another."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_single_numbers_are_of_now() -> None:
    """The last value of a range would go on standing there after the pipeline is gone."""
    numbers = [panel for board in BOARDS for panel in drawn(board) if panel["type"] == "stat"]

    assert all(target["instant"] for panel in numbers for target in panel["targets"])


def test_uids_are_fixed_and_no_data_source_is_baked_in() -> None:
    """Links to a dashboard survive an upgrade, and the Prometheus is the reader's choice."""
    assert {board: content["uid"] for board, content in BOARDS.items()} == {
        "fleet": "batchscore-fleet",
        "pipeline": "batchscore-pipeline",
    }
    for board in BOARDS:
        assert {panel["datasource"]["uid"] for panel in drawn(board)} == {"${datasource}"}


@pytest.mark.monitoring
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("board", "panel", "target"), QUERIES)
def test_every_query_shows_something(
    board: str, panel: dict[str, Any], target: dict[str, Any], ten_weeks: Past
) -> None:
    """Every query of every panel finds data in the simulated history; a renamed metric would leave it empty."""
    del board, panel
    end = moment(DAYS) - 3600
    span = {"time": end} if target.get("instant") else {"start": moment(8), "end": end, "step": 6 * 3600.0}

    assert ask(ten_weeks.url, chosen(target["expr"]), **span)


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_queries_of_one_table_share_their_rows(ten_weeks: Past) -> None:
    """Grafana joins the answers by equal labels: one label more, such as a metric's name, and nothing is joined."""
    tables = [panel for board in BOARDS for panel in drawn(board) if panel["type"] == "table"]

    for panel in tables:
        answers = [ask(ten_weeks.url, chosen(t["expr"]), time=moment(DAYS) - 3600) for t in panel["targets"]]
        labels = {tuple(sorted(series["metric"])) for answer in answers for series in answer}
        assert len(labels) == 1, panel["title"]


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_the_model_change_is_marked(ten_weeks: Past) -> None:
    """The annotation has a value when the model changes, and none a day later."""
    (note,) = BOARDS["pipeline"]["annotations"]["list"]
    changed = ask(ten_weeks.url, chosen(note["target"]["expr"]), time=moment(48, 3))

    assert [series["metric"]["model_version"] for series in changed] == ["1.3.0"]
    assert ask(ten_weeks.url, chosen(note["target"]["expr"]), time=moment(49, 3)) == []


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_the_schema_is_current(require: Callable[[str], str], tmp_path: Path) -> None:
    """Made anew from Grafana's types, the schema that the dashboards are held to is the same."""
    require("npm")

    assert schema(tmp_path) == SCHEMA.read_text(encoding="utf-8")
