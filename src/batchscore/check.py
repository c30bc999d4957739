"""All that can be known without a cluster: one date's inputs, model, contract, plan and output state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from batchscore import __version__, infer, ingest, machine, model, postprocess, sources, transit
from batchscore.blocks import ARROW_TYPES, SCHEMA_TYPES, hold_off_pandas
from batchscore.compiled import find_compiled
from batchscore.config import RunConfig, deciding_keys
from batchscore.errors import ConfigError, ContractError
from batchscore.ingest import Footer
from batchscore.lineage import require_openlineage
from batchscore.model import ModelOptions, ModelRef
from batchscore.parts import ROW_GROUP_ROWS, WRITER
from batchscore.plan import Plan, split
from batchscore.preprocess import QUARANTINE_COLUMNS, check_columns, extra_columns, raise_violations
from batchscore.reference import Reference, check_reference, read_reference
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
    carried: tuple[tuple[str, pa.DataType], ...]
    """The id and the input columns that are carried along, in output order, with their types."""
    types: Mapping[str, str]
    """Features and carried columns, with their types in the words of the feature schema: what rules may look at."""
    ignored: tuple[str, ...]
    """Input columns that nobody reads, sorted."""
    plan: Plan
    """What will be read and scored, and the identity of the result."""
    model: ModelRef
    """The verified model."""
    drift_reference: Reference | None
    """The pinned reference that drift is measured against, if there is one."""

    @property
    def snapshot_name(self) -> str:
        """The snapshot's name: the last part of its path, without the suffix."""
        return PurePosixPath(self.snapshot).name.removesuffix(".parquet")


def check_snapshot_unchanged(checked: Checked) -> None:
    """List the snapshot of a checked date again, and compare.

    Raises:
        SnapshotCorrupt: When a file came, went or changed since.
    """
    ready = ingest.ready_path(checked.config.snapshot, checked.snapshot, checked.day)
    ingest.check_same_files(checked.snapshot, checked.footers, ready=ready)


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
    hold_off_pandas()
    require_openlineage(config.lineage)
    schema, schema_sha256 = load_schema(config)
    with ThreadPoolExecutor(max_workers=1) as pool:
        verified = pool.submit(verify_model, config, schema, day)
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
        content = transit.read_surely(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"the feature schema '{path}' is missing",
            slug="SCHEMA-MISSING",
            remedy="check `schema`; a relative path is relative to the working directory",
        ) from error
    schema = read_schema(content, source=path)
    _check_names(config, schema)
    return schema, sha256(content).hexdigest()


def verify_model(config: RunConfig, schema: FeatureSchema, day: date) -> ModelRef:
    """Verify the model of one date.

    Raises:
        ModelError: When the model is missing, refused or incompatible.
    """
    options = model.resolve_model(config.model, day)
    postprocess.check_options(config.postprocess, config.calibration, options.output, _declared_types(config, schema))
    candidate = find_compiled(config, options, schema, versions())
    return model.verify(options, schema, day, read=sources.read, score=infer.score, compiled=candidate)


def verify_artifacts(config: RunConfig, schema: FeatureSchema, reference: ModelRef) -> None:
    """Read every pinned table and the drift reference, and check them as far as that needs no snapshot.

    Args:
        config: The resolved configuration.
        schema: The feature schema.
        reference: The verified model.

    Raises:
        ConfigError: When one is missing, not what is pinned, or does not fit.
    """
    types = _declared_types(config, schema)
    if types is None:  # all columns are passed through, and which there are only a snapshot says
        types = dict.fromkeys(postprocess.columns_used(config.postprocess))
        types |= {each.name: each.dtype for each in schema.features}
    postprocess.build(config.postprocess, config.calibration, reference, types, read=sources.read)
    _read_drift_reference(config, schema)


def _declared_types(config: RunConfig, schema: FeatureSchema) -> dict[str, str | None] | None:
    """Return what rules may look at before a snapshot is listed: None as a type, or at all, is not known yet."""
    if config.output.passthrough == "all":
        return None
    return {**dict.fromkeys(config.output.passthrough), **{each.name: each.dtype for each in schema.features}}


def _checked(
    config: RunConfig, day: date, schema: FeatureSchema, schema_sha256: str, verified: Future[ModelRef]
) -> Checked:
    chosen = model.resolve_model(config.model, day)
    snapshot = ingest.resolve(config.snapshot.path, day)
    ingest.wait_for_snapshot(config.snapshot, snapshot, date=day)
    id_column, passthrough = config.snapshot.id, config.output.passthrough
    wanted = None if passthrough == "all" else (id_column, *schema.names, *passthrough)
    ready = ingest.ready_path(config.snapshot, snapshot, day)
    footers = ingest.list_snapshot(snapshot, wanted, allow_empty=config.snapshot.allow_empty, ready=ready)
    raise_violations(
        check_columns(
            footers,
            schema,
            id_column=id_column,
            passthrough=passthrough,
            extra_columns=config.snapshot.extra_columns,
        )
    )
    files = [footer.file for footer in footers]
    partitions = split(files, config.partition.rows)
    ingest.check_sizes(partitions, config.partition.max_bytes)
    carried = _carried(config, footers)
    reference = verified.result()
    plan = Plan(
        pipeline=config.pipeline,
        date=day.isoformat(),
        inputs=tuple(files),
        config=deciding_keys(config, chosen),
        artifacts=_artifacts(config, chosen, schema),
        scoring={"block_rows": infer.BLOCK_ROWS, "row_group_rows": ROW_GROUP_ROWS, **WRITER},
        versions={**reference.libraries, **versions()},
        partitions=partitions,
    )
    types = column_types(schema, carried)
    _check_names_out(config, reference, types, carried)
    drift_reference = _read_drift_reference(config, schema)
    return Checked(
        config=config,
        day=day,
        schema=schema,
        schema_sha256=schema_sha256,
        snapshot=snapshot,
        footers=footers,
        carried=carried,
        types=types,
        ignored=extra_columns(footers, schema, id_column=id_column, passthrough=passthrough),
        plan=plan,
        model=reference,
        drift_reference=drift_reference,
    )


def _carried(config: RunConfig, footers: Sequence[Footer]) -> tuple[tuple[str, pa.DataType], ...]:
    """Return the id and the passed-through columns with their types, which are the same in all files."""
    id_column, passthrough = config.snapshot.id, config.output.passthrough
    types = {column.name: column.dtype for column in footers[0].columns}
    others = [name for name in types if name != id_column] if passthrough == "all" else passthrough
    unfit = [name for name in others if types[name] not in ARROW_TYPES]
    if unfit:
        raise ContractError(
            f"column '{unfit[0]}' is {types[unfit[0]]}, which can not be passed through",
            slug="PASSTHROUGH-TYPE",
            remedy="take it out of output.passthrough, or have the snapshot hold a plain type",
        )
    return tuple((name, ARROW_TYPES[types[name]]) for name in (id_column, *others))


def _artifacts(config: RunConfig, chosen: ModelOptions, schema: FeatureSchema) -> Mapping[str, str]:
    reference = config.drift.reference
    return {
        "model": chosen.sha256,
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
    if id_column in QUARANTINE_COLUMNS:
        raise ConfigError(
            f"snapshot.id '{id_column}' is the name of a column of the quarantine",
            slug="ID-NAME",
            remedy=f"rename the column at its source; taken are {', '.join(QUARANTINE_COLUMNS)}",
        )
    if passthrough != "all" and id_column in passthrough:
        raise ConfigError(
            f"output.passthrough lists the id '{id_column}', which is in the output anyway",
            slug="DUPLICATE-COLUMN",
            remedy="leave it out",
        )
    for key, name in postprocess.new_columns(config.postprocess):
        if name == id_column:
            raise ConfigError(
                f"{key} names the column '{name}', which is the id", slug="DUPLICATE-COLUMN", remedy="name it otherwise"
            )


def column_types(schema: FeatureSchema, carried: Sequence[tuple[str, pa.DataType]]) -> dict[str, str]:
    """Return features and carried columns with their types in the words of the feature schema."""
    return {name: SCHEMA_TYPES[dtype] for name, dtype in carried[1:]} | {
        each.name: each.dtype for each in schema.features
    }


def _check_names_out(
    config: RunConfig, reference: ModelRef, types: Mapping[str, str], carried: Sequence[tuple[str, pa.DataType]]
) -> None:
    """Check what decides against model and columns, and that no column of the predictions stands twice."""
    decider = postprocess.build(config.postprocess, config.calibration, reference, types, read=sources.read)
    empty = pa.table({name: pa.array([], ARROW_TYPES[dtype]) for name, dtype in types.items()})
    made = decider.decide(np.empty((0, len(reference.score_names))), empty).columns
    names = [*(name for name, _ in carried), *made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"the column '{twice[0]}' would stand twice in the predictions",
            slug="DUPLICATE-COLUMN",
            remedy="check output.passthrough, postprocess.flag and the columns that rules set",
        )


def _read_drift_reference(config: RunConfig, schema: FeatureSchema) -> Reference | None:
    """Read the pinned reference before anything is scored; None without one."""
    pinned = config.drift.reference
    if pinned is None:
        return None
    try:
        content = transit.read_surely(pinned.path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"the drift reference '{pinned.path}' is missing",
            slug="REFERENCE-MISSING",
            remedy="check `drift.reference.path`; `batchscore reference create` writes one",
        ) from error
    reference = read_reference(content, sha256=pinned.sha256, source=pinned.path)
    check_reference(reference, schema, source=pinned.path)
    return reference


def _version(package: str) -> str:
    try:
        return machine.installed_version(package)
    except PackageNotFoundError:
        return "absent"
