"""`python -m examples.flights.showcase`: run the pipeline with rules, and write what came out to a page."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from batchscore import read_published
from batchscore.drift import drift_all
from batchscore.reference import Reference, read_reference
from examples import folder
from examples.flights.features import ID
from examples.flights.rules import CONFIG, RULES, TWIN, build_rules, mended
from examples.flights.source import WEATHER, read_departures

ROOT = Path("build/flights")
PAGE = Path("docs/flights-rules.md")
WEEK = ("2013-02-01", "2013-02-07")
STORM = "2013-02-08"
JANUARY, FEBRUARY = "config/flights.january.json", "config/flights.february.json"
DRIFT = "config/flights.drift.yaml"
WITH = ("--config", RULES, "--config", DRIFT)

HEAD = """\
# Flights with rules

This page is written by `make flights-rules`, which runs every command on it in `build/flights` and takes some minutes.
The plain pipeline of the [example](../examples/flights/README.md) stays as it is; this one scores the same flights with a skops twin of its model, an isotonic calibration, three rules, a quarantine and gates that hold.
"""


def main() -> None:
    """Start from published nothing, run, and write the page."""
    for name in ("outputs-rules", "outputs-onnx", "data/mended"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for name in (JANUARY, FEBRUARY, DRIFT):
        (ROOT / name).unlink(missing_ok=True)
    build_rules(ROOT, read_departures())
    folder.write_whole(PAGE, ("\n".join([HEAD, *_page()]).rstrip() + "\n").encode())
    print(f"  {PAGE}")


def _page() -> Iterator[str]:
    yield from _model()
    yield from _january()
    yield from _twins()
    yield from _quarantine()
    yield from _storm()
    yield from _why()
    yield from _february()


def _model() -> Iterator[str]:
    yield "## The model, as skops\n"
    yield "skops lists the types that nobody has looked at; they stand in `model.trusted`, and no other type is loaded.\n"
    path = _yaml(RULES)["model"]["path"]
    yield _shown("model", "inspect", path)
    yield "## The configuration\n"
    yield f"`{RULES}`, as it was written:\n"
    yield f"```yaml\n{(ROOT / RULES).read_text().rstrip()}\n```\n"


def _january() -> Iterator[str]:
    _ran("backfill", "--config", RULES, "--from", "2013-01-01", "--to", "2013-01-31", quiet=True)
    yield "## January, and a reference from it\n"
    yield "January was scored day by day with `batchscore backfill`; its published summaries become the reference, no row is read again.\n"
    yield _shown(
        "reference",
        "create",
        "--config",
        RULES,
        "--from",
        "2013-01-01",
        "--to",
        "2013-01-31",
        "--name",
        "january",
        "--version",
        "1",
        "-o",
        JANUARY,
    )
    digest = hashlib.sha256((ROOT / JANUARY).read_bytes()).hexdigest()
    folder.write_yaml(
        ROOT / DRIFT,
        {
            "drift": {
                "reference": {"path": JANUARY, "sha256": digest},
                "ignore_features": ["day_of_week", *WEATHER],
                "min_rows": 300,
            }
        },
    )
    yield (
        f"The pin stands in `{DRIFT}`, which is laid over the configuration from here on; "
        "the weather of one day is never that of a month, so it is computed and not judged.\n"
    )


def _twins() -> Iterator[str]:
    span = ("--from", WEEK[0], "--to", WEEK[1])
    for config in ((CONFIG,), (CONFIG, TWIN), (RULES, DRIFT)):
        _ran("backfill", *(f"--config={path}" for path in config), *span, quiet=True)
    days = [f"2013-02-0{day}" for day in range(1, 8)]
    joblib = {day: _scores("outputs", day, "prediction") for day in days}
    rows = [_difference("skops", joblib, {day: _scores("outputs-rules", day, "raw_prediction") for day in days})]
    rows += [_difference("ONNX", joblib, {day: _scores("outputs-onnx", day, "prediction") for day in days})]
    yield "## Twins, measured\n"
    yield f"The first week of February by three files of the same model: joblib (`{CONFIG}`), skops (raw scores) and ONNX (`{TWIN}`).\n"
    yield "| against joblib | rows in both | other bits | largest difference | flags at 0.5 that differ |"
    yield "|---|---:|---:|---:|---:|"
    yield from rows
    yield "\nskops gives the very same bits; ONNX computes in float32.\n"


def _difference(name: str, one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> str:
    pairs = np.array([(one[day][key], score) for day in one for key, score in other[day].items() if key in one[day]])
    apart = np.abs(pairs[:, 0] - pairs[:, 1])
    flips = int(np.count_nonzero((pairs[:, 0] >= 0.5) != (pairs[:, 1] >= 0.5)))  # noqa: PLR2004 - the threshold
    return f"| {name} | {len(pairs):,} | {np.count_nonzero(apart):,} | {apart.max():.2g} | {flips} |"


def _quarantine() -> Iterator[str]:
    day = WEEK[0]
    published = ROOT / f"outputs-rules/{day}"
    rows = _json("why", *WITH, "--date", day, _aside(published)[0])["row"]
    yield "## A quarantine of real oddities\n"
    yield (
        "Some carriers report fleet numbers instead of tail numbers, and the register then knows a private plane by that name: "
        "two seats, built in 1959. The plain pipeline scores them as they are; this contract wants 19 seats at least.\n"
    )
    yield _shown("show", *WITH, "--date", day, lines=8)
    yield _shown("why", *WITH, "--date", day, rows[ID])
    mended(ROOT, date.fromisoformat(day))
    yield (
        "The producer delivers those rows again without the register's entry, and only they are scored; "
        "revision 2 takes the parts of revision 1 over as they are.\n"
    )
    yield _shown(
        "rescore-quarantine", *WITH, "--date", day, "--from", f"data/mended/flights_{day.replace('-', '_')}.parquet",
        "--reason", "planes without a register entry", lines=10,
    )  # fmt: skip
    yield _shown("verify", *WITH, "--date", day)
    yield _shown("replay", *WITH, "--date", day)
    yield _shown("why", *WITH, "--date", day, rows[ID])


def _storm() -> Iterator[str]:
    yield "## February 8: held, looked at, released\n"
    yield "The storm halved the flights, and `volume.on_breach` is `hold`: the run is complete, and nothing is published.\n"
    yield _shown("run", *WITH, "--date", STORM, code=15)
    yield _shown("runs", *WITH, "--last", "3")
    yield _shown(
        "release", *WITH, "--date", STORM, "--reason", "snowstorm Nemo: 472 of 930 flights did not leave", lines=12
    )


def _why() -> Iterator[str]:
    table = read_published(str(ROOT / "outputs-rules"), STORM)
    ruled = table[table["rule"].fillna("").str.contains("gusts")].sort_values(["raw_prediction", ID])
    flagged = table[table["risk_flag"]].sort_values(["raw_prediction", ID])
    chosen = str((ruled if len(ruled) else flagged)[ID].iloc[0])
    yield "## Why one flight is flagged\n"
    yield _shown("why", *WITH, "--date", STORM, chosen)


def _february() -> Iterator[str]:
    _ran("backfill", *WITH, "--from", "2013-02-09", "--to", "2013-02-28", "--keep-going", quiet=True, code=None)
    _ran("release", *WITH, "--date", "2013-02-09", "--reason", "the day after the storm", code=None)
    _ran(
        "reference",
        "create",
        *WITH,
        "--from",
        "2013-02-01",
        "--to",
        "2013-02-28",
        "--name",
        "february",
        "--version",
        "1",
        "-o",
        FEBRUARY,
    )
    old, new = _reference(JANUARY), _reference(FEBRUARY)
    found = drift_all({**old.features, **old.scores}, {**new.features, **new.scores})
    yield "## February against January\n"
    yield f"All of February ({new.rows:,} flights) against the reference ({old.rows:,}): the population stability index (0.1 look, 0.25 act), Jensen-Shannon, and Kolmogorov-Smirnov for numbers.\n"
    yield "| | PSI | JS | KS | new categories |"
    yield "|---|---:|---:|---:|---|"
    for name, drift in sorted(found.items(), key=lambda item: -item[1].psi):
        record = drift.record()
        ks = "" if record.get("ks") is None else f"{record['ks']:.3f}"
        yield f"| `{name}` | {record['psi']:.3f} | {record['js']:.3f} | {ks} | {', '.join(record.get('new_categories') or [])} |"
    yield "\nEach day carries the same figures in its `summary_metrics.json`, and warns where one passes its limit:\n"
    days = sorted(path.name for path in (ROOT / "outputs-rules").glob("2013-02-*"))
    yield "| | flights | PSI of the prediction | warnings |"
    yield "|---|---:|---:|---|"
    for day in days:
        summary, metadata = (
            json.loads((ROOT / f"outputs-rules/{day}" / name).read_text())
            for name in ("summary_metrics.json", "metadata.json")
        )
        if summary["drift"]:
            yield f"| {day} | {summary['rows']['scored']:,} | {summary['drift']['prediction']['psi']:.3f} | {'; '.join(metadata['warnings'])} |"


def _reference(path: str) -> Reference:
    content = (ROOT / path).read_bytes()
    return read_reference(content, sha256=hashlib.sha256(content).hexdigest(), source=path)


def _aside(published: Path) -> list[str]:
    import pyarrow.parquet as pq

    table = pq.read_table(published / "quarantine.parquet")
    return [str(text) for text in table[ID].to_pylist()]


def _scores(output: str, day: str, column: str) -> dict[str, float]:
    table = read_published(str(ROOT / output), day, engine="arrow")
    return dict(zip(table[ID].to_pylist(), table[column].to_pylist(), strict=True))


def _yaml(path: str) -> Any:
    import yaml

    return yaml.safe_load((ROOT / path).read_text())


def _json(*argv: str) -> Any:
    return json.loads(_ran(*argv, "--json"))


def _shown(*argv: str, code: int | None = 0, lines: int | None = None) -> str:
    """Run a command, and give it with what it answered, as a block of the page."""
    said = _ran(*argv, code=code).rstrip().splitlines()
    cut = [*said[:lines], "…"] if lines is not None and len(said) > lines else said
    typed = " ".join(f"'{text}'" if " " in text else text for text in argv)
    return "\n".join(["```text", f"$ batchscore {typed}", *cut, "```", ""])


def _ran(*argv: str, code: int | None = 0, quiet: bool = False) -> str:
    """Run a command in the folder of the example, and give what it printed; logs are left out."""
    print(f"  batchscore {' '.join(argv)}", flush=True)
    command = [sys.executable, "-m", "batchscore", *argv, "-q", "--log-format", "json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    told = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    if code is not None and ended.returncode != code:
        print(ended.stdout, ended.stderr, file=sys.stderr)
        message = f"batchscore {' '.join(argv)} ended with {ended.returncode}, not {code}"
        raise RuntimeError(message)
    return (
        ""
        if quiet
        else "\n".join([ended.stdout.rstrip(), *told]).strip("\n") + ("" if not code else f"\n(exit code {code})")
    )


if __name__ == "__main__":
    main()
