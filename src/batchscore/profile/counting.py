"""Counts of numbers that come in batches: by the compiled library, or in numpy with the same result. Pure."""

from __future__ import annotations

from functools import reduce
from typing import Protocol

import numpy as np

from batchscore.kernel import SHIFT, Counted, compiled_tally
from batchscore.profile.sums import Floats, moments


class Tally(Protocol):
    """Counts float64 values that come in batches."""

    def add(self, values: Floats) -> None:
        """Count values `(n_values,)`."""

    def counted(self) -> Counted:
        """Return what is known of all of them."""


def tally() -> Tally:
    """Return a tally without a value."""
    return compiled_tally() or _PlainTally()


class _PlainTally:
    def __init__(self) -> None:
        self._batches = [_in_numpy(np.empty(0))]

    def add(self, values: Floats) -> None:
        self._batches.append(_in_numpy(values))

    def counted(self) -> Counted:
        return reduce(Counted.plus, self._batches)


def _in_numpy(values: Floats) -> Counted:
    finite = values[np.isfinite(values)] + 0.0  # no negative zero
    total, squares = moments(finite)
    others = finite[finite != 0]
    return Counted(
        nans=int(np.isnan(values).sum()),
        negative_infinities=int((values == -np.inf).sum()),
        positive_infinities=int((values == np.inf).sum()),
        zeros=len(finite) - len(others),
        minimum=float(finite.min(initial=np.inf)),
        maximum=float(finite.max(initial=-np.inf)),
        by_key=_by_key(others),
        total=(total.mantissa, total.exponent),
        squares=(squares.mantissa, squares.exponent),
    )


def _by_key(floats: Floats) -> dict[int, int]:
    if not len(floats):
        return {}
    keys = floats.view(np.int64) >> SHIFT  # the sign bit makes keys of negative values negative
    lowest = int(keys.min())
    counts = np.bincount(keys - lowest)
    used = np.flatnonzero(counts)
    return dict(zip((used + lowest).tolist(), counts[used].tolist(), strict=True))
