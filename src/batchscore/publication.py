"""What is asked for, and what is published of it once it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from batchscore.check import Checked
from batchscore.config import RunConfig
from batchscore.documents import manifest_document, summary_document
from batchscore.execution import Execution, metadata_document
from batchscore.judge import Judgement
from batchscore.metrics import RunType
from batchscore.parts import concatenate
from batchscore.report import Part, Totals
from batchscore.store import Commit, Holder, Publication


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: one date, by whom, and how."""

    config: RunConfig
    """The resolved configuration."""
    day: date
    """The snapshot's date."""
    run_id: str
    """128 random bits in hex, fresh for every attempt."""
    run_type: RunType | None = None
    """scheduled, backfill or manual; None to work it out."""
    holder: Holder
    """Who holds the lease: host, process, Job and attempt."""
    by: str
    """Who asks."""
    reason: str | None = None
    """Why."""
    republish: bool = False
    """Whether another plan may publish a new revision."""
    attempt: int = 1
    """The how-manieth attempt of the same job this is, from 1."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The revision that a run adds to: its parts are taken over as they are."""

    commit: Commit
    """Its commit."""
    manifest: Mapping[str, Any]
    """The content of its manifest."""
    told: Mapping[str, Any]
    """What metadata.json says of it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts of predictions, by index."""
        return tuple(Part(**part) for part in self.manifest["parts"])

    @property
    def taken_over(self) -> tuple[Part, ...]:
        """The files that its predictions lie in: the parts, or the one file."""
        whole = self.manifest["single_file"]
        if whole is None:
            return self.parts
        rows = sum(part.rows for part in self.parts)
        return (Part(name="predictions.parquet", rows=rows, logical_sha256="", **whole),)


def publication_of(
    request: Request,
    checked: Checked,
    totals: Totals,
    judgement: Judgement,
    execution: Execution,
    base: Base | None = None,
) -> Publication:
    """Return what is published, with its documents to be made once the data files are staged.

    Args:
        request: What was asked for.
        checked: The date, checked.
        totals: The sum of all partition reports, those of the base among them.
        judgement: The gates' verdicts.
        execution: This execution.
        base: The revision whose parts are taken over; None when everything was scored.
    """

    def documents(files: Mapping[str, tuple[str, int]]) -> Mapping[str, Mapping[str, Any]]:
        whole = files.get("predictions.parquet")
        single = {"sha256": whole[0], "size": whole[1]} if whole else None
        asked = {"by": request.by, "reason": request.reason, **({"rescored": base.told} if base else {})}
        return {
            "summary_metrics.json": summary_document(checked.plan, totals, judgement.drift),
            "manifest.json": manifest_document(
                checked.plan, totals, single, base.manifest["partitions"] if base else ()
            ),
            "metadata.json": metadata_document(checked, totals, judgement, execution, asked=asked),
        }

    execution.publishing()
    return Publication(
        plan=checked.plan,
        run_id=request.run_id,
        predictions=tuple(report.predictions for report in totals.in_order[len(base.parts) if base else 0 :]),
        quarantine=totals.quarantine,
        documents=documents,
        single_file=concatenate if checked.config.output.single_file else None,
        base=base.commit if base else None,
        taken_over=base.taken_over if base else (),
        run_type=execution.run_type,
        by=request.by,
        reason=request.reason,
    )
