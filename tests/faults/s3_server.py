"""A real S3 server for the tests, with one bucket, and the settings by which a client finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from object_servers import PASSWORD, USER, minio

BUCKET = "batchscore-tests"


@dataclass(frozen=True)
class Server:
    """A running S3 server."""

    address: str
    """Where it listens."""
    environment: dict[str, str]
    """What the platform tells a client."""

    def url(self) -> str:
        """Return an empty output root."""
        return f"s3://{BUCKET}/{uuid4().hex}"


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run MinIO with one bucket over an empty folder."""
    (folder / BUCKET).mkdir(parents=True)
    with minio(folder) as address:
        environment = {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "PYTHONPATH": ":".join(str(Path(__file__).parents[level]) for level in (0, 1)) + ":src",
        }
        yield Server(address, environment)
