"""A tool that is not there: skipped and named by `make test`, an error where all must be there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NEEDS = "def test_needs(require):\n    require('no-such-tool')\n\n\ndef test_has(require):\n    assert require('sh')\n"


@pytest.fixture
def run(tmp_path):
    """Run a project of two tests, with the conftest of this one, in an environment of its own."""
    (tmp_path / "tests").mkdir()
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests/test_it.py").write_text(NEEDS)

    def run(**variables):
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("BATCHSCORE_", "PYTEST_"))}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        return subprocess.run(command, cwd=tmp_path, env=plain | variables, text=True, capture_output=True, check=False)

    return run


def test_a_missing_tool_is_skipped_and_named(run):
    """The run passes, and its last words say what was not tested."""
    done = run()

    assert (done.returncode, "1 passed, 1 skipped" in done.stdout) == (0, True), done.stdout
    assert "NOT TESTED ON THIS MACHINE" in done.stdout
    assert "1 tests skipped for want of no-such-tool" in done.stdout


def test_a_missing_tool_fails_where_all_must_be_there(run):
    """No skip is taken for a pass on the machine that judges."""
    done = run(BATCHSCORE_TESTS_REQUIRE_ALL="1")

    assert (done.returncode, "1 failed, 1 passed" in done.stdout) == (1, True), done.stdout
    assert "missing tool: no-such-tool" in done.stdout
