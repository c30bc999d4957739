"""What happened and when: printed while it happens, and written to `docs/kubernetes-run.md` at the end. A plugin for pytest.

Steps lead from an empty machine to the firing alert; scenes are what each test told; shown is what was printed at a moment.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes-run.md"
HEAD = """# Kubernetes: a run on a real node

Written by `make test-cluster`; do not edit.
A complete, unmodified Kubernetes was built, started on two nodes, and all that follows was done to it.
`docs/kubernetes.md` says what such a run can not show.

"""


@dataclass
class Scene:
    """One test."""

    what: str
    """What it believes: the first line of its documentation."""
    lines: list[str] = field(default_factory=list)
    """Its timeline."""
    outcome: str = "not run"
    """How it ended."""
    seconds: float = 0.0
    """Wall seconds."""


@dataclass
class Record:
    """All of a session."""

    began: float = field(default_factory=time.monotonic)
    steps: list[tuple[float, float, str]] = field(default_factory=list)
    """When each step was done, in seconds since the beginning, how many it took, and what it was."""
    scenes: dict[str, Scene] = field(default_factory=dict)
    """By test, in the order of execution."""
    current: Scene | None = None
    scene_began: float = 0.0
    figures: dict[str, str] = field(default_factory=dict)
    """Facts about image and nodes, by name."""
    goal: str = "The alert"
    """When this was shown, the way is at its end."""
    shown: dict[str, str] = field(default_factory=dict)
    """What was printed at a moment, by title."""
    endings: list[tuple[str, str, str]] = field(default_factory=list)
    """Situations that end in an exit code: situation, code, message."""


RECORD = Record()


def step(text: str, seconds: float | None = None, *, ago: float = 0.0) -> None:
    """Note that a step on the way to the firing alert is done.

    Args:
        text: What was done.
        seconds: How long it took; by default the time since the step before.
        ago: How long ago it was done.
    """
    now = time.monotonic() - RECORD.began - ago
    before = RECORD.steps[-1][0] if RECORD.steps else 0.0
    if RECORD.goal not in RECORD.shown:
        RECORD.steps.append((now, now - before if seconds is None else seconds, text))
    tell(text)


def tell(text: str) -> None:
    """Write a line of the timeline."""
    since = time.monotonic() - (RECORD.scene_began if RECORD.current else RECORD.began)
    sys.stdout.write(f"{time.strftime('%T')} {since:7.1f}s  {text}\n")
    sys.stdout.flush()
    if RECORD.current is not None:
        RECORD.current.lines.append(f"{since:6.1f}s  {text}")


def show(title: str, text: str) -> None:
    """Keep a text as it was at this moment."""
    sys.stdout.write(f"{title}\n{text}\n")
    RECORD.shown[title] = text.strip()


def page() -> str:
    """Return the page."""
    outcomes = [scene.outcome for scene in RECORD.scenes.values()]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in ("passed", "failed") if name in outcomes)
    minutes = (time.monotonic() - RECORD.began) / 60
    head = (
        f"Last run: {time.strftime('%Y-%m-%d', time.gmtime())}, on {os.cpu_count()} cores, Linux {platform.release()},"
        f" {minutes:.0f} minutes: {counts}."
    )
    parts = [HEAD + head, _steps(), _shown(), _figures(), _endings(), _scenes()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _steps() -> str:
    lines = [
        "## From an empty machine to the firing alert",
        "",
        "Binaries and images are built side by side, so that their seconds overlap.",
        "",
        "| step | seconds | since the start |",
        "|---|---:|---:|",
    ]
    lines += [f"| {_cell(text)} | {seconds:.0f} | {at:.0f} |" for at, seconds, text in RECORD.steps]
    return "\n".join(lines)


def _shown() -> str:
    return "\n\n".join(f"## {title}\n\n```text\n{text}\n```" for title, text in RECORD.shown.items())


def _figures() -> str:
    if not RECORD.figures:
        return ""
    rows = [f"| {name} | {_cell(value)} |" for name, value in RECORD.figures.items()]
    return "\n".join(["## The image", "", "| | |", "|---|---|", *rows])


def _endings() -> str:
    if not RECORD.endings:
        return ""
    rows = [f"| {_cell(what)} | {code} | {_cell(message)} |" for what, code, message in RECORD.endings]
    return "\n".join(
        ["## How runs failed", "", "| what happened | code | what the driver said |", "|---|---:|---|", *rows]
    )


def _scenes() -> str:
    parts = ["## Scenarios"]
    for scene in RECORD.scenes.values():
        parts.append(f"### {scene.what}\n\n{scene.outcome}, {scene.seconds:.0f} s")
        if scene.lines:
            parts.append("```text\n" + "\n".join(scene.lines) + "\n```")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Begin a scene when everything it needs is there."""
    words = " ".join((getattr(item.function, "__doc__", None) or item.name).strip().split("\n")[0].split())
    call = getattr(item, "callspec", None)
    RECORD.current = RECORD.scenes[item.nodeid] = Scene(f"{words.rstrip('.')}{f' ({call.id})' if call else ''}")
    RECORD.scene_began = time.monotonic()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """End a scene."""
    scene = RECORD.scenes.get(report.nodeid)
    if scene and (report.when == "call" or report.failed):
        scene.outcome, scene.seconds, RECORD.current = report.outcome, report.duration, None


def pytest_sessionfinish() -> None:
    """Write the page, whatever the outcome; not when single tests were picked."""
    if os.environ.get("BATCHSCORE_CLUSTER_PAGE") == "1" and RECORD.scenes:
        PAGE.write_text(page(), encoding="utf-8")
