import hashlib
import io
import os
import pickle
import re
import sys
import threading
from datetime import date
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
from made_models import (
    NUMBERS,
    as_read,
    dumped,
    fitted,
    mixed_schema,
    number_schema,
    numbers,
    options_of,
    target,
)
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from batchscore import infer, model
from batchscore.errors import ConfigError, ModelError
from batchscore.model import ModelList, ModelOptions, golden_sample, load, resolve_model, score_names, verify
from batchscore.model.estimator import as_model
from batchscore.model.options import names_latest
from batchscore.model.walk import describe, limit_jobs
from batchscore.schema import Feature, FeatureSchema
from batchscore.strict import Section, parse_section

DAY = date(2013, 2, 8)
BLOCK = 256


def blocks(loaded, table):
    """Score as a run does."""
    return infer.score(loaded, table, BLOCK)


def verified(content, schema=None, *, day=DAY, files=None, **keys):
    """Verify the model whose file holds `content`."""
    options = options_of(content, **keys)
    stored = {options.path: content, **(files or {})}

    def read(path):
        if path not in stored:
            raise FileNotFoundError(path)
        return stored[path]

    return verify(options, schema or number_schema(), day, read=read, score=blocks)


def refused(content, *args, **keys):
    """Return the error that verifying ends in."""
    with pytest.raises(ModelError) as caught:
        verified(content, *args, **keys)
    return caught.value


@pytest.fixture(autouse=True)
def _forget():
    """Every test begins with a process that loaded no model."""
    model._LOADED.clear()


@pytest.fixture(scope="module")
def pipeline():
    """The bytes of a model of numbers."""
    return dumped(fitted("logistic, numbers")[0])


# --- the configuration's section -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "fact"),
    [
        ({"version": "latest"}, "the key 'version' names `latest`"),
        ({"version": "LaTeSt"}, "names `latest`"),
        ({"path": "models/latest/model.joblib"}, "the key 'path' names `latest`"),
        ({"path": "models/flights-Latest.joblib"}, "names `latest`"),
        ({"path": "s3://models/flights_%6Catest.joblib"}, "names `latest`"),
        ({"path": "models/l\u200batest.joblib"}, "names `latest`"),
        ({"path": "models/\uff4c\uff41\uff54\uff45\uff53\uff54.joblib"}, "names `latest`"),
        ({"version": "1.2 beta"}, "the key 'version'"),
        ({"version": 1.2}, "the key 'version'"),
        ({"version": ""}, "the key 'version'"),
        ({"sha256": "A" * 64}, "64 lowercase hexadecimal digits"),
        ({"sha256": "a" * 63}, "64 lowercase hexadecimal digits"),
        ({"sha256": "a" * 64 + "\n"}, "64 lowercase hexadecimal digits"),
        ({"schema_sha256": "sha256:" + "a" * 64}, "64 lowercase hexadecimal digits"),
        ({"golden": {"path": "g.parquet", "sha256": "b"}}, "64 lowercase hexadecimal digits"),
        ({"golden": {"path": "g.parquet"}}, "the key 'golden.sha256' is missing"),
        ({"trained_until": "2013-1-31"}, "must be an ISO date"),
        ({"trained_until": "20130131"}, "must be an ISO date"),
        ({"output": "probabilities"}, "the key 'output'"),
        ({"output": "value", "positive_class": 1}, "needs output: probability, not value"),
        ({"allow_trained_after": True}, "nothing to allow"),
        ({"trusted": True}, "the key 'trusted'"),
        ({"trust": True}, "unknown key 'trust'; did you mean 'trusted'?"),
    ],
)
def test_mistakes_in_the_section_are_named(keys, fact):
    """Every mistake is code 10 with the key's path."""
    given = {"path": "models/a_v1.joblib", "version": "1", "sha256": "a" * 64} | keys
    with pytest.raises(ConfigError, match=re.escape(fact)) as caught:
        parse_section(ModelOptions, given, source="run.yaml")

    assert caught.value.exit_code == 10


def test_the_section_needs_path_version_and_digest():
    """Nothing that names the model has a default."""
    with pytest.raises(ConfigError) as caught:
        parse_section(ModelOptions, {}, source="run.yaml")

    assert caught.value.context["keys"] == ["path", "version", "sha256"]


@pytest.mark.parametrize("text", ["flights_v1.2.0.joblib", "1.2.0", "late_st", "models/lastest.joblib"])
def test_other_names_are_no_latest(text):
    """Only `latest` itself is refused."""
    assert not names_latest(text)


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_model_is_verified_and_recorded(pipeline):
    """The reference says which model it is, what it gives, and what it is made of."""
    ref = verified(pipeline, trained_until="2013-01-31")

    assert ref.score_names == ("prediction",)
    assert ref.record() == {
        "name": "flights",
        "version": "1.2.0",
        "path": "models/flights_v1.2.0.joblib",
        "sha256": hashlib.sha256(pipeline).hexdigest(),
        "size": len(pipeline),
        "format": "joblib",
        "output": "probability",
        "trained_until": "2013-01-31",
        "trained_after": False,
        "classes": [0, 1],
        "positive_class": 1,
        "golden": None,
        "compiled": {"used": False, "why": "the compiled model is not there: nobody offered one"},
        "estimator": "Pipeline(StandardScaler, LogisticRegression)",
        "library": f"scikit-learn {sklearn.__version__}",
        "n_features": 7,
        "names_checked": True,
        "preparation": "native: 1 of 2 steps, 7 columns",
        "engine": "plain data: LogisticRegression",
    }
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert len(pickle.dumps(ref)) < 2_500


class Sings:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_nothing_is_unpickled_before_the_digest_matches(tmp_path):
    """A canary in the file stays silent with a wrong digest, and sings with the right one."""
    song = tmp_path / "song"
    content = dumped(Sings(str(song)))
    error = refused(content, sha256="0" * 64)
    assert not song.exists()
    twin = refused(content)

    assert error.id == "E-MODEL-DIGEST"
    assert error.message == (
        f"the model 'models/flights_v1.2.0.joblib' has the sha256 {hashlib.sha256(content).hexdigest()}, "
        f"but the configuration pins {'0' * 64}"
    )
    assert song.exists()
    assert twin.id == "E-MODEL-NOT-AN-ESTIMATOR"


@pytest.mark.parametrize(
    "keys",
    [{"schema_sha256": "1" * 64}, {"trained_until": "2013-02-09"}, {"path": "models/flights.bin"}],
)
def test_what_needs_no_loading_is_checked_before_loading(tmp_path, keys):
    """A model that is refused for its date, schema or suffix is never unpickled."""
    refused(dumped(Sings(str(tmp_path / "song"))), **keys)

    assert not (tmp_path / "song").exists()


def test_a_missing_file_is_named():
    """A path with nothing behind it is code 11, not a traceback."""
    options = options_of(b"")

    def read(path):
        raise FileNotFoundError(path)

    with pytest.raises(ModelError, match=r"the model 'models/flights_v1.2.0.joblib' does not exist") as caught:
        verify(options, number_schema(), DAY, read=read, score=blocks)

    assert caught.value.id == "E-MODEL-MISSING"


def test_a_folder_is_no_model(tmp_path):
    """A path that names a directory is refused with that word."""
    folder = tmp_path / "model_v1.joblib"
    folder.mkdir()
    options = options_of(b"", path=str(folder))
    with pytest.raises(ModelError, match="can not be read: Is a directory") as caught:
        verify(options, number_schema(), DAY, read=lambda path: Path(path).read_bytes(), score=blocks)

    assert caught.value.id == "E-MODEL-UNREADABLE"


@pytest.mark.parametrize("way", ["file", "folder", "chain"])
def test_a_symlink_to_an_unversioned_name_is_refused(tmp_path, pipeline, way):
    """A link, a linked folder, or a link in the middle of a chain that is named latest."""
    (tmp_path / "v1").mkdir()
    real = tmp_path / "v1" / "model.joblib"
    real.write_bytes(pipeline)
    if way == "file":
        (tmp_path / "Latest.joblib").write_bytes(pipeline)
        path = tmp_path / "pinned.joblib"
        path.symlink_to("Latest.joblib")
    elif way == "folder":
        (tmp_path / "latest").symlink_to("v1")
        (tmp_path / "stable").symlink_to("latest")
        path = tmp_path / "stable" / "model.joblib"
    else:
        (tmp_path / "latest.joblib").symlink_to(real)
        path = tmp_path / "pinned.joblib"
        path.symlink_to(tmp_path / "latest.joblib")
    options = options_of(pipeline, path=str(path))
    with pytest.raises(ModelError, match="leads through a symlink to") as caught:
        verify(options, number_schema(), DAY, read=lambda path: Path(path).read_bytes(), score=blocks)

    assert caught.value.id == "E-MODEL-LATEST"


def test_other_symlinks_are_followed(tmp_path, pipeline):
    """A link to a release is fine: the digest says what is behind it."""
    (tmp_path / "v1.joblib").write_bytes(pipeline)
    path = tmp_path / "current_v1.joblib"
    path.symlink_to("v1.joblib")
    options = options_of(pipeline, path=str(path))
    ref = verify(options, number_schema(), DAY, read=lambda path: Path(path).read_bytes(), score=blocks)

    assert ref.name == "current_v1"


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("lzma", 1), ("gzip", 1), ("bz2", 1), ("xz", 1)])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_truncated_file_says_so(compress, share):
    """A file that ends early, although its digest is pinned, is called truncated in every compression."""
    sink = io.BytesIO()
    joblib.dump(fitted("forest, numbers")[0], sink, compress=compress)
    whole = sink.getvalue()
    error = refused(whole[: int(len(whole) * share)])

    assert error.id == "E-MODEL-TRUNCATED", error.message
    assert "is truncated: it ends before the model does" in error.message


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"not a pickle", b"PK\x03\x04junk", b"\x80\x05\x95\xff", b"\x80\xffK\x01."]
)
def test_what_is_no_joblib_file_can_not_be_loaded(content):
    """Every kind of junk is one error of code 11."""
    assert refused(content).id in ("E-MODEL-LOAD", "E-MODEL-TRUNCATED")


def test_another_library_version_is_an_error_with_both_versions(pipeline):
    """scikit-learn only warns; here it stops the run."""
    here = sklearn.__version__.encode()
    assert here in pipeline
    error = refused(pipeline.replace(here, b"1.5.2"))

    assert error.id == "E-MODEL-LIBRARY-VERSION"
    assert f"was saved by scikit-learn 1.5.2, but {sklearn.__version__} is installed" in error.message


def test_a_missing_library_is_named():
    """A model of a library that is not here names the module."""
    error = refused(pickle.dumps(0).replace(b"K\x00.", b"cno_such_library.trees\nForest\n."))

    assert error.id == "E-MODEL-LIBRARY-MISSING"
    assert "needs the module 'no_such_library'" in error.message


class Warns(BaseEstimator):
    """Warns when it is unpickled."""

    def __setstate__(self, state):
        import warnings

        warnings.warn("an old booster", UserWarning, stacklevel=1)


class Breaks(BaseEstimator):
    """Raises when it is unpickled."""

    def __setstate__(self, state):
        raise RuntimeError("no such kernel")


def test_warnings_and_errors_while_loading_are_named():
    """What the file's own code says reaches the user in one sentence."""
    warned, broken = Warns(), Breaks()
    warned.x = broken.x = 1

    assert refused(dumped(warned)).id == "E-MODEL-LOAD-WARNING"
    assert refused(dumped(warned)).message.endswith("UserWarning: an old booster")
    assert refused(dumped(broken)).id == "E-MODEL-LOAD"
    assert refused(dumped(broken)).message.endswith("RuntimeError: no such kernel")


# --- what is in it ---------------------------------------------------------------------------------------------------


def trained(estimator, table=None, classes=2):
    """Fit on a frame with names."""
    table = numbers(200) if table is None else table
    return estimator.fit(as_read(table), target(table, classes))


X, Y = np.random.default_rng(0).normal(size=(40, 7)), np.arange(40) % 2


@pytest.mark.parametrize(
    ("thing", "keys", "slug", "fact"),
    [
        ({"model": 1}, {}, "NOT-AN-ESTIMATOR", "holds no estimator with `predict`, but a dict"),
        (StandardScaler().fit(X), {}, "NOT-AN-ESTIMATOR", "but a StandardScaler"),
        (LogisticRegression, {}, "NOT-AN-ESTIMATOR", "but a LogisticRegression (the class itself)"),
        (LogisticRegression(), {}, "NOT-FITTED", "holds a LogisticRegression that is not fitted"),
        (make_pipeline(StandardScaler(), Ridge()), {"output": "value"}, "NOT-FITTED", "a Pipeline that is not fitted"),
        (LinearSVC().fit(X, Y), {}, "NO-PROBABILITY", "a LinearSVC without `predict_proba`"),
        (Ridge().fit(X, Y), {}, "NO-PROBABILITY", "a Ridge without `predict_proba`"),
        (Ridge().fit(X, Y), {"output": "class"}, "WRONG-OUTPUT", "which is no classifier, but model.output is class"),
        (LogisticRegression().fit(X, Y), {"output": "value"}, "WRONG-OUTPUT", "which is a classifier"),
        (RandomForestClassifier(3).fit(X, np.c_[Y, Y]), {}, "MULTI-OUTPUT", "with several outputs"),
        (RandomForestRegressor(3).fit(X, np.c_[Y, Y]), {"output": "value"}, "MULTI-OUTPUT", "with several outputs"),
        (RandomForestClassifier(3).fit(X, 0 * Y), {}, "ONE-CLASS", "knows only one class"),
        (LogisticRegression().fit(X, Y), {"positive_class": 2}, "POSITIVE-CLASS", "the classes of the model are 0, 1"),
        (LogisticRegression().fit(X, Y), {"positive_class": "1"}, "POSITIVE-CLASS", "is '1', but the classes"),
        (LogisticRegression().fit(X[:, :5], Y), {}, "FEATURES-COUNT", "takes 5 features, but the feature schema has 7"),
    ],
)
def test_what_does_not_fit_is_refused(thing, keys, slug, fact):
    """Each way in which a loaded object is not the model that is asked for has its own error."""
    error = refused(dumped(thing), **keys)

    assert error.slug == slug
    assert fact in error.message
    assert error.remedy


@pytest.mark.parametrize(
    ("names", "slug", "fact"),
    [
        (NUMBERS[:6], "FEATURES-MISSING", "takes the feature 'n6', which the feature schema does not have (1 of 7"),
        ((*NUMBERS, "n7"), "FEATURES-EXTRA", "has the feature 'n7', which the model"),
        ((*NUMBERS[:5], "n6", "n5"), "FEATURES-ORDER", "has 'n6' in place 6, where the model"),
        ((*NUMBERS[:6], "N6"), "FEATURES-MISSING", "takes the feature 'n6'"),
    ],
)
@pytest.mark.parametrize("outside", [True, False])
def test_features_are_compared_by_name_and_order(names, slug, fact, outside):
    """Missing, extra and reordered features differ in message and slug, also behind a first step without names."""
    schema = FeatureSchema(name="s", version="1", features=tuple(Feature(name=n, dtype="float64") for n in names))
    estimator = trained(make_pipeline("passthrough" if outside else StandardScaler(), LogisticRegression()))
    error = refused(dumped(estimator), schema)

    assert error.slug == slug
    assert fact in error.message


def test_a_model_without_names_is_given_none():
    """A model that was fitted on a matrix is scored without a warning, and the record says that no names were checked."""
    estimator = LogisticRegression().fit(X, Y)
    ref = verified(dumped(estimator))
    loaded = model._LOADED[next(iter(model._LOADED))]
    table = pa.table(dict(zip(NUMBERS, X.T.copy(), strict=True)))

    assert ref.facts["names_checked"] is False
    np.testing.assert_allclose(blocks(loaded, table)[:, 0], estimator.predict_proba(X)[:, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "keys", "classes", "positive"),
    [
        ([0, 1], {}, (0, 1), 1),
        ([0, 1], {"positive_class": 0}, (0, 1), 0),
        ([False, True], {"positive_class": True}, (False, True), 1),
        (["late", "ok"], {"positive_class": "late"}, ("late", "ok"), 0),
        (["a", "b", "c"], {}, ("a", "b", "c"), None),
        (["a", "b", "c"], {"positive_class": "b"}, ("a", "b", "c"), 1),
        ([0, 1], {"output": "class"}, (0, 1), None),
    ],
)
def test_the_positive_class(labels, keys, classes, positive):
    """The last of two by default, the configured one, none of three; the prediction is its probability."""
    y = np.array(labels)[np.arange(40) % len(labels)]
    estimator = LogisticRegression().fit(X, y)
    ref = verified(dumped(estimator), **keys)
    loaded = model._LOADED[next(iter(model._LOADED))]
    scores = blocks(loaded, pa.table(dict(zip(NUMBERS, X.T.copy(), strict=True))))

    assert (ref.classes, ref.positive) == (classes, positive)
    assert ref.score_names == score_names(ref.output, classes)
    if ref.output == "class":
        assert [classes[int(index)] for index in scores[:, 0]] == estimator.predict(X).tolist()
    elif len(classes) == 2:
        np.testing.assert_allclose(scores[:, 0], estimator.predict_proba(X)[:, positive], atol=1e-12)
    else:
        np.testing.assert_allclose(scores, estimator.predict_proba(X), atol=1e-12)


def jobs(estimator):
    """Return every n_jobs inside, by scikit-learn's own parameters and by the fitted parts that we know."""
    found = [value for name, value in estimator.get_params(deep=True).items() if name.endswith("n_jobs")]
    for name in ("estimators_", "calibrated_classifiers_", "steps", "transformers_"):
        for part in getattr(estimator, name, []):
            inner = getattr(part, "estimator", part[1] if isinstance(part, tuple) else part)
            found += jobs(inner) if hasattr(inner, "get_params") else []
    best = getattr(estimator, "best_estimator_", None)
    return found + (jobs(best) if best is not None else [])


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3, n_jobs=2),
        RandomForestClassifier(3, n_jobs=None),
        make_pipeline(StandardScaler(), RandomForestClassifier(3, n_jobs=-1)),
        make_pipeline(
            ColumnTransformer([("s", StandardScaler(), [0, 1])], n_jobs=2),
            CalibratedClassifierCV(RandomForestClassifier(3, n_jobs=2), cv=2, n_jobs=2),
        ),
        CalibratedClassifierCV(make_pipeline(StandardScaler(), RandomForestClassifier(3, n_jobs=2)), cv=2),
        VotingClassifier([("a", RandomForestClassifier(3, n_jobs=2)), ("b", LogisticRegression())], voting="soft"),
        GridSearchCV(RandomForestClassifier(3, n_jobs=2), {"max_depth": [2]}, cv=2, n_jobs=1),
    ],
)
def test_every_nested_n_jobs_becomes_one(estimator):
    """Pipelines, transformers, calibrated and fitted parts included; None counts as unset and becomes 1 too."""
    with joblib.parallel_config(backend="threading"):
        estimator.fit(X, Y)
    assert set(jobs(estimator)) != {1}
    limit_jobs(estimator)

    assert set(jobs(estimator)) == {1}


def test_a_tree_of_estimators_prints_as_one_line():
    """The record shows what a model is made of."""
    assert describe(fitted("calibrated")[0]) == (
        "Pipeline(ColumnTransformer(Pipeline(SimpleImputer, StandardScaler), Pipeline(SimpleImputer, OneHotEncoder)), "
        "CalibratedClassifierCV(LogisticRegression))"
    )


# --- schema digest, dates, golden sample -----------------------------------------------------------------------------


def test_another_schema_than_the_released_one_is_refused(pipeline):
    """The digest of the schema's content decides."""
    assert verified(pipeline, schema_sha256=number_schema().digest).options.schema_sha256
    assert refused(pipeline, schema_sha256="1" * 64).id == "E-MODEL-SCHEMA-DIGEST"


def test_a_model_from_the_future_is_refused(pipeline):
    """Unless it is allowed, and then the record says so."""
    error = refused(pipeline, trained_until="2013-02-09")

    assert error.id == "E-MODEL-TRAINED-AFTER"
    assert "until 2013-02-09, which is after the snapshot's date 2013-02-08" in error.message
    assert verified(pipeline, trained_until="2013-02-08").trained_after is False
    assert verified(pipeline, trained_until="2013-02-09", allow_trained_after=True).trained_after is True


def golden_bytes(table):
    """Return the table as parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def with_golden(content, table, schema=None, **keys):
    """Verify a model with a golden sample."""
    sample = table if isinstance(table, bytes) else golden_bytes(table)
    pinned = {"path": "golden.parquet", "sha256": hashlib.sha256(sample).hexdigest()}
    return verified(content, schema, files={"golden.parquet": sample}, **({"golden": pinned} | keys))


def refused_golden(content, table, **keys):
    """Return the error that the golden sample ends in."""
    with pytest.raises(ModelError) as caught:
        with_golden(content, table, **keys)
    return caught.value


@pytest.mark.parametrize("kind", ["logistic, numbers", "logistic, 3 classes", "calibrated outside", "regression"])
@pytest.mark.parametrize("way", ["blocks", "plain"])
def test_a_golden_sample_agrees_in_every_bit(kind, way):
    """Scores made in blocks or by one plain call of the estimator are both taken for what they are."""
    estimator, schema, make = fitted(kind)
    output = "value" if kind == "regression" else "probability"
    loaded = as_model(estimator, options_of(b"", output=output), schema)
    sample = golden_sample(loaded, make(100, seed=9), blocks)
    if way == "plain":
        answer = (
            estimator.predict(as_read(make(100, seed=9)))
            if output == "value"
            else estimator.predict_proba(as_read(make(100, seed=9)))
        )
        answer = answer[:, 1:] if answer.ndim == 2 and answer.shape[1] == 2 else answer.reshape(100, -1)
        for at, name in enumerate(score_names(output, loaded.classes)):
            sample = sample.set_column(sample.column_names.index(name), name, pa.array(answer[:, at]))
    ref = with_golden(dumped(estimator), sample, schema, output=output)

    assert ref.golden["rows"] == 100
    assert ref.golden["way"] in ("blocks", way)
    assert ref.record()["golden"] == ref.golden


def test_a_golden_sample_of_labels(pipeline):
    """With output class the sample holds labels."""
    loaded = as_model(fitted("logistic, numbers")[0], options_of(b"", output="class"), number_schema())
    sample = golden_sample(loaded, numbers(50), blocks)

    assert with_golden(pipeline, sample, output="class").golden["rows"] == 50
    wrong = sample.set_column(7, "label", pa.array([1 - label for label in sample["label"].to_pylist()]))
    assert refused_golden(pipeline, wrong, output="class").slug == "GOLDEN-DIFFERS"


def test_a_golden_sample_that_differs_in_one_bit_refuses_the_model(pipeline):
    """One unit in the last place of one row."""
    loaded = as_model(fitted("logistic, numbers")[0], options_of(b""), number_schema())
    sample = golden_sample(loaded, numbers(50), blocks)
    moved = sample["prediction"].to_numpy().copy()
    moved[17] = np.nextafter(moved[17], 1)
    error = refused_golden(pipeline, sample.set_column(7, "prediction", pa.array(moved)))

    assert error.id == "E-MODEL-GOLDEN-DIFFERS"
    assert "scores 1 of the 50 rows of the golden sample differently" in error.message
    assert "(first: row 17)" in error.message


def test_a_golden_sample_that_does_not_fit_is_named(pipeline):
    """Its own file, digest and columns are checked, each with its own words."""
    whole = numbers(5).append_column("prediction", pa.array(np.zeros(5)))
    cases = {
        b"no parquet": "is no parquet file",
        golden_bytes(whole.slice(0, 0)): "has no rows",
        golden_bytes(whole.drop(["n3"])): "has no column 'n3'",
        golden_bytes(whole.drop(["prediction"])): "has no column 'prediction' with the expected scores",
        golden_bytes(whole.set_column(7, "prediction", pa.array([None] * 5, pa.float64()))): "float64 without nulls",
        golden_bytes(whole.set_column(0, "n0", pa.array(list("abcde")))): "has a column 'n0' that is not float64",
    }

    for content, fact in cases.items():
        error = refused_golden(pipeline, content)
        assert error.id == "E-MODEL-GOLDEN-FORMAT"
        assert fact in error.message
    assert refused(pipeline, golden={"path": "gone.parquet", "sha256": "0" * 64}).id == "E-MODEL-GOLDEN-MISSING"
    other = {"golden": {"path": "golden.parquet", "sha256": "0" * 64}}
    assert refused_golden(pipeline, whole, **other).id == "E-MODEL-GOLDEN-DIGEST"


# --- loading on a worker ---------------------------------------------------------------------------------------------


def test_a_process_loads_a_model_once(pipeline):
    """Of eight threads that ask at once one reads and parses the file; later nobody does."""
    ref = verified(pipeline)
    model._LOADED.clear()
    found, reads = [], []

    def read(path):
        reads.append(path)
        return pipeline

    threads = [threading.Thread(target=lambda: found.append(load(ref, number_schema(), read=read))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert len({id(loaded) for loaded in found}) == 1
    assert reads == [ref.path]
    assert load(ref, number_schema(), read=lambda _: pytest.fail("read again")) is found[0]


def test_a_worker_checks_its_own_bytes(pipeline, tmp_path):
    """A file that was exchanged after the driver saw it is refused before it is unpickled."""
    ref = verified(pipeline)
    model._LOADED.clear()
    other = dumped(Sings(str(tmp_path / "song")))
    with pytest.raises(ModelError) as caught:
        load(ref, number_schema(), read=lambda _: other)

    assert caught.value.id == "E-MODEL-DIGEST"
    assert not (tmp_path / "song").exists()


def test_the_same_file_with_other_options_is_another_model(pipeline):
    """The cache is keyed by content and by what is made of it; it keeps the last few."""
    first = verified(pipeline)
    second = verified(pipeline, positive_class=0)
    for seed in range(6):
        verified(dumped(LogisticRegression().fit(X + seed, Y)))

    assert (first.positive, second.positive) == (1, 0)
    assert len(model._LOADED) == 4


def test_importing_the_module_is_cheap():
    """Neither pandas, scikit-learn, scipy nor joblib is imported before a model is loaded."""
    import subprocess

    code = "import sys, batchscore.model, batchscore.infer, batchscore.postprocess; print(*sys.modules)"
    path = os.pathsep.join(["src", *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )

    assert not {"pandas", "sklearn", "scipy", "joblib"} & set(run.stdout.split())


def test_mixed_features_take_the_frame_and_numbers_the_matrix():
    """A column transformer chooses columns by type; everything else takes one C-ordered matrix."""
    assert as_model(fitted("forest")[0], options_of(b""), mixed_schema()).takes == "frame"
    assert as_model(fitted("boosting, numbers")[0], options_of(b""), number_schema()).takes == "matrix"


# --- models by date --------------------------------------------------------------------------------------------------


class Config(Section):
    """A configuration with models by date."""

    model: ModelList


def entries(*starts):
    """Return models valid from these dates."""
    return [
        {"path": f"m{at}.joblib", "version": str(at), "sha256": "a" * 64} | ({"valid_from": start} if start else {})
        for at, start in enumerate(starts)
    ]


@pytest.mark.parametrize(
    ("day", "version"), [("2013-01-01", "0"), ("2013-01-31", "0"), ("2013-02-01", "1"), ("2013-06-01", "2")]
)
def test_a_date_takes_the_model_that_is_valid_on_it(day, version):
    """From its first day on, until the next one's."""
    models = parse_section(
        Config, {"model": entries("2013-01-01", "2013-02-01", "2013-06-01")}, source="run.yaml"
    ).model

    assert resolve_model(models, date.fromisoformat(day)).version == version


def test_a_date_before_every_model_has_none():
    """Also with a single model that says from when it is valid; without a date it is valid always."""
    one = options_of(b"", valid_from="2013-02-01")
    with pytest.raises(
        ModelError, match="no model is valid on 2013-01-31: the first one is valid from 2013-02-01"
    ) as caught:
        resolve_model(one, date(2013, 1, 31))

    assert caught.value.id == "E-MODEL-NOT-VALID-YET"
    assert resolve_model(options_of(b""), date(1970, 1, 1)) == options_of(b"")


@pytest.mark.parametrize(
    ("models", "fact"),
    [
        ([], "the key 'model'"),
        (entries("2013-01-01", None), "lists model 1 without valid_from"),
        (entries("2013-02-01", "2013-01-01"), "lists valid_from 2013-01-01 after 2013-02-01"),
        (entries("2013-02-01", "2013-02-01"), "each must be later than the one before"),
        (entries("February"), "the key 'model.0.valid_from' must be an ISO date"),
    ],
)
def test_mistakes_in_a_list_of_models_are_named(models, fact):
    """Order, gaps and doubles."""
    with pytest.raises(ConfigError, match=fact):
        parse_section(Config, {"model": models}, source="run.yaml")


def test_other_libraries_with_the_same_interface():
    """LightGBM: names, one thread, the same bits on every block, and its version in the record."""
    lightgbm = pytest.importorskip("lightgbm")
    estimator = trained(lightgbm.LGBMClassifier(n_estimators=5, n_jobs=2, verbose=-1))
    ref = verified(dumped(estimator))
    loaded = model._LOADED[next(iter(model._LOADED))]
    table = numbers(600, seed=3)
    cut = [blocks(loaded, table.slice(start, 250)) for start in range(0, 600, 250)]

    assert ref.facts["library"] == f"lightgbm {lightgbm.__version__}, scikit-learn {sklearn.__version__}"
    assert ref.libraries == {"lightgbm": lightgbm.__version__, "scikit-learn": sklearn.__version__}
    assert loaded.estimator.n_jobs == 1
    assert blocks(loaded, table).tobytes() == np.concatenate(cut).tobytes()
