"""Answers that score and publish, or drop."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from typing import TYPE_CHECKING

from batchscore import logs, text
from batchscore.answers.asking import (
    asked_day,
    login,
    parse_day,
    parse_run_type,
    published_answer,
    request_of,
    shown_progress,
)
from batchscore.check import check_date
from batchscore.config import RunConfig, load_config
from batchscore.errors import UsageError
from batchscore.gather import job_of, score_all
from batchscore.model import ModelOptions
from batchscore.publication import Request
from batchscore.run import (
    Result,
    check_totals,
    look_at_output,
    open_output,
    private_execution,
    prune,
    publish_privately,
)
from batchscore.run import run as run_date
from batchscore.store import holder
from batchscore.telling import tell_discarded, tell_released
from batchscore.text import Answer, Given

if TYPE_CHECKING:
    from batchscore.backfill import Filled


def run(
    given: Given,
    given_date: str,
    *,
    republish: bool,
    reason: str | None,
    run_type: str | None,
    by: str | None,
) -> Answer:
    """Score one date and publish it."""
    _need_reason(republish=republish, reason=reason)
    config = load_config(given.files, given.overrides)
    asked = asked_day(given_date, config)
    run_id = secrets.token_hex(16)
    request = Request(
        config=config,
        day=asked.day,
        run_id=run_id,
        run_type=asked.run_type if run_type is None else parse_run_type(run_type),
        holder=holder(run_id, job=os.environ.get("BATCHSCORE_JOB_UID", ""), attempt=asked.attempt),
        by=by or login(),
        reason=reason,
        republish=republish,
        attempt=asked.attempt,
    )
    with shown_progress() as progress:
        result = run_date(request, time.time, progress)
    nothing_new = f"{given_date} is published already, from the same inputs (revision {result.commit.number})"
    return _result_answer(given, config, result, nothing_new)


def rescore_quarantine(
    given: Given,
    given_date: str,
    *,
    source: str | None,
    reason: str | None,
    by: str | None,
) -> Answer:
    """Score the rows that a published date set aside, and publish a revision that adds them."""
    from batchscore.rescoring import rescore_quarantine as rescore_rows

    config = load_config(given.files, given.overrides)
    if source is not None and {"{", "}"} & set(source):
        raise UsageError(f"--from {source!r} holds a brace", slug="FROM", remedy="name a file or a folder as it is")
    request = replace(request_of(config, given_date), run_type="manual", by=by or login(), reason=reason)
    with shown_progress() as progress:
        result = rescore_rows(request, source, time.time, progress)
    nothing_new = " and ".join(result.warnings)
    answer = _result_answer(given, config, replace(result, warnings=()), nothing_new)
    if result.status == "unchanged":
        return answer
    rows = answer.document["metadata"]["rescored"]["rows"]
    told = (
        f"rescored {rows['scored']:,} of the {text.counted(rows['aside'], 'row')} that revision {result.commit.number - 1} set aside;"
        f" {rows['still_aside']:,} stay set aside"
    )
    return replace(answer, text=f"{told}\n\n{answer.text}")


def _result_answer(given: Given, config: RunConfig, result: Result, nothing_new: str) -> Answer:
    store = open_output(config)
    answer = published_answer(given, config, store, result.commit)
    resumed = (
        [f"reused {result.reused} of {text.counted(result.partitions, 'partition')}, finished by an earlier attempt"]
        if result.reused
        else []
    )
    already = [f"{nothing_new}: nothing to do", ""] if result.status == "unchanged" else []
    notes = [f"note: {warning}" for warning in result.warnings] if already else []
    return Answer(
        text="\n".join([*already, *notes, *resumed, answer.text]),
        document={"status": result.status, "reused_partitions": result.reused, **answer.document},
    )


def limited(given: Given, given_date: str, limit: int) -> Answer:
    """Score the first rows of a date in a private place and publish nothing."""
    from batchscore.prove import private_store

    config = load_config(given.files, given.overrides)
    checked = check_date(config, parse_day(given_date))
    tried = replace(checked, plan=checked.plan.limited(limit))
    request = request_of(config, given_date)
    with private_store() as store, shown_progress() as progress:
        execution = private_execution(request, time.time)
        totals = score_all(tried, job_of(tried, store, request.run_id), execution, progress)
        check_totals(tried, store, totals)
        published = publish_privately(request, tried, totals, store, execution)
        summary, table = published.document("summary_metrics.json"), published.table()
    shown = table.slice(0, 10).to_pylist()
    rows = summary["rows"]
    lines = [
        (
            f"the first {rows['read']:,} of {text.counted(checked.plan.rows, 'row')}: {rows['scored']:,} scored, {rows['rejected']:,} set"
            f" aside, {rows['flagged']:,} flagged; nothing was published"
        ),
        "",
        *text.table([[text.verbatim(value) for value in row.values()] for row in shown], table.column_names),
    ]
    return Answer(text="\n".join(lines), document={"status": "tried", "summary": summary, "first_rows": shown})


def release(given: Given, given_date: str, *, reason: str, by: str | None) -> Answer:
    """Publish the newest held run of a date."""
    config = load_config(given.files, given.overrides)
    store = open_output(config)
    day = parse_day(given_date).isoformat()
    before = store.commits(day)
    commit = store.release(day, by=by or login(), reason=reason)
    prune(store, commit)
    tell_released(config, store, commit, time.time())
    answer = published_answer(given, config, store, commit)
    is_old = commit in before
    what = f"released before, by {commit.by}" if is_old else "released"
    return Answer(
        text=f"{what}: {commit.reason}\n\n{answer.text}",
        document={"status": "released", "released_before": is_old, **answer.document},
    )


def discard(given: Given, given_date: str, *, reason: str, by: str | None) -> Answer:
    """Drop the newest held run of a date."""
    config = load_config(given.files, given.overrides)
    store = open_output(config)
    held = store.discard(parse_day(given_date).isoformat(), by=by or login(), reason=reason)
    tell_discarded(config, store, held)
    return Answer(
        text=f"discarded the held run {held.number} of {given_date}: {reason}; what was published before stays",
        document={"status": "discarded", "held": held.number, "run": held.commit.run},
    )


def gc(given: Given, *, days: float, delete: bool) -> Answer:
    """List, or remove, what no commit and no held run needs."""
    config = load_config(given.files, given.overrides)
    store = open_output(config) if delete else look_at_output(config)
    models = [config.model] if isinstance(config.model, ModelOptions) else config.model
    found = store.garbage(now=time.time(), days=days, models={model.sha256 for model in models})
    if delete:
        store.collect(found)
    done = "removed" if delete else "would be removed; --delete removes them"
    rows = [(item.key, text.size(item.bytes), item.why) for item in found]
    total = f"{text.counted(len(found), 'item')}, {text.size(sum(item.bytes for item in found))} {done}"
    nothing = f"nothing to remove: no orphan that was left alone for {days:g} days"
    lines = [*text.table(rows), total if found else nothing]
    return Answer(text="\n".join(lines), document={"deleted": delete, "items": [asdict(item) for item in found]})


def fill_dates(
    given: Given,
    first: str,
    last: str,
    *,
    everything: bool,
    at_once: int,
    keep_going: bool,
    republish: bool,
    reason: str | None,
    by: str | None,
) -> Answer:
    """Run the dates of a range that are missing, or all of them, and tell of each."""
    from batchscore.backfill import Filled, OwnProcesses, backfill, due_dates, guarded

    _need_reason(republish=republish, reason=reason)
    if republish and not everything:
        raise UsageError(
            "--republish needs --all: without it only dates that are not published yet are run",
            slug="REPUBLISH-ALL",
            remedy="give --all too",
        )
    config = load_config(given.files, given.overrides)
    begin, end = parse_day(first, "--from"), parse_day(last, "--to")
    if end < begin:
        raise UsageError(
            f"--to {last} is before --from {first}", slug="RANGE", remedy="give the earlier date to --from"
        )
    published = set(open_output(config).dates())
    due = list(due_dates(config.schedule, begin, end))
    dates = [day for day in due if everything or day.isoformat() not in published]
    who = by or login()
    told = {"--by": who, "--reason": reason, "--run-type": "backfill"}
    options = [f"{name}={value}" for name, value in told.items() if value is not None]
    options += [f"--config={path}" for path in given.files] + [f"--set={text}" for text in given.overrides]
    options += ["--republish"] if republish else []
    options += logs.as_options()

    def here(day: date) -> Filled:
        request = replace(
            request_of(config, day.isoformat()), run_type="backfill", by=who, reason=reason, republish=republish
        )
        with shown_progress() as progress:
            result = run_date(request, time.time, progress)
        rows = open_output(config).published(day.isoformat()).document("summary_metrics.json")["rows"]["scored"]
        return Filled(date=day.isoformat(), status=result.status, rows=rows, revision=result.commit.number)

    apart = OwnProcesses(options)
    fill = guarded(here) if at_once == 1 else apart.fill
    filled = backfill(dates, fill, at_once=at_once, keep_going=keep_going, stop=apart.stop)
    return _filled_answer(filled, skipped=len(due) - len(dates))


def _need_reason(*, republish: bool, reason: str | None) -> None:
    if republish and not reason:
        raise UsageError("--republish needs --reason", slug="REASON", remedy="say why: --reason 'late rows arrived'")


def _filled_answer(filled: Sequence[Filled], *, skipped: int) -> Answer:
    rows = [(each.date, each.status, each.revision, each.rows, each.exit_code or None, each.message) for each in filled]
    counted = Counter(each.status for each in filled)
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counted.items())) or "nothing to do"
    lines = text.table(rows, ("date", "state", "rev", "rows", "code", "error")) if rows else []
    return Answer(
        text="\n".join([*lines, f"{summary}; {skipped} were published before"]),
        document={"dates": [asdict(each) for each in filled], "published_before": skipped},
        exit_code=next((each.exit_code for each in filled if each.exit_code), 0),
    )
