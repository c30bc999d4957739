import hashlib

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from verified import Model

from batchscore.errors import ConfigError, ModelError
from batchscore.postprocess import (
    CalibrationOptions,
    PostprocessOptions,
    SegmentOptions,
    build,
    check_options,
    load_curve,
)
from batchscore.strict import parse_section


def column(*values):
    """Return scores of one column."""
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def no_file(path):
    """There are no files."""
    raise FileNotFoundError(path)


def decide(scores, model, options, curve=None, *, table=None, types=None, read=no_file):
    """Build what decides, and decide."""
    table = pa.table({}) if table is None else table
    return build(options, curve, model, types or {}, read=read).decide(scores, table)


def calibrate(raw, options, read=no_file):
    """Apply one calibration."""
    return load_curve(options, read=read)(raw)


def csv(text):
    """Return what reads a file of this text, and its digest."""
    content = text.encode()
    return (lambda _: content), hashlib.sha256(content).hexdigest()


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
        (PostprocessOptions, {"flag": "prediction_a"}, "the name of another column"),
        (PostprocessOptions, {"threshold": 0.5, "flag": "review", "review_band": 0.1}, "as both flag and review"),
        (PostprocessOptions, {"review_band": 0.1}, "has review_band without threshold"),
        (PostprocessOptions, {"threshold": 0.5, "review_band": 0}, "the key 'review_band'"),
        (PostprocessOptions, {"segments": {"column": "c", "thresholds": {"a": 0.5}}}, "has segments without threshold"),
        (PostprocessOptions, {"threshold": 1, "segments": {"column": "c", "thresholds": {}}}, "segments.thresholds"),
        (PostprocessOptions, {"clip": [5, 5]}, "first bound must be below the second"),
        (PostprocessOptions, {"clip": [5]}, "the key 'clip"),
        (PostprocessOptions, {"round": -1}, "the key 'round'"),
        (PostprocessOptions, {"match": "any"}, "the key 'match'"),
        (CalibrationOptions, {"kind": "sigmoid", "a": 1.0}, "of kind sigmoid needs 'b'"),
        (CalibrationOptions, {"kind": "sigmoid", "a": 1.0, "b": 1.0, "c": 1.0}, "of kind sigmoid has no 'c'"),
        (CalibrationOptions, {"kind": "isotonic", "path": "t.csv"}, "of kind isotonic needs 'sha256'"),
        (CalibrationOptions, {"kind": "isotonic", "path": "t.csv", "sha256": "x"}, "64 lowercase"),
        (CalibrationOptions, {"kind": "beta", "a": -1.0, "b": 1.0, "c": 0.0}, "both must be 0 or more"),
        (CalibrationOptions, {"kind": "beta", "a": 0.0, "b": 0.0, "c": 0.0}, "one above 0"),
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


def test_a_beta_curve_is_the_formula_and_keeps_the_order():
    """Against the formula written out; the ends of the range included."""
    raw = np.array([0.0, 1e-9, 0.2, 0.5, 0.9, 1.0])
    curve = CalibrationOptions(kind="beta", a=1.3, b=0.7, c=-0.4)
    made = calibrate(raw, curve)
    inner = raw[1:-1]

    np.testing.assert_allclose(
        made[1:-1], 1 / (1 + np.exp(-(1.3 * np.log(inner) - 0.7 * np.log(1 - inner) - 0.4))), atol=1e-15
    )
    assert (made[0], made[-1]) == (0.0, 1.0)
    assert (np.diff(made) > 0).all()
    assert np.isfinite(calibrate(raw, CalibrationOptions(kind="beta", a=0.0, b=1.0, c=0.0))).all()


def test_a_beta_curve_takes_probabilities_only():
    """A raw value outside 0..1 has no logarithm."""
    with pytest.raises(ModelError, match=r"takes scores in 0\.\.1, but 1 of 2 are not") as caught:
        calibrate(np.array([0.5, 1.5]), CalibrationOptions(kind="beta", a=1.0, b=1.0, c=0.0))

    assert caught.value.slug == "CALIBRATION-RANGE"


def test_an_isotonic_curve_is_scikit_learns():
    """The fitted regression's thresholds as a table give its own predictions."""
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    scores = rng.random(500)
    late = rng.random(500) < scores**2
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, late)
    rows = zip(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist(), strict=True)
    read, digest = csv("score,probability\n" + "".join(f"{x!r},{y!r}\n" for x, y in rows))
    options = CalibrationOptions(kind="isotonic", path="curve.csv", sha256=digest)
    asked = rng.random(1000)

    np.testing.assert_allclose(calibrate(asked, options, read), fitted.predict(asked), rtol=0, atol=1e-15)
    made = decide(column(*asked), Model(), PostprocessOptions(threshold=0.5), options, read=read)
    assert list(made.columns) == ["raw_prediction", "prediction", "risk_flag"]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("score,probability\n0.1,0.2\n0.1,0.3\n", "has scores that do not strictly ascend"),
        ("score,probability\n0.1,0.3\n0.2,0.2\n", "has probabilities that descend"),
        ("score,probability\n0.1,0.3\n0.2,1.2\n", "has probabilities outside 0..1"),
        ("score,probability\n0.1,nan\n0.2,1.0\n", "has a null in the column 'probability'"),
        ("score,probability\na,0.3\nb,0.4\n", "holds something else than numbers"),
        ("score,chance\n0.1,0.3\n", "has no single column 'probability'"),
        ("score,probability\n", "has 0 rows"),
        ("score,probability\n0.1,\n", "has a null in the column 'probability'"),
        ("", "can not be read"),
    ],
)
def test_a_table_that_is_no_curve_is_refused(text, fact):
    """An isotonic table is checked before anything is scored."""
    read, digest = csv(text)
    with pytest.raises(ConfigError) as caught:
        load_curve(CalibrationOptions(kind="isotonic", path="curve.csv", sha256=digest), read=read)

    assert fact in caught.value.message
    assert caught.value.message.startswith("calibration: the table 'curve.csv' ")


def test_a_table_is_pinned():
    """Another file, none, or one without a known suffix."""
    read, digest = csv("score,probability\n0,0\n1,1\n")
    cases = {
        "TABLE-DIGEST": (CalibrationOptions(kind="isotonic", path="curve.csv", sha256="0" * 64), read),
        "TABLE-MISSING": (CalibrationOptions(kind="isotonic", path="curve.csv", sha256=digest), no_file),
        "TABLE-FORMAT": (CalibrationOptions(kind="isotonic", path="curve.txt", sha256=digest), read),
    }

    for slug, (options, reader) in cases.items():
        with pytest.raises(ConfigError) as caught:
            load_curve(options, read=reader)
        assert caught.value.slug == slug


def test_three_classes_are_calibrated_by_their_positive_one():
    """Without one there is nothing to calibrate."""
    curve = CalibrationOptions(kind="sigmoid", a=1.0, b=0.0)
    scores = np.array([[0.2, 0.5, 0.3]])
    made = decide(scores, Model(classes=("a", "b", "c"), positive=2), PostprocessOptions(), curve)
    with pytest.raises(ConfigError) as caught:
        decide(scores, Model(classes=("a", "b", "c"), positive=None), PostprocessOptions(), curve)

    assert plain(made)["prediction"] == [float(expit(0.3))]
    assert caught.value.slug == "CALIBRATION-CLASSES"


@pytest.mark.parametrize("encoded", [False, True])
def test_a_segment_has_its_own_threshold_and_a_band_to_review(encoded):
    """Rows of other values and nulls have the common threshold."""
    carriers = pa.array(["AA", "B6", "UA", None, "AA"])
    table = pa.table({"carrier": carriers.dictionary_encode() if encoded else carriers})
    options = PostprocessOptions(
        threshold=0.7,
        review_band=0.1,
        segments=SegmentOptions(column="carrier", thresholds={"AA": 0.5, "B6": 0.9}),
    )
    made = decide(column(0.55, 0.85, 0.65, 0.7, 0.39), Model(), options, table=table, types={"carrier": "string"})

    assert plain(made) == {
        "prediction": [0.55, 0.85, 0.65, 0.7, 0.39],
        "risk_flag": [True, False, False, True, False],
        "review": [False, True, True, False, False],
    }
    assert (made.flagged_rows, made.counts) == (2, {"review": 2})


def test_segments_of_numbers():
    """Whole numbers and booleans have segments too."""
    table = pa.table({"size": pa.array([1, 2, 3], pa.int8())})
    options = PostprocessOptions(threshold=0.7, segments=SegmentOptions(column="size", thresholds={2: 0.1}))
    made = decide(column(0.5, 0.5, 0.5), Model(), options, table=table, types={"size": "int8"})

    assert plain(made)["risk_flag"] == [False, True, False]


@pytest.mark.parametrize(
    ("segments", "types", "fact"),
    [
        ({"column": "carier", "thresholds": {"AA": 0.5}}, {"carrier": "string"}, "is no feature"),
        ({"column": "x", "thresholds": {1: 0.5}}, {"x": "float64"}, "which has no segments"),
        ({"column": "x", "thresholds": {"a": 0.5}}, {"x": "date32"}, "which has no segments"),
        ({"column": "x", "thresholds": {"a": 0.5}}, {"x": "int64"}, "with text ('a')"),
        ({"column": "x", "thresholds": {1: 0.5}}, {"x": "string"}, "with a number (1)"),
        ({"column": "x", "thresholds": {"a": 50}}, {"x": "string"}, "thresholds.a is 50.0, but a probability"),
        ({"column": "risk_flag", "thresholds": {"a": 0.5}}, {"risk_flag": "string"}, "which the snapshot has too"),
    ],
)
def test_mistakes_of_segments_are_named(segments, types, fact):
    """Against the feature schema, before any model is opened."""
    options = parse_section(PostprocessOptions, {"threshold": 0.7, "segments": segments}, source="run.yaml")
    with pytest.raises(ConfigError) as caught:
        check_options(options, None, "probability", types)

    assert fact in caught.value.message


def test_values_are_clipped_and_rounded():
    """A regressor's value keeps its raw self beside it; halves go to even."""
    model = Model(output="value", classes=(), positive=None)
    options = PostprocessOptions(clip=(0, None), round=0, threshold=2)

    assert plain(decide(column(-3.2, 0.5, 1.5, 99.9), model, options)) == {
        "raw_prediction": [-3.2, 0.5, 1.5, 99.9],
        "prediction": [0.0, 0.0, 2.0, 100.0],
        "risk_flag": [False, False, True, True],
    }


@pytest.mark.parametrize("keys", [{"clip": (0, 1)}, {"round": 2}])
@pytest.mark.parametrize(("output", "calibrated"), [("probability", False), ("class", False), ("value", True)])
def test_only_values_are_clipped_and_rounded(keys, output, calibrated):
    """A clipped probability would no longer be one."""
    curve = CalibrationOptions(kind="sigmoid", a=1.0, b=0.0) if calibrated else None
    with pytest.raises(ConfigError) as caught:
        check_options(PostprocessOptions(**keys), curve, output)

    assert caught.value.slug == ("NO-SCORE" if output == "class" and calibrated else "VALUE")
