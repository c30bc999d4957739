"""Commands that score and publish, or say what that would do."""

from __future__ import annotations

from typing import Annotated

import typer

from batchscore.cli.command import By, Configs, Date, OptionalDate, Overrides, Reason, RequiredReason, RunType, command
from batchscore.text import Answer


@command()
def validate(config: Configs, date: OptionalDate = None, overrides: Overrides = None) -> Answer:
    """Check all that can be known without a cluster; change nothing."""
    from batchscore.answers import looking

    return looking.validate(config, date, overrides or [])


@command()
def plan(
    config: Configs,
    date: Date,
    overrides: Overrides = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the plan to a file too.")] = None,
) -> Answer:
    """Show what would be read, scored, written and pushed; change nothing."""
    from batchscore.answers import looking

    return looking.plan(config, date, overrides or [], output)


@command()
def run(
    config: Configs,
    date: Date,
    overrides: Overrides = None,
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
        return scoring.limited(config, date, overrides or [], limit)
    return scoring.run(config, date, overrides or [], republish=republish, reason=reason, run_type=run_type, by=by)


@command()
def rescore_quarantine(
    config: Configs,
    date: Date,
    overrides: Overrides = None,
    source: Annotated[
        str | None, typer.Option("--from", help="A parquet file or folder with mended rows; default: the snapshot.")
    ] = None,
    reason: Reason = None,
    by: By = None,
) -> Answer:
    """Score only the rows that a date set aside, after schema or source was mended; publish the next revision."""
    from batchscore.answers import scoring

    return scoring.rescore_quarantine(config, date, overrides or [], source=source, reason=reason, by=by)


@command()
def release(config: Configs, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Publish the newest held run of a date, exactly as it was scored."""
    from batchscore.answers import scoring

    return scoring.release(config, date, reason=reason, by=by)


@command()
def discard(config: Configs, date: Date, reason: RequiredReason, by: By = None) -> Answer:
    """Drop the newest held run of a date."""
    from batchscore.answers import scoring

    return scoring.discard(config, date, reason=reason, by=by)


@command()
def gc(
    config: Configs,
    days: Annotated[float, typer.Option("--days", min=0, help="Leave alone what was touched within so many days.")] = 7,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; by default it is only listed.")] = False,
) -> Answer:
    """List, or remove, what no commit and no held run needs."""
    from batchscore.answers import scoring

    return scoring.gc(config, days=days, delete=delete)


@command()
def backfill(
    config: Configs,
    first: Annotated[str, typer.Option("--from", help="The first date.")],
    last: Annotated[str, typer.Option("--to", help="The last date, included.")],
    overrides: Overrides = None,
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
        config,
        first,
        last,
        overrides or [],
        everything=everything,
        at_once=at_once,
        keep_going=keep_going,
        republish=republish,
        reason=reason,
        by=by,
    )
