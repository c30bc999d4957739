"""Bits that flip on the way from a store cost another reading; bits that are wrong at their source are named."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchscore import ingest, plan, retries, sources, transit
from batchscore.errors import SnapshotCorrupt, StorageFailed
from batchscore.ingest import footers

PATH = "s3://bucket/day.parquet"
WRITER = b"parquet-cpp-arrow"
Damage = Callable[[int, bytes], bytes]


class Store:
    """One object behind a real HTTP server, whose answers may be damaged on the way."""

    def __init__(self) -> None:
        self.content = b""
        self.damage: Damage = lambda _, answer: answer
        self.asked = 0
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                start, stop = 0, len(store.content)
                found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if found:
                    start, stop = int(found[1]), min(int(found[2]) + 1, stop)
                answer = store.content[start:stop]
                if self.command == "GET":
                    store.asked += 1
                    answer = store.damage(store.asked, answer)
                self.send_response(206 if found else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(store.content)}")
                self.send_header("ETag", '"one"')
                self.send_header("Last-Modified", "Fri, 08 Feb 2013 00:00:00 GMT")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(answer)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Serve a parquet file as an object."""
    running = Store()
    path = tmp_path / "day.parquet"
    pq.write_table(pa.table({"id": list(range(500)), "x": [0.5] * 500}), path, write_page_checksum=True)
    running.content = path.read_bytes()
    thread = threading.Thread(target=running.server.serve_forever, args=(0.05,))
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{running.server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
    }.items():
        monkeypatch.setenv(name, value)
    footers._kept.cache_clear()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def flipped(answer: bytes, place: int) -> bytes:
    """Return the answer with one bit of one byte changed."""
    return answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]


def writer_flipped(*times: int) -> Damage:
    """Damage the writer's name in a footer in some answers: it still parses, and is another footer."""
    return lambda at, answer: flipped(answer, answer.index(WRITER)) if at in times and WRITER in answer else answer


def read_rows() -> int:
    """Read the listed partition, and count its rows."""
    listed = ingest.list_snapshot(PATH, ["id", "x"])
    [partition] = plan.split([each.file for each in listed], 1000)
    reader = ingest.PartitionReader(partition, ["id", "x"], max_bytes=10**6)
    return sum(batch.num_rows for batch in reader.batches())


def test_a_footer_that_parses_though_damaged_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A footer is what two answers in a row say; its twin, read once, would be planned with."""
    true = ingest.list_snapshot(PATH, None)
    for damaged in ((1,), (2,), (1, 3)):
        store.asked, store.damage = 0, writer_flipped(*damaged)

        assert ingest.list_snapshot(PATH, None) == true

    store.asked, store.damage = 0, writer_flipped(1)
    monkeypatch.setattr(transit, "read_surely", sources.read)

    assert ingest.list_snapshot(PATH, None)[0].file.footer_sha256 != true[0].file.footer_sha256


def test_a_footer_that_never_agrees_is_the_stores_fault(store: Store) -> None:
    """Other bytes each time are code 23, which is tried again, and not a corrupt file."""
    store.damage = lambda at, answer: flipped(answer, answer.index(WRITER) + at % 3)

    with pytest.raises(StorageFailed, match="something else") as caught:
        ingest.list_snapshot(PATH, None)

    assert caught.value.exit_code == 23


def test_damaged_data_is_read_until_it_is_whole(store: Store) -> None:
    """However many readings in a row were damaged, each in its own way."""
    whole, tries = store.content, []
    good = ingest.list_snapshot(PATH, None)
    [partition] = plan.split([each.file for each in good], 1000)

    def once() -> int:
        tries.append(1)
        damaged = len(tries) <= 3
        store.damage = lambda _, answer: flipped(answer, 40 + len(tries)) if damaged and answer == whole else answer
        reader = ingest.PartitionReader(partition, ["id", "x"], max_bytes=10**6)
        return sum(batch.num_rows for batch in reader.batches())

    with retries.counted() as further:
        rows = transit.doubted(PATH, once, SnapshotCorrupt)

    assert (rows, len(tries), further.count) == (500, 4, 3)


def test_what_is_damaged_at_its_source_is_named(store: Store) -> None:
    """The same bytes twice are the file's own: corrupt, code 13, without a fourth reading."""
    store.content = flipped(store.content, 40)
    tries = []

    def once() -> int:
        tries.append(1)
        return read_rows()

    with pytest.raises(SnapshotCorrupt) as caught:
        transit.doubted(PATH, once, SnapshotCorrupt)

    assert (caught.value.exit_code, len(tries)) == (13, 3)


def test_data_that_never_agrees_is_the_stores_fault(store: Store) -> None:
    """Damage that is another each time says nothing about the file."""
    listed = ingest.list_snapshot(PATH, None)
    [partition] = plan.split([each.file for each in listed], 1000)
    whole = store.content
    store.damage = lambda at, answer: flipped(answer, 30 + at) if answer == whole else answer

    def once() -> None:
        list(ingest.PartitionReader(partition, ["id", "x"], max_bytes=10**6).batches())

    with pytest.raises(StorageFailed, match="other bytes"):
        transit.doubted(PATH, once, SnapshotCorrupt)


def test_files_are_not_doubted(tmp_path: Path) -> None:
    """A file system is asked once, and believed."""
    asked = []

    def once() -> None:
        asked.append(1)
        raise SnapshotCorrupt("it is corrupt", slug="CORRUPT")

    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with pytest.raises(SnapshotCorrupt):
        transit.doubted(str(path), once, SnapshotCorrupt)

    assert len(asked) == 1
    assert transit.read_surely(str(path), 1) == b"bc"


@pytest.mark.parametrize(
    ("answers", "read"),
    [([b"good"], b"good"), ([b"gooe", b"good"], b"good"), ([b"a", b"b", b"good"], b"good"), ([b"a", b"a", b"c"], b"a")],
    ids=["whole", "damaged-once", "damaged-twice", "another-file"],
)
def test_a_pinned_file_is_read_until_it_is_it(answers: list[bytes], read: bytes) -> None:
    """Or until two answers in a row agree that it is another one; the caller says so."""
    given = iter(answers)

    assert transit.read_pinned("model", hashlib.sha256(b"good").hexdigest(), lambda _: next(given)) == read


def test_a_pinned_file_that_never_agrees_is_the_stores_fault() -> None:
    """No refusal of a model rests on bytes that no two answers had."""
    given = iter(range(100))

    with pytest.raises(StorageFailed, match="other bytes"):
        transit.read_pinned("model", "0" * 64, lambda _: str(next(given)).encode())
