import hashlib

import numpy as np
import pyarrow as pa
import pytest
from made_models import NUMBERS, as_read, dumped, fitted, mixed, number_schema, options_of
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from batchscore import infer
from batchscore.errors import ConfigError, ModelError
from batchscore.model import ModelOptions, joblib, onnx, skops
from batchscore.schema import Feature, FeatureSchema
from batchscore.strict import parse_section

BLOCK = 256


# --- skops -----------------------------------------------------------------------------------------------------------


def skops_bytes(thing):
    """Return the bytes of a skops file."""
    import skops.io

    return skops.io.dumps(thing)


def skops_options(content, **keys):
    """Pin a skops file."""
    return options_of(content, path="models/flights_v1.2.0.skops", **keys)


TRUSTED = {
    "logistic, 2 classes": ("numpy.dtype",),
    "forest": ("numpy.dtype", "sklearn.tree._tree.Tree"),
    "calibrated outside": ("numpy.dtype", "sklearn.calibration._CalibratedClassifier"),
    "boosting": ("numpy.dtype", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"),
}


@pytest.mark.parametrize("kind", TRUSTED)
def test_a_skops_twin_scores_the_same_bits(kind):
    """The same estimator out of joblib and out of skops, with the types that the file needs listed."""
    estimator, schema, make = fitted(kind)
    content = skops_bytes(estimator)
    model = skops.load_model(skops_options(content, trusted=list(TRUSTED[kind])), schema, content)
    twin = joblib.load_model(options_of(dumped(estimator)), schema, dumped(estimator))
    table = make(600, seed=2)

    assert infer.score(model, table, BLOCK).tobytes() == infer.score(twin, table, BLOCK).tobytes()
    assert skops.untrusted_types("m.skops", content) == list(TRUSTED[kind])


SUNG = []


def sing(x):
    """Show that a file's code ran."""
    SUNG.append(1)
    return x


class Singer(BaseEstimator):
    """A type that nobody trusts."""

    def __setstate__(self, state):
        SUNG.append(1)


def test_types_that_nobody_trusts_are_refused_with_the_list():
    """Nothing is imported or built; the message holds what to review."""
    content = skops_bytes(make_pipeline(FunctionTransformer(sing), Singer(), LogisticRegression()))
    with pytest.raises(ModelError, match=r"needs 2 types that model.trusted does not list") as caught:
        skops.load_model(skops_options(content), number_schema(), content)

    assert caught.value.id == "E-MODEL-UNTRUSTED-TYPES"
    assert caught.value.context["types"] == ["test_model_formats.Singer", "test_model_formats.sing"]
    assert not SUNG


def test_a_forged_function_is_refused():
    """A file that names another function than the released one asks for a type that nobody trusts."""
    content = skops_bytes(make_pipeline(FunctionTransformer(sing), LogisticRegression()).fit(np.eye(7), range(7)))
    SUNG.clear()
    forged = content.replace(b"sing", b"evil")
    with pytest.raises(ModelError):
        skops.load_model(skops_options(forged), number_schema(), forged)

    assert not SUNG


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_what_is_no_skops_file_can_not_be_loaded(content):
    """Junk is one error of code 11."""
    with pytest.raises(ModelError) as caught:
        skops.load_model(skops_options(content), number_schema(), content)

    assert caught.value.slug in ("LOAD", "TRUNCATED")


def test_only_skops_obeys_a_list_of_types():
    """A list of trusted types beside a pickle would promise what no pickle keeps."""
    given = {"path": "m.joblib", "version": "1", "sha256": "a" * 64, "trusted": ["numpy.dtype"]}
    with pytest.raises(ConfigError, match=r"has trusted, which only a \.skops file obeys"):
        parse_section(ModelOptions, given, source="run.yaml")


# --- ONNX ------------------------------------------------------------------------------------------------------------


def onnx_bytes(estimator, types, **options):
    """Convert an estimator."""
    zipmap = {} if not hasattr(estimator, "classes_") else {"zipmap": False}
    made = convert_sklearn(estimator, initial_types=types, options={id(estimator): zipmap | options})
    return made.SerializeToString()


def onnx_model(content, schema=None, **keys):
    """Load a graph."""
    options = options_of(content, path="models/flights_v1.2.0.onnx", **keys)
    return onnx.load_model(options, schema or number_schema(), content)


def matrix_type(width=7, kind=FloatTensorType):
    """One input of several columns."""
    return [("X", kind([None, width]))]


@pytest.fixture(scope="module")
def graph():
    """A logistic regression on numbers as a graph with one float input."""
    return onnx_bytes(fitted("logistic, numbers")[0], matrix_type())


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("logistic, numbers", 1e-6),
        ("logistic, numbers, 3 classes", 1e-6),
        ("forest, numbers", 0.2),
        ("regression", 1e-5),
    ],
)
def test_an_onnx_twin_scores_nearly_the_same(kind, bound):
    """In float32 the difference is small and stated; blocks, partitions and threads do not move it."""
    estimator, schema, make = fitted(kind)
    output = "value" if kind == "regression" else "probability"
    model = onnx_model(onnx_bytes(estimator, matrix_type()), output=output)
    twin = joblib.load_model(options_of(dumped(estimator), output=output), schema, dumped(estimator))
    table = make(700, seed=2)
    scores = infer.score(model, table, BLOCK)
    cut = [infer.score(model, table.slice(start, 333), BLOCK) for start in range(0, 700, 333)]
    difference = np.abs(scores - infer.score(twin, table, BLOCK)).max()
    print(f"{kind}: {difference:.2g}")

    assert scores.tobytes() == np.concatenate(cut).tobytes()
    assert difference < bound
    assert (model.takes, model.classes, model.positive) == ("matrix", twin.classes, twin.positive)


def test_a_graph_in_double_is_nearer(graph):
    """The width of the graph's input decides."""
    estimator, schema, make = fitted("logistic, numbers")
    twin = joblib.load_model(options_of(dumped(estimator)), schema, dumped(estimator))
    table = make(700, seed=2)
    double = onnx_model(onnx_bytes(estimator, matrix_type(kind=DoubleTensorType)))
    exact = infer.score(twin, table, BLOCK)

    assert (
        np.abs(infer.score(double, table, BLOCK) - exact).max()
        < np.abs(infer.score(onnx_model(graph), table, BLOCK) - exact).max()
    )


TYPED = FeatureSchema(
    name="typed",
    version="1",
    features=(
        Feature(name="amount", dtype="float64"),
        Feature(name="count", dtype="int64"),
        Feature(name="origin", dtype="string"),
    ),
)
TYPES = [
    ("amount", FloatTensorType([None, 1])),
    ("count", Int64TensorType([None, 1])),
    ("origin", StringTensorType([None, 1])),
]


@pytest.fixture(scope="module")
def typed_graph():
    """A graph with an input per feature, and string classes."""
    frame = as_read(mixed(400))[["amount", "count", "origin"]].fillna({"amount": 0.0})
    transformer = ColumnTransformer([("n", StandardScaler(), ["amount", "count"]), ("c", OneHotEncoder(), ["origin"])])
    labels = np.where(frame["amount"] > 0.1, "late", "ok")
    estimator = make_pipeline(transformer, LogisticRegression()).fit(frame, labels)
    return estimator, frame, onnx_bytes(estimator, TYPES)


def test_a_graph_with_an_input_per_feature_takes_names_and_texts(typed_graph):
    """Texts, whole numbers and floats arrive by name; classes may be texts."""
    estimator, frame, content = typed_graph
    model = onnx_model(content, TYPED, positive_class="late")
    scores = infer.score(model, pa.Table.from_pandas(frame, preserve_index=False), BLOCK)

    assert (model.takes, model.classes, model.positive) == ("frame", ("late", "ok"), 0)
    np.testing.assert_allclose(scores[:, 0], estimator.predict_proba(frame)[:, 0], atol=1e-6)


def test_a_graph_gives_labels(typed_graph):
    """With output class the label output is read."""
    estimator, frame, content = typed_graph
    model = onnx_model(content, TYPED, output="class")
    scores = infer.score(model, pa.Table.from_pandas(frame, preserve_index=False), BLOCK)

    assert [model.classes[int(index)] for index in scores[:, 0]] == estimator.predict(frame).tolist()


def changed(**changes):
    """Return the typed schema with features changed."""
    return FeatureSchema(
        name="t",
        version="1",
        features=tuple(one.model_copy(update=changes.get(one.name, {})) for one in TYPED.features),
    )


@pytest.mark.parametrize(
    ("schema", "slug", "fact"),
    [
        (changed(origin={"dtype": "int64"}), "INPUT-TYPE", "takes 'origin' as tensor(string), but the feature"),
        (changed(amount={"dtype": "string"}), "INPUT-TYPE", "takes 'amount' as tensor(float)"),
        (changed(amount={"dtype": "date32"}), "INPUT-TYPE", "takes 'amount' as tensor(float)"),
        (changed(amount={"dtype": "timestamp[us]"}), "INPUT-TYPE", "takes 'amount' as tensor(float)"),
        (changed(count={"dtype": "float64"}), "INPUT-TYPE", "takes 'count' as tensor(int64)"),
        (changed(count={"nullable": True}), "INPUT-TYPE", "int64 that may be null"),
        (changed(origin={"nullable": True}), "INPUT-TYPE", "string that may be null"),
        (changed(origin={"name": "from"}), "FEATURES-MISSING", "takes the feature 'origin'"),
    ],
)
def test_inputs_of_a_graph_are_checked(typed_graph, schema, slug, fact):
    """Names and types of every input against the feature schema, before any row is read."""
    with pytest.raises(ModelError) as caught:
        onnx_model(typed_graph[2], schema)

    assert caught.value.slug == slug
    assert fact in caught.value.message


def test_a_graph_of_another_width_is_refused(graph):
    """A matrix carries no names, so its width is all that can be compared."""
    one_less = FeatureSchema(
        name="s", version="1", features=tuple(Feature(name=name, dtype="float64") for name in NUMBERS[:6])
    )
    with pytest.raises(ModelError, match="takes 7 features, but the feature schema has 6") as caught:
        onnx_model(graph, one_less)

    assert caught.value.slug == "FEATURES-COUNT"
    with pytest.raises(ModelError, match="tensor"):
        onnx_model(
            graph,
            FeatureSchema(
                name="s", version="1", features=tuple(Feature(name=name, dtype="string") for name in NUMBERS)
            ),
        )


@pytest.mark.parametrize(
    ("make", "keys", "slug"),
    [
        (lambda: onnx_bytes(Ridge().fit(np.eye(7), range(7)), matrix_type()), {}, "WRONG-OUTPUT"),
        (
            lambda: onnx_bytes(RandomForestClassifier(3).fit(np.eye(7), range(7)), matrix_type(), zipmap=True),
            {},
            "WRONG-OUTPUT",
        ),
        (lambda: onnx_bytes(fitted("logistic, numbers")[0], matrix_type()), {"positive_class": 7}, "POSITIVE-CLASS"),
        (lambda: b"", {}, "LOAD"),
        (lambda: b"no graph", {}, "LOAD"),
    ],
)
def test_what_does_not_fit_is_refused(make, keys, slug):
    """A regressor as a classifier, a zip map, an unknown class, junk."""
    with pytest.raises(ModelError) as caught:
        onnx_model(make(), **keys)

    assert caught.value.slug == slug, caught.value.message


def test_a_graph_records_its_opsets_and_runs_on_one_thread(graph):
    """Runtime, producer and opsets stand in the record."""
    import onnxruntime

    model = onnx_model(graph)
    options = model.session.get_session_options()

    assert model.facts["library"] == f"onnxruntime {onnxruntime.__version__}"
    assert model.facts["producer"].startswith("skl2onnx ")
    assert set(model.facts["opsets"]) == {"ai.onnx", "ai.onnx.ml"}
    assert model.facts["inputs"] == {"X": "float['n', 7]"}
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_formats_are_found_by_suffix(graph):
    """One path through `verify` for every format."""
    from datetime import date

    from batchscore.model import verify

    options = options_of(graph, path="models/flights_v1.2.0.onnx")
    ref = verify(
        options,
        number_schema(),
        date(2013, 2, 8),
        read=lambda _: graph,
        score=lambda model, table: infer.score(model, table, BLOCK),
    )

    assert ref.format == "onnx"
    assert ref.sha256 == hashlib.sha256(graph).hexdigest()
