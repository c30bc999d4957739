"""A verified model, as far as decisions on its scores look at it."""

from dataclasses import dataclass

from batchscore.model import score_names


@dataclass
class Model:
    """What a verified model says of its scores."""

    output: str = "probability"
    classes: tuple = (0, 1)
    positive: int | None = 1

    @property
    def score_names(self):
        """The columns of the score matrix."""
        return score_names(self.output, self.classes)
