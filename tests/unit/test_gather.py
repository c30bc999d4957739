"""The rows that kill workers are found by trying, one partition at a time, and never by chance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore import gather
from batchscore.errors import ContractError, PartitionsFailed, TooManyBadRows
from batchscore.gather import deadly_rows
from batchscore.plan import Fragment, Partition
from batchscore.preprocess import RowsOptions

ROWS = 1000


@dataclass
class Workers:
    """Workers that die over some rows, over reading, or over too many rows at once."""

    deadly: frozenset[int]
    reading: bool = False
    most: int = ROWS
    count: int = 1
    tried: list[int] = field(default_factory=list)

    def try_alone(self, task, partition, *, surely):
        """Say whether the task would have killed, as `try_rows` would."""
        job, rows = task.args
        self.tried.append(rows)
        skipped = {row for start, stop in job.killed.get(partition.index, ()) for row in range(start, stop)}
        scored = set(range(rows)) - skipped
        return None if self.reading or scored & self.deadly or len(scored) > self.most else len(scored)


@dataclass(frozen=True)
class Job:
    """What the search needs of a job."""

    killed: dict = field(default_factory=dict)
    rows: RowsOptions = field(
        default_factory=lambda: RowsOptions(on_bad="quarantine", max_bad_count=5, max_bad_percent=10)
    )


def partition(rows: int = ROWS, index: int = 3) -> Partition:
    """Return a partition of one file."""
    fragment = Fragment(
        path="data/a.parquet", size=1, footer_sha256="", object_version=None, row_groups=(0,), first_row=0, rows=rows
    )
    return Partition(index=index, fragments=(fragment,), rows=rows, decoded_bytes=1)


@given(st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=5))
def test_every_deadly_row_is_found_and_no_other(deadly):
    """Wherever they are, also side by side and at both ends."""
    found = deadly_rows(Workers(frozenset(deadly)), Job(), partition(), 5)

    assert found == tuple((row, row + 1) for row in sorted(deadly))


def test_a_row_takes_about_a_dozen_tries():
    """Halving, and not one row after the other."""
    workers = Workers(frozenset({617}))
    deadly_rows(workers, Job(), partition(), 5)

    assert len(workers.tried) <= 14


@pytest.mark.parametrize(
    ("workers", "most"),
    [
        (Workers(frozenset(), reading=True), 5),
        (Workers(frozenset(), most=600), 5),
        (Workers(frozenset(), most=600), 0),
    ],
    ids=["the file kills its reader", "all rows together need too much memory", "no budget for either"],
)
def test_what_is_no_rows_doing_is_not_blamed_on_one(workers, most):
    """Then the run fails as it would have."""
    assert deadly_rows(workers, Job(), partition(), most) is None


@pytest.mark.parametrize(("deadly", "most"), [({1, 2, 3, 617}, 2), ({999}, 0)], ids=["a few", "no budget"])
def test_more_deadly_rows_than_the_budget_are_too_many_bad_rows(deadly, most):
    """Code 16, which is not tried again: they would kill at the next attempt too; within the budget they are set aside."""
    error = PartitionsFailed("x", slug="KILLED-WORKER", partition=3)
    budgets = [
        replace(Job(), rows=RowsOptions(on_bad="quarantine", max_bad_count=count, max_bad_percent=10))
        for count in (most, len(deadly))
    ]
    within = gather._without_deadly_rows(Workers(frozenset(deadly)), budgets[1], error, [partition()], ROWS)

    with pytest.raises(TooManyBadRows, match=f"at least {most + 1} of 1000 rows are bad .killed-worker {most + 1}."):
        gather._without_deadly_rows(Workers(frozenset(deadly)), budgets[0], error, [partition()], ROWS)
    assert len(within.killed[3]) == len(deadly)


def test_an_error_on_the_way_is_that_error():
    """Rows that fail in another way are not deadly."""
    workers = SimpleNamespace(try_alone=lambda *_, **__: ContractError("a file is gone", slug="GONE"))

    with pytest.raises(ContractError):
        deadly_rows(workers, Job(), partition(), 5)


@pytest.mark.parametrize(
    ("error", "on_bad"),
    [
        (PartitionsFailed("x", slug="KILLED-WORKER", partition=3), "fail"),
        (PartitionsFailed("x", slug="DEADLINE"), "quarantine"),
    ],
)
def test_without_a_quarantine_or_a_death_the_error_stands(error, on_bad):
    """Nobody looks for rows then."""
    job = replace(Job(), rows=RowsOptions(on_bad=on_bad, max_bad_count=5, max_bad_percent=10))

    with pytest.raises(PartitionsFailed):
        gather._without_deadly_rows(Workers(frozenset({1})), job, error, [partition()], ROWS)
