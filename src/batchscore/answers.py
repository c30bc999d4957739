"""What each command does, and what it answers: from the options of the command line to an `Answer`."""

from __future__ import annotations

import getpass
import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from batchscore import text
from batchscore.check import Checked, check_date, load_schema, verify_model
from batchscore.config import RunConfig, load_config
from batchscore.errors import UsageError
from batchscore.judge import baseline_of, volume_record
from batchscore.logs import logger
from batchscore.plan import differences
from batchscore.run import Progress, Request, open_output, run_privately
from batchscore.run import run as run_date
from batchscore.store import Commit, Store, holder
from batchscore.text import Answer

_log = logger(__name__)


def parse_day(given: str) -> date:
    """Parse an ISO date.

    Raises:
        UsageError: When the text is no ISO date.
    """
    try:
        day = date.fromisoformat(given)
    except ValueError:
        day = None
    if day is None or day.isoformat() != given:
        raise UsageError(
            f"--date {given!r} is not a date", slug="DATE", remedy="write it as YYYY-MM-DD, such as 2013-02-08"
        )
    return day


def run(
    config_files: Sequence[str],
    given_date: str,
    overrides: Sequence[str],
    *,
    republish: bool,
    reason: str | None,
    run_type: str | None,
    by: str | None,
) -> Answer:
    """Score one date and publish it."""
    if republish and not reason:
        raise UsageError("--republish needs --reason", slug="REASON", remedy="say why: --reason 'late rows arrived'")
    config = load_config(config_files, overrides)
    run_id = secrets.token_hex(16)
    request = Request(
        config=config,
        day=parse_day(given_date),
        run_id=run_id,
        run_type=run_type,
        holder=holder(run_id),
        by=by or _login(),
        reason=reason,
        republish=republish,
    )
    with _progress() as progress:
        result = run_date(request, time.time, progress)
    store = open_output(config)
    answer = _published(config_files, config, store, result.commit)
    resumed = [f"reused {result.reused} finished partitions of an earlier attempt"] if result.reused else []
    already = (
        [
            f"{given_date} is published already, from the same inputs (revision {result.commit.number}): nothing to do",
            "",
        ]
        if result.status == "unchanged"
        else []
    )
    notes = [f"note: {warning}" for warning in result.warnings] if already else []
    return Answer(
        text="\n".join([*already, *notes, *resumed, answer.text]),
        document={"status": result.status, "reused_partitions": result.reused, **answer.document},
    )


def show(config_files: Sequence[str], given_date: str, revision: int | None) -> Answer:
    """Show one published run."""
    config = load_config(config_files)
    store = open_output(config)
    published = store.published(parse_day(given_date).isoformat(), revision)
    return _published(config_files, config, store, published.commit)


def validate(config_files: Sequence[str], given_date: str | None, overrides: Sequence[str]) -> Answer:
    """Check all that needs no cluster."""
    config = load_config(config_files, overrides)
    if given_date is None:
        schema, _ = load_schema(config)
        model = verify_model(config, schema, date.max)
        facts = [
            ("configuration", "ok"),
            ("schema", f"{schema.name} {schema.version}, {len(schema.features)} features"),
        ]
        facts += [("model", f"{model.name} {model.version}, {model.format}, sha256 {model.sha256[:12]}…: ok")]
        return Answer(text="\n".join(text.pairs(facts)), document={"valid": True, "model": model.record()})
    checked = check_date(config, parse_day(given_date))
    open_output(config)
    lines = text.pairs(_checked_facts(checked))
    return Answer(
        text="\n".join([*lines, "everything that can be checked without a cluster is in order"]),
        document={"valid": True, **_plan_document(checked)},
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on a terminal, and a log line each 10 % elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only terminals need it
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar

        with Bar(
            TextColumn("scoring"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            task = bar.add_task("scoring", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    tenth = 0

    def log(done: int, total: int) -> None:
        nonlocal tenth
        reached = 10 * done // max(total, 1)
        if reached > tenth:
            tenth = reached
            _log.info("progress", rows=done, total=total, percent=10 * reached)

    yield log


def plan(config_files: Sequence[str], given_date: str, overrides: Sequence[str], output: str | None) -> Answer:
    """Show what a run would read, score, write and push."""
    config = load_config(config_files, overrides)
    checked = check_date(config, parse_day(given_date))
    store = open_output(config)
    state, baseline = _state(store, checked), baseline_of(store, checked)
    document = {**_plan_document(checked), "state": state, "volume": volume_record(baseline)}
    if output is not None:
        _write(output, json.dumps(document, indent=2) + "\n")
    target = f"{config.output.path}/{given_date}"
    facts = [
        *_checked_facts(checked),
        ("volume", text.volume_text(checked.plan.rows, volume_record(baseline))),
        ("partitions", f"{len(checked.plan.partitions):,} of about {config.partition.rows:,} rows, {_workers(config)}"),
        ("write", f"{target}/{{predictions.parquet, summary_metrics.json, manifest.json, metadata.json}}"),
        ("push", config.metrics.pushgateway or "nothing: metrics.pushgateway is not set"),
        ("plan", checked.plan.plan_id),
        ("state", state["text"]),
    ]
    return Answer(text="\n".join(text.pairs(facts)), document=document)


def runs(config_files: Sequence[str], last: int) -> Answer:
    """List published dates and revisions, and what is held."""
    config = load_config(config_files)
    store = open_output(config)
    records = [record for day in store.dates()[-last:] for record in _ledger_rows(store, day)]
    records += [record for day in store.held_dates() for record in _held_rows(store, day)]
    header = ("date", "rev", "state", "rows", "flagged", "set aside", "seconds", "model", "type", "by", "why")
    columns = (
        "date",
        "revision",
        "state",
        "rows",
        "flagged",
        "rejected",
        "seconds",
        "model",
        "run_type",
        "by",
        "reason",
    )
    lines = text.table([[record[name] for name in columns] for record in records], header)
    return Answer(text="\n".join(lines) if records else "nothing is published yet", document={"runs": records})


def verify(config_files: Sequence[str], given_date: str) -> Answer:
    """Hash everything of a date again and walk its commits."""
    config = load_config(config_files)
    found = open_output(config).verify(parse_day(given_date).isoformat())
    problems = [asdict(problem) for problem in found.problems]
    counted = f"{found.files:,} files, {text.size(found.bytes)}, {found.revisions} revisions"
    if not problems:
        return Answer(
            text=f"VERIFIED {given_date}: {counted}; every byte is what was published", document={"verified": True}
        )
    lines = [f"DAMAGED {given_date}: {len(problems)} problems in {counted}"]
    lines += [f"  {problem['path']}: {problem['fact']}" for problem in problems]
    return Answer(text="\n".join(lines), document={"verified": False, "problems": problems}, exit_code=3)


def _published(config_files: Sequence[str], config: RunConfig, store: Store, commit: Commit) -> Answer:
    published = store.published(commit.date, commit.number)
    summary, metadata = published.document("summary_metrics.json"), published.document("metadata.json")
    facts = asdict(commit)
    where = f"{config.output.path}/{commit.date}/"
    return Answer(
        text=text.run_text(config_files, facts, summary, metadata, where),
        document={"commit": facts, "path": where, "summary": summary, "metadata": metadata},
    )


def _checked_facts(checked: Checked) -> list[tuple[str, object]]:
    plan, model = checked.plan, checked.model
    size = sum(file.size for file in plan.inputs)
    ignored = f"{len(checked.ignored)}: {', '.join(checked.ignored)}" if checked.ignored else "none"
    return [
        ("read", f"{checked.snapshot}: {len(plan.inputs):,} files, {plan.rows:,} rows, {text.size(size)}"),
        (
            "contract",
            f"{checked.schema.name} {checked.schema.version}: {len(checked.schema.features)} features, {len(plan.inputs)} of {len(plan.inputs)} footers ok",
        ),
        ("columns ignored", ignored),
        (
            "model",
            f"{model.name} {model.version}, {model.format}, sha256 {model.sha256[:12]}…, {', '.join(model.score_names)}",
        ),
    ]


def _plan_document(checked: Checked) -> dict[str, Any]:
    plan = checked.plan
    return {
        "plan_id": plan.plan_id,
        "input_id": plan.input_id,
        "plan": plan.record(),
        "rows": plan.rows,
        "partitions": len(plan.partitions),
        "ignored_columns": list(checked.ignored),
        "model": checked.model.record(),
    }


def _state(store: Store, checked: Checked) -> dict[str, Any]:
    """Say what a run would do at the target, without raising."""
    day = checked.plan.date
    head = store.head(day)
    finished = len(store.work(checked.plan).finished())
    if head is None:
        resumed = f", of which {finished} partitions are finished already" if finished else ""
        return {"action": "publish", "text": f"nothing exists at the target: revision 1 to publish{resumed}"}
    if head.input_id == checked.plan.input_id:
        return {
            "action": "none",
            "text": f"published already from the same inputs, as revision {head.number}: nothing to do",
        }
    before = store.published(day).document("manifest.json")["plan"]
    found = [str(difference) for difference in differences(before, checked.plan.record())]
    return {
        "action": "refuse",
        "text": f"published by another plan, as revision {head.number}; it differs in " + "; ".join(found),
        "differences": found,
    }


def _ledger_rows(store: Store, day: str) -> Iterator[dict[str, Any]]:
    commits = store.commits(day)
    for commit in commits:
        published = store.published(day, commit.number)
        summary, metadata = published.document("summary_metrics.json"), published.document("metadata.json")
        yield {
            "date": day,
            "revision": commit.number,
            "state": "published" if commit is commits[-1] else "replaced",
            "rows": summary["rows"]["scored"],
            "flagged": summary["rows"]["flagged"],
            "rejected": summary["rows"]["rejected"],
            "seconds": metadata["execution_time_sec"],
            "model": metadata["model_version"],
            "run_type": commit.run_type,
            "by": commit.by,
            "reason": commit.reason,
        }


def _write(path: str, content: str) -> None:
    try:
        Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{path}' can not be written: {error.strerror}", slug="OUTPUT-FILE") from error


def _workers(config: RunConfig) -> str:
    cluster = config.cluster
    if cluster.kind == "address":
        return f"on the scheduler at {cluster.address}"
    return f"on {cluster.workers} local {'processes' if cluster.processes else 'threads'}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def replay(config_files: Sequence[str], given_date: str, overrides: Sequence[str], revision: int | None) -> Answer:
    """Score a published date again and compare."""
    from batchscore.prove import replay as replay_run  # noqa: PLC0415 - only this command needs it

    config = load_config(config_files, overrides)
    published = open_output(config).published(parse_day(given_date).isoformat(), revision)
    with _progress() as progress:
        found = replay_run(_request(config, given_date), published, time.time, progress)
    causes = [f"  the plan differs in {cause}" for cause in found.causes]
    document = {**asdict(found), "same": found.mismatch is None}
    if found.mismatch is None:
        proven = (
            "byte for byte"
            if found.same_bytes == found.parts
            else f"in every value ({found.parts - found.same_bytes} parts are other bytes)"
        )
        return Answer(text="\n".join([f"SAME {given_date}: {found.parts} parts, {proven}", *causes]), document=document)
    first = found.mismatch
    lines = [
        f"DIFFERENT {given_date}: partition {first.partition}, row {first.row_id!r}, column '{first.column}':"
        f" published {first.published!r}, now {first.replayed!r}",
        *(causes or ["  the plan is the same: the same inputs and versions gave another result on this machine"]),
    ]
    return Answer(text="\n".join(lines), document=document, exit_code=3)


def diff(config_files: Sequence[str], old: str, new: str, *, exit_code: bool) -> Answer:
    """Compare two published dates or revisions (`2013-02-08@1`)."""
    from batchscore.compare import Run, compare  # noqa: PLC0415 - only this command needs it

    config = load_config(config_files)
    store = open_output(config)
    sides = []
    for given in (old, new):
        day, _, number = given.partition("@")
        published = store.published(parse_day(day).isoformat(), _revision(number))
        summary, manifest = published.document("summary_metrics.json"), published.document("manifest.json")
        sides.append(Run(name=given, table=published.table(), summary=summary, plan=manifest["plan"]))
    flag = config.postprocess.flag if config.postprocess.threshold is not None else None
    found = compare(sides[0], sides[1], id_column=config.snapshot.id, flag=flag)
    return Answer(
        text=text.comparison_text(old, new, found.record()),
        document=found.record(),
        exit_code=3 if exit_code and not found.is_same else 0,
    )


def release(config_files: Sequence[str], given_date: str, *, reason: str, by: str | None) -> Answer:
    """Publish the newest held run of a date."""
    config = load_config(config_files)
    store = open_output(config)
    commit = store.release(parse_day(given_date).isoformat(), by=by or _login(), reason=reason)
    answer = _published(config_files, config, store, commit)
    return Answer(text=f"released: {reason}\n\n{answer.text}", document={"status": "released", **answer.document})


def discard(config_files: Sequence[str], given_date: str, *, reason: str, by: str | None) -> Answer:
    """Drop the newest held run of a date."""
    config = load_config(config_files)
    held = open_output(config).discard(parse_day(given_date).isoformat(), by=by or _login(), reason=reason)
    return Answer(
        text=f"discarded the held run {held.number} of {given_date}: {reason}; what was published before stays",
        document={"status": "discarded", "held": held.number, "run": held.commit.run},
    )


def gc(config_files: Sequence[str], *, days: float, delete: bool) -> Answer:
    """List, or remove, what no commit and no held run needs."""
    config = load_config(config_files)
    store = open_output(config)
    found = store.garbage(now=time.time(), days=days)
    if delete:
        store.collect(found)
    done = "removed" if delete else "would be removed; --delete removes it"
    rows = [(item.key, text.size(item.bytes), item.why) for item in found]
    lines = [*text.table(rows), f"{len(found)} items, {text.size(sum(item.bytes for item in found))} {done}"]
    return Answer(text="\n".join(lines), document={"deleted": delete, "items": [asdict(item) for item in found]})


def limited(config_files: Sequence[str], given_date: str, overrides: Sequence[str], limit: int) -> Answer:
    """Score the first rows of a date in a private place and publish nothing."""
    from batchscore.prove import private_store  # noqa: PLC0415 - only this way of running needs it

    config = load_config(config_files, overrides)
    checked = check_date(config, parse_day(given_date))
    tried = replace(checked, plan=checked.plan.limited(limit))
    with private_store() as store, _progress() as progress:
        published = run_privately(_request(config, given_date), tried, store, time.time, progress)
        summary, table = published.document("summary_metrics.json"), published.table()
    shown = table.slice(0, 10).to_pylist()
    rows = summary["rows"]
    lines = [
        f"the first {rows['read']:,} of {checked.plan.rows:,} rows: {rows['scored']:,} scored, {rows['rejected']:,} set"
        f" aside, {rows['flagged']:,} flagged; nothing was published",
        "",
        *text.table([list(row.values()) for row in shown], table.column_names),
    ]
    return Answer(text="\n".join(lines), document={"status": "tried", "summary": summary, "first_rows": shown})


def _request(config: RunConfig, given_date: str) -> Request:
    run_id = secrets.token_hex(16)
    return Request(config=config, day=parse_day(given_date), run_id=run_id, holder=holder(run_id), by=_login())


def _revision(text: str) -> int | None:
    if text and not text.isdecimal():
        raise UsageError(f"revision {text!r} is no number", slug="REVISION", remedy="write a revision as 2013-02-08@1")
    return int(text) if text else None


def _held_rows(store: Store, day: str) -> Iterator[dict[str, Any]]:
    for held in store.held(day):
        if held.state == "open":
            yield {
                "date": day,
                "revision": None,
                "state": "held",
                "rows": None,
                "flagged": None,
                "rejected": None,
                "seconds": None,
                "model": None,
                "run_type": held.commit.run_type,
                "by": held.commit.by,
                "reason": held.why,
            }
