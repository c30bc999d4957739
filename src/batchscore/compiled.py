"""Where compiled models lie: beside the artifact when the configuration pins one, else in the output root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from batchscore import __version__, infer
from batchscore.config import RunConfig
from batchscore.errors import BatchscoreError
from batchscore.model import Candidate, ModelOptions
from batchscore.model.compiled import SUFFIX, CompiledFile, beside_name, made_of, name_of
from batchscore.schema import FeatureSchema
from batchscore.store import open_store

NOT_YET = "none was made yet; the first run makes one, and so does `batchscore model compile`"
"""Why there is none where a publish makes one."""


def find_compiled(
    config: RunConfig, options: ModelOptions, schema: FeatureSchema, versions: Mapping[str, str]
) -> Candidate:
    """Return the compiled model that may score, or why there is none; nothing of it is read yet.

    Args:
        config: The resolved configuration.
        options: The model that is valid on the date.
        schema: The feature schema.
        versions: The versions of the libraries that decide bits.
    """
    made = made_of(options, schema, versions, infer.BLOCK_ROWS)
    if options.compiled.mode == "off":
        return Candidate(made=made, file=None, why="model.compiled.mode is off")
    if options.compiled.sha256 is not None:
        file = CompiledFile(path=beside_artifact(options.path, made), sha256=options.compiled.sha256)
        return Candidate(made=made, file=file, why="")
    try:
        store = open_store(config.output.path)
        record = store.compiled(name_of(made))
    except (BatchscoreError, OSError) as error:
        return Candidate(made=made, file=None, why=f"its record can not be read: {error}")
    if record is None:
        return Candidate(made=made, file=None, why=NOT_YET, untried=True)
    if "model_sha256" not in record:
        return Candidate(made=made, file=None, why=f"the model was not compiled: {record['why']}")
    digest = record["model_sha256"]
    return Candidate(
        made=made, file=CompiledFile(path=store.compiled_path(name_of(made), digest), sha256=digest), why=""
    )


def beside_artifact(path: str, made: Mapping[str, Any]) -> str:
    """Return where a pinned compiled model lies: in the artifact's folder, named after it.

    Examples:
        >>> made = {"artifact_sha256": "0a" * 32, "compiler": 1, "output": "value"}
        >>> beside_artifact("s3://models/flights_v1.joblib", made)
        's3://models/flights_v1-0a0a0a0a0a0a-c1-5ffd7d00.compiled'
    """
    folder, _, file = path.rpartition("/")
    name = f"{beside_name(PurePosixPath(file).stem, made)}{SUFFIX}"
    return f"{folder}/{name}" if folder or path.startswith("/") else name


def record_of(sha256: str, made: Mapping[str, Any], proof: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a compiled model."""
    return {"model_sha256": sha256, "made_of": made, "proof": proof, "batchscore": __version__}
