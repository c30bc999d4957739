"""The dashboards against a schema of Grafana's own types, and planted mistakes that it must see."""

import copy
import json
from collections.abc import Iterator
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tools.grafana.__main__ import SCHEMA, origin

FOLDER = Path(__file__).parents[2] / "helm" / "batchscore" / "files" / "dashboards"
BOARDS = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}
VALIDATOR = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def complaints(board: dict[str, Any]) -> list[str]:
    """Return what the schema has against a dashboard, and against each override put in the place of the defaults."""
    documents = (board, *({"schemaVersion": 1, "panels": [panel]} for panel in overridden(board)))
    errors = chain.from_iterable(VALIDATOR.iter_errors(document) for document in documents)
    return sorted(f"{error.json_path}: {error.message}" for error in errors)


def overridden(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a bare panel for every override, with its values as defaults: Grafana's types leave overrides open.

    `custom.lineWidth: 2` becomes `{custom: {lineWidth: 2}}`, as Grafana does it.
    """
    for panel in chain.from_iterable((panel, *panel.get("panels", ())) for panel in board["panels"]):
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            defaults: dict[str, Any] = {}
            for setting in override["properties"]:
                *parents, name = setting["id"].split(".")
                reduce(lambda at, key: at.setdefault(key, {}), parents, defaults)[name] = setting["value"]
            yield {"type": panel["type"], "fieldConfig": {"defaults": defaults, "overrides": []}}


def panel(board: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a dashboard's first panel of a kind."""
    return next(panel for panel in board["panels"] if panel["type"] == kind)


@pytest.mark.parametrize("board", BOARDS)
def test_grafana_knows_every_key(board):
    """Every key of the dashboard, its panels, options, fields, overrides and queries, and every value's type."""
    assert complaints(BOARDS[board]) == []


def test_every_kind_of_panel_is_there_to_be_checked():
    """Overrides and folded rows too: the check above looks at something."""
    folded = [panel for board in BOARDS.values() for row in board["panels"] for panel in row.get("panels", ())]
    kinds = {panel["type"] for board in BOARDS.values() for panel in board["panels"]}

    assert kinds == {"row", "stat", "state-timeline", "table", "timeseries"}
    assert folded
    assert all(list(overridden(board)) for board in BOARDS.values())


def change(kind: str, path: str, value: object) -> dict[str, Any]:
    """Return the pipeline's dashboard with one value set; `kind` is of the panel, or empty for the dashboard."""
    board = copy.deepcopy(BOARDS["pipeline"])
    *parents, name = [int(key) if key.isdigit() else key for key in path.split("/")]
    reduce(lambda at, key: at[key], parents, panel(board, kind) if kind else board)[name] = value
    return board


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        pytest.param("stat", "options/colourMode", "value", "'colourMode' was unexpected", id="misspelt option"),
        pytest.param("timeseries", "options/legend/show", True, "'show' was unexpected", id="misspelt inner option"),
        pytest.param("table", "options/showHeader", "yes", "'yes' is not of type 'boolean'", id="wrong type"),
        pytest.param("stat", "options/graphMode", "bars", "'bars' is not one of", id="value of no choice"),
        pytest.param("timeseries", "colour", "red", "'colour' was unexpected", id="unknown key of a panel"),
        pytest.param("timeseries", "fieldConfig/defaults/units", "s", "'units' was unexpected", id="misspelt default"),
        pytest.param(
            "timeseries", "fieldConfig/defaults/custom/linewidth", 2, "'linewidth' was unexpected", id="misspelt custom"
        ),
        pytest.param(
            "state-timeline",
            "fieldConfig/defaults/custom/fillOpacity",
            "70",
            "'70' is not of type",
            id="text as number",
        ),
        pytest.param("stat", "options/showValue", "never", "'showValue' was unexpected", id="another kind's option"),
        pytest.param("stat", "type", "singlestat", "'singlestat' is not one of", id="panel of a kind unknown"),
        pytest.param("timeseries", "targets/0/legend", "x", "'legend' was unexpected", id="misspelt key of a query"),
        pytest.param("table", "targets/0/format", "rows", "'rows' is not one of", id="unknown format of a query"),
        pytest.param(
            "timeseries",
            "fieldConfig/overrides/0/properties/0/id",
            "custom.drawstyle",
            "'drawstyle' was unexpected",
            id="misspelt override",
        ),
        pytest.param(
            "timeseries",
            "fieldConfig/overrides/0/properties/0/value",
            "curve",
            "'curve' is not one of",
            id="wrong value of an override",
        ),
        pytest.param("", "refreshes", "5m", "'refreshes' was unexpected", id="unknown key of a dashboard"),
        pytest.param("", "graphTooltip", 3, "3 is not one of", id="wrong number of a choice"),
        pytest.param("", "templating/list/0/auto", True, "'auto' was unexpected", id="unknown key of a variable"),
        pytest.param("", "annotations/list/0/expr", "up", "'expr' was unexpected", id="an annotation of old"),
    ],
)
def test_a_planted_mistake_is_seen(kind, path, value, said):
    """One changed value is one complaint that names it."""
    (found,) = complaints(change(kind, path, value))

    assert said in found


def test_a_mistake_in_a_folded_row_is_seen():
    """The panels of a row that is closed at first count as much."""
    board = copy.deepcopy(BOARDS["pipeline"])
    row = next(panel for panel in board["panels"] if panel.get("panels"))
    row["panels"][0]["options"]["tooltips"] = {}
    (found,) = complaints(board)

    assert "'tooltips' was unexpected" in found


def test_a_missing_key_is_seen():
    """A query needs its expression."""
    board = copy.deepcopy(BOARDS["pipeline"])
    del panel(board, "stat")["targets"][0]["expr"]

    assert [found for found in complaints(board) if "'expr' is a required property" in found]


def test_the_schema_says_where_it_comes_from():
    """The versions that are pinned are those that it was made of."""
    assert VALIDATOR.schema["$comment"] == origin()


def test_the_preview_draws_with_the_version_that_is_checked():
    """One Grafana for both."""
    preview, own = (
        json.loads((Path(__file__).parents[2] / "tools" / tool / "package.json").read_text())
        for tool in ("preview", "grafana")
    )

    assert preview["dependencies"]["@grafana/schema"] == own["devDependencies"]["@grafana/schema"]
