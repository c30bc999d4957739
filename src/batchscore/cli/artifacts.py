"""Commands on what stands beside a run: metrics, references."""

from __future__ import annotations

from typing import Annotated

import typer

from batchscore.cli.command import Date, app, command
from batchscore.text import Answer, Given

metrics = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, push again or forget a run's metrics.")
reference = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make the reference that drift is told against."
)
model = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a model file without running it.")
app.add_typer(metrics, name="metrics")
app.add_typer(model, name="model")
app.add_typer(reference, name="reference")

RunTypes = Annotated[str, typer.Option("--run-type", help="The group: scheduled, backfill or manual; or all.")]


@command(metrics, "show")
def metrics_show(given: Given, date: Date) -> Answer:
    """Print what a published date pushes, in Prometheus' text format."""
    from batchscore.answers import artifacts

    return artifacts.metrics_show(given, date)


@command(metrics, "push")
def metrics_push(given: Given, date: Date) -> Answer:
    """Push a published date's metrics again, exactly as its run did."""
    from batchscore.answers import artifacts

    return artifacts.metrics_push(given, date)


@command(metrics, "forget")
def metrics_forget(given: Given, run_type: RunTypes) -> Answer:
    """Have the Pushgateway forget a pipeline's group; it never does so by itself."""
    from batchscore.answers import artifacts

    return artifacts.metrics_forget(given, run_type)


@command(reference, "create")
def reference_create(
    given: Given,
    first: Annotated[str, typer.Option("--from", help="The first date.")],
    last: Annotated[str, typer.Option("--to", help="The last date, included.")],
    name: Annotated[str, typer.Option("--name", help="The reference's name.")],
    version: Annotated[str, typer.Option("--version", help="Its version.")],
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write; it must not exist.")],
) -> Answer:
    """Fold the published summaries of some dates into one pinned profile."""
    from batchscore.answers import artifacts

    return artifacts.reference_create(given, first, last, name=name, version=version, output=output)


@command(model, "compile")
def model_compile(
    given: Given,
    date: Annotated[str | None, typer.Option("--date", "-d", help="Whose model; needed for a list of models.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write; by default beside the artifact.")
    ] = None,
) -> Answer:
    """Turn the model into plain data that scores without its libraries, prove it, and print the lines that pin it."""
    from batchscore.answers import modelling

    return modelling.model_compile(given, date, output)


@command(model, "inspect")
def model_inspect(path: Annotated[str, typer.Argument(metavar="FILE", help="A model file, from anybody.")]) -> Answer:
    """Tell what a model file holds, without running any of it, and the lines that pin it."""
    from batchscore.answers import modelling

    return modelling.model_inspect(path)
