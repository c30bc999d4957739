"""The object form over HTTP: no answer but success is trusted, and every byte is checked."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from faulty import Faults, always, at_random, faulty, in_order
from storing import DATE, make_plan, run, whole_run

from batchscore.errors import ConfigError, StorageFailed
from batchscore.store import Store, layout, objects
from batchscore.store.objects import ObjectRoot
from batchscore.store.root import Exists


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run a fake S3; it is good for answers and errors, never the judge of a race."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def through(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Faults], ObjectRoot]]:
    """Give a root behind a proxy with given faults."""
    import urllib.request

    bucket = f"test-{uuid4().hex}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "PAUSES", (0.01, 0.02, 0.02))
    with urllib.request.urlopen(urllib.request.Request(f"{server}/{bucket}", method="PUT"), timeout=20):
        pass
    with ExitStack() as stack:

        def open_through(faults: Faults) -> ObjectRoot:
            monkeypatch.setenv("AWS_ENDPOINT_URL", stack.enter_context(faulty(server, faults)))
            objects.client.cache_clear()
            return ObjectRoot(f"s3://{bucket}/outputs")

        yield open_through
    objects.client.cache_clear()


def scripted(*steps: tuple[str, str, str]) -> Faults:
    """Return faults that happen once each."""
    return Faults(choose=in_order(list(steps)))


@pytest.mark.parametrize("kind", ["lost-answer", "error-after-write", "conflict", "unavailable", "delay"])
def test_own_write_is_never_a_conflict(through: Callable[[Faults], ObjectRoot], kind: str):
    """Whatever the first answers are, our own object is recognised and a phantom conflict is tried again."""
    faults = scripted(("PUT", "key", kind), ("PUT", "key", kind))
    root = through(faults)
    root.create("key", b"mine")

    assert root.read("key") == b"mine"
    assert faults.injected[kind] >= 1


def test_twin_that_trusts_the_client_fails(through: Callable[[Faults], ObjectRoot]):
    """The tests above have teeth: the bare client calls our own write a conflict after a 500."""
    root = through(scripted(("PUT", "key", "error-after-write")))
    with pytest.raises(objects.exceptions.AlreadyExistsError):
        objects.obstore.put(objects.client(root.url), "key", b"mine", mode="create")

    assert root.read("key") == b"mine"


def test_other_object_is_a_conflict(through: Callable[[Faults], ObjectRoot]):
    """Another's object is found, also when the answer that says so is lost."""
    root = through(scripted(("PUT", "key", "delay"), ("PUT", "key", "lost-answer")))
    root.create("key", b"theirs")
    with pytest.raises(Exists) as caught:
        root.create("key", b"mine")

    assert caught.value.found == b"theirs"


def test_flipped_read_back_is_no_conflict(through: Callable[[Faults], ObjectRoot]):
    """Our own object that is read back with a changed byte is read again before anybody is called the winner."""
    root = through(scripted(("PUT", "key", "lost-answer"), ("GET", "key", "flipped-byte")))
    root.create("key", b"mine" * 50)

    assert root.read("key") == b"mine" * 50


def test_unknown_outcome_is_said(through: Callable[[Faults], ObjectRoot]):
    """When the store never answers clearly the outcome is unknown: code 23, and nothing is deleted."""
    root = through(Faults(choose=always("PUT", "key", "unavailable")))
    with pytest.raises(StorageFailed, match="may or may not be written") as caught:
        root.create("key", b"mine")

    assert caught.value.id == "E-STORAGE-OUTCOME-UNKNOWN"


def test_refused_credentials_end_at_once(through: Callable[[Faults], ObjectRoot]):
    """What no further attempt can change is not tried again."""
    faults = Faults(choose=always("PUT", "key", "denied"))
    root = through(faults)
    with pytest.raises(StorageFailed, match="can not be written"):
        root.create("key", b"mine")

    assert faults.injected["denied"] == 1


def test_missing_bucket_is_said(through: Callable[[Faults], ObjectRoot]):
    """A bucket that is not there is code 23, in one line."""
    through(scripted())
    with pytest.raises(StorageFailed, match="can not be written") as caught:
        ObjectRoot("s3://no-such-bucket-here/outputs").create("key", b"mine")

    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "key",
    [
        "commits/2013-02-08/000001.json",
        "part-00001.json",
        "part-00001.ids",
        "part-00001-",
        "pipeline.json",
        "/manifest.json",
    ],
)
def test_own_file_that_always_comes_back_changed_at_first_stays_ours(through: Callable[[Faults], ObjectRoot], key: str):
    """Not even two equal reads of changed bytes make our own file another's: its own digest decides."""
    faults = scripted(("PUT", key, "lost-answer"), *[("GET", key, "flipped-byte")] * 3)
    store = Store(through(faults))
    commit = run(store, make_plan(), 2).commit

    assert faults.injected["flipped-byte"] >= 2
    assert store.commits(DATE) == (commit,)
    assert store.verify(DATE).problems == ()


@pytest.mark.parametrize("kind", ["short-body", "flipped-byte", "lost-answer", "unavailable"])
def test_commit_is_read_right_or_again(through: Callable[[Faults], ObjectRoot], kind: str):
    """A commit record whose bytes change on the way is read again."""
    faults = scripted()
    store = Store(through(faults))
    commit = run(store, make_plan(), 2).commit
    faults.choose = in_order([("GET", "000001.json", kind)] * 2)

    assert store.head(DATE) == commit
    assert faults.injected[kind] == 2


def test_listing_that_leaves_the_newest_out_is_not_believed(
    through: Callable[[Faults], ObjectRoot], monkeypatch: pytest.MonkeyPatch
):
    """The head is asked for by number beyond what is listed."""
    store = Store(through(scripted()))
    run(store, make_plan("0.7"), 1)
    second = run(store, make_plan("0.8"), 1, republish=True).commit
    listing = ObjectRoot.list
    monkeypatch.setattr(ObjectRoot, "list", lambda root, prefix: listing(root, prefix)[:1])

    assert store.head(DATE) == second


def test_probe_passes_once(through: Callable[[Faults], ObjectRoot]):
    """A store that keeps its word passes, and is not probed again."""
    faults = scripted()
    root = through(faults)
    root.probe()
    faults.choose = always("PUT", "", "denied")
    root.probe()

    assert [entry.key for entry in root.list("")] == [f"{layout.PROBES}/obstore-{objects.obstore.__version__}.json"]


def test_probe_asks_again_when_the_store_is_busy(through: Callable[[Faults], ObjectRoot]):
    """A request of the probe that fails more often than the client tries is tried again, as any other is."""
    faults = scripted(*[("HEAD", "tagged", "unavailable")] * 4)
    through(faults).probe()

    assert faults.injected["unavailable"] == 4


@pytest.mark.parametrize(
    ("header", "lack"),
    [("if-none-match", "writers won|was created again"), ("if-match", "`If-Match` names an old version")],
)
def test_probe_refuses_a_store_that_ignores_conditions(through: Callable[[Faults], ObjectRoot], header: str, lack: str):
    """A store or gateway that drops a condition is refused in one line, code 10."""
    root = through(Faults(choose=lambda *_: None, drop_headers=(header,)))
    with pytest.raises(ConfigError, match=lack):
        root.probe()


def test_flat_copy_is_whole_and_says_so_last(through: Callable[[Faults], ObjectRoot]):
    """The date's flat keys are the run's files; a second revision leaves nothing of the first."""
    store = Store(through(scripted()))
    run(store, make_plan("0.7"), 3)
    commit = run(store, make_plan("0.8"), 2, republish=True).commit
    assert commit
    folder = layout.run(commit.run)
    flat = {entry.key.removeprefix(DATE): store.root.read(entry.key) for entry in store.root.list(DATE)}

    assert flat == {entry.key.removeprefix(folder): store.root.read(entry.key) for entry in store.root.list(folder)}
    assert store.verify(DATE).problems == ()


def test_flipped_flat_copy_is_found(through: Callable[[Faults], ObjectRoot]):
    """Verification covers the flat copies too."""
    store = Store(through(scripted()))
    run(store, make_plan(), 2)
    store.root.replace(f"{DATE}/summary_metrics.json", b"{}")
    store.root.replace(f"{DATE}/extra", b"{}")

    assert [problem.path.rpartition("/")[2] for problem in store.verify(DATE).problems] == [
        "extra",
        "summary_metrics.json",
    ]


def test_run_through_random_faults_is_right(through: Callable[[Faults], ObjectRoot], monkeypatch: pytest.MonkeyPatch):
    """With 3 % of each kind of fault a run publishes, is found done the second time, and verifies without the proxy."""
    monkeypatch.setattr(objects, "PAUSES", (0.01,) * 7)
    faults = Faults(choose=at_random(seed=8, rate=0.03))
    store = Store(through(faults))
    first, second = whole_run(store, make_plan(), 4), whole_run(store, make_plan(), 4)
    faults.choose = lambda *_: None

    assert (first.commit, second.done) == (second.commit, True)
    assert faults.injected.total() > 5
    assert store.verify(DATE).problems == ()
