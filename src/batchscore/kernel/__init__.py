"""The loops that numpy is too slow for, compiled from `kernel.c` where the install had a C compiler.

Everything here gives the same bits with the compiled library and without it; `compiled` says which of them runs.
"""

from batchscore.kernel.forest import Forest
from batchscore.kernel.library import compiled, without
from batchscore.kernel.moments import MANTISSA_BITS, MOST_COUNTED, Counted, counted
from batchscore.kernel.sigmoid import sigmoid

__all__ = ["MANTISSA_BITS", "MOST_COUNTED", "Counted", "Forest", "compiled", "counted", "sigmoid", "without"]
