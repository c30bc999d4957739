"""Ids: hashed without a Python step per row, compared exactly, merged across partitions in bounded memory. Pure.

The hash is meant against mistakes, not against an adversary: equal hashes are only candidates, which the ids confirm.
"""

from batchscore.ids.hashing import BadIds, Hashes, IdHashes, Rows, find_bad_ids, hash_ids
from batchscore.ids.merging import AT_ONCE, ByteRun, Candidate, Duplicate, HashRun, confirm, merge_ranges

__all__ = [
    "AT_ONCE",
    "BadIds",
    "ByteRun",
    "Candidate",
    "Duplicate",
    "HashRun",
    "Hashes",
    "IdHashes",
    "Rows",
    "confirm",
    "find_bad_ids",
    "hash_ids",
    "merge_ranges",
]
