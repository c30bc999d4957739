"""`python -m benchmarks.rules`: what five rules cost, against scoring the same rows with a logistic regression.

A million real flights (those of 2013, again and again), the flights' own pipeline, batches as a worker takes them.
The pipeline is scored twice: as scikit-learn does it, and with its preparation done natively, as a run does.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batchscore import infer
from batchscore.model.estimator import as_model
from batchscore.model.native import natively
from batchscore.model.options import ModelOptions
from batchscore.postprocess import Decider, PostprocessOptions, build
from batchscore.schema import Feature, FeatureSchema
from batchscore.strict import parse_section
from examples.flights.features import FEATURES, NAMES, TEXT
from examples.flights.source import read_departures
from examples.flights.train import train

BATCH_ROWS = 4 * infer.BLOCK_ROWS
RULES = [
    {
        "name": "gusts",
        "when": [{"column": "wind_gust", "at_least": 40}, {"column": "origin", "one_of": ["JFK", "LGA"]}],
        "then": {"at_least": 0.5},
    },
    {
        "name": "few-flights",
        "when": [{"column": "carrier", "one_of": ["AS", "F9", "HA", "OO", "YV"]}],
        "then": {"at_most": 0.9, "set": {"note": "ask the carrier"}},
    },
    {"name": "no-plane", "when": [{"column": "plane_age", "null": True}], "then": {"set": {"note": "no register"}}},
    {"name": "long-haul", "when": [{"column": "distance", "above": 2000}, {"column": "prediction", "above": 0.4}]},
    {"name": "sure", "when": [{"column": "prediction", "at_least": 0.8}], "then": {"flag": True}},
]
LIMIT = 0.1
"""Rules may take this share of the scoring time."""


@dataclass(frozen=True)
class Scored:
    """What `decide` needs to know of the model."""

    output: str = "probability"
    classes: tuple[bool, ...] = (False, True)
    positive: int = 1
    score_names: tuple[str, ...] = ("prediction",)


def main() -> None:
    """Measure, print, and end with 1 when rules cost more than they may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="say where the time of the rules goes")
    given = parser.parse_args()
    departures = read_departures()
    schema = FeatureSchema(
        name="flights", version="1", features=tuple(Feature.model_validate(each.as_entry()) for each in FEATURES)
    )
    options = parse_section(ModelOptions, {"path": "m.joblib", "version": "1", "sha256": "0" * 64}, source="here")
    model = as_model(train(departures), options, schema)
    models = {"pipeline": model, "native": natively(model)}
    table = _rows(pa.Table.from_pandas(departures[NAMES], preserve_index=False), given.rows)
    batches = [table.slice(at, BATCH_ROWS) for at in range(0, table.num_rows, BATCH_ROWS)]
    plain, ruled = _decider(schema, []), _decider(schema, RULES)
    best = dict.fromkeys(("pipeline", "native", "plain", "ruled"), np.inf)
    for _ in range(given.rounds):
        for name, each in models.items():
            started = time.process_time()
            scores = [infer.score(each, batch) for batch in batches]
            best[name] = min(best[name], time.process_time() - started)
        for name, decider in (("plain", plain), ("ruled", ruled)):
            best[name] = min(best[name], _timed(decider, scores, batches))
    cost = best["ruled"] - best["plain"]
    print(f"{table.num_rows:,} rows, best of {given.rounds} rounds, CPU seconds of one thread")
    print(f"  scoring, whole pipeline      {best['pipeline']:7.3f} s  {_each(best['pipeline'], table)}")
    print(f"  scoring, prepared natively   {best['native']:7.3f} s  {_each(best['native'], table)}")
    print(f"  deciding without rules       {best['plain']:7.3f} s  {_each(best['plain'], table)}")
    print(f"  five rules                   {cost:7.3f} s  {_each(cost, table)}")
    print(f"  rules against the pipeline   {100 * cost / best['pipeline']:7.1f} %")
    print(f"  rules against native         {100 * cost / best['native']:7.1f} %")
    if given.profile:
        _profile(ruled, scores, batches)
    raise SystemExit(cost > LIMIT * best["native"])


def _rows(table: pa.Table, rows: int) -> pa.Table:
    """Repeat the flights up to so many rows, texts as the dictionaries that the reader gives."""
    repeated = pa.concat_tables([table] * (1 + rows // table.num_rows)).slice(0, rows)
    for name in TEXT:
        at = repeated.column_names.index(name)
        repeated = repeated.set_column(at, name, repeated[name].cast(pa.string()).dictionary_encode())
    return repeated.unify_dictionaries().combine_chunks()


def _decider(schema: FeatureSchema, rules: list[dict[str, object]]) -> Decider:
    options = parse_section(PostprocessOptions, {"threshold": 0.5, "match": "all", "rules": rules}, source="here")
    types = {feature.name: feature.dtype for feature in schema.features}
    return build(options, None, Scored(), types, read=lambda path: path.encode())


def _timed(decider: Decider, scores: list[np.ndarray], batches: list[pa.Table]) -> float:
    started = time.process_time()
    for found, batch in zip(scores, batches, strict=True):
        decider.decide(found, batch)
    return time.process_time() - started


def _each(seconds: float, table: pa.Table) -> str:
    return f"{1e9 * seconds / table.num_rows:7.0f} ns a row"


def _profile(decider: Decider, scores: list[np.ndarray], batches: list[pa.Table]) -> None:
    profile = cProfile.Profile()
    profile.runcall(_timed, decider, scores, batches)
    pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
