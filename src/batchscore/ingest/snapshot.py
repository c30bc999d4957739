"""Which snapshot: the options, the path of a date, and waiting until it is there."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Callable
from datetime import date as Date  # noqa: N812 - `date` is what the functions take
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from batchscore import sources
from batchscore.errors import ConfigError, SnapshotMissing
from batchscore.logs import logger
from batchscore.strict import Section

_FIELD = re.compile(r"\{([^{}]*)\}")
_CODES: dict[str, Callable[[Date], str]] = {
    "Y": lambda day: f"{day.year:04d}",
    "m": lambda day: f"{day.month:02d}",
    "d": lambda day: f"{day.day:02d}",
    "y": lambda day: f"{day.year % 100:02d}",
    "j": lambda day: f"{day.timetuple().tm_yday:03d}",
    "G": lambda day: f"{day.isocalendar().year:04d}",
    "V": lambda day: f"{day.isocalendar().week:02d}",
    "u": lambda day: str(day.isoweekday()),
    "F": lambda day: day.isoformat(),
}
_POLL_SECONDS = 15.0

_log = logger(__name__)


class SnapshotOptions(Section):
    """`snapshot`: where the rows of a date are, and what must hold before they are read."""

    path: str = Field(min_length=1)
    """A file, or a directory of files: all in and below it whose names begin with neither `.` nor `_`;
    a table of Delta Lake or Hudi, or a partition of one, is refused. `{date}` or `{date:%Y_%m_%d}` is the only field, and may be absent."""
    id: str = Field(min_length=1)
    """The column that names a row: unique and not null."""
    extra_columns: Literal["ignore", "fail"] = "ignore"
    """What to do with columns that are neither features, nor the id, nor passed through."""
    allow_empty: bool = False
    """Whether a snapshot of no rows is a result and not an error."""
    ready: str | None = Field(default=None, min_length=1)
    """A file that must be there first: a path (with `{date}`), or a bare name in the directory or beside the file."""
    wait_minutes: float = Field(default=0, ge=0, le=24 * 60)
    """How long to wait for a late snapshot."""

    @field_validator("path", "ready")
    @classmethod
    def _is_template(cls, text: str | None) -> str | None:
        if text is not None:
            resolve(text, Date(2000, 2, 29))
        return text


def resolve(template: str, date: Date) -> str:
    """Put a date into a path template.

    Args:
        template: Text in which `{date}` stands for the ISO date and `{date:…}` for date codes out of
            %Y %m %d %y %j %G %V %u %F, with letters, digits and `_ . = - /` between them.
        date: The snapshot's date.

    Raises:
        ValueError: When the template holds another field, another date code, a lone brace or a NUL,
            or when a field could lead out of its folder.
    """
    if "\0" in template:
        raise ValueError(f"{template!r} holds a NUL character")
    path = _FIELD.sub(lambda field: _substitute(field[1], date), template)
    if "{" in path or "}" in path:
        raise ValueError(f"{template!r} holds a lone brace; the only field is {{date}} or {{date:%Y_%m_%d}}")
    return path


def _substitute(field: str, date: Date) -> str:
    name, colon, codes = field.partition(":")
    if name != "date":
        raise ValueError(f"has the unknown field '{{{field}}}'; the only field is {{date}} or {{date:%Y_%m_%d}}")
    text = _format(codes, date) if colon else date.isoformat()
    if not text or ".." in text or text.startswith("/"):
        raise ValueError(f"has the field '{{{field}}}', which may lead out of its folder")
    return text


def _format(codes: str, date: Date) -> str:
    first, *rest = codes.split("%")
    written = [first]
    for part in rest:
        if part[:1] not in _CODES:
            raise ValueError(f"has the unknown date code '%{part[:1]}'; known are %{' %'.join(_CODES)}")
        written += [_CODES[part[0]](date), part[1:]]
    literals = [first, *(part[1:] for part in rest)]
    if not rest or any(not re.fullmatch(r"[A-Za-z0-9_.=/-]*", text) for text in literals):
        raise ValueError(f"has the field '{{date:{codes}}}', which is not date codes with plain text between them")
    return "".join(written)


def ready_path(options: SnapshotOptions, path: str, date: Date) -> str | None:
    """Return the file that must be there first; None when none is asked for.

    A bare name is looked for in the snapshot's directory, or beside the snapshot when that is a file.
    """
    if options.ready is None:
        return None
    name = resolve(options.ready, date)
    if "/" in name:
        return name
    return f"{posixpath.dirname(path) or '.'}/{name}" if _is_file(path) else f"{path.rstrip('/')}/{name}"


def wait_for_snapshot(
    options: SnapshotOptions,
    path: str,
    *,
    date: Date,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return as soon as the snapshot is there, and its ready file if one is asked for.

    Args:
        options: The snapshot's options.
        path: The snapshot's path, with the date filled in.
        date: The snapshot's date.
        clock: Returns seconds; only differences count.
        sleep: Pauses for so many seconds.

    Raises:
        SnapshotMissing: When it is not there after `wait_minutes`.
    """
    deadline, told = clock() + options.wait_minutes * 60, False
    while missing := _missing(options, path, date):
        left = deadline - clock()
        if left <= 0:
            waited = f" after {options.wait_minutes:g} minutes" if options.wait_minutes else ""
            raise SnapshotMissing(
                f"{missing}{waited}",
                slug="NOT-READY" if missing.startswith("the ready") else "NOT-FOUND",
                remedy="wait for the producer, or set snapshot.wait_minutes",
                path=sources.redact(path),
            )
        if not told:
            _log.info("waiting for the snapshot", why=missing, minutes=options.wait_minutes)
            told = True
        sleep(min(left, _POLL_SECONDS))


def _missing(options: SnapshotOptions, path: str, date: Date) -> str | None:
    ready = ready_path(options, path, date)
    if ready is not None and not _is_file(ready):
        return f"the ready file '{sources.redact(ready)}' is not there"
    try:
        found = [file for file in sources.list_files(path) if file.path != ready]
    except FileNotFoundError as error:  # it vanished while it was listed, or a symlink leads nowhere: not settled yet
        return f"the file '{sources.redact(str(error.filename or path))}' of the snapshot is not there"
    if found:
        return None
    there = "holds no file" if _is_folder(path) else "is not there"
    return f"the snapshot '{sources.redact(path)}' {there}"


def _is_folder(path: str) -> bool:
    return not sources.is_remote(path) and Path(path).is_dir()


def _is_file(path: str) -> bool:
    try:
        sources.stat(path)
    except FileNotFoundError:
        return False
    except ConfigError:  # a directory
        return False
    return True
