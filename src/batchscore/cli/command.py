"""How a command is declared: its options, and that what it answers is printed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from batchscore import __version__, streams
from batchscore.errors import StorageFailed, UsageError
from batchscore.text import Answer, Given

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Score one dated, immutable parquet snapshot with one pinned model, and publish one dated output.",
    epilog="Exit codes: docs/exit-codes.md. 0 done, 2 usage, 10-19 do not retry, 20-29 may be retried.",
)

Date = Annotated[str, typer.Option("--date", "-d", help="The snapshot's date, such as 2013-02-08.")]
DueDate = Annotated[
    str, typer.Option("--date", "-d", help="The snapshot's date (2013-02-08), or `scheduled` in a CronJob.")
]
OptionalDate = Annotated[str | None, typer.Option("--date", "-d", help="Check this date's snapshot too.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept in the commit record.")]
RequiredReason = Annotated[str, typer.Option("--reason", help="Why; kept for ever.")]
By = Annotated[str | None, typer.Option("--by", help="Who; by default the login.")]
RunType = Annotated[
    str | None, typer.Option("--run-type", help="scheduled, backfill or manual; by default worked out.")
]
Revision = Annotated[int | None, typer.Option("--revision", min=1, help="A revision; by default the newest.")]

_CONFIGURATION = {
    "config": Annotated[
        list[str],
        typer.Option("--config", "-c", help="Configuration file; repeat it, later files override key by key."),
    ],
    "overrides": Annotated[
        list[str] | None, typer.Option("--set", help="Override one key: section.key=value; repeatable.")
    ],
}
"""Options of every command that takes a `given`: what is typed of the configuration."""

_COMMON = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")],
    "log_format": Annotated[str | None, typer.Option("--log-format", help="json or text; text on a terminal.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Debug lines and tracebacks on stderr.")],
}
"""Options that every command takes."""
_DEFAULTS = {"overrides": None, "log_format": None}


def command(
    group: typer.Typer = app, name: str | None = None
) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Register a function as a command: it takes the common options too, and what it answers is printed.

    A parameter `given` stands for the options that name the configuration.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        parameters = list(_parameters(own))

        def run(**options: Any) -> None:
            common = {key: options.pop(key) for key in _COMMON}
            _configure_logs(common)
            if "given" in own.parameters:
                options["given"] = Given(files=options.pop("config"), overrides=options.pop("overrides") or ())
            answer = function(**options)
            _print(json.dumps(answer.document, indent=2) if common["as_json"] else answer.text, answer.exit_code)
            raise typer.Exit(answer.exit_code)

        run.__signature__ = own.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        group.command(name=name or function.__name__.replace("_", "-"))(run)
        return run

    return register


def _parameters(own: inspect.Signature) -> Iterator[inspect.Parameter]:
    """Yield the options of a command: its own, with those of the configuration for `given`, then the common ones."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    for parameter in own.parameters.values():
        if parameter.name != "given":
            yield parameter.replace(kind=keyword)
            continue
        for key, annotation in _CONFIGURATION.items():
            yield inspect.Parameter(key, keyword, default=_DEFAULTS.get(key, parameter.empty), annotation=annotation)
    for key, annotation in _COMMON.items():
        yield inspect.Parameter(key, keyword, default=_DEFAULTS.get(key, False), annotation=annotation)


def _print(text: str, exit_code: int) -> None:
    """Print what a command answers; a code that says more than that stdout failed is kept.

    Raises:
        StorageFailed: When stdout can not be written, such as on a full disk, and the command ended with 0.
    """
    try:
        typer.echo(text)
    except OSError as error:
        streams.give_up_stdout()
        if exit_code == 0:
            raise StorageFailed(
                f"the command is done, but its answer can not be written to stdout: {error.strerror}",
                slug="STDOUT",
                remedy="free some space, or send stdout elsewhere, then run the same command again",
            ) from error


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"batchscore {__version__}")
        raise typer.Exit


def _configure_logs(given: dict[str, Any]) -> None:
    import logging

    from batchscore import logs

    if given["log_format"] not in (None, "json", "text"):
        raise UsageError(
            f"--log-format {given['log_format']!r} is not json or text",
            slug="LOG-FORMAT",
            remedy="leave it out, or name one",
        )
    level = logging.DEBUG if given["verbose"] else logging.WARNING if given["quiet"] else logging.INFO
    logs.configure(given["log_format"], level=level)
