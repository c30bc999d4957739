"""Ids are hashed by value, compared exactly, and merged in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore import ids, kernel
from batchscore.ids import merging

TEXTS = st.lists(st.text(max_size=40), max_size=30)


def _scalar_hash(text: str) -> int:
    """Hash one text plainly, as the vectorised code claims to."""
    content = text.encode()
    high = low = len(content) ^ 0x9E3779B97F4A7C15
    words = [int.from_bytes(content[at : at + 8], "little") for at in range(0, len(content), 8)]
    for index, word in enumerate([0, *words]):
        low = _mix(low ^ word if index else low, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
        high = _mix(high ^ word if index else high, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
    return (high << 64) | low


def _mix(value: int, first: int, second: int) -> int:
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * first) & mask
    value = ((value ^ (value >> 27)) * second) & mask
    return value ^ (value >> 31)


@given(TEXTS)
@settings(max_examples=25, deadline=None)
def test_vectorised_hash_is_the_plain_one(texts: list[str]) -> None:
    """Every text hashes as the plain definition says, and the digest is their sum."""
    hashes = ids.hash_ids(pa.array(texts, pa.string()))

    combined = [(int(high) << 64) | int(low) for high, low in zip(hashes.high, hashes.low, strict=True)]
    assert combined == [_scalar_hash(text) for text in texts]
    assert hashes.digest() == sum(combined) % (1 << 128)


@given(TEXTS, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9), st.integers(0, 3))
@pytest.mark.usefixtures("needs_kernel")
def test_compiled_hashes_are_numpys(texts: list[str], numbers: list[int], skipped: int) -> None:
    """The compiled library and numpy hash alike, in a slice too, and where the text ends with its last byte."""
    columns = [pa.array(texts, pa.string()), pa.array(texts, pa.large_string()), pa.array(numbers, pa.int64())]
    for column in (each.slice(skipped) for each in columns):
        compiled = ids.hash_ids(column)
        with kernel.without():
            plain = ids.hash_ids(column)
        np.testing.assert_array_equal(compiled.low, plain.low)
        np.testing.assert_array_equal(compiled.high, plain.high)


@pytest.mark.parametrize(("at_once", "most"), [(10_000, 100), (100_000, 1)], ids=["in windows", "whole"])
def test_all_runs_move_on_together(monkeypatch: pytest.MonkeyPatch, at_once: int, most: int) -> None:
    """Each round takes some of every run; a round for each read, or for each run that ends, would be a hundred and more."""
    chance, rounds = np.random.default_rng(0), []
    runs = [np.sort(chance.integers(0, 2**63, 1_000).astype(np.uint64)) for _ in range(100)]
    repeated = merging._repeated
    monkeypatch.setattr(merging, "_repeated", lambda taken: rounds.append(len(taken)) or repeated(taken))

    assert list(ids.merge_ranges(runs, at_once=at_once)) == []
    assert len(rounds) <= most


@pytest.mark.parametrize("offsets", [[0, 9], [-1, 2], [2, 1]])
@pytest.mark.usefixtures("needs_kernel")
def test_offsets_outside_of_the_text_are_refused(offsets: list[int]) -> None:
    """A column whose offsets are damaged is an error, and nothing beyond its text is read."""
    with pytest.raises(ValueError, match="damaged"):
        kernel.hash_texts(np.array(offsets, dtype=np.int32), np.zeros(4, dtype=np.uint8))


def test_hash_never_changes() -> None:
    """Stored digests stay comparable: these numbers are part of the format."""
    assert hex(ids.hash_ids(pa.array(["", "a", "customer-00000001"])).digest()) == TEXT_DIGEST
    assert hex(ids.hash_ids(pa.array([0, -1, 2**62])).digest()) == NUMBER_DIGEST


TEXT_DIGEST = "0x3543b39f818053f4f1f1290ac06c66ba"
NUMBER_DIGEST = "0xaff4a95238dac8439028b28383c69c31"


@given(TEXTS, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_layout_and_order_do_not_count(texts: list[str], random: object) -> None:
    """Chunks, slices, dictionaries, wide offsets and views hash alike, and the digest forgets the order."""
    plain = pa.array(texts, pa.string())
    wanted = ids.hash_ids(plain)
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    for other in (
        plain.cast(pa.large_string()),
        plain.cast(pa.string_view()),
        plain.dictionary_encode(),
        pa.concat_arrays([pa.array(["x", "yy"]), plain, pa.array(["z"])]).slice(2, len(plain)),
        pa.chunked_array([plain.slice(0, 3), plain.slice(3)]),
    ):
        np.testing.assert_array_equal(ids.hash_ids(other).low, wanted.low)
        np.testing.assert_array_equal(ids.hash_ids(other).high, wanted.high)
    assert ids.hash_ids(pa.array(shuffled, pa.string())).digest() == wanted.digest()


def test_numbers_hash_by_value() -> None:
    """The width of a whole number does not count; text of the same digits is another id."""
    numbers = [0, 1, 100]
    wanted = ids.hash_ids(pa.array(numbers, pa.int64())).sorted.tolist()

    assert ids.hash_ids(pa.array(numbers, pa.int8())).sorted.tolist() == wanted
    assert ids.hash_ids(pa.array(numbers, pa.uint64())).sorted.tolist() == wanted
    assert not set(ids.hash_ids(pa.array(["0", "1", "100"])).sorted.tolist()) & set(wanted)
    with pytest.raises(TypeError, match="double"):
        ids.hash_ids(pa.array([1.0]))


@given(st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.text(max_size=3)), max_size=40))
@settings(max_examples=80, deadline=None)
def test_bad_ids_are_found_exactly(values: list[str | None]) -> None:
    """Nulls and duplicates are what a plain loop finds."""
    bad = ids.find_bad_ids(pa.array(values, pa.string()))

    first: dict[str, int] = {}
    pairs = [(row, first.setdefault(value, row)) for row, value in enumerate(values) if value is not None]
    assert bad.nulls.tolist() == [row for row, value in enumerate(values) if value is None]
    assert list(zip(bad.duplicates.tolist(), bad.first.tolist(), strict=True)) == [(r, f) for r, f in pairs if r != f]


def test_equal_hashes_are_no_duplicates() -> None:
    """A collision within a partition is not reported: the ids themselves decide."""
    column = pa.array(["a", "b", "a"])
    same = ids.IdHashes(high=np.zeros(3, np.uint64), low=np.zeros(3, np.uint64))

    assert ids.find_bad_ids(column, same).duplicates.tolist() == [2]


@given(
    st.lists(st.lists(st.integers(0, 60) | st.sampled_from([2**64 - 2, 2**64 - 1]), max_size=25), max_size=6),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_merge_finds_what_a_dictionary_finds(runs: list[list[int]], at_once: int) -> None:
    """Whatever the window, the merged candidates are all hashes in two or more runs, ascending."""
    sorted_runs = [np.sort(np.array(run, np.uint64)) for run in runs]

    found = list(ids.merge_ranges(sorted_runs, at_once=at_once))

    owners = {value: tuple(k for k, run in enumerate(runs) if value in run) for run in runs for value in run}
    assert [(each.hash, each.partitions) for each in found] == sorted((v, o) for v, o in owners.items() if len(o) > 1)


def test_merge_reads_little_at_once() -> None:
    """Memory is bounded by the window and not by the runs, also through byte ranges."""
    reads = []

    def reader(values: np.ndarray) -> ids.ByteRun:
        content = values.astype("<u8").tobytes()

        def read(start: int, stop: int) -> bytes:
            reads.append(stop - start)
            return content[start:stop]

        return ids.ByteRun(read, len(values))

    runs = [ids.hash_ids(pa.array(range(k * 5_000, (k + 1) * 5_000 + (k == 2)))).sorted for k in range(8)]
    found = list(ids.merge_ranges([reader(run) for run in runs], at_once=800))

    assert [each.partitions for each in found] == [(2, 3)]
    assert max(reads) <= 800
    assert sum(reads) >= 8 * 5_000 * 8 - 8 * 800


def test_confirm_names_rows_and_drops_collisions() -> None:
    """Only ids that are really equal are reported; the twin without the ids' own comparison would report both."""
    columns = [pa.array(["a", "b", "c"]), pa.array(["d", "b"]), pa.array(["e", "c"])]
    hash_b, hash_d = (int(ids.hash_ids(pa.array([text])).low[0]) for text in "bd")
    candidates = [
        ids.Candidate(hash=hash_b, partitions=(0, 1)),
        ids.Candidate(hash=hash_d, partitions=(1, 2)),  # as if "e" had the hash of "d"
    ]

    found = ids.confirm(candidates, lambda partition: columns[partition])

    assert found == (ids.Duplicate(partition=0, row=1, other_partition=1, other_row=1),)
    assert ids.confirm(candidates[1:], lambda partition: columns[partition]) == ()
    assert ids.confirm([], lambda partition: columns[partition]) == ()
