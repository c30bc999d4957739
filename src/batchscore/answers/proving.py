"""Answers that prove or compare."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchscore import text
from batchscore.answers.asking import parse_day, request_of, shown_progress, write_file
from batchscore.config import load_config
from batchscore.errors import StateDamaged, UsageError
from batchscore.gate import LEAST_BASELINE_RUNS
from batchscore.run import look_at_output
from batchscore.store import Published, Store
from batchscore.text import Answer, Given

if TYPE_CHECKING:
    from batchscore.compare import Run
    from batchscore.page import Damaged, Day, Reject


def verify(given: Given, given_date: str) -> Answer:
    """Hash everything of a date again and walk its commits."""
    config = load_config(given.files, given.overrides)
    found = look_at_output(config).verify(parse_day(given_date).isoformat())
    problems = [asdict(problem) for problem in found.problems]
    counted = ", ".join(
        [text.counted(found.files, "file"), text.size(found.bytes), text.counted(found.revisions, "revision")]
    )
    if not problems:
        return Answer(
            text=f"VERIFIED {given_date}: {counted}; every byte is what was published", document={"verified": True}
        )
    lines = [f"DAMAGED {given_date}: {text.counted(len(problems), 'problem')} in {counted}"]
    lines += [f"  {problem['path']}: {problem['fact']}" for problem in problems]
    return Answer(text="\n".join(lines), document={"verified": False, "problems": problems}, exit_code=3)


def replay(
    given: Given,
    given_date: str,
    revision: int | None,
    *,
    reference: bool = False,
) -> Answer:
    """Score a published date again and compare."""
    from batchscore.prove import replay as replay_run

    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    published = store.published(parse_day(given_date).isoformat(), revision)
    with shown_progress() as progress:
        found = replay_run(request_of(config, given_date), store, published, time.time, progress, reference=reference)
    by = f"; scored by {'a compiled model' if found.way['used'] else 'the artifact itself'}"
    base = (
        f"; {found.taken_over} more {'is' if found.taken_over == 1 else 'are'} of an earlier revision"
        if found.taken_over
        else ""
    )
    causes = [f"  the plan differs in {cause}" for cause in found.causes]
    document = {**asdict(found), "same": found.mismatch is None}
    if found.mismatch is None:
        proven = (
            "byte for byte"
            if found.same_bytes == found.parts
            else f"in every value ({found.parts - found.same_bytes} of them in other bytes)"
        )
        return Answer(
            text="\n".join([f"SAME {given_date}: {text.counted(found.parts, 'part')}, {proven}{base}{by}", *causes]),
            document=document,
        )
    first = found.mismatch
    lines = [
        (
            f"DIFFERENT {given_date}: partition {first.partition}, row {first.row_id!r}, column '{first.column}':"
            f" published {first.published!r}, now {first.replayed!r}{by}"
        ),
        *(causes or ["  the plan is the same: the same inputs and versions gave another result on this machine"]),
    ]
    return Answer(text="\n".join(lines), document=document, exit_code=3)


def diff(given: Given, old: str, new: str, *, exit_code: bool) -> Answer:
    """Compare two published dates or revisions (`2013-02-08@1`)."""
    from batchscore.compare import compare

    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    sides = []
    for side in (old, new):
        day, _, number = side.partition("@")
        sides.append(_side(side, store.published(parse_day(day).isoformat(), _revision(number))))
    found = compare(*sides, id_column=config.snapshot.id)
    return Answer(
        text=text.comparison_text(old, new, found.record()),
        document=found.record(),
        exit_code=3 if exit_code and not found.is_same else 0,
    )


def _side(name: str, published: Published) -> Run:
    """Return a published run as one side of a comparison."""
    from batchscore.compare import Run
    from batchscore.postprocess import made_columns
    from batchscore.prove import recorded_config

    options, table = recorded_config(published).postprocess, published.table()
    return Run(
        name=name,
        table=table,
        decided=made_columns(options, table.column_names),
        flag=options.flag if options.threshold is not None else None,
        summary=published.document("summary_metrics.json"),
        plan=published.document("manifest.json")["plan"],
    )


def _revision(text: str) -> int | None:
    if text and not text.isdecimal():
        raise UsageError(f"revision {text!r} is no number", slug="REVISION", remedy="write a revision as 2013-02-08@1")
    return int(text) if text else None


def report(given: Given, given_date: str | None, *, history: bool, output: str | None, runbooks: str | None) -> Answer:
    """Write the HTML page of a published date, or of the last dates."""
    from batchscore.page import SHOWN_DATES, Damaged, render_history, render_report

    if history == (given_date is not None):
        raise UsageError("report takes --date, or --history", slug="REPORT", remedy="give one of the two")
    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    shown = [day for day in store.dates() if given_date is None or day <= given_date][-SHOWN_DATES:]
    days = [_day_of(store, day) for day in shown]
    if given_date is None:
        content, name = render_history(config.pipeline, config.environment, days), f"{config.pipeline}-history.html"
    else:
        published = store.published(parse_day(given_date).isoformat())
        documents = [published.document(name) for name in ("summary_metrics.json", "metadata.json", "manifest.json")]
        rejects = _rejects(published, config.snapshot.id)
        content = render_report(documents[0], documents[1], documents[2], days, rejects=rejects, runbooks=runbooks)
        name = f"{config.pipeline}-{given_date}.html"
    path = output or name
    write_file(path, content, config)
    damaged = {day.date: day.why for day in days if isinstance(day, Damaged)}
    lines = [f"{day} is not drawn: {why}" for day, why in damaged.items()]
    return Answer(
        text="\n".join([*lines, f"written: {path} ({text.size(len(content.encode()))})"]),
        document={"path": path, "damaged": damaged},
        exit_code=StateDamaged.exit_code if damaged and given_date is None else 0,
    )


def _day_of(store: Store, day: str) -> Day | Damaged:
    """Return a date to draw; one that is damaged must not hide the others."""
    from batchscore.page import Damaged, Day

    try:
        published = store.published(day)
        metadata, summary = published.document("metadata.json"), published.document("summary_metrics.json")
    except StateDamaged as error:
        return Damaged(date=day, why=error.message)
    verdict = next(found for found in metadata["gates"] if found["gate"] == "volume")
    volume = metadata["volume"]
    return Day(
        date=day,
        rows=summary["rows"]["scored"],
        baseline=volume["baseline_rows"],
        deviation=volume["deviation_rows"] if volume["runs"] >= LEAST_BASELINE_RUNS else None,
        known=day in metadata["config"]["volume"]["ignore_dates"],
        breach="" if verdict["verdict"] == "pass" else verdict["message"],
    )


def _rejects(published: Published, id_column: str) -> list[Reject]:
    from batchscore.page import Reject

    if not published.files("quarantine.parquet"):
        return []
    rows = published.table("quarantine.parquet", [id_column, "source_file", "row_number", "reasons"]).to_pylist()
    return [
        Reject(id=str(row[id_column]), file=row["source_file"], row=row["row_number"], reasons=tuple(row["reasons"]))
        for row in rows
    ]
