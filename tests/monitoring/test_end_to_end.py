"""From the snapshot to the alert and back: the storm in the example, on real servers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import Live, live
from pipeline.forked_cli import ForkedCli, forked_cli
from whole_year import NEXT_DAY, STORM

from examples.flights import build as example

PAGE = Path(__file__).parents[2] / "docs" / "alert-end-to-end.md"
GOOD_DAY = dt.date(2013, 2, 10)
FIRST = dt.date(2013, 1, 11)
EARLIER = [date for weeks in range(4) for date in (FIRST + dt.timedelta(weeks=weeks, days=day) for day in range(3))]
"""Four Fridays, Saturdays and Sundays before the storm."""
OLD_FRIDAY = dt.date(2013, 1, 4)

HEAD = """\
# From the snapshot to the alert and back

The storm of the flights example on a real Pushgateway, Prometheus and Alertmanager, with the rules of the chart and `docs/alertmanager.example.yml`.
The example is built with `--shift-weeks`, so that the Friday of the storm is the latest Friday, and `schedule.offset_days` makes it the date that is due today.
Dates are those of the source here, without the shift.
Only the waiting is shortened: a second stands for each minute of every `for`.
`tests/monitoring/test_end_to_end.py` types this, checks it, and holds this page current.

| What happens | Typed | Alerts in Alertmanager |
|---|---|---|
"""

TAIL = """
What the page about the storm says:

> {words}

The backfill and the republished date left the {series} series of the scheduled group as they were, and so did `metrics push`: after it the gateway served what it had served before it was killed.
"""

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(600)]


@dataclass
class Service:
    """The pipeline and its servers."""

    root: Path
    cli: ForkedCli
    servers: Live
    shift: dt.timedelta
    today: dt.date

    def __call__(self, *words: str, date: dt.date, shown: str = "") -> str:
        """Type a command about a date of the source, and return how it reads without the shift."""
        offset = (STORM + self.shift - self.today).days
        options = (
            f"--set=metrics.pushgateway={self.servers.gateway.url}",
            f"--set=schedule.offset_days={offset}",
            "--set=schedule.timezone=UTC",
        )
        more = options if words[0] in {"run", "backfill"} else ()
        config = "monitored.yaml" if words[0] == "metrics" else example.CONFIG
        given = [word.replace("DATE", str(date + self.shift)) for word in words]
        ended = self.cli(*given, f"--config={config}", *more, cwd=self.root)
        assert ended.code == 0, ended.err
        return "`batchscore " + " ".join(word.replace("DATE", shown or str(date)) for word in words) + "`"


@pytest.fixture
def storm(require: Callable[[str], str], tmp_path: Path) -> Iterator[Service]:
    """Build the example so that the Friday of the storm is the latest Friday, and start the servers."""
    today = dt.datetime.now(dt.UTC).date()
    friday = today - dt.timedelta(days=(today.weekday() - STORM.weekday()) % 7)
    shift = friday - STORM
    example.build(example.Options(root=tmp_path, first=OLD_FRIDAY, last=GOOD_DAY, shift=shift))
    with forked_cli() as cli, live(require, tmp_path) as servers:
        config = (tmp_path / example.CONFIG).read_text()
        (tmp_path / "monitored.yaml").write_text(f"{config}metrics: {{pushgateway: '{servers.gateway.url}'}}\n")
        yield Service(tmp_path, cli, servers, shift, today)


def scheduled(service: Service, *dates: dt.date) -> str:
    """Run dates as the schedule does, and return what was typed, in words."""
    for date in dates:
        typed = service("run", "--date=DATE", "--run-type=scheduled", date=date)
    return typed


def test_a_storm_is_seen_understood_and_over(storm: Service, tmp_path: Path) -> None:
    """The alert fires, is not silenced, and resolves; a backfill changes nothing, a push heals a lost gateway."""
    servers = storm.servers
    typed = scheduled(storm, *EARLIER)
    late = servers.settle("twelve dates before the storm, weeks ago: the next one is overdue", typed, LATE)

    typed = scheduled(storm, STORM)
    fired = servers.settle("the storm halves the flights of a Friday; no date is overdue any more", typed, LOW)
    words, before = servers.words("BatchScoreVolumeLow"), servers.scheduled()

    span = [f"--{end}={OLD_FRIDAY + storm.shift}" for end in ("from", "to")]
    storm("backfill", *span, date=OLD_FRIDAY)
    typed = f"`batchscore backfill --from={OLD_FRIDAY} --to={OLD_FRIDAY}`"
    filled = servers.settle("a backfill of an old Friday, with all its flights", typed, LOW)
    after_backfill = servers.scheduled()

    stormy = servers.settle("the storm's second day", scheduled(storm, NEXT_DAY), LOW)
    good = servers.settle("a good Sunday", scheduled(storm, GOOD_DAY), {})
    whole = servers.scheduled()

    typed = storm("run", "--date=DATE", "--run-type=scheduled", "--republish", "--reason=again", date=STORM)
    again = servers.settle(
        "the storm's date once more: it is older than the newest, so it counts as a backfill", typed, {}
    )
    after_again = servers.scheduled()

    servers.kill_gateway()
    down = servers.settle("the gateway is killed", "`kill -9`", DOWN)
    servers.start_gateway()
    empty = servers.settle("it comes back, empty", "", VANISHED)
    typed = storm("metrics", "push", "--date=DATE", date=GOOD_DAY)
    healed = servers.settle("the last date's metrics are pushed again, from its files", typed, {})
    after_push = servers.scheduled()

    seen = (late, fired, filled, stormy, good, again, down, empty, healed)
    assert seen == (LATE, LOW, LOW, LOW, {}, {}, DOWN, VANISHED, {})
    assert after_backfill == before
    assert after_again == after_push == whole
    assert "458 rows were scored; 912 is the median" in words
    assert f"The date is {STORM + storm.shift}." in words
    _compare(servers, words.replace(str(STORM + storm.shift), str(STORM)), len(whole), tmp_path)


LATE = {"BatchScoreLate": "active"}
LOW = {"BatchScoreVolumeLow": "active"}
DOWN = {"PushgatewayDown": "active", "BatchScoreMetricsVanished": "suppressed"}
VANISHED = {"BatchScoreMetricsVanished": "active"}


def _compare(servers: Live, words: str, series: int, folder: Path) -> None:
    rows = "".join(f"| {' | '.join(row)} |\n" for row in servers.log)
    written = folder / PAGE.name
    written.write_text(HEAD + rows + TAIL.format(words=words, series=series), encoding="utf-8")
    print(written.read_text(encoding="utf-8"))

    assert PAGE.read_text(encoding="utf-8") == written.read_text(encoding="utf-8"), f"copy {written} to {PAGE}"
