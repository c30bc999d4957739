"""Where a date stands before anything is scored: free, done, held, or published by another plan."""

from __future__ import annotations

from batchscore.errors import Held
from batchscore.plan import Plan
from batchscore.store import layout
from batchscore.store.commits import Commit, head, read_commit
from batchscore.store.failure import foreign
from batchscore.store.held import held_runs, waiting
from batchscore.store.publish import acknowledge, other_plan
from batchscore.store.root import Root
from batchscore.store.sealed import read_sealed


def settle(root: Root, plan: Plan, *, republish: bool = False) -> tuple[Commit | None, bool]:
    """Say where a date stands before anything is scored.

    Args:
        root: The output root.
        plan: What would be scored.
        republish: Whether another plan may publish a new revision.

    Returns:
        The date's newest commit, if any, and whether it already is what the plan would publish.
        In that case it is durable on return and the date shows it: a crash may have left that undone.

    Raises:
        OutputExists: When the date is published by another plan, or something else lies in its place.
        Held: When a run of the same plan waits to be released or discarded.
    """
    current = head(root, plan.date)
    if current is None and root.occupied(plan.date):
        raise foreign(root.shown(plan.date))
    if current and (
        _is_done(current, plan, republish=republish) or (not republish and is_extended(root, current, plan))
    ):
        return acknowledge(root, current), True
    _refuse_held(root, plan)
    if current and not republish:
        raise other_plan(root, current, plan)
    return current, False


def _is_done(commit: Commit, plan: Plan, *, republish: bool) -> bool:
    """Whether a commit is what the plan would publish; when republishing, other library versions count as other."""
    return commit.plan_id == plan.plan_id if republish else commit.input_id == plan.input_id


def is_extended(root: Root, commit: Commit, plan: Plan) -> bool:
    """Whether a commit is what the plan would publish, and rows that it had set aside besides."""
    while base := read_sealed(root, layout.run(commit.run, layout.MANIFEST))[0]["plan"].get("base"):
        commit = read_commit(root, commit.date, base["revision"])
        if commit.input_id == plan.input_id:
            return True
    return False


def _refuse_held(root: Root, plan: Plan) -> None:
    """Raise `Held` when a run of the same plan waits to be released or discarded."""
    held = waiting(held_runs(root, plan.date), plan.input_id)
    if held is not None:
        raise Held(
            f"a run of the same plan for {plan.date} is held: {held.why}",
            slug="WAITING",
            remedy=held.remedy,
            state="Nothing was scored or published; the held run is kept.",
            run=held.commit.run,
        )
