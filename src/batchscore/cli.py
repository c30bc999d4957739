"""The command line: argv → config → run → exit code. The only print and the only exit.

Nothing of the data stack is imported before a command needs it.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from batchscore import __version__
from batchscore.errors import BatchscoreError, Interrupted, Terminated, UsageError
from batchscore.text import Answer

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Score one dated, immutable parquet snapshot with one pinned model, and publish one dated output.",
    epilog="Exit codes: docs/exit-codes.md. 0 done, 2 usage, 10-19 do not retry, 20-29 may be retried.",
)

Configs = Annotated[
    list[str], typer.Option("--config", "-c", help="Configuration file; repeat it, later files override key by key.")
]
Date = Annotated[
    str, typer.Option("--date", "-d", help="The snapshot's date (2013-02-08), or `scheduled` in a CronJob.")
]
OptionalDate = Annotated[str | None, typer.Option("--date", "-d", help="Check this date's snapshot too.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override one key: section.key=value; repeatable.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept in the commit record.")]
RequiredReason = Annotated[str, typer.Option("--reason", help="Why; kept for ever.")]
By = Annotated[str | None, typer.Option("--by", help="Who; by default the login.")]
RunType = Annotated[
    str | None, typer.Option("--run-type", help="scheduled, backfill or manual; by default worked out.")
]
Revision = Annotated[int | None, typer.Option("--revision", min=1, help="A revision; by default the newest.")]

_COMMON = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")],
    "log_format": Annotated[str | None, typer.Option("--log-format", help="json or text; text on a terminal.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Debug lines and tracebacks on stderr.")],
}
"""Options that every command takes."""


def main() -> None:
    """Run the command line and exit with its code."""
    _one_thread_per_library()
    signal.signal(signal.SIGTERM, _raise_terminated)
    signal.signal(signal.SIGINT, _raise_interrupted)
    try:
        app()
    except BatchscoreError as error:
        _leave(error)
    except Exception as error:  # noqa: BLE001 - the last border: a bug gets a code and a sentence too
        _leave(_bug(error))


def command(
    group: typer.Typer = app, name: str | None = None
) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Register a function as a command: it takes the common options too, and what it answers is printed."""

    def register(function: Callable[..., Answer]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_default(key), annotation=annotation)
            for key, annotation in _COMMON.items()
        ]

        def run(**options: Any) -> None:  # noqa: ANN401 - whatever the command declares
            given = {key: options.pop(key) for key in _COMMON}
            _configure_logs(given)
            answer = function(**options)
            typer.echo(json.dumps(answer.document, indent=2) if given["as_json"] else answer.text)
            raise typer.Exit(answer.exit_code)

        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()]
        run.__signature__ = own.replace(parameters=[*keyword, *common], return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*keyword, *common]}
        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        group.command(name=name or function.__name__.replace("_", "-"))(run)
        return run

    return register


def _default(key: str) -> object:
    return None if key == "log_format" else False


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,  # noqa: FBT002
) -> None:
    if version:
        typer.echo(f"batchscore {__version__}")
        raise typer.Exit


@command()
def validate(config: Configs, date: OptionalDate = None, overrides: Overrides = None) -> Answer:
    """Check all that can be known without a cluster; change nothing."""
    from batchscore import answers  # noqa: PLC0415 - lazy, as everything below

    return answers.validate(config, date, overrides or [])


@command()
def plan(
    config: Configs,
    date: Date,
    overrides: Overrides = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the plan to a file too.")] = None,
) -> Answer:
    """Show what would be read, scored, written and pushed; change nothing."""
    from batchscore import answers  # noqa: PLC0415

    return answers.plan(config, date, overrides or [], output)


@command()
def run(
    config: Configs,
    date: Date,
    overrides: Overrides = None,
    republish: Annotated[bool, typer.Option("--republish", help="Publish a new revision of a published date.")] = False,  # noqa: FBT002
    reason: Reason = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Score the first N rows; publish nothing.")
    ] = None,
    run_type: RunType = None,
    by: By = None,
) -> Answer:
    """Score one date and publish it, all at once or not at all."""
    from batchscore import answers  # noqa: PLC0415

    if limit is not None:
        return answers.limited(config, date, overrides or [], limit)
    return answers.run(config, date, overrides or [], republish=republish, reason=reason, run_type=run_type, by=by)


@command()
def show(config: Configs, date: Date, revision: Revision = None) -> Answer:
    """Show one published run."""
    from batchscore import answers  # noqa: PLC0415

    return answers.show(config, date, revision)


@command()
def runs(config: Configs, last: Annotated[int, typer.Option("--last", min=1, help="How many.")] = 30) -> Answer:
    """List the published dates and their revisions."""
    from batchscore import answers  # noqa: PLC0415

    return answers.runs(config, last)


@command()
def verify(config: Configs, date: Date) -> Answer:
    """Prove that what lies there is what was published."""
    from batchscore import answers  # noqa: PLC0415

    return answers.verify(config, date)


@command()
def diff(
    config: Configs,
    old: Annotated[str, typer.Argument(metavar="D1", help="A date, or a revision of it: 2013-02-08@1.")],
    new: Annotated[str, typer.Argument(metavar="D2", help="A date, or a revision of it.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 3 when they differ.")] = False,  # noqa: FBT002
) -> Answer:
    """Compare two published dates or revisions."""
    from batchscore import answers  # noqa: PLC0415

    return answers.diff(config, old, new, exit_code=exit_code)


@command()
def release(config: Configs, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Publish the newest held run of a date, exactly as it was scored."""
    from batchscore import answers  # noqa: PLC0415

    return answers.release(config, date, reason=reason, by=by)


@command()
def discard(config: Configs, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Drop the newest held run of a date."""
    from batchscore import answers  # noqa: PLC0415

    return answers.discard(config, date, reason=reason, by=by)


@command()
def gc(
    config: Configs,
    days: Annotated[float, typer.Option("--days", min=0, help="Leave alone what was touched within so many days.")] = 7,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; by default it is only listed.")] = False,  # noqa: FBT002
) -> Answer:
    """List, or remove, what no commit and no held run needs."""
    from batchscore import answers  # noqa: PLC0415

    return answers.gc(config, days=days, delete=delete)


@command()
def replay(config: Configs, date: Date, overrides: Overrides = None, revision: Revision = None) -> Answer:
    """Score a published date again, in a private place, and compare."""
    from batchscore import answers  # noqa: PLC0415

    return answers.replay(config, date, overrides or [], revision)


def _configure_logs(given: dict[str, Any]) -> None:
    import logging  # noqa: PLC0415

    from batchscore import logs  # noqa: PLC0415

    if given["log_format"] not in (None, "json", "text"):
        raise UsageError(f"--log-format {given['log_format']!r} is not json or text", slug="LOG-FORMAT")
    level = logging.DEBUG if given["verbose"] else logging.WARNING if given["quiet"] else logging.INFO
    logs.configure(given["log_format"], level=level)


def _one_thread_per_library() -> None:
    """Numeric libraries get one thread each: parallel sums would not be deterministic, and Dask gives the rest."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated("terminated by SIGTERM", remedy="run the same command again: it resumes")


def _raise_interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted("interrupted", remedy="run the same command again: it resumes")


def _bug(error: Exception) -> BatchscoreError:
    import traceback  # noqa: PLC0415

    return BatchscoreError(
        f"an error that batchscore did not foresee: {type(error).__name__}: {error}",
        slug="UNEXPECTED",
        remedy="report it with the traceback that `-v` prints",
        traceback="".join(traceback.format_exception(error)),
    )


def _leave(error: BatchscoreError) -> NoReturn:
    """Print the error and exit with its code, at once: a worker thread in the middle of a task is not waited for."""
    if "--json" in sys.argv:
        document = {"error": error.id, "exit_code": error.exit_code, "message": error.message, "help": error.remedy}
        typer.echo(json.dumps(document | {"context": error.context}, indent=2, default=str))
    typer.echo(f"error[{error.id}]: {error.message}", err=True)
    if error.remedy:
        typer.echo(f"help: {error.remedy}", err=True)
    typer.echo(error.context.get("state") or "Nothing was published.", err=True)
    if {"-v", "--verbose"} & set(sys.argv) and "traceback" in error.context:
        typer.echo(error.context["traceback"], err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)
