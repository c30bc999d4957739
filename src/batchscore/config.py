"""The resolved configuration: the sections that other modules declare, composed, strict and frozen.

Files are merged key by key in the order given, then `--set`. No environment variable changes a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Discriminator, Field, Tag

from batchscore.cluster import ClusterOptions
from batchscore.errors import ConfigError
from batchscore.gate import DriftOptions, FlaggedOptions, RejectedOptions, VolumeOptions
from batchscore.history import ScheduleOptions
from batchscore.ingest import SnapshotOptions
from batchscore.lineage import LineageOptions
from batchscore.metrics import AlertsOptions, MetricsOptions
from batchscore.model import ModelList, ModelOptions
from batchscore.plan import PartitionOptions
from batchscore.postprocess import CalibrationOptions, PostprocessOptions
from batchscore.preprocess import RowsOptions
from batchscore.store import OutputOptions
from batchscore.strict import TAG, Section, parse_section, parse_yaml, require_mapping, sections_of

NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""What a pipeline or an environment may be called: it stands in outputs, metrics, logs and Kubernetes names."""


_NULLS = ("", "~", "null", "Null", "NULL")
"""How YAML writes null."""


class RunConfig(Section):
    """All that a user can say about a pipeline."""

    pipeline: str = Field(pattern=NAME)
    """The pipeline's name, in outputs, metrics and logs."""
    environment: str = Field(default="dev", pattern=NAME)
    """The environment's name, in metrics and logs."""
    snapshot: SnapshotOptions
    """What is scored."""
    feature_schema: str = Field(alias="schema", min_length=1)
    """The path of the feature schema, an artifact of its own."""
    model: Annotated[
        Annotated[ModelOptions, Tag(f"{TAG}one")] | Annotated[ModelList, Tag(f"{TAG}list")],
        Discriminator(lambda given: f"{TAG}list" if isinstance(given, list | tuple) else f"{TAG}one"),
    ]
    """What scores: one model, or a list of models with `valid_from`."""
    calibration: CalibrationOptions | None = None
    """How raw scores become probabilities; none by default."""
    postprocess: PostprocessOptions = PostprocessOptions()
    """How scores become decisions."""
    rows: RowsOptions = RowsOptions()
    """What happens to rows that break the contract."""
    output: OutputOptions
    """Where results are published, and in which form."""
    partition: PartitionOptions = PartitionOptions()
    """How the snapshot is cut."""
    volume: VolumeOptions = VolumeOptions()
    """The gate on the number of rows."""
    drift: DriftOptions = DriftOptions()
    """The gate on drift against a pinned reference."""
    flagged: FlaggedOptions = FlaggedOptions()
    """The gate on the flagged share."""
    rejected: RejectedOptions = RejectedOptions()
    """The gate on the share of rows set aside."""
    alerts: AlertsOptions = AlertsOptions()
    """Thresholds of the alert rules."""
    cluster: ClusterOptions = ClusterOptions()
    """Who does the work."""
    metrics: MetricsOptions = MetricsOptions()
    """Where metrics are pushed."""
    lineage: LineageOptions = LineageOptions()
    """Where events of lineage are told."""
    schedule: ScheduleOptions = ScheduleOptions()
    """When runs are expected."""


def load_config(paths: Sequence[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read configuration files and overrides.

    Args:
        paths: Files; a later one overrides an earlier one key by key.
        overrides: `section.key=value` texts, applied last, each value parsed by the key's declared type.

    Raises:
        ConfigError: With every violation, by the key's path.
    """
    given = [(path, _read(path)) for path in paths]
    given += [(f"--set {text.partition('=')[0]}", _override(text)) for text in overrides]
    content: dict[str, Any] = {}
    for _, part in given:
        content = _merged(content, part)
    return parse_section(
        RunConfig,
        content,
        source=" + ".join(paths) if paths else "the configuration",
        origin=lambda keys: next((name for name, part in reversed(given) if _decides(part, keys)), None),
    )


def _decides(content: object, keys: Sequence[str]) -> bool:
    """Whether a file or an override holds a key, or a value in the place of the sections above it."""
    for key in keys:
        if not isinstance(content, Mapping):
            return True
        if key not in content:
            return False
        content = content[key]
    return True


def deciding_keys(config: RunConfig, model: ModelOptions) -> dict[str, Any]:
    """Return the resolved keys that decide the result, by dotted name.

    Args:
        config: The configuration.
        model: The model that is valid on the date.

    Left out are keys that only say where things are, who works, and what is watched; what an artifact holds counts
    by its digest. A key that has its default is left out too, so that a new key of a later version does not turn
    every published date into another plan.
    """
    sections = {"calibration": config.calibration, "postprocess": config.postprocess, "rows": config.rows}
    chosen = {
        name: section.model_dump(mode="json", exclude_defaults=True) for name, section in sections.items() if section
    }
    return {
        "snapshot.id": config.snapshot.id,
        "model.version": model.version,
        "model.output": model.output,
        "model.positive_class": model.positive_class,
        **{
            f"{name}.{key}": value
            for name, section in chosen.items()
            for key, value in section.items()
            if (name, key) != ("calibration", "path")
        },
        "output.passthrough": config.output.model_dump(mode="json")["passthrough"],
        "output.single_file": config.output.single_file,
        "partition.rows": config.partition.rows,
    }


def _read(path: str) -> Mapping[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the configuration file '{path}' can not be read: {getattr(error, 'strerror', None) or error}",
            slug="FILE",
            remedy="check the path given to --config; it is relative to the working directory",
        ) from error
    return require_mapping(parse_yaml(text, source=path), source=path)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _override(text: str) -> dict[str, Any]:
    path, sign, value = text.partition("=")
    keys = path.strip().split(".")
    if not sign or not all(keys):
        raise ConfigError(
            f"--set {text!r} is not of the form section.key=value",
            slug="SET",
            remedy="such as postprocess.threshold=0.8",
        )
    kinds = _kinds(RunConfig, keys)
    is_text = str in kinds and not (type(None) in kinds and value.strip() in _NULLS)
    content: Any = value if is_text else parse_yaml(value, source=f"--set {path}")
    for key in reversed(keys):
        content = {key: content}
    return dict(content)


def _kinds(model: type[BaseModel], keys: Sequence[str]) -> set[object]:
    """Return what a key takes when that is text, or text or null; nothing for any other key."""
    field = next((f for name, f in model.model_fields.items() if (f.alias or name) == keys[0]), None)
    if field is None:
        return set()
    if len(keys) > 1:
        return set().union(*(_kinds(section, keys[1:]) for section in sections_of(field.annotation)))
    one_of = isinstance(field.annotation, UnionType)
    kinds: set[object] = set(get_args(field.annotation)) if one_of else {field.annotation}
    return kinds if kinds <= {str, type(None)} else set()
