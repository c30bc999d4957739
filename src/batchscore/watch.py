"""Wall seconds by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

ItemT = TypeVar("ItemT")


class Stopwatch:
    """Adds up wall seconds by stage; of nested stages only the inner one counts."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage, so far."""
        return dict(self._seconds)

    @property
    def total(self) -> float:
        """Seconds since the watch was made."""
        return perf_counter() - self._began

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to `stage`."""
        began = perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = perf_counter() - began
            self._seconds[stage] += spent - self._inner.pop()
            self._inner[-1] += spent

    def around(self, stage: str, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield `items`, adding the seconds that it takes to get each to `stage`."""
        iterator = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
