"""What is measured: the work, and who does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from examples.churn.build import MODEL, Options, build

DAY = date(2026, 2, 8)
ROOT = Path("build/bench")
PEERS_PYTHON = ROOT / "venv/bin/python"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
ENVIRONMENT = {**dict.fromkeys(_THREADS, "1"), "PYTHONDONTWRITEBYTECODE": ""}
"""Two processes share two cores, and with more threads each all of them are slower; bytecode is kept, as installed."""
PIN = Path("config/compiled.yaml")
"""The overlay that pins the compiled model: what is measured is a night, not the first night of a model."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A snapshot and a model."""

    rows: int
    """Rows of the snapshot."""
    files: int
    """In so many files."""
    model: str
    """`logreg`, `hgb` or `rf`."""

    @property
    def name(self) -> str:
        """The work's name, and its folder's."""
        return f"{self.model}-{self.rows}-{self.files}"

    @property
    def folder(self) -> Path:
        """Where it is built."""
        return ROOT / "work" / self.name

    @property
    def data(self) -> Path:
        """The snapshot: a file, or a folder of files."""
        path = self.folder / f"data/batch/customers_{DAY:%Y_%m_%d}"
        return path if self.files > 1 else path.with_suffix(".parquet")

    def build(self) -> None:
        """Generate it, unless that was done."""
        build(Options(root=self.folder, day=DAY, rows=self.rows, files=self.files, model=self.model))
        self._compile()

    def _compile(self) -> None:
        line = [sys.executable, "-m", "batchscore", "model", "compile", "--json", "--config", "config/churn.yaml"]
        told = subprocess.run([*line, "--date", DAY.isoformat()], cwd=self.folder, stdout=subprocess.PIPE, check=True)  # noqa: S603
        (self.folder / PIN).write_text(json.loads(told.stdout)["yaml"], encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Somebody who does the work."""

    name: str
    """For the command line."""
    title: str
    """For the table."""
    command: Callable[[Work, Path], list[str]]
    """From the work and an empty place for the output to a command line."""
    scores: str = ""
    """Where, below that place, the scores lie."""
    needs: str | None = None
    """The module that a peer can not do without; None for what runs in the project's own environment."""


def _script(name: str, python: Path | str) -> Callable[[Work, Path], list[str]]:
    def command(work: Work, out: Path) -> list[str]:
        model = work.folder / ("mlflow" if name == "mlflow_pyfunc" else MODEL)
        return [str(python), f"benchmarks/contenders/{name}.py", str(work.data), str(model), str(out)]

    return command


def batchscore(_work: Work, out: Path) -> list[str]:
    """Give the command line of a whole run with everything on, run in the work's folder."""
    config = ["--config", "config/churn.yaml", "--config", str(PIN), "--date", DAY.isoformat()]
    return [sys.executable, "-m", "batchscore", "run", "-q", *config, "--set", f"output.path={out.resolve()}"]


LOOP = Contender(name="loop", title="hand-written loop (the limit)", command=_script("loop", sys.executable))
SCRIPT = Contender(name="script", title="plain pandas + joblib script", command=_script("script", sys.executable))
OURS = Contender(
    name="batchscore",
    title="**batchscore**, everything on",
    command=batchscore,
    scores=f"{DAY.isoformat()}/predictions.parquet",
)
PEERS = tuple(
    Contender(name=name, title=title, command=_script(script, PEERS_PYTHON.absolute()), needs=needs)
    for name, title, script, needs in (
        ("polars", "Polars frames + 2 processes", "polars_frames", "polars"),
        ("joblib", "joblib + pandas", "joblib_pandas", "joblib"),
        ("mlflow", "MLflow pyfunc, 2 processes", "mlflow_pyfunc", "mlflow.pyfunc"),
        ("dask", "naive Dask", "naive_dask", "dask.dataframe"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of what must be reached: some work, and who is compared."""

    name: str
    """For `make bench BENCH=…`."""
    title: str
    """For the table."""
    works: tuple[Work, ...]
    """The work; with two of them the cost of what the second has more is measured."""
    contenders: tuple[Contender, ...]
    """Who does it, the reference first."""
    unit: str = ""
    """With two works: what the second has more, such as `file`."""
    more: int = 0
    """How many of them."""


ALL = (LOOP, OURS, *PEERS)
_SMALL, _LARGE = (Work(rows=1_000_000, files=files, model="logreg") for files in (20, 1_000))
_MILLION = Work(rows=1_000_000, files=10, model="logreg")


def _rows(millions: int) -> Case:
    return Case(
        name=f"rows-{millions}m",
        title=f"logistic regression, {millions} M rows in {10 * millions} files: slope per row and memory",
        works=(_MILLION, Work(rows=millions * 1_000_000, files=10 * millions, model="logreg")),
        contenders=(LOOP, OURS),
        unit="row",
        more=(millions - 1) * 1_000_000,
    )


CASES = {
    case.name: case
    for case in (
        Case(name="logreg-1m", title="logistic regression, 1 M rows, 10 files", works=(_MILLION,), contenders=ALL),
        Case(
            name="logreg-4m",
            title="logistic regression, 4 M rows, 20 files",
            works=(Work(rows=4_000_000, files=20, model="logreg"),),
            contenders=ALL,
        ),
        Case(
            name="hgb-1m",
            title="HistGradientBoosting (200 trees of 31 leaves), 1 M rows, 10 files",
            works=(Work(rows=1_000_000, files=10, model="hgb"),),
            contenders=ALL,
        ),
        Case(
            name="rf-300k",
            title="RandomForest (100 trees of depth 12), 300,000 rows, 6 files",
            works=(Work(rows=300_000, files=6, model="rf"),),
            contenders=ALL,
        ),
        Case(
            name="churn",
            title="a nightly batch: logistic regression, 128,734 rows, one file",
            works=(Work(rows=128_734, files=1, model="logreg"),),
            contenders=(SCRIPT, OURS, LOOP, *PEERS),
        ),
        Case(
            name="small-files",
            title="small files: 1 M rows in 20 files and in 1,000",
            works=(_SMALL, _LARGE),
            contenders=(LOOP, OURS),
            unit="file",
            more=980,
        ),
        _rows(10),
        _rows(50),
    )
}
USUAL = ("logreg-1m", "hgb-1m", "rf-300k", "churn", "small-files")
"""What runs when nothing is asked for: the others take long."""
