"""What differs between two published runs: rows, scores, decisions, features, plans. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.drift import drift_all
from batchscore.plan import differences
from batchscore.profile import Profile, from_dict

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Quantiles that are told."""
MOVERS = 10
"""Rows that are told of those whose score moved most."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One side of a comparison."""

    name: str
    """What it is called: a date, or a date and a revision."""
    table: pa.Table
    """Its predictions."""
    summary: Mapping[str, Any]
    """The content of its summary_metrics.json."""
    plan: Mapping[str, Any]
    """Its plan's record."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between an old and a new run."""

    rows: Mapping[str, int]
    """`old`, `new`, `common`, `only_old`, `only_new`: rows by id."""
    changed: int
    """Common rows whose prediction is another."""
    change_quantiles: Mapping[str, float]
    """Quantiles of new minus old prediction over the common rows; empty without common rows."""
    crossed: Mapping[str, int]
    """Common rows whose flag was `raised` and `lowered`."""
    movers: Sequence[Mapping[str, Any]]
    """The common rows whose prediction moved most: id, old, new."""
    quantiles: Mapping[str, Sequence[float | None]]
    """Quantiles of the predictions, old and new, over all rows."""
    flagged: tuple[float | None, float | None]
    """Share of flagged rows, old and new."""
    drift: Mapping[str, float]
    """Population stability index per feature and for the prediction, largest first."""
    plan: Sequence[str]
    """In what the plans differ, a line each."""

    @property
    def is_same(self) -> bool:
        """Whether ids, predictions and flags are all the same."""
        return not (self.rows["only_old"] or self.rows["only_new"] or self.changed or any(self.crossed.values()))

    def record(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {**asdict(self), "same": self.is_same}


def compare(old: Run, new: Run, *, id_column: str, flag: str | None) -> Comparison:
    """Compare two runs by id.

    Args:
        old: The earlier run.
        new: The later run.
        id_column: The id's name, in both.
        flag: The flag column's name; None when there is none.
    """
    before, after = _common(old.table, new.table, id_column)
    common = before.num_rows
    moved = _predictions(after) - _predictions(before)
    order = np.lexsort((np.arange(common), -np.abs(moved)))[:MOVERS]
    return Comparison(
        rows={
            "old": old.table.num_rows,
            "new": new.table.num_rows,
            "common": common,
            "only_old": old.table.num_rows - common,
            "only_new": new.table.num_rows - common,
        },
        changed=int(np.count_nonzero(moved)),
        change_quantiles=_quantiles(moved) if common else {},
        crossed=_crossed(before, after, flag),
        movers=[_mover(before, after, id_column, int(row)) for row in order if moved[row]],
        quantiles={
            name: (old.summary["quantiles"]["prediction"][name], new.summary["quantiles"]["prediction"][name])
            for name in new.summary["quantiles"].get("prediction", {})
            if "prediction" in old.summary["quantiles"]
        },
        flagged=(_share(old.summary), _share(new.summary)),
        drift=_drift(old.summary, new.summary),
        plan=[str(difference) for difference in differences(old.plan, new.plan)],
    )


def _common(old: pa.Table, new: pa.Table, id_column: str) -> tuple[pa.Table, pa.Table]:
    """Return the rows of both tables whose id is in both, in the new table's order."""
    places = pc.index_in(new.column(id_column), value_set=old.column(id_column).combine_chunks())
    kept = pc.is_valid(places)
    return old.take(places.filter(kept)), new.filter(kept)


def _predictions(table: pa.Table) -> Any:
    if "prediction" not in table.column_names:
        return np.zeros(table.num_rows)
    return table.column("prediction").to_numpy()


def _quantiles(values: Any) -> dict[str, float]:
    found = np.quantile(values, SHARES, method="inverted_cdf")
    return {f"p{round(100 * share):02d}": float(value) for share, value in zip(SHARES, found, strict=True)}


def _crossed(old: pa.Table, new: pa.Table, flag: str | None) -> dict[str, int]:
    if flag is None or flag not in old.column_names or flag not in new.column_names:
        return {"raised": 0, "lowered": 0}
    before, after = old.column(flag), new.column(flag)
    raised = pc.sum(pc.and_(after, pc.invert(before))).as_py() or 0
    return {"raised": raised, "lowered": pc.sum(pc.and_(before, pc.invert(after))).as_py() or 0}


def _mover(old: pa.Table, new: pa.Table, id_column: str, row: int) -> dict[str, Any]:
    return {
        "id": new.column(id_column)[row].as_py(),
        "old": old.column("prediction")[row].as_py(),
        "new": new.column("prediction")[row].as_py(),
    }


def _share(summary: Mapping[str, Any]) -> float | None:
    rows = summary["rows"]
    return rows["flagged"] / rows["scored"] if rows["scored"] else None


def _drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, float]:
    found = drift_all(_profiles(old), _profiles(new))
    return dict(sorted(((name, drift.psi) for name, drift in found.items()), key=lambda item: (-item[1], item[0])))


def _profiles(summary: Mapping[str, Any]) -> dict[str, Profile]:
    both = {**summary["profiles"]["features"], **summary["profiles"]["scores"]}
    return {name: from_dict(content) for name, content in both.items()}
