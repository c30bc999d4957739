"""What each metric reads: from an attempt, or from the published documents of a success. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import accumulate
from typing import Any

from batchscore.errors import EXIT_CODES

REASONS: tuple[str, ...] = tuple(sorted({row.reason for row in EXIT_CODES if row.reason}))
"""Every value of the `reason` label of a failed attempt."""
STAGES = ("resolve", "cluster", "load", "score", "reduce", "publish")
"""Every value of the `stage` label."""
MAX_FEATURES = 20
"""Features with a series of their own; the others share one."""
MAX_REASONS = 8
"""Reasons of rejected rows with a series of their own; the others share one."""
MAX_BUCKETS = 10
"""Finite buckets of a histogram; finer ones are joined."""
OTHER = "other"
"""The label value of what is folded."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a run, as far as the gateway is told of it."""

    started: float
    """When it started, epoch seconds."""
    ended: float | None = None
    """When it ended, epoch seconds; None while it runs."""
    attempts: int = 1
    """Attempts that the run took so far, this one included."""
    reason: str = ""
    """Why it failed: a `reason` of the table of exit codes; empty when it did not fail."""
    held: bool = False
    """Whether a gate holds its output."""
    timeout: float | None = None
    """The longest time that a run may take, in seconds; None when nothing bounds it."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """A histogram's numbers, as Prometheus counts them."""

    buckets: tuple[tuple[float, float], ...]
    """Upper bounds, ascending and finite, each with the count of values at or below it."""
    count: float
    """All values."""
    total: float
    """The sum of all values."""


Values = Mapping[tuple[str, ...], float | Histogram]
"""Values by label values; empty when there is nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a push is built from."""

    attempt: Attempt
    """The attempt."""
    summary: Mapping[str, Any]
    """The content of `summary_metrics.json`; empty but on success."""
    metadata: Mapping[str, Any]
    """The content of `metadata.json`; empty but on success."""


def attempt_of(metadata: Mapping[str, Any]) -> Attempt:
    """Return the successful attempt that `metadata` records."""
    return Attempt(
        started=epoch(metadata["started_at"]),
        ended=epoch(metadata["ended_at"]),
        attempts=metadata["attempts"],
        timeout=metadata.get("run_timeout_seconds"),
    )


def epoch(moment: str) -> float:
    """Return the epoch seconds of an ISO time; one without an offset is UTC."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _one(value: float | None) -> Values:
    return {} if value is None else {(): float(value)}


def started(facts: Facts) -> Values:
    """When the attempt started."""
    return _one(facts.attempt.started)


def timeout(facts: Facts) -> Values:
    """How long a run may take."""
    return _one(facts.attempt.timeout)


def ended(facts: Facts) -> Values:
    """When the attempt ended."""
    return _one(facts.attempt.ended)


def succeeded(facts: Facts) -> Values:
    """Whether the attempt succeeded."""
    return _one(not facts.attempt.reason)


def lasted(facts: Facts) -> Values:
    """How long the attempt took."""
    return {} if facts.attempt.ended is None else _one(facts.attempt.ended - facts.attempt.started)


def attempts(facts: Facts) -> Values:
    """How many attempts the run took so far."""
    return _one(facts.attempt.attempts)


def failure(facts: Facts) -> Values:
    """Why the attempt failed: every reason is there, so that none is left over from an earlier failure."""
    return {(reason,): float(reason == facts.attempt.reason) for reason in REASONS}


def held(facts: Facts) -> Values:
    """Whether a gate holds the attempt's output."""
    return _one(facts.attempt.held)


def succeeded_at(facts: Facts) -> Values:
    """When the run published, as its record says it: the same in a later push."""
    return _one(facts.attempt.ended)


def snapshot_date(facts: Facts) -> Values:
    """Midnight UTC of the scored date."""
    return _one(epoch(facts.metadata["date"]))


def deadline(facts: Facts) -> Values:
    """When the next success is due; none without a schedule."""
    return _one(facts.metadata.get("next_deadline"))


def success_lasted(facts: Facts) -> Values:
    """How long the run took."""
    return _one(facts.metadata["execution_time_sec"])


def stages(facts: Facts) -> Values:
    """How long each stage took; one that was not needed took no time."""
    seconds = facts.metadata["stages"]
    return {(stage,): float(seconds.get(stage, 0.0)) for stage in STAGES}


def rows(facts: Facts, kind: str) -> Values:
    """Rows of one kind."""
    return _one(facts.summary["rows"][kind])


def rejected(facts: Facts) -> Values:
    """Rows set aside by reason."""
    return _folded(facts.summary["rejected"].items(), MAX_REASONS, sum)


def size(facts: Facts, kind: str) -> Values:
    """Bytes of the snapshot (`input`) or of the output (`output`)."""
    return _one(facts.summary[f"{kind}_bytes"])


def partitions(facts: Facts) -> Values:
    """Partitions of the plan."""
    return _one(len(facts.summary["partitions"]))


def retried(facts: Facts) -> Values:
    """Partitions that were tried again."""
    return _one(facts.metadata["retried_partitions"])


def workers(facts: Facts) -> Values:
    """Workers that took part."""
    return _one(facts.metadata["workers"])


def peak_memory(facts: Facts) -> Values:
    """Peak memory of the largest worker."""
    return _one(facts.metadata["peak_worker_memory_bytes"])


def baseline(facts: Facts) -> Values:
    """Median rows of the volume's baseline; none before there is one."""
    return _one(_volume(facts).get("baseline_rows"))


def deviation(facts: Facts) -> Values:
    """Deviation of the baseline; none before there is one."""
    return _one(_volume(facts).get("deviation_rows"))


def baseline_runs(facts: Facts) -> Values:
    """How many runs the baseline rests on."""
    return _one(_volume(facts).get("runs", 0))


def _volume(facts: Facts) -> Mapping[str, Any]:
    return facts.metadata.get("volume") or {}


def unchanged(facts: Facts) -> Values:
    """Whether the snapshot is that of the date before; none when there is no date before."""
    return _one(facts.metadata.get("input_unchanged"))


def missing(facts: Facts) -> Values:
    """Share of missing values by feature."""
    profiles = facts.summary["profiles"]["features"]
    shares = ((name, missing_share(profile)) for name, profile in profiles.items())
    return _folded(shares, MAX_FEATURES, max)


def missing_share(profile: Mapping[str, Any]) -> float:
    """Return the share of nulls and NaNs of a column's profile: 0 of no rows."""
    rows = profile["rows"]
    return float((profile["nulls"] + profile.get("nans", 0)) / rows) if rows else 0.0


def feature_drift(facts: Facts) -> Values:
    """Drift by feature; none without a reference."""
    drift = facts.summary.get("drift") or {"features": {}}
    return _folded(((name, values["psi"]) for name, values in drift["features"].items()), MAX_FEATURES, max)


def prediction_drift(facts: Facts) -> Values:
    """Drift of the scores; none without a reference."""
    drift = (facts.summary.get("drift") or {}).get("prediction") or {}
    return _one(drift.get("psi"))


def score_histogram(facts: Facts) -> Values:
    """Distribution of the scores; none of several classes."""
    histogram = facts.summary["histograms"].get("prediction")
    if histogram is None:
        return {}
    return {(): _histogram(histogram, exact(facts.summary["profiles"]["scores"]["prediction"]["total"]))}


def exact(text: str) -> float:
    """Return the number nearest to a profile's exact sum, written as `-3p-2` for -3 · 2**-2."""
    mantissa, exponent = text.split("p")
    return float(int(mantissa) * Fraction(2) ** int(exponent))


def partition_histogram(facts: Facts) -> Values:
    """Distribution of the partitions' seconds."""
    histogram = facts.metadata["partition_seconds"]
    return {(): _histogram(histogram, float(histogram["sum"]))}


def run_info(facts: Facts) -> Values:
    """Names and versions of what ran."""
    model = facts.metadata["model"]
    key = (model["name"], model["version"], model["sha256"][:12], facts.metadata["versions"]["batchscore"])
    return {tuple(str(part) for part in key): 1.0}


def threshold(facts: Facts, key: str) -> Values:
    """Threshold of the `alerts` section as it stood; none when it is switched off."""
    return _one(facts.metadata["alerts"].get(key))


def _folded(
    pairs: Iterable[tuple[str, float | None]], limit: int, join: Callable[[Sequence[float]], float]
) -> dict[tuple[str, ...], float]:
    """Keep the first `limit` names in alphabetical order, so that series do not come and go; join the others."""
    known = sorted((name, float(value)) for name, value in pairs if value is not None)
    kept: dict[tuple[str, ...], float] = {(name,): value for name, value in known[:limit] if name != OTHER}
    rest = [value for name, value in known if (name,) not in kept]
    return kept | ({(OTHER,): join(rest)} if rest else {})


def _histogram(content: Mapping[str, Any], total: float) -> Histogram:
    """Turn edges and counts into cumulative buckets.

    `counts` holds one number per bin between two edges, or one more on either side for what lies beyond them.
    """
    edges, counts = content["edges"], list(content["counts"])
    if len(counts) == len(edges) - 1:
        counts = [0, *counts, 0]
    below = list(accumulate(counts))[:-1]
    step = -(-len(edges) // MAX_BUCKETS)
    chosen = range(len(edges) - 1, -1, -step)
    buckets = sorted((float(edges[i]), float(below[i])) for i in chosen)
    return Histogram(buckets=tuple(buckets), count=float(sum(counts)), total=total)
