"""Draws the dashboards with Grafana's own panel components, from a real Prometheus: `make dashboard-preview`.

The simulated history of the tests is loaded into a Prometheus, every query of every panel is asked, and a page made
with `@grafana/ui` is drawn from the answers in a headless Chromium. It is no Grafana server: what the server does
around the panels (variables, queries, the state timeline) is done here. The report is drawn beside them, from the
flights example.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "monitoring"), str(ROOT / "tests"), str(ROOT)]

from past import past  # noqa: E402 - the tests' own history
from servers import ask  # noqa: E402
from simulated import DAYS, moment  # noqa: E402

from tools.preview.browser import find, photograph  # noqa: E402
from tools.preview.report import draw_report  # noqa: E402

BOARDS = ROOT / "helm" / "batchscore" / "files" / "dashboards"
PICTURES = ROOT / "docs" / "pictures"
SHOWN_DAYS = 60
STEP, DAY = 3 * 3600, 86_400
END = int(moment(DAYS)) - DAY
"""Midnight, as Grafana aligns a range; the last day of the history is still to come."""
BEGIN = END - SHOWN_DAYS * DAY
CHOSEN = {"environment": "prod", "pipeline": "churn"}
LABEL = (
    "Preview: drawn with Grafana's panel components (@grafana/ui 13.2.2) from the simulated history of "
    "docs/alert-history.md in a real Prometheus. Not a Grafana server; state timelines are stand-ins."
)


def main() -> None:
    """Make the page, ask Prometheus, and take one picture of each dashboard."""
    modules = ROOT / "build" / "preview"
    with tempfile.TemporaryDirectory() as folder:
        page = _bundle(modules)
        with past(find, Path(folder)) as history:
            drawings = {
                file.stem: _answers(json.loads(file.read_text()), history.url) for file in BOARDS.glob("*.json")
            }
    PICTURES.mkdir(exist_ok=True)
    for name, drawing in sorted(drawings.items()):
        (page / "data.json").write_text(json.dumps(drawing))
        height = 64 + 38 * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in drawing["board"]["panels"]) + 8
        picture = PICTURES / f"dashboard-{name}.png"
        photograph(page, "index.html", picture, width=1500, height=height)
        print(f"  {picture.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as folder:
        draw_report(Path(folder), PICTURES / "report.png")
    print(f"  {(PICTURES / 'report.png').relative_to(ROOT)}")


def _bundle(folder: Path) -> Path:
    """Install what the lock names, and build the page; both are kept for the next time."""
    source, built = Path(__file__).parent, folder / "dist"
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    if not (folder / "node_modules" / ".package-lock.json").exists():
        subprocess.run([find("npm"), "ci", "--loglevel=error"], cwd=folder, check=True)  # noqa: S603 - the lock's packages, by hash
    build = [str(folder / "node_modules" / ".bin" / "vite"), "build", "--logLevel=error"]
    subprocess.run(build, cwd=folder, check=True)  # noqa: S603 - as above
    return built


def _answers(board: dict[str, Any], url: str) -> dict[str, Any]:
    """Return all that the page needs: the dashboard, and what Prometheus answers to its queries."""
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    notes = board.get("annotations", {}).get("list", ())
    return {
        "board": board,
        "theme": "light",
        "label": LABEL,
        "chosen": f"{dt.datetime.fromtimestamp(BEGIN, dt.UTC):%Y-%m-%d} to {dt.datetime.fromtimestamp(END, dt.UTC):%Y-%m-%d} UTC",
        "range": {"from": BEGIN, "to": END},
        "results": {panel["id"]: _asked(panel, url) for panel in panels},
        "notes": [found for note in notes for found in _marks(note, url)],
    }


def _asked(panel: dict[str, Any], url: str) -> dict[str, Any]:
    step = DAY if panel.get("interval") == "1d" else STEP
    found: dict[str, Any] = {"step": step, "times": list(range(BEGIN, END + 1, step))}
    for target in panel["targets"]:
        span = {"time": END} if target.get("instant") else {"start": BEGIN, "end": END, "step": step}
        found[target["refId"]] = ask(url, _filled(target["expr"]), **span)
    return found


def _filled(expression: str) -> str:
    """Put the chosen values in the place of the dashboard's variables; of several, all."""
    expression = re.sub(r'=~"\$\w+"', '=~".*"', expression)
    for name, value in CHOSEN.items():
        expression = expression.replace(f"${name}", value)
    return expression


def _marks(note: dict[str, Any], url: str) -> list[dict[str, Any]]:
    """Return the moment at which each annotation begins."""
    series = ask(url, _filled(note["target"]["expr"]), start=BEGIN, end=END, step=900)
    return [{"time": float(one["values"][0][0]), "color": note["iconColor"]} for one in series]


if __name__ == "__main__":
    main()
