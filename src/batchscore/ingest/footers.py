"""Parquet footers: what every file of a snapshot declares, read once, before anything is decoded."""

from __future__ import annotations

import hashlib
import posixpath
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore import sources, transit
from batchscore.errors import ContractError, SnapshotCorrupt, SnapshotMissing
from batchscore.ingest.chunks import Group, read_groups
from batchscore.plan import InputFile, Partition, RowGroup

TAIL = 64 * 1024
"""Bytes read first from the end of a file: nearly every footer fits."""
MAX_FOOTER = 16 * 1024 * 1024
"""The longest footer that is parsed: a parsed footer takes many times its bytes, so it is a bomb if it is too long."""
PARSER_ERRORS = (pa.ArrowException, OSError, ValueError, LookupError, NotImplementedError, MemoryError, OverflowError)
"""What pyarrow raises on bad bytes; only ever caught around its calls on bytes already in memory."""

_LARGE = 1024 * 1024
_FILES_AT_ONCE = 64
_ONE_AT_A_TIME = threading.Lock()
_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_EDGE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a file, as its footer declares it."""

    name: str
    """The column's name."""
    dtype: str
    """The type in the words of the feature schema; other types by their Arrow text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """What one file's footer declares."""

    file: InputFile
    """The file as the plan takes it."""
    columns: tuple[Column, ...]
    """The columns, in file order; a name may stand twice."""
    stat: sources.Stat
    """What the file was when it was listed."""


@dataclass(frozen=True, kw_only=True)
class ParsedFooter:
    """A footer and what follows from it about the file's bytes."""

    start: int
    """Where the footer begins in the file."""
    sha256: str
    """sha256 of the footer: the metadata, its length and the closing magic."""
    metadata: pq.FileMetaData
    """The metadata as pyarrow parsed it."""
    schema: pa.Schema
    """The Arrow schema, one field per column, nested ones included."""
    groups: tuple[Group, ...]
    """The row groups and their column chunks."""
    columns: tuple[Column, ...]
    """The schema in our words."""
    leaves: tuple[tuple[int, ...], ...]
    """For each field of the schema, the indices of its leaf columns."""

    def leaves_of(self, names: Iterable[str] | None) -> tuple[int, ...]:
        """Return the leaf columns of the named fields, ascending; all of them for None."""
        wanted = None if names is None else set(names)
        fields = zip(self.schema.names, self.leaves, strict=True)
        return tuple(leaf for name, leaves in fields if wanted is None or name in wanted for leaf in leaves)


def list_snapshot(
    path: str,
    columns: Sequence[str] | None,
    *,
    allow_empty: bool = False,
    ready: str | None = None,
    threads: int = 8,
) -> tuple[Footer, ...]:
    """List a snapshot once and read the footer of each file once.

    Args:
        path: The snapshot's path, with the date filled in.
        columns: The columns that will be read, which decide the declared bytes; None for all.
        allow_empty: Whether no rows in all is allowed.
        ready: The path of the ready file, which is no data.
        threads: How many footers are read at once from an object store; those of a file system are read one by one.

    Returns:
        One footer per file, sorted by path; files of no rows included.

    Raises:
        SnapshotMissing: When there is no file.
        SnapshotCorrupt: When a file is no whole parquet file, or is gone before its footer is read.
        ContractError: When there are no rows, and `allow_empty` is not set.
    """
    files = _list_files(path, ready)
    if not files:
        raise SnapshotMissing(
            f"the snapshot '{sources.redact(path)}' is not there",
            slug="NOT-FOUND",
            remedy="wait for the producer, or set snapshot.wait_minutes",
        )
    footers = tuple(_footers(files, columns, threads))
    if not allow_empty and not any(footer.file.rows for footer in footers):
        raise ContractError(
            f"the snapshot '{sources.redact(path)}' holds no rows in {len(files)} file{'s' if len(files) > 1 else ''}",
            slug="EMPTY",
            remedy="have it delivered again, or set snapshot.allow_empty if no rows are a result",
        )
    return footers


def _footers(files: Sequence[sources.Stat], columns: Sequence[str] | None, threads: int) -> Iterator[Footer]:
    """Yield the files' footers in order, read by several threads in runs: a future for each file would cost more."""
    if not sources.is_remote(files[0].path):
        threads = 1  # what takes the time here is parsing, and two threads that wait for the interpreter take longer
    run = max(1, min(_FILES_AT_ONCE, len(files) // (4 * threads)))
    with ThreadPoolExecutor(min(threads, len(files))) as pool:
        for found in pool.map(
            lambda start: [_footer(file, columns) for file in files[start : start + run]], range(0, len(files), run)
        ):
            yield from found


def check_same_files(path: str, footers: Sequence[Footer], *, ready: str | None = None) -> None:
    """List a snapshot again and compare: whoever saw it change must not publish it as a whole.

    Args:
        path: The snapshot's path, with the date filled in.
        footers: What was listed.
        ready: The path of the ready file, which is no data.

    Raises:
        SnapshotCorrupt: When a file came, went, or is of another size or version.
    """
    then = {footer.file.path: (footer.stat.size, footer.stat.version) for footer in footers}
    now = {file.path: (file.size, file.version) for file in _list_files(path, ready)}
    for name in sorted({*then, *now}):
        if name not in then:
            raise corrupt(name, "came after the snapshot was listed: it is not among what was scored", slug="CHANGED")
        if name not in now:
            raise vanished(name)
        if then[name] != now[name]:
            raise changed(name, "its size or version is another than when it was listed")


def _list_files(path: str, ready: str | None) -> list[sources.Stat]:
    try:
        return [file for file in transit.list_surely(path) if file.path != ready]
    except FileNotFoundError as error:
        raise vanished(str(error.filename or path)) from None


def check_sizes(partitions: Iterable[Partition], max_bytes: int) -> None:
    """Refuse partitions that declare more decoded bytes than allowed; footers alone decide.

    Raises:
        ContractError: For the first such partition, naming its first file.
    """
    over = [partition for partition in partitions if partition.decoded_bytes > max_bytes]
    if not over:
        return
    first = over[0]
    path = first.fragments[0].path
    more = f" (and {len(over) - 1} more partitions)" if len(over) > 1 else ""
    raise ContractError(
        f"'{path}' declares {first.decoded_bytes} bytes, decoded, for {first.rows} rows of {first.name}, above the "
        f"{max_bytes} of partition.max_bytes{more}",
        slug="TOO-LARGE",
        remedy="write smaller row groups, lower partition.rows, or raise partition.max_bytes if the memory is there",
        path=path,
        declared_bytes=first.decoded_bytes,
        max_bytes=max_bytes,
    )


def parse_footer(path: str, size: int, tail: bytes) -> ParsedFooter | int:
    """Parse the footer at the end of a file.

    Args:
        path: The file's path, for the message.
        size: Bytes of the whole file.
        tail: The file's last bytes, at least 12.

    Returns:
        The footer, or the number of last bytes that are needed when `tail` is too short.

    Raises:
        SnapshotCorrupt: When the bytes are no footer.
    """
    if size < 3 * len(_MAGIC) or len(tail) < min(size, TAIL):
        raise corrupt(path, f"it has {size} bytes and is no whole parquet file")
    if tail[-4:] != _MAGIC:
        raise corrupt(path, "it is encrypted" if tail[-4:] == _ENCRYPTED else "it does not end as a parquet file does")
    length = int.from_bytes(tail[-_EDGE:-4], "little")
    if length > size - 3 * len(_MAGIC):
        raise corrupt(path, f"its footer claims {length} bytes in a file of {size}")
    if length > MAX_FOOTER:
        raise corrupt(path, f"its footer claims {length} bytes, above the {MAX_FOOTER} that are parsed")
    if length + _EDGE > len(tail):
        return length + _EDGE
    return _parse(path, size, tail[-length - _EDGE :])


def dtype_word(arrow_type: pa.DataType) -> str:
    """Return an Arrow type in the words of the feature schema; other types by their Arrow text."""
    if is_text(arrow_type):
        return "string"
    words = {pa.float32(): "float32", pa.float64(): "float64", pa.float16(): "float16", pa.date32(): "date32"}
    return words.get(arrow_type) or str(arrow_type)


def is_text(arrow_type: pa.DataType) -> bool:
    """Whether a type holds text, in whatever layout: plain, large, view, or dictionary-encoded."""
    inner = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def corrupt(path: str, fact: str, *, slug: str = "CORRUPT") -> SnapshotCorrupt:
    """Return the error that names a bad file and the cause."""
    return SnapshotCorrupt(
        f"'{path}' is corrupt: {fact}" if slug == "CORRUPT" else f"'{path}' {fact}",
        slug=slug,
        remedy="have the file delivered again, whole, and run the same command",
        path=path,
    )


def vanished(path: str) -> SnapshotCorrupt:
    """Return the error for a file that was listed and is gone."""
    return corrupt(path, "was listed and is gone: the snapshot changed while it was read", slug="CHANGED")


def changed(path: str, fact: str) -> SnapshotCorrupt:
    """Return the error for a file that is not what was listed."""
    return corrupt(path, f"changed while it was read: {fact}", slug="CHANGED")


def parser_fact(error: BaseException) -> str:
    """Return what a parser said, in one short line."""
    text = sources.redact(str(error)) or type(error).__name__
    return text[:200]


def _footer(stat: sources.Stat, columns: Sequence[str] | None) -> Footer:
    _check_name(stat.path)
    try:
        parsed = transit.doubted(stat.path, lambda: read_footer(stat.path, stat.size), SnapshotCorrupt)
    except FileNotFoundError:
        raise vanished(stat.path) from None
    leaves = parsed.leaves_of(columns)
    file = InputFile(
        path=stat.path,
        size=stat.size,
        footer_sha256=parsed.sha256,
        object_version=stat.version,
        row_groups=tuple(_row_group(group, leaves) for group in parsed.groups),
    )
    return Footer(file=file, columns=parsed.columns, stat=stat)


def _row_group(group: Group, leaves: Sequence[int]) -> RowGroup:
    return RowGroup(rows=group.rows, decoded_bytes=sum(group.chunks[leaf].declared_bytes for leaf in leaves))


def read_footer(path: str, size: int) -> ParsedFooter:
    """Read and parse the footer of a file of `size` bytes: the last 64 KiB first, more if needed.

    No digest of it is known yet, and the plan is made of it: over an object store two answers must agree.

    Raises:
        FileNotFoundError: When the file is gone.
        SnapshotCorrupt: When the bytes are no footer.
        StorageFailed: When the store fails, after retries, or no two answers in a row agree.
    """
    tail = transit.read_surely(path, max(size - TAIL, 0), size)
    parsed = parse_footer(path, size, tail)
    if isinstance(parsed, int):
        parsed = parse_footer(path, size, transit.read_surely(path, size - parsed, size))
    if isinstance(parsed, int):
        raise changed(path, "its footer grew")
    return parsed


def _parse(path: str, size: int, footer: bytes) -> ParsedFooter:
    """Parse a footer, or find it parsed: each partition of a file needs all of its footer, however long that is."""
    return (_kept_large if len(footer) > _LARGE else _kept)(path, size, footer)


def _parse_anew(path: str, size: int, footer: bytes) -> ParsedFooter:
    start = size - len(footer)
    try:
        # Ours first: pyarrow ends the process on some damage, and takes a thousand times the bytes of a bomb.
        groups = read_groups(footer[:-_EDGE], data_end=start)
        with _ONE_AT_A_TIME if len(footer) > _LARGE else nullcontext():
            reader = pq.ParquetFile(pa.BufferReader(_MAGIC + footer), pre_buffer=False)
            metadata, schema = reader.metadata, reader.schema_arrow.remove_metadata()
        columns, leaves = _shape(schema)
    except PARSER_ERRORS as error:
        raise corrupt(path, f"its footer can not be parsed: {parser_fact(error)}") from None
    rows = sum(group.rows for group in groups)
    if rows != metadata.num_rows or len(groups) != metadata.num_row_groups:
        raise corrupt(path, f"its row groups hold {rows} rows, and its footer says {metadata.num_rows}")
    if sum(len(leaf) for leaf in leaves) != metadata.num_columns:
        raise corrupt(path, f"its footer declares {metadata.num_columns} columns for {len(leaves)} fields")
    return ParsedFooter(
        start=start,
        sha256=hashlib.sha256(footer).hexdigest(),
        metadata=metadata,
        schema=schema,
        groups=groups,
        columns=columns,
        leaves=leaves,
    )


_kept = lru_cache(maxsize=16)(_parse_anew)
_kept_large = lru_cache(maxsize=2)(_parse_anew)


# The files of a snapshot have one schema, or few: what follows from it is made once, and they all share it.
@lru_cache(maxsize=64)
def _shape(schema: pa.Schema) -> tuple[tuple[Column, ...], tuple[tuple[int, ...], ...]]:
    """Return a schema's columns in our words, and for each field the indices of its leaf columns."""
    columns = tuple(Column(name=field.name, dtype=dtype_word(field.type)) for field in schema)
    stops = list(accumulate(_leaf_count(field.type) for field in schema))
    return columns, tuple(tuple(range(start, stop)) for start, stop in pairwise([0, *stops]))


def _leaf_count(arrow_type: pa.DataType) -> int:
    inner = [arrow_type.field(index).type for index in range(arrow_type.num_fields)]
    return sum(_leaf_count(each) for each in inner) if inner else 1


def _check_name(path: str) -> None:
    name = posixpath.basename(path)
    if not path.isprintable():
        raise ContractError(
            f"a file of the snapshot has a name that is no printable text: {name!a}",
            slug="FILE-NAME",
            remedy="rename the file",
        )
