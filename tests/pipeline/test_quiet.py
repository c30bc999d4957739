"""What is never said: secrets and rows; and what is never loaded or mixed: the data stack for help, logs with data."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from bad_row import error_id
from forked_cli import ROOT
from small_world import CONFIG, DAY, OUTPUTS

SECRET = "canary-secret-4711"
PERSON = "canary-person-0815"
STACK = (
    "dask",
    "distributed",
    "joblib",
    "numpy",
    "obstore",
    "pandas",
    "prometheus_client",
    "pyarrow",
    "scipy",
    "sklearn",
)
WITH = ("--config", CONFIG)
ON = (*WITH, "--date", DAY)
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
    "HTTPS_PROXY": f"http://user:{SECRET}@127.0.0.1:9",
}


def _null_age(world):
    world.set_value("age", 7, None)


def _stranger(world):
    world.set_value("plan", 8, PERSON)


def _duplicate(world):
    world.set_value("customer_id", 5, PERSON)
    world.set_value("customer_id", 5, PERSON, 2)


def _refused_by_the_model(world):
    """Let the model meet a category that it refuses, and the contract not."""
    import small_world
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = small_world.customers()
    encoder = OneHotEncoder(handle_unknown="error")
    columns = ColumnTransformer([("n", StandardScaler(), ["amount", "age", "visits"]), ("p", encoder, ["plan"])])
    frame = table.select(list(small_world.NAMES)).to_pandas()
    world.release(make_pipeline(columns, LogisticRegression()).fit(frame, small_world.target(table)))
    world.feature("plan", categories=None)
    _stranger(world)


def _number_in_text(world):
    world.rewrite(lambda table: table.set_column(3, "visits", pa.array([PERSON] * table.num_rows)))


def _gateway(world):
    world.path("token").write_text(SECRET)
    world.configure(metrics={"pushgateway": "http://127.0.0.1:9", "bearer_token_file": "token", "budget_seconds": 0.5})


def _password_in_address(world):
    world.configure(metrics={"pushgateway": f"http://user:{SECRET}@127.0.0.1:9"})


def _bucket_with_signature(world):
    world.configure(snapshot__path=f"ftp://host/data?signature={SECRET}")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (_null_age, "E-CONTRACT-BAD-ROWS"),
        (_stranger, "E-CONTRACT-BAD-ROWS"),
        (_duplicate, "E-CONTRACT-DUPLICATE-ID"),
        (_refused_by_the_model, "E-MODEL-PREDICT"),
        (_number_in_text, "E-CONTRACT-COLUMN-TYPE"),
        (_gateway, ""),
        (_password_in_address, "E-CONFIG-VALUE"),
        (_bucket_with_signature, "E-CONFIG-UNKNOWN-STORE"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json", "-v")], ids=["plain", "json-verbose"])
def test_neither_secrets_nor_rows_are_told(world, spoil, error, more):
    """Canaries in environment, files, addresses and rows turn up in no log line, error or document."""
    world.rewrite(lambda table: table.set_column(5, "region", pa.array([PERSON] * table.num_rows)), 1)
    spoil(world)
    ended = world.run(*more, env=ENVIRONMENT)

    assert error_id(ended) == error, ended.err
    assert SECRET not in ended.out + ended.err
    assert PERSON not in ended.out + ended.err


def test_rows_stand_in_quarantine_and_passthrough_only(world):
    """Of a published run the canary is in the quarantine, and in no JSON file of the output."""
    world.configure(rows={"on_bad": "quarantine", "max_bad_count": 1, "max_bad_percent": 1})
    _stranger(world)
    ended = world.run(env=ENVIRONMENT)
    folder = world.path(OUTPUTS)
    holders = {path.parent.name for path in folder.rglob("*.parquet") if path.is_file() and PERSON.encode() in path.read_bytes()}  # fmt: skip
    texts = "".join(path.read_text() for path in folder.rglob("*.json"))

    assert ended.code == 0, ended.err
    assert holders <= {"quarantine.parquet"}
    assert PERSON not in texts + ended.out + ended.err
    assert SECRET not in texts


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("run", "--help"), ("metrics", "--help")], ids=" ".join)
def test_help_loads_nothing_of_the_data_stack(argv):
    """Told by the modules that are loaded, and not by the clock."""
    code = (
        "import os, sys; sys.argv = ['batchscore', *sys.argv[1:]]; leave = os._exit\n"
        "def tell_and_leave(code):\n"
        f"    print('LOADED', sorted(set({STACK!r}) & set(sys.modules)), file=sys.stderr, flush=True)\n"
        "    leave(code)\n"
        "os._exit = tell_and_leave\n"
        "from batchscore.cli import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0
    assert done.stderr == "LOADED []\n"
    assert done.stdout


@pytest.mark.parametrize(
    "argv",
    [("validate", *ON), ("plan", *ON), ("run", *ON), ("show", *ON), ("runs", *WITH), ("verify", *ON), ("replay", *ON), ("diff", *WITH, DAY, DAY), ("gc", *WITH), ("metrics", "show", *ON)],
    ids=lambda argv: argv[0],
)  # fmt: skip
def test_json_is_one_document_and_logs_are_on_stderr(world, argv):
    """Stdout is JSON and nothing else; each line of stderr is a log line of its own."""
    world.run()
    ended = world(*argv, "--json")

    assert ended.code == 0, ended.err
    assert isinstance(ended.document, dict)
    assert [line for line in ended.err.splitlines() if not isinstance(json.loads(line), dict)] == []


def test_quiet_says_nothing_and_verbose_says_more(world):
    """`-q` leaves warnings and errors, `-v` adds a line per partition."""
    quiet = world.run("-q")
    verbose = world.run("-v", "--republish", "--reason", "again", "--set", "postprocess.threshold=0.5")

    assert (quiet.code, quiet.err) == (0, "")
    assert [line["event"] for line in verbose.logs].count("partition scored") == 3


@pytest.mark.parametrize("more", [(), ("-v",)], ids=["plain", "verbose"])
def test_a_bug_is_one_sentence_and_its_traceback_is_asked_for(world, more):
    """An unforeseen error has code 1 and an id; the traceback comes with `-v` only, and never into the document."""
    code = (
        "import sys, types; sys.argv = ['batchscore', *sys.argv[1:]]\n"
        "sys.modules['batchscore.answers.looking'] = looking = types.ModuleType('looking')\n"
        "looking.runs = lambda *_: [][1]\n"
        "from batchscore.cli import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    argv = [sys.executable, "-c", code, "runs", *WITH, "--json", *more]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
    document = json.loads(done.stdout)

    assert (done.returncode, document["error"]) == (1, "E-BUG-UNEXPECTED")
    assert "IndexError" in document["message"]
    assert "Traceback" not in done.stdout
    assert ("Traceback" in done.stderr) == bool(more)
