"""What libraries log comes out as lines like ours, and less of it where little is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from batchscore import logs

NAME = "a-library-of-the-tests"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    before = logs.settings()
    yield
    logs.configure(**before)
    logging.getLogger(NAME).handlers.clear()


@pytest.mark.parametrize(
    ("level", "told"),
    [(logging.DEBUG, ["warning", "error"]), (logging.INFO, ["warning", "error"]), (logging.WARNING, ["error"])],
    ids=["verbose", "usual", "quiet"],
)
def test_a_quiet_run_hears_of_a_librarys_errors_alone(
    capsys: pytest.CaptureFixture[str], level: int, told: list[str]
) -> None:
    """Its warnings are told otherwise, its chatter never; a warning of ours is told always."""
    logs.configure("json", level=level)
    logs.adopt([NAME])
    theirs = logging.getLogger(NAME)
    theirs.info("started")
    theirs.warning("Restarting worker")
    theirs.error("Task failed")
    logs.logger("ours").warning("rows killed workers")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [line["level"] for line in lines if line["module"] == NAME] == told
    assert [line["event"] for line in lines if line["module"] == "ours"] == ["rows killed workers"]
