"""Counts the second tries of storage requests, for whoever asks about the block of code that needed them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Retries:
    """How many requests of a block were tried again."""

    count: int = 0


_counting: ContextVar[Retries | None] = ContextVar("retries", default=None)


@contextmanager
def counted() -> Iterator[Retries]:
    """Count the further tries that this thread makes within the block."""
    found = Retries()
    token = _counting.set(found)
    try:
        yield found
    finally:
        _counting.reset(token)


def note() -> None:
    """Note that a request is about to be tried again."""
    found = _counting.get()
    if found is not None:
        found.count += 1
