"""One pass over a column of numbers: by the compiled library, or in numpy with the same result. Pure."""

from __future__ import annotations

import numpy as np

from batchscore.kernel import MANTISSA_BITS, Counted, counted
from batchscore.profile.sums import Floats, moments

_SHIFT = 52 - MANTISSA_BITS
_SIGN_KEY = 1 << (63 - _SHIFT)


def tally(values: Floats) -> Counted:
    """Count float64 values `(n_values,)`, at most `kernel.MOST_COUNTED` of them."""
    return counted(values) or _in_numpy(values)


def _in_numpy(values: Floats) -> Counted:
    finite = values[np.isfinite(values)] + 0.0  # no negative zero
    total, squares = moments(finite)
    zeros = len(finite) - int(np.count_nonzero(finite))
    by_key = _by_key(finite)
    small_positive = by_key.pop(0, 0) - zeros
    small_negative = by_key.pop(-_SIGN_KEY, 0)
    return Counted(
        nans=int(np.isnan(values).sum()),
        negative_infinities=int((values == -np.inf).sum()),
        positive_infinities=int((values == np.inf).sum()),
        zeros=zeros,
        minimum=float(finite.min(initial=np.inf)),
        maximum=float(finite.max(initial=-np.inf)),
        small=(small_negative, small_positive),
        bins={key if key > 0 else -(key + _SIGN_KEY): count for key, count in by_key.items()},
        total=(total.mantissa, total.exponent),
        squares=(squares.mantissa, squares.exponent),
    )


def _by_key(floats: Floats) -> dict[int, int]:
    if not len(floats):
        return {}
    keys = floats.view(np.int64) >> _SHIFT  # the sign bit makes keys of negative values negative
    lowest = int(keys.min())
    counts = np.bincount(keys - lowest)
    used = np.flatnonzero(counts)
    return dict(zip((used + lowest).tolist(), counts[used].tolist(), strict=True))
