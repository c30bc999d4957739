"""The locked requirements: complete, hashed, in agreement, and without an address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("bench", "build", "compiler", "dev", "runtime")
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? *\\?$")


def pins(lock: str) -> dict[str, set[str]]:
    """Give the versions that a lock file pins, by canonical name; a name has several where markers differ."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines():
        if line.startswith(" "):
            continue
        pin = PIN.fullmatch(line)
        assert pin, f"not a pin: {line}"
        found.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    return found


def declared() -> dict[str, list[str]]:
    """Give what pyproject.toml asks for, by the lock that must satisfy it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    runtime = project["project"]["dependencies"]
    extras = [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    plain = {name: [entry for entry in group if isinstance(entry, str)] for name, group in groups.items()}
    # The peers of the benchmarks are installed apart; who develops has a C compiler, or does without.
    apart = {name: plain.pop(name) for name in ("bench", "compiler")}
    everything = [*runtime, *extras, *(text for group in plain.values() for text in group)]
    return {"runtime": runtime, "build": plain["build"], "dev": everything, **apart}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_what_the_project_declares(lock):
    """Every declared requirement is pinned, at a version that it allows."""
    pinned = pins(lock)
    wrong = [
        text
        for text in declared()[lock]
        for need in [Requirement(text)]
        if not any(need.specifier.contains(version) for version in pinned.get(canonicalize_name(need.name), ()))
    ]

    assert wrong == []


@pytest.mark.parametrize("lock", ["build", "runtime"])
def test_locks_agree(lock):
    """The smaller locks hold the versions of the whole one, so that an image runs what the tests ran."""
    whole = pins("dev")

    assert {name: versions for name, versions in pins(lock).items() if not versions <= whole.get(name, set())} == {}


def test_peers_compute_with_the_same_libraries():
    """What decides bits and speed is the same for batchscore and for whom it is measured against."""
    ours, theirs = pins("dev"), pins("bench")
    shared = ("dask", "distributed", "joblib", "numpy", "pandas", "polars", "pyarrow", "scikit-learn", "scipy")

    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_hashed(lock):
    """No pin stands without a sha256."""
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    pairs = zip(lines, [*lines[1:], ""], strict=True)

    assert [line for line, following in pairs if line[:1] != " " and "--hash=sha256:" not in following] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(lock):
    """Where packages come from is the machine's business."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()

    assert re.findall(r"://|--index|--find-links|^#.*$| @ |file:", text, flags=re.MULTILINE) == []
