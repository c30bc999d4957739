"""Calling a model: one thread per numeric library, and what it refuses as one error in one sentence."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from batchscore.errors import ModelError

_THREAD = threading.local()


@contextmanager
def refusing(rows: int) -> Iterator[None]:
    """Tell what the block raises as the model's refusal of so many rows.

    Raises:
        ModelError: When the block raises.
    """
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"the model refuses {rows} rows: {type(error).__name__}: {_without_values(str(error))}",
            slug="PREDICT",
            remedy="compare the feature schema (nullable, finite, categories) with what the model was trained on",
        ) from error


def limit_threads() -> None:
    """Hold all numeric libraries of the process to one thread, before any thread scores: BLAS has one limit for all."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)


def use_one_thread() -> None:
    """Hold OpenMP to one thread, once per thread, since it keeps its limit per thread."""
    if not getattr(_THREAD, "limited", False):
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1, user_api="openmp")
        _THREAD.limited = True


def _without_values(text: str) -> str:
    """Cut what may be a value of a row out of a message: lists and quoted texts."""
    one_line = " ".join(text.split())
    return re.sub(r"\[.*\]|'[^']*'|\"[^\"]*\"", "…", one_line)
