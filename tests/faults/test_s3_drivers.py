"""Whole drivers on a real S3 server: inputs, model, schema and outputs all live there."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import obstore
import pyarrow as pa
import pytest
import yaml
from driving import DATE, KILLED, Driver, Ended, Project, make_project, run, start
from faulty import Faults, at_random, faulty, in_order
from s3_server import BUCKET, Server

import batchscore
from batchscore import sources, transit
from batchscore.store import Store, effects, lease, objects, open_store

OTHER = ("run", "--set", "postprocess.threshold=0.9")
FIRST = f"-in/data/{DATE}/part-000"
SAME = ("manifest.json", "summary_metrics.json")


@dataclass(frozen=True)
class InS3:
    """A project whose files are objects; only its configuration is a file."""

    project: Project
    """Where drivers run."""
    url: str
    """The output root."""
    server: Server
    """The server: drivers are forked from a process that may have started under another one."""

    def run(self, *argv: str, before: Callable[..., object] | None = None, **env: str) -> Ended:
        """Run a command to its end."""
        return run(self.project, *argv, env={**self.server.environment, **env}, before=before)

    def start(self, *argv: str, env: Mapping[str, str], before: Callable[..., object] | None) -> Driver:
        """Start a command."""
        return start(self.project, *argv, env={**self.server.environment, **env}, before=before)

    @property
    def store(self) -> Store:
        """The store at the output root."""
        return open_store(self.url)

    def documents(self) -> dict[str, object]:
        """Return what must be the same after every execution of the plan."""
        published = self.store.published(DATE)
        parts = {path: digest for path, (digest, _) in published.files().items() if path.endswith(".parquet")}
        return {"parts": parts, **{name: published.document(name) for name in SAME}}


@contextmanager
def another(first: InS3, folder: Path) -> Iterator[InS3]:
    """Give a project of the same inputs, with an output root of its own."""
    config = yaml.safe_load((first.project.root / "config/run.yaml").read_text())
    config["output"]["path"] = f"s3://{BUCKET}/{uuid4().hex}"
    (folder / "config").mkdir(parents=True)
    (folder / "config/run.yaml").write_text(yaml.safe_dump(config))
    yield InS3(Project(folder), config["output"]["path"], first.server)


@pytest.fixture
def world(server: Server, fast_path: Path) -> InS3:
    """Give a project of 4 partitions in S3."""
    return in_s3(server, make_project(fast_path / "project", files=2, groups=2))


def in_s3(server: Server, project: Project) -> InS3:
    """Move a project's files into S3."""
    url = server.url()
    bucket = objects.client(url.rpartition("/")[0])
    for path in sorted(project.root.rglob("*")):
        if path.is_file():
            obstore.put(bucket, f"{url.rpartition('/')[2]}-in/{path.relative_to(project.root)}", path.read_bytes())
    config = yaml.safe_load((project.root / "config/run.yaml").read_text())
    config["snapshot"]["path"] = f"{url}-in/data/{{date}}"
    config["schema"] = f"{url}-in/config/schema.yaml"
    config["model"]["path"] = f"{url}-in/models/m_v1.0.0.joblib"
    config["output"]["path"] = url
    (project.root / "config/run.yaml").write_text(yaml.safe_dump(config))
    return InS3(project, url, server)


def test_a_whole_run(world: InS3) -> None:
    """All of a run in S3: published, verified, replayed, read by others, and a second run finds it done."""
    first = world.run()
    again = world.run()
    verified = world.run("verify")
    replayed = world.run("replay")
    table = batchscore.read_published(world.url, DATE, engine="arrow")

    assert first.status == 0, first.stderr
    assert "nothing to do" in again.stdout
    assert (verified.status, replayed.status) == (0, 0), verified.stderr + replayed.stderr
    assert "SAME" in replayed.stdout
    assert isinstance(table, pa.Table)
    assert table.num_rows == 80
    assert world.store.published(DATE).document("metadata.json")["retried_partitions"] == 0


def runs_through_faults(
    world: InS3, server: Server, folder: Path, rounds: int, rate: float, counts: Counter[str]
) -> None:
    """Run drivers through a proxy that misbehaves until one says it is done; look at the result without it."""
    assert world.run().status == 0
    wanted = world.documents()
    for seed in range(rounds):
        faults = Faults(choose=at_random(seed, rate))
        with another(world, folder / f"{seed}") as target, faulty(server.address, faults) as address:
            for _ in range(8):
                ended = target.run(AWS_ENDPOINT_URL=address)
                assert ended.status in (0, 23), ended.stderr[-3000:]
                counts[f"exit {ended.status}"] += 1
                if ended.status == 0:
                    break
            assert target.documents() == wanted
            assert target.store.verify(DATE).problems == ()
            counts["retried partitions"] += target.store.published(DATE).document("metadata.json")["retried_partitions"]
        counts["runs"] += 1
        counts["faults"] += sum(faults.injected.values())


def test_a_bit_that_flips_on_the_way(server: Server, fast_path: Path) -> None:
    """Damage that a second reading does not see costs a retry, which the metadata counts, and no run."""
    world = in_s3(server, make_project(fast_path / "project", files=2))
    model, first = ("GET", "m_v1.0.0"), ("GET", FIRST)
    bad, good = "flipped-byte", None
    # The driver asks for the listing and for a footer until two answers agree; a worker for the whole small file, at once.
    listing, planned = (
        [("GET", "list-type", bad)],
        [(*first, bad), (*first, "flipped-writer"), (*first, good), (*first, good)],
    )
    scored = [(*first, "flipped-writer"), (*first, bad)]
    script = [(*model, bad), *listing, *planned, *scored]
    faults = Faults(choose=in_order(script))
    with faulty(server.address, faults) as address:
        ended = world.run(AWS_ENDPOINT_URL=address)

    assert ended.status == 0, ended.stderr
    assert script == []
    assert faults.injected == {"flipped-byte": 4, "flipped-writer": 2}
    assert world.store.published(DATE).document("metadata.json")["retried_partitions"] == 1


def believe_the_first_answer() -> None:
    """Read a footer once, whatever comes."""
    transit.read_surely = sources.read


def test_the_twin_that_reads_a_footer_once(server: Server, fast_path: Path) -> None:
    """A damaged footer that parses is planned with, and the run ends in 13 for a file that is whole."""
    world = in_s3(server, make_project(fast_path / "project", files=2))
    faults = Faults(choose=in_order([("GET", FIRST, "flipped-writer")]))
    with faulty(server.address, faults) as address:
        ended = world.run(AWS_ENDPOINT_URL=address, before=believe_the_first_answer)

    assert faults.injected == {"flipped-writer": 1}
    assert ended.status == 13, ended.stderr


@pytest.mark.timeout(300)
def test_some_drivers_through_faults(
    world: InS3, server: Server, fast_path: Path, figures: Callable[..., None]
) -> None:
    """Whole drivers through 3 % of each kind of fault end with the same bytes, after retryable codes at worst."""
    counts: Counter[str] = Counter()
    runs_through_faults(world, server, fast_path, 2, 0.03, counts)

    assert counts["faults"] > 0
    figures(**counts)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_twenty_drivers_through_faults(
    world: InS3, server: Server, fast_path: Path, figures: Callable[..., None]
) -> None:
    """The same, 20 times, with 5 % of each kind."""
    counts: Counter[str] = Counter()
    runs_through_faults(world, server, fast_path, 20, 0.05, counts)

    assert counts["runs"] == 20
    figures(**counts)


def without_lease() -> None:
    """Take the lease away: it is there to save work, and nothing may rest on it."""
    lease._acquire = lambda *_: None


def _race(target: InS3, drivers: list[Driver], tally: Counter[str]) -> None:
    """Poll as a reader until all drivers have ended; one run is published, whole, and stays."""
    seen: set[str] = set()
    while any(driver.alive for driver in drivers):
        tally["polls"] += 1
        if target.store.head(DATE):
            published = target.store.published(DATE)
            for path, (sha256, _) in published.files().items():
                published.read(path, sha256)
            seen.add(published.commit.run)
    ended = [driver.wait() for driver in drivers]
    assert {each.status for each in ended} <= {0, 14, 21, KILLED}, [each.stderr[-2000:] for each in ended]
    for each in ended:
        tally[f"exit {each.status}"] += 1
        tally["no-op"] += "nothing to do" in each.stdout
    assert target.run().status in (0, 14)
    assert len(target.store.commits(DATE)) == 1
    assert seen <= {target.store.head(DATE).run}
    assert target.store.verify(DATE).problems == ()


def pairs(world: InS3, folder: Path, rounds: int, *, seed: int = 3) -> Counter[str]:
    """Run pairs of drivers: of the same plan, of two plans, and with one killed; half of them without the lease."""
    chance, tally = random.Random(seed), Counter[str]()
    assert world.run().status == 0
    wanted = world.documents()
    for number in range(rounds):
        with another(world, folder / f"pair-{number}") as target:
            kind = number % 3
            kill = {effects.KILL_AT: str(chance.randint(1, 60))} if kind == 2 else {}
            before = without_lease if number % 2 else None
            drivers = [
                target.start(env=kill, before=before),
                target.start(*(OTHER if kind == 1 else ()), env={}, before=before),
            ]
            _race(target, drivers, tally)
            if kind != 1:
                assert target.documents() == wanted
        tally["pairs"] += 1
    return tally


@pytest.mark.timeout(300)
def test_some_pairs(world: InS3, fast_path: Path, figures: Callable[..., None]) -> None:
    """In 3 pairs of whole drivers on S3 one run is published each time."""
    tally = pairs(world, fast_path, 3)

    assert tally["pairs"] == 3
    figures(**tally)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_thirty_pairs(world: InS3, fast_path: Path, figures: Callable[..., None]) -> None:
    """In 30 pairs of whole drivers on S3 one run is published each time, and each way to lose was seen."""
    tally = pairs(world, fast_path, 30)

    assert tally["exit 14"] > 0
    assert tally["no-op"] + tally["exit 21"] > 0
    figures(**tally)
