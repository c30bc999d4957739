"""What is not known here, and the names by which estimators are known."""

from __future__ import annotations

from typing import Any


class UnknownStepError(Exception):
    """A step that is not known here; the text says which."""


def kind_of(step: Any) -> str:
    """Return the name of a class of scikit-learn; of any other class, and of a subclass, its full name."""
    kind = type(step)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else f"{kind.__module__}.{kind.__name__}"
