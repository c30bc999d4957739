"""One row of the table of bad inputs, and what every one of them must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forked_cli import Ended
from small_world import World

STATE = "Nothing was published."
"""The last line of every refusal: what was and was not done."""


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One bad input."""

    what: str
    """What is wrong, for the documentation."""
    code: int
    """The exit code."""
    error: str
    """The error's id."""
    says: tuple[str, ...]
    """Parts of the message that name the thing and the fact."""
    spoil: Callable[[World], object] = lambda _: None
    """Makes the pipeline bad."""
    argv: tuple[str, ...] = ()
    """More arguments for `run`."""
    date: str = "2024-03-01"
    """The date that is run."""
    command: tuple[str, ...] = ()
    """The whole command line instead, when it is not `run` on that date."""

    def run(self, world: World, *more: str) -> Ended:
        """Run the command on a pipeline that was spoilt."""
        if self.command:
            return world(*self.command, *more)
        return world.run(*self.argv, *more, date=self.date)


def row(
    code: int, error: str, what: str, *says: str, spoil: Callable[[World], object] = lambda _: None, **more: object
) -> Bad:
    """Make a row."""
    return Bad(code=code, error=error, what=what, says=says, spoil=spoil, **more)  # type: ignore[arg-type]


def message(ended: Ended) -> str:
    """Return the sentence of the error; empty without one."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error[")]
    return lines[0].partition("]: ")[2] if lines else ""


def error_id(ended: Ended) -> str:
    """Return the id of the error; empty without one."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error[")]
    return lines[0][6:].partition("]")[0] if lines else ""


def remedy(ended: Ended) -> str:
    """Return the help line; empty without one."""
    lines = [line for line in ended.err.splitlines() if line.startswith("help: ")]
    return lines[0][6:] if lines else ""
