"""An existing scheduler at an address, with mutual TLS: the same bytes as local threads, and no stranger gets in."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from driving import Project, finished_partitions, make_project, metadata, published, run, same_inputs, start, until
from servers import free_port


def write_identity(folder: Path, name: str) -> dict[str, str]:
    """Write a certificate authority of its own and a certificate that it signed; return the three paths."""
    folder.mkdir()
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in ("ca", "peer")}
    subject = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {who}")]) for who in keys}
    now = datetime.now(UTC)
    for who, key in keys.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject[who])
            .issuer_name(subject["ca"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=5))
            .add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
        )
        certificate = builder.sign(keys["ca"], hashes.SHA256())
        (folder / f"{who}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = keys["peer"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    return {
        "ca_file": str(folder / "ca.pem"),
        "cert_file": str(folder / "peer.pem"),
        "key_file": str(folder / "key.pem"),
    }


class Cluster:
    """A scheduler and its workers, started by Dask's own command line."""

    def __init__(self, project: Project, tls: dict[str, str]) -> None:
        self.address = f"tls://127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._log = project.root / "cluster.log"
        self._folder = project.root
        self._tls = [
            *("--tls-ca-file", tls["ca_file"]),
            *("--tls-cert", tls["cert_file"]),
            *("--tls-key", tls["key_file"]),
        ]

    def start(self, *line: str) -> subprocess.Popen[bytes]:
        """Start a process of the cluster."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *line, *self._tls],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler."""
        port = self.address.rpartition(":")[2]
        line = ("scheduler", "--host", "tls://127.0.0.1", "--port", port, "--no-dashboard", "--dashboard-address", ":0")
        return self.start(*line)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one worker without a nanny."""
        line = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--dashboard-address", ":0", "--death-timeout", "60")
        return self.start("worker", self.address, "--host", "127.0.0.1", *line)

    def is_up(self) -> bool:
        """Whether the scheduler listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.address.rpartition(":")[2]))) == 0


@contextmanager
def cluster_of(project: Project, tls: dict[str, str], workers: int) -> Iterator[Cluster]:
    """Run a scheduler and so many workers until the block ends."""
    cluster = Cluster(project, tls)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        until(cluster.is_up)
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.kill()
            process.wait()


def options(cluster: Cluster, tls: dict[str, str] | None, *, minutes: float = 1, workers: int = 2) -> tuple[str, ...]:
    """Return the command that runs on a cluster."""
    keys = {"kind": "address", "address": cluster.address, "workers": workers, "start_minutes": minutes}
    keys |= {f"tls.{name}": path for name, path in (tls or {}).items()}
    return ("run", *(part for key, value in keys.items() for part in ("--set", f"cluster.{key}={value}")))


@pytest.fixture
def project(fast_path: Path) -> Project:
    """A project of 8 partitions."""
    return make_project(fast_path / "project")


@pytest.mark.timeout(300)
def test_a_cluster_elsewhere_gives_the_same_bytes(project: Project, fast_path: Path):
    """With mutual TLS a run on an existing cluster publishes what local threads do; strangers are refused with 22."""
    assert run(project).status == 0
    wanted = published(project)
    tls = write_identity(fast_path / "tls", "ours")
    foreign = write_identity(fast_path / "foreign", "theirs")
    with same_inputs(project, fast_path / "other") as other, cluster_of(other, tls, 2) as cluster:
        ended = run(other, *options(cluster, tls))
        assert ended.status == 0, ended.stderr[-3000:]
        assert ended.stdout.startswith("proof (dev)")
        assert published(other) == wanted
        assert metadata(other)["workers"] == 2

        again = ("--set", "postprocess.threshold=0.9", "--republish", "--reason", "test")
        stranger = run(other, *options(cluster, foreign, minutes=0.1), *again)
        assert stranger.status == 22
        assert "no Dask scheduler answers" in stranger.told[0]
        plain = options(cluster, None, minutes=0.1)
        bare = run(other, *(part.replace("tls://", "tcp://") for part in plain), *again)
        assert bare.status == 22
        assert len(other.store.commits("2013-02-08")) == 1


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_lost_scheduler_is_a_code_and_the_run_goes_on(project: Project, fast_path: Path):
    """A scheduler that is killed and does not come back is code 22 in time; what was finished is kept."""
    tls = write_identity(fast_path / "tls", "ours")
    with cluster_of(project, tls, 2) as cluster:
        driver = start(project, *options(cluster, tls, minutes=0.2), before=slow_tasks)
        until(lambda: finished_partitions(project) >= 2)
        cluster.processes[0].send_signal(signal.SIGKILL)
        begun = time.monotonic()
        ended = driver.wait(100)

    assert ended.status == 22, ended.stderr[-3000:]
    assert time.monotonic() - begun < 0.2 * 60 + 30
    finished = finished_partitions(project)
    assert run(project).status == 0
    assert metadata(project)["reused_partitions"] == finished >= 2


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_workers_that_all_leave_are_a_code(project: Project, fast_path: Path):
    """A scheduler elsewhere would wait for workers for ever: the driver does not."""
    tls = write_identity(fast_path / "tls", "ours")
    with cluster_of(project, tls, 2) as cluster:
        driver = start(project, *options(cluster, tls, minutes=0.2), before=slow_tasks)
        until(lambda: finished_partitions(project) >= 2)
        for worker in cluster.processes[1:]:
            worker.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        ended = driver.wait(100)

    assert ended.status == 22, ended.stderr[-3000:]
    assert "no worker was left" in ended.told[-3]
    assert time.monotonic() - begun < 0.2 * 60 + 30


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_scheduler_that_comes_back_is_used_again(project: Project, fast_path: Path):
    """A scheduler that is killed and started again at its address gets the missing partitions."""
    tls = write_identity(fast_path / "tls", "ours")
    with cluster_of(project, tls, 2) as cluster:
        driver = start(project, *options(cluster, tls, minutes=1), before=slow_tasks)
        until(lambda: finished_partitions(project) >= 2)
        scheduler = cluster.processes[0]
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        cluster.start_scheduler()
        cluster.start_worker()
        cluster.start_worker()
        ended = driver.wait(150)

    assert ended.status == 0, ended.stderr[-3000:]
    assert 0 < ended.event("cluster lost")["missing"] < 8
    assert project.store.verify("2013-02-08").problems == ()


def slow_tasks() -> None:
    """Have the tasks take their time on the workers, who do not share this process."""
    import functools

    from batchscore import gather

    gather.attempt = functools.partial(late, gather.attempt)


def late(attempt, job, partition):
    """Run a task after a pause."""
    time.sleep(0.7)
    return attempt(job, partition)
