"""A Pipeline of arithmetic steps and a last one, inside another estimator, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from batchscore.kernel.columns import Step
from batchscore.model.final import Final, read_final
from batchscore.model.final import from_plain as final_from
from batchscore.model.final.unknown import UnknownStepError, width_of

if TYPE_CHECKING:
    from batchscore.model.final import Answer


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Arithmetic on columns, and what is made of them."""

    columns: tuple[tuple[int, tuple[Step, ...]], ...]
    """The columns of the matrix that the last step takes: which column each comes from, and what is done to it."""
    last: Final
    """The last step."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        # The steps leave their result in the order of what they are given.
        order: Literal["C", "F"] = "C" if matrix.flags.c_contiguous else "F"
        prepared = np.empty((len(matrix), len(self.columns)), dtype=np.float64, order=order)
        for at, (place, steps) in enumerate(self.columns):
            values = np.array(matrix[:, place])
            for step in steps:
                step.apply(values)
            prepared[:, at] = values
        return self.last.predict(prepared)

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        columns = [
            [place, [[step.kind, step.value, step.upper, list(step.edges)] for step in steps]]
            for place, steps in self.columns
        ]
        return {"kind": "chain", "columns": columns, "last": self.last.to_plain()}


def from_plain(plain: Mapping[str, Any]) -> Chain:
    """Return what `to_plain` gave."""
    columns = tuple(
        (int(place), tuple(Step(kind, value, upper, tuple(edges)) for kind, value, upper, edges in steps))
        for place, steps in plain["columns"]
    )
    return Chain(columns=columns, last=final_from(plain["last"]))


def read(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Chain:
    """Read a fitted estimator off: `read_final`."""
    from batchscore.model.steps import matrix_columns

    steps = [step for _, step in estimator.steps]
    columns = matrix_columns(steps[:-1], width_of(estimator))
    if any(column.coded is not None for column in columns):
        raise UnknownStepError("a Pipeline inside an estimator looks at categories")
    places = tuple((int(column.feature.name), column.steps) for column in columns)
    return Chain(columns=places, last=read_final(steps[-1], output, classes, positive))
