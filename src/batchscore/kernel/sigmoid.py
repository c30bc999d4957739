"""The logistic function with the bits of `scipy.special.expit`."""

from __future__ import annotations

import numpy as np

from batchscore.kernel.library import exponential, library


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) of float64 values, in the same shape and C order.

    numpy's own `exp` differs from the C library's, which scipy uses, in 2 % of the last bits.
    """
    compiled = library()
    if compiled is None:
        from scipy.special import expit

        answer: np.ndarray = expit(np.ascontiguousarray(values, dtype=np.float64))
        return answer
    given = np.ascontiguousarray(values, dtype=np.float64)
    out = np.empty_like(given)
    compiled.batchscore_sigmoid(given.ctypes.data, out.ctypes.data, given.size, exponential())
    return out
