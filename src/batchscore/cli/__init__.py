"""The command line: argv → config → run → exit code. The only print and the only exit.

Nothing of the data stack is imported before a command needs it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from batchscore import ending, streams
from batchscore.cli import artifacts, proofs, runs
from batchscore.cli.command import app
from batchscore.errors import Reported, UsageError, unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "artifacts", "main", "proofs", "runs"]


def main() -> None:
    """Run the command line and exit with its code."""
    streams.guard()
    ended: list[int] = []
    atexit.register(_end_at_once, ended)  # the first that is registered, so the last that is called
    _one_thread_per_library()
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # no plugin of this machine changes how a config is read
    _leave_out_others(sys.argv[1:])
    gc.disable()  # what imports make is no garbage, and looking for some takes a tenth of a small run; see `score_all`
    ending.raise_signals(os.environ)
    try:
        code = app(standalone_mode=False)
    except Reported as error:
        _leave(error)
    except typer.TyperException as error:
        _leave(_usage(error))
    except Exception as error:  # noqa: BLE001 - the last border: a bug gets a code and a sentence too
        _leave(unforeseen(error))
    ending.ignore_signals()
    ended.append(code or 0)
    sys.exit(code)


def _end_at_once(ended: Sequence[int]) -> None:
    """Leave without taking the interpreter apart, which frees for 20 ms what is gone anyway.

    Threads have been waited for by now, and what libraries do at the end is done.
    """
    if ended:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(ended[0])


def _usage(error: typer.TyperException) -> Reported:
    """Turn what the parser of the command line says into an error like any other; a lone group prints its help."""
    if type(error).__name__ == "NoArgsIsHelpError":  # by name, as its class stands in a private module
        typer.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "batchscore"
    return UsageError(
        text[:1].lower() + text[1:], slug="COMMAND-LINE", remedy=f"`{command} --help` lists what can be given"
    )


def _one_thread_per_library() -> None:
    """Numeric libraries get one thread each: parallel sums would not be deterministic, and Dask gives the rest."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"


def _leave_out_others(argv: Sequence[str]) -> None:
    """Keep the one command that is asked for, as each takes a millisecond or two to build; all when it is unclear."""
    commands = [info for info in app.registered_commands if info.name in argv[:1]]
    groups = [info for info in app.registered_groups if info.name in argv[:1]]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def _leave(error: Reported) -> NoReturn:
    """Print the error and exit with its code, at once: a worker thread in the middle of a task is not waited for."""
    ending.heard()
    context = dict(error.context)
    traceback = context.pop("traceback", None)
    state = context.pop("state", error.state)
    if "--json" in sys.argv:
        document = {"error": error.id, "exit_code": error.exit_code, "message": error.message, "help": error.remedy}
        with suppress(OSError):  # the error itself is what counts, and stderr has it too
            typer.echo(json.dumps(document | {"state": state, "context": context}, indent=2, default=str))
    typer.echo(f"error[{error.id}]: {error.message}", err=True)
    if error.remedy:
        typer.echo(f"help: {error.remedy}", err=True)
    typer.echo(state, err=True)
    if traceback and {"-v", "--verbose"} & set(sys.argv):
        typer.echo(traceback, err=True)
    with suppress(OSError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)
