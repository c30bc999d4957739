"""The limit: two processes that read, prepare in Arrow and numpy, score and write; no validation, no statistics.

Written by hand for the pipelines of the churn example. scikit-learn is imported once, before the processes are forked.
"""

from __future__ import annotations

import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORKERS = 2
ID, THRESHOLD = "customer_id", 0.7


def main() -> None:
    """Share the files out and wait for both processes."""
    data, model, out = (Path(each) for each in sys.argv[1:])
    out.mkdir(parents=True)
    pipeline = joblib.load(model)
    units = units_of(data)
    context = get_context("fork")
    workers = [context.Process(target=score, args=(pipeline, units[number::WORKERS], out)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(max(worker.exitcode or 0 for worker in workers))


def units_of(data: Path) -> list[tuple[Path, list[int], str]]:
    """List what is scored at a time: a file; a lone file by halves of its row groups."""
    if data.is_dir():
        return [(path, [], path.name) for path in sorted(data.glob("*.parquet"))]
    groups = list(range(pq.ParquetFile(data).num_row_groups))
    middle = -(-len(groups) // 2)
    halves = [half for half in (groups[:middle], groups[middle:]) if half]
    return [(data, half, f"part-{number}.parquet") for number, half in enumerate(halves)]


def score(pipeline: Any, units: list[tuple[Path, list[int], str]], out: Path) -> None:
    """Score some files, one after the other."""
    pa.set_cpu_count(1)
    prepare = pipeline["prepare"]
    (_, numbers, number_names), (_, texts, text_names) = prepare.transformers_[:2]
    for path, groups, name in units:
        file = pq.ParquetFile(path, read_dictionary=text_names)
        columns = [ID, *number_names, *text_names]
        table = (
            file.read_row_groups(groups, columns, use_threads=False)
            if groups
            else file.read(columns, use_threads=False)
        )
        matrix = prepared(table, numbers, number_names, texts, text_names)
        scores = pipeline["classify"].predict_proba(matrix)[:, 1]
        made = pa.table([table[ID], pa.array(scores), pa.array(scores >= THRESHOLD)], [ID, "prediction", "risk_flag"])
        pq.write_table(made, out / name, compression="zstd", compression_level=1, use_dictionary=False)


def prepared(table: pa.Table, numbers: Any, number_names: list[str], texts: Any, text_names: list[str]) -> np.ndarray:
    """Do what the fitted transformers do, straight into one matrix: impute, scale if so fitted, encode."""
    impute, scale = (numbers["impute"], numbers["scale"]) if hasattr(numbers, "steps") else (numbers, None)
    one_hot = hasattr(texts, "drop_idx_")
    widths = [len(each) if one_hot else 1 for each in texts.categories_]
    out = np.empty((table.num_rows, len(number_names) + sum(widths)))
    for at, name in enumerate(number_names):
        values = table[name].to_numpy().astype(np.float64, copy=False)
        if table[name].null_count:
            values = np.where(np.isnan(values), impute.statistics_[at], values)
        if scale is not None:
            values = values - scale.mean_[at]
            values /= scale.scale_[at]
        out[:, at] = values
    start = len(number_names)
    for name, categories, width in zip(text_names, texts.categories_, widths, strict=True):
        codes = codes_of(table[name], categories)
        out[:, start : start + width] = codes[:, None] == np.arange(width) if one_hot else codes[:, None]
        start += width
    return out


def codes_of(column: pa.ChunkedArray, categories: np.ndarray) -> np.ndarray:
    """Give each row the place of its category: each distinct text is looked up once."""
    coded = column.unify_dictionaries().combine_chunks()
    places = {text: place for place, text in enumerate(categories)}
    return np.array([places[text] for text in coded.dictionary.to_pylist()])[coded.indices.to_numpy()]


if __name__ == "__main__":
    main()
