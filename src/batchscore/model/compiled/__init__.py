"""Compiled models: a pinned artifact as plain data, proven to give the same bits, that runs without its libraries.

A compiled model is made once (`compiling`) and read here by every later run, which then opens no pickle and imports
neither scikit-learn nor pandas. It is believed only when it was made of the very artifact, schema, output and library
versions that are in use now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from batchscore.kernel import compiled
from batchscore.kernel.columns import Step
from batchscore.model.calls import limit_threads, refusing, use_one_thread
from batchscore.model.compiled.plain import DamagedFile, pack, unpack
from batchscore.model.compiled.tabulated import Tabulated, tabulated_from
from batchscore.model.final import Final, from_plain
from batchscore.model.preparation import Column, Preparation

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from batchscore.model.options import ClassLabel, ModelOptions, Output
    from batchscore.schema import FeatureSchema

COMPILER = 2
"""The version of what compiles and of what runs it; a file of another version is not used."""
SUFFIX = ".compiled"
"""How the names of compiled models end."""
DECIDING = ("numpy", "scipy", "scikit-learn", "pyarrow")
"""Libraries whose version must be the one that the proof was made with."""


class NotUsable(Exception):
    """Why a compiled model does not score; the text completes 'the compiled model ...'."""


@dataclass(frozen=True, kw_only=True)
class CompiledFile:
    """Where a compiled model lies, and what it must be."""

    path: str
    """Its path or address."""
    sha256: str
    """sha256 of its bytes: pinned, or recorded when it was made."""


@dataclass(frozen=True, kw_only=True)
class CompiledModel:
    """A model as plain data; safe to call from several threads."""

    schema: FeatureSchema
    """The features, in the model's order."""
    output: Output
    """What the scores are."""
    takes: Literal["matrix", "frame"]
    """What the artifact itself is given."""
    classes: tuple[ClassLabel, ...]
    """The labels of the classes; empty for a regressor."""
    positive: int | None
    """The index of the class whose probability is the prediction."""
    facts: Mapping[str, Any]
    """What the artifact says of itself."""
    preparation: Preparation = field(repr=False)
    """From rows to the matrix."""
    final: Final = field(repr=False)
    """From the matrix to scores."""
    plain_order: Literal["C", "F"] | None
    """The order of the matrix in one plain call of the artifact; None when no order gave its bits."""
    bit_equal_rows: int = 0
    """Rows on which it was proven."""

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[np.ndarray]:
        """Yield matrices of exactly `block_rows` rows each, the last row of all repeated.

        Raises:
            ModelError: When a step refuses a value.
        """
        with refusing(rows.num_rows):
            yield from self.preparation.blocks(rows, block_rows)

    def predict(self, block: np.ndarray) -> np.ndarray:
        """Return the scores of a block as float64 of shape `(n_rows, n_scores)`.

        Raises:
            ModelError: When the model refuses the block.
        """
        use_one_thread()
        with refusing(len(block)):
            return self.final.predict(block)

    def plain(self, table: pa.Table) -> np.ndarray:
        """Return the scores of one call over the whole table, as the artifact gives them."""
        order = self.plain_order or self.preparation.order
        whole = Preparation(self.preparation.columns, order)
        with refusing(table.num_rows):
            return self.final.predict(next(whole.blocks(table, table.num_rows)))


def made_of(
    options: ModelOptions, schema: FeatureSchema, versions: Mapping[str, str], block_rows: int
) -> dict[str, Any]:
    """Return what a compiled model is made of: it is used only where all of this is the same.

    Args:
        options: The model's section of the configuration.
        schema: The feature schema.
        versions: Versions of the libraries, those of `DECIDING` among them.
        block_rows: Rows per call of the model.
    """
    return {
        "compiler": COMPILER,
        "artifact_sha256": options.sha256,
        "schema_digest": schema.digest,
        "output": options.output,
        "positive_class": options.positive_class,
        "block_rows": block_rows,
        "versions": {name: versions[name] for name in DECIDING},
    }


def name_of(made: Mapping[str, Any]) -> str:
    """Return the name of a compiled model without its suffix: the artifact's digest, the compiler's version, the rest."""
    rest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return f"{made['artifact_sha256']}-c{made['compiler']}-{rest[:12]}"


def beside_name(stem: str, made: Mapping[str, Any]) -> str:
    """Return the name beside the artifact, without suffix; library versions are left out, so that a pin tells of them."""
    rest = {key: value for key, value in made.items() if key != "versions"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return f"{stem}-{made['artifact_sha256'][:12]}-c{made['compiler']}-{digest[:8]}"


def to_bytes(model: CompiledModel, made: Mapping[str, Any], proof: Mapping[str, Any]) -> bytes:
    """Write a compiled model with its proof; the same model is the same bytes.

    Raises:
        TypeError: When something of it is no plain data.
    """
    coded = {id(column.coded): column.coded for column in model.preparation.columns if column.coded is not None}
    places = {key: at for at, key in enumerate(coded)}
    return pack(
        {
            "made_of": made,
            "proof": proof,
            "facts": model.facts,
            "classes": list(model.classes),
            "positive": model.positive,
            "takes": model.takes,
            "plain_order": model.plain_order,
            "order": model.preparation.order,
            "coded": [_coded_plain(model, key) for key in coded],
            "columns": [_column_plain(column, places) for column in model.preparation.columns],
            "final": model.final.to_plain(),
        }
    )


def _coded_plain(model: CompiledModel, key: int) -> dict[str, Any]:
    columns = [column for column in model.preparation.columns if id(column.coded) == key]
    features = {column.place[0]: column.feature.name for column in columns}
    tables = columns[0].coded
    assert isinstance(tables, Tabulated)  # noqa: S101 - nothing else is in a compiled model
    # A feature without a column, such as one whose only category was dropped, is never looked up.
    return {**tables.to_plain(), "features": [features.get(at) for at in range(len(tables.tables))]}


def _column_plain(column: Column, places: Mapping[int, int]) -> list[Any]:
    steps = [[step.kind, step.value, step.upper, list(step.edges)] for step in column.steps]
    coded = None if column.coded is None else places[id(column.coded)]
    return [column.feature.name, steps, coded, *column.place]


def read_compiled(content: bytes, made: Mapping[str, Any], schema: FeatureSchema) -> CompiledModel:
    """Read a compiled model.

    Args:
        content: The file's bytes, whose digest was checked.
        made: What it must be made of: `made_of`.
        schema: The feature schema.

    Raises:
        NotUsable: When it is damaged, or made of other things than those in use.
    """
    try:
        found = unpack(content)
    except DamagedFile as error:
        raise NotUsable(f"is damaged: {error}") from error
    _refuse_other(found.get("made_of"), made)
    limit_threads()
    features = {feature.name: feature for feature in schema.features}
    any_feature = schema.features[0]
    try:
        coded = [
            tabulated_from(each, [features.get(name, any_feature) for name in each["features"]])
            for each in found["coded"]
        ]
        columns = tuple(
            Column(
                features[name],
                tuple(Step(kind, value, upper, tuple(edges)) for kind, value, upper, edges in steps),
                None if at is None else coded[at],
                (place, own),
            )
            for name, steps, at, place, own in found["columns"]
        )
        final = from_plain(found["final"])
        runs, reason = compiled()
        if getattr(final, "engine", "") == "kernel" and not runs:
            raise NotUsable(f"needs the compiled kernel: {reason}")
        return CompiledModel(
            schema=schema,
            output=made["output"],
            takes=found["takes"],
            classes=tuple(found["classes"]),
            positive=found["positive"],
            facts=found["facts"],
            preparation=Preparation(columns, found["order"]),
            final=final,
            plain_order=found["plain_order"],
            bit_equal_rows=int(found["proof"].get("bit_equal_rows", 0)),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NotUsable(f"is not written as this version reads it: {type(error).__name__}") from error


def proof_of(content: bytes) -> dict[str, Any]:
    """Return the proof that a compiled model carries.

    Raises:
        NotUsable: When the file is damaged.
    """
    try:
        proof: dict[str, Any] = unpack(content)["proof"]
    except (DamagedFile, KeyError) as error:
        raise NotUsable(f"is damaged: {error}") from error
    return proof


def _refuse_other(found: Any, made: Mapping[str, Any]) -> None:
    if not isinstance(found, Mapping):
        raise NotUsable("does not say what it was made of")
    for key, fact in _FACTS.items():
        if found.get(key) != made[key]:
            raise NotUsable(f"was made {fact}: {_short(found.get(key))}, not {_short(made[key])}")


_FACTS = {
    "compiler": "by another version of the compiler",
    "artifact_sha256": "of another artifact",
    "schema_digest": "for another feature schema",
    "output": "for another output",
    "positive_class": "for another positive class",
    "block_rows": "for other blocks",
    "versions": "with other libraries",
}


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
    return str(value)
