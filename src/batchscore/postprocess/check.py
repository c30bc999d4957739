"""What the sections only mean together: the model's output, the calibration, the threshold, the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from batchscore.errors import ConfigError
from batchscore.postprocess.options import RESERVED, CalibrationOptions, PostprocessOptions
from batchscore.rules import check_rules, family, value_problem


def is_probability(calibration: CalibrationOptions | None, output: str) -> bool:
    """Whether the prediction lies in 0..1."""
    return output == "probability" or calibration is not None


def columns_used(options: PostprocessOptions) -> tuple[str, ...]:
    """Return the columns of the snapshot that rules and segments look at, sorted: features or passthrough columns."""
    used = {condition.column for rule in options.rules for condition in rule.when}
    used |= {rule.then.lookup.by for rule in options.rules if rule.then.lookup is not None}
    used |= {options.segments.column} if options.segments is not None else set()
    return tuple(sorted(used - {"prediction", "raw_prediction", "label"}))


def new_columns(options: PostprocessOptions) -> Iterator[tuple[str, str]]:
    """Yield every column that the section names anew, with its key's path."""
    if options.threshold is not None:
        yield "postprocess.flag", options.flag
    if options.review_band is not None:
        yield "postprocess.review", options.review
    for at, rule in enumerate(options.rules):
        path = f"postprocess.rules.{at}.then"
        yield from ((f"{path}.set.{name}", name) for name in rule.then.set)
        if rule.then.lookup is not None:
            yield f"{path}.lookup.into", rule.then.lookup.into


def made_columns(options: PostprocessOptions, names: Sequence[str]) -> list[str]:
    """Return those of the predictions' columns that are scores and decisions, in order; the others are passed through."""
    new = {name for _, name in new_columns(options)}
    return [name for name in names if name in RESERVED or name in new or name.startswith("prediction_")]


def rule_types(
    types: Mapping[str, str | None], output: str, classes: tuple[object, ...] | None = None
) -> dict[str, str | None]:
    """Return the types of all columns that rules may look at: the snapshot's and the scores.

    Args:
        types: The snapshot's columns.
        output: The model's output.
        classes: The labels of the model's classes; None before the model is opened.
    """
    scores: dict[str, str | None] = {}
    if classes is None:
        scores["label"] = None
    elif output == "class" or len(classes) > 2:  # noqa: PLR2004 - of two classes the prediction says it all
        kinds = {bool: "bool", int: "int64", str: "string"}
        scores["label"] = kinds.get(type(classes[0]), "float64")
    if output != "class":
        scores |= {"prediction": "float64", "raw_prediction": "float64"}
    return {**types, **scores}


def check_options(
    options: PostprocessOptions,
    calibration: CalibrationOptions | None,
    output: str,
    types: Mapping[str, str | None] | None = None,
    classes: tuple[object, ...] | None = None,
) -> None:
    """Check the sections against one another and against the columns, before any model or table is opened.

    Args:
        options: The section `postprocess`.
        calibration: The section `calibration`.
        output: The model's output.
        types: Features and passthrough columns with their types in the words of the feature schema; None where the
            type is not known yet, and None altogether where the columns are not: then no rule is checked.
        classes: The labels of the model's classes; None before the model is opened.

    Raises:
        ConfigError: When there is no score to decide from, a number lies outside the scores, or a rule does not fit.
    """
    known = types or {}
    _check_scores(options, calibration, output)
    _check_thresholds(options, probability=is_probability(calibration, output))
    _check_segments(options, known)
    for name in (options.flag, options.review):
        if name in known:
            raise _refusal(
                f"postprocess names a column '{name}', which the snapshot has too",
                "COLUMN",
                "name it otherwise, or do not pass that column through",
            )
    if types is None:
        return
    check_rules(
        options.rules,
        rule_types(known, output, classes),
        reserved=(*RESERVED, options.flag, options.review),
        probability=is_probability(calibration, output),
        has_flag=options.threshold is not None,
    )


def _check_scores(options: PostprocessOptions, calibration: CalibrationOptions | None, output: str) -> None:
    if output == "class":
        keys: dict[str, object] = {"postprocess.threshold": options.threshold, "calibration": calibration}
        for key, value in keys.items():
            if value is not None:
                raise _refusal(f"{key} needs a score, but model.output is class", "NO-SCORE", _NO_SCORE)
        if any(rule.then.moves_prediction for rule in options.rules):
            raise _refusal("postprocess.rules move a prediction, but model.output is class", "NO-SCORE", _NO_SCORE)
    moved: dict[str, object] = {"postprocess.clip": options.clip, "postprocess.round": options.round}
    for key, value in moved.items():
        if value is not None and (output != "value" or calibration is not None):
            calibrated = output == "value"
            raise _refusal(
                f"{key} is for the values of a regressor, "
                + ("but calibration makes them probabilities" if calibrated else "not for probabilities or classes"),
                "VALUE",
                "take one of the two out" if calibrated else "take it out, or set model.output to value",
            )


def _check_thresholds(options: PostprocessOptions, *, probability: bool) -> None:
    given: dict[str, float | None] = {"postprocess.threshold": options.threshold}
    if options.segments is not None:
        given |= {f"postprocess.segments.thresholds.{key}": value for key, value in options.segments.thresholds.items()}
    for key, value in given.items():
        if probability and value is not None and not 0 <= value <= 1:
            raise ConfigError(
                f"{key} is {value}, but a probability lies in 0..1", slug="THRESHOLD", remedy="write 0.7 for 70 %"
            )


def _check_segments(options: PostprocessOptions, types: Mapping[str, str | None]) -> None:
    if options.segments is None or not types:
        return
    column = options.segments.column
    if column not in types:
        raise _refusal(
            f"postprocess.segments.column '{column}' is no feature and no passthrough column", "SEGMENTS", _SEGMENTS
        )
    dtype = types[column]
    if dtype is None:
        return
    if family(dtype) not in ("text", "number", "boolean") or dtype.startswith("float"):
        raise _refusal(
            f"postprocess.segments.column '{column}' is {dtype}, which has no segments", "SEGMENTS", _SEGMENTS
        )
    for value in options.segments.thresholds:
        fact = value_problem(value, family(dtype))
        if fact is not None:
            raise _refusal(
                f"postprocess.segments.thresholds compares the column '{column}', which is {dtype}, with {fact}",
                "SEGMENTS",
                "write its values as the column holds them: text in quotes, numbers and booleans without",
            )


def _refusal(message: str, slug: str, remedy: str) -> ConfigError:
    return ConfigError(message, slug=slug, remedy=remedy)


_NO_SCORE = "take it out, or set model.output to probability"
_SEGMENTS = "name a feature or a passthrough column of text, whole numbers or booleans"
