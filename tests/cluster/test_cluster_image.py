"""The image that docker/Dockerfile makes: what is in it, what is not, and that it comes out the same twice."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenes
from node.layout import CACHE
from timeline import RECORD, tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1000, func_only=True)]

HERE = Path(__file__).resolve().parent
IMAGE = "localhost/batchscore:test"
TOOLS = {"gcc", "g++", "cc", "c++", "cpp", "ld", "as", "make", "cmake", "rustc", "go", "clang"}


@pytest.fixture(scope="module")
def store(built: None) -> Iterator[tuple[str, ...]]:
    """Give a buildah command on the store of the images."""
    with tempfile.TemporaryDirectory(prefix="bsimages") as running:
        yield (
            "buildah",
            "--root",
            str(CACHE / "images" / "store"),
            "--runroot",
            running,
            "--storage-driver",
            "overlay",
        )


def _said(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def bill(built: None, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bill of materials that its own target writes."""
    folder = tmp_path_factory.mktemp("sbom")
    _said(HERE / "images.sh", "sbom", folder)
    return (folder / "sbom.cdx.json").read_bytes()


@pytest.fixture(scope="module")
def root(store: tuple[str, ...], bill: bytes) -> Iterator[Path]:
    """Mount the image's file system; after all building, which would end the mount."""
    container = _said(*store, "from", "--pull-never", IMAGE)
    yield Path(_said(*store, "mount", container))
    _said(*store, "umount", container)
    _said(*store, "rm", container)


def _layers(store: tuple[str, ...], image: str) -> list[str]:
    found: list[str] = json.loads(_said(*store, "inspect", "--type", "image", image))["OCIv1"]["rootfs"]["diff_ids"]
    return found


def test_same_layers_twice(store: tuple[str, ...]) -> None:
    """The same commit on the same base, built once more from nothing, gives the same layers."""
    first = _layers(store, IMAGE)
    _said(HERE / "images.sh", "again")
    tell("the image is built again without any cache")
    again = _layers(store, "localhost/batchscore:again")
    _said(*store, "rmi", "localhost/batchscore:again")

    assert first == again
    assert len(first) > 1


def test_non_root_and_labels(store: tuple[str, ...]) -> None:
    """The image runs as 10001, by an entrypoint that becomes its arguments, and says what it is."""
    config = json.loads(_said(*store, "inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}

    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/opt/batchscore/bin/entrypoint"]
    assert (labels["title"], labels["version"], len(labels["revision"])) == ("batchscore", "0.1.0", 40)


def test_no_compiler_no_cache(root: Path) -> None:
    """No compiler and no cache is left, all is compiled to bytecode, nothing of ours belongs to the user who runs it."""
    folders = ("bin", "usr/bin", "usr/local/bin", "sbin", "usr/sbin", "opt/batchscore/bin")
    programs = {path.name for folder in folders for path in (root / folder).iterdir() if (root / folder).is_dir()}
    caches = [
        path
        for path in ("root/.cache", "tmp/.cache", "var/cache/apt/archives", "var/lib/apt/lists")
        if _files(root / path)
    ]
    sources = list((root / "opt/batchscore/lib").rglob("site-packages/**/*.py"))
    bare = [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))]
    writable = [
        path
        for path in (root / "opt").rglob("*")
        if not path.is_symlink() and (path.stat().st_uid or path.stat().st_mode & 0o022)
    ]
    size = int(_said("du", "-sm", root).split()[0])
    own = int(_said("du", "-sm", root / "opt").split()[0])
    RECORD.figures["size, unpacked"] = f"{size} MiB, of which the base {size - own} MiB and /opt/batchscore {own} MiB"

    assert not programs & TOOLS
    assert caches == []
    assert len(sources) > 1000
    assert [path for path in bare if "site-packages/batchscore/" in str(path)] == []
    assert len(bare) < len(sources) / 50, bare[:20]
    assert writable == []
    assert own < 900


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size] if folder.is_dir() else []


def test_bill_of_materials(root: Path, bill: bytes) -> None:
    """The bill names every installed distribution with its version, and the target of its own writes the same bytes."""
    listed = {entry["purl"] for entry in json.loads(bill)["components"]}
    (packages,) = (root / "opt/batchscore/lib").glob("python3*/site-packages")
    installed = set()
    for info in packages.glob("*.dist-info/METADATA"):
        head = dict(
            line.split(": ", 1)
            for line in info.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
            if ": " in line
        )
        installed.add(f"pkg:pypi/{head['Name'].lower().replace('_', '-').replace('.', '-')}@{head['Version']}")
    RECORD.figures["packages in the bill of materials"] = str(len(listed))

    assert listed == installed
    assert (root / "opt/batchscore/share/sbom.cdx.json").read_bytes() == bill


def test_start_time(installed: None) -> None:
    """How long the image takes to start: the pod, the command line, and all that a run imports; on a read-only root."""
    commands = {
        "batchscore --version": ["batchscore", "--version"],
        "batchscore --help": ["batchscore", "--help"],
        "import of all that a run needs": [
            "python3",
            "-c",
            "import batchscore.run, batchscore.cluster.launched, sklearn.pipeline",
        ],
    }
    code = (
        "import json,subprocess,sys,time\n"
        "def seconds(command):\n"
        "    began=time.monotonic(); subprocess.run(command,check=True,stdout=subprocess.DEVNULL)\n"
        "    return round(time.monotonic()-began,2)\n"
        "print(json.dumps({name:[seconds(c) for _ in range(3)] for name,c in json.loads(sys.argv[1]).items()}))"
    )
    job = scenes.start("start-time", "python3", "-c", code, json.dumps(commands))
    scenes.finished(job)
    (pod,) = scenes.drivers(job)
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    found = json.loads(scenes.log(job))
    RECORD.figures["pod created → process started"] = (
        f"{_seconds(pod['metadata']['creationTimestamp'], state['startedAt']):.0f} s (image on the node)"
    )
    for name, each in found.items():
        RECORD.figures[f"`{name}`" if name.startswith("b") else name] = (
            f"{min(each):.2f} s (first time {each[0]:.2f} s)"
        )

    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert min(found["batchscore --version"]) < 5


def _seconds(first: str, last: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
