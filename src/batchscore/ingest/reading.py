"""Read one partition: the needed byte ranges once, hashed as they are parsed, decoded in batches under a cap.

The ranges are read into anonymous memory as long as the file, at their own places: pages that nobody touches cost
nothing, and the parser sees only bytes that were read and hashed here. Whatever it looks for elsewhere is zeros.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore import sources
from batchscore.errors import BatchscoreError, ContractError
from batchscore.ingest.chunks import BYTE_ARRAY, Chunk
from batchscore.ingest.footers import (
    PARSER_ERRORS,
    TAIL,
    ParsedFooter,
    changed,
    corrupt,
    is_text,
    parse_footer,
    parser_fact,
    vanished,
)
from batchscore.ingest.joining import joined
from batchscore.ingest.pages import PageSizes, page_sizes
from batchscore.plan import Fragment, Partition
from batchscore.report import InputRange

GAP = 64 * 1024
"""Ranges closer than this are read as one."""
WHOLE = 0.8
"""A file of which this share is needed is read whole."""
BURST_BYTES = 128 * 1024 * 1024
"""The most that one step of decoding may take for text whose length only its dictionary bounds."""
PENDING_BYTES = 128 * 1024 * 1024
"""A batch is cut when it holds more than this, so that memory stays small and offsets of 32 bits suffice."""

_LARGE = 4 * 1024 * 1024
_HASHED_AT_ONCE = 16 * 1024 * 1024
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_NEVER_CODED = 1 << 6 | 1 << 7
"""DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY: text that pyarrow 26 can not decode into a dictionary."""
_NORESERVE = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which the mmap module does not name yet


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """One fragment in memory."""

    fragment: Fragment
    buffer: pa.Buffer
    footer: ParsedFooter
    chunks: tuple[tuple[int, Chunk], ...]
    """Each needed column chunk, with the index of its leaf column."""
    coded: tuple[str, ...]
    """Columns of text that are read as dictionaries."""
    texts: frozenset[int]
    """Leaf columns of text that is not kept as a dictionary: what they decode to is bounded by no width."""


class PartitionReader:
    """Reads one partition once, as record batches.

    Args:
        partition: The unit of work.
        columns: The columns to read, in the order in which the batches have them.
        dictionary: Those of them that come as dictionary<int32, string>; other text comes as string.
        batch_rows: Rows per batch.
        max_bytes: The most bytes that the partition may decode to.
    """

    def __init__(
        self,
        partition: Partition,
        columns: Sequence[str],
        *,
        max_bytes: int,
        dictionary: Sequence[str] = (),
        batch_rows: int = 65_536,
    ) -> None:
        self._partition = partition
        self._columns = tuple(columns)
        self._dictionary = frozenset(dictionary)
        self._batch_rows = batch_rows
        self._max_bytes = max_bytes
        self._decoded = 0
        self._inputs: list[InputRange] = []
        self._unchecked: list[str] = []

    @property
    def inputs(self) -> tuple[InputRange, ...]:
        """What was read so far, in input order; complete when `batches` is exhausted."""
        return tuple(self._inputs)

    @property
    def decoded_bytes(self) -> int:
        """Bytes decoded so far."""
        return self._decoded

    @property
    def without_checksums(self) -> tuple[str, ...]:
        """Files of which a page that was read carries no checksum, so that a flipped bit in it is not seen."""
        return tuple(self._unchecked)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in input order, `batch_rows` at a time across row groups and files.

        The last batch is shorter; so is one before a file whose types differ, and one that grows very wide.

        Raises:
            SnapshotCorrupt: When a file is damaged, gone, or not what was listed.
            ContractError: When the partition decodes to more than `max_bytes`.
            StorageFailed: When the store fails, after retries.
        """
        pending: list[pa.RecordBatch] = []
        rows = size = 0
        for fragment in self._partition.fragments:
            for batch in self._decode(self._load(fragment)):
                if pending and (pending[0].schema != batch.schema or size > PENDING_BYTES):
                    yield joined(pending)
                    pending, rows, size = [], 0, 0
                pending.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= self._batch_rows:
                    ready = joined(pending)
                    yield from (
                        ready.slice(at, self._batch_rows)
                        for at in range(0, rows - rows % self._batch_rows, self._batch_rows)
                    )
                    rows %= self._batch_rows
                    pending = [ready.slice(ready.num_rows - rows)] if rows else []
                    size = _bytes(pending)
        if pending:
            yield joined(pending)

    def _load(self, fragment: Fragment) -> _Loaded:
        path, size = fragment.path, fragment.size
        try:
            before = sources.stat(path)
            _check_same(fragment, before)
            tail = self._tail(path, size, before)
            footer = parse_footer(path, size, tail)
            if isinstance(footer, int):
                tail = sources.read(path, size - footer, size)
                footer = parse_footer(path, size, tail)
            if isinstance(footer, int) or footer.sha256 != fragment.footer_sha256:
                raise changed(path, "its footer is not the one that was listed")
            chunks = self._chunks(fragment, footer)
            ranges, whole = _ranges(fragment, footer, chunks)
            memory = _memory(size, ranges)
            view = memoryview(memory)
            if len(tail) == size:
                for start, stop in ranges:
                    view[start:stop] = tail[start:stop]
            else:
                _check_unmoved(path, before, sources.read_into(path, ranges, view))
        except FileNotFoundError:
            raise vanished(path) from None
        view[footer.start : size] = tail[footer.start - size :]
        record = InputRange(path=path, ranges=ranges, sha256=_digest(view, ranges), whole=whole)
        if whole and hashlib.sha256(view[footer.start : size]).hexdigest() != fragment.footer_sha256:
            raise changed(path, "its footer is not the one that was listed")
        self._inputs.append(record)
        coded = tuple(_codable(footer, fragment.row_groups, self._dictionary))
        leaves = footer.leaves_of(coded)
        texts = frozenset(leaf for leaf, chunk in chunks if chunk.physical == BYTE_ARRAY and leaf not in leaves)
        return _Loaded(
            fragment=fragment, buffer=pa.py_buffer(memory), footer=footer, chunks=chunks, coded=coded, texts=texts
        )

    @staticmethod
    def _tail(path: str, size: int, before: sources.Stat) -> bytes:
        """Read the end of a file, where its footer is; of a small file that is all of it, and it is read only once."""
        if size > TAIL:
            return sources.read(path, size - TAIL, size)
        buffer = bytearray(size)
        _check_unmoved(path, before, sources.read_into(path, [(0, size)], memoryview(buffer)))
        return bytes(buffer)

    def _chunks(self, fragment: Fragment, footer: ParsedFooter) -> tuple[tuple[int, Chunk], ...]:
        path = fragment.path
        if max(fragment.row_groups, default=-1) >= len(footer.groups):
            raise changed(path, "it has fewer row groups than were listed")
        leaves = footer.leaves_of(self._columns)
        found = [(leaf, footer.groups[index].chunks[leaf]) for index in fragment.row_groups for leaf in leaves]
        needed = sum(chunk.stop - chunk.start for _, chunk in found)
        if needed > self._max_bytes:
            raise self._too_large(path, needed)
        return tuple(found)

    def _decode(self, loaded: _Loaded) -> Iterator[pa.RecordBatch]:
        fragment, path = loaded.fragment, loaded.fragment.path
        sizes = self._page_sizes(loaded)
        step = self._step(loaded, sizes)
        rows = 0
        try:
            for batch in self._parsed(loaded, step):
                batch.validate(full=True)  # text that is not UTF-8, indices out of range
                shaped = self._shaped(batch)
                self._decoded += shaped.nbytes
                if self._decoded > self._max_bytes:
                    raise self._too_large(path, self._decoded)
                rows += shaped.num_rows
                yield shaped
        except BatchscoreError:
            raise
        except PARSER_ERRORS as error:
            raise corrupt(path, parser_fact(error)) from None
        if rows != fragment.rows:
            raise corrupt(path, f"it holds {rows} rows where its footer says {fragment.rows}")

    def _parsed(self, loaded: _Loaded, step: int) -> Iterator[pa.RecordBatch]:
        file = pq.ParquetFile(
            pa.BufferReader(loaded.buffer),
            metadata=loaded.footer.metadata,
            read_dictionary=list(loaded.coded),
            pre_buffer=False,
            page_checksum_verification=True,
        )
        # By index, since ParquetFile's own choice by name also takes a column `a.b` for `a`.
        yield from file.reader.iter_batches(
            step,
            row_groups=list(loaded.fragment.row_groups),
            column_indices=list(loaded.footer.leaves_of(self._columns)),
            use_threads=False,
        )

    def _page_sizes(self, loaded: _Loaded) -> dict[int, list[PageSizes]]:
        path, buffer = loaded.fragment.path, loaded.buffer
        sizes: dict[int, list[PageSizes]] = {}
        try:
            for leaf, chunk in loaded.chunks:
                codec = chunk.codec if leaf in loaded.texts else None
                content = buffer.slice(chunk.start, chunk.stop - chunk.start)
                sizes.setdefault(leaf, []).append(page_sizes(content, codec=codec))
        except ValueError as error:
            raise corrupt(path, f"the headers of its pages are damaged: {parser_fact(error)}") from None
        pages = [each for chunks in sizes.values() for each in chunks]
        declared = sum(each.uncompressed_bytes for each in pages)
        if declared > self._max_bytes:
            raise self._too_large(path, declared)
        if not all(each.all_have_checksums for each in pages):
            self._unchecked.append(path)
        return sizes

    def _step(self, loaded: _Loaded, sizes: dict[int, list[PageSizes]]) -> int:
        """Return how many rows may be decoded at once: each could be the longest text of its column."""
        longest = max((each.longest_coded for leaf in loaded.texts for each in sizes[leaf]), default=0)
        return max(1, min(self._batch_rows, BURST_BYTES // max(longest, 1)))

    def _shaped(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [self._text(name, batch.column(batch.schema.get_field_index(name))) for name in self._columns]
        return pa.RecordBatch.from_arrays(arrays, names=list(self._columns))

    def _text(self, name: str, array: pa.Array) -> pa.Array:
        """Give text its one layout, whatever layout the file has."""
        if not is_text(array.type):
            return array
        if name not in self._dictionary:
            plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
            return plain.cast(pa.string())
        coded = array if pa.types.is_dictionary(array.type) else array.cast(pa.string()).dictionary_encode()
        if coded.type == _DICTIONARY:
            return coded
        return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), coded.dictionary.cast(pa.string()))

    def _too_large(self, path: str, decoded: int) -> ContractError:
        declared = self._partition.decoded_bytes
        return ContractError(
            f"'{path}' decodes to more than the {self._max_bytes} bytes of partition.max_bytes: {self._partition.name} "
            f"declares {declared} bytes and stands at {decoded}",
            slug="DECODED-SIZE",
            remedy="have the file checked at its source, or raise partition.max_bytes if it is right",
            path=path,
            declared_bytes=declared,
            decoded_bytes=decoded,
            max_bytes=self._max_bytes,
        )


def _codable(footer: ParsedFooter, groups: Sequence[int], wanted: Collection[str]) -> Iterator[str]:
    """Yield the wanted columns of text that pyarrow can read as dictionaries out of these row groups."""
    for field, leaves in zip(footer.schema, footer.leaves, strict=True):
        if field.name in wanted and is_text(field.type):
            chunks = (footer.groups[group].chunks[leaves[0]] for group in groups)
            if not any(chunk.encodings & _NEVER_CODED for chunk in chunks):
                yield field.name


def _memory(size: int, ranges: Sequence[tuple[int, int]]) -> mmap.mmap:
    """Return zeros, of which those that nobody touches cost nothing; long ranges that will be touched lie in large pages.

    A large page is one fault instead of 512; not every system has them.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    for start, stop in ranges:
        if stop - start >= _LARGE:
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            with suppress(AttributeError, OSError):
                memory.madvise(mmap.MADV_HUGEPAGE, first, stop - first)
    return memory


def digest_of_ranges(path: str, ranges: Sequence[Sequence[int]]) -> str:
    """Return the sha256 over byte ranges of a file, as an `InputRange` has it.

    Raises:
        SnapshotCorrupt: When the file is gone, or shorter than the ranges.
    """
    digest = hashlib.sha256()
    try:
        for start, stop in ranges:
            for at in range(start, stop, _HASHED_AT_ONCE):
                digest.update(sources.read(path, at, min(at + _HASHED_AT_ONCE, stop)))
    except FileNotFoundError:
        raise vanished(path) from None
    return digest.hexdigest()


def _check_unmoved(path: str, before: sources.Stat, seen: Sequence[sources.Stat]) -> None:
    if any(each != before for each in seen):
        raise changed(path, "its size, version, time of change or inode moved")


def _check_same(fragment: Fragment, found: sources.Stat) -> None:
    if found.size != fragment.size:
        raise changed(fragment.path, f"it had {fragment.size} bytes and has {found.size}")
    if found.version != fragment.object_version:
        raise changed(fragment.path, "its object version is another")


def _ranges(
    fragment: Fragment, footer: ParsedFooter, chunks: Sequence[tuple[int, Chunk]]
) -> tuple[tuple[tuple[int, int], ...], bool]:
    merged: list[list[int]] = []
    for start, stop in sorted((chunk.start, chunk.stop) for _, chunk in chunks if chunk.start < chunk.stop):
        if merged and start - merged[-1][1] <= GAP:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    needed = sum(stop - start for start, stop in merged)
    if fragment.rows == footer.metadata.num_rows and needed >= WHOLE * fragment.size:
        return ((0, fragment.size),), True
    return tuple((start, stop) for start, stop in merged), False


def _digest(view: memoryview, ranges: Sequence[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    for start, stop in ranges:
        digest.update(view[start:stop])
    return digest.hexdigest()


def _bytes(batches: Sequence[pa.RecordBatch]) -> int:
    return sum(batch.nbytes for batch in batches)
