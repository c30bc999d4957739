"""A small driver for the tests of the store: it keeps parts and publishes them as the real one does, and scores nothing."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscore.errors import BatchscoreError
from batchscore.plan import Plan
from batchscore.report import Part
from batchscore.store import Commit, Publication, Store, effects, holder, layout

DATE = "2013-02-08"
PARTS = 6


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run came to."""

    commit: Commit | None
    """The date's commit; None when the run was held."""
    scored: tuple[int, ...] = ()
    """Partitions that had to be made."""
    done: bool = False
    """Whether the date was published before."""


def make_plan(threshold: str = "0.7", *, versions: str = "1", date: str = DATE) -> Plan:
    """Return a plan; another threshold is another plan, other versions the same input."""
    return Plan(
        pipeline="flights",
        date=date,
        inputs=(),
        config={"postprocess.threshold": threshold},
        artifacts={},
        scoring={},
        versions={"scikit-learn": versions},
        partitions=(),
    )


def part_bytes(plan: Plan, index: int) -> bytes:
    """Return the bytes of a part: they depend on the plan's input and the index alone."""
    return hashlib.sha256(f"{plan.input_id} {index}".encode()).digest() * 40


def part(name: str, data: bytes) -> Part:
    """Return the declaration of a part."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Part(name=name, sha256=sha256, size=len(data), rows=len(data) // 8, logical_sha256=sha256)


def score(store: Store, plan: Plan, parts: int = PARTS) -> tuple[int, ...]:
    """Make and keep what is not kept yet; return the partitions that were made."""
    work = store.work(plan)
    missing = [index for index in range(parts) if work.report(index) is None]
    for index in missing:
        data = part_bytes(plan, index)
        sha256 = work.put_part(index, data)
        work.put_ids(index, data[:16])
        work.commit(index, {"sha256": sha256, "rows": len(data) // 8})
    return tuple(missing)


def publication(plan: Plan, parts: int = PARTS, *, quarantined: bool = False, **more: Any) -> Publication:
    """Return the finished run of `score`."""
    predictions = tuple(part(layout.part_name(n), part_bytes(plan, n)) for n in range(parts))
    aside = predictions[:1] if quarantined else ()
    run_id = secrets.token_hex(16)

    def documents(files: Any) -> dict[str, dict[str, Any]]:
        single = files.get(layout.PREDICTIONS)
        manifest = {
            "plan": plan.record(),
            "parts": [vars(found) for found in predictions],
            "quarantine": [vars(found) for found in aside],
            "single_file": single and {"sha256": single[0], "size": single[1]},
        }
        summary = {"rows": {"scored": sum(found.rows for found in predictions)}}
        return {layout.SUMMARY: summary, layout.MANIFEST: manifest, layout.METADATA: {"host": os.getpid()}}

    return Publication(
        plan=plan, run_id=run_id, predictions=predictions, quarantine=aside, documents=documents, by="test", **more
    )


def run(store: Store, plan: Plan, parts: int = PARTS, *, republish: bool = False) -> Outcome:
    """Do what a driver does: claim the root, settle, score what is missing, publish."""
    store.claim_pipeline("flights")
    parent, done = store.settle(plan, republish=republish)
    if done:
        return Outcome(commit=parent, done=True)
    scored = score(store, plan, parts)
    return Outcome(commit=store.publish(publication(plan, parts), parent), scored=scored)


def whole_run(store: Store, plan: Plan, parts: int = PARTS, *, republish: bool = False) -> Outcome:
    """Do what a driver does from its very start to its very end, with the lease, and prune the finished work."""
    store.probe()
    with store.lease(plan.date, holder(secrets.token_hex(16))):
        outcome = run(store, plan, parts, republish=republish)
        if outcome.commit:
            store.prune(outcome.commit)
        return outcome


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return inode, time of change and bytes of every file below a folder, links as what they name."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes(),
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def deterministic_files(store: Store, date: str = DATE) -> dict[str, bytes]:
    """Return the bytes of a published run that must be the same on every execution of its plan."""
    commit = store.head(date)
    assert commit is not None
    folder = layout.run(commit.run)
    entries = [entry.key for entry in store.root.list(folder)]
    return {key.removeprefix(folder): store.root.read(key) for key in entries if not key.endswith(layout.METADATA)}


def forked(action: Callable[[], object], kill_at: int | None = None) -> int:
    """Run an action in a forked child; return its exit status: 0, the error's exit code, or -9 when it was killed.

    Args:
        action: What the child does.
        kill_at: The side effect, counted from 1, before which it kills itself.
    """
    return finished(fork(action, kill_at))


def fork(action: Callable[[], object], kill_at: int | None = None) -> int:
    """Start an action in a forked child and return the child's process number."""
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        if kill_at is not None:
            os.environ[effects.KILL_AT] = str(kill_at)
        effects._count = 0
        action()
        status = 0
    except BatchscoreError as error:
        status = error.exit_code
    finally:
        os._exit(status)


def finished(child: int) -> int:
    """Wait for a forked child and return its exit status."""
    _, status = os.waitpid(child, 0)
    return -signal.SIGKILL if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def published_as_a_reader_sees(root: Path, date: str = DATE) -> str | None:
    """Read a date as a careful stranger does, by the link, resolved once; return its run, None when there is none.

    Raises:
        AssertionError: When what is there is not complete and whole.
    """
    try:
        folder = Path(os.readlink(root / date))
    except FileNotFoundError:
        return None
    metadata = json.loads((root / folder / layout.METADATA).read_bytes())
    manifest_bytes = (root / folder / layout.MANIFEST).read_bytes()
    assert hashlib.sha256(manifest_bytes).hexdigest() == metadata["manifest_sha256"]
    for path, (sha256, _) in layout.published_files(json.loads(manifest_bytes)).items():
        assert hashlib.sha256((root / folder / path).read_bytes()).hexdigest() == sha256
    return folder.name
