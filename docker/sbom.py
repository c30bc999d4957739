"""Print a CycloneDX bill of materials of the environment that runs this file, sorted, without a clock or a random id."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from typing import Any


def component(distribution: metadata.Distribution) -> dict[str, Any]:
    """Describe one installed distribution: name, version, package URL, and its licence as declared."""
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
    version = distribution.version
    declared = distribution.metadata.get("License-Expression") or distribution.metadata.get("License") or ""
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "purl": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
    }
    if declared and "\n" not in declared:
        entry["licenses"] = [{"license": {"name": declared}}]
    return entry


def bill() -> dict[str, Any]:
    """Return the whole bill."""
    components = [component(distribution) for distribution in metadata.distributions()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "batchscore", "version": metadata.version("batchscore")}
        },
        "components": sorted(components, key=lambda entry: entry["bom-ref"]),
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")
