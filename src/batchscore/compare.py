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
    decided: Sequence[str]
    """The columns of it that the run made, scores, flag and labels; the others come from the snapshot."""
    flag: str | None
    """The name of its flag; None without one."""
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
    decisions: Mapping[str, int]
    """Common rows whose label, rule or other decided column is another one, by column; where it differs only."""
    only_columns: tuple[Sequence[str], Sequence[str]]
    """Decided columns of the old and of the new run that the other has not; flags are compared under any name."""
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
        """Whether ids, predictions, flags and all other decisions are the same."""
        rows = self.rows["only_old"] or self.rows["only_new"]
        return not (rows or self.changed or any(self.crossed.values()) or self.decisions or any(self.only_columns))

    def record(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {**asdict(self), "same": self.is_same}


def compare(old: Run, new: Run, *, id_column: str) -> Comparison:
    """Compare two runs by id.

    Args:
        old: The earlier run.
        new: The later run.
        id_column: The id's name, in both.
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
        crossed=_crossed(before, after, old.flag, new.flag),
        decisions=_decisions(before, after, [name for name in _others(old) if name in _others(new)]),
        only_columns=(_only(old, new), _only(new, old)),
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


def _crossed(old: pa.Table, new: pa.Table, old_flag: str | None, new_flag: str | None) -> dict[str, int]:
    if old_flag is None or new_flag is None:
        return {"raised": 0, "lowered": 0}
    before, after = old.column(old_flag), new.column(new_flag)
    raised = pc.sum(pc.and_(after, pc.invert(before))).as_py() or 0
    return {"raised": raised, "lowered": pc.sum(pc.and_(before, pc.invert(after))).as_py() or 0}


def _others(run: Run) -> list[str]:
    return [name for name in run.decided if name not in ("prediction", run.flag)]


def _only(one: Run, other: Run) -> list[str]:
    """Return the decided columns that only one run has; a flag is one under any name."""
    flag = [one.flag] if one.flag is not None and other.flag is None else []
    prediction = [name for name in one.decided if name == "prediction" and name not in other.decided]
    return [*prediction, *(name for name in _others(one) if name not in _others(other)), *flag]


def _decisions(old: pa.Table, new: pa.Table, names: Sequence[str]) -> dict[str, int]:
    counts = {name: _differing(old.column(name), new.column(name)) for name in names}
    return {name: count for name, count in counts.items() if count}


def _differing(old: pa.ChunkedArray, new: pa.ChunkedArray) -> int:
    if old.type != new.type:
        return len(new)
    both_null = pc.and_(pc.is_null(old), pc.is_null(new))
    same = pc.or_(both_null, pc.fill_null(pc.equal(old, new), False))  # noqa: FBT003 - pyarrow takes it so only
    return len(new) - (pc.sum(same).as_py() or 0)


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
