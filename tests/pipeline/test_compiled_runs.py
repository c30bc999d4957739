"""Runs with a compiled model: what they import and open, that they change no bit, and what becomes of a bad file."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_world import CONFIG, DAY, MODEL, World

from batchscore.model.compiled.plain import pack, unpack
from batchscore.store import seal

DEAR = ("sklearn", "scipy", "pandas", "distributed", "joblib", "kr8s", "stamina", "numpy.ma", "email.parser")
"""Modules that cost more to import than a nightly batch to score; the last two cost a fiftieth, for nothing."""
WATCHED = f"""
import sys
opened = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append(args[0])
sys.addaudithook(watch)
from batchscore.cli import _one_thread_per_library
_one_thread_per_library()
from batchscore.cli.command import app
app(["run", "-q", "--config", "{CONFIG}", "--date", "{DAY}", *sys.argv[1:]], standalone_mode=False)
import json
print(json.dumps({{
    "dear": [name for name in {DEAR!r} if name in sys.modules],
    "model": sum(path.endswith("{MODEL}") for path in opened),
    "compiled": sum(path.endswith(".compiled") for path in opened),
}}))
"""
"""A run that tells, on its last line, what it imported and how often it opened the artifact and the compiled model."""


def watched(world: World, *more: str) -> dict[str, Any]:
    """Run the day in a process of its own, and return what it imported and opened."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *more], cwd=world.root, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def way(world: World, output: str = "outputs") -> dict[str, Any]:
    """Return what the record of the day says of the way that scored."""
    return json.loads(world.path(f"{output}/{DAY}/metadata.json").read_text())["model"]["compiled"]


def predictions(world: World, output: str) -> dict[str, str]:
    """Return the digest of every file of the predictions, and the plan."""
    folder = world.path(f"{output}/{DAY}")
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("predictions.parquet/*"))
    }
    return {**found, "plan": json.loads((folder / "manifest.json").read_text())["plan_id"]}


def forget_day(world: World) -> None:
    """Remove what was published, and keep the compiled model."""
    world.path(f"outputs/{DAY}").unlink()
    for name in ("runs", "commits", "work"):
        shutil.rmtree(world.path(f"outputs/_batchscore/{name}"), ignore_errors=True)


@pytest.fixture
def compiled(world: World) -> World:
    """A pipeline whose first run compiled the model; the day is to be scored again."""
    world.configure(model__compiled={"mode": "auto"})
    assert world.run().code == 0
    assert way(world)["why"].startswith("the compiled model is not there: none was made yet")
    return world


def test_a_compiled_run_imports_no_library_of_the_model(compiled: World) -> None:
    """The second run opens the artifact once, to hash it, and imports none of what made it; the bits are the same."""
    first = predictions(compiled, "outputs")
    forget_day(compiled)

    assert watched(compiled) == {"dear": [], "model": 1, "compiled": 1}
    assert way(compiled)["used"] is True
    assert predictions(compiled, "outputs") == first


def test_the_watch_sees_what_an_ordinary_run_imports(world: World) -> None:
    """The twin of the test above: the same watch finds the libraries where the artifact itself scores."""
    found = watched(world)

    assert {"sklearn", "scipy", "joblib"} <= set(found["dear"])
    assert (found["model"], found["compiled"]) == (1, 0)
    assert way(world) == {"used": False, "why": "the compiled model is not there: model.compiled.mode is off"}


def record_path(world: World) -> Path:
    """Return the record of the compiled model in the output root."""
    return next(world.path("outputs/_batchscore/compiled").glob("*.json"))


def alter(world: World) -> None:
    """Write another compiled model whose every digest is right: one weight is another one."""
    path = record_path(world)
    record = json.loads(path.read_text())
    file = next(path.parent.glob("*.compiled"))
    content = unpack(file.read_bytes())
    content["final"]["coef"] = content["final"]["coef"] * np.float64(1.001)
    altered = pack(content)
    digest = hashlib.sha256(altered).hexdigest()
    path.unlink()
    path.write_bytes(seal({**record, "model_sha256": digest}))
    file.with_name(f"{path.stem}-{digest[:16]}.compiled").write_bytes(altered)


def test_replay_by_the_artifact_proves_a_compiled_run(compiled: World) -> None:
    """`replay --reference` scores with the artifact itself: the same comes out as the compiled model published."""
    forget_day(compiled)
    assert compiled.run().code == 0
    same = compiled("replay", "--config", CONFIG, "--date", DAY, "--reference")

    assert (same.code, same.out.splitlines()[0]) == (
        0,
        f"SAME {DAY}: 3 parts, byte for byte; scored by the artifact itself",
    )


def test_replay_by_the_artifact_names_the_first_row_of_an_altered_compiled_model(compiled: World) -> None:
    """The twin: a compiled model that was exchanged, digests and all, is found out, by row and column."""
    forget_day(compiled)
    alter(compiled)
    assert compiled.run().code == 0
    assert way(compiled)["used"] is True
    different = compiled("replay", "--config", CONFIG, "--date", DAY, "--reference")

    assert different.code == 3
    assert different.out.startswith(f"DIFFERENT {DAY}: partition 0, row 'c0-000000', column 'prediction': published ")
    assert "scored by the artifact itself" in different.out


def test_a_damaged_compiled_model_does_not_stop_the_night(compiled: World) -> None:
    """In auto mode a file that is not the recorded one is told of and not used; with require it is code 11."""
    forget_day(compiled)
    file = next(compiled.path("outputs/_batchscore/compiled").glob("*.compiled"))
    file.write_bytes(file.read_bytes()[:-1])
    assert compiled.run().code == 0
    assert "has the sha256" in way(compiled)["why"]
    refused = compiled("run", "--config", CONFIG, "--date", DAY, "--set", "model.compiled.mode=require")

    assert refused.code == 11
    assert "error[E-MODEL-COMPILED]: model.compiled.mode is require, but the compiled model" in refused.err


def test_what_does_not_compile_is_tried_once(world: World) -> None:
    """The first run records why a model does not compile, and later runs say so instead of trying again."""
    from sklearn.naive_bayes import GaussianNB
    from small_world import customers, fit, target

    model = fit(GaussianNB(), target(customers()))
    model.steps[0][1].sparse_threshold = 0
    world.release(fit_dense(model))
    world.configure(model__compiled=None)
    assert world.run().code == 0
    forget_day(world)
    assert world.run().code == 0

    assert way(world)["why"].startswith("the compiled model is not there: the model was not compiled: ")


HURRIED = f"""
from batchscore import compiling
compiling.WAIT_SECONDS = 0.01
from batchscore.cli.command import app
app(["run", "-q", "--config", "{CONFIG}", "--date", "{DAY}"], standalone_mode=False)
"""
"""A run that has no time to wait for the compiler."""


def test_a_compiler_that_takes_too_long_is_waited_for_once(world: World) -> None:
    """The date is published all the same, and later runs say why there is no compiled model instead of waiting again."""
    world.configure(model__compiled=None)
    done = subprocess.run([sys.executable, "-c", HURRIED], cwd=world.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the model was not compiled" in done.stderr
    forget_day(world)
    assert world.run().code == 0

    assert "a first try has not ended, or was stopped or killed" in way(world)["why"]


def fit_dense(model: Any) -> Any:
    """Fit a pipeline again so that its preparation gives a dense matrix, which naive Bayes needs."""
    from small_world import customers, target

    return model.fit(customers().select(["amount", "age", "visits", "plan"]).to_pandas(), target(customers()))


def test_a_compiled_model_is_made_by_hand_and_pinned(world: World) -> None:
    """`model compile` prints the lines that pin the file beside the artifact; with them every run uses it, and only it."""
    world.configure(model__compiled=None)
    told = world("model", "compile", "--config", CONFIG, "--json")
    assert told.code == 0, told.err
    document = json.loads(told.out)
    pinned = yaml.safe_load(document["yaml"])["model"]["compiled"]
    assert world("model", "compile", "--config", CONFIG).code == 0  # the same bytes again
    world.configure(model__compiled={"mode": "require", **pinned})
    assert world.run().code == 0

    assert way(world) == {
        "used": True,
        "path": document["path"],
        "sha256": pinned["sha256"],
        "bit_equal_rows": document["proof"]["bit_equal_rows"],
    }
    assert not world.path("outputs/_batchscore/compiled").exists()
