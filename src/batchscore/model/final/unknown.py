"""What is not known here, the names by which estimators are known, and what is looked at before they are read off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class UnknownStepError(Exception):
    """A step that is not known here; the text says which."""


def kind_of(step: Any) -> str:
    """Return the name of a class of scikit-learn; of any other class, and of a subclass, its full name."""
    kind = type(step)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else f"{kind.__module__}.{kind.__name__}"


def is_nothing(step: Any) -> bool:
    """Whether a step leaves everything as it is."""
    return step is None or (isinstance(step, str) and step == "passthrough")


def width_of(estimator: Any) -> int:
    """Return how many columns a fitted estimator takes; of a Pipeline, its first step that does something."""
    if kind_of(estimator) != "Pipeline":
        return int(estimator.n_features_in_)
    return width_of(next(step for _, step in estimator.steps if not is_nothing(step)))


@contextmanager
def reading(estimator: Any) -> Iterator[None]:
    """Take an estimator for unknown that does not have what its class has after a fit.

    Raises:
        UnknownStepError: When an attribute is missing, or is not what it is made of.
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnknownStepError(f"{kind_of(estimator)} can not be read off: {error}") from error
