"""Arrow arrays made from buffers are those that pyarrow makes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore.profile import buffers

DTYPES = [np.bool_, np.int64, np.int32, np.uint8, np.float64, np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.integers(0, 70), seed=st.integers(0, 5), step=st.integers(1, 3), has_nulls=st.booleans())
def test_a_column_is_what_pyarrow_makes_of_an_array(dtype, rows, seed, step, has_nulls):
    """Of every kind of number and of booleans, with strides and nulls; NaN stays NaN."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2, rows).astype(dtype)[::step]
    if values.size and np.issubdtype(dtype, np.floating):
        values[0] = np.nan
    null = rng.random(values.size) < 0.5 if has_nulls else None
    made = buffers.column(values, null=null)
    made.validate(full=True)

    assert repr(made.to_pylist()) == repr(pa.array(values, mask=null).to_pylist())
    assert (made.type, made.null_count) == (pa.from_numpy_dtype(dtype), 0 if null is None else int(null.sum()))
