"""The tree of errors: class = cause = exit code = retriable or not.

An error is raised where it is known, crosses processes intact, and is caught once, in `cli`.
A signal is told like an error, and is none: what catches errors, here and in libraries, does not take it for one.
`EXIT_CODES` is the one table; the docs, the chart's `podFailurePolicy` and the metrics' `reason` label follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

UNKNOWN_STATE = "Nothing is half published: the same command finds out what was written, and resumes."
"""The state after an error that may have come in the middle of publishing."""


class Reported(BaseException):
    """What ends a command with a code and a sentence of its own.

    Args:
        message: One sentence that names the thing and the fact, with the offending value quoted.
        slug: The stable name of the error within its class, such as `MISSING-COLUMN`.
        remedy: What to do about it, printed after `help:`.
        **context: Facts for the log and for `--json`: plain strings, numbers and lists of them.
    """

    exit_code: ClassVar[int] = 1
    family: ClassVar[str] = "BUG"
    state: ClassVar[str] = "Nothing was published."
    """What was and was not done, printed last; a `state` in the context says it better for one error."""

    def __init__(self, message: str, *, slug: str = "", remedy: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.slug = slug
        self.remedy = remedy
        self.context = context

    @property
    def id(self) -> str:
        """The stable name of the error, such as `E-CONTRACT-MISSING-COLUMN`."""
        return "-".join(part for part in ("E", self.family, self.slug) if part)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by constructor call, since keyword-only arguments do not survive the default way."""
        state = {"slug": self.slug, "remedy": self.remedy, **self.context}
        return (_rebuild, (type(self), self.message, state))

    def __eq__(self, other: object) -> bool:
        """Compare by class and content, so that errors can be compared after they crossed a process."""
        return type(self) is type(other) and self.__reduce__() == other.__reduce__()

    __hash__ = BaseException.__hash__


class BatchscoreError(Reported, Exception):
    """An error that a user can act on."""


class Signalled(Reported):
    """A signal told the process to end; the run can be resumed."""

    state = UNKNOWN_STATE


def unforeseen(error: Exception) -> Reported:
    """Return what an error that nobody foresaw is told as; its traceback is in the context.

    One that came up on the way out, after a signal, is told as that signal.
    """
    import traceback

    before = error.__context__
    while before is not None:
        if isinstance(before, Signalled):
            return before
        before = before.__context__
    return BatchscoreError(
        " ".join(f"an error that batchscore did not foresee: {type(error).__name__}: {error}".split()),
        slug="UNEXPECTED",
        remedy="report it with the traceback that `-v` prints",
        state=UNKNOWN_STATE,
        traceback="".join(traceback.format_exception(error)),
    )


def _rebuild(cls: type[Reported], message: str, state: dict[str, str]) -> Reported:
    return cls(message, **state)


class UsageError(BatchscoreError):
    """The command line is wrong: a bad date, an unknown option, a missing argument."""

    exit_code, family = 2, "USAGE"


class DifferencesFound(BatchscoreError):
    """`verify`, `replay`, `why` or `diff` found a difference."""

    exit_code, family = 3, "DIFFERENCES"


class ConfigError(BatchscoreError):
    """The configuration or the feature schema is wrong."""

    exit_code, family = 10, "CONFIG"


class ModelError(BatchscoreError):
    """The model is missing, refused or incompatible."""

    exit_code, family = 11, "MODEL"


class ContractError(BatchscoreError):
    """The snapshot breaks the contract: columns, dtypes, values, ids, sizes."""

    exit_code, family = 12, "CONTRACT"


class SnapshotCorrupt(BatchscoreError):
    """The snapshot is corrupt, or changed while it was read."""

    exit_code, family = 13, "SNAPSHOT"


class OutputExists(BatchscoreError):
    """The date is published, and by another plan."""

    exit_code, family = 14, "OUTPUT"


class Held(BatchscoreError):
    """A gate refused to publish."""

    exit_code, family = 15, "GATE"


class TooManyBadRows(BatchscoreError):
    """More rows are bad than the budget allows."""

    exit_code, family = 16, "ROWS"


class NotDeterministic(BatchscoreError):
    """A partition came out differently the second time."""

    exit_code, family = 17, "DETERMINISM"


class StateDamaged(BatchscoreError):
    """A stored file of our own is damaged."""

    exit_code, family = 18, "STATE"


class SnapshotMissing(BatchscoreError):
    """The snapshot is not there yet."""

    exit_code, family = 20, "MISSING"


class DateBusy(BatchscoreError):
    """Another live run holds the date."""

    exit_code, family = 21, "BUSY"


class NoCluster(BatchscoreError):
    """There was no cluster, or no worker, in time."""

    exit_code, family = 22, "CLUSTER"


class StorageFailed(BatchscoreError):
    """Storage or network failed after all retries; the outcome may be unknown."""

    exit_code, family = 23, "STORAGE"
    state = UNKNOWN_STATE


class PartitionsFailed(BatchscoreError):
    """Partitions failed after all retries."""

    exit_code, family = 24, "PARTITIONS"


class Interrupted(Signalled):
    """The run was interrupted (SIGINT); it can be resumed."""

    exit_code, family = 130, "INTERRUPTED"


class Terminated(Signalled):
    """The run was terminated (SIGTERM); it can be resumed."""

    exit_code, family = 143, "TERMINATED"


@dataclass(frozen=True, kw_only=True)
class ExitCode:
    """One row of the table of exit codes."""

    code: int
    """The process exit code."""
    name: str
    """A short name, as in logs and `--json`."""
    reason: str
    """The `reason` label of `batchscore_last_run_failure`; empty when the code is not a failed run."""
    retriable: bool
    """Whether the same command may succeed later without anybody changing anything."""
    meaning: str
    """One sentence for the documentation."""
    remedy: str
    """What to do first."""


def _row(code: int, name: str, reason: str, *, retriable: bool, meaning: str, remedy: str) -> ExitCode:
    return ExitCode(code=code, name=name, reason=reason, retriable=retriable, meaning=meaning, remedy=remedy)


EXIT_CODES: tuple[ExitCode, ...] = (
    _row(0, "done", "", retriable=False, meaning="Done, or already done.", remedy="Nothing."),
    _row(
        1,
        "bug",
        "bug",
        retriable=True,
        meaning="An error that batchscore did not foresee.",
        remedy="Report it with the traceback that `-v` prints; nothing was published.",
    ),
    _row(
        2,
        "usage",
        "config",
        retriable=False,
        meaning="The command line is wrong.",
        remedy="Read the message and `batchscore COMMAND --help`.",
    ),
    _row(
        3,
        "differences",
        "",
        retriable=False,
        meaning="`verify`, `replay`, `why` or `diff --exit-code` found a difference; also: what is to be replayed is gone.",
        remedy="Read which file, row or column it names.",
    ),
    _row(
        10,
        "config",
        "config",
        retriable=False,
        meaning="The configuration or the feature schema is wrong.",
        remedy="Mend the key that the message names; `batchscore validate` checks it.",
    ),
    _row(
        11,
        "model",
        "model",
        retriable=False,
        meaning="The model is missing, refused or incompatible.",
        remedy="Compare `model.path`, `model.version` and `model.sha256` with the model's release.",
    ),
    _row(
        12,
        "contract",
        "contract",
        retriable=False,
        meaning="The snapshot breaks the contract: columns, dtypes, values, ids or sizes.",
        remedy="Mend the snapshot at its source, or the feature schema if the contract is what is wrong.",
    ),
    _row(
        13,
        "snapshot",
        "input",
        retriable=False,
        meaning="The snapshot is corrupt, or changed while it was read.",
        remedy="Have the named file delivered again, whole, and run the same command.",
    ),
    _row(
        14,
        "exists",
        "publish",
        retriable=False,
        meaning="The date is published already, by another plan.",
        remedy="Read the difference it prints; `--republish --reason TEXT` publishes a new revision.",
    ),
    _row(
        15,
        "held",
        "gate",
        retriable=False,
        meaning="A gate refused to publish.",
        remedy="Look at the numbers; `batchscore release` publishes a held run, `discard` drops it.",
    ),
    _row(
        16,
        "bad-rows",
        "rows",
        retriable=False,
        meaning="More rows are bad than the budget allows.",
        remedy="Read the reasons; mend the source or raise `rows.max_bad_count` and `rows.max_bad_percent`.",
    ),
    _row(
        17,
        "not-deterministic",
        "state",
        retriable=False,
        meaning="A partition came out differently the second time it was scored.",
        remedy="Compare the hosts' CPU kinds and library versions; the first result was kept.",
    ),
    _row(
        18,
        "damaged",
        "state",
        retriable=False,
        meaning="A stored file of batchscore's own is damaged.",
        remedy="Run `batchscore verify`; restore the named file, or delete the date's work folder and run again.",
    ),
    _row(
        20,
        "snapshot-missing",
        "input",
        retriable=True,
        meaning="The snapshot is not there yet.",
        remedy="Wait for the producer, or set `snapshot.wait_minutes`.",
    ),
    _row(
        21,
        "busy",
        "publish",
        retriable=True,
        meaning="Another live run holds the date.",
        remedy="Let it finish; the message names the holder.",
    ),
    _row(
        22,
        "no-cluster",
        "cluster",
        retriable=True,
        meaning="There was no cluster, or no worker, in time.",
        remedy="Read the reason in the message; the next run resumes.",
    ),
    _row(
        23,
        "storage",
        "storage",
        retriable=True,
        meaning="Storage or network failed after all retries; the outcome may be unknown.",
        remedy="Run the same command again: it finds out what was written, and resumes.",
    ),
    _row(
        24,
        "partitions",
        "compute",
        retriable=True,
        meaning="Partitions failed after all retries.",
        remedy="Look at the partition and file that the message names; finished partitions are kept.",
    ),
    _row(
        130,
        "interrupted",
        "compute",
        retriable=True,
        meaning="Interrupted by Ctrl-C.",
        remedy="Run the same command again: it resumes.",
    ),
    _row(
        143,
        "terminated",
        "compute",
        retriable=True,
        meaning="Terminated by SIGTERM.",
        remedy="Run the same command again: it resumes.",
    ),
)


def error_classes() -> tuple[type[Reported], ...]:
    """Return every class that has an exit code of its own, errors and signals, in the order of the codes."""
    classes: list[type[Reported]] = [*BatchscoreError.__subclasses__(), *Signalled.__subclasses__()]
    return tuple(sorted(classes, key=lambda cls: cls.exit_code))


def exit_code(code: int) -> ExitCode:
    """Return the row of `code`; an unknown code is the row of a bug."""
    rows = {row.code: row for row in EXIT_CODES}
    return rows.get(code, rows[1])
