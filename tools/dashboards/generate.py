"""Writes the dashboards of the chart: `python tools/dashboards/generate.py`."""

from __future__ import annotations

from pathlib import Path

from panels import Board, bars, chooser, lines, name, number, rows, states, steps

FOLDER = Path(__file__).parents[2] / "helm" / "batchscore" / "files" / "dashboards"

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
ONE = 'environment="$environment",pipeline="$pipeline",run_type="scheduled"'
ANY = 'run_type="scheduled",environment=~"$environment"'

DEADLINE = "Time to deadline"


def _coloured(unit: str, *levels: tuple[float | None, str]) -> dict[str, object]:
    """Return the settings of a column whose text takes a colour from a value on."""
    limits = {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in levels]}
    return {"unit": unit, "thresholds": limits, "custom.cellOptions": {"type": "color-text"}}


SUCCEEDED = {"0": {"text": "no", "color": RED, "index": 0}, "1": {"text": "yes", "color": GREEN, "index": 1}}
COLUMNS = {
    DEADLINE: _coloured("s", (None, RED), (0, YELLOW), (3600, GREEN)),
    "Volume": _coloured("percentunit", (None, RED), (0.6, YELLOW), (0.8, GREEN), (1.25, YELLOW), (1.6, RED)),
    "Set aside": _coloured("percentunit", (None, GREEN), (0.01, YELLOW), (0.02, RED)),
    "Drift": _coloured("none", (None, GREEN), (0.1, YELLOW), (0.2, RED)) | {"decimals": 2},
    "Succeeded": _coloured("none", (None, RED), (1, GREEN)) | {"mappings": [{"type": "value", "options": SUCCEEDED}]},
}
"""How the columns of the fleet's table read."""


def one(metric: str, more: str = "") -> str:
    """Return a metric of the chosen pipeline."""
    return f"batchscore_{metric}{{{ONE}{more}}}"


def by_pipeline(expression: str) -> str:
    """Return an expression of which nothing but environment and pipeline is left: only equal labels share a row."""
    return f"max by (environment, pipeline) ({expression})"


def day_of(metric: str, more: str = "") -> str:
    """Return a metric on the days of a success only: else a missing day shows as a copy of the day before."""
    group = "environment, pipeline, run_type"
    return f"{one(metric, more)} and on ({group}) changes({one('last_success_timestamp_seconds')}[1d]) > 0"


def pipeline() -> Board:
    """Return the dashboard of one pipeline."""
    board = Board(
        "batchscore-pipeline",
        "batchscore: pipeline",
        "One pipeline: is it alive, complete, right? Bars stand at the day of the push, usually a day after the date.",
        [
            chooser("environment", "Environment", "batchscore_last_success_timestamp_seconds"),
            chooser("pipeline", "Pipeline", 'batchscore_last_success_timestamp_seconds{environment="$environment"}'),
        ],
    )
    _first_row(board)
    _complete(board)
    _right(board)
    _fast(board)
    _runs(board)
    info = f"batchscore_run_info{{{ONE}}}"
    changed = f"count by (model_version) ({info}) unless count by (model_version) ({info} offset 1h)"
    board.annotate("Model changes", changed, BLUE, "Model {{model_version}}")
    return board


def _first_row(board: Board) -> None:
    ratio = f"pipeline:batchscore_scored_rows:baseline_ratio{{{ONE}}}"
    rejected = f"pipeline:batchscore_rejected_rows:ratio{{{ONE}}}"
    board.row("Alive? Complete? Right?")
    board.add(
        4,
        4,
        number(
            "Time to deadline",
            "Until the next success is due; red when it is late.",
            "s",
            [(f"{one('next_success_deadline_timestamp_seconds')} - time()", "left")],
            steps((None, RED), (0, YELLOW), (3600, GREEN)),
        ),
        number(
            "Age of the last success",
            "Time since a run last published.",
            "s",
            [(f"time() - {one('last_success_timestamp_seconds')}", "age")],
            steps((None, BLUE)),
        ),
        number(
            "Volume against baseline",
            "Scored rows over the median of the same weekday.",
            "percentunit",
            [(ratio, "ratio")],
            steps((None, RED), (0.6, YELLOW), (0.8, GREEN), (1.25, YELLOW), (1.6, RED)),
        ),
        number(
            "Rows set aside",
            "Share of the rows read that were not scored.",
            "percentunit",
            [(rejected, "share")],
            steps((None, GREEN), (0.01, YELLOW), (0.02, RED)),
        ),
        number(
            "Drift of the scores",
            "Population stability index against the pinned reference: from 0.1 look, from 0.2 act.",
            "none",
            [(one("prediction_drift_psi"), "psi")],
            steps((None, GREEN), (0.1, YELLOW), (0.2, RED)),
        ),
        name("Model", "The version that the last success used.", [(one("run_info"), "{{model_version}}")]),
    )


def _complete(board: Board) -> None:
    board.row("Complete?")
    board.add(
        12,
        8,
        bars(
            "Rows against the baseline",
            "Scored rows by day of push, and the median of the same weekday. A day's bar appears when the day is over.",
            "short",
            [(day_of("scored_rows"), "scored"), (day_of("baseline_scored_rows"), "baseline")],
            line="baseline",
        ),
        lines(
            "Volume ratio and its limits",
            "Scored rows over the baseline, with the limits that the alerts join.",
            "percentunit",
            [
                (f"pipeline:batchscore_scored_rows:baseline_ratio{{{ONE}}}", "ratio"),
                (one("alert_volume_low_ratio"), "low"),
                (one("alert_volume_high_ratio"), "high"),
            ],
        ),
    )
    board.add(
        12,
        7,
        bars(
            "Rejected rows by reason",
            "Rows set aside; a row with two reasons counts in both.",
            "short",
            [(day_of("rejected_rows"), "{{reason}}")],
            stacked=True,
        ),
        lines(
            "Missing values",
            "Share of missing values by feature.",
            "percentunit",
            [(one("missing_values_ratio"), "{{feature}}")],
        ),
    )


def _right(board: Board) -> None:
    buckets = f"batchscore_prediction_score_bucket{{{ONE}}}"
    quantiles = [(f"histogram_quantile({share}, {buckets})", f"p{share * 100:.0f}") for share in (0.05, 0.5, 0.95)]
    board.row("Right?")
    board.add(
        8,
        8,
        lines(
            "Drift by feature",
            "Population stability index against the pinned reference.",
            "none",
            [(one("feature_drift_psi"), "{{feature}}"), (one("alert_feature_drift_psi"), "limit")],
        ),
        lines("Score quantiles", "Quantiles of the scores, from their histogram.", "none", quantiles),
        bars(
            "Flagged share",
            "Flagged rows over scored rows, by day of push.",
            "percentunit",
            [(f"({day_of('flagged_rows')}) / {one('scored_rows')}", "flagged")],
        ),
    )


def _fast(board: Board) -> None:
    board.row("Fast?")
    board.add(
        8,
        8,
        bars(
            "Stages",
            "Wall time by stage; loading is part of scoring.",
            "s",
            [(day_of("stage_duration_seconds", ',stage!="load"'), "{{stage}}")],
            stacked=True,
        ),
        lines(
            "Seconds per million rows",
            "Wall time over scored rows: a big day is not slow.",
            "suffix:s",
            [(f"1e6 * pipeline:batchscore_seconds_per_row:last{{{ONE}}}", "seconds")],
        ),
        lines(
            "Peak memory of a worker",
            "Highest resident memory of any worker.",
            "bytes",
            [(one("peak_worker_memory_bytes"), "peak")],
        ),
    )


def _runs(board: Board) -> None:
    board.row("Runs")
    board.add(
        12,
        10,
        states(
            "Attempts",
            "Whether the last attempt succeeded, and whether a gate holds its output.",
            [(one("last_run_success"), "succeeded"), (f"1 - {one('last_run_held')}", "not held")],
            {"0": ("no", RED), "1": ("yes", GREEN)},
        ),
        states(
            "Alerts",
            "Alerts of this pipeline while they fire.",
            [
                (
                    'max by (alertname) (ALERTS{alertstate="firing",environment="$environment",pipeline="$pipeline"})',
                    "{{alertname}}",
                )
            ],
            {"1": ("firing", RED)},
        ),
    )
    board.add(
        24,
        5,
        rows(
            "What ran last",
            "Model and software of the last success, by run type.",
            [('batchscore_run_info{environment="$environment",pipeline="$pipeline"}', "")],
            hide=("environment", "pipeline", "Value"),
            names={
                "run_type": "Run type",
                "model_name": "Model",
                "model_version": "Version",
                "model_digest": "Digest",
                "app_version": "batchscore",
            },
        ),
    )
    board.fold(
        "Backfills and manual runs",
        24,
        7,
        lines(
            "Rows by run type",
            "Rows of the last run of every type but the scheduled one.",
            "short",
            [
                (
                    'batchscore_scored_rows{environment="$environment",pipeline="$pipeline",run_type!="scheduled"}',
                    "{{run_type}}",
                )
            ],
        ),
    )


def fleet() -> Board:
    """Return the dashboard of all pipelines."""
    environments = chooser("environment", "Environment", "batchscore_last_success_timestamp_seconds")
    board = Board(
        "batchscore-fleet",
        "batchscore: fleet",
        "All pipelines, worst first.",
        [environments.multi(True).include_all(True)],  # noqa: FBT003 - the SDK's
    )
    due = f"batchscore_next_success_deadline_timestamp_seconds{{{ANY}}} - time()"
    board.row("Now")
    board.add(
        6,
        4,
        number(
            "Pipelines",
            "Pipelines with a success that the gateway knows.",
            "short",
            [(f"count(batchscore_last_success_timestamp_seconds{{{ANY}}})", "pipelines")],
            steps((None, BLUE)),
        ),
        number(
            "Late",
            "Pipelines whose next success is overdue.",
            "short",
            [(f"count(({due}) < 0) or vector(0)", "late")],
            steps((None, GREEN), (1, RED)),
        ),
        number(
            "Last attempt failed",
            "Pipelines whose last attempt failed or is held.",
            "short",
            [(f"count(batchscore_last_run_success{{{ANY}}} == 0) or vector(0)", "failed")],
            steps((None, GREEN), (1, RED)),
        ),
        number(
            "Alerts",
            "Alerts that fire.",
            "short",
            [('count(ALERTS{alertstate="firing",alertname=~"BatchScore.*|PushgatewayDown"}) or vector(0)', "alerts")],
            steps((None, GREEN), (1, RED)),
        ),
    )
    board.add(
        24,
        10,
        rows(
            "Pipelines, the most urgent first",
            "Time to the deadline, volume against baseline, share set aside, drift of the scores, last attempt.",
            [
                (by_pipeline(due), ""),
                (by_pipeline(f"pipeline:batchscore_scored_rows:baseline_ratio{{{ANY}}}"), ""),
                (by_pipeline(f"pipeline:batchscore_rejected_rows:ratio{{{ANY}}}"), ""),
                (by_pipeline(f"batchscore_prediction_drift_psi{{{ANY}}}"), ""),
                (by_pipeline(f"batchscore_last_run_success{{{ANY}}}"), ""),
            ],
            names={
                "environment": "Environment",
                "pipeline": "Pipeline",
                "Value #A": DEADLINE,
                "Value #B": "Volume",
                "Value #C": "Set aside",
                "Value #D": "Drift",
                "Value #E": "Succeeded",
            },
            columns=COLUMNS,
        ).sort_by(_urgent()),
    )
    board.row("Over time")
    board.add(
        12,
        12,
        lines(
            "Volume against baseline",
            "Scored rows over the median of the same weekday.",
            "percentunit",
            [(f"pipeline:batchscore_scored_rows:baseline_ratio{{{ANY}}}", "{{environment}} {{pipeline}}")],
        ),
        states(
            "Alerts",
            "Alerts while they fire.",
            [
                (
                    'max by (alertname, pipeline) (ALERTS{alertstate="firing",alertname=~"BatchScore.*|PushgatewayDown"})',
                    "{{pipeline}} {{alertname}}",
                )
            ],
            {"1": ("firing", RED)},
        ),
    )
    return board


def _urgent() -> list[object]:
    from grafana_foundation_sdk.builders.common import TableSortByFieldState

    return [TableSortByFieldState().display_name(DEADLINE).desc(False)]  # noqa: FBT003 - the SDK's


def boards() -> dict[str, str]:
    """Return the text of every dashboard by its file's name."""
    return {"pipeline.json": pipeline().text(), "fleet.json": fleet().text()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in boards().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
