from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import options_of
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from batchscore.errors import ModelError
from batchscore.kernel import compiled, without
from batchscore.kernel import forest as forests
from batchscore.model.estimator import EstimatorModel, as_model
from batchscore.model.final import engine, from_plain, read_final
from batchscore.model.final.engine import differing, engined, proven
from batchscore.model.final.trees import Trees
from batchscore.schema import Feature, FeatureSchema

COLUMNS = 5


def data(seed: int, *, missing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return five columns, the last two with few whole numbers, and a target."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(400, COLUMNS)) * 10.0 ** chance.integers(-2, 3, COLUMNS)
    rows[:, 3:] = chance.integers(0, [4, 40], (400, 2))
    target = np.sign(rows[:, 0]) + rows[:, 3] + chance.normal(size=400)
    if missing:
        rows[chance.random(rows.shape) < 0.1] = np.nan
    return rows, target


def model_of(estimator: Any, output: str) -> EstimatorModel:
    """Return the estimator as a model of numbers that may be missing or infinite."""
    schema = FeatureSchema(
        name="made",
        version="1",
        features=[
            Feature(name=f"x{at}", dtype="float64", nullable=True, finite=False)
            for at in range(estimator.n_features_in_)
        ],
    )
    return as_model(estimator, options_of(b"", output=output), schema)


REGRESSORS = {
    "histogram": lambda n, **_: HistGradientBoostingRegressor(max_iter=n, max_leaf_nodes=9, min_samples_leaf=5),
    "absolute": lambda n, **_: HistGradientBoostingRegressor(loss="absolute_error", max_iter=n),
    "poisson": lambda n, **_: HistGradientBoostingRegressor(loss="poisson", max_iter=n),
    "gamma": lambda n, **_: HistGradientBoostingRegressor(loss="gamma", max_iter=n),
    "quantile": lambda n, **_: HistGradientBoostingRegressor(loss="quantile", quantile=0.3, max_iter=n),
    "categories": lambda n, **_: HistGradientBoostingRegressor(categorical_features=[3, 4], max_iter=n),
    "forest": lambda n, depth, seed: RandomForestRegressor(n, max_depth=depth, random_state=seed),
    "extra": lambda n, depth, seed: ExtraTreesRegressor(n, max_depth=depth, random_state=seed),
    "boosting": lambda n, depth, seed: GradientBoostingRegressor(n_estimators=n, max_depth=depth, random_state=seed),
    "huber": lambda n, **_: GradientBoostingRegressor(loss="huber", n_estimators=n, init="zero"),
    "tree": lambda depth, seed, **_: DecisionTreeRegressor(max_depth=depth, random_state=seed),
    "random tree": lambda depth, seed, **_: ExtraTreeRegressor(max_depth=depth, random_state=seed),
}
CLASSIFIERS = {
    "histogram": lambda n, **_: HistGradientBoostingClassifier(max_iter=n, max_leaf_nodes=31, min_samples_leaf=2),
    "many leaves": lambda n, **_: HistGradientBoostingClassifier(max_iter=n, max_leaf_nodes=90, min_samples_leaf=1),
    "categories": lambda n, **_: HistGradientBoostingClassifier(
        categorical_features=[3, 4], max_iter=n, min_samples_leaf=2
    ),
    "many leaves of categories": lambda n, **_: HistGradientBoostingClassifier(
        categorical_features=[4], max_iter=n, min_samples_leaf=1, max_leaf_nodes=120
    ),
    "forest": lambda n, depth, seed: RandomForestClassifier(n, max_depth=depth, random_state=seed),
    "extra": lambda n, depth, seed: ExtraTreesClassifier(n, max_depth=depth, random_state=seed),
    "boosting": lambda n, depth, seed: GradientBoostingClassifier(n_estimators=n, max_depth=depth, random_state=seed),
    "tree": lambda depth, seed, **_: DecisionTreeClassifier(max_depth=depth, random_state=seed),
    "random tree": lambda depth, seed, **_: ExtraTreeClassifier(max_depth=depth, random_state=seed),
}


@st.composite
def fitted(draw: st.DrawFn) -> EstimatorModel:
    """Build a fitted ensemble of trees, as a model."""
    kinds, output = draw(st.sampled_from([(REGRESSORS, "value"), (CLASSIFIERS, "probability"), (CLASSIFIERS, "class")]))
    name = draw(st.sampled_from(sorted(kinds)))
    seed = draw(st.integers(0, 99))
    missing = draw(st.booleans()) and name not in ("boosting", "huber")
    rows, target = data(seed, missing=missing)
    if output != "value":
        target = np.digitize(target, draw(st.sampled_from([[2.0], [1.0, 3.0]])))
    elif name in ("poisson", "gamma"):
        target = np.abs(target) + 0.1
    estimator = kinds[name](n=draw(st.integers(1, 12)), depth=draw(st.sampled_from([1, 3, 9, None])), seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model_of(estimator.fit(rows, target), output)


@settings(max_examples=40, deadline=None)
@given(fitted(), st.sampled_from(["C", "F"]))
def test_every_bit_is_the_estimators(model: EstimatorModel, order: Any) -> None:
    """Any ensemble of trees is read off, and gives its estimator's bits: compiled, by numpy, and from plain data."""
    final = proven(model, order, slow=True)

    assert isinstance(final, Trees)
    assert differing(model, from_plain(final.to_plain()), order) == ""
    with without():
        assert differing(model, final, order) == ""


@pytest.mark.parametrize("widest", [0, 1, 2])
@pytest.mark.parametrize("kind", ["histogram", "many leaves", "categories", "many leaves of categories"])
def test_every_instruction_set_gives_the_same_bits(kind, widest, monkeypatch) -> None:
    """The variants of the kernel that this processor has agree, each with the estimator."""
    rows, target = data(1, missing=True)
    model = model_of(CLASSIFIERS[kind](n=9).fit(rows, target > 2), "probability")
    final = read_final(model.estimator, model.output, model.classes, model.positive)
    monkeypatch.setattr(forests, "_WIDEST", widest)

    assert differing(model, final, "C") == ""


def test_more_thresholds_than_a_code_has_values() -> None:
    """A feature with more than 255 thresholds in small trees takes several columns of codes."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(3000, 1))
    boosting = GradientBoostingRegressor(n_estimators=150, max_depth=3, subsample=0.3, random_state=0)
    model = model_of(boosting.fit(rows, np.sin(rows[:, 0] * 40)), "value")
    final = proven(model, "C", slow=True)

    assert isinstance(final, Trees)
    assert len(np.unique(final.forest.threshold[final.forest.left >= 0])) > 300
    assert model.predict(rows).tobytes() == final.predict(rows).tobytes()


def moved(right: Trees, node: int) -> Trees:
    """Return the ensemble with one threshold moved to the next value that can tell."""
    threshold = right.forest.threshold.copy()
    step = np.float32 if right.forest.narrow else np.float64
    threshold[node] = np.nextafter(step(threshold[node]), step(np.inf))
    return replace(right, forest=replace(right.forest, threshold=threshold))


@pytest.mark.parametrize("kind", ["histogram", "forest", "many leaves"])
def test_another_threshold_falls_back(kind, monkeypatch) -> None:
    """A threshold that is wrong by one step is seen by the proof, and the estimator's own code scores."""
    rows, target = data(5, missing=True)
    estimator = CLASSIFIERS[kind](n=6, depth=9, seed=0).fit(rows, target > 2)
    model = model_of(estimator, "probability")
    right = read_final(estimator, "probability", model.classes, model.positive)
    assert isinstance(right, Trees)
    monkeypatch.setattr(engine, "read_final", lambda *_: moved(right, int(right.forest.roots[3])))
    monkeypatch.setattr(engine, "compiled", lambda: (True, ""))

    made = engined(model)

    assert made.final is None
    assert made.facts["engine"] == "the estimator's own: the bits differ on the rows at the splits"


@pytest.mark.parametrize("kind", ["histogram", "forest", "many leaves"])
def test_nearly_every_threshold_is_looked_at(kind) -> None:
    """The rows at the splits see a step of nearly every threshold; the others no row without contradiction reaches."""
    rows, target = data(5, missing=True)
    estimator = CLASSIFIERS[kind](n=3, depth=9, seed=0).fit(rows, target > 2)
    right = read_final(estimator, "probability", (False, True), 1)
    assert isinstance(right, Trees)
    _, telling = next(right.telling())
    expected = right.predict(telling).tobytes()

    nodes = np.flatnonzero((right.forest.left >= 0) & np.isfinite(right.forest.threshold)).tolist()
    unseen = [node for node in nodes if moved(right, node).predict(telling).tobytes() == expected]

    assert len(unseen) <= len(nodes) // 10


def test_what_is_not_known_keeps_its_own_code() -> None:
    """An estimator that is not read off, and trees where nothing was compiled, score by themselves, and say why."""
    rows, target = data(2, missing=False)
    quick = engined(model_of(ExtraTreesClassifier(3, random_state=0).fit(rows, target > 2), "probability"))
    with without():
        slow = engined(model_of(RandomForestClassifier(3, random_state=0).fit(rows, target > 2), "probability"))
    other = GradientBoostingClassifier(init=LogisticRegression(), n_estimators=2).fit(rows, target > 2)
    started = engined(model_of(other, "probability"))

    assert (quick.final is not None) == compiled()[0]
    assert quick.facts["engine"] == "kernel: ExtraTreesClassifier, 3 trees" or not compiled()[0]
    assert slow.final is None
    assert "without the compiled kernel" in slow.facts["engine"]
    assert started.facts["engine"] == "the estimator's own: GradientBoosting starts from LogisticRegression"


def test_a_refusal_is_the_same() -> None:
    """What the estimator refuses is refused as well, with the same code, slug and sentence."""
    rows, target = data(2, missing=False)
    own = model_of(RandomForestClassifier(3, random_state=0).fit(rows, target > 2), "probability")
    made = replace(own, final=proven(own, "C", slow=True))
    rows[3, 1] = np.inf
    told = []
    for model in (own, made):
        with pytest.raises(ModelError) as caught:
            model.predict(rows)
        told.append((caught.value.slug, str(caught.value)))

    assert told[0] == told[1]
