"""Drift of features and scores between two profiles; no raw data of the past is needed. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any

from batchscore.errors import ConfigError
from batchscore.profile import CategoricalProfile, NumericProfile, Profile

GROUPS = 10
LEAST_SHARE = Fraction(1, 10_000)
"""An empty bin counts as this share in the index, which would be infinite otherwise."""

_DIGITS = Context(prec=24)  # its logarithm is correctly rounded and the same on every machine; libm's is not


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a column has moved away from the reference."""

    psi: float
    """Population stability index, 0 or more; by habit 0.1 is worth a look and 0.2 to 0.25 an action."""
    js: float
    """Jensen-Shannon divergence in bits, 0..1."""
    ks: float | None
    """Kolmogorov-Smirnov distance of the finite values, 0..1; None for categories and without values."""
    new_categories: tuple[str, ...] = ()
    """Categories that the reference does not know, sorted; empty when either side had to drop categories."""
    gone_categories: tuple[str, ...] = ()
    """Categories of the reference that did not come, sorted; empty when either side had to drop categories."""

    def record(self) -> dict[str, Any]:
        """Return the drift as it stands in summary_metrics.json; the lists only where there are any."""
        lists = {"new_categories": list(self.new_categories), "gone_categories": list(self.gone_categories)}
        return {"psi": self.psi, "js": self.js, "ks": self.ks, **{name: some for name, some in lists.items() if some}}


def drift(reference: Profile, current: Profile) -> Drift:
    """Compare two profiles of one column.

    The population stability index is Σ (c - r) ln(c / r) over bins with the shares r of the reference and c of now
    (Siddiqi, "Credit Risk Scorecards", 2006). For numbers the bins are the deciles of the reference, for text the
    categories; nulls and NaNs together are a bin of their own, and so is each infinity. The Jensen-Shannon divergence
    (Lin, "Divergence measures based on the Shannon entropy", 1991) is taken over the same bins, with base 2. The
    Kolmogorov-Smirnov distance is the largest difference of the two cumulative shares, at the edges of the profiles'
    own bins.
    Columns without rows on either side have not moved; with n rows the index of the same distribution is about
    (bins - 1) / n, so small samples seem to move.

    Raises:
        ConfigError: When one profile is numeric and the other categorical.
    """
    if isinstance(reference, NumericProfile) and isinstance(current, NumericProfile):
        old, new, ks = _of_numbers(reference, current)
        return Drift(psi=_psi(old, new), js=_js(old, new), ks=ks)
    if isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        return _of_categories(reference, current)
    raise ConfigError(
        "a column is numeric on one side and categorical on the other",
        slug="REFERENCE-KIND",
        remedy="create the reference again with the feature schema of now",
    )


def drift_all(reference: Mapping[str, Profile], current: Mapping[str, Profile]) -> dict[str, Drift]:
    """Compare all columns by name, in the order of `current`; those that the reference does not know are left out.

    Raises:
        ConfigError: When a column is numeric on one side and categorical on the other.
    """
    found = {}
    for name, profile in current.items():
        if name not in reference:
            continue
        try:
            found[name] = drift(reference[name], profile)
        except ConfigError as error:
            message = f"drift of '{name}' can not be computed: {error.message}"
            raise ConfigError(message, slug=error.slug, remedy=error.remedy) from None
    return found


def _of_numbers(old: NumericProfile, new: NumericProfile) -> tuple[list[int], list[int], float | None]:
    """Return the counts of both by the deciles of the old, infinities and missing last, and the distance."""
    old_bins, new_bins = old.counts_above(new.floor), new.counts_above(old.floor)
    places = sorted(old_bins.keys() | new_bins.keys())
    old_counts = [old_bins.get(place, 0) for place in places]
    new_counts = [new_bins.get(place, 0) for place in places]
    ends = _deciles(old_counts)
    tails = [(p.negative_infinities, p.positive_infinities, p.missing) for p in (old, new)]
    return (
        [*_grouped(old_counts, ends), *tails[0]],
        [*_grouped(new_counts, ends), *tails[1]],
        _distance(old_counts, new_counts),
    )


def _deciles(counts: Sequence[int]) -> list[int]:
    """Return the ends of at most ten groups of bins: each closes at the first bin that reaches its decile."""
    running = list(accumulate(counts))
    total = running[-1] if running else 0
    if not total:
        return [len(counts)]
    ends = {bisect_left(running, Fraction(total * part, GROUPS)) + 1 for part in range(1, GROUPS)}
    return sorted({end for end in ends if end < len(counts)} | {len(counts)})


def _grouped(counts: Sequence[int], ends: Sequence[int]) -> list[int]:
    return [sum(counts[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _distance(old: Sequence[int], new: Sequence[int]) -> float | None:
    old_total, new_total = sum(old), sum(new)
    if not old_total or not new_total:
        return None
    pairs = zip(accumulate(old), accumulate(new), strict=True)
    largest = max(abs(a * new_total - b * old_total) for a, b in pairs)
    return round(largest / (old_total * new_total), 6)


def _of_categories(old: CategoricalProfile, new: CategoricalProfile) -> Drift:
    names = sorted(old.counts.keys() | new.counts.keys())
    if old.other or new.other:  # each side kept categories of its own: only those that both kept can be compared
        names = [name for name in names if _is_comparable(name, old) and _is_comparable(name, new)]
    known = [[profile.counts.get(name, 0) for name in names] for profile in (old, new)]
    counts = [
        [*some, profile.rows - profile.nulls - sum(some), profile.nulls]
        for some, profile in zip(known, (old, new), strict=True)
    ]
    complete = not (old.other or new.other)
    return Drift(
        psi=_psi(*counts),
        js=_js(*counts),
        ks=None,
        new_categories=tuple(sorted(new.counts.keys() - old.counts.keys())) if complete and old.rows else (),
        gone_categories=tuple(sorted(old.counts.keys() - new.counts.keys())) if complete and new.rows else (),
    )


def _is_comparable(name: str, profile: CategoricalProfile) -> bool:
    return not profile.other or name in profile.counts or name in profile.declared


def _shares(old: Sequence[int], new: Sequence[int]) -> list[tuple[Fraction, Fraction]]:
    old_total, new_total = sum(old), sum(new)
    if not old_total or not new_total:
        return []
    return [(Fraction(a, old_total), Fraction(b, new_total)) for a, b in zip(old, new, strict=True) if a or b]


def _psi(old: Sequence[int], new: Sequence[int]) -> float:
    floored = [(max(a, LEAST_SHARE), max(b, LEAST_SHARE)) for a, b in _shares(old, new)]
    return _rounded(sum((_decimal(b - a) * _ln(b / a) for a, b in floored), Decimal(0)))


def _js(old: Sequence[int], new: Sequence[int]) -> float:
    halves = Decimal(0)
    for a, b in _shares(old, new):
        for share in (a, b):
            if share:
                halves += _decimal(share) * _ln(2 * share / (a + b))
    return _rounded(halves / 2 / _ln(Fraction(2)))


def _decimal(value: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))


def _ln(value: Fraction) -> Decimal:
    return _DIGITS.ln(_decimal(value))


def _rounded(value: Decimal) -> float:
    return round(max(float(value), 0.0), 6)
