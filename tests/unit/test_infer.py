import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_models import (
    MIXED_KINDS,
    NUMBER_KINDS,
    as_read,
    dumped,
    fitted,
    mixed,
    mixed_schema,
    number_schema,
    numbers,
    options_of,
    with_dates,
)
from sklearn.linear_model import LogisticRegression

from batchscore.blocks import frame, matrix
from batchscore.errors import ModelError
from batchscore.infer import score
from batchscore.model.estimator import as_model
from batchscore.model.native import natively
from batchscore.schema import Feature, FeatureSchema

BLOCK = 512


def model_of(kind):
    """Return the model of a kind of estimator, and what makes its rows."""
    estimator, schema, make = fitted(kind)
    output = "value" if kind == "regression" else "probability"
    return natively(as_model(estimator, options_of(b"", output=output), schema)), make


def cut(rows, *cuts):
    """Return (start, rows) of the pieces between the cuts."""
    edges = [0, *cuts, rows]
    return [(start, stop - start) for start, stop in pairwise(edges)]


def in_pieces(model, table, pieces, block_rows=BLOCK):
    """Score piece by piece."""
    return np.concatenate([score(model, table.slice(start, rows), block_rows) for start, rows in pieces])


@pytest.mark.parametrize("kind", MIXED_KINDS + NUMBER_KINDS)
def test_a_score_does_not_depend_on_partitions_chunks_or_threads(kind):
    """Every bit is the same however the rows are cut, in whatever chunks they lie, on however many threads."""
    model, make = model_of(kind)
    table = make(2_500, seed=3)
    whole = score(model, table, BLOCK)
    ragged = in_pieces(model, table, cut(2_500, 1, 7, 600, 1_111, 2_499))
    chunked = pa.concat_tables([table.slice(start, 37) for start in range(0, 2_500, 37)])
    with ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(lambda piece: score(model, table.slice(*piece), BLOCK), cut(2_500, 400, 900, 901)))

    assert whole.dtype == np.float64
    assert whole.flags.c_contiguous
    assert whole.tobytes() == ragged.tobytes()
    assert whole.tobytes() == score(model, chunked, BLOCK).tobytes()
    assert whole.tobytes() == np.concatenate(threaded).tobytes()


def test_without_fixed_blocks_the_bits_move():
    """The twin: the same model called on ragged batches gives other bits, so the test above can fail."""
    model, make = model_of("logistic, numbers, 3 classes")
    table = make(2_500, seed=3)
    ragged = [model.predict(matrix(table.slice(*piece), piece[1])) for piece in cut(2_500, 1, 7, 600, 1_111, 2_499)]

    assert score(model, table, BLOCK).tobytes() != np.concatenate(ragged).tobytes()


@pytest.mark.parametrize("kind", MIXED_KINDS + NUMBER_KINDS)
def test_scores_are_the_estimators_own(kind, record_property):
    """Bit-equal to the estimator on the same blocks; within 1e-12 of one call over the frame that pandas reads."""
    estimator, schema, make = fitted(kind)
    model, _ = model_of(kind)  # also sets the forest's n_jobs to 1, without which no two calls agree
    table = make(2 * BLOCK, seed=4)
    read = as_read(table)
    scores = score(model, table, BLOCK)
    method = estimator.predict if kind == "regression" else estimator.predict_proba
    halves = [read.iloc[:BLOCK], read.iloc[BLOCK:]]
    if getattr(model, "original", model).takes == "matrix":
        halves = [
            pd.DataFrame(np.ascontiguousarray(half.to_numpy()), columns=list(schema.names), copy=False)
            for half in halves
        ]
    own = np.concatenate([method(half) for half in halves])
    once = method(read)
    if own.ndim == 2 and own.shape[1] == 2:
        own, once = own[:, 1], once[:, 1]
    equal = (once.reshape(scores.shape) == scores).all(axis=1).mean()
    record_property("share of rows bit-equal to one call", float(equal))
    print(f"{kind}: {equal:.1%} of rows bit-equal to one call over the frame")

    assert scores.tobytes() == np.ascontiguousarray(own).tobytes()
    np.testing.assert_allclose(scores, once.reshape(scores.shape), rtol=0, atol=1e-12)


def test_a_frame_is_what_pandas_reads():
    """Nulls, texts, dates, times and booleans arrive as in training; dtypes follow the schema, not the rows."""
    nullable = {"day": "date32", "at": "timestamp[us]", "vip": "bool"}
    schema = FeatureSchema(
        name="times",
        version="1",
        features=tuple(Feature(name=name, dtype=dtype, nullable=True) for name, dtype in nullable.items()),
    )
    table = with_dates(40)
    whole = mixed(300)

    pd.testing.assert_frame_equal(frame(table, schema.features), as_read(table))
    pd.testing.assert_frame_equal(frame(whole, mixed_schema().features), as_read(whole))
    full = whole.filter(whole["delay"].is_valid())
    assert as_read(full)["delay"].dtype == np.int32
    assert (frame(full, mixed_schema().features).dtypes == frame(whole, mixed_schema().features).dtypes).all()
    assert (frame(table.slice(1, 3), schema.features).dtypes == as_read(table).dtypes).all()


@pytest.mark.parametrize("wider", ["dictionary", "large_string", "string_view"])
def test_a_text_is_a_text_however_it_is_encoded(wider):
    """Dictionary-encoded, large and view strings give the same frame as plain ones."""
    plain = mixed(200)
    types = {"large_string": pa.large_string(), "string_view": pa.string_view()}
    carrier = plain["carrier"].dictionary_encode() if wider == "dictionary" else plain["carrier"].cast(types[wider])
    other = plain.set_column(plain.column_names.index("carrier"), "carrier", carrier)

    pd.testing.assert_frame_equal(frame(other, mixed_schema().features), frame(plain, mixed_schema().features))


def test_columns_are_taken_by_name():
    """Another order and extra columns change nothing."""
    model, make = model_of("logistic, 2 classes")
    table = make(100, seed=1)
    other = table.append_column("id", pa.array(range(100))).select([*reversed(table.column_names), "id"])

    assert score(model, other, BLOCK).tobytes() == score(model, table, BLOCK).tobytes()


def test_a_matrix_is_c_ordered_and_padded_with_its_last_row():
    """Nulls become NaN, booleans numbers; the padding repeats the last row."""
    table = pa.table({"a": pa.array([1, None], pa.int8()), "b": pa.array([True, False]), "c": pa.array([0.5, -0.0])})
    made = matrix(table, 4)

    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, [[1, 1, 0.5], [np.nan, 0, -0.0], [np.nan, 0, -0.0], [np.nan, 0, -0.0]])


@pytest.mark.parametrize(("kind", "width"), [("logistic, 2 classes", 1), ("logistic, 3 classes", 3), ("regression", 1)])
def test_no_rows_give_no_scores(kind, width):
    """Zero rows are no call of the model, which would refuse them."""
    model, make = model_of(kind)

    assert score(model, make(1).slice(0, 0), BLOCK).shape == (0, width)


def test_one_row_scores_as_among_others():
    """A row alone and a row among thousands have the same bits."""
    model, make = model_of("logistic, numbers")
    table = make(1_500, seed=2)

    assert score(model, table.slice(777, 1), BLOCK)[0] == score(model, table, BLOCK)[777]


class Fixed:
    """A model that answers what it is told."""

    schema = number_schema()
    classes = (0, 1)

    def __init__(self, answer, output="probability"):
        self.answer, self.output = answer, output

    def blocks(self, rows, block_rows):
        """Yield the rows as one matrix."""
        yield matrix(rows, block_rows)

    def predict(self, block):
        """Return the answer for every row."""
        return np.full((len(block), 1), self.answer)


@pytest.mark.parametrize("answer", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("output", ["probability", "value"])
def test_a_score_that_is_no_number_is_an_error(answer, output):
    """NaN and infinities never reach the output."""
    with pytest.raises(
        ModelError, match=r"gives 3 of 3 rows a score that is no finite number \(first: row 0"
    ) as caught:
        score(Fixed(answer, output), numbers(3))

    assert caught.value.id == "E-MODEL-SCORE-NOT-FINITE"


@pytest.mark.parametrize("answer", [1.01, -0.5, 1 + 1e-8])
def test_a_probability_outside_its_range_is_an_error(answer):
    """A score that is no probability is named; a regressor may give it."""
    with pytest.raises(ModelError, match=r"a probability outside 0..1") as caught:
        score(Fixed(answer), numbers(3))

    assert caught.value.id == "E-MODEL-SCORE-RANGE"
    assert score(Fixed(answer, "value"), numbers(3)).tolist() == [[answer]] * 3


def test_a_rounding_excess_is_set_to_the_bound():
    """Sums of rounded shares may exceed 1 in the last bits."""
    assert score(Fixed(1 + 2e-16), numbers(2)).tolist() == [[1.0], [1.0]]
    assert score(Fixed(-1e-17), numbers(2)).tolist() == [[0.0], [0.0]]


def test_a_refusal_of_the_estimator_names_no_value():
    """The estimator's own words arrive, without what stood in the rows."""
    model, make = model_of("logistic, numbers")
    bad = make(4).set_column(0, "n0", pa.array([1.0, None, 2.0, 3.0]))
    with pytest.raises(ModelError, match="contains NaN") as caught:
        score(model, bad, BLOCK)

    assert caught.value.id == "E-MODEL-PREDICT"
    texts = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    one = FeatureSchema(name="one", version="1", features=(Feature(name="x", dtype="string"),))
    with pytest.raises(ModelError) as caught:
        score(as_model(texts, options_of(dumped(texts)), one), pa.table({"x": ["secret"]}), 8)
    assert "secret" not in caught.value.message


def test_every_thread_is_held_to_one_numeric_thread():
    """OpenMP keeps its limit per thread, so each thread that scores sets its own."""
    from threadpoolctl import threadpool_info

    model, make = model_of("boosting, numbers")
    found = []

    def work():
        score(model, make(10), BLOCK)
        found.extend(pool["num_threads"] for pool in threadpool_info())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert set(found) == {1}
