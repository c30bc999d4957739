"""Compiling a date's model: by hand, or after a publish in a process of its own that can do the run no harm."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from batchscore import model, sources
from batchscore.check import Checked, load_schema, versions
from batchscore.compiled import beside_artifact, find_compiled, record_of
from batchscore.config import RunConfig
from batchscore.errors import BatchscoreError
from batchscore.logs import logger
from batchscore.model import ModelOptions
from batchscore.model.compiled import name_of
from batchscore.schema import FeatureSchema
from batchscore.store import open_store

WAIT_SECONDS = 60.0
"""The longest that a run waits, after its publish, for the process that compiles its model."""

_log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A compiled model, not yet kept anywhere."""

    content: bytes
    """The file."""
    made: Mapping[str, Any]
    """What it is made of."""
    proof: Mapping[str, Any]
    """How it was proven."""
    path: str
    """Where it belongs beside the artifact."""

    @property
    def sha256(self) -> str:
        """sha256 of the file."""
        return hashlib.sha256(self.content).hexdigest()


def compile_now(config: RunConfig, options: ModelOptions, schema: FeatureSchema) -> Compiled:
    """Load a model the ordinary way and compile it in this process.

    Raises:
        ModelError: When the model can not be loaded.
        NotCompilable: When it does not compile.
    """
    from batchscore.model.compiled import proof_of
    from batchscore.model.compiled.making import compile_model

    made = find_compiled(config, options, schema, versions()).made
    loaded = model.load_artifact(options, schema, read=sources.read)
    content = compile_model(loaded, made)
    return Compiled(content=content, made=made, proof=proof_of(content), path=beside_artifact(options.path, made))


def compile_after(checked: Checked) -> None:
    """After a publish, have the model compiled for later runs, where nobody has tried; never raises.

    Args:
        checked: The date that was published.
    """
    if not checked.model.way.untried:
        return
    config = checked.config.model_dump(mode="json", by_alias=True)
    try:
        # Noted first: a process that takes too long, or too much memory, would do so every night.
        if not _begin(checked):
            return
        _log.info("compiling the model for later runs", model_sha256=checked.model.sha256[:12])
        done = subprocess.run(
            [sys.executable, "-m", "batchscore.compiling"],
            input=json.dumps({"config": config, "date": checked.day.isoformat()}).encode(),
            capture_output=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
    # A signal too: the date is published, and nothing is left undone that decides a bit.
    except (OSError, subprocess.SubprocessError, BatchscoreError) as error:
        _log.warning("the model was not compiled", error=type(error).__name__)
        return
    if done.returncode:
        _log.warning("the model was not compiled", exit_code=done.returncode)
    else:
        _log.info("model compiled", result=done.stdout.decode(errors="replace").strip())


def _begin(checked: Checked) -> bool:
    config = checked.config
    made = find_compiled(config, checked.model.options, checked.schema, versions()).made
    return open_store(config.output.path, config.output.mode).begin_compiling(name_of(made))


def main() -> None:
    """Compile what stdin asks for and keep it in the output root: the process that `compile_after` starts."""
    from batchscore.model.compiled.making import NotCompilable

    asked = json.load(sys.stdin)
    config = RunConfig.model_validate_json(json.dumps(asked["config"]))
    options = model.resolve_model(config.model, date.fromisoformat(asked["date"]))
    schema, _ = load_schema(config)
    store = open_store(config.output.path, config.output.mode)
    made = find_compiled(config, options, schema, versions()).made
    try:
        found = compile_now(config, options, schema)
    except NotCompilable as reason:
        store.keep_compiled(name_of(made), {"why": str(reason), "made_of": made}, b"")
        print(reason)  # noqa: T201 - told to the run that waits
        return
    store.keep_compiled(name_of(made), record_of(found.sha256, made, found.proof), found.content)
    print(found.sha256)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
