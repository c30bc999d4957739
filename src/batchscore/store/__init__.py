"""Stage parts, publish all at once, refuse to overwrite, and read back what was published.

`Store` is the whole of it for the driver, `WorkFolder` for the workers; the protocol is told in `publish`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from batchscore.errors import ConfigError
from batchscore.plan import Plan
from batchscore.store import clean, commits, held, layout, lease, probe, publish, read, settle, verify
from batchscore.store.clean import Garbage
from batchscore.store.commits import Commit
from batchscore.store.files import FileRoot
from batchscore.store.held import HeldRun
from batchscore.store.layout import STATE
from batchscore.store.lease import Holder, holder
from batchscore.store.notify import notify
from batchscore.store.posix import check_writable
from batchscore.store.publish import Publication
from batchscore.store.read import Published, read_published
from batchscore.store.root import Root, is_there
from batchscore.store.sealed import put_once, read_sealed, seal, unseal
from batchscore.store.verify import Problem, Verification
from batchscore.store.work import WorkFolder
from batchscore.strict import FROM_LIST, Section

SCHEMES = ("s3", "gs", "abfs")
"""The object stores, as they stand before `://`."""


class MarkerOptions(Section):
    """`output.notify` of kind marker: a file that appears when a date is published; a run that finds it done writes a missing one."""

    kind: Literal["marker"]
    """A file."""
    path: str = Field(min_length=1)
    """Its path; {date} is filled in; local or in an object store."""
    seconds: float = Field(default=10, gt=0, le=300)
    """The most seconds that it may take."""


class WebhookOptions(Section):
    """`output.notify` of kind webhook: a POST when a date is published; later runs of the date repeat it until it succeeds once."""

    kind: Literal["webhook"]
    """A request."""
    url: str = Field(pattern=r"^https?://")
    """Where it is sent; {date} is filled in."""
    seconds: float = Field(default=10, gt=0, le=300)
    """The most seconds that it may take."""


class OutputOptions(Section):
    """`output`: where the results go, and in what form."""

    path: str = Field(min_length=1)
    """The output root: a folder, or an `s3://`, `gs://` or `abfs://` address; one pipeline in each."""
    passthrough: Literal["all"] | Annotated[tuple[str, ...], FROM_LIST] = ()
    """Input columns that are carried along, in this order, or `all`."""
    single_file: bool = False
    """Whether predictions.parquet is one file instead of a folder of parts; the same rows in the same order."""
    mode: str = Field(default="0644", pattern=r"^0?[67][0-7][0-7]$")
    """Permissions of the files, in octal and in quotes; folders get `x` where that has `r`; file systems only."""
    notify: Annotated[MarkerOptions | WebhookOptions, Field(discriminator="kind")] | None = None
    """What happens once a date is published or released; it never changes the exit code."""


def open_root(url: str, mode: str = "0644") -> Root:
    """Return the output root at a path or an address.

    Raises:
        ConfigError: When the address is of an unknown kind.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return FileRoot(url, int(mode, 8))
    if scheme not in SCHEMES:
        raise ConfigError(
            f"output.path '{url}' has the unknown scheme '{scheme}'",
            slug="SCHEME",
            remedy="write a path, or an address that begins with s3://, gs:// or abfs://",
        )
    from batchscore.store.objects import ObjectRoot

    return ObjectRoot(url)


def open_store(url: str, mode: str = "0644") -> Store:
    """Return the store at a path or an address; nothing is read or written yet.

    Args:
        url: A folder, or an `s3://`, `gs://` or `abfs://` address.
        mode: Permissions of the files, in octal.

    Raises:
        ConfigError: When the address is of an unknown kind.
    """
    return Store(open_root(url, mode))


@dataclass(frozen=True)
class Store:
    """The published runs of one pipeline, and the work on them; travels by pickle."""

    root: Root
    """Where it is kept."""

    @property
    def url(self) -> str:
        """Where it is kept, as configured."""
        return self.root.url

    def probe(self) -> None:
        """Refuse a place that can not keep the promise (`ConfigError`); tried once per place and client version."""
        self.root.probe()

    def claim_pipeline(self, pipeline: str) -> None:
        """Keep the root for one pipeline.

        Raises:
            ConfigError: When another one has it.
        """
        claim = put_once(self.root, layout.PIPELINE, seal({"pipeline": pipeline}))
        self._refuse_other(unseal(claim, source=self.root.shown(layout.PIPELINE))["pipeline"], pipeline)

    def check_writable(self) -> None:
        """Refuse a folder that can not be written, without writing: `posix.check_writable`; a store's rights show later.

        Raises:
            StorageFailed: When it can not be written.
        """
        if not self.root.flat:
            check_writable(Path(self.url, layout.COMMITS))

    def check_pipeline(self, pipeline: str) -> None:
        """Look whose root it is, and change nothing; one that nobody has claimed is anybody's.

        Raises:
            ConfigError: When another pipeline has it.
        """
        try:
            owner = read_sealed(self.root, layout.PIPELINE)[0]["pipeline"]
        except FileNotFoundError:
            return
        self._refuse_other(owner, pipeline)

    def _refuse_other(self, owner: str, pipeline: str) -> None:
        if owner != pipeline:
            raise ConfigError(
                f"output.path '{self.url}' belongs to the pipeline '{owner}', not to '{pipeline}'",
                slug="OTHER-PIPELINE",
                remedy="give each pipeline an `output.path` of its own",
            )

    def keep_event(self, date: str, name: str, data: bytes) -> None:
        """Keep an event of a run of the date; it is part of no published run."""
        self.root.create(layout.event(date, name), data)

    def compiled(self, name: str) -> Mapping[str, Any] | None:
        """Return the record of a compiled model: its digest, or why there is none; None when nobody tried.

        Raises:
            StateDamaged: When the record is damaged.
        """
        try:
            return read_sealed(self.root, layout.compiled(name))[0]
        except FileNotFoundError:
            note = layout.compiling(name)
            why = f"a first try has not ended, or was stopped or killed ({self.root.shown(note)} notes it)"
            return {"why": why} if is_there(self.root, note) else None

    def begin_compiling(self, name: str) -> bool:
        """Note that a model is being compiled, so that it is tried once whatever becomes of that; False when it was."""
        return probe.creates(self.root, layout.compiling(name), b"begun\n")

    def compiled_path(self, name: str, sha256: str) -> str:
        """Return where a compiled model of this name and digest lies."""
        return self.root.shown(layout.compiled(name, sha256))

    def keep_compiled(self, name: str, record: Mapping[str, Any], content: bytes) -> None:
        """Keep a compiled model, then the record of its digest; the first record of a name stands.

        Args:
            name: Its name.
            record: `model_sha256` with what is told of it, or `why` alone when the model does not compile.
            content: The compiled model; empty when there is none.
        """
        if content:
            self.root.create(layout.compiled(name, record["model_sha256"]), content)
        put_once(self.root, layout.compiled(name), seal(record))

    def head(self, date: str) -> Commit | None:
        """Return the newest commit of a date; None when nothing is published."""
        return commits.head(self.root, date)

    def commits(self, date: str) -> tuple[Commit, ...]:
        """Return all commits of a date, oldest first."""
        return commits.commits(self.root, date)

    def dates(self) -> tuple[str, ...]:
        """Return the dates that are published, ascending."""
        return commits.dates(self.root)

    def settle(self, plan: Plan, *, republish: bool = False) -> tuple[Commit | None, bool]:
        """Say where a date stands before anything is scored: `settle.settle`."""
        return settle.settle(self.root, plan, republish=republish)

    def is_extended(self, commit: Commit, plan: Plan) -> bool:
        """Whether a commit is what the plan would publish, and rows set aside besides: `settle.is_extended`."""
        return settle.is_extended(self.root, commit, plan)

    def waiting(self, plan: Plan) -> HeldRun | None:
        """Return the held run of the same plan that waits, if any: `held.waiting`."""
        return held.waiting(self.held(plan.date), plan.input_id)

    def lease(self, date: str, me: Holder) -> AbstractContextManager[None]:
        """Hold a date while a block runs: `lease.leased`."""
        return lease.leased(self.root, date, me)

    def work(self, plan: Plan) -> WorkFolder:
        """Return the work folder of a plan."""
        return WorkFolder(root=self.root, date=plan.date, plan_id=plan.plan_id)

    def publish(self, publication: Publication, parent: Commit | None) -> Commit:
        """Publish a run: `publish.publish`."""
        return publish.publish(self.root, publication, parent)

    def overtaken(self, plan: Plan, parent: Commit | None) -> Commit | None:
        """Return the commit of another run of the same plan that was first: `publish.overtaken`."""
        return publish.overtaken(self.root, plan, parent)

    def hold(
        self, publication: Publication, parent: Commit | None, *, why: str, gates: tuple[Mapping[str, Any], ...] = ()
    ) -> HeldRun:
        """Set a run aside: `held.hold`."""
        return held.hold(self.root, publication, parent, why=why, gates=gates)

    def held(self, date: str) -> tuple[HeldRun, ...]:
        """Return the held runs of a date, oldest first, with what became of them."""
        return held.held_runs(self.root, date)

    def held_dates(self) -> tuple[str, ...]:
        """Return the dates that have held runs, whatever became of them, ascending."""
        return self.root.folders(layout.HELD)

    def release(self, date: str, *, by: str, reason: str) -> Commit:
        """Publish the newest open held run: `held.release`."""
        return held.release(self.root, date, by=by, reason=reason)

    def discard(self, date: str, *, by: str, reason: str) -> HeldRun:
        """Drop the newest open held run: `held.discard`."""
        return held.discard(self.root, date, by=by, reason=reason)

    def published(self, date: str, revision: int | None = None) -> Published:
        """Return a published run to read from: `read.resolve`."""
        return read.resolve(self.root, date, revision)

    def verify(self, date: str) -> Verification:
        """Hash everything of a date: `verify.verify`."""
        return verify.verify(self.root, date)

    def garbage(self, *, now: float, days: float = 7, models: Collection[str] | None = None) -> tuple[Garbage, ...]:
        """Return what can be removed: `clean.find_garbage`."""
        return clean.find_garbage(self.root, now=now, days=days, models=models)

    def collect(self, garbage: tuple[Garbage, ...]) -> None:
        """Remove garbage: `clean.collect`."""
        clean.collect(self.root, garbage)

    def is_told(self, commit: Commit) -> bool:
        """Whether others were notified of a commit: `keep_told`."""
        return is_there(self.root, layout.told(commit.date, commit.number))

    def keep_told(self, commit: Commit) -> None:
        """Note that others were notified of a commit, so that they are not notified again for ever."""
        put_once(self.root, layout.told(commit.date, commit.number), seal({"commit_sha256": commit.sha256}))

    def prune(self, commit: Commit) -> None:
        """Remove the finished work of a commit: `clean.prune`."""
        clean.prune(self.root, commit)


__all__ = [
    "STATE",
    "Commit",
    "Garbage",
    "HeldRun",
    "Holder",
    "MarkerOptions",
    "OutputOptions",
    "Problem",
    "Publication",
    "Published",
    "Store",
    "Verification",
    "WebhookOptions",
    "WorkFolder",
    "holder",
    "notify",
    "open_store",
    "read_published",
    "seal",
    "unseal",
]
