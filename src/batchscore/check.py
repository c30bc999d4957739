"""All that can be known without a cluster: one date's inputs, model, contract, plan and output state."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

from batchscore import __version__, infer, ingest, model, sources
from batchscore.config import RunConfig, deciding_keys
from batchscore.errors import ConfigError
from batchscore.infer import BLOCK_ROWS
from batchscore.ingest import Footer
from batchscore.model import ModelRef
from batchscore.parts import ROW_GROUP_ROWS, WRITER
from batchscore.plan import Plan, split
from batchscore.postprocess import RESERVED, check_options
from batchscore.preprocess import check_columns, raise_violations
from batchscore.schema import FeatureSchema, read_schema

DECIDING_LIBRARIES = ("numpy", "pyarrow", "scikit-learn", "scipy", "joblib", "pandas")
"""Libraries whose version may change a bit of the result."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One date, checked: what the driver knows before there is a worker."""

    config: RunConfig
    """The resolved configuration."""
    day: date
    """The snapshot's date."""
    schema: FeatureSchema
    """The feature schema."""
    schema_sha256: str
    """sha256 of the schema file's bytes."""
    snapshot: str
    """The snapshot's path, with the date filled in."""
    footers: tuple[Footer, ...]
    """The snapshot's files, in order."""
    passthrough: tuple[str, ...]
    """Input columns that are carried along, in output order."""
    ignored: tuple[str, ...]
    """Input columns that nobody reads, sorted."""
    plan: Plan
    """What will be read and scored, and the identity of the result."""
    model: ModelRef
    """The verified model."""


def versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that decide bits."""
    return {"batchscore": __version__} | {name: _version(name) for name in DECIDING_LIBRARIES}


def check_date(config: RunConfig, day: date) -> Checked:
    """Check one date: configuration, schema, model, every footer; build the plan.

    The model is verified in a thread of its own while the snapshot is listed, since importing its library takes longer
    than anything else here; an error of the snapshot is reported first.

    Raises:
        BatchscoreError: Of the class and code that the fact has; nothing was started or written.
    """
    schema, schema_sha256 = load_schema(config)
    with ThreadPoolExecutor(max_workers=1) as pool:
        verified = pool.submit(verify_model, config, schema, schema_sha256, day)
        try:
            return _checked(config, day, schema, schema_sha256, verified)
        except BaseException:
            verified.cancel()
            raise


def load_schema(config: RunConfig) -> tuple[FeatureSchema, str]:
    """Read the feature schema and check it against the configuration; return it with its file's sha256.

    Raises:
        ConfigError: When it is missing, no feature schema, or at odds with the configuration.
    """
    path = config.feature_schema
    try:
        content = sources.read(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"the feature schema '{path}' is missing",
            slug="SCHEMA-MISSING",
            remedy="check `schema`; a relative path is relative to the working directory",
        ) from error
    schema = read_schema(content, source=path)
    _check_names(config, schema)
    return schema, sha256(content).hexdigest()


def verify_model(config: RunConfig, schema: FeatureSchema, schema_sha256: str, day: date) -> ModelRef:
    """Verify the model of one date.

    Raises:
        ModelError: When the model is missing, refused or incompatible.
    """
    check_options(config.postprocess, config.calibration, config.model.output)
    return model.verify(config.model, schema, schema_sha256, day, read=sources.read, score=infer.score)


def _checked(
    config: RunConfig, day: date, schema: FeatureSchema, schema_sha256: str, verified: Future[ModelRef]
) -> Checked:
    snapshot = ingest.resolve(config.snapshot.path, day)
    ingest.wait_for_snapshot(config.snapshot, snapshot, day)
    passthrough = config.output.passthrough
    wanted = None if passthrough == "all" else (config.snapshot.id, *schema.names, *passthrough)
    footers = ingest.list_snapshot(snapshot, wanted, allow_empty=config.snapshot.allow_empty)
    present = [column.name for column in footers[0].columns] if footers else []
    carried = tuple(n for n in present if n != config.snapshot.id) if passthrough == "all" else tuple(passthrough)
    raise_violations(
        check_columns(footers, schema, config.snapshot.id, carried, config.snapshot.extra_columns), len(footers)
    )
    partitions = split([footer.file for footer in footers], config.partition.rows)
    ingest.check_sizes(partitions, config.partition.max_bytes)
    reference = verified.result()
    plan = Plan(
        pipeline=config.pipeline,
        date=day.isoformat(),
        inputs=tuple(footer.file for footer in footers),
        config=deciding_keys(config),
        artifacts=_artifacts(config, schema),
        scoring={"block_rows": BLOCK_ROWS, "row_group_rows": ROW_GROUP_ROWS, **WRITER},
        versions=versions(),
        partitions=partitions,
    )
    read = {config.snapshot.id, *schema.names, *carried}
    return Checked(
        config=config,
        day=day,
        schema=schema,
        schema_sha256=schema_sha256,
        snapshot=snapshot,
        footers=footers,
        passthrough=carried,
        ignored=tuple(sorted({c.name for footer in footers for c in footer.columns} - read)),
        plan=plan,
        model=reference,
    )


def _artifacts(config: RunConfig, schema: FeatureSchema) -> Mapping[str, str]:
    reference = config.drift.reference
    return {
        "model": config.model.sha256,
        "schema": schema.digest,
        **({"drift_reference": reference.sha256} if reference else {}),
    }


def _check_names(config: RunConfig, schema: FeatureSchema) -> None:
    id_column, passthrough = config.snapshot.id, config.output.passthrough
    if id_column in schema.names:
        raise ConfigError(
            f"snapshot.id '{id_column}' is also a feature of '{config.feature_schema}'",
            slug="ID-IS-FEATURE",
            remedy="an id must not be learnt from; name another id column, or take it out of the features",
        )
    carried = () if passthrough == "all" else passthrough
    names = [id_column, *carried, *RESERVED, config.postprocess.flag]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"the column '{twice[0]}' would stand twice in the predictions",
            slug="DUPLICATE-COLUMN",
            remedy="check output.passthrough and postprocess.flag",
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
