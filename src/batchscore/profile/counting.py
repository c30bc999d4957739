"""One pass over a column of numbers: by the compiled library, or in numpy with the same result. Pure."""

from __future__ import annotations

import numpy as np

from batchscore.kernel import SHIFT, Counted, counted
from batchscore.profile.sums import Floats, moments


def tally(values: Floats) -> Counted:
    """Count float64 values `(n_values,)`, at most `kernel.MOST_COUNTED` of them."""
    return counted(values) or _in_numpy(values)


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
