"""Panels of the dashboards, laid out from left to right and from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as query

WIDTH = 24
SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
PANEL_SOURCE = SOURCE

Target = tuple[str, str]
"""An expression and its legend."""


def targets(
    panel: Any, content: Iterable[Target], *, instant: bool = False, tabular: bool = False, interval: str = ""
) -> Any:
    """Add queries to a panel; an instant one shows what is there now, and nothing when nothing is."""
    for place, (expression, legend) in enumerate(content):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + place)).expr(expression).legend_format(legend)
        target = target.datasource(SOURCE).editor_mode(query.QueryEditorMode.CODE)
        if instant:
            target = target.instant()
        if tabular:
            target = target.format(query.PromQueryFormat.TABLE)
        panel = panel.with_target(target)
    panel = panel.datasource(PANEL_SOURCE)
    return panel.interval(interval) if interval else panel


def steps(*pairs: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds: from a value on, a colour."""
    colours = [model.Threshold(value=value, color=colour) for value, colour in pairs]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(colours)


def number(title: str, description: str, unit: str, content: list[Target], limits: dashboard.ThresholdsConfig) -> Any:
    """Return one big number."""
    panel = stat.Panel().title(title).description(description).unit(unit).thresholds(limits)
    panel = panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.BACKGROUND)
    return targets(panel, content, instant=True)


def name(title: str, description: str, content: list[Target]) -> Any:
    """Return one big name: the legend of the query."""
    panel = stat.Panel().title(title).description(description).unit("none").text_mode(common.BigValueTextMode.NAME)
    panel = panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.NONE)
    return targets(panel, content, instant=True)


def lines(title: str, description: str, unit: str, content: list[Target], *, steps_: bool = True) -> Any:
    """Return lines over time; a value stands until the next run, so they are drawn as steps."""
    panel = timeseries.Panel().title(title).description(description).unit(unit).min(0)
    if steps_:
        panel = panel.line_interpolation(common.LineInterpolation.STEP_AFTER)
    return targets(panel.line_width(2).show_points(common.VisibilityMode.NEVER), content)


def bars(
    title: str, description: str, unit: str, content: list[Target], *, stacked: bool = False, line: str = ""
) -> Any:
    """Return a bar per day, on the day of the push; a day without a success has none.

    The query's day ends at midnight, so the bar stands before it. `line` is the legend of the query that is a line.
    """
    panel = timeseries.Panel().title(title).description(description).unit(unit).min(0)
    panel = panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(1)
    panel = panel.bar_alignment(common.BarAlignment.BEFORE)
    if line:
        drawn = {"drawStyle": "line", "lineInterpolation": "stepBefore", "lineWidth": 2, "fillOpacity": 0}
        panel = panel.override_by_name(line, properties({f"custom.{key}": value for key, value in drawn.items()}))
    if stacked:
        panel = panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    return targets(panel, content, interval="1d")


def states(title: str, description: str, content: list[Target], mapped: dict[str, tuple[str, str]]) -> Any:
    """Return states over time; `mapped` gives each value its words and colour."""
    panel = (
        statetimeline.Panel().title(title).description(description).unit("none").show_value(common.VisibilityMode.NEVER)
    )
    words = {
        value: model.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(mapped.items())
    }
    return targets(panel.mappings([model.ValueMap(options=words)]), content)


def properties(values: Mapping[str, object]) -> list[model.DynamicConfigValue]:
    """Return settings of a field as an override has them."""
    return [model.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def rows(
    title: str,
    description: str,
    content: list[Target],
    *,
    hide: Iterable[str] = (),
    names: dict[str, str] | None = None,
    columns: Mapping[str, Mapping[str, object]] | None = None,
) -> Any:
    """Return a table of one row per label set, its queries side by side; `columns` holds settings by shown name."""
    panel = table.Panel().title(title).description(description).unit("none")
    panel = targets(panel, content, instant=True, tabular=True)
    for column, settings in (columns or {}).items():
        panel = panel.override_by_name(column, properties(settings))
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    organized = {
        "excludeByName": dict.fromkeys(("Time", "job", "instance", "__name__", *hide), True),
        "renameByName": names or {},
    }
    return panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=organized))


class Board:
    """A dashboard that places its panels by itself."""

    def __init__(self, uid: str, title: str, description: str, variables: list[Any]) -> None:
        self._builder = dashboard.Dashboard(title).uid(uid).description(description).tags(["batchscore"])
        self._builder = self._builder.time("now-60d", "now").timezone("browser").refresh("5m").editable()
        self._builder = self._builder.tooltip(model.DashboardCursorSync.CROSSHAIR)
        for variable in (datasource(), *variables):
            self._builder = self._builder.with_variable(variable)
        self._x = self._y = self._tallest = 0

    def row(self, title: str) -> None:
        """Begin a row with a heading."""
        self._break()
        self._builder = self._builder.with_row(dashboard.Row(title).grid_pos(self._place(WIDTH, 1)))
        self._break()

    def add(self, width: int, height: int, *panels: Any) -> None:
        """Add panels of one size."""
        for panel in panels:
            self._builder = self._builder.with_panel(panel.grid_pos(self._place(width, height)))

    def fold(self, title: str, width: int, height: int, *panels: Any) -> None:
        """Add a row that is closed at first."""
        self._break()
        row = dashboard.Row(title).collapsed(True).grid_pos(self._place(WIDTH, 1))  # noqa: FBT003 - the SDK's
        self._break()
        for panel in panels:
            row = row.with_panel(panel.grid_pos(self._place(width, height)))
        self._builder = self._builder.with_row(row)
        self._break()

    def annotate(self, title: str, expression: str, colour: str, text: str) -> None:
        """Mark moments at which `expression` has a value."""
        asked = prometheus.Dataquery().ref_id("Anno").expr(expression).editor_mode(query.QueryEditorMode.CODE)
        note = dashboard.AnnotationQuery().name(title).datasource(SOURCE).enable(True).icon_color(colour)  # noqa: FBT003
        self._builder = self._builder.annotation(note.target(asked).title_format(text))

    def text(self) -> str:
        """Return the dashboard as JSON, less what the SDK adds that Grafana does not know.

        Ids are in reading order, as the SDK gives every row the id 0. An interval's keys go from the variables that
        are none, and a table's footer from the options: Grafana has it among the fields since version 12.
        """
        content = json.loads(json.dumps(self._builder.build(), cls=JSONEncoder))
        everything = [inner for panel in content["panels"] for inner in (panel, *panel.get("panels", ()))]
        for place, panel in enumerate(everything, 1):
            panel["id"] = place
            panel.get("options", {}).pop("footer", None)
        for variable in content["templating"]["list"]:
            for key in ("auto", "auto_count", "auto_min"):
                del variable[key]
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    def _place(self, width: int, height: int) -> model.GridPos:
        if self._x + width > WIDTH:
            self._break()
        place = model.GridPos(x=self._x, y=self._y, w=width, h=height)
        self._x, self._tallest = self._x + width, max(self._tallest, height)
        return place

    def _break(self) -> None:
        self._x, self._y, self._tallest = 0, self._y + self._tallest, 0


def datasource() -> dashboard.DatasourceVariable:
    """Return the variable that picks a Prometheus."""
    return dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus")


def chooser(label: str, title: str, metric: str) -> dashboard.QueryVariable:
    """Return the variable that picks a label's value."""
    text = f"label_values({metric}, {label})"
    variable = dashboard.QueryVariable(label).label(title).query(text).datasource(SOURCE)
    return variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
