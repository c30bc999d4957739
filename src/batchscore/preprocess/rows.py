"""The contract of the values: vectorised checks per row with reason codes, and the casts. Pure.

Everything is cheap while nothing is wrong: null counts, minima and maxima, dictionary values instead of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.blocks import ARROW_TYPES, SCHEMA_TYPES
from batchscore.profile import buffers
from batchscore.schema import Feature, FeatureSchema, read_moment

Reason = Literal["null", "not-finite", "below-min", "above-max", "not-in-categories", "cast-loss", "killed-worker"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why a row is set aside: what `check_rows` finds in a column, and `killed-worker`, which no column tells."""

Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """The rows that break one rule in one column."""

    reason: Reason
    """The reason code."""
    column: str
    """The column's name; empty when no column is to blame."""
    rows: Rows
    """Row numbers, ascending."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowCheck:
    """What the checks of some rows found."""

    rows: int
    """Number of rows that were checked."""
    findings: tuple[Finding, ...]
    """What is wrong; empty when nothing is."""

    @property
    def bad_rows(self) -> Rows:
        """The numbers of the bad rows, ascending, each once."""
        return _distinct(finding.rows for finding in self.findings)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows per reason, of all reasons: a row with two reasons counts in both, in two columns once."""
        return {reason: len(self._rows_of(reason)) for reason in REASONS}

    def mask(self, first_row: int = 0) -> npt.NDArray[np.bool_]:
        """Return which rows are bad, shape (rows,).

        Args:
            first_row: The number of the first row that was checked.
        """
        mask = np.zeros(self.rows, np.bool_)
        mask[self.bad_rows - first_row] = True
        return mask

    def _rows_of(self, reason: str) -> Rows:
        return _distinct(finding.rows for finding in self.findings if finding.reason == reason)


def _distinct(found: Iterable[Rows]) -> Rows:
    """Return row numbers, ascending, each once; without any, `np.unique` need not import `numpy.ma`, 8 ms."""
    parts = list(found)
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def check_rows(table: pa.Table | pa.RecordBatch, schema: FeatureSchema, *, first_row: int = 0) -> RowCheck:
    """Check the values of the features.

    Args:
        table: Rows with at least the features' columns, of types that `check_columns` accepts.
        schema: The feature schema.
        first_row: The number of the first row, so that findings of several batches can be merged.
    """
    findings = []
    for feature in schema.features:
        for reason, rows in _check(table.column(feature.name), feature):
            findings.append(Finding(reason=reason, column=feature.name, rows=rows + first_row))
    return RowCheck(rows=table.num_rows, findings=tuple(findings))


def merge_checks(checks: Sequence[RowCheck]) -> RowCheck:
    """Merge the checks of batches whose rows are numbered through."""
    keys = dict.fromkeys((finding.column, finding.reason) for check in checks for finding in check.findings)
    merged = []
    for column, reason in keys:
        parts = [
            each.rows for check in checks for each in check.findings if (each.column, each.reason) == (column, reason)
        ]
        merged.append(Finding(reason=reason, column=column, rows=np.unique(np.concatenate(parts))))
    return RowCheck(rows=sum(check.rows for check in checks), findings=tuple(merged))


def cast(table: pa.Table | pa.RecordBatch, schema: FeatureSchema) -> pa.Table:
    """Return the features in the model's order and declared types.

    Text that came as a dictionary stays one. Nothing is rounded: rows that would lose something have failed
    `check_rows`, and must not be here.

    Raises:
        pa.ArrowInvalid: When a value does not fit, which is a bug of the caller.
    """
    columns = [_cast_column(table.column(feature.name), feature) for feature in schema.features]
    return pa.Table.from_arrays(columns, names=list(schema.names))


def _cast_column(column: Any, feature: Feature) -> Any:
    target = ARROW_TYPES[feature.dtype]
    if column.type == target or (pa.types.is_dictionary(column.type) and feature.dtype == "string"):
        return column
    return column.cast(target)


def _check(column: Any, feature: Feature) -> Iterator[tuple[Reason, Rows]]:
    if column.null_count and not feature.nullable:
        yield "null", _indices(column.is_null())
    if column.null_count == len(column) or _extremes_suffice(column, feature):
        return
    values, lost = _fitted(column, feature)
    if len(lost):
        yield "cast-loss", lost
    if pa.types.is_floating(values.type) and feature.finite:
        finite = pc.is_finite(values)
        if not pc.all(finite).as_py():
            yield "not-finite", _indices(pc.invert(finite))
    yield from _check_bounds(values, feature)
    if feature.categories is not None:
        rows = _strangers(values, feature.categories)
        if len(rows):
            yield "not-in-categories", rows


def _extremes_suffice(column: Any, feature: Feature) -> bool:
    """Whether a glance at the least and the greatest number shows that nothing is wrong; where it does not, rows are looked at."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number or column.type != ARROW_TYPES[feature.dtype] or feature.categories is not None:
        return False
    values = buffers.numbers(column.drop_null() if column.null_count else column)
    least, greatest = values.min().item(), values.max().item()
    if not (math.isfinite(least) and math.isfinite(greatest)):  # both are NaN where one value is
        return False
    return (feature.min is None or least >= feature.min) and (feature.max is None or greatest <= feature.max)


def _fitted(column: Any, feature: Feature) -> tuple[Any, Rows]:
    """Cast a column; rows whose value does not survive become null and are returned."""
    try:
        return _cast_column(column, feature), np.empty(0, np.int64)
    except pa.ArrowInvalid:
        forced = column.cast(ARROW_TYPES[feature.dtype], safe=False)
        kept = pc.equal(forced.cast(column.type, safe=False), column)
        return pc.if_else(kept, forced, None), _indices(pc.invert(kept))


def _check_bounds(values: Any, feature: Feature) -> Iterator[tuple[Reason, Rows]]:
    # Compared in Arrow and not through min_max in Python, where years above 9999 do not exist.
    if feature.min is not None:
        yield from _outside("below-min", pc.less(values, _scalar(feature.min, values.type)))
    if feature.max is not None:
        yield from _outside("above-max", pc.greater(values, _scalar(feature.max, values.type)))


def _outside(reason: Reason, mask: Any) -> Iterator[tuple[Reason, Rows]]:
    if pc.any(mask).as_py():
        yield reason, _indices(mask)


def _scalar(bound: float | str, dtype: pa.DataType) -> pa.Scalar:
    """Make a bound comparable without changing it; what lies beyond the column's type is the type's own edge."""
    if isinstance(bound, str):
        return pa.scalar(read_moment(SCHEMA_TYPES[dtype], bound), dtype)
    if pa.types.is_integer(dtype):
        signed, bits = not pa.types.is_unsigned_integer(dtype), dtype.bit_width
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return pa.scalar(min(max(int(bound), low), high), dtype)
    return pa.scalar(float(bound), pa.float64())


def _strangers(values: Any, categories: Sequence[str | int]) -> Rows:
    if not isinstance(values, pa.ChunkedArray):
        values = pa.chunked_array([values])
    found = [np.empty(0, np.int64)]
    first = 0
    for chunk in values.chunks:
        found.append(_strangers_of(chunk, categories) + first)
        first += len(chunk)
    return np.concatenate(found)


def _strangers_of(chunk: pa.Array, categories: Sequence[str | int]) -> Rows:
    coded = pa.types.is_dictionary(chunk.type)
    distinct = chunk.dictionary if coded else chunk
    known = pc.is_in(distinct, value_set=pa.array(categories, distinct.type))
    if coded:
        if pc.all(known).as_py() in (True, None):
            return np.empty(0, np.int64)
        known = known.take(chunk.indices)
        return _indices(pc.invert(known))
    return _indices(pc.and_(chunk.is_valid(), pc.invert(known)))


def _indices(mask: Any) -> Rows:
    return np.asarray(pc.indices_nonzero(mask)).astype(np.int64)
