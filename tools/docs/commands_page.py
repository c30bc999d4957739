"""docs/commands.md: what every command says of itself with `--help`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from batchscore.cli import app

WIDTH = 110

HEAD = """\
# Commands

This page is generated from the command line's own help: `make docs`.

Every command takes `--json` (one document on stdout), `--log-format`, `-q` and `-v`; logs go to stderr.
Relative paths are relative to the working directory.
`docs/exit-codes.md` says how they end.

| | |
|---|---|
"""


def page() -> str:
    """Return the whole page."""
    found = list(commands())
    table = "".join(f"| [`{name}`](#{name.replace(' ', '-')}) | {summary(command)} |\n" for name, command in found)
    return HEAD + table + "".join(_part(name, command) for name, command in found)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command by its whole name, such as `batchscore metrics push`, sorted."""
    yield from _below("batchscore", typer.main.get_command(app))


def summary(command: Any) -> str:
    """Return the first sentence of a command's help."""
    return str(command.help).splitlines()[0]


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for inner in sorted(command.commands):
        yield from _below(f"{name} {inner}", command.commands[inner])


def _part(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    lines = [line.rstrip() for line in command.get_help(context).strip().splitlines()]
    return "\n".join(["", f"## {name}", "", "```text", *lines, "```", ""])
