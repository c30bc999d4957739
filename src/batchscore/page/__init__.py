"""The report of a published run as one HTML file: no script, no network, the same bytes for the same documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from batchscore.execution import STAGES
from batchscore.page import charts

if TYPE_CHECKING:
    from jinja2 import Environment

SHOWN_DATES = 60
"""Dates that the volume charts draw."""
SHOWN_REJECTS = 100
"""Rows set aside that a report lists."""
TO_DO: Mapping[str, str] = {
    "volume": "Compare with the same weekday before (`batchscore diff`) and look for a missing or doubled file;"
    " deliver it again and `run --republish`, or list the date in `volume.ignore_dates` if the number is right.",
    "drift": "Look first whether the volume is normal, then at the features that moved most; if the world moved,"
    " make a new reference or train again.",
    "flagged": "Compare with the date before (`batchscore diff`): other features, another model or another threshold?",
    "rejected": "See the reasons below and the rows in quarantine.parquet; mend the source or the schema,"
    " then `batchscore rescore-quarantine`.",
}
"""What to do first when a gate was breached, by gate."""
ODD_DEVIATIONS = 3.0
"""A date that lies further than this many deviations from its baseline stands out, whatever the gate says of it."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """One published date, as far as its volume is drawn."""

    date: str
    """The date, ISO."""
    rows: int
    """Scored rows."""
    baseline: float | None
    """The median of the same weekday as it stood for this date; None when there was none."""
    deviation: float | None = None
    """The deviation of the baseline, rows; None without one, or when it rests on too few dates."""
    known: bool = False
    """Whether the date is one of `volume.ignore_dates`."""
    breach: str = ""
    """What the gate on the volume said when it passed a limit; empty when it did not."""

    @property
    def ratio(self) -> float | None:
        """Scored rows over the baseline; None without one."""
        return self.rows / self.baseline if self.baseline else None

    @property
    def distance(self) -> float | None:
        """How many deviations the rows lie above the baseline; None without one."""
        return (self.rows - self.baseline) / self.deviation if self.baseline and self.deviation else None

    @property
    def is_odd(self) -> bool:
        """Whether the date stands out: far from what is usual, or beyond a limit."""
        return bool(self.breach) or self.known or abs(self.distance or 0.0) > ODD_DEVIATIONS

    @property
    def verdict(self) -> str:
        """What the date is, in words."""
        if self.breach:
            return self.breach
        return "a known odd day (volume.ignore_dates)" if self.known else "unusual, and within the limits"


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """One published date whose files are not what they were: it is named, and must not hide the others."""

    date: str
    """The date, ISO."""
    why: str
    """What is wrong, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One row that was set aside: where it stands, never what it holds."""

    id: str
    """The row's id."""
    file: str
    """The source file."""
    row: int
    """The number of the row in the file, from 0."""
    reasons: tuple[str, ...]
    """All reason codes."""


def render_report(
    summary: Mapping[str, Any],
    metadata: Mapping[str, Any],
    manifest: Mapping[str, Any],
    history: Sequence[Day | Damaged],
    *,
    rejects: Sequence[Reject] = (),
    runbooks: str | None = None,
) -> str:
    """Return the report of one run.

    Args:
        summary: The content of `summary_metrics.json`.
        metadata: The content of `metadata.json`.
        manifest: The content of `manifest.json`.
        history: Published dates up to the run's own, ascending; the last 60 are drawn.
        rejects: Rows set aside, in input order; the first 100 are listed, by id and place, never by value.
        runbooks: The folder or address that the links to the runbooks begin with; None for a page without links.
    """
    days, damaged = _split(history)
    return (
        _environment()
        .get_template("report.html")
        .render(
            summary=summary,
            metadata=metadata,
            manifest=manifest,
            verdict=_verdict(metadata),
            ratio=_ratio(summary, metadata),
            days=days,
            damaged=damaged,
            volume_chart=_volume_chart(days),
            score_chart=_score_chart(summary),
            quantiles=(summary.get("quantiles") or {}).get("prediction") or {},
            drift=_drift(summary),
            stage_chart=charts.bars(_stages(metadata), unit="s"),
            warnings=_warnings(metadata),
            rejects=rejects[:SHOWN_REJECTS],
            to_do=TO_DO,
            runbooks=runbooks.rstrip("/") if runbooks else None,
        )
    )


def render_history(pipeline: str, environment: str, history: Sequence[Day | Damaged]) -> str:
    """Return the page of the last 60 published dates.

    Args:
        pipeline: The pipeline's name.
        environment: The environment.
        history: Published dates, ascending.
    """
    days, damaged = _split(history)
    template = _environment().get_template("history.html")
    return template.render(
        pipeline=pipeline,
        environment=environment,
        days=days,
        damaged=damaged,
        volume_chart=_volume_chart(days),
    )


def _split(history: Sequence[Day | Damaged]) -> tuple[list[Day], list[Damaged]]:
    """Return the dates to draw, and those that can only be named, among the last ones."""
    last = list(history)[-SHOWN_DATES:]
    return [each for each in last if isinstance(each, Day)], [each for each in last if isinstance(each, Damaged)]


def _volume_chart(days: Sequence[Day]) -> str:
    if not days:
        return ""
    return charts.volume([charts.Bar(day.date, day.rows, day.baseline, odd=day.is_odd) for day in days])


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("batchscore.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda value: f"{value:,.0f}"
    environment.filters["share"] = lambda value: f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
    environment.filters["weekday"] = lambda day: f"{date.fromisoformat(day):%a}"
    environment.filters["decimals"] = lambda value, places: "\N{EN DASH}" if value is None else f"{value:.{places}f}"
    return environment


def _score_chart(summary: Mapping[str, Any]) -> str:
    """Draw the scores and those of the reference in the same bins; other bins could not be compared by eye."""
    scores = summary["histograms"].get("prediction")
    if not scores:
        return ""
    reference = ((summary.get("drift") or {}).get("reference") or {}).get("histograms", {}).get("prediction")
    same = reference is not None and reference["edges"] == scores["edges"]
    return charts.histogram(scores["edges"], scores["counts"], reference["counts"] if same else None)


def _stages(metadata: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the seconds of the stages in the order of a run."""
    seconds = metadata["stages"]
    order = [*(name for name in STAGES if name in seconds), *sorted(set(seconds).difference(STAGES))]
    return [(name, float(seconds[name])) for name in order]


def _warnings(metadata: Mapping[str, Any]) -> list[str]:
    """Return the warnings that do not stand among the gates' verdicts already."""
    told = {f"{gate['gate']}: {gate['message']}" for gate in metadata["gates"]}
    return [warning for warning in metadata["warnings"] if warning not in told]


def _verdict(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the worst of the gates' verdicts in words; the class gives it its colour."""
    breached = [gate for gate in metadata["gates"] if gate["verdict"] != "pass"]
    if breached:
        return {"kind": "bad", "text": "Published, and somebody should look: " + breached[0]["message"]}
    if metadata["warnings"]:
        return {"kind": "warn", "text": f"Published, with warnings: {len(metadata['warnings'])}"}
    return {"kind": "good", "text": "Published; every gate passed"}


def _ratio(summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> float | None:
    usual = (metadata.get("volume") or {}).get("baseline_rows")
    return summary["rows"]["scored"] / usual if usual else None


def _drift(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the features by drift, the worst first, each with the width of its bar in percent."""
    features = (summary.get("drift") or {}).get("features") or {}
    worst = sorted(features.items(), key=lambda item: (-(item[1]["psi"] or 0.0), item[0]))
    top = max([0.25, *((values["psi"] or 0.0) for _, values in worst)])
    return [{"name": name, **values, "width": round(100 * (values["psi"] or 0.0) / top, 1)} for name, values in worst]
