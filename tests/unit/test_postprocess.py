from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from batchscore.errors import ConfigError, ModelError
from batchscore.model import score_names
from batchscore.postprocess import CalibrationOptions, PostprocessOptions, calibrate, check_options, decide
from batchscore.strict import parse_section


@dataclass
class Model:
    """What a verified model says of its scores."""

    output: str = "probability"
    classes: tuple = (0, 1)
    positive: int | None = 1

    @property
    def score_names(self):
        """The columns of the score matrix."""
        return score_names(self.output, self.classes)


def column(*values):
    """Return scores of one column."""
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def plain(decisions):
    """Return the columns as lists."""
    return {name: values.to_pylist() for name, values in decisions.columns.items()}


def test_a_probability_becomes_a_prediction_and_a_flag():
    """The flag is true from the threshold on, the threshold included."""
    made = decide(column(0.1, 0.7, 0.9), Model(), PostprocessOptions(threshold=0.7))

    assert plain(made) == {"prediction": [0.1, 0.7, 0.9], "risk_flag": [False, True, True]}
    assert made.columns["risk_flag"].type == pa.bool_()
    assert (made.flagged_rows, made.counts) == (2, {})


def test_without_a_threshold_there_is_no_flag():
    """Nothing is flagged by a default that nobody chose."""
    assert plain(decide(column(0.9), Model(), PostprocessOptions())) == {"prediction": [0.9]}


def test_a_calibrated_score_keeps_the_raw_one():
    """Both stand side by side; the threshold looks at the calibrated one."""
    curve = CalibrationOptions(kind="sigmoid", a=4.0, b=-2.0)
    made = decide(column(0.2, 0.6), Model(), PostprocessOptions(threshold=0.5, flag="late"), curve)
    calibrated = expit(4.0 * np.array([0.2, 0.6]) - 2.0).tolist()

    assert list(made.columns) == ["raw_prediction", "prediction", "late"]
    assert plain(made) == {"raw_prediction": [0.2, 0.6], "prediction": calibrated, "late": [False, True]}


def test_a_sigmoid_keeps_the_order_and_the_range():
    """Also far out, where exp overflows."""
    raw = np.array([-1e308, -800.0, 0.0, 0.5, 800.0, 1e308])
    curve = calibrate(raw, CalibrationOptions(kind="sigmoid", a=1.0, b=0.0))

    assert (np.diff(curve) >= 0).all()
    assert curve.min() == 0.0
    assert curve.max() == 1.0


def test_a_calibration_without_a_result_is_an_error():
    """No NaN is published."""
    with pytest.raises(ModelError, match="gives 1 of 2 rows no finite number") as caught:
        calibrate(np.array([np.nan, 0.0]), CalibrationOptions(kind="sigmoid", a=1.0, b=0.0))

    assert caught.value.id == "E-MODEL-CALIBRATION-NOT-FINITE"


def test_three_classes_give_a_label_and_a_column_each():
    """The prediction is the label's probability, or the positive class's when there is one; ties take the first."""
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    of_label = decide(scores, Model(classes=("a", "b", "c"), positive=None), PostprocessOptions(threshold=0.5))
    of_positive = decide(scores, Model(classes=("a", "b", "c"), positive=2), PostprocessOptions())

    assert plain(of_label) == {
        "label": ["b", "a"],
        "prediction": [0.5, 0.4],
        "prediction_a": [0.2, 0.4],
        "prediction_b": [0.5, 0.4],
        "prediction_c": [0.3, 0.2],
        "risk_flag": [True, False],
    }
    assert of_label.counts == {"label:a": 1, "label:b": 1, "label:c": 0}
    assert plain(of_positive)["prediction"] == [0.3, 0.2]


def test_a_class_gives_a_label_alone():
    """In the label's own type."""
    made = decide(column(1, 0, 1), Model(output="class", classes=(10, 20), positive=None), PostprocessOptions())

    assert plain(made) == {"label": [20, 10, 20]}
    assert made.columns["label"].type == pa.int64()
    assert made.counts == {"label:10": 1, "label:20": 2}


def test_a_value_may_have_any_threshold():
    """A regressor's value is no probability."""
    model = Model(output="value", classes=(), positive=None)
    check_options(PostprocessOptions(threshold=15), None, "value")

    assert plain(decide(column(14.0, 20.0), model, PostprocessOptions(threshold=15))) == {
        "prediction": [14.0, 20.0],
        "risk_flag": [False, True],
    }


def test_no_rows_make_empty_columns():
    """With the types of full ones."""
    full = decide(
        np.full((2, 3), 1 / 3), Model(classes=("a", "b", "c"), positive=None), PostprocessOptions(threshold=0)
    )
    none = decide(np.empty((0, 3)), Model(classes=("a", "b", "c"), positive=None), PostprocessOptions(threshold=0))

    assert {name: values.type for name, values in none.columns.items()} == {
        name: values.type for name, values in full.columns.items()
    }
    assert none.flagged_rows == 0


@pytest.mark.parametrize(
    ("section", "given", "fact"),
    [
        (PostprocessOptions, {"threshold": "0.7"}, "the key 'threshold'"),
        (PostprocessOptions, {"threshold": float("nan")}, "the key 'threshold'"),
        (PostprocessOptions, {"threshold": True}, "the key 'threshold'"),
        (PostprocessOptions, {"flag": "prediction"}, "the name of another column"),
        (PostprocessOptions, {"flag": ""}, "the key 'flag'"),
        (CalibrationOptions, {"kind": "sigmoid", "a": 1.0}, "'b'"),
        (CalibrationOptions, {"kind": "sigmoid", "a": -1.7, "b": 0.2}, "negate both"),
        (CalibrationOptions, {"kind": "sigmoid", "a": 0, "b": 0.2}, "must be above 0"),
        (CalibrationOptions, {"kind": "platt", "a": 1.0, "b": 0.2}, "the key 'kind'"),
    ],
)
def test_mistakes_in_the_sections_are_named(section, given, fact):
    """Each is code 10."""
    with pytest.raises(ConfigError, match=fact):
        parse_section(section, given, source="run.yaml")


@pytest.mark.parametrize(
    ("threshold", "calibrated", "output", "slug"),
    [
        (1.5, False, "probability", "THRESHOLD"),
        (-0.1, False, "probability", "THRESHOLD"),
        (70, True, "value", "THRESHOLD"),
        (0.5, False, "class", "NO-SCORE"),
        (None, True, "class", "NO-SCORE"),
    ],
)
def test_sections_that_do_not_go_together_are_named(threshold, calibrated, output, slug):
    """A threshold outside the scores, and a decision without a score."""
    curve = CalibrationOptions(kind="sigmoid", a=1.0, b=0.0) if calibrated else None
    with pytest.raises(ConfigError) as caught:
        check_options(PostprocessOptions(threshold=threshold), curve, output)

    assert caught.value.slug == slug
