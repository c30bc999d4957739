"""Native preparation changes no bit: generated pipelines, every kind of row, and a fallback for what is not known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import mixed, mixed_schema, options_of
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from batchscore import infer
from batchscore.blocks import frame
from batchscore.errors import ModelError
from batchscore.kernel import without
from batchscore.kernel.columns import Step
from batchscore.model import steps
from batchscore.model.estimator import EstimatorModel, as_model
from batchscore.model.native import PreparedModel, natively
from batchscore.schema import Feature, FeatureSchema

SCHEMA = mixed_schema()
NUMBERS = ("amount", "delay", "count", "ratio", "vip")
TEXTS = ("carrier", "origin")
BLOCK = 64


def whole(steps: list[Any]) -> EstimatorModel:
    """Fit a pipeline of the steps on mixed rows."""
    rows = mixed(400, 1)
    inputs = frame(rows, SCHEMA.features)
    target = np.nan_to_num(inputs["delay"]) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = make_pipeline(*steps).fit(inputs, target)
    return as_model(fitted, options_of(b""), SCHEMA)


def columns(*parts: tuple[Any, tuple[str, ...]], **more: Any) -> ColumnTransformer:
    """Return a ColumnTransformer of such parts."""
    named = [(f"part-{at}", step, list(names)) for at, (step, names) in enumerate(parts)]
    return ColumnTransformer(named, **more)


def strange(rows: pa.Table) -> pa.Table:
    """Put nulls, extremes and unseen categories into rows."""
    amounts = rows["amount"].to_pylist()
    amounts[:6] = [None, 1e300, -1e300, 0.0, -0.0, 5e-324]
    carriers = rows["carrier"].to_pylist()
    carriers[:4] = [None, "never seen", "", "AA"]
    return rows.set_column(0, "amount", pa.array(amounts)).set_column(5, "carrier", pa.array(carriers))


IMPUTERS = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent"]),
    add_indicator=st.booleans(),
)
SCALERS = st.one_of(
    st.builds(StandardScaler, with_mean=st.booleans(), with_std=st.booleans()),
    st.builds(RobustScaler, with_centering=st.booleans(), with_scaling=st.booleans()),
    st.builds(MinMaxScaler, clip=st.booleans(), feature_range=st.sampled_from([(0, 1), (-2.5, 0.1)])),
    st.just(MaxAbsScaler()),
    st.just(FunctionTransformer()),
    st.just("passthrough"),
)
ENCODERS = st.one_of(
    st.builds(
        OneHotEncoder,
        handle_unknown=st.just("ignore"),
        sparse_output=st.booleans(),
        drop=st.sampled_from([None, "first", "if_binary"]),
    ),
    st.builds(OneHotEncoder, handle_unknown=st.just("infrequent_if_exist"), min_frequency=st.sampled_from([0.1, 0.3])),
    st.builds(
        OrdinalEncoder,
        handle_unknown=st.just("use_encoded_value"),
        unknown_value=st.just(-1),
        encoded_missing_value=st.just(-2),
    ),
    st.builds(TargetEncoder, random_state=st.just(0)),
)


@st.composite
def preparations(draw: st.DrawFn) -> ColumnTransformer:
    """Draw a ColumnTransformer over some of the features."""
    # With a double among them: float32 alone is scaled in float32, and left to the pipeline.
    numbers = ["amount", *draw(st.lists(st.sampled_from(NUMBERS[1:]), unique=True))]
    texts = draw(st.lists(st.sampled_from(TEXTS), min_size=1, unique=True))
    numeric = make_pipeline(draw(IMPUTERS), draw(SCALERS), draw(SCALERS))
    if draw(st.booleans()):
        numeric = FeatureUnion(
            [("one", numeric), ("two", make_pipeline(SimpleImputer(), draw(SCALERS)))],
            transformer_weights=draw(st.sampled_from([None, {"two": 0.3}])),
        )
    encoder = draw(ENCODERS)
    text = draw(st.sampled_from([encoder, make_pipeline(SimpleImputer(strategy="most_frequent"), encoder)]))
    binned = make_pipeline(
        SimpleImputer(),
        KBinsDiscretizer(
            3, encode=draw(st.sampled_from(["ordinal", "onehot-dense"])), quantile_method="averaged_inverted_cdf"
        ),
    )
    parts = [(numeric, tuple(numbers)), (text, tuple(texts)), (binned, ("count",))]
    return columns(*draw(st.permutations(parts)), sparse_threshold=0)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@given(preparation=preparations())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_generated_pipelines_keep_every_bit(preparation: ColumnTransformer) -> None:
    """Whatever the preparation, the scores of ordinary and of strange rows are those of the pipeline's own code.

    With the compiled kernel and without it.
    """
    model = whole([preparation, LogisticRegression(max_iter=5)])
    made = natively(model)
    rows = strange(mixed(150, 7))

    assert isinstance(made, PreparedModel), made.facts["preparation"]
    assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()
    with without():
        assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


@pytest.mark.parametrize("form", ["string", "dictionary"])
def test_trees_and_later_steps_keep_every_bit(form: str) -> None:
    """Steps after the native ones get the same matrix, whether text comes plain or coded."""
    prepare = columns((SimpleImputer(), NUMBERS), (OrdinalEncoder(), ("origin",)))
    rows = mixed(300, 3)
    if form == "dictionary":
        rows = rows.set_column(6, "origin", rows["origin"].dictionary_encode())
    for rest in ([HistGradientBoostingClassifier(max_iter=5)], [PCA(3), LogisticRegression()]):
        model = whole([prepare, *rest])
        made = natively(model)

        assert isinstance(made, PreparedModel)
        assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


class Own(TransformerMixin, BaseEstimator):
    """Somebody's own transformer."""

    def fit(self, *_: Any) -> Own:
        """Learn nothing."""
        self.fitted_ = True
        return self

    def transform(self, rows: Any) -> Any:
        """Change nothing."""
        return rows


class OwnScaler(StandardScaler):
    """A subclass, which may do anything."""


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([columns((Own(), ("amount",))), HistGradientBoostingClassifier(max_iter=2)], "Own is not known"),
        ([columns((OwnScaler(), ("count",))), LogisticRegression()], "OwnScaler is not known"),
        ([columns((PolynomialFeatures(), ("count",))), LogisticRegression()], "PolynomialFeatures is not known"),
        ([columns((OneHotEncoder(), TEXTS), (SimpleImputer(), ("count",)), sparse_threshold=1.0), LogisticRegression()], "sparse"),
        ([columns((FunctionTransformer(np.sqrt), ("count",))), LogisticRegression()], "FunctionTransformer is not known"),
        ([columns((SimpleImputer(strategy="constant", fill_value=-1, missing_values=0), ("count",))), LogisticRegression()], "another value than NaN"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_to_the_pipeline(steps: list[Any], why: str) -> None:
    """An unknown step, or a known one set in an unknown way, falls back, and the facts say why."""
    made = natively(whole(steps))

    assert isinstance(made, EstimatorModel)
    assert why in made.facts["preparation"]


@pytest.mark.parametrize(
    "binned",
    [
        make_pipeline(RobustScaler(), KBinsDiscretizer(7, encode="ordinal", quantile_method="averaged_inverted_cdf")),
        MinMaxScaler(clip=True),
        FeatureUnion([("two", MinMaxScaler(clip=True))], transformer_weights={"two": 0.3}),
        make_pipeline(FunctionTransformer(), MaxAbsScaler(), FunctionTransformer()),
    ],
    ids=["bins", "bounds", "weights", "largest"],
)
@pytest.mark.parametrize("beside", [(), ("flag",), ("small",)], ids=["alone", "boolean", "int8"])
def test_what_is_computed_in_float32_is_left_to_the_pipeline(binned: Any, beside: tuple[str, ...]) -> None:
    """Steps over float32, and what fits into it, round as float32 does: a bin or a bound may hide that on samples."""
    types = {"a": "float64", "r": "float32", "flag": "bool", "small": "int8"}
    features = tuple(Feature(name=name, dtype=dtype) for name, dtype in types.items())
    schema = FeatureSchema(name="narrow", version="1", features=features)
    chance = np.random.default_rng(0)
    far = (1e6 + chance.integers(0, 200, 2000) * 1e4 / 3).astype(np.float32)
    small = chance.integers(0, 100, 2000, dtype=np.int8)
    rows = pa.table({"a": chance.normal(size=2000), "r": far, "flag": small > 50, "small": small})
    fitted = make_pipeline(columns((StandardScaler(), ("a",)), (binned, ("r", *beside))), LogisticRegression())
    given = frame(rows, schema.features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a boolean has no seven bins
        fitted.fit(given, given["r"] + chance.normal(size=2000) * 1e5 > 1.3e6)
    model = as_model(fitted, options_of(b""), schema)
    made = natively(model)

    assert "float32" in made.facts["preparation"]
    assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


def test_bins_that_round_first_are_left_to_the_pipeline() -> None:
    """KBinsDiscretizer that is told to give float32 rounds what it is given, which moves values over an edge."""
    bins = KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf", dtype=np.float32)
    made = natively(whole([columns((bins, ("count",)), (SimpleImputer(), ("amount",))), LogisticRegression()]))

    assert "rounds" in made.facts["preparation"]


def test_weights_of_a_column_transformer_keep_every_bit() -> None:
    """The weights of a ColumnTransformer are done natively as those of a FeatureUnion are."""
    weighted = columns((SimpleImputer(), NUMBERS), (OrdinalEncoder(), ("origin",)), transformer_weights={"part-0": 0.3})
    model = whole([weighted, LogisticRegression(max_iter=5)])
    made = natively(model)
    rows = mixed(300, 3)

    assert isinstance(made, PreparedModel), made.facts["preparation"]
    assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


@pytest.mark.parametrize("verbose", [True, False])
def test_columns_by_names_of_earlier_steps_are_left_to_the_pipeline(verbose: bool) -> None:
    """A second ColumnTransformer that chooses by the names that the first one gave is loaded and scores."""
    first = columns((SimpleImputer(), ("amount", "delay")), verbose_feature_names_out=verbose)
    name = "part-0__delay" if verbose else "delay"
    model = whole(
        [first.set_output(transform="pandas"), columns((StandardScaler(), (name,))), LogisticRegression(max_iter=5)]
    )
    made = natively(model)
    rows = mixed(300, 3)

    assert "gives a frame" in made.facts["preparation"]
    assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


def test_a_step_of_ones_own_after_known_ones_is_left_to_the_pipeline() -> None:
    """Somebody's transformer that keeps no number of features, as scikit-learn's do, is scored by its own code."""
    model = whole([columns((SimpleImputer(), NUMBERS)), Own(), LogisticRegression(max_iter=5)])
    made = natively(model)
    rows = mixed(300, 3)

    assert isinstance(made, PreparedModel)
    assert "can not be read off" in made.facts["engine"]
    assert infer.score(made, rows, BLOCK).tobytes() == infer.score(model, rows, BLOCK).tobytes()


def test_a_refusal_stays_a_refusal() -> None:
    """A value that the pipeline refuses is refused natively, with the same code and slug."""
    model = whole([columns((OneHotEncoder(sparse_output=False), TEXTS)), LogisticRegression()])
    made = natively(model)
    rows = strange(mixed(100, 2))
    told = []
    for each in (model, made):
        with pytest.raises(ModelError) as caught:
            infer.score(each, rows, BLOCK)
        told.append((caught.value.id, "unknown categories" in caught.value.message))

    assert isinstance(made, PreparedModel)
    assert told == [("E-MODEL-PREDICT", True)] * 2


def test_twin_that_rounds_otherwise_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof has teeth: a scaler that multiplies by the inverse differs in last bits, and is not used."""

    def inverse(step: Any, given: list[Any]) -> Any:
        for at, column in enumerate(given):
            yield column.then(Step("subtract", float(step.mean_[at])), Step("multiply", 1 / float(step.scale_[at])))

    monkeypatch.setattr(steps, "_NUMERIC", {**steps._NUMERIC, "StandardScaler": inverse})
    made = natively(whole([columns((StandardScaler(), ("count", "ratio"))), LogisticRegression()]))

    assert isinstance(made, EstimatorModel)
    assert "bits differ" in made.facts["preparation"]


def test_distinct_values_are_asked_about_once() -> None:
    """The encoder is run on what is new, and on that once, whatever the number of blocks."""
    model = whole([columns((OneHotEncoder(sparse_output=False, handle_unknown="ignore"), TEXTS)), LogisticRegression()])
    made = natively(model)
    assert isinstance(made, PreparedModel)
    coded = made.preparation.columns[0].coded
    assert coded is not None
    asked: list[int] = []
    encode = coded._encode
    coded._encode = lambda rows: asked.append(len(rows)) or encode(rows)
    infer.score(made, mixed(2000, 5), BLOCK)
    before = list(asked)
    news = mixed(2000, 5).set_column(6, "origin", pa.array(["SFO", "OAK"] * 1000))
    infer.score(made, news, BLOCK)

    assert before == []
    assert asked == [2]
