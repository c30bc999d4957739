"""Rows in the shapes that estimators take: one matrix of numbers, or a frame with a type per column. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

    from batchscore.schema import Feature

ARROW_TYPES = {
    "bool": pa.bool_(),
    "string": pa.string(),
    "date32": pa.date32(),
    "timestamp[us]": pa.timestamp("us"),
    "float32": pa.float32(),
    "float64": pa.float64(),
    **{str(each): each for each in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(each): each for each in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
}
"""The Arrow type of each type of the feature schema."""
SCHEMA_TYPES = {dtype: word for word, dtype in ARROW_TYPES.items()}
"""The feature schema's word for each of these types; Arrow's own is another for some: `double`, `date32[day]`."""


class _Absent:
    """A finder of modules that has pandas be missing."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Raise for pandas, and know nothing of any other module."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is held off while pyarrow looks for it", name=name)


def hold_off_pandas() -> None:
    """Keep pyarrow from importing pandas by itself; whoever needs pandas imports it, and `to_pandas` still works.

    pyarrow imports pandas at the first array that it makes, only to know a pandas object when it is given one, and that
    costs more than scoring a million rows. So pandas is made missing while pyarrow looks for it, which it does once;
    only `to_pandas` looks again. No pandas object is ever given to pyarrow here.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _Absent)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_Absent)


def blocks(
    rows: pa.Table, block_rows: int, shape: Literal["matrix", "frame"], features: Sequence[Feature]
) -> Iterator[Any]:
    """Yield the features as matrices or frames of exactly `block_rows` rows, the last row of all repeated."""
    for start in range(0, rows.num_rows, block_rows):
        part = rows.slice(start, block_rows)
        yield matrix(part, block_rows) if shape == "matrix" else frame(padded(part, block_rows), features)


def padded(rows: pa.Table, block_rows: int) -> pa.Table:
    """Return the rows and then the last one again, until there are `block_rows`."""
    if rows.num_rows == block_rows:
        return rows
    return rows.take(pa.array(np.minimum(np.arange(block_rows), rows.num_rows - 1)))


def matrix(rows: pa.Table, block_rows: int) -> np.ndarray:
    """Return numeric columns as one C-ordered float64 matrix of shape `(block_rows, n_columns)`.

    Nulls become NaN, booleans 0 and 1; rows beyond the table repeat its last row.
    """
    out = np.empty((block_rows, rows.num_columns), dtype=np.float64)
    for at, column in enumerate(rows.columns):
        out[: rows.num_rows, at] = floats(column)
    out[rows.num_rows :] = out[rows.num_rows - 1]
    return out


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return a numeric column as float64 of shape `(n_rows,)`; nulls become NaN, booleans 0 and 1."""
    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    values: np.ndarray = column.to_numpy()
    return values


def frame(rows: pa.Table, features: Sequence[Feature]) -> pd.DataFrame:
    """Return the columns as `pandas.read_parquet` gives them, with dtypes that the schema decides and no row can move.

    pandas turns whole numbers with a null into floats and booleans with a null into objects, so the dtype of a column
    would depend on the rows that happen to be in a block. A feature that may be null always gets the wider type.
    Texts are pandas' `str`, where a null is NaN; dates are objects; times are `datetime64[us]`.
    """
    import pandas as pd

    columns = [_column(rows.column(feature.name), feature) for feature in features]
    table = pa.table(columns, names=[feature.name for feature in features])
    text = pd.StringDtype(na_value=np.nan)
    made: pd.DataFrame = table.to_pandas(types_mapper={pa.large_string(): text}.get, use_threads=False)
    for feature in features:
        if feature.dtype == "bool" and feature.nullable:
            made[feature.name] = made[feature.name].astype(object)
    return made


def _column(column: pa.ChunkedArray, feature: Feature) -> pa.ChunkedArray:
    if feature.dtype == "string":
        return column.cast(pa.large_string())
    if feature.nullable and "int" in feature.dtype:
        return column.cast(pa.float64(), safe=False)
    return column
