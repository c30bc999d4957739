"""docs/exit-codes.md, from the one table of exit codes and the tree of errors."""

from __future__ import annotations

from batchscore.errors import EXIT_CODES, ExitCode, error_classes

HEAD = """\
# Exit codes

This page is generated from the table in the code: `make docs`.

| Code | Name | Meaning | Again? | What to do first |
|---:|---|---|---|---|
"""

TAIL = """
*Again?* says whether the same command may succeed later without anybody changing anything.
0–9 say how a command ended, 10–19 need a person, 20–29 need time, and codes above 128 are signals.
Whatever the code, a date is either published as a whole or as it was before: running the same command again is always safe.

## What is printed

One sentence, the remedy, and what was not changed, on stderr:

```text
error[E-USAGE-DATE]: --date 'yesterday' is not a date
help: write it as YYYY-MM-DD, such as 2013-02-08
Nothing was published.
```

The id in brackets is stable and means one thing: `E`, the family of the code, the cause.
With `--json` the same stands as one document on stdout: `error`, `exit_code`, `message`, `help`, `context`.
A command line that can not be parsed at all is code 2 as well, and prints the usage instead.

| Code | Family | Raised for |
|---:|---|---|
"""

SIGNALS = """
## When the process died: 137, 139 and their like

No line is printed then, because there was no process left to print one.

| Seen | Signal | What it usually was |
|---|---|---|
| 137, `Killed` | SIGKILL (9) | the kernel's or the container's memory limit; or somebody's `kill -9`, or a grace period that ran out |
| 139, `Segmentation fault` | SIGSEGV (11) | native code of a library crashed; a model or a file that a library can not handle |
| 134, `Aborted` | SIGABRT (6) | native code of a library gave up |

Python and systemd show the same deaths as -9, -11 and -6, or as the signal's name.

With `cluster.kind: local` and threads, the default, the workers are threads of the one process: a segfault or an out-of-memory row in any partition ends the whole command with 139 or 137.
With `cluster.processes: true` a worker dies alone: its partition is tried again elsewhere, and after `cluster.task_deaths` workers it ends the run with 24 and names the partition.
So to find the row behind a 139, run the same date with `--set cluster.processes=true`, or the first rows with `--limit`.

Nothing was published by a run that died, unless it died after its commit; finished partitions are kept and the next run resumes.
Its lease falls at once on the same host, and after 30 seconds elsewhere.

## Who tries again

A scheduler tries again on every code that is not 0, 2, 3 or 10–19, with a pause and an end; `docs/scheduling.md` has examples.

On Kubernetes the chart's `podFailurePolicy` does: {failing} fail the Job at once; evictions and drains are not counted; every other code counts against `job.backoffLimit`.
So {retried}, 137 and 139 are tried again there.
1 is among them because a bug may depend on the moment; a second 1 is one to report.
"""


def page() -> str:
    """Return the whole page."""
    codes = "".join(f"{_row(row)}\n" for row in EXIT_CODES)
    families = "".join(f"| {cls.exit_code} | `E-{cls.family}-…` | {_first_line(cls)} |\n" for cls in error_classes())
    failing = [row.code for row in EXIT_CODES if row.code and not row.retriable]
    retried = [row.code for row in EXIT_CODES if row.retriable]
    signals = SIGNALS.format(failing=_and(failing), retried=", ".join(map(str, retried)))
    return HEAD + codes + TAIL + families + signals


def _row(row: ExitCode) -> str:
    again = "" if row.code == 0 else "yes" if row.retriable else "no"
    return f"| {row.code} | {row.name} | {row.meaning} | {again} | {row.remedy} |"


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").splitlines()[0]


def _and(codes: list[int]) -> str:
    return ", ".join(map(str, codes[:-1])) + f" and {codes[-1]}"
