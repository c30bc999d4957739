"""The operator's own schema of a DaskCluster, as its package ships it, with unknown fields forbidden.

The API server drops a field that this schema does not know without a word; here it is an error before anything is created.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchscore.errors import ConfigError


def check(cluster: Mapping[str, Any]) -> None:
    """Check a DaskCluster against the operator's own schema, with unknown fields forbidden.

    Raises:
        ConfigError: With the path and the fact of every violation.
    """
    from jsonschema import Draft7Validator

    violations = sorted(
        f"{'.'.join(str(step) for step in error.absolute_path)}: {error.message[:200]}"
        for error in Draft7Validator(_schema()).iter_errors({"spec": cluster["spec"]})
    )
    if violations:
        raise ConfigError(
            f"cluster.kubernetes makes a DaskCluster that the operator refuses: {'; '.join(violations)}",
            slug="DASKCLUSTER",
            remedy="the keys inside are Kubernetes' own, as the operator's CRD knows them (about those of Kubernetes 1.21)",
        )


@functools.cache
def _schema() -> dict[str, Any]:
    """Return the schema of a DaskCluster as the operator ships it, closed to unknown fields."""
    import importlib.util

    import yaml

    found = importlib.util.find_spec("dask_kubernetes")  # not imported: that takes a second and starts kopf
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "the package dask-kubernetes, which ships the operator's schema, is not installed",
            slug="NO-OPERATOR-SCHEMA",
            remedy="install batchscore with its locked requirements",
        )
    charts = Path(found.submodule_search_locations[0], "operator", "deployment", "helm")
    path = charts / "dask-kubernetes-operator" / "crds" / "daskcluster.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader
    schema: dict[str, Any] = dict(_closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))
    return schema


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = dict(_entries(node))
    if "properties" in node and "additionalProperties" not in node and not _is_open(node):
        closed["additionalProperties"] = False
    return closed


def _entries(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        # `properties` maps names to schemas: a field may itself be called `properties`.
        yield key, {name: _closed(inner) for name, inner in value.items()} if key == "properties" else _closed(value)


def _is_open(node: Mapping[str, Any]) -> bool:
    return bool(node.get("x-kubernetes-preserve-unknown-fields"))
