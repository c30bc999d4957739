"""Makes a JSON Schema of a dashboard from Grafana's own types: `make dashboard-schema`.

The types are those of `@grafana/schema` (Apache License 2.0), put together in `board.ts`; the lock file pins them and
the generator. An interface of TypeScript becomes a closed object, so a key that Grafana does not know is refused.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCHEMA = HERE / "board.schema.json"


def schema(folder: Path) -> str:
    """Return the text of the schema, made in `folder` with what the lock file names.

    Raises:
        subprocess.CalledProcessError: npm cannot install what the lock names, or a type is not to be had.
    """
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__", SCHEMA.name))
    _run(folder, "npm", "ci", "--loglevel=error")
    _run(folder, "npm", "exec", "--", "ts-json-schema-generator", "--path=board.ts", "--type=Board", "--out=made.json")
    made = _undescribed(json.loads((folder / "made.json").read_text(encoding="utf-8")))
    return json.dumps({"$comment": origin(), **made}, indent=1, sort_keys=True) + "\n"


def origin() -> str:
    """Return where the schema comes from, with the versions that package.json pins."""
    pinned = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    queries = pinned["grafana-schema-10"].rpartition("@")[2]
    return (
        f"Made by `make dashboard-schema` from the types of @grafana/schema {pinned['@grafana/schema']}, and of {queries} "
        f"for queries of Prometheus (Copyright Grafana Labs, Apache License 2.0; descriptions are left out), "
        f"with ts-json-schema-generator {pinned['ts-json-schema-generator']}."
    )


def _run(folder: Path, *command: str) -> None:
    program = shutil.which(command[0])
    if program is None:
        sys.exit(f"{command[0]} is not on PATH")
    subprocess.run([program, *command[1:]], cwd=folder, check=True)  # noqa: S603 - the lock's packages, by hash


def _undescribed(node: Any) -> Any:
    """Return a part of a schema without the texts about it; a property may be called `description`, too."""
    if isinstance(node, list):
        return [_undescribed(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _undescribed(item) for key, item in node.items() if key != "description" or not isinstance(item, str)}


if __name__ == "__main__":
    SCHEMA.write_text(schema(ROOT / "build" / "grafana"), encoding="utf-8")
    print(f"  {SCHEMA.relative_to(ROOT)}")
