"""`lineage`: whether a run tells OpenLineage events, and where to."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Self

from pydantic import Field, model_validator

from batchscore.errors import ConfigError
from batchscore.strict import Section


class LineageOptions(Section):
    """`lineage`: OpenLineage events of every run; they need the extra `batchscore[lineage]`."""

    events: bool = False
    """Whether a run keeps its events in `_batchscore/events/` of the output."""
    url: str | None = Field(default=None, pattern=r"^https?://[^@?#\s]+$")
    """Where they are sent too, such as `http://marquez:5000/api/v1/lineage`; null: nowhere."""
    bearer_token_file: str | None = None
    """File that holds a bearer token for `url`; read at every event, trailing line ends left out."""
    namespace: str | None = Field(default=None, min_length=1)
    """The namespace of the job; null: `batchscore.` and the environment."""
    use_proxy: bool = False
    """Whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY apply."""
    budget_seconds: float = Field(default=10.0, ge=0.1, le=60.0)
    """Wall-clock seconds that all events of one run may take together, whatever store and server do."""

    @model_validator(mode="after")
    def _sends_what_it_keeps(self) -> Self:
        if self.url is not None and not self.events:
            raise ValueError("has a url but not events: true, and so would send nothing")
        return self


def require_openlineage(options: LineageOptions) -> None:
    """Check that events can be made, before there is anything to tell.

    Raises:
        ConfigError: When the module is not installed.
    """
    if options.events and find_spec("openlineage") is None:
        raise ConfigError(
            "lineage.events needs the module 'openlineage', which is not installed",
            slug="LIBRARY-MISSING",
            remedy="install batchscore[lineage], or set lineage.events to false",
        )
