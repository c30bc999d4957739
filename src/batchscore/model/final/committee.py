"""Estimators made of others, as plain data: voting, stacking, and an estimator that was frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.model.final import Final, read_final
from batchscore.model.final import from_plain as final_from
from batchscore.model.final.links import chosen, indices
from batchscore.model.final.unknown import UnknownStepError, kind_of

if TYPE_CHECKING:
    from batchscore.model.final import Answer


@dataclass(frozen=True, kw_only=True)
class Voting:
    """Estimators whose answers are averaged or counted."""

    members: tuple[Final, ...]
    """The estimators; in soft voting their probabilities, in hard voting their classes, of regressors their values."""
    weights: tuple[float, ...] | None
    """The weight of each; None for equal ones."""
    soft: bool
    """Whether probabilities are averaged."""
    answer: Answer
    """What is asked for."""
    positive: int | None
    """The class whose probability is the score."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        weights = None if self.weights is None else list(self.weights)
        if not self.soft:
            votes = np.asarray([member.predict(matrix)[:, 0] for member in self.members]).T
            if self.answer == "value":
                return np.average(votes, axis=1, weights=weights).reshape(-1, 1)
            counted = [np.argmax(np.bincount(row, weights=weights)) for row in votes.astype(np.int64)]
            return indices(counted)
        mean = np.average(np.asarray([member.predict(matrix) for member in self.members]), axis=0, weights=weights)
        return indices(np.argmax(mean, axis=1)) if self.answer == "class" else chosen(mean, self.positive)

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        return {"kind": "voting", **vars(self), "members": [member.to_plain() for member in self.members]}


@dataclass(frozen=True, kw_only=True)
class Stacking:
    """Estimators whose answers are the columns of another one."""

    members: tuple[Final, ...]
    """The estimators."""
    drops_first: tuple[bool, ...]
    """Per estimator whether the first column of its answer is left out: one of two probabilities is enough."""
    passthrough: bool
    """Whether the last estimator is given the matrix too."""
    last: Final
    """The last estimator, which answers."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the scores: `Final.predict`."""
        answers = [member.predict(matrix) for member in self.members]
        columns = [answer[:, 1:] if drops else answer for answer, drops in zip(answers, self.drops_first, strict=True)]
        return self.last.predict(np.hstack([*columns, matrix] if self.passthrough else columns))

    def to_plain(self) -> dict[str, Any]:
        """Return what `from_plain` makes it of again."""
        members = [member.to_plain() for member in self.members]
        return {"kind": "stacking", **vars(self), "members": members, "last": self.last.to_plain()}


def from_plain(plain: Mapping[str, Any]) -> Voting | Stacking:
    """Return what `to_plain` gave."""
    members = tuple(final_from(member) for member in plain["members"])
    if plain["kind"] == "stacking":
        return Stacking(
            members=members,
            drops_first=tuple(plain["drops_first"]),
            passthrough=plain["passthrough"],
            last=final_from(plain["last"]),
        )
    weights = None if plain["weights"] is None else tuple(plain["weights"])
    return Voting(
        members=members,
        weights=weights,
        soft=plain["soft"],
        answer=plain["answer"],
        positive=plain["positive"],
    )


def read(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Final:
    """Read a fitted estimator off: `read_final`."""
    kind = kind_of(estimator)
    if kind == "FrozenEstimator":
        return read_final(estimator.estimator, output, classes, positive)
    if kind.startswith("Stacking"):
        return _stacking(estimator, output, classes, positive)
    if output == "decision":
        raise UnknownStepError(f"{kind} has no decisions")
    soft = kind == "VotingClassifier" and estimator.voting == "soft"
    asked: Answer = "value" if kind == "VotingRegressor" else "probability" if soft else "class"
    if any(
        not np.array_equal(member.classes_, np.arange(len(classes))) for member in estimator.estimators_ if len(classes)
    ):
        raise UnknownStepError(f"a member of the {kind} knows other classes")
    weights = estimator._weights_not_none  # noqa: SLF001 - what the estimator itself averages with
    return Voting(
        members=tuple(read_final(member, asked, classes, None) for member in estimator.estimators_),
        weights=None if weights is None else tuple(float(weight) for weight in weights),
        soft=soft,
        answer=output,
        positive=positive,
    )


def _stacking(estimator: Any, output: Answer, classes: Sequence[Any], positive: int | None) -> Stacking:
    asked: Mapping[str, Answer] = {
        "predict_proba": "probability",
        "decision_function": "decision",
        "predict": "value",
    }
    methods = estimator.stack_method_
    return Stacking(
        members=tuple(
            read_final(member, asked[method], getattr(member, "classes_", []), None)
            for member, method in zip(estimator.estimators_, methods, strict=True)
        ),
        drops_first=tuple(method == "predict_proba" and len(classes) == 2 for method in methods),  # noqa: PLR2004
        passthrough=bool(estimator.passthrough),
        last=read_final(estimator.final_estimator_, output, classes, positive),
    )
