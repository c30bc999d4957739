"""Answers that only look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from typing import Any

from batchscore import text
from batchscore.answers.asking import parse_day, published_answer, write_file
from batchscore.check import Checked, check_date, load_schema, verify_artifacts, verify_model
from batchscore.cluster import check_pods
from batchscore.config import RunConfig, load_config
from batchscore.errors import StateDamaged
from batchscore.judge import baseline_of, volume_record
from batchscore.plan import differences
from batchscore.run import look_at_output
from batchscore.store import STATE, HeldRun, Published, Store
from batchscore.text import Answer, Given


def validate(given: Given, given_date: str | None) -> Answer:
    """Check all that needs no cluster."""
    config = load_config(given.files, given.overrides)
    check_pods(config.cluster)
    if given_date is None:
        schema, _ = load_schema(config)
        model = verify_model(config, schema, date.max)
        verify_artifacts(config, schema, model)
        facts = [
            ("configuration", "ok"),
            ("schema", f"{schema.name} {schema.version}, {text.counted(len(schema.features), 'feature')}"),
        ]
        facts += [("model", f"{model.name} {model.version}, {model.format}, sha256 {model.sha256[:12]}…: ok")]
        return Answer(text="\n".join(text.pairs(facts)), document={"valid": True, "model": model.record()})
    checked = check_date(config, parse_day(given_date))
    look_at_output(config).check_writable()
    lines = text.pairs(_checked_facts(checked))
    return Answer(
        text="\n".join([*lines, "everything that can be checked without a cluster is in order"]),
        document={"valid": True, **_plan_document(checked)},
    )


def plan(given: Given, given_date: str, output: str | None) -> Answer:
    """Show what a run would read, score, write and push."""
    config = load_config(given.files, given.overrides)
    checked = check_date(config, parse_day(given_date))
    store = look_at_output(config)
    state, baseline = _state(store, checked), baseline_of(store, checked)
    document = {**_plan_document(checked), "state": state, "volume": volume_record(baseline)}
    if output is not None:
        write_file(output, json.dumps(document, indent=2) + "\n", config)
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


def show(given: Given, given_date: str, revision: int | None) -> Answer:
    """Show one published run, or the held one where nothing is published; one that waits beside it is named."""
    config = load_config(given.files, given.overrides)
    store, day = look_at_output(config), parse_day(given_date).isoformat()
    waiting = [held for held in store.held(day) if held.state == "open"] if revision is None else []
    if waiting and store.head(day) is None:
        return _held_answer(given, config, store, waiting[-1])
    answer = published_answer(given, config, store, store.published(day, revision).commit)
    return _with_waiting(answer, waiting[-1]) if waiting else answer


def _held_answer(given: Given, config: RunConfig, store: Store, held: HeldRun) -> Answer:
    run, facts = Published(store.root, held.commit), asdict(held)
    summary, metadata = run.document("summary_metrics.json"), run.document("metadata.json")
    where = f"{config.output.path}/{STATE}/runs/{held.commit.run}/"
    return Answer(
        text=text.held_text(given, facts, summary, metadata, where),
        document={"held": facts, "path": where, "summary": summary, "metadata": metadata},
    )


def _with_waiting(answer: Answer, held: HeldRun) -> Answer:
    note = f"note: held run {held.number} of this date waits and is NOT PUBLISHED; its gates said:"
    lines = [answer.text, "", note, *text.indented(text.gate_lines(held.gates))]
    return replace(answer, text="\n".join(lines), document={**answer.document, "held": asdict(held)})


def runs(given: Given, last: int) -> Answer:
    """List published dates and revisions, and what is held."""
    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    records = [record for day in store.dates()[-last:] for record in _ledger_rows(store, day)]
    records += [record for day in store.held_dates() for record in _held_rows(store, day)]
    damaged = any(record["state"] == "damaged" for record in records)
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
    return Answer(
        text="\n".join(lines) if records else "nothing is published yet",
        document={"runs": records},
        exit_code=StateDamaged.exit_code if damaged else 0,
    )


def _checked_facts(checked: Checked) -> list[tuple[str, object]]:
    plan, model = checked.plan, checked.model
    size = sum(file.size for file in plan.inputs)
    ignored = f"{len(checked.ignored)}: {', '.join(checked.ignored)}" if checked.ignored else "none"
    return [
        (
            "read",
            f"{checked.snapshot}: {text.counted(len(plan.inputs), 'file')}, {text.counted(plan.rows, 'row')}, {text.size(size)}",
        ),
        (
            "contract",
            f"{checked.schema.name} {checked.schema.version}: {text.counted(len(checked.schema.features), 'feature')}, {text.counted(len(plan.inputs), 'footer')} ok",
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
    head, waiting = store.head(day), store.waiting(checked.plan)
    if head and (head.input_id == checked.plan.input_id or store.is_extended(head, checked.plan)):
        return {
            "action": "none",
            "text": f"published already from the same inputs, as revision {head.number}: nothing to do",
        }
    if waiting:
        return {
            "action": "refuse",
            "text": f"held run {waiting.number} of the same plan waits, {waiting.why}; {waiting.remedy}",
        }
    if head is None:
        finished = len(store.work(checked.plan).finished())
        resumed = (
            f", of which {text.counted(finished, 'partition')} {'is' if finished == 1 else 'are'} finished already"
            if finished
            else ""
        )
        return {"action": "publish", "text": f"nothing exists at the target: revision 1 to publish{resumed}"}
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
        yield _numbers(Published(store.root, commit), "published" if commit is commits[-1] else "replaced")


def _held_rows(store: Store, day: str) -> Iterator[dict[str, Any]]:
    for held in store.held(day):
        if held.state == "open":
            yield {**_numbers(Published(store.root, held.commit), "held"), "revision": None, "reason": held.why}


def _numbers(published: Published, state: str) -> dict[str, Any]:
    """Return what is listed of a run, published or held."""
    commit = published.commit
    known = {"date": commit.date, "revision": commit.number, "run_type": commit.run_type, "by": commit.by}
    try:
        summary, metadata = published.document("summary_metrics.json"), published.document("metadata.json")
    except StateDamaged as error:  # the others are listed all the same
        counts = dict.fromkeys(("rows", "flagged", "rejected", "seconds", "model"))
        return {**known, **counts, "state": "damaged", "reason": error.message}
    return {
        **known,
        "state": state,
        "rows": summary["rows"]["scored"],
        "flagged": summary["rows"]["flagged"],
        "rejected": summary["rows"]["rejected"],
        "run_type": metadata["run_type"],
        "seconds": metadata["execution_time_sec"],
        "model": metadata["model_version"],
        "reason": commit.reason,
    }


def _workers(config: RunConfig) -> str:
    cluster = config.cluster
    if cluster.kind == "address":
        return f"on the scheduler at {cluster.address}"
    return f"on {cluster.workers} local {'processes' if cluster.processes else 'threads'}"
