"""Bytes come from files and object stores alike, and no secret comes with an error."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import stamina

from batchscore import retries, sources
from batchscore.errors import ConfigError, StorageFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a directory with visible and hidden files."""
    for name in ("b.parquet", "a.parquet", "sub/c.parquet", "_SUCCESS", ".hidden", "_tmp/d.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_lists_sorted_without_hidden(folder: Path) -> None:
    """A directory is its visible files, sorted, under the path as it was given."""
    found = sources.list_files(f"{folder}/")

    assert [file.path for file in found] == [f"{folder}/{name}" for name in ("a.parquet", "b.parquet", "sub/c.parquet")]
    assert [file.size for file in found] == [9, 9, 13]
    assert found[0] == sources.stat(f"{folder}/a.parquet")


def test_lists_a_file_as_itself(folder: Path) -> None:
    """A file is its own listing, and a missing path has none."""
    assert sources.list_files(f"{folder}/_SUCCESS") == (sources.stat(f"{folder}/_SUCCESS"),)
    assert sources.list_files(f"{folder}/none") == ()


@pytest.mark.parametrize("log", ["_delta_log", ".hoodie"])
@pytest.mark.parametrize("path", ["", "/sub", "/date=2013-02-08", "/date=2013-02-08/hour=3"])
def test_a_table_is_no_folder_of_files(tmp_path: Path, log: str, path: str) -> None:
    """The files of a table hold rows that were removed from it: neither it, what holds it, nor its partition is a snapshot."""
    table = tmp_path / "sub" if path == "/sub" else tmp_path
    snapshot = tmp_path if path == "/sub" else Path(f"{tmp_path}{path}")
    (table / log).mkdir(parents=True)
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "a.parquet").write_bytes(b"a")

    with pytest.raises(ConfigError, match=f"'{table}' is a table of .* by '{log}' alone") as caught:
        sources.list_files(str(snapshot))

    assert caught.value.slug == "TABLE"
    assert sources.list_files(f"{snapshot}/a.parquet")


def test_follows_symlinks_once(folder: Path) -> None:
    """Files behind symlinked folders are data too; a link to a folder above ends."""
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "zlink").symlink_to(folder / "sub")

    names = [file.path.removeprefix(f"{folder}/") for file in sources.list_files(str(folder))]

    assert names == ["a.parquet", "b.parquet", "sub/c.parquet", "zlink/c.parquet"]


def test_dangling_link_is_no_silence(folder: Path) -> None:
    """A link that leads nowhere is not left out silently."""
    (folder / "gone.parquet").symlink_to(folder / "nowhere")

    with pytest.raises(FileNotFoundError):
        sources.list_files(str(folder))


def test_pipe_is_refused(folder: Path) -> None:
    """A named pipe neither hangs nor counts as data."""
    os.mkfifo(folder / "pipe.parquet")

    with pytest.raises(ConfigError, match="not a regular file"):
        sources.list_files(str(folder))
    with pytest.raises(ConfigError, match="not a regular file"):
        sources.read(f"{folder}/pipe.parquet", 0, 4)


def test_reads_ranges(tmp_path: Path) -> None:
    """Ranges land at their own places, and the rest stays untouched."""
    path = tmp_path / "x"
    path.write_bytes(bytes(range(100)))
    buffer = bytearray(100)

    seen = sources.read_into(str(path), [(3, 5), (90, 100)], memoryview(buffer))

    assert set(seen) == {sources.stat(str(path))}
    assert bytes(buffer) == bytes(3) + bytes([3, 4]) + bytes(85) + bytes(range(90, 100))
    assert sources.read(str(path)) == bytes(range(100))
    assert sources.read(str(path), 95, 200) == bytes(range(95, 100))


def test_transient_error_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input error that passes is not seen; one that stays is code 23; one that never passes is not retried."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    calls, real = [], os.preadv

    def flaky(*args: object) -> int:
        calls.append(args)
        if len(calls) < 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)  # type: ignore[arg-type]

    def broken(*args: object) -> int:
        calls.append(args)
        raise PermissionError(errno.EACCES, "Permission denied")

    with stamina.set_testing(True, attempts=5, cap=True):
        monkeypatch.setattr(os, "preadv", flaky)
        with retries.counted() as further:
            content = sources.read(str(path), 0, 3)
        calls.clear()
        monkeypatch.setattr(os, "preadv", broken)
        with pytest.raises(StorageFailed, match="Permission denied") as caught:
            sources.read(str(path), 0, 3)

    assert content == b"abc"
    assert further.count == 2
    assert len(calls) == 1
    assert (caught.value.exit_code, caught.value.id) == (23, "E-STORAGE-READ")


def test_missing_file_keeps_its_class(tmp_path: Path) -> None:
    """A missing file is for the caller to name."""
    with pytest.raises(FileNotFoundError):
        sources.read(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        sources.stat(str(tmp_path / "none"))


def test_a_symlink_that_leads_to_itself_is_missing(tmp_path: Path) -> None:
    """It leads nowhere: no storage failure that another try may pass."""
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(FileNotFoundError):
        sources.stat(str(tmp_path / "round"))


def test_store_without_an_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store's client lacks is told at once, with code 23: no try is repeated, and nothing is sent."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    for look in (sources.list_files, sources.stat):
        with pytest.raises(StorageFailed, match=r"'abfs://container/x' can not be read: .*[Aa]ccount") as caught:
            look("abfs://container/x")
        assert caught.value.exit_code == 23


def test_unknown_store_is_refused() -> None:
    """A store that is not understood is a wrong configuration."""
    with pytest.raises(ConfigError, match="unknown store 'ftp'"):
        sources.list_files("ftp://user/x")


@pytest.mark.parametrize(
    "text",
    [
        "GET https://b.s3/x.parquet?X-Amz-Signature=SECRET&X-Amz-Credential=SECRET failed",
        "Authorization: Bearer SECRET",
        '{"aws_secret_access_key": "SECRET"}',
        "<AWSAccessKeyId>SECRET</AWSAccessKeyId>",
        "sig=SECRET token: SECRET",
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    """Query strings and what looks like a secret do not survive."""
    assert "SECRET" not in sources.redact(text)


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><AWSAccessKeyId>SECRETID</AWSAccessKeyId></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def refusing_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve an object store that refuses everything."""
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _use_store(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def _use_store(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "SECRETID",
        "AWS_SECRET_ACCESS_KEY": "SECRETKEY",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("refusing_store")
def test_refusal_tells_no_secret() -> None:
    """A store that refuses is code 23, once, without the server's body of secrets."""
    with pytest.raises(StorageFailed) as caught:
        sources.read("s3://bucket/x.parquet", 0, 10)

    assert "SECRET" not in str(caught.value)
    assert "bucket/x.parquet" in str(caught.value)
    assert "403" in str(caught.value) or "denied" in str(caught.value).lower()
    assert caught.value.__cause__ is None


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Serve a fake S3 with one bucket."""
    moto = pytest.importorskip("moto.server")
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _use_store(monkeypatch, f"http://{host}:{port}")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    server.stop()


@pytest.mark.filterwarnings("ignore")
def test_a_table_in_an_object_store_is_no_snapshot(bucket: object) -> None:
    """A table is told by its log in an object store too, and so is its partition."""
    part = "s3://bucket/table/date=2013-02-08"
    bucket.put_object(Bucket="bucket", Key="table/date=2013-02-08/a.parquet", Body=b"a")  # type: ignore[attr-defined]
    plain = [sources.list_files(path) for path in ("s3://bucket/table", part)]
    bucket.put_object(Bucket="bucket", Key="table/_delta_log/0.json", Body=b"{}")  # type: ignore[attr-defined]

    assert [[file.path for file in found] for found in plain] == [[f"{part}/a.parquet"]] * 2
    for path in ("s3://bucket/table", part):
        with pytest.raises(ConfigError, match="'s3://bucket/table' is a table of Delta Lake"):
            sources.list_files(path)


@pytest.mark.filterwarnings("ignore")
def test_object_store_reads_as_files_do(bucket: object) -> None:
    """Listing, looking and reading behave as on a file system, with the object's tag as its version."""
    for name in ("b.parquet", "a.parquet", "sub/c.parquet", "_SUCCESS", "_tmp/d"):
        bucket.put_object(Bucket="bucket", Key=f"day/{name}", Body=name.encode() * 10)  # type: ignore[attr-defined]
    bucket.put_object(Bucket="bucket", Key="days/x", Body=b"x")  # type: ignore[attr-defined]
    found = sources.list_files("s3://bucket/day")
    buffer = bytearray(90)
    seen = sources.read_into("s3://bucket/day/a.parquet", [(0, 9), (81, 90)], memoryview(buffer))
    bucket.put_object(Bucket="bucket", Key="day/a.parquet", Body=b"other")  # type: ignore[attr-defined]

    assert [file.path.removeprefix("s3://bucket/day/") for file in found] == ["a.parquet", "b.parquet", "sub/c.parquet"]
    assert sources.list_files("s3://bucket/day/b.parquet") == (found[1],)
    assert sources.list_files("s3://bucket/none") == ()
    assert set(seen) == {found[0]}
    assert bytes(buffer) == b"a.parquet" + bytes(72) + b"a.parquet"
    assert sources.read("s3://bucket/day/b.parquet", 9, 18) == b"b.parquet"
    assert sources.stat("s3://bucket/day/a.parquet").version != found[0].version
    with pytest.raises(FileNotFoundError):
        sources.read("s3://bucket/day/none")
