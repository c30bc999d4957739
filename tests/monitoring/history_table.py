"""The table of the simulated history: what was planted, and what fired."""

from __future__ import annotations

from collections.abc import Iterable

import rule_mutants
from past import Fired
from planted import FAULTS, GATEWAY_LOSS, PIPELINES
from simulated import BEGIN, DAYS, Fault, moment, timedelta

HEAD = f"""\
# Alerts over a simulated history

{DAYS} days of {len(PIPELINES)} pipelines, simulated and loaded into a real Prometheus, with one fault of every kind.
The pipelines have a weekly season, growth and noise; one is young, one runs weekly.
Every other day of every pipeline is without a fault, and no alert fires on it.
The table is made by `tests/monitoring/test_alert_history.py`, which also holds it current.

| Date | Pipeline | Planted | Fired | For hours |
|---|---|---|---|---|
"""


def planted() -> dict[tuple[str, int], Fault]:
    """Return all faults by pipeline and day; the gateway's loss strikes every pipeline."""
    vanished = Fault(what="the gateway loses everything", alerts=("BatchScoreMetricsVanished",))
    down = Fault(what="the gateway is down for an hour", alerts=("PushgatewayDown",))
    everywhere = {(pipeline.name, GATEWAY_LOSS): vanished for pipeline in PIPELINES}
    return {**FAULTS, **everywhere, ("", GATEWAY_LOSS): down}


def table(fired: Iterable[Fired]) -> str:
    """Return the whole page."""
    found = list(fired)
    rows = [
        _row(name, day, fault, found)
        for (name, day), fault in sorted(planted().items(), key=lambda item: _order(item[0]))
    ]
    strangers = [item for item in found if (item.pipeline, item.day) not in planted()]
    rows += [
        f"| {_date(item.day)} | {item.pipeline} | nothing | **{item.alert}** | {_hours(item)} |" for item in strangers
    ]
    return HEAD + "".join(f"{row}\n" for row in rows) + rule_mutants.table()


def _order(key: tuple[str, int]) -> tuple[int, str]:
    return key[1], key[0]


def _row(name: str, day: int, fault: Fault, fired: list[Fired]) -> str:
    mine = sorted((item for item in fired if (item.pipeline, item.day) == (name, day)), key=lambda item: item.alert)
    alerts = ", ".join(f"`{item.alert}`" for item in mine) or "nothing"
    hours = ", ".join(_hours(item) for item in mine)
    return f"| {_date(day)} | {name or 'all'} | {fault.what} | {alerts} | {hours} |"


def _date(day: int) -> str:
    return f"{(BEGIN + timedelta(days=day)).date():%a %Y-%m-%d}"


def _hours(item: Fired) -> str:
    begin, end = ((when - moment(item.day)) / 3600 for when in (item.begin, item.end))
    return f"{end - begin:.1f}"
