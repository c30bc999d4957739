"""Small versioned tables: CSV or parquet, pinned by digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator

from batchscore import transit
from batchscore.errors import ConfigError

Read = Callable[[str], bytes]
"""Returns the bytes of a path; raises FileNotFoundError when there is nothing."""

MAX_ROWS = 1_000_000
"""A table beyond this is no small one."""


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be a sha256: 64 lowercase hexadecimal digits")
    return text


Sha256 = Annotated[str, AfterValidator(_digest)]
"""A sha256 as 64 lowercase hexadecimal digits."""


def read_table(
    path: str, sha256: str, columns: Sequence[str], *, read: Read, key: str, texts: Sequence[str] = ()
) -> pa.Table:
    """Return the named columns of a pinned table, without nulls, each kind of values in its widest type.

    Args:
        path: The file; its suffix says whether it is CSV or parquet.
        sha256: The pinned digest.
        columns: The columns that are wanted.
        read: Returns the bytes of a path.
        key: The path of the configuration's key, for the message.
        texts: Columns that are text also where a CSV file looks like numbers.

    Raises:
        ConfigError: When the file is missing, another one, no table, lacks a column or has a value that fits nowhere.
    """
    try:
        content = transit.read_pinned(path, sha256, read)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise _refusal(key, path, "does not exist or can not be read", "TABLE-MISSING") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise _refusal(key, path, f"has the sha256 {found}, but the configuration pins {sha256}", "TABLE-DIGEST")
    table = _parse(path, content, key, texts)
    if not 0 < table.num_rows <= MAX_ROWS:
        raise _refusal(key, path, f"has {table.num_rows} rows; 1 to {MAX_ROWS} are taken", "TABLE-ROWS")
    for name in columns:
        if table.column_names.count(name) != 1:
            known = ", ".join(table.column_names)
            raise _refusal(key, path, f"has no single column '{name}' (its columns are {known})", "TABLE-COLUMN")
        if table.column(name).null_count:
            raise _refusal(key, path, f"has a null in the column '{name}'", "TABLE-NULL")
    try:
        return pa.table([_plain(table.column(name)) for name in columns], names=list(columns))
    except pa.ArrowInvalid as error:
        fact = f"has a value that is too large or too fine: {' '.join(str(error).split())}"
        raise _refusal(key, path, fact, "TABLE-VALUE") from error


def _parse(path: str, content: bytes, key: str, texts: Sequence[str]) -> pa.Table:
    import pyarrow.csv
    import pyarrow.parquet

    source = pa.BufferReader(content)
    try:
        if path.lower().endswith(".csv"):
            # One thread and one block, so that types never depend on where a block ends.
            options = pyarrow.csv.ReadOptions(use_threads=False, block_size=max(len(content), 1))
            convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()))
            table = pyarrow.csv.read_csv(source, read_options=options, convert_options=convert)
        elif path.lower().endswith(".parquet"):
            table = pyarrow.parquet.read_table(source)
        else:
            raise _refusal(key, path, "is neither .csv nor .parquet", "TABLE-FORMAT")
        table.column_names  # noqa: B018 - raises when a name is not UTF-8
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _refusal(key, path, f"can not be read: {' '.join(str(error).split())}", "TABLE-FORMAT") from error
    return table


def _plain(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_integer(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_floating(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz))
    elif pa.types.is_date(kind):
        column = column.cast(pa.date32())
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _refusal(key: str, path: str, fact: str, slug: str) -> ConfigError:
    return ConfigError(
        f"{key}: the table '{path}' {fact}",
        slug=slug,
        remedy="release the table with its digest, as a model is released",
        path=path,
    )
