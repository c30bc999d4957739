"""Rows for estimators: pandas is met only where a frame is asked for."""

from __future__ import annotations

import subprocess
import sys

LEAN = """
import sys
import pyarrow as pa
{held}
pa.array([1, None]), pa.scalar("a"), pa.array([1.0]).to_numpy(), pa.table({{"a": ["x"]}})
before = "pandas" in sys.modules
frame = pa.table({{"a": ["x", None], "b": [1, 2]}}).to_pandas()
import pandas
print(before, frame["b"].sum(), isinstance(frame, pandas.DataFrame), pa.array(pandas.Series([1, 2])).to_pylist())
"""
HOLD = "from batchscore.blocks import hold_off_pandas; hold_off_pandas()"


def told(held: str) -> str:
    """Return what a process of its own says, with pandas held off or not."""
    return subprocess.run(
        [sys.executable, "-c", LEAN.format(held=held)], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_pandas_is_held_off_and_still_works() -> None:
    """Making arrays imports no pandas, and whoever needs a frame afterwards gets one, to and fro."""
    assert told(HOLD) == "False 3 True [1, 2]"


def test_pyarrow_imports_pandas_by_itself() -> None:
    """The twin: without holding it off, the first array imports pandas; once it does not, the trick can go."""
    assert told("") == "True 3 True [1, 2]"
