"""The alert that the storm was for, by the rules as the chart ships them."""

from __future__ import annotations

import time

import pytest
import scenes
from scenes import until
from timeline import show, step

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(700, func_only=True), pytest.mark.usefixtures("installed")]


def test_volume_alert_fires() -> None:
    """Five minutes after the storm's numbers came the volume alert fires, and no other alert does."""
    firing = 'ALERTS{alertstate="firing"}'
    found = until("BatchScoreVolumeLow firing", 420, lambda: scenes.query(firing))
    low = 'ALERTS{alertstate="firing",alertname="BatchScoreVolumeLow"}'
    # The steps of a subquery lie on whole multiples of it: the newest sample is in none of them at first.
    (first,) = until("its first sample", 30, lambda: scenes.query(f"min(min_over_time(timestamp({low})[1h:5s]))"))
    step("BatchScoreVolumeLow fires; its rule waits for five minutes", ago=time.time() - float(first["value"][1]))
    show("The alert", f"{firing}\n" + "\n".join(str(one["metric"]) for one in found))

    assert [one["metric"]["alertname"] for one in found] == ["BatchScoreVolumeLow"]
    assert found[0]["metric"]["pipeline"] == "flights"
