"""An estimator with scikit-learn's interface as a model: what it takes, what it gives, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from batchscore import blocks
from batchscore.errors import ModelError
from batchscore.model.calls import limit_threads, refusing, use_one_thread
from batchscore.model.walk import describe, fitted_names, libraries, limit_jobs, takes_matrix

if TYPE_CHECKING:
    import pyarrow as pa

    from batchscore.model.final import Final
    from batchscore.model.options import ClassLabel, ModelOptions, Output
    from batchscore.schema import FeatureSchema


@dataclass(frozen=True, kw_only=True)
class EstimatorModel:
    """A fitted estimator, checked against the options and the feature schema."""

    estimator: Any = field(repr=False)
    """The estimator; every nested `n_jobs` is 1."""
    schema: FeatureSchema
    """The features, in the model's order."""
    output: Output
    """What the scores are."""
    takes: Literal["matrix", "frame"]
    """What `predict` takes: a C-ordered float64 matrix, or a pandas frame typed by the schema."""
    named: bool
    """Whether the estimator was fitted with names; one that was not is given none."""
    classes: tuple[ClassLabel, ...]
    """The labels of the classes; empty for a regressor."""
    positive: int | None
    """The index of the class whose probability is the prediction."""
    facts: Mapping[str, Any]
    """Library version, estimator tree, number of features."""
    final: Final | None = field(default=None, repr=False)
    """What was read off the estimator and gives the same bits for a matrix; None where its code runs."""

    def blocks(self, rows: pa.Table, block_rows: int) -> Iterator[Any]:
        """Yield what `predict` takes, of exactly `block_rows` rows each: the given ones, and the last one repeated."""
        return blocks.blocks(rows, block_rows, self.takes, self.schema.features)

    def predict(self, block: Any) -> np.ndarray:
        """Return the scores of a block as float64 of shape `(n_rows, n_scores)`.

        Raises:
            ModelError: When the estimator refuses the block, or answers with another shape.
        """
        use_one_thread()
        if self.final is not None:
            with refusing(len(block)):
                return self.final.predict(block)
        return self._scores(self.given(block), len(block))

    def plain(self, table: pa.Table) -> np.ndarray:
        """Return the scores of one call over the whole table, as `pandas.read_parquet` would have given it."""
        use_one_thread()
        frame = table.to_pandas()
        return self._scores(frame if self.named else frame.to_numpy(), len(frame))

    def given(self, block: Any) -> Any:
        """Return a block as the estimator is given it: with the names that it was fitted with, or with none."""
        if self.takes == "matrix" and self.named:
            import pandas as pd

            # Without a copy pandas hands the same C-ordered memory back; with one it turns it to Fortran order.
            return pd.DataFrame(block, columns=list(self.schema.names), copy=False)
        return block if self.named or self.takes == "matrix" else block.to_numpy()

    def _scores(self, block: Any, rows: int) -> np.ndarray:
        method = "predict_proba" if self.output == "probability" else "predict"
        with refusing(rows):
            answer = getattr(self.estimator, method)(block)
        shape = (rows, len(self.classes)) if self.output == "probability" else (rows,)
        if getattr(answer, "shape", None) != shape:
            raise ModelError(
                f"the model's {method} answers with the shape {getattr(answer, 'shape', None)} instead of {shape}",
                slug="SHAPE",
                remedy="only models with one output per row are scored",
            )
        return self._select(np.asarray(answer))

    def _select(self, answer: np.ndarray) -> np.ndarray:
        if self.output == "class":
            order = {label: index for index, label in enumerate(self.classes)}
            return np.array([[order[label]] for label in answer.tolist()], dtype=np.float64).reshape(-1, 1)
        if self.output == "probability" and len(self.classes) == 2:  # noqa: PLR2004 - the other one is its complement
            answer = answer[:, self.positive]
        scores = np.ascontiguousarray(answer, dtype=np.float64)
        return scores.reshape(len(answer), -1)


def as_model(estimator: object, options: ModelOptions, schema: FeatureSchema) -> EstimatorModel:
    """Check an object that came out of a file, and make a model of it.

    Raises:
        ModelError: When it is no fitted estimator, has not the output, the classes or the features that are asked for.
    """
    limit_threads()
    _check_estimator(estimator, options.path)
    names = fitted_names(estimator)
    _check_features(estimator, names, schema, options.path)
    classes = _check_output(estimator, options)
    limit_jobs(estimator)
    return EstimatorModel(
        estimator=estimator,
        schema=schema,
        output=options.output,
        takes="matrix" if takes_matrix(estimator, schema) else "frame",
        named=names is not None,
        classes=classes,
        positive=positive_index(classes, options),
        facts=_facts(estimator, names, schema),
    )


def _facts(estimator: object, names: Sequence[str] | None, schema: FeatureSchema) -> dict[str, Any]:
    return {
        "estimator": describe(estimator),
        "library": ", ".join(libraries(estimator)),
        "n_features": len(schema.features),
        "names_checked": names is not None,
    }


def _check_estimator(estimator: object, path: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(estimator, type) or not callable(getattr(estimator, "predict", None)):
        kind = estimator.__name__ + " (the class itself)" if isinstance(estimator, type) else type(estimator).__name__
        raise ModelError(
            f"the model '{path}' holds no estimator with `predict`, but a {kind}",
            slug="NOT-AN-ESTIMATOR",
            remedy="save the fitted estimator itself, with its preprocessing inside one Pipeline",
            path=path,
        )
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError) as error:
        raise ModelError(
            f"the model '{path}' holds a {type(estimator).__name__} that is not fitted",
            slug="NOT-FITTED",
            remedy="save the estimator after `fit`",
            path=path,
        ) from error


def _check_output(estimator: object, options: ModelOptions) -> tuple[ClassLabel, ...]:
    kind = type(estimator).__name__
    classes = getattr(estimator, "classes_", None)
    if options.output == "probability" and not callable(getattr(estimator, "predict_proba", None)):
        raise ModelError(
            f"the model '{options.path}' is a {kind} without `predict_proba`, but model.output is probability",
            slug="NO-PROBABILITY",
            remedy="set model.output to value or class, or calibrate the model before its release",
        )
    if (options.output == "value") == (classes is not None):
        what = "a classifier" if classes is not None else "no classifier"
        raise ModelError(
            f"the model '{options.path}' is a {kind}, which is {what}, but model.output is {options.output}",
            slug="WRONG-OUTPUT",
            remedy="regressors have the output value; classifiers have probability or class",
        )
    # A perceptron of three classes counts its output units; without softmax they are labels that may hold at once.
    outputs = 1 if getattr(estimator, "out_activation_", None) == "softmax" else getattr(estimator, "n_outputs_", 1)
    if outputs != 1 or isinstance(classes, list):
        raise ModelError(
            f"the model '{options.path}' is a {kind} with several outputs",
            slug="MULTI-OUTPUT",
            remedy="release one model per output",
        )
    if classes is not None and len(classes) < 2:  # noqa: PLR2004 - a classifier chooses
        raise ModelError(
            f"the model '{options.path}' is a {kind} that knows only one class",
            slug="ONE-CLASS",
            remedy="its training data held one class only; train it again",
        )
    return () if classes is None else tuple(np.asarray(classes).tolist())


def positive_index(classes: tuple[ClassLabel, ...], options: ModelOptions) -> int | None:
    """Return the index of the class whose probability is the prediction; None when there is no such class.

    Raises:
        ModelError: When the configured class is unknown.
    """
    wanted = options.positive_class
    if options.output != "probability":
        return None
    if wanted is None:
        return 1 if len(classes) == 2 else None  # noqa: PLR2004 - of more classes none is the positive one
    for index, label in enumerate(classes):
        if label == wanted and isinstance(label, str) == isinstance(wanted, str):
            return index
    raise ModelError(
        f"model.positive_class is {wanted!r}, but the classes of the model are {', '.join(map(repr, classes))}",
        slug="POSITIVE-CLASS",
        remedy="name one of the classes, text in quotes",
    )


def _check_features(estimator: object, names: Sequence[str] | None, schema: FeatureSchema, path: str) -> None:
    if names is not None:
        check_names(names, schema, path)
        return
    given = getattr(estimator, "n_features_in_", None)
    if given is not None:
        refuse_count(given, len(schema.features), path)


def check_names(names: Sequence[str], schema: FeatureSchema, path: str) -> None:
    """Compare the features that the model takes with the schema's, by name and order.

    Raises:
        ModelError: When one is missing in the schema, one too many, or out of order.
    """
    given, wanted = list(names), list(schema.names)
    missing = [name for name in given if name not in wanted]
    extra = [name for name in wanted if name not in given]
    if missing:
        raise ModelError(
            f"the model '{path}' takes the feature '{missing[0]}', which the feature schema does not have"
            f" ({len(missing)} of {len(given)} missing)",
            slug="FEATURES-MISSING",
            remedy="use the feature schema of the model's release",
            missing=missing,
        )
    if extra:
        raise ModelError(
            f"the feature schema has the feature '{extra[0]}', which the model '{path}' was not trained with"
            f" ({len(extra)} of {len(wanted)} too many)",
            slug="FEATURES-EXTRA",
            remedy="use the feature schema of the model's release",
            extra=extra,
        )
    at = next((at for at, pair in enumerate(zip(given, wanted, strict=True)) if pair[0] != pair[1]), None)
    if at is not None:
        raise ModelError(
            f"the feature schema has '{wanted[at]}' in place {at + 1}, where the model '{path}' takes '{given[at]}'",
            slug="FEATURES-ORDER",
            remedy="list the features in the model's order",
        )


def refuse_count(given: int, wanted: int, path: str) -> None:
    """Compare the number of features of a model without names with the schema's.

    Raises:
        ModelError: When they differ.
    """
    if given != wanted:
        raise ModelError(
            f"the model '{path}' takes {given} features, but the feature schema has {wanted}",
            slug="FEATURES-COUNT",
            remedy="use the feature schema of the model's release; models fitted on a frame also carry their names",
        )
