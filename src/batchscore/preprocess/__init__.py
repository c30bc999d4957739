"""The contract of the rows: columns from footers, values per row, casts, rows set aside. Pure; makes no features."""

from batchscore.preprocess.columns import Violation, check_columns, extra_columns, raise_violations
from batchscore.preprocess.rejects import (
    QUARANTINE_COLUMNS,
    RowsOptions,
    bad_rows_error,
    check_budget,
    check_ids,
    locate,
    most_bad,
    numbers_of,
    quarantine_table,
)
from batchscore.preprocess.rows import REASONS, Finding, RowCheck, cast, check_rows, merge_checks

__all__ = [
    "QUARANTINE_COLUMNS",
    "REASONS",
    "Finding",
    "RowCheck",
    "RowsOptions",
    "Violation",
    "bad_rows_error",
    "cast",
    "check_budget",
    "check_columns",
    "check_ids",
    "check_rows",
    "extra_columns",
    "locate",
    "merge_checks",
    "most_bad",
    "numbers_of",
    "quarantine_table",
    "raise_violations",
]
