"""Real monitoring servers, one of each where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from past import Past, past
from servers import Pushgateway, pushgateway


def pytest_configure(config: pytest.Config) -> None:
    """Name the slower tests of this folder: `-m "not monitoring"` leaves them out."""
    config.addinivalue_line("markers", "monitoring: minutes of promtool and Prometheus")


SHARED = ("ten_weeks", "published_year", "storm")
"""Fixtures that take a minute: all tests of one go to one worker, with `--dist loadgroup`."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share what is dear to make together."""
    for item in items:
        for name in set(SHARED).intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture
def gateway(require: Callable[[str], str], tmp_path: Path) -> Iterator[Pushgateway]:
    """Run an empty Pushgateway."""
    with pushgateway(require("prometheus-pushgateway"), tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def ten_weeks(require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Serve the simulated history from a real Prometheus; a minute to load."""
    with past(require, tmp_path_factory.mktemp("prometheus")) as running:
        yield running
