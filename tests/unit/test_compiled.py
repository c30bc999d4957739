"""Compiled models: every bit of the artifact's scores without its libraries, and a refusal of all that is not proven."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_models import dumped, mixed, mixed_schema, number_schema, numbers, options_of, target
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from test_native import preparations, strange

from batchscore import infer, model
from batchscore.blocks import frame
from batchscore.errors import ModelError
from batchscore.model.compiled import (
    CompiledFile,
    CompiledModel,
    NotUsable,
    made_of,
    name_of,
    plain,
    proof_of,
    read_compiled,
)
from batchscore.model.compiled.making import NotCompilable, compile_model
from batchscore.model.compiled.ways import Candidate
from batchscore.model.estimator import as_model
from batchscore.model.native import natively
from batchscore.model.preparation import Coded
from batchscore.schema import Feature, FeatureSchema

BLOCK = 512
VERSIONS = {"numpy": "1", "scipy": "2", "scikit-learn": "3", "pyarrow": "4", "pandas": "5"}
DAY = date(2024, 3, 1)


def loaded(estimator: Any, schema: FeatureSchema, **keys: Any) -> tuple[Any, dict[str, Any]]:
    """Return a fitted estimator as a run loads it, and what its compiled model is made of."""
    options = options_of(b"", **keys)
    return natively(as_model(estimator, options, schema)), made_of(options, schema, VERSIONS, BLOCK)


def compiled(estimator: Any, schema: FeatureSchema, **keys: Any) -> tuple[Any, CompiledModel]:
    """Return a fitted estimator as a run loads it, and its compiled model as a later run reads it."""
    original, made = loaded(estimator, schema, **keys)
    return original, read_compiled(compile_model(original, made), made, schema)


def same_scores(one: Any, other: Any, rows: pa.Table) -> bool:
    """Whether two models give the same bits, in blocks and in one plain call."""
    blocks = infer.score(one, rows, BLOCK).tobytes() == infer.score(other, rows, BLOCK).tobytes()
    return blocks and one.plain(rows).tobytes() == other.plain(rows).tobytes()


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@given(preparation=preparations(), classes=st.sampled_from([2, 3]))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_generated_pipelines_keep_every_bit(preparation: ColumnTransformer, classes: int) -> None:
    """Whatever the preparation, its tabulated form scores ordinary, strange and unseen rows with the same bits."""
    rows, schema = mixed(300, 1), mixed_schema()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # TargetEncoder of three classes is left to the estimator's own code, so two are given to it.
        known = target(rows, 2 if "TargetEncoder" in str(preparation) else classes)
        fitted = make_pipeline(preparation, LogisticRegression(max_iter=5)).fit(frame(rows, schema.features), known)
    original, found = compiled(fitted, schema)
    shown = strange(mixed(150, 7))

    assert infer.score(found, shown, BLOCK).tobytes() == infer.score(original, shown, BLOCK).tobytes()


CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "gradient descent": SGDClassifier(loss="log_loss", random_state=0),
    "gradient descent, huber": SGDClassifier(loss="modified_huber", random_state=0),
    "perceptron": MLPClassifier((5, 4), max_iter=15, random_state=0),
    "perceptron, tanh": MLPClassifier((5,), activation="tanh", max_iter=15, random_state=0),
    "perceptron, logistic": MLPClassifier((5,), activation="logistic", max_iter=15, random_state=0),
    "calibrated, sigmoid": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "calibrated, isotonic": CalibratedClassifierCV(
        MLPClassifier((3,), max_iter=9, random_state=0), method="isotonic", cv=2
    ),
    "boosting": HistGradientBoostingClassifier(max_iter=8),
    "forest": RandomForestClassifier(8, max_depth=5, random_state=0),
    "calibrated forest": CalibratedClassifierCV(RandomForestClassifier(8, max_depth=5, random_state=0), cv=2),
    "voting of trees": VotingClassifier(
        [("a", RandomForestClassifier(8, max_depth=5, random_state=0)), ("b", LogisticRegression())], voting="soft"
    ),
    "calibrated pipeline": CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression()), cv=2),
    "stacking of pipelines": StackingClassifier(
        [("a", make_pipeline(SimpleImputer(), MinMaxScaler(), LogisticRegression()))],
        final_estimator=make_pipeline(StandardScaler(), LogisticRegression()),
        passthrough=True,
        cv=2,
    ),
    "voting, soft": VotingClassifier(
        [("a", LogisticRegression()), ("b", MLPClassifier((3,), max_iter=9, random_state=0))],
        voting="soft",
        weights=[1, 2.5],
    ),
    "stacking": StackingClassifier(
        [("a", LogisticRegression()), ("b", SGDClassifier(random_state=0))], passthrough=True, cv=2
    ),
    "stacking of probabilities": StackingClassifier(
        [("a", LogisticRegression()), ("b", MLPClassifier((3,), max_iter=9, random_state=0))], cv=2
    ),
}
REGRESSORS: dict[str, Any] = {
    "linear": LinearRegression(),
    "ridge": Ridge(),
    "lasso": Lasso(0.01),
    "elastic": ElasticNet(0.01),
    "perceptron": MLPRegressor(hidden_layer_sizes=(4,), max_iter=9, random_state=0),
    "voting": VotingRegressor([("a", Ridge()), ("b", Lasso(0.1))], weights=[1, 3]),
    "stacking": StackingRegressor([("a", Ridge()), ("b", Lasso(0.1))], final_estimator=Ridge(), cv=2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers_keep_every_bit(kind: str, classes: int) -> None:
    """Each family of classifiers gives its probabilities and its labels without its library, to the last bit."""
    rows, schema = numbers(200), number_schema()
    fitted = CLASSIFIERS[kind].fit(rows.to_pandas(), target(rows, classes))
    shown = numbers(150, 3)

    assert same_scores(*compiled(fitted, schema), shown)
    assert same_scores(*compiled(fitted, schema, output="class"), shown)
    if classes == 2:
        assert same_scores(*compiled(fitted, schema, positive_class=0), shown)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressors_keep_every_bit(kind: str) -> None:
    """Each family of regressors gives its values without its library, to the last bit."""
    rows = numbers(200)
    fitted = REGRESSORS[kind].fit(rows.to_pandas(), rows["n0"].to_numpy() + target(rows))

    assert same_scores(*compiled(fitted, number_schema(), output="value"), numbers(150, 3))


@pytest.mark.filterwarnings("ignore")
def test_hard_votes_and_frozen_estimators() -> None:
    """Labels by majority, and a calibrated estimator that was fitted before, keep their bits too."""
    rows, schema = numbers(200), number_schema()
    known = target(rows, 3)
    votes = VotingClassifier([("a", LogisticRegression()), ("b", SGDClassifier(random_state=0))], weights=[2, 1])
    frozen = CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(rows.to_pandas(), known)), cv=2)

    assert same_scores(*compiled(votes.fit(rows.to_pandas(), known), schema, output="class"), numbers(150, 3))
    assert same_scores(*compiled(frozen.fit(rows.to_pandas(), known), schema), numbers(150, 3))


def one() -> tuple[Any, dict[str, Any], bytes]:
    """Return a model with categories, what its compiled model is made of, and that."""
    rows, schema = mixed(200), mixed_schema()
    prepare = ColumnTransformer(
        [("n", StandardScaler(), ["count"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"])]
    )
    fitted = make_pipeline(prepare, LogisticRegression()).fit(frame(rows, schema.features), target(rows))
    original, made = loaded(fitted, schema)
    return original, made, compile_model(original, made)


@pytest.mark.filterwarnings("ignore")
def test_the_same_model_is_the_same_bytes_with_its_proof() -> None:
    """A compiled model can be pinned: compiled twice it is the same file, and it carries what was compared."""
    original, made, content = one()
    proof = proof_of(content)

    assert compile_model(original, made) == content
    assert proof["bit_equal_rows"] == sum(each["rows"] for each in proof["samples"]) > 0
    assert [each["sample"] for each in proof["samples"]][:3] == ["ordinary rows", "nulls", "unseen categories"]


@pytest.mark.filterwarnings("ignore")
def test_what_an_encoder_refuses_is_refused() -> None:
    """A category that the encoder does not take ends in the model's refusal, not in a guess."""
    rows, schema = mixed(200), mixed_schema()
    prepare = ColumnTransformer([("n", StandardScaler(), ["count"]), ("t", OrdinalEncoder(), ["origin"])])
    fitted = make_pipeline(prepare, LogisticRegression()).fit(frame(rows, schema.features), target(rows))
    _, found = compiled(fitted, schema)
    unseen = rows.set_column(6, "origin", pa.array(["nowhere"] * rows.num_rows))

    assert infer.score(found, rows, BLOCK).shape == (200, 1)
    with pytest.raises(ModelError, match="the model refuses 200 rows"):
        infer.score(found, unseen, BLOCK)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (GaussianNB(), "GaussianNB is not known"),
        (make_pipeline(PCA(2), LogisticRegression()), "the step PCA is not known"),
        (CalibratedClassifierCV(GaussianNB(), cv=2), "GaussianNB is not known"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_known_does_not_compile(last: Any, why: str) -> None:
    """An estimator that nobody has read off is named, and nothing is written."""
    rows = numbers(200)
    fitted = make_pipeline(StandardScaler(), last).fit(rows.to_pandas(), target(rows))
    original, made = loaded(fitted, number_schema())

    with pytest.raises(NotCompilable, match=why):
        compile_model(original, made)


@pytest.mark.filterwarnings("ignore")
def test_transformers_are_asked_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of 200 categories, of which as many columns come, is asked about all of them at once."""
    names = [f"value {number}" for number in range(200)]
    rows = pa.table({"text": names * 2})
    schema = FeatureSchema(name="texts", version="1", features=(Feature(name="text", dtype="string"),))
    fitted = make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False), LogisticRegression())
    original, made = loaded(fitted.fit(rows.to_pandas(), [number % 2 for number in range(400)]), schema)
    asked, ask = [], Coded.ask
    monkeypatch.setattr(Coded, "ask", lambda self, *given: asked.append(1) or ask(self, *given))
    compile_model(original, made)

    assert len(original.preparation.columns) == 200
    assert 0 < len(asked) < 12


@pytest.mark.filterwarnings("ignore")
def test_one_different_bit_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof decides: a last step that is off by one bit is found by the samples."""
    original, made, _ = one()
    from batchscore.model.final.linear import Linear

    predict = Linear.predict
    monkeypatch.setattr(Linear, "predict", lambda self, matrix: np.nextafter(predict(self, matrix), 2.0))

    with pytest.raises(NotCompilable, match="the bits differ on the ordinary rows"):
        compile_model(original, made)


@pytest.mark.filterwarnings("ignore")
def test_every_damaged_byte_is_found() -> None:
    """Whatever byte of a compiled model is another one, or missing, the file is refused."""
    original, made, content = one()
    for at in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 1

        with pytest.raises(NotUsable, match="is damaged"):
            read_compiled(bytes(damaged), made, original.schema)
    with pytest.raises(NotUsable, match="is damaged"):
        read_compiled(content[:-1], made, original.schema)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("compiler", 0, "was made by another version of the compiler: 2, not 0"),
        ("artifact_sha256", "0" * 64, "was made of another artifact"),
        ("schema_digest", "0" * 64, "was made for another feature schema"),
        ("output", "class", "was made for another output"),
        ("positive_class", 0, "was made for another positive class"),
        ("versions", {"numpy": "9"}, "was made with other libraries"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_model_made_of_something_else_is_not_used(key: str, value: Any, why: str) -> None:
    """Artifact, schema, output, libraries and compiler must all be those in use, and the difference is named."""
    original, made, content = one()

    with pytest.raises(NotUsable, match=why):
        read_compiled(content, {**made, key: value}, original.schema)
    assert name_of({**made, key: value}) != name_of(made)


@pytest.mark.filterwarnings("ignore")
def test_the_compiled_model_scores_when_it_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a usable file the artifact is hashed and never parsed; with a damaged one it scores, and the record says why."""
    rows, schema = numbers(200), number_schema()
    artifact = dumped(LogisticRegression().fit(rows.to_pandas(), target(rows)))
    for mode in ("auto", "require"):
        options = options_of(artifact, compiled={"mode": mode})
        made = made_of(options, schema, VERSIONS, BLOCK)
        files = {options.path: artifact}
        original = model.load_artifact(options, schema, read=files.__getitem__)
        content = compile_model(original, made)
        files["m.compiled"] = content
        file = CompiledFile(path="m.compiled", sha256=hashlib.sha256(content).hexdigest())
        candidate = Candidate(made=made, file=file, why="")

        def verified(candidate: Candidate) -> Any:
            monkeypatch.setattr(model, "_LOADED", {})
            return model.verify(options, schema, DAY, read=files.__getitem__, score=infer.score, compiled=candidate)  # noqa: B023

        used = verified(candidate)
        assert used.record()["compiled"] == {
            "used": True,
            "path": "m.compiled",
            "sha256": file.sha256,
            "bit_equal_rows": proof_of(content)["bit_equal_rows"],
        }
        assert isinstance(model.load(used, schema, read=files.__getitem__), CompiledModel)
        other = replace(candidate, file=replace(file, sha256="0" * 64))
        if mode == "auto":
            assert (
                verified(other).record()["compiled"]["why"].startswith("the compiled model 'm.compiled' has the sha256")
            )
        else:
            with pytest.raises(
                ModelError, match=r"mode is require, but the compiled model 'm\.compiled' has"
            ) as caught:
                verified(other)
            assert (caught.value.slug, caught.value.exit_code) == ("COMPILED", 11)


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text()
    | hnp.arrays(st.sampled_from([np.float64, np.int32, np.uint8, np.bool_]), hnp.array_shapes(max_dims=2)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    """Whether two trees of plain data are the same, in type, value, and the bits of every array."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


@given(tree=st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), TREES))
def test_plain_data_comes_back_as_it_was(tree: dict[str, Any]) -> None:
    """What is written is read back bit by bit, and written again it is the same file."""
    content = plain.pack(tree)

    assert alike(tree, plain.unpack(content))
    assert plain.pack(plain.unpack(content)) == content


def test_plain_data_keeps_order_and_refuses_the_rest() -> None:
    """An array keeps its order in memory, infinities come back, and an object is refused."""
    found = plain.unpack(plain.pack({"f": np.asfortranarray(np.eye(3)[:, :2]), "x": float("-inf")}))

    assert found["f"].flags.f_contiguous and not found["f"].flags.c_contiguous
    assert found["x"] == float("-inf")
    with pytest.raises(TypeError, match="no plain data"):
        plain.pack({"x": object()})
    with pytest.raises(TypeError, match="no plain data"):
        plain.pack({"x": np.array(["a"])})


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    ],
)
@pytest.mark.parametrize(("missing", "feature"), [("B6", "carrier"), (3, "count")])
def test_a_value_that_an_imputer_takes_for_missing_keeps_every_bit(encoder: Any, missing: Any, feature: str) -> None:
    """A value that the encoder never saw, since an imputer before it fills it in, is filled in when compiled too."""
    filled = make_pipeline(SimpleImputer(missing_values=missing, strategy="most_frequent"), encoder)
    rows = mixed(800).set_column(5, "carrier", mixed(800)["carrier"].fill_null("AA"))
    schema = FeatureSchema(
        name="filled",
        version="1",
        features=tuple(each.model_copy(update={"nullable": False}) for each in mixed_schema().features[2:]),
    )
    rows = rows.select(list(schema.names))
    prepare = ColumnTransformer([("n", StandardScaler(), ["count"]), ("c", filled, [feature])])
    given = frame(rows, schema.features)
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(given, given["origin"] == "JFK")
    original, made = compiled(pipeline, schema)

    assert same_scores(original, made, rows)


def test_a_pipeline_that_begins_with_nothing_compiles() -> None:
    """A first step 'passthrough', which has no number of features, is no reason to fail or to fall back."""
    rows = numbers(800)
    pipeline = Pipeline([("first", "passthrough"), ("last", LogisticRegression())])
    original, made = compiled(pipeline.fit(frame(rows, number_schema().features), target(rows)), number_schema())

    assert same_scores(original, made, rows)


def test_a_wrapper_without_a_number_of_features_is_left_to_itself() -> None:
    """A model that does not say how many columns it takes is loaded and scores by its own code."""
    rows = numbers(800)
    pipeline = Pipeline([("first", "passthrough"), ("last", LogisticRegression())])
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(frame(rows, number_schema().features), target(rows))
    original, made = loaded(calibrated, number_schema())

    assert "can not be read off" in original.facts["engine"]
    with pytest.raises(NotCompilable, match="can not be read off"):
        compile_model(original, made)
