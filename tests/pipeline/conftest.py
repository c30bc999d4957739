"""A command line that starts at once, and a small pipeline to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import forked_cli
import pytest
import small_world
from faults.conftest import fast_path, figures
from forked_cli import ForkedCli
from small_world import World

__all__ = ["cli", "fast_path", "figures"]


@pytest.fixture(scope="session")
def cli() -> Iterator[ForkedCli]:
    """Runs the real command line in forks of one warm process."""
    with forked_cli.forked_cli() as server:
        yield server


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small pipeline, made once; never to be changed."""
    root = tmp_path_factory.mktemp("small-world") / "pristine"
    root.mkdir()
    small_world.build(root)
    return root


@pytest.fixture
def world(cli: ForkedCli, pristine: Path, tmp_path: Path) -> World:
    """A small pipeline of this test's own."""
    return small_world.copy(pristine, tmp_path / "world", cli)


@pytest.fixture
def another_world(cli: ForkedCli, pristine: Path, tmp_path: Path) -> Callable[[str], World]:
    """Makes further small pipelines by name."""
    return lambda name: small_world.copy(pristine, tmp_path / name, cli)
