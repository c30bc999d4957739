"""No code of a refused file runs: a canary that writes a file when it is unpickled stays silent, whoever looks at it."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
from bad_models import CANARY, Canary
from bad_row import error_id
from forked_cli import Ended
from small_world import CONFIG, DAY, MODEL, World

COMMANDS = ("validate", "plan", "run")


def ask(world: World, command: str) -> Ended:
    """Run a command on the day."""
    return world(command, "--config", CONFIG, "--date", DAY)


def sung(world: World) -> bool:
    """Say whether code of the canary ran, and silence it."""
    song = world.path(CANARY)
    found = song.exists()
    song.unlink(missing_ok=True)
    return found


def singing(world: World) -> bytes:
    """Return a model that is fit to score, and sings when it is loaded."""
    model = joblib.load(world.path(MODEL))
    model.song = Canary()
    sink = io.BytesIO()
    joblib.dump(model, sink)
    return sink.getvalue()


def pinned(world: World, content: bytes, path: str = MODEL, **keys: object) -> None:
    """Put a model in place and pin it as it is."""
    world.path(path).write_bytes(content)
    world.configure(model__path=path, model__sha256=hashlib.sha256(content).hexdigest(), **keys)


def another_digest(world: World) -> None:
    """Pin other bytes than those that lie there."""
    world.path(MODEL).write_bytes(singing(world))
    world.configure(model__sha256="0" * 64)


def trailing(world: World) -> None:
    """Put a canary behind the released model."""
    content = world.path(MODEL).read_bytes()
    world.path(MODEL).write_bytes(content + pickle.dumps(Canary()))


def another_library(world: World, *, compress: bool = False) -> None:
    """Pin a model that an older scikit-learn saved."""
    content = singing(world)
    now = re.search(rb"_sklearn_version\x94?\x8c.(\d+\.\d+\.\d+)", content)
    assert now is not None, "joblib writes the version as plain text"
    older = content.replace(now[1], b"0" + now[1][1:])
    pinned(world, zlib.compress(older) if compress else older)


def behind_latest(world: World) -> None:
    """Reach the model through a link to `latest`."""
    pinned(world, singing(world), "models/latest.joblib")
    world.path(MODEL).unlink()
    world.path(MODEL).symlink_to("latest.joblib")
    world.configure(model__path=MODEL)


def golden(content: bytes | None, sha256: str) -> Callable[[World], None]:
    """Name a golden sample that is missing, or another one."""

    def spoil(world: World) -> None:
        if content is not None:
            world.path("golden.parquet").write_bytes(content)
        pinned(world, singing(world), model__golden={"path": "golden.parquet", "sha256": sha256})

    return spoil


def renamed(suffix: str) -> Callable[[World], None]:
    """Give the pickle the suffix of another format."""
    return lambda world: pinned(world, pickle.dumps(Canary()), f"models/churn_v1.2.0{suffix}")


# fmt: off
REFUSED = {
    "another-digest": ("E-MODEL-DIGEST", another_digest),
    "bytes-behind-the-model": ("E-MODEL-DIGEST", trailing),
    "another-library-version": ("E-MODEL-LIBRARY-VERSION", another_library),
    "another-library-version-compressed": ("E-MODEL-LIBRARY-VERSION", lambda w: another_library(w, compress=True)),
    "a-link-to-latest": ("E-MODEL-LATEST", behind_latest),
    "another-schema": ("E-MODEL-SCHEMA-DIGEST", lambda w: pinned(w, singing(w), model__schema_sha256="f" * 64)),
    "trained-after": ("E-MODEL-TRAINED-AFTER", lambda w: pinned(w, singing(w), model__trained_until="2024-06-30")),
    "golden-sample-missing": ("E-MODEL-GOLDEN-MISSING", golden(None, "0" * 64)),
    "another-golden-sample": ("E-MODEL-GOLDEN-DIGEST", golden(b"another", "0" * 64)),
    "unknown-suffix": ("E-MODEL-FORMAT", renamed(".bin")),
    "a-pickle-named-skops": ("E-MODEL-LOAD", renamed(".skops")),
    "a-pickle-named-onnx": ("E-MODEL-LOAD", renamed(".onnx")),
}
# fmt: on


@pytest.mark.parametrize(("error", "spoil"), REFUSED.values(), ids=REFUSED)
def test_a_refused_model_never_runs(world: World, error: str, spoil: Callable[[World], None]) -> None:
    """In none of the commands that check a model: code 11, and the canary is silent."""
    spoil(world)
    ended = {command: ask(world, command) for command in COMMANDS}

    assert {command: (each.code, error_id(each)) for command, each in ended.items()} == dict.fromkeys(
        COMMANDS, (11, error)
    )
    assert not sung(world)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_twin_sings(world: World, command: str) -> None:
    """The same file, pinned as it is, is loaded: so the canary would have been heard."""
    pinned(world, singing(world))
    ended = ask(world, command)

    assert ended.code == 0, ended.err
    assert sung(world)


def test_what_stands_behind_a_pinned_model_is_not_read(world: World) -> None:
    """A loader stops where the model ends, also where the whole file is pinned; `inspect` tells of the rest."""
    trailing(world)
    world.pin()
    ended = ask(world, "run")
    inspected = world("model", "inspect", MODEL)

    assert ended.code == 0, ended.err
    assert (inspected.code, error_id(inspected)) == (11, "E-MODEL-TRAILING-BYTES")
    assert not sung(world)


def test_looking_into_a_hostile_file_runs_nothing(world: World) -> None:
    """Neither its pickle nor what stands behind an array of it; the twin is loaded, and sings."""
    content = singing(world)
    world.path("models/evil.joblib").write_bytes(content)
    ended = world("model", "inspect", "models/evil.joblib", "--json")

    assert ended.code == 0, ended.err
    assert "pathlib.Path.write_text" in ended.document["review"]
    assert not sung(world)


def test_a_model_of_another_date_is_not_loaded(world: World) -> None:
    """Of a list of models only the one of the date is; the other one sings on its own dates."""
    models = [{**world.config["model"], "valid_from": "2000-01-01"}]
    content = singing(world)
    world.path("models/next_v2.joblib").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    models.append({"path": "models/next_v2.joblib", "version": "2", "sha256": sha256, "valid_from": "2024-06-01"})
    world.configure(model=models)
    ended = [ask(world, command).code for command in COMMANDS]

    assert ended == [0, 0, 0]
    assert not sung(world)
    world("validate", "--config", CONFIG, "--date", "2024-06-02")
    assert sung(world)


# What is read as data, and is a pickle: key, path, what else the section needs, the code.
AS_DATA = {
    "calibration": ("calibration", "curve.csv", {"kind": "isotonic"}, 10),
    "golden": ("model__golden", "golden.parquet", {}, 11),
    "reference": ("drift__reference", "reference.json", {}, 10),
}


@pytest.mark.parametrize(("key", "path", "more", "code"), AS_DATA.values(), ids=AS_DATA)
def test_a_pickle_in_the_place_of_data_is_only_bytes(
    world: World, key: str, path: str, more: dict[str, str], code: int
) -> None:
    """Pinned as it is, it is refused for what it is not."""
    content = pickle.dumps(Canary())
    world.path(path).write_bytes(content)
    world.configure(**{key: {"path": path, "sha256": hashlib.sha256(content).hexdigest(), **more}})
    ended = [ask(world, command).code for command in COMMANDS]

    assert ended == [code] * 3
    assert not sung(world)


def test_a_pickle_as_schema_or_snapshot_is_only_bytes(world: World) -> None:
    """The schema is YAML, and the snapshot parquet, whatever lies there."""
    schema, part = (Path(world.path(name)) for name in (world.config["schema"], world.part()))
    whole = schema.read_bytes()
    schema.write_bytes(pickle.dumps(Canary()))
    first = ask(world, "validate")
    schema.write_bytes(whole)
    part.write_bytes(pickle.dumps(Canary()))
    second = ask(world, "run")

    assert (first.code, second.code) == (10, 13)
    assert not sung(world)
