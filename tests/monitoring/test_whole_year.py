"""The whole of 2013: exactly the storm fires, and the holidays are shown as what they are."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pipeline.forked_cli import forked_cli
from rule_cases import run_promtool
from simulated import series_of
from whole_year import DAY_AFTER, NEXT_DAY, RUNS, STORM, THANKSGIVING, flights, judged, run_row, year_table

from batchscore.metrics import samples
from examples.flights import build as example

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "batchscore" / "files" / "batchscore.rules.yml"
PAGE = ROOT / "docs" / "alert-year.md"
CONFIG = f"--config={example.CONFIG}"


def test_exactly_the_storm_fires() -> None:
    """Of all dates with a baseline the two of the storm fall below the limit, and the others stay well above it."""
    found = judged(flights())
    shares = {item.date: round(item.share, 2) for item in found}
    quiet = [share for date, share in shares.items() if date not in {STORM, NEXT_DAY, THANKSGIVING, DAY_AFTER}]

    assert len(found) == 365 - 28
    assert {item.date: item.fires for item in found if item.fires} == dict.fromkeys(
        (STORM, NEXT_DAY), "BatchScoreVolumeLow"
    )
    assert {date: shares[date] for date in (STORM, NEXT_DAY, THANKSGIVING, DAY_AFTER)} == {
        STORM: 0.50,
        NEXT_DAY: 0.43,
        THANKSGIVING: 0.64,
        DAY_AFTER: 0.67,
    }
    assert (min(quiet), max(quiet)) == (0.74, 1.25)


@pytest.fixture(scope="module")
def published_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with the chosen dates scored by the real command line, and the history's report."""
    root = tmp_path_factory.mktemp("year")
    for first, last in ((RUNS[0], NEXT_DAY), (dt.date(2013, 10, 31), RUNS[-1])):
        example.build(example.Options(root=root, first=first, last=last, shift=dt.timedelta()))
    with forked_cli() as cli:
        for date in RUNS:
            ended = cli("run", CONFIG, f"--date={date}", "--run-type=scheduled", cwd=root)
            assert ended.code == 0, ended.err
        for which in ("--history", f"--date={THANKSGIVING}", f"--date={STORM}"):
            assert cli("report", CONFIG, which, cwd=root).code == 0
    return root


def document(root: Path, date: dt.date, name: str) -> dict[str, Any]:
    """Return a published document."""
    return json.loads((root / "outputs" / str(date) / name).read_text())


def odd_dates(page: Path) -> dict[str, str]:
    """Return what a report says of the dates that stand out."""
    row = r'<tr><th scope="row" class="day">\w{3} (\S{10})</th>(?:<td class="n(?: less)?">[^<]*</td>){4}<td[^>]*>([^<]*)</td></tr>'
    return dict(re.findall(row, page.read_text()))


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_whole_runs_say_the_same(published_year: Path, require: Callable[[str], str], tmp_path: Path) -> None:
    """What real runs push fires for the storm only, by all rules; baselines are those of the published dates."""
    expected = {item.date: item for item in judged(flights(), RUNS)}
    baselines = {date: document(published_year, date, "metadata.json")["volume"] for date in RUNS}
    fires = {date: ["BatchScoreVolumeLow"] if date in {STORM, NEXT_DAY} else [] for date in RUNS}
    tests = [_test(published_year, date, fires[date]) for date in RUNS]
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}

    said = run_promtool(require("promtool"), content, tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr
    assert {date: item.usual for date, item in expected.items()} == {
        date: baselines[date]["baseline_rows"] for date in expected
    }
    assert set(expected) == {STORM, NEXT_DAY, THANKSGIVING, DAY_AFTER} | {
        date for date in RUNS if baselines[date]["runs"] >= 4
    }


def _test(root: Path, date: dt.date, fires: list[str]) -> dict[str, Any]:
    """Let what a date pushed stand for half an hour, and say what must fire then."""
    labels = {"job": "batchscore", "environment": "dev", "pipeline": "flights", "run_type": "scheduled"}
    content = samples(document(root, date, "summary_metrics.json"), document(root, date, "metadata.json"))
    return {
        "name": str(date),
        "interval": "1m",
        "input_series": [
            {"series": _name(name, {**labels, **dict(own)}), "values": f"{float(value)!r}x30"}
            for (name, own), value in series_of(content).items()
        ]
        + [{"series": 'up{job="pushgateway",instance="gateway:9091"}', "values": "1x30"}],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "20m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in fires],
            }
        ],
    }


def _name(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_the_report_shows_the_holidays_as_what_they_are(published_year: Path) -> None:
    """Thanksgiving stands out in the report as unusual and within the limits; the storm as beyond them."""
    history = odd_dates(published_year / "flights-history.html")
    own = (published_year / f"flights-{THANKSGIVING}.html").read_text()

    assert history[str(THANKSGIVING)] == history[str(DAY_AFTER)] == "unusual, and within the limits"
    assert history[str(STORM)].endswith("a drop of more than volume.max_drop 40%")
    assert history[str(NEXT_DAY)].endswith("a drop of more than volume.max_drop 40%")
    assert str(STORM) in odd_dates(published_year / f"flights-{THANKSGIVING}.html")
    assert "Published; every gate passed" in own


@pytest.mark.monitoring
@pytest.mark.timeout(600)
def test_the_page_is_current(published_year: Path, tmp_path: Path) -> None:
    """The page in docs/ is what came out; where it is not, the new one lies beside the failure."""
    shown = odd_dates(published_year / "flights-history.html")
    rows = [
        run_row(
            document(published_year, date, "metadata.json"),
            shown=shown.get(str(date), ""),
            fires=["BatchScoreVolumeLow"] if date in {STORM, NEXT_DAY} else [],
        )
        for date in RUNS
    ]
    written = tmp_path / PAGE.name
    written.write_text(year_table(judged(flights())) + "".join(rows), encoding="utf-8")
    print(written.read_text(encoding="utf-8"))

    assert PAGE.read_text(encoding="utf-8") == written.read_text(encoding="utf-8"), f"copy {written} to {PAGE}"
