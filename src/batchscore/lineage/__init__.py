"""OpenLineage events of a run. The only place that imports openlineage."""

from batchscore.lineage.event import Published, Subject
from batchscore.lineage.events import Events
from batchscore.lineage.options import LineageOptions, require_openlineage

__all__ = ["Events", "LineageOptions", "Published", "Subject", "require_openlineage"]
