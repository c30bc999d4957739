"""Bad command lines, configurations, schemas, dates and paths."""

from __future__ import annotations

from typing import Any

from bad_row import Bad, row
from small_world import CONFIG, SCHEMA, World


def keys(**given: Any):
    """Set keys of the configuration."""
    return lambda world: world.configure(**given)


def text(given: str):
    """Append text to the configuration."""
    return lambda world: world.add_to_config(given)


def feature(name: str, **given: Any):
    """Set keys of a feature."""
    return lambda world: world.feature(name, **given)


def _twice(schema: dict[str, Any]) -> None:
    schema["features"].append(dict(schema["features"][0]))


def _references() -> str:
    lines = ["bomb0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"bomb{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n"


def _binary(world: World) -> None:
    world.path(CONFIG).write_bytes(b"\xff\xfe\x00pipeline")


# A table: one row a line.
# fmt: off
COMMAND_LINES: tuple[Bad, ...] = (
    row(2, "E-USAGE-COMMAND-LINE", "no `--config`", "'--config'", command=("run", "--date", "2024-03-01")),
    row(2, "E-USAGE-COMMAND-LINE", "an option that does not exist", "--dat", command=("run", "--dat", "2024-03-01")),
    row(2, "E-USAGE-COMMAND-LINE", "a command that does not exist", "'scor'", command=("scor",)),
    row(2, "E-USAGE-COMMAND-LINE", "`--limit zero`", "'--limit'", argv=("--limit", "zero")),
    row(2, "E-USAGE-REASON", "`--republish` without `--reason`", "--republish", "--reason", argv=("--republish",)),
    row(2, "E-USAGE-RUN-TYPE", "`--run-type nightly`", "'nightly'", argv=("--run-type", "nightly")),
    row(2, "E-USAGE-LOG-FORMAT", "`--log-format xml`", "'xml'", argv=("--log-format", "xml")),
    row(2, "E-USAGE-DATE", "a date with slashes", "'2024/03/01'", date="2024/03/01"),
    row(2, "E-USAGE-DATE", "a date without dashes", "'20240301'", date="20240301"),
    row(2, "E-USAGE-DATE", "a day that does not exist", "'2024-02-30'", date="2024-02-30"),
    row(2, "E-USAGE-DATE", "a date that climbs out of the folder", "'../../etc'", date="../../etc"),
    row(2, "E-USAGE-DATE", "a date with a line end", r"'2024-03-01\n'", date="2024-03-01\n"),
    row(2, "E-USAGE-DATE", "a week date", "'2024-W09-5'", date="2024-W09-5"),
    row(2, "E-USAGE-DATE", "full-width digits", "'２０２４-03-01'", date="２０２４-03-01"),  # noqa: RUF001 - on purpose
    row(2, "E-USAGE-DATE", "the word today", "'today'", date="today"),
    row(2, "E-USAGE-DATE", "an empty date", "''", date=""),
    row(2, "E-USAGE-DATE-RANGE", "the last date of the calendar, which has no next one", "9999-12-31", spoil=keys(snapshot__path="data/customers_2024_03_01"), date="9999-12-31"),
)

CONFIGS: tuple[Bad, ...] = (
    row(10, "E-CONFIG-FILE", "the configuration file is missing", "'none.yaml'", "No such file", command=("run", "--config", "none.yaml", "--date", "2024-03-01")),
    row(10, "E-CONFIG-FILE", "the configuration is no text", f"'{CONFIG}'", "can not be read", spoil=_binary),
    row(10, "E-CONFIG-MAPPING", "the configuration is empty", CONFIG, "mapping", spoil=lambda w: w.path(CONFIG).write_text("")),
    row(10, "E-CONFIG-YAML", "the configuration is no YAML", CONFIG, "line", spoil=text("volume: {min_rows: 3\n")),
    row(10, "E-CONFIG-YAML", "a YAML tag that would run code", CONFIG, "python/object", spoil=text("environment: !!python/object/apply:os.system ['touch canary.txt']\n")),
    row(10, "E-CONFIG-YAML", "YAML that is nested 100,000 times", CONFIG, spoil=text("volume: " + "[" * 100_000 + "]" * 100_000 + "\n")),
    row(10, "E-CONFIG-UNKNOWN-KEY", "YAML whose references would unfold to 10 billion values", "'bomb0'", spoil=text(_references())),
    row(10, "E-CONFIG-UNKNOWN-KEY", "a mistyped section", "'postproces'", "'postprocess'", spoil=text("postproces: {threshold: 0.7}\n")),
    row(10, "E-CONFIG-UNKNOWN-KEY", "a mistyped key", "'postprocess.treshold'", "'postprocess.threshold'", spoil=keys(postprocess__treshold=0.7)),
    row(10, "E-CONFIG-UNKNOWN-KEY", "a key in the wrong section", "'model.threshold'", "'postprocess.threshold'", spoil=keys(model__threshold=0.7)),
    row(10, "E-CONFIG-UNKNOWN-KEY", "a mistyped key in `--set`", "'partition.row'", "'partition.rows'", argv=("--set", "partition.row=5")),
    row(10, "E-CONFIG-SET", "`--set` without a value", "'partition.rows'", "section.key=value", argv=("--set", "partition.rows")),
    row(10, "E-CONFIG-DUPLICATE-KEY", "a section that stands twice", "'output'", "twice", "lines", spoil=text("output: {path: elsewhere}\n")),
    row(10, "E-CONFIG-MISSING-KEY", "no digest of the model", "'model.sha256'", spoil=keys(model__sha256=None)),
    row(10, "E-CONFIG-MISSING-KEY", "no id", "'snapshot.id'", spoil=keys(snapshot__id=None)),
    row(10, "E-CONFIG-TYPE", "a version without quotes, which YAML reads as a number", "'model.version'", '"1.2"', "quotes", spoil=keys(model__version=1.2)),
    row(10, "E-CONFIG-TYPE", "a number in quotes", "'partition.rows'", "'many'", spoil=keys(partition__rows="many")),
    row(10, "E-CONFIG-TYPE", "a switch that is text", "'output.single_file'", "'yes please'", spoil=keys(output__single_file="yes please")),
    row(10, "E-CONFIG-TYPE", "a section that is a number", "'partition'", spoil=keys(partition=200)),
    row(10, "E-CONFIG-TYPE", "a choice that does not exist", "'rows.on_bad'", "'quarantine'", "'drop'", spoil=keys(rows__on_bad="drop")),
    row(10, "E-CONFIG-TYPE", "partitions of no rows", "'partition.rows'", "it is 0", spoil=keys(partition__rows=0)),
    row(10, "E-CONFIG-TYPE", "a pipeline name with capitals", "'pipeline'", "'Small Pipeline'", spoil=keys(pipeline="Small Pipeline")),
    row(10, "E-CONFIG-VALUE", "limits the wrong way round", "'volume'", "min_rows 10 above max_rows 5", spoil=keys(volume={"min_rows": 10, "max_rows": 5})),
    row(10, "E-CONFIG-VALUE", "a cron expression of four fields", "'schedule.cron'", "five fields", spoil=keys(schedule__cron="15 2 * *")),
    row(10, "E-CONFIG-VALUE", "a time zone that does not exist", "'schedule.timezone'", "'Europe/Berlim'", spoil=keys(schedule__timezone="Europe/Berlim")),
    row(10, "E-CONFIG-THRESHOLD", "a threshold of 70 instead of 0.7", "postprocess.threshold", "70", "0..1", spoil=keys(postprocess__threshold=70)),
    row(10, "E-CONFIG-TYPE", "a threshold that is no number", "'postprocess.threshold'", "nan", spoil=keys(postprocess__threshold=float("nan"))),
    row(10, "E-CONFIG-VALUE", "a digest in capitals", "'model.sha256'", "64 lowercase", spoil=lambda w: w.configure(model__sha256=w.config["model"]["sha256"].upper())),
    row(10, "E-CONFIG-VALUE", "the version `latest`", "'model.version'", "latest", spoil=keys(model__version="latest")),
    row(10, "E-CONFIG-VALUE", "the version `Latest`", "'model.version'", "latest", spoil=keys(model__version="Latest")),
    row(10, "E-CONFIG-VALUE", "`latest` with percent signs", "'model.path'", "latest", spoil=keys(model__path="models/l%61test.joblib")),
    row(10, "E-CONFIG-VALUE", "`latest` with a letter of full width", "'model.path'", "latest", spoil=keys(model__path="models/ｌatest.joblib")),  # noqa: RUF001 - on purpose
    row(10, "E-CONFIG-VALUE", "`latest` with an invisible character", "'model.path'", "latest", spoil=keys(model__path="models/late\u200bst.joblib")),
    row(10, "E-CONFIG-VALUE", "a field other than the date in the snapshot's path", "'snapshot.path'", "{region}", spoil=keys(snapshot__path="data/{region}.parquet")),
    row(10, "E-CONFIG-VALUE", "a date field that climbs out of its folder", "'snapshot.path'", "{date:%Y/../..}", spoil=keys(snapshot__path="data/{date:%Y/../..}")),
    row(10, "E-CONFIG-VALUE", "a date field that reaches into an object", "'snapshot.path'", "{date.__class__}", spoil=keys(snapshot__path="data/{date.__class__}")),
    row(10, "E-CONFIG-UNKNOWN-STORE", "a store that is not understood", "ftp", spoil=keys(snapshot__path="ftp://host/{date}.parquet")),
    row(10, "E-CONFIG-SCHEME", "an output in a store that is not understood", "'hdfs'", spoil=keys(output__path="hdfs://cluster/outputs")),
    row(10, "E-CONFIG-VALUE", "a password in the Pushgateway's address", "'metrics.pushgateway'", "secrets stand in files", spoil=keys(metrics__pushgateway="http://user:hunter2@gateway:9091")),
    row(10, "E-CONFIG-OTHER-PIPELINE", "a second pipeline in the same output", "'small'", "'other'", spoil=lambda w: [w.run(), w.configure(pipeline="other")]),
    row(10, "E-CONFIG-ID-IS-FEATURE", "an id that is a feature", "'visits'", SCHEMA, spoil=keys(snapshot__id="visits")),
    row(10, "E-CONFIG-COLUMN", "a flag named like a column that is passed through", "'region'", "the snapshot has too", spoil=keys(postprocess__flag="region", output__passthrough=["region"])),
    row(10, "E-CONFIG-NO-SCORE", "a threshold without a score", "postprocess.threshold", "class", spoil=keys(model__output="class")),
    row(10, "E-CONFIG-VALUE", "a calibration that turns the order round", "'calibration'", "above 0", spoil=keys(calibration={"kind": "sigmoid", "a": -1.0, "b": 0.0})),
    row(10, "E-CONFIG-REFERENCE-MISSING", "the drift reference is missing", "'reference.json'", spoil=keys(drift__reference={"path": "reference.json", "sha256": "0" * 64})),
)

SCHEMAS: tuple[Bad, ...] = (
    row(10, "E-CONFIG-SCHEMA-MISSING", "the feature schema is missing", f"'{SCHEMA}'", spoil=lambda w: w.path(SCHEMA).unlink()),
    row(10, "E-CONFIG-TYPE", "a dtype in other words", "'features.1.dtype'", "'int'", spoil=feature("age", dtype="int")),
    row(10, "E-CONFIG-VALUE", "a feature that stands twice", "'amount' twice", spoil=lambda w: w.schema(_twice)),
    row(10, "E-CONFIG-VALUE", "a smallest value above the largest one", "'age'", "min 130 above max 120", spoil=feature("age", min=130)),
    row(10, "E-CONFIG-VALUE", "a smallest value that is no number", "'amount'", "min nan", spoil=feature("amount", min=float("nan"))),
    row(10, "E-CONFIG-VALUE", "a category beyond the column's type", "'age'", "3000000000", "int32", spoil=feature("age", categories=[1, 3_000_000_000])),
    row(10, "E-CONFIG-VALUE", "a cast that may lose something", "'age'", "float64", "without loss", spoil=feature("age", allow=["float64"])),
    row(10, "E-CONFIG-VALUE", "categories of another type", "'plan'", "categories", spoil=feature("plan", categories=[1, 2, 3])),
    row(10, "E-CONFIG-UNKNOWN-KEY", "a mistyped key of a feature", "'features.1.nulable'", "'features.1.nullable'", spoil=feature("age", nulable=True)),
)

ROWS = COMMAND_LINES + CONFIGS + SCHEMAS
