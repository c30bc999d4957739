"""The loops that numpy is too slow for, compiled from `kernel.c` where the install had a C compiler.

Everything here gives the same bits with the compiled library and without it; `compiled` says which of them runs.
"""

from batchscore.kernel.forest import Forest
from batchscore.kernel.library import compiled, without
from batchscore.kernel.moments import MOST_COUNTED, SHIFT, SIGN_KEY, Counted, counted
from batchscore.kernel.sigmoid import sigmoid

__all__ = [
    "MOST_COUNTED",
    "SHIFT",
    "SIGN_KEY",
    "Counted",
    "Forest",
    "compiled",
    "counted",
    "sigmoid",
    "without",
]
