"""The gates before publishing: gather the numbers that the verdicts rest on, and say what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchscore import gate, ledger
from batchscore.check import Checked
from batchscore.documents import score_histograms
from batchscore.drift import drift_all
from batchscore.errors import Held
from batchscore.gate import Verdict
from batchscore.history import VolumeBaseline, next_deadline, volume_baseline
from batchscore.report import Totals
from batchscore.store import Store


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the gates said, and what they looked at."""

    date: str
    """The date, ISO."""
    verdicts: tuple[Verdict, ...]
    """One verdict per gate."""
    baseline: VolumeBaseline
    """The volume of comparable earlier dates."""
    drift: Mapping[str, Any] | None
    """Drift against the pinned reference, as in the summary; None without one."""
    next_deadline: float
    """By when the next date must be published, epoch seconds."""
    input_unchanged: bool
    """Whether the snapshot is the same as that of the date before."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know."""
        same = ("the snapshot is the same as that of the date before",) if self.input_unchanged else ()
        return tuple(f"{v.gate}: {v.message}" for v in self.verdicts if v.outcome == "warn") + same

    @property
    def refusal(self) -> Held | None:
        """The error of a run that may not be published; None when it may."""
        return gate.refusal(self.verdicts, date=self.date)

    @property
    def is_held(self) -> bool:
        """Whether the run is kept for a release; a failed one is not."""
        return gate.worst(self.verdicts) == "hold"

    @property
    def why(self) -> str:
        """Why the run is held, in one line."""
        return "; ".join(f"{v.gate}: {v.message}" for v in self.verdicts if v.outcome == "hold")

    def records(self) -> tuple[dict[str, Any], ...]:
        """Return the verdicts as plain data."""
        return tuple(verdict.record() for verdict in self.verdicts)

    def record(self) -> dict[str, Any]:
        """Return what metadata.json says of the judgement."""
        return {
            "volume": volume_record(self.baseline),
            "next_deadline": self.next_deadline,
            "input_unchanged": self.input_unchanged,
            "gates": list(self.records()),
            "warnings": list(self.warnings),
        }


def judge(store: Store, checked: Checked, totals: Totals) -> Judgement:
    """Judge a scored date.

    Raises:
        ConfigError: When the drift reference is missing, not the pinned one, or of other columns.
    """
    config, rows = checked.config, totals.rows()
    baseline = baseline_of(store, checked)
    found = _drift(checked, totals)
    before = ledger.previous_snapshot(store, checked.day)
    date = checked.plan.date
    volume = gate.judge_volume(config.volume, date=date, rows=rows["scored"], expected=baseline.expected)
    flagged = gate.judge_flagged(config.flagged, flagged=rows["flagged"], scored=rows["scored"])
    rejected = gate.judge_rejected(config.rejected, rejected=rows["rejected"], read=rows["read"])
    return Judgement(
        date=date,
        verdicts=(volume, *_drift_verdicts(checked, rows["scored"], found), flagged, rejected),
        baseline=baseline,
        drift=found,
        next_deadline=next_deadline(config.schedule, checked.day).timestamp(),
        input_unchanged=before is not None and before == ledger.snapshot_identity(checked.plan.record()),
    )


def baseline_of(store: Store, checked: Checked) -> VolumeBaseline:
    """Return the volume baseline of a date, from the published summaries."""
    points = ledger.volume_points(store, checked.day, checked.config.volume)
    return volume_baseline(points, checked.day, checked.config.volume)


def volume_record(baseline: VolumeBaseline) -> dict[str, Any]:
    """Return a baseline as it stands in metadata.json."""
    return {
        "baseline_rows": baseline.rows,
        "deviation_rows": baseline.deviation,
        "runs": baseline.runs,
        "dates": [day.isoformat() for day in baseline.dates],
        "weekly_growth": baseline.weekly_growth,
        "label": baseline.label,
    }


def _drift(checked: Checked, totals: Totals) -> dict[str, Any] | None:
    reference, pinned = checked.drift_reference, checked.config.drift.reference
    if reference is None or pinned is None:
        return None
    features = {name: found.record() for name, found in drift_all(reference.features, totals.features).items()}
    scores = {name: found.record() for name, found in drift_all(reference.scores, totals.scores).items()}
    return {
        "reference": {
            "name": reference.name,
            "version": reference.version,
            "sha256": pinned.sha256,
            "histograms": score_histograms(reference.scores),
        },
        "features": features,
        "scores": scores,
        "prediction": scores.get("prediction"),
    }


def _drift_verdicts(checked: Checked, rows: int, found: Mapping[str, Any] | None) -> tuple[Verdict, ...]:
    if found is None:
        return ()
    features = {name: drift["psi"] for name, drift in found["features"].items()}
    predictions = {name: drift["psi"] for name, drift in found["scores"].items()}
    return (gate.judge_drift(checked.config.drift, rows=rows, features=features, predictions=predictions),)
