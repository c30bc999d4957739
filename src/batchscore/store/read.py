"""Reading what was published: resolve a date once, then verify every byte before it is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - as in layout
from typing import TYPE_CHECKING, Any, Literal

from batchscore.errors import UsageError
from batchscore.store import layout
from batchscore.store.commits import Commit, commits, head
from batchscore.store.root import Root
from batchscore.store.sealed import damaged, read_checked, unseal

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

_TAIL = 64 * 1024
"""The end of a file that is read to find its footer."""


@dataclass(frozen=True)
class Published:
    """One published run: it stays the same, whatever is published after it was resolved."""

    root: Root
    """The output root."""
    commit: Commit
    """Its commit."""

    def document(self, name: str) -> dict[str, Any]:
        """Return one of the run's JSON files, such as `summary_metrics.json`.

        Raises:
            StateDamaged: When it is not the file that was committed.
        """
        key = layout.run(self.commit.run, name)
        data = read_checked(self.root, key, self.commit.document_sha256(name))
        return unseal(data, source=self.root.shown(key))

    def files(self, kind: str = layout.PREDICTIONS) -> dict[str, tuple[str, int]]:
        """Return the data files of one kind by path, in row order, with sha256 and size.

        Args:
            kind: `predictions.parquet` or `quarantine.parquet`.
        """
        declared = layout.published_files(self.document(layout.MANIFEST))
        return {path: facts for path, facts in declared.items() if path.split("/")[0] == kind}

    def read(self, path: str, sha256: str) -> bytes:
        """Return the bytes of one of the run's files.

        Raises:
            StateDamaged: When they do not have that digest.
        """
        return read_checked(self.root, layout.run(self.commit.run, path), sha256)

    def footer(self, path: str, size: int) -> pq.FileMetaData:
        """Return the parquet footer of one of the run's files, of which nothing else is read and no byte checked.

        Args:
            path: The file, as `files` has it.
            size: Its bytes, as `files` has them.

        Raises:
            StateDamaged: When there is no footer at its end.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        key = layout.run(self.commit.run, path)
        try:
            tail = self.root.read(key, max(size - _TAIL, 0), size)
            wanted = int.from_bytes(tail[-8:-4], "little") + 8
            tail = tail if wanted <= len(tail) else self.root.read(key, size - wanted, size)
            return pq.read_metadata(pa.BufferReader(tail))
        except (pa.ArrowException, OSError, ValueError):
            raise damaged(self.root.shown(key), "it has no footer of a parquet file") from None

    def table(self, kind: str = layout.PREDICTIONS, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of one kind, in input order.

        Args:
            kind: `predictions.parquet` or `quarantine.parquet`.
            columns: The columns to read; all by default.

        Raises:
            StateDamaged: When a file is not the one that was committed.
            UsageError: When the run has no rows of that kind.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = None if columns is None else list(columns)
        files = self.files(kind)
        tables = [
            pq.ParquetFile(pa.BufferReader(self.read(path, sha256)), page_checksum_verification=True).read(names)
            for path, (sha256, _) in files.items()
        ]
        if not tables:
            raise UsageError(
                f"{self.commit.date} has no {kind}",
                slug="NO-ROWS",
                remedy="`batchscore show` tells what a run set aside",
            )
        return pa.concat_tables(tables)


def resolve(root: Root, date: str, revision: int | None = None) -> Published:
    """Return the published run of a date.

    Args:
        root: The output root.
        date: The date, ISO.
        revision: Which revision; the newest by default.

    Raises:
        UsageError: When there is none.
    """
    chosen = head(root, date) if revision is None else None
    if revision is not None:
        chosen = next((commit for commit in commits(root, date) if commit.number == revision), None)
    if chosen is None:
        raise not_published(root, date if revision is None else f"revision {revision} of {date}")
    return Published(root, chosen)


def not_published(root: Root, what: str) -> UsageError:
    """Return the error of a date, or a revision of it, that is not published."""
    return UsageError(
        f"{what} is not published in '{root.url}'",
        slug="NOT-PUBLISHED",
        remedy="`batchscore runs` lists what is published",
    )


def read_published(
    output: str, date: str | Date, *, engine: Literal["pandas", "arrow"] = "pandas", revision: int | None = None
) -> pd.DataFrame | pa.Table:
    """Read the predictions of a published date, verified, and never a mixture of two revisions.

    Args:
        output: The output root: a path, or an `s3://`, `gs://` or `abfs://` address.
        date: The date: ISO text, or a `datetime.date`.
        engine: `pandas` for a DataFrame, `arrow` for a `pyarrow.Table`.
        revision: Which revision; the newest by default.

    Returns:
        All rows, in input order.

    Raises:
        UsageError: When the date is not published, or the engine is not known.
        StateDamaged: When a file is not the one that was published.
    """
    from batchscore.store import open_root

    if engine not in ("pandas", "arrow"):
        raise UsageError(f"engine {engine!r} is not known", slug="ENGINE", remedy="choose 'pandas' or 'arrow'")
    date = date.isoformat() if isinstance(date, Date) else date
    table = resolve(open_root(output), date, revision).table()
    return table if engine == "arrow" else table.to_pandas()
