"""Where the chart lies, and how to look at what helm rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "batchscore"
ENVIRONMENTS = ROOT / "helm" / "environments"
RELEASED = ("--set-string", "run.model.version=1.2.0", "--set-string", f"run.model.sha256={'0' * 64}")
OPERATOR = ("--api-versions", "kubernetes.dask.org/v1")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What helm said."""

    code: int
    """Its exit code."""
    output: str
    """stdout."""
    error: str
    """stderr."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The rendered objects."""
        assert self.code == 0, self.error
        return [item for item in yaml.safe_load_all(self.output) if item]


Helm = Callable[..., Outcome]
"""Run helm with these arguments."""
Render = Callable[..., list[dict[str, Any]]]
"""Render the chart with its CI values and more arguments; the objects."""


def one(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """Return the one object of that kind, and of that name if there are several."""
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, [item["metadata"]["name"] for item in objects if item["kind"] == kind]
    return found[0]


def pod_specs(objects: list[dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    """Return every pod's spec by kind and name."""
    specs = {}
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            specs[name] = item["spec"]
        elif item["kind"] == "Job":
            specs[name] = item["spec"]["template"]["spec"]
        elif item["kind"] == "CronJob":
            specs[name] = item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return specs
