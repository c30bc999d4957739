"""The loops that numpy and Python are too slow for, compiled from `kernel.c` where the install had a C compiler.

Everything here gives the same bits with the compiled library and without it; `compiled` says which of them runs.
"""

from batchscore.kernel.forest import Forest
from batchscore.kernel.ids import hash_numbers, hash_texts
from batchscore.kernel.library import compiled, without
from batchscore.kernel.moments import SHIFT, SIGN_KEY, Counted, compiled_tally
from batchscore.kernel.sigmoid import sigmoid
from batchscore.kernel.thrift import footer_numbers, page_numbers

__all__ = [
    "SHIFT",
    "SIGN_KEY",
    "Counted",
    "Forest",
    "compiled",
    "compiled_tally",
    "footer_numbers",
    "hash_numbers",
    "hash_texts",
    "page_numbers",
    "sigmoid",
    "without",
]
