"""The examples: what they build is what their pages say, the same every time, and no outcome is in it."""

import hashlib
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import joblib
import pyarrow.parquet as pq
import pytest
import yaml

from examples.churn import build as churn
from examples.churn.customers import CHUNK_ROWS, Population
from examples.flights import build as flights
from examples.flights.source import read_departures
from examples.folder import STAMP

SHIFT = timedelta(weeks=4)
STORM = date(2013, 2, 8)


@pytest.fixture(scope="module")
def departures():
    """The whole year, as the example reads it."""
    return read_departures()


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Three days around the storm, four weeks later."""
    root = tmp_path_factory.mktemp("flights")
    options = flights.Options(root=root, first=STORM - timedelta(days=1), last=STORM + timedelta(days=1), shift=SHIFT)
    flights.build(options)
    return options


def contents(root: Path) -> dict[str, str]:
    """Give the sha256 of every built file but the note of the recipe."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != STAMP
    }


def test_every_departure_of_the_year_is_one_row(departures):
    """Joining planes and weather neither adds a flight nor loses one, and the identity is unique."""
    identity = departures[["day", "carrier", "flight", "origin"]]

    assert len(departures) == 336_776 - 8_255
    assert not identity.duplicated().any()
    assert departures["day"].nunique() == 365


def test_the_storm_halved_the_flights(departures):
    """The days that the alerts are about are in the data: under half of a normal Friday or Saturday."""
    per_day = departures.groupby(departures["day"].dt.date).size()

    assert per_day[STORM] == 930 - 472
    assert per_day[STORM + timedelta(days=1)] == 684 - 393


def test_shifted_snapshots_move_names_and_ids_but_not_weekdays(shifted):
    """A shift by weeks changes dates only."""
    path = shifted.root / f"data/batch/flights_{STORM + SHIFT:%Y_%m_%d}.parquet"
    table = pq.read_table(path)
    ids = table["flight_id"].to_pylist()

    assert len(ids) == len(set(ids)) == 458
    assert {name[:10] for name in ids} == {str(STORM + SHIFT)}
    assert set(table["day_of_week"].to_pylist()) == {STORM.isoweekday()}
    assert sorted(path.parent.iterdir())[1] == path


def test_a_snapshot_holds_no_outcome_and_declares_its_nulls(shifted):
    """What only the arrival tells is not there; a column is nullable in the schema file where it is in the data."""
    schema = pq.read_schema(next((shifted.root / "data/batch").iterdir()))
    features = yaml.safe_load((shifted.root / flights.SCHEMA).read_text())["features"]

    assert [name for name in schema.names if "arr" in name and name != "carrier"] == []
    assert {f["name"]: (f["dtype"].replace("float64", "double"), f["nullable"]) for f in features} == {
        name: (str(schema.field(name).type), schema.field(name).nullable)
        for name in schema.names
        if name not in ("flight_id", "flight", "tailnum")
    }


def test_the_config_pins_the_model_that_lies_there(shifted):
    """Digest, features and the end of the training data agree between config, schema and artifact."""
    config = yaml.safe_load((shifted.root / flights.CONFIG).read_text())
    artifact = (shifted.root / config["model"]["path"]).read_bytes()
    model = joblib.load(shifted.root / config["model"]["path"])
    features = yaml.safe_load((shifted.root / config["schema"]).read_text())["features"]

    assert config["model"]["sha256"] == hashlib.sha256(artifact).hexdigest()
    assert list(model.feature_names_in_) == [feature["name"] for feature in features]
    assert config["model"]["trained_until"] == str(date(2013, 1, 31) + SHIFT)


def test_a_second_build_does_nothing_and_a_further_day_only_that(shifted):
    """Snapshots that are there are not touched: they are immutable."""
    before = {path: path.stat().st_mtime_ns for path in shifted.root.rglob("*") if path.is_file()}
    again = flights.build(shifted)
    more = flights.build(
        flights.Options(root=shifted.root, first=shifted.first, last=shifted.last + timedelta(days=1), shift=SHIFT)
    )
    after = {path: path.stat().st_mtime_ns for path in shifted.root.rglob("*") if path.is_file()}

    assert (again, more) == ([], ["1 snapshots in data/batch"])
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 1


def test_another_shift_starts_the_folder_anew_but_leaves_outputs(tmp_path):
    """Snapshots of two calendars never lie side by side, and what a run published is not a build's to remove."""
    options = {"root": tmp_path, "first": STORM, "last": STORM}
    flights.build(flights.Options(**options, shift=SHIFT))
    (tmp_path / "outputs").mkdir()
    first = contents(tmp_path)
    flights.build(flights.Options(**options, shift=timedelta()))
    second = contents(tmp_path)

    assert (tmp_path / "outputs").is_dir()
    assert Counter(Path(name).name[:8] for name in second) == Counter(Path(name).name[:8] for name in first)
    assert second[flights.MODEL] == first[flights.MODEL]
    assert "data/batch/flights_2013_02_08.parquet" in second
    assert "data/batch/flights_2013_03_08.parquet" not in second


@pytest.mark.parametrize(("rows", "files"), [(1_000, 1), (CHUNK_ROWS + 1_000, 3), (7, 10)])
def test_a_customer_is_the_same_however_many_are_asked_for(tmp_path, rows, files):
    """Row i depends on the date and on i, and on nothing else."""
    options = churn.Options(root=tmp_path, day=date(2026, 2, 8), rows=rows, files=files, model="logreg")
    snapshot = tmp_path / churn.write_snapshot(options)
    parts = [snapshot] if files == 1 else sorted(snapshot.iterdir())
    whole = Population(options.day).chunk(0)
    tables = [pq.read_table(part) for part in parts]

    assert [table.num_rows for table in tables] == [rows * (n + 1) // files - rows * n // files for n in range(files)]
    assert [row for table in tables for row in table.to_pylist()][: CHUNK_ROWS // 10] == whole.slice(
        0, min(rows, CHUNK_ROWS // 10)
    ).to_pylist()


def test_row_groups_are_small_and_ids_unique(tmp_path):
    """A partition can be bounded by row groups, also across chunks of the generator."""
    options = churn.Options(root=tmp_path, day=date(2026, 2, 8), rows=128_734, files=1, model="logreg")
    file = pq.ParquetFile(tmp_path / churn.write_snapshot(options))
    ids = file.read(columns=["customer_id"])["customer_id"]

    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [50_000, 50_000, 28_734]
    assert len(ids.unique()) == 128_734


@pytest.mark.parametrize("model", ["logreg", "hgb"])
def test_churn_config_follows_the_choices(tmp_path, model):
    """A directory of parts is configured as one, and every kind of model takes the schema's features in order."""
    churn.build(churn.Options(root=tmp_path, day=date(2026, 2, 8), rows=100, files=2, model=model))
    config = yaml.safe_load((tmp_path / churn.CONFIG).read_text())
    fitted = joblib.load(tmp_path / config["model"]["path"])
    features = yaml.safe_load((tmp_path / config["schema"]).read_text())["features"]

    assert config["snapshot"]["path"] == "data/batch/customers_{date:%Y_%m_%d}"
    assert config["model"]["sha256"] == hashlib.sha256((tmp_path / churn.MODEL).read_bytes()).hexdigest()
    assert set(fitted.feature_names_in_) == {feature["name"] for feature in features}
    assert list(fitted.feature_names_in_) == [feature["name"] for feature in features]
