"""Verdicts before publishing: volume, drift, shares of flagged and rejected rows. Pure: numbers in, verdicts out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from batchscore.errors import Held
from batchscore.strict import FROM_LIST, Section

Mode = Literal["warn", "hold", "fail"]
Outcome = Literal["pass", "warn", "hold", "fail"]

LEAST_BASELINE_RUNS = 4
"""A drop or rise is judged only against a baseline of so many published dates."""

_ORDER: tuple[Outcome, ...] = ("pass", "warn", "hold", "fail")
_MOST_NAMED = 5


def _iso_date(text: str) -> str:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ValueError("is no ISO date such as 2013-02-08")
    return text


IsoDate = Annotated[str, AfterValidator(_iso_date)]
Share = Annotated[float, Field(ge=0, le=1)]


class VolumeOptions(Section):
    """`volume`: how many rows a date must have, absolutely and against the same weekday of other weeks."""

    min_rows: int | None = Field(default=None, ge=0)
    """Fewer scored rows are a breach; null: no limit."""
    max_rows: int | None = Field(default=None, ge=0)
    """More scored rows are a breach; null: no limit."""
    max_drop: Share | None = 0.4
    """A larger share below the baseline is a breach; null: not judged."""
    max_rise: float | None = Field(default=0.6, ge=0)
    """A larger share above the baseline is a breach; null: not judged."""
    compare: Literal["weekday", "month"] = "weekday"
    """With which dates: the same weekday, or the same position in the month (for monthly pipelines)."""
    ignore_dates: Annotated[tuple[IsoDate, ...], FROM_LIST] = ()
    """Known odd days: in no baseline, and not judged against one."""
    on_breach: Mode = "warn"
    """`warn` publishes and says so, `hold` keeps the run for `release`, `fail` keeps nothing; both are code 15."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"has min_rows {self.min_rows} above max_rows {self.max_rows}")
        return self


class ReferenceOptions(Section):
    """`drift.reference`: the profile that the date is compared with, pinned."""

    path: str = Field(min_length=1)
    """The reference file that `batchscore reference create` wrote."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 of the file's bytes."""


class DriftOptions(Section):
    """`drift`: how far features and predictions may move away from the reference profile."""

    reference: ReferenceOptions | None = None
    """The pinned reference; null: drift is not computed."""
    max_feature_psi: float | None = Field(default=0.25, gt=0)
    """A larger population stability index of a feature is a breach; null: not judged."""
    max_prediction_psi: float | None = Field(default=0.2, gt=0)
    """A larger population stability index of the predictions is a breach; null: not judged."""
    ignore_features: Annotated[tuple[str, ...], FROM_LIST] = ()
    """Features that move by nature, such as dates: computed and shown, not judged."""
    min_rows: int = Field(default=500, ge=1)
    """With fewer scored rows drift is not judged: the index of small samples is noise."""
    on_breach: Mode = "warn"
    """`warn`, `hold` or `fail`."""


class FlaggedOptions(Section):
    """`flagged`: the band in which the share of flagged rows must lie."""

    min_share: Share | None = None
    """A smaller share of the scored rows is a breach; null: no limit."""
    max_share: Share | None = None
    """A larger share is a breach; null: no limit."""
    on_breach: Mode = "warn"
    """`warn`, `hold` or `fail`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_share is not None and self.max_share is not None and self.min_share > self.max_share:
            raise ValueError(f"has min_share {self.min_share} above max_share {self.max_share}")
        return self


class RejectedOptions(Section):
    """`rejected`: how large the share of rows set aside may be; `rows` decides which rows and how many at most."""

    max_share: Share | None = None
    """A larger share of the read rows is a breach; null: no limit."""
    on_breach: Mode = "warn"
    """`warn`, `hold` or `fail`."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one gate says of one run."""

    gate: str
    """The config section that was obeyed: volume, drift, flagged or rejected."""
    outcome: Outcome
    """`pass`, or the mode of the gate when a limit is breached."""
    mode: Mode
    """What a breach would be."""
    message: str
    """One sentence for a person, with the numbers."""
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)
    """The numbers that were compared, by name."""

    def record(self) -> dict[str, Any]:
        """Return the verdict as it stands in metadata.json."""
        return {
            "gate": self.gate,
            "verdict": self.outcome,
            "mode": self.mode,
            "message": self.message,
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the volume gate compares with: a baseline, as `history` computes it."""

    rows: float | None
    """The expected number of rows; None without a baseline."""
    deviation: float | None
    """The scaled median deviation, rows; None without a baseline."""
    runs: int
    """Number of published dates that it rests on."""
    label: str
    """What was compared with, such as `Fridays`."""


def judge_volume(options: VolumeOptions, *, date: str, rows: int, expected: Expected) -> Verdict:
    """Judge the number of scored rows: absolute limits first, then the drop or rise against the baseline."""
    ratio = rows / expected.rows if expected.rows else None
    numbers = {
        "rows": rows,
        "baseline_rows": expected.rows,
        "deviation_rows": expected.deviation,
        "baseline_runs": expected.runs,
        "ratio": None if ratio is None else round(ratio, 4),
    }
    breaches = _absolute_breaches(options, rows)
    judged, note = _comparable(options, date, expected)
    if judged and ratio is not None:
        note = f"{_relative(ratio)} the {expected.rows:,.0f} of {expected.runs} {expected.label}"
        breaches += _relative_breaches(options, ratio)
    return _verdict("volume", options.on_breach, f"{rows:,} rows: {note}", breaches, numbers)


def judge_drift(
    options: DriftOptions, *, rows: int, features: Mapping[str, float], predictions: Mapping[str, float]
) -> Verdict:
    """Judge the population stability indices of features and predictions.

    Args:
        options: The limits.
        rows: Scored rows.
        features: The index by feature.
        predictions: The index by score column.
    """
    judged = {name: psi for name, psi in features.items() if name not in options.ignore_features}
    numbers = {
        "rows": rows,
        "max_feature_psi": max(judged.values(), default=None),
        "max_prediction_psi": max(predictions.values(), default=None),
    }
    if rows < options.min_rows:
        fact = f"not judged: {rows:,} rows are fewer than drift.min_rows {options.min_rows:,}"
        return _verdict("drift", options.on_breach, fact, [], numbers)
    breaches = _over("feature", judged, options.max_feature_psi)
    breaches += _over("", predictions, options.max_prediction_psi)
    largest = max(judged, key=lambda name: (judged[name], name), default=None)
    fact = "no feature is compared" if largest is None else f"largest PSI {judged[largest]:.3f} of feature '{largest}'"
    return _verdict("drift", options.on_breach, fact, breaches, numbers)


def judge_flagged(options: FlaggedOptions, *, flagged: int, scored: int) -> Verdict:
    """Judge the share of flagged rows among the scored ones; no rows are not judged."""
    share = flagged / scored if scored else None
    breaches = []
    if share is not None and options.min_share is not None and share < options.min_share:
        breaches.append(f"below flagged.min_share {options.min_share:g}")
    if share is not None and options.max_share is not None and share > options.max_share:
        breaches.append(f"above flagged.max_share {options.max_share:g}")
    fact = f"{flagged:,} of {scored:,} rows flagged{_percent(share)}"
    numbers = {"flagged": flagged, "scored": scored, "share": share}
    return _verdict("flagged", options.on_breach, fact, breaches, numbers)


def judge_rejected(options: RejectedOptions, *, rejected: int, read: int) -> Verdict:
    """Judge the share of rows set aside among those read."""
    share = rejected / read if read else None
    breaches = []
    if share is not None and options.max_share is not None and share > options.max_share:
        breaches.append(f"above rejected.max_share {options.max_share:g}")
    fact = f"{rejected:,} of {read:,} rows rejected{_percent(share)}"
    numbers = {"rejected": rejected, "read": read, "share": share}
    return _verdict("rejected", options.on_breach, fact, breaches, numbers)


def worst(verdicts: Iterable[Verdict]) -> Outcome:
    """Return the gravest outcome: fail over hold over warn over pass."""
    return max((verdict.outcome for verdict in verdicts), key=_ORDER.index, default="pass")


def refusal(verdicts: Sequence[Verdict], *, date: str) -> Held | None:
    """Return the error of a run that may not be published; None when it may."""
    outcome = worst(verdicts)
    if outcome not in ("hold", "fail"):
        return None
    reasons = "; ".join(f"{v.gate}: {v.message}" for v in verdicts if v.outcome in ("hold", "fail"))
    context = {"gates": [verdict.gate for verdict in verdicts if verdict.outcome in ("hold", "fail")]}
    if outcome == "hold":
        return Held(
            f"the run of {date} is held, {reasons}",
            slug="HOLD",
            remedy=f"look at it, then `batchscore release --config … --date {date} --reason TEXT` or `discard` likewise",
            state="Nothing was published; the run is kept as it was scored.",
            **context,
        )
    return Held(
        f"the run of {date} is refused, {reasons}",
        slug="FAIL",
        remedy="mend the snapshot, or change the gate's limits or its on_breach",
        **context,
    )


def _verdict(
    gate: str, mode: Mode, fact: str, breaches: Sequence[str], numbers: Mapping[str, float | int | str | None]
) -> Verdict:
    message = ", ".join([fact, *breaches])
    return Verdict(gate=gate, outcome=mode if breaches else "pass", mode=mode, message=message, numbers=numbers)


def _absolute_breaches(options: VolumeOptions, rows: int) -> list[str]:
    breaches = []
    if options.min_rows is not None and rows < options.min_rows:
        breaches.append(f"fewer than volume.min_rows {options.min_rows:,}")
    if options.max_rows is not None and rows > options.max_rows:
        breaches.append(f"more than volume.max_rows {options.max_rows:,}")
    return breaches


def _comparable(options: VolumeOptions, date: str, expected: Expected) -> tuple[bool, str]:
    """Return whether the volume is judged against the baseline, and if not, why."""
    if date in options.ignore_dates:
        return False, "not compared, the date is one of volume.ignore_dates"
    if expected.runs < LEAST_BASELINE_RUNS:
        return False, f"not compared, {expected.runs} of {LEAST_BASELINE_RUNS} {expected.label} are published"
    if not expected.rows:
        return False, f"not compared, {expected.label} usually have no rows"
    return True, ""


def _relative(ratio: float) -> str:
    return f"{abs(1 - ratio):.0%} {'below' if ratio < 1 else 'above'}"


def _relative_breaches(options: VolumeOptions, ratio: float) -> list[str]:
    if options.max_drop is not None and ratio < 1 - options.max_drop:
        return [f"a drop of more than volume.max_drop {options.max_drop:.0%}"]
    if options.max_rise is not None and ratio > 1 + options.max_rise:
        return [f"a rise of more than volume.max_rise {options.max_rise:.0%}"]
    return []


def _over(kind: str, indices: Mapping[str, float], limit: float | None) -> list[str]:
    over = sorted(((psi, name) for name, psi in indices.items() if limit is not None and psi > limit), reverse=True)
    more = [f"and {len(over) - _MOST_NAMED} more"] if len(over) > _MOST_NAMED else []
    prefix = f"{kind} " if kind else ""
    return [f"{prefix}'{name}' has PSI {psi:.3f} over {limit:g}" for psi, name in over[:_MOST_NAMED]] + more


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({share:.1%})"
