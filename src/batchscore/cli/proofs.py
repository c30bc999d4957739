"""Commands that look at what was published."""

from __future__ import annotations

from typing import Annotated

import typer

from batchscore.cli.command import Date, Revision, command
from batchscore.text import Answer, Given


@command()
def show(given: Given, date: Date, revision: Revision = None) -> Answer:
    """Show one published run, or a held one."""
    from batchscore.answers import looking

    return looking.show(given, date, revision)


@command()
def runs(given: Given, last: Annotated[int, typer.Option("--last", min=1, help="How many.")] = 30) -> Answer:
    """List the published dates and their revisions."""
    from batchscore.answers import looking

    return looking.runs(given, last)


@command()
def verify(given: Given, date: Date) -> Answer:
    """Prove that what lies there is what was published."""
    from batchscore.answers import proving

    return proving.verify(given, date)


@command()
def diff(
    given: Given,
    old: Annotated[str, typer.Argument(metavar="D1", help="A date, or a revision of it: 2013-02-08@1.")],
    new: Annotated[str, typer.Argument(metavar="D2", help="A date, or a revision of it.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 3 when they differ.")] = False,
) -> Answer:
    """Compare two published dates or revisions."""
    from batchscore.answers import proving

    return proving.diff(given, old, new, exit_code=exit_code)


@command()
def replay(
    given: Given,
    date: Date,
    revision: Revision = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Score with the artifact itself, never with a compiled model.")
    ] = False,
) -> Answer:
    """Score a published date again, in a private place, and compare."""
    from batchscore.answers import proving

    return proving.replay(given, date, revision, reference=reference)


@command()
def why(
    given: Given,
    row: Annotated[str, typer.Argument(metavar="ID", help="The row's id.")],
    date: Date,
    revision: Revision = None,
) -> Answer:
    """Tell where a row came from, what the model received, what decided; score it again and compare."""
    from batchscore.answers import explaining

    return explaining.why(given, date, row, revision)


@command()
def report(
    given: Given,
    date: Annotated[str | None, typer.Option("--date", "-d", help="The published date to report on.")] = None,
    history: Annotated[bool, typer.Option("--history", help="The last 60 dates, instead of one.")] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    runbooks: Annotated[
        str | None, typer.Option("--runbooks", help="A folder or an address: links to the runbooks there.")
    ] = None,
) -> Answer:
    """Write one self-contained HTML page on a published date, or on the last 60."""
    from batchscore.answers import proving

    return proving.report(given, date, history=history, output=output, runbooks=runbooks)
