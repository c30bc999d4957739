"""Bad models: missing, of other bytes, from other libraries, of other features, of other dates."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import small_world
from bad_row import Bad, row
from sklearn.linear_model import LogisticRegression
from small_world import MODEL, World

CANARY = "canary.txt"


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        """Tell pickle to write the file."""
        return (Path.write_text, (Path(CANARY), "this code ran"))


def _canary(world: World) -> None:
    joblib.dump(Canary(), world.path(MODEL))


def _cut(world: World) -> None:
    content = world.path(MODEL).read_bytes()
    world.path(MODEL).write_bytes(content[: len(content) // 2])
    world.pin()


def _other_sklearn(world: World) -> None:
    model = joblib.load(world.path(MODEL))
    saved = world.path(MODEL)
    joblib.dump(model, saved)
    content = saved.read_bytes()
    now = re.search(rb"_sklearn_version\x94?\x8c.(\d+\.\d+\.\d+)", content)
    assert now is not None, "joblib writes the version as plain text"
    saved.write_bytes(content.replace(now[1], b"0" + now[1][1:]))
    world.pin()


def _link(world: World) -> None:
    shutil.move(world.path(MODEL), world.path("models/churn_v1.2.0-a.joblib"))
    world.path("models/latest.joblib").symlink_to("churn_v1.2.0-a.joblib")
    world.path(MODEL).symlink_to("latest.joblib")


def _reordered(world: World) -> None:
    world.schema(lambda schema: schema["features"].reverse())


def _fewer(world: World) -> None:
    world.schema(lambda schema: schema["features"].pop(2))


def _more(world: World) -> None:
    world.schema(lambda schema: schema["features"].append({"name": "region", "dtype": "string"}))


def _nameless(world: World) -> None:
    frame = small_world.customers().select(["amount", "visits"]).to_pandas().to_numpy()
    world.release(LogisticRegression().fit(frame, small_world.target(small_world.customers())))


def _golden(world: World, shift: float, *, drop: str | None = None) -> None:
    table = small_world.customers(50, seed=3).select(list(small_world.NAMES))
    scores = joblib.load(world.path(MODEL)).predict_proba(table.to_pandas())[:, 1]
    sample = table.append_column("prediction", pa.array(scores + shift))
    pq.write_table(sample.drop_columns([drop]) if drop else sample, world.path("golden.parquet"))
    world.configure(model__golden={"path": "golden.parquet", "sha256": _digest(world.path("golden.parquet"))})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _dump(model: object):
    return lambda world: world.release(model)


# A table: one row a line.
# fmt: off
ROWS: tuple[Bad, ...] = (
    row(11, "E-MODEL-MISSING", "the model is missing", f"'{MODEL}'", "does not exist", spoil=lambda w: w.path(MODEL).unlink()),
    row(11, "E-MODEL-UNREADABLE", "the model is a folder", f"'{MODEL}'", "no regular file", spoil=lambda w: [w.path(MODEL).unlink(), w.path(MODEL).mkdir()]),
    row(11, "E-MODEL-DIGEST", "another digest is pinned", f"'{MODEL}'", "0" * 64, spoil=lambda w: w.configure(model__sha256="0" * 64)),
    row(11, "E-MODEL-DIGEST", "a pickle that runs code, in the model's place: it does not run", f"'{MODEL}'", "sha256", spoil=_canary),
    row(11, "E-MODEL-TRUNCATED", "a truncated model, pinned as it is", f"'{MODEL}'", "truncated", spoil=_cut),
    row(11, "E-MODEL-LOAD", "no model at all, pinned as it is", f"'{MODEL}'", "can not be loaded", spoil=lambda w: [w.path(MODEL).write_bytes(b"not a model\n"), w.pin()]),
    row(11, "E-MODEL-NOT-AN-ESTIMATOR", "a dictionary instead of an estimator", f"'{MODEL}'", "dict", spoil=_dump({"weights": [1, 2]})),
    row(11, "E-MODEL-NOT-FITTED", "an estimator that was never fitted", f"'{MODEL}'", "LogisticRegression", spoil=_dump(LogisticRegression())),
    row(11, "E-MODEL-FORMAT", "a suffix of no known format", "'.bin'", spoil=lambda w: [shutil.copy(w.path(MODEL), w.path("models/churn.bin")), w.configure(model__path="models/churn.bin")]),
    row(11, "E-MODEL-LIBRARY-VERSION", "saved by another scikit-learn", "was saved by scikit-learn 0.", "is installed", spoil=_other_sklearn),
    row(11, "E-MODEL-LATEST", "a symlink that leads through `latest`", f"'{MODEL}'", "'latest.joblib'", spoil=_link),
    row(11, "E-MODEL-FEATURES-ORDER", "the schema's features in another order", "'plan' in place 1", "'amount'", spoil=_reordered),
    row(11, "E-MODEL-FEATURES-MISSING", "a feature that the schema lacks", "'visits'", spoil=_fewer),
    row(11, "E-MODEL-FEATURES-EXTRA", "a feature that the model does not know", "'region'", spoil=_more),
    row(11, "E-MODEL-FEATURES-COUNT", "a model without names, of another number of features", "takes 2 features", "has 4", spoil=_nameless),
    row(11, "E-MODEL-POSITIVE-CLASS", "a positive class that does not exist", "'churned'", "0, 1", spoil=lambda w: w.configure(model__positive_class="churned")),
    row(11, "E-MODEL-NO-PROBABILITY", "a regressor that is asked for probabilities", "predict_proba", "probability", spoil=lambda w: w.release(small_world.regressor())),
    row(11, "E-MODEL-GOLDEN-DIFFERS", "a golden sample of other scores", "50 of the 50 rows", spoil=lambda w: _golden(w, 1e-6)),
    row(11, "E-MODEL-GOLDEN-FORMAT", "a golden sample without scores", "'prediction'", spoil=lambda w: _golden(w, 0, drop="prediction")),
    row(11, "E-MODEL-GOLDEN-MISSING", "the golden sample is missing", "'golden.parquet'", spoil=lambda w: w.configure(model__golden={"path": "golden.parquet", "sha256": "0" * 64})),
    row(11, "E-MODEL-GOLDEN-DIGEST", "another golden sample than the pinned one", "'golden.parquet'", spoil=lambda w: [_golden(w, 0), w.configure(model__golden__sha256="0" * 64)]),
    row(11, "E-MODEL-TRAINED-AFTER", "a model that was trained on later data", "until 2024-06-30", "2024-03-01", spoil=lambda w: w.configure(model__trained_until="2024-06-30")),
    row(11, "E-MODEL-SCHEMA-DIGEST", "another schema than that of the model's release", "'small'", "f" * 64, spoil=lambda w: w.configure(model__schema_sha256="f" * 64)),
    row(10, "E-CONFIG-VALUE", "permission to score earlier dates, without the date it is about", "'model'", "trained_until", spoil=lambda w: w.configure(model__allow_trained_after=True)),
)
