"""The answer to why a row is what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from batchscore import text
from batchscore.answers.asking import parse_day, request_of
from batchscore.config import load_config
from batchscore.run import look_at_output
from batchscore.text import Answer, Given

if TYPE_CHECKING:
    from batchscore.postprocess import RuleTest
    from batchscore.prove import SetAside, Why


def why(given: Given, given_date: str, row: str, revision: int | None) -> Answer:
    """Tell why a row was published as it was, or set aside."""
    from batchscore.prove import SetAside
    from batchscore.prove import why as ask_why

    config = load_config(given.files, given.overrides)
    store = look_at_output(config)
    published = store.published(parse_day(given_date).isoformat(), revision)
    found = ask_why(request_of(config, given_date), store, published, row)
    head = f"{row} of {config.pipeline}, {given_date}, revision {published.commit.number}"
    if isinstance(found, SetAside):
        lines = [head, "", *text.indented(_aside_lines(found))]
        document = {"id": row, "date": given_date, "status": "set-aside", **_plain(asdict(found))}
        return Answer(text="\n".join(lines), document=document)
    return Answer(
        text="\n".join([head, "", *text.indented(_lines(found))]),
        document={"date": given_date, "status": "scored", **_document(found)},
        exit_code=0 if found.is_same else 3,
    )


def _aside_lines(found: SetAside) -> list[str]:
    """Tell of a row that was set aside; its row of the quarantine begins with the id."""
    row = found.row
    offending = dict(zip(row["columns"], row["values"], strict=True))
    return text.pairs(
        [
            ("set aside", f"in revision {found.revision}: {', '.join(row['reasons'])}"),
            ("source", f"{row['source_file']}, row {row['row_number']}"),
            *[("value", f"{column} = {_shown(value)}") for column, value in offending.items()],
            ("next", "mend the schema or the source, then `batchscore rescore-quarantine`"),
        ]
    )


def _lines(found: Why) -> list[str]:
    again, model = found.again, found.model
    earlier = found.set_aside
    facts = [
        ("source", f"{again.path}, row {again.row_number}"),
        ("scored", f"in revision {found.scored_in}" if found.scored_in != found.revision or earlier else None),
        (
            "before",
            None
            if earlier is None
            else f"set aside in revision {earlier.revision}: {', '.join(earlier.row['reasons'])}",
        ),
        ("model", f"{model['name']} {model['version']}, {model['format']}, sha256 {model['sha256']}"),
    ]
    received = [
        (
            name,
            _shown(value),
            dtype,
            "" if _alike(again.snapshot[name], value) else f"{_shown(again.snapshot[name])} in the file",
        )
        for name, (dtype, value) in again.received.items()
    ]
    return [
        *text.pairs(facts),
        "",
        f"received, as a {again.takes}",
        *text.indented(text.table(received)),
        "",
        *text.pairs(_score_facts(found)),
        *_rule_lines(again.rules, found.published.get("rule"), found.postprocess["match"]),
        "",
        "published",
        *text.indented(text.pairs((name, _shown(value)) for name, value in found.published.items())),
        "",
        *_verdict_lines(found),
    ]


def _score_facts(found: Why) -> list[tuple[str, object]]:
    row, again = found.published, found.again
    flag = found.postprocess["flag"]
    scores = {} if found.model["output"] == "class" else again.scores  # a class has a number and no score
    raw = next(iter(scores.values())) if len(scores) == 1 else None
    moved = "raw_prediction" in row
    return [
        *[
            (f"score {name}" if raw is None else "raw score", f"{score!r} ({score.hex()})")
            for name, score in scores.items()
        ],
        ("prediction", f"{row['prediction']!r} ({row['prediction'].hex()})" if moved else None),
        ("threshold", None if again.threshold is None else f"{again.threshold!r}: {flag} {_shown(row.get(flag))}"),
    ]


def _rule_lines(rules: Sequence[RuleTest], decided: str | None, match: str) -> list[str]:
    if not rules:
        return []
    how = "the first that holds decides" if match == "first" else "every one that holds acts, in order"
    acted = set((decided or "").split(";"))
    lines = []
    for rule in rules:
        outcome = "decided" if rule.name in acted else "holds, after another one had decided" if rule.holds else "no"
        tests = "; ".join(
            f"{each.column} {each.test}: {'yes' if each.holds else 'no'}, {_shown(each.value)}"
            for each in rule.conditions
        )
        lines.append((rule.name, outcome, tests))
    return ["", f"rules: {how}", *text.indented(text.table(lines))]


def _verdict_lines(found: Why) -> list[str]:
    columns = len(found.published)
    if found.is_same:
        return [f"SAME: scored again, all {text.counted(columns, 'column')} come out bit for bit"]
    lines = [f"  column {name}: published {old!r}, now {new!r}" for name, (old, new) in found.differences.items()]
    lines += [f"  other bytes were read of {path} than when it was scored" for path in found.changed_inputs]
    return [f"DIFFERENT: scored again, {len(found.differences)} of {columns} columns come out otherwise", *lines]


def _document(found: Why) -> dict[str, Any]:
    again = found.again
    return {
        "id": found.id,
        "revision": found.revision,
        "scored_in": found.scored_in,
        "source": {"file": again.path, "row": again.row_number},
        "model": {name: found.model[name] for name in ("name", "version", "format", "sha256")},
        "takes": again.takes,
        "features": [
            {"name": name, "dtype": dtype, "received": _plain(value), "snapshot": _plain(again.snapshot[name])}
            for name, (dtype, value) in again.received.items()
        ],
        "scores": _plain(again.scores),
        "threshold": again.threshold,
        "rules": [_plain(asdict(rule)) for rule in again.rules],
        "decided_by": found.published.get("rule"),
        "published": _plain(found.published),
        "same": found.is_same,
        "differences": {
            name: {"published": _plain(old), "now": _plain(new)} for name, (old, new) in found.differences.items()
        },
        "changed_inputs": list(found.changed_inputs),
        "set_aside": None if found.set_aside is None else _plain(asdict(found.set_aside)),
        "parts_read": found.parts_read,
    }


def _alike(snapshot: object, received: object) -> bool:
    missing = received is None or (isinstance(received, float) and math.isnan(received))
    return missing if snapshot is None else bool(snapshot == received)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """Return plain data for JSON, which has no NaN, no infinity and no dates."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
