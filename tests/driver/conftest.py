"""How a failure ended, kept for the page that `make test-driver` writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchscore.errors import BatchscoreError

_UNHARMED = "the run is not failed for it; a line `cluster_left_behind` in the log names what is left"


@pytest.fixture
def ended(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Give a function that keeps how a situation ended, with the seconds that it took and might have taken."""

    def keep(
        situation: str, error: BatchscoreError | None, *, seconds: float, deadline: float, code: int | None = None
    ) -> None:
        name, message = ("", _UNHARMED if code is None else "") if error is None else (error.id, error.message)
        given = (error.exit_code if error is not None else 0) if code is None else code
        record_property("ended", [situation, given, name, message, round(seconds, 1), deadline])

    return keep
