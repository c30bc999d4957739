"""List the files of an immutable snapshot; read one partition of it.

Listing and footers are for the driver, which decodes nothing; `PartitionReader` is for workers.
"""

from batchscore.ingest.footers import Column, Footer, check_same_files, check_sizes, list_snapshot
from batchscore.ingest.reading import PartitionReader, digest_of_ranges
from batchscore.ingest.snapshot import SnapshotOptions, ready_path, resolve, wait_for_snapshot

__all__ = [
    "Column",
    "Footer",
    "PartitionReader",
    "SnapshotOptions",
    "check_same_files",
    "check_sizes",
    "digest_of_ranges",
    "list_snapshot",
    "ready_path",
    "resolve",
    "wait_for_snapshot",
]
