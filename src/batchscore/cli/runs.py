"""Commands that score and publish, or say what that would do."""

from __future__ import annotations

from typing import Annotated

import typer

from batchscore.cli.command import By, Date, DueDate, OptionalDate, Reason, RequiredReason, RunType, command
from batchscore.text import Answer, Given


@command()
def validate(given: Given, date: OptionalDate = None) -> Answer:
    """Check all that can be known without a cluster; change nothing."""
    from batchscore.answers import looking

    return looking.validate(given, date)


@command()
def plan(
    given: Given,
    date: Date,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the plan to a file too.")] = None,
) -> Answer:
    """Show what would be read, scored, written and pushed; change nothing."""
    from batchscore.answers import looking

    return looking.plan(given, date, output)


@command()
def run(
    given: Given,
    date: DueDate,
    republish: Annotated[bool, typer.Option("--republish", help="Publish a new revision of a published date.")] = False,
    reason: Reason = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Score the first N rows; publish nothing.")
    ] = None,
    run_type: RunType = None,
    by: By = None,
) -> Answer:
    """Score one date and publish it, all at once or not at all."""
    from batchscore.answers import scoring

    if limit is not None:
        return scoring.limited(given, date, limit)
    return scoring.run(given, date, republish=republish, reason=reason, run_type=run_type, by=by)


@command()
def rescore_quarantine(
    given: Given,
    date: Date,
    source: Annotated[
        str | None, typer.Option("--from", help="A parquet file or folder with mended rows; default: the snapshot.")
    ] = None,
    reason: Reason = None,
    by: By = None,
) -> Answer:
    """Score only the rows that a date set aside, after schema or source was mended; publish the next revision."""
    from batchscore.answers import scoring

    return scoring.rescore_quarantine(given, date, source=source, reason=reason, by=by)


@command()
def release(given: Given, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Publish the newest held run of a date, exactly as it was scored."""
    from batchscore.answers import scoring

    return scoring.release(given, date, reason=reason, by=by)


@command()
def discard(given: Given, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Drop the newest held run of a date."""
    from batchscore.answers import scoring

    return scoring.discard(given, date, reason=reason, by=by)


@command()
def gc(
    given: Given,
    days: Annotated[
        float,
        typer.Option("--days", min=0, help="Leave alone what was touched within so many days, and what live runs use."),
    ] = 7,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; by default it is only listed.")] = False,
) -> Answer:
    """List, or remove, what no commit and no held run needs."""
    from batchscore.answers import scoring

    return scoring.gc(given, days=days, delete=delete)


@command()
def backfill(
    given: Given,
    first: Annotated[str, typer.Option("--from", help="The first date.")],
    last: Annotated[str, typer.Option("--to", help="The last date, included.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Published dates too; the same inputs change nothing.")
    ] = False,
    at_once: Annotated[int, typer.Option("--max-parallel", min=1, max=64, help="Dates at the same time.")] = 1,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a failure.")] = False,
    republish: Annotated[bool, typer.Option("--republish", help="Publish new revisions; with --all.")] = False,
    reason: Reason = None,
    by: By = None,
) -> Answer:
    """Run the dates of a range that are not published yet."""
    from batchscore.answers import scoring

    return scoring.fill_dates(
        given,
        first,
        last,
        everything=everything,
        at_once=at_once,
        keep_going=keep_going,
        republish=republish,
        reason=reason,
        by=by,
    )
