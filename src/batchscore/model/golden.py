"""The golden sample: a few rows with the scores that the model must give, bit for bit, before it may run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batchscore.errors import ModelError
from batchscore.model.options import score_names

if TYPE_CHECKING:
    from batchscore.model import LoadedModel

Score = Callable[["LoadedModel", pa.Table], np.ndarray]


def check_golden(model: LoadedModel, content: bytes, score: Score) -> dict[str, Any]:
    """Score the sample and compare every bit.

    Scores differ in their last bits between one call over a small frame and fixed blocks. So the sample may have been
    scored by either: as a run scores (`score`), or by one plain call of the estimator over the frame.

    Returns:
        The number of rows, and `way`: `blocks` or `plain`.

    Raises:
        ModelError: When the sample does not fit the model, or both ways differ from it.
    """
    names = score_names(model.output, model.classes)
    sample = _read(content)
    features = _features(sample, model)
    expected = _expected(sample, names, model)
    blocks = score(model, features)
    for way, scores in (("blocks", blocks), ("plain", model.plain(features))):
        if np.array_equal(_bits(scores), _bits(expected)):
            return {"rows": sample.num_rows, "way": way}
    differing = (_bits(blocks) != _bits(expected)).any(axis=1)
    raise ModelError(
        f"the model scores {int(differing.sum())} of the {sample.num_rows} rows of the golden sample differently, "
        f"by up to {float(np.abs(blocks - expected).max()):.3g} (first: row {int(differing.argmax())})",
        slug="GOLDEN-DIFFERS",
        remedy="the libraries or the CPU are not those of the model's release; run it in the image it was released with",
    )


def golden_sample(model: LoadedModel, features: pa.Table, score: Score) -> pa.Table:
    """Return a golden sample: the features and the scores as a run gives them."""
    scores = score(model, features)
    for column, name in enumerate(score_names(model.output, model.classes)):
        values = scores[:, column]
        stored = pa.array([model.classes[int(value)] for value in values] if name == "label" else values)
        features = features.append_column(name, stored)
    return features


def _read(content: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise _misfit(f"is no parquet file: {error}") from error
    if table.num_rows == 0:
        raise _misfit("has no rows")
    return table


def _features(sample: pa.Table, model: LoadedModel) -> pa.Table:
    absent = [name for name in model.schema.names if name not in sample.column_names]
    if absent:
        raise _misfit(f"has no column '{absent[0]}'")
    columns = []
    for feature in model.schema.features:
        wanted = pa.type_for_alias(feature.dtype)
        try:
            columns.append(sample.column(feature.name).cast(wanted))
        except pa.ArrowException as error:
            raise _misfit(f"has a column '{feature.name}' that is not {feature.dtype}") from error
    return pa.table(columns, names=list(model.schema.names))


def _expected(sample: pa.Table, names: tuple[str, ...], model: LoadedModel) -> np.ndarray:
    absent = [name for name in names if name not in sample.column_names]
    if absent:
        raise _misfit(f"has no column '{absent[0]}' with the expected scores")
    if names == ("label",):
        order = {label: float(index) for index, label in enumerate(model.classes)}
        labels = sample.column("label").to_pylist()
        return np.array([[order.get(label, -1.0)] for label in labels], dtype=np.float64)
    wrong = [name for name in names if sample.column(name).type != pa.float64() or sample.column(name).null_count]
    if wrong:
        raise _misfit(f"has a column '{wrong[0]}' that is not float64 without nulls")
    return np.column_stack([sample.column(name).to_numpy() for name in names])


def _bits(scores: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(scores, dtype=np.float64).view(np.int64)


def _misfit(fact: str) -> ModelError:
    return ModelError(
        f"the golden sample {fact}",
        slug="GOLDEN-FORMAT",
        remedy="it holds the features of the schema and the expected scores, named as in the predictions",
    )
