"""Rendering of the chart by the helm that `make tools` fetched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import CHART, ROOT, Helm, Outcome, Render


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run helm; without it the tests are skipped, or fail where everything is required."""
    binary = ROOT / ".tools" / "bin" / "helm"
    if not binary.is_file():
        message = ".tools/bin/helm is missing: `make tools` fetches it"
        if os.environ.get("BATCHSCORE_TESTS_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    home = tmp_path_factory.mktemp("helm")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "none")}

    def run(*arguments: str | Path) -> Outcome:
        done = subprocess.run(
            [str(binary), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        return Outcome(code=done.returncode, output=done.stdout, error=done.stderr)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Render the chart with its CI values and return the objects."""
    cache: dict[tuple[str, ...], str] = {}

    def run(*arguments: str) -> list[dict[str, Any]]:
        if arguments not in cache:
            outcome = helm(
                "template",
                "flights",
                CHART,
                "--namespace",
                "scoring",
                "--values",
                CHART / "ci" / "values.yaml",
                *arguments,
            )
            assert outcome.code == 0, outcome.error
            cache[arguments] = outcome.output
        return [item for item in yaml.safe_load_all(cache[arguments]) if item]

    return run
