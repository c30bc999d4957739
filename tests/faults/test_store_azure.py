"""The object form on Azure's blob store, by way of its emulator: a whole life of a date, and races of one key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import NoReturn
from uuid import uuid4

import pytest
from object_servers import azurite, azurite_path
from storing import DATE, make_plan, run, whole_run

from batchscore.errors import OutputExists
from batchscore.store import Store, objects, open_store
from batchscore.store.probe import creates

ACCOUNT = "devstoreaccount1"
PUBLISHED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's key, the same for everybody and in its documentation."""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> Iterator[None]:
    """Run Azurite with one container, and tell the client of it as the platform does."""
    if not azurite_path().exists():
        missing("azurite")
    folder = tmp_path_factory.mktemp("azurite") / "data"
    folder.mkdir()
    with azurite(folder) as address, pytest.MonkeyPatch.context() as patched:
        _make_container(address, "tests")
        patched.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
        patched.setenv("AZURITE_BLOB_STORAGE_URL", address)
        patched.setenv("AZURE_ALLOW_HTTP", "true")
        objects.client.cache_clear()
        yield
    objects.client.cache_clear()


@pytest.fixture
def store(emulator: None) -> Store:
    """Give an empty store."""
    return open_store(f"abfs://tests/{uuid4().hex}")


def _make_container(address: str, name: str) -> None:
    headers = f"x-ms-date:{formatdate(usegmt=True)}\nx-ms-version:2021-08-06"
    text = "PUT" + "\n" * 12 + f"{headers}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signed = base64.b64encode(hmac.digest(base64.b64decode(PUBLISHED_KEY), text.encode(), hashlib.sha256)).decode()
    request = urllib.request.Request(f"{address}/{ACCOUNT}/{name}?restype=container", data=b"", method="PUT")
    for line in (*headers.split("\n"), f"Authorization:SharedKey {ACCOUNT}:{signed}"):
        request.add_header(*line.split(":", 1))
    request.add_header("Content-Type", "")
    with urllib.request.urlopen(request, timeout=20):
        pass


def test_life_of_a_date(store: Store):
    """A date is published, found done, refused to another plan, republished, and verifies."""
    first = whole_run(store, make_plan("0.7"), 3)
    again = whole_run(store, make_plan("0.7"), 3)
    with pytest.raises(OutputExists):
        run(store, make_plan("0.8"), 3)
    second = whole_run(store, make_plan("0.8"), 2, republish=True)

    assert (first.commit, again.done) == (again.commit, True)
    assert second.commit and second.commit.number == 2
    assert store.verify(DATE).problems == ()


def test_one_writer_wins_each_key(store: Store, figures: Callable[..., None]):
    """Of 4 writers of one key exactly one wins, 50 times."""
    with ThreadPoolExecutor(4) as writers:
        wins = [
            sum(writers.map(lambda writer, n=number: creates(store.root, f"race/{n}", b"%d" % writer), range(4)))
            for number in range(50)
        ]

    assert wins == [1] * 50
    figures(races=50, double_wins=0)
