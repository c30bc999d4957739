"""What the fault tests share: a fast folder, and the figures that they leave behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from batchscore.store import objects

if TYPE_CHECKING:
    from s3_server import Server


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """Give an empty folder, in memory where the system has such: these tests make and drop many thousand files."""
    shared = "/dev/shm"
    path = Path(tempfile.mkdtemp(prefix="batchscore-", dir=shared if os.access(shared, os.W_OK) else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Give a function that notes what was tried and what happened, for the table of `docs/reliability.md`."""

    def note(**numbers: object) -> None:
        request.node.user_properties.append(("figures", numbers))

    return note


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> Iterator[Server]:
    """Run a real S3 server, and have this process find it."""
    from object_servers import minio_path
    from s3_server import serving

    if not minio_path().exists():
        missing("minio")
    with serving(tmp_path_factory.mktemp("minio") / "data") as running, pytest.MonkeyPatch.context() as patched:
        for name, value in running.environment.items():
            patched.setenv(name, value)
        objects.client.cache_clear()
        yield running
    objects.client.cache_clear()
