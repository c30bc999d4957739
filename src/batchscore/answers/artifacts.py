"""Answers about what stands beside a run: metrics, references."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import get_args

from batchscore import ledger, metrics, text
from batchscore.answers.asking import create_file, parse_day, parse_run_type
from batchscore.check import load_schema
from batchscore.config import RunConfig, load_config
from batchscore.errors import StorageFailed, UsageError
from batchscore.metrics import Outcome, Pusher, RunType
from batchscore.reference import check_reference, fold_reference
from batchscore.run import look_at_output
from batchscore.telling import pusher_of
from batchscore.text import Answer, Given


def metrics_show(given: Given, given_date: str) -> Answer:
    """Render what a published date pushes."""
    published = look_at_output(load_config(given.files, given.overrides)).published(parse_day(given_date).isoformat())
    samples = metrics.samples(published.document("summary_metrics.json"), published.document("metadata.json"))
    rendered = metrics.render(samples)
    return Answer(text=rendered.rstrip("\n"), document={"date": given_date, "metrics": rendered})


def metrics_push(given: Given, given_date: str) -> Answer:
    """Push a published date's metrics again, from its files alone."""
    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    published = store.published(parse_day(given_date).isoformat())
    summary, metadata = published.document("summary_metrics.json"), published.document("metadata.json")
    pusher = _pusher(config, metadata["run_type"])
    answer = _pushed(pusher.success(summary, metadata), f"the metrics of {given_date}")
    newest = ledger.newest_scheduled(store) if metadata["run_type"] == "scheduled" else None
    if newest is None or newest <= given_date:
        return answer
    note = f"note: the alerts look at {given_date} now; the newest scheduled date is {newest}: push that one too"
    return replace(answer, text=f"{answer.text}\n{note}", document={**answer.document, "newest": newest})


def metrics_forget(given: Given, run_type: str) -> Answer:
    """Have the Pushgateway forget a group, or all of a pipeline's."""
    config = load_config(given.files, given.overrides)
    groups = get_args(RunType) if run_type == "all" else (parse_run_type(run_type, remedy="name one, or all"),)
    forgotten = zip(groups, _pusher(config, groups[0]).forget(groups), strict=True)
    told = {group: _pushed(outcome, f"the group of {group} runs") for group, outcome in forgotten}
    if len(told) == 1:
        return told[groups[0]]
    document = {group: answer.document for group, answer in told.items()}
    return Answer(text="\n".join(answer.text for answer in told.values()), document=document)


def reference_create(given: Given, first: str, last: str, *, name: str, version: str, output: str) -> Answer:
    """Fold published summaries into a reference and write it."""
    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    begin, end = parse_day(first, "--from").isoformat(), parse_day(last, "--to").isoformat()
    dates = [day for day in store.dates() if begin <= day <= end]
    summaries = {day: store.published(day).document("summary_metrics.json") for day in dates}
    folded = fold_reference(name, version, summaries)
    schema, _ = load_schema(config)
    check_reference(folded, schema, source=output)
    content = folded.to_bytes()
    exists = UsageError(
        f"'{output}' exists already, and a reference is never overwritten",
        slug="REFERENCE-EXISTS",
        remedy="write a new version to a new file",
    )
    create_file(output, content, config, exists=exists, remedy="check the folder")
    digest = hashlib.sha256(content).hexdigest()
    pin = ["drift:", "  reference:", f"    path: {output}", f'    sha256: "{digest}"']
    told = text.pairs(
        [("reference", f"{name} {version}"), ("dates", len(dates)), ("rows", folded.rows), ("file", output)]
    )
    return Answer(
        text="\n".join([*told, "", "to pin it:", *pin]),
        document={
            "name": name,
            "version": version,
            "dates": dates,
            "rows": folded.rows,
            "path": output,
            "sha256": digest,
        },
    )


def _pusher(config: RunConfig, run_type: RunType) -> Pusher:
    if config.metrics.pushgateway is None:
        raise UsageError(
            "metrics.pushgateway is not set, so there is nowhere to push to",
            slug="NO-PUSHGATEWAY",
            remedy="set metrics.pushgateway, in the file or with --set",
        )
    return pusher_of(config, run_type)


def _pushed(outcome: Outcome, what: str) -> Answer:
    if outcome.status == "failed":
        failed = (
            f"the Pushgateway did not forget {what}"
            if outcome.push == "forget"
            else f"{what} did not reach the Pushgateway"
        )
        raise StorageFailed(
            f"{failed}: {outcome.detail}",
            slug="PUSH",
            remedy="check metrics.pushgateway and the server, then run the same command again",
            state="The published output is as it was.",
        )
    verb = "forgotten" if outcome.push == "forget" else f"pushed: {outcome.series} series, {text.size(outcome.size)}"
    return Answer(text=f"{what}: {verb}", document=asdict(outcome))
