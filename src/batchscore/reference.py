"""The reference: profiles of published dates folded into one pinned document, to compare later dates with. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchscore.errors import ConfigError
from batchscore.plan import canonical_json
from batchscore.profile import CategoricalProfile, Profile, from_dict, is_categorical, merge_all
from batchscore.schema import FeatureSchema

FORMAT_VERSION = 1

_NO_DIGEST = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The profile of several published dates together."""

    name: str
    """The reference's name."""
    version: str
    """Its version, as text."""
    pipeline: str
    """The pipeline that published the dates."""
    summaries: Mapping[str, str]
    """sha256 of the summary by date."""
    rows: int
    """Rows scored on these dates."""
    features: Mapping[str, Profile]
    """The merged profile by feature."""
    scores: Mapping[str, Profile]
    """The merged profile by score column."""

    def to_bytes(self) -> bytes:
        """Return the reference's file: one form for one content, sealed by a digest of itself."""
        content = {
            "format_version": FORMAT_VERSION,
            "sha256": _NO_DIGEST,
            "name": self.name,
            "version": self.version,
            "pipeline": self.pipeline,
            "summaries": dict(self.summaries),
            "rows": self.rows,
            "profiles": {
                "features": {name: profile.to_dict() for name, profile in self.features.items()},
                "scores": {name: profile.to_dict() for name, profile in self.scores.items()},
            },
        }
        unsealed = canonical_json(content)
        return canonical_json({**content, "sha256": hashlib.sha256(unsealed).hexdigest()})


def fold_reference(name: str, version: str, summaries: Mapping[str, Mapping[str, Any]]) -> Reference:
    """Fold published summaries into one reference; the order does not matter.

    Args:
        name: The reference's name.
        version: Its version.
        summaries: The content of summary_metrics.json by date; at least one.

    Raises:
        ConfigError: When there is no summary, or they are of different pipelines, features or categories.
    """
    if not summaries:
        raise _unfit(name, "there is no published date to fold", "widen --from and --to")
    dates = sorted(summaries)
    pipelines = sorted({summaries[date]["pipeline"] for date in dates})
    if len(pipelines) > 1:
        raise _unfit(name, f"the dates are of different pipelines: {', '.join(pipelines)}", "fold those of one")
    profiles = [summaries[date]["profiles"] for date in dates]
    try:
        features = merge_all(_profiles(one["features"]) for one in profiles)
        scores = merge_all(_profiles(one["scores"]) for one in profiles)
    except ValueError as error:
        remedy = "fold dates of one feature schema and one kind of model only"
        raise _unfit(name, f"the profiles of its dates do not fit together, {error}", remedy) from error
    return Reference(
        name=name,
        version=version,
        pipeline=pipelines[0],
        summaries={date: summaries[date]["sha256"] for date in dates},
        rows=sum(summaries[date]["rows"]["scored"] for date in dates),
        features=features,
        scores=scores,
    )


def read_reference(content: bytes, *, sha256: str, source: str) -> Reference:
    """Read a reference from the bytes of its file, after checking them against their pin.

    Raises:
        ConfigError: When the bytes are not those of the pin, or are no reference of a known format.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConfigError(
            f"the drift reference '{source}' has sha256 {found}, not the pinned {sha256}",
            slug="REFERENCE-DIGEST",
            remedy="pin the right file in drift.reference, or create the reference again",
        )
    try:
        return _parsed(json.loads(content))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"'{source}' is no drift reference: {error}",
            slug="REFERENCE-FORMAT",
            remedy="write it with `batchscore reference create`",
        ) from error


def check_reference(reference: Reference, schema: FeatureSchema, *, source: str) -> None:
    """Check, before anything is scored, that every feature can be compared with the reference.

    Raises:
        ConfigError: When the reference lacks features of the schema, or knows them as another kind.
    """
    unfit = [
        feature.name
        for feature in schema.features
        if feature.name not in reference.features
        or isinstance(reference.features[feature.name], CategoricalProfile) != is_categorical(feature)
    ]
    if unfit:
        raise ConfigError(
            f"the drift reference '{source}' has no profile of the same kind for {', '.join(map(repr, unfit))}",
            slug="REFERENCE-FEATURES",
            remedy="create the reference again from dates of the schema of now",
            features=unfit,
        )


def _parsed(record: Mapping[str, Any]) -> Reference:
    if record["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format_version is {record['format_version']!r}, not {FORMAT_VERSION}")
    return Reference(
        **{key: record[key] for key in ("name", "version", "pipeline", "summaries", "rows")},
        features=_profiles(record["profiles"]["features"]),
        scores=_profiles(record["profiles"]["scores"]),
    )


def _profiles(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Profile]:
    return {name: from_dict(profile) for name, profile in content.items()}


def _unfit(name: str, fact: str, remedy: str) -> ConfigError:
    return ConfigError(f"the reference '{name}' can not be made: {fact}", slug="REFERENCE-DATES", remedy=remedy)
