"""The folder that an example is built in: whole files, and a note of the recipe they were made by."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import yaml

STAMP = ".built.json"
BUILT = ("config", "data", "artifacts")
"""What a build makes; outputs are made by runs and are not a build's to remove."""


def recipe(code: Path, **choices: object) -> dict[str, str]:
    """Give all that decides the built bytes: the example's code, the libraries' versions and the choices made."""
    digest = hashlib.sha256()
    for file in [*sorted(code.glob("*.py")), Path(__file__)]:
        digest.update(file.read_bytes())
    names = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn")
    return (
        {"code": digest.hexdigest()}
        | {name: metadata.version(name) for name in names}
        | {name: str(choice) for name, choice in choices.items()}
    )


def is_built_by(root: Path, wanted: dict[str, str]) -> bool:
    """Say whether the folder was built to its end by this very recipe."""
    stamp = root / STAMP
    return stamp.exists() and json.loads(stamp.read_text()) == wanted


def start_anew(root: Path) -> None:
    """Remove what an earlier recipe built, its note first, so that a half-removed folder is not taken for a built one."""
    (root / STAMP).unlink(missing_ok=True)
    for name in BUILT:
        shutil.rmtree(root / name, ignore_errors=True)


def finish(root: Path, made_by: dict[str, str]) -> None:
    """Note the recipe: from now on the folder counts as built."""
    write_json(root / STAMP, made_by)


def write_model(path: Path, model: object) -> str:
    """Write a fitted estimator and give the sha256 of its file."""
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    write_whole(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document as indented JSON."""
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())


def write_yaml(path: Path, document: dict[str, Any]) -> None:
    """Write a document as YAML, keys in the order given."""
    write_whole(path, yaml.safe_dump(document, sort_keys=False, width=120).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the final name, then rename: the name stands for the whole file or for none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
