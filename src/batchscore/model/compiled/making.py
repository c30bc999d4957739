"""Compiling: a loaded model turned into plain data, and the proof that both give the same bits.

Both ways score samples of nulls, unseen categories, infinities, extremes and ordinary rows, in blocks of exactly the
size that a run uses. One different bit, one step that is not known, one refusal that only one way makes, and there is
no compiled model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from batchscore.errors import ModelError
from batchscore.model.compiled import CompiledModel, NotUsable, read_compiled, to_bytes
from batchscore.model.compiled.tabulated import NotTabulable, Tabulated, tabulated
from batchscore.model.estimator import EstimatorModel
from batchscore.model.final import read_final
from batchscore.model.final.engine import differing
from batchscore.model.final.unknown import UnknownStepError
from batchscore.model.native import PreparedModel
from batchscore.model.preparation import Coded, Column, Preparation
from batchscore.model.proof import samples

if TYPE_CHECKING:
    import pyarrow as pa

    from batchscore.model import LoadedModel

SAMPLE_ROWS = 4096
"""Rows of each sample."""


class NotCompilable(Exception):
    """Why a model does not compile."""


def compile_model(loaded: LoadedModel, made: Mapping[str, Any]) -> bytes:
    """Compile a loaded model and prove it.

    Args:
        loaded: The model, loaded the ordinary way.
        made: What it is made of: `compiled.made_of`.

    Returns:
        The file's bytes, the same on every machine that computes the same.

    Raises:
        NotCompilable: When a step is not known, or a bit differs.
    """
    try:
        model = _plain_model(loaded)
        content = to_bytes(model, made, {})
        # What is proven is what a run will read, not what it was written from.
        found = read_compiled(content, made, loaded.schema)
        _prove_last_step(loaded, found)
        proof = _prove(as_released(loaded), found, int(made["block_rows"]))
    except NotUsable as error:
        raise NotCompilable(f"it could not be used: the compiled model {error}") from error
    except (UnknownStepError, NotTabulable) as error:
        raise NotCompilable(str(error)) from error
    except TypeError as error:
        raise NotCompilable(f"it holds something that is no plain data: {error}") from error
    order = _plain_order(as_released(loaded), found)
    return to_bytes(replace(model, plain_order=order), made, proof)


def _plain_model(loaded: LoadedModel) -> CompiledModel:
    estimator, preparation = _parts(loaded)
    return CompiledModel(
        schema=loaded.schema,
        output=loaded.output,
        takes=loaded.takes,
        classes=loaded.classes,
        positive=loaded.positive,
        facts=loaded.facts,
        preparation=preparation,
        final=read_final(estimator, loaded.output, loaded.classes, loaded.positive),
        plain_order=None,
    )


def _parts(loaded: LoadedModel) -> tuple[Any, Preparation]:
    if isinstance(loaded, PreparedModel):
        return loaded.rest.estimator, _without_transformers(loaded.preparation)
    if isinstance(loaded, EstimatorModel) and loaded.takes == "matrix":
        return loaded.estimator, Preparation(tuple(Column(feature) for feature in loaded.schema.features), "C")
    why = loaded.facts.get("preparation", f"{type(loaded).__name__} holds no estimator of scikit-learn")
    raise UnknownStepError(str(why).removeprefix("the estimator's own: "))


def _without_transformers(preparation: Preparation) -> Preparation:
    tables: dict[int, Tabulated] = {}
    columns = []
    for column in preparation.columns:
        coded = column.coded
        if isinstance(coded, Coded):
            if id(coded) not in tables:
                tables[id(coded)] = tabulated(coded)
            columns.append(replace(column, coded=tables[id(coded)]))
        else:
            columns.append(column)
    return Preparation(tuple(columns), preparation.order)


def as_released(loaded: LoadedModel) -> LoadedModel:
    """Return a loaded model that scores by the estimator's own code alone."""
    if isinstance(loaded, PreparedModel):
        return loaded.original
    return replace(loaded, final=None) if isinstance(loaded, EstimatorModel) else loaded


def _prove_last_step(loaded: LoadedModel, found: CompiledModel) -> None:
    """Compare the last step alone, on matrices made for it: rows at each split of a tree.

    Raises:
        UnknownStepError: When they differ.
    """
    last = loaded.rest if isinstance(loaded, PreparedModel) else loaded
    if isinstance(last, EstimatorModel) and (difference := differing(last, found.final, found.preparation.order)):
        raise UnknownStepError(difference)


def _prove(loaded: LoadedModel, found: CompiledModel, block_rows: int) -> dict[str, Any]:
    """Compare both ways on samples; return what was compared.

    Raises:
        UnknownStepError: When they differ.
    """
    told: list[dict[str, Any]] = []
    for name, rows in samples(loaded.schema, _categories(found), rows=SAMPLE_ROWS):
        expected, given = (_scores(model, rows, block_rows) for model in (loaded, found))
        if (expected is None) != (given is None):
            raise UnknownStepError(f"one way refuses the sample of {name}, the other does not")
        if expected is not None and given is not None and not _same(expected, given):
            raise UnknownStepError(f"the bits differ on the sample of {name}")
        told.append({"sample": name, "rows": 0 if expected is None else rows.num_rows, "refused": expected is None})
    equal = sum(int(each["rows"]) for each in told)
    if not equal:
        raise UnknownStepError("the model refuses every sample")
    return {"samples": told, "bit_equal_rows": equal, "block_rows": block_rows}


def _categories(model: CompiledModel) -> dict[str, Any]:
    return {
        column.feature.name: column.coded.known[column.place[0]]
        for column in model.preparation.columns
        if column.coded is not None
    }


def _scores(model: LoadedModel, rows: pa.Table, block_rows: int) -> np.ndarray | None:
    """Return the scores as a run computes them, in blocks; None when the model refuses the rows."""

    def scored() -> np.ndarray:
        return np.concatenate([model.predict(block) for block in model.blocks(rows, block_rows)])[: rows.num_rows]

    return _outcome(scored)


def _outcome(action: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Return what comes of it; None when the model refuses the rows."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return action()
        except ModelError:
            return None


def _same(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether all bits are the same; one NaN is as good as another, since none is ever published."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    left, right = (np.where(np.isnan(scores), np.nan, scores).tobytes("C") for scores in (expected, found))
    return left == right


def _plain_order(loaded: LoadedModel, found: CompiledModel) -> Literal["C", "F"] | None:
    """Return the order of the matrix that gives the bits of one plain call; None when none does."""
    _, rows = next(samples(loaded.schema, _categories(found), rows=SAMPLE_ROWS))
    expected = _outcome(lambda: loaded.plain(rows))
    orders: tuple[Literal["C", "F"], ...] = ("C", "F")
    for order in sorted(orders, key=lambda each: each != found.preparation.order):
        given = _outcome(lambda order=order: replace(found, plain_order=order).plain(rows))  # type: ignore[misc]
        if expected is not None and given is not None and _same(expected, given):
            return order
    return None
