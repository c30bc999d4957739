"""What a person reads in the terminal: plain data in, lines out. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command answers."""

    text: str
    """For a person, without a closing newline."""
    document: Mapping[str, Any]
    """For a machine: plain data."""
    exit_code: int = 0
    """The process exit code."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line says of the configuration."""

    files: Sequence[str]
    """The configuration files, in order."""
    overrides: Sequence[str] = ()
    """The `--set` texts, in order."""

    @property
    def typed(self) -> str:
        """The options as they are typed into a shell, so that another command sees the same configuration."""
        named = [("--config", self.files), ("--set", self.overrides)]
        return shlex.join(word for name, values in named for value in values for word in (name, value))


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> list[str]:
    """Lay out rows in columns: numbers to the right, text to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [list(header), *cells] if header else cells
    if not lines:
        return []
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    right = [bool(cells) and all(_is_number(line[column]) for line in cells) for column in range(len(widths))]
    return [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def pairs(items: Iterable[tuple[str, object]]) -> list[str]:
    """Lay out names and values, one pair a line; a value of None is left out."""
    shown = [(name, _cell(value)) for name, value in items if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in shown]


def histogram(
    edges: Sequence[float], counts: Sequence[int], *, mark: float | None = None, width: int = 40
) -> list[str]:
    """Draw a histogram, one line a bin.

    Args:
        edges: Bin edges, ascending, one more than `counts`.
        counts: Rows per bin.
        mark: A value whose bin is marked, such as the threshold.
        width: Characters of the longest bar.
    """
    most = max([*counts, 1])
    lines = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "█" * round(width * count / most) or ("▏" if count else "")
        sign = "  ← threshold" if mark is not None and low <= mark < high else ""
        lines.append(f"{low:>5.2f}–{high:<5.2f} {count:>9,}  {bar}{sign}")
    return lines


def counted(number: int, noun: str) -> str:
    """Return so many of something, such as `1 file` and `2,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def verbatim(value: object) -> str:
    """Return a value of a row as it stands there: an id that is a number is no quantity."""
    return "–" if value is None else str(value)


def share(part: float, whole: float) -> str:
    """Return `part` of `whole` in percent."""
    return "–" if not whole else f"{100 * part / whole:.1f} %"


def size(number: float) -> str:
    """Return a number of bytes for a person."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:  # noqa: PLR2004 - SI prefixes
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").removesuffix(" %").lstrip("-").isdigit() or text == "–"


def run_text(
    given: Given,
    commit: Mapping[str, Any],
    summary: Mapping[str, Any],
    metadata: Mapping[str, Any],
    where: str,
) -> str:
    """Tell of one published run.

    Args:
        given: What names the configuration, for the commands to type next.
        commit: number, by and reason of the commit.
        summary: The content of summary_metrics.json.
        metadata: The content of metadata.json.
        where: The path that readers open.
    """
    day = summary["date"]
    lines = [
        f"{metadata['pipeline']} ({metadata['environment']}), {day}, revision {commit['number']}",
        "",
        *indented(pairs(_facts(commit, summary, metadata))),
        *_score_lines(summary, metadata),
        *_warning_lines(metadata),
        "",
        *indented(
            pairs([("files", where), ("", "predictions.parquet, summary_metrics.json, manifest.json, metadata.json")])
        ),
        *indented(
            pairs(
                [
                    ("next", f"batchscore verify {given.typed} --date {day}"),
                    ("", f"batchscore replay {given.typed} --date {day}"),
                ]
            )
        ),
    ]
    return "\n".join(lines)


def held_text(
    given: Given, held: Mapping[str, Any], summary: Mapping[str, Any], metadata: Mapping[str, Any], where: str
) -> str:
    """Tell of one run that is held and not published, the gates' verdicts with their numbers first.

    Args:
        given: What names the configuration, for the commands to type next.
        held: number, commit and gates of the held run.
        summary: The content of its summary_metrics.json.
        metadata: The content of its metadata.json.
        where: The folder that it lies in.
    """
    day = summary["date"]
    again = f"{given.typed} --date {day} --reason TEXT"
    lines = [
        f"{metadata['pipeline']} ({metadata['environment']}), {day}, held run {held['number']}: NOT PUBLISHED",
        "",
        *indented(gate_lines(held["gates"])),
        "",
        *indented(pairs(_facts(held["commit"], summary, metadata))),
        *_score_lines(summary, metadata),
        "",
        *indented(pairs([("files", where)])),
        *indented(pairs([("next", f"batchscore release {again}"), ("", f"batchscore discard {again}")])),
    ]
    return "\n".join(lines)


def gate_lines(gates: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lay out the verdicts of gates: what each says, and under it the numbers that it compared."""
    told: list[tuple[str, object]] = []
    for gate in gates:
        numbers = ", ".join(
            f"{name} {f'{value:.4g}' if isinstance(value, float) else _cell(value)}"
            for name, value in gate["numbers"].items()
            if value is not None
        )
        told += [(f"{gate['gate']}: {gate['verdict']}", gate["message"]), ("", numbers or None)]
    return pairs(told)


def _facts(
    commit: Mapping[str, Any], summary: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[tuple[str, object]]:
    rows, model, stages = summary["rows"], metadata["model"], metadata["stages"]
    post = metadata["config"]["postprocess"]
    aside = ", ".join(f"{count:,} {reason}" for reason, count in summary["rejected"].items() if count)
    flagged = (
        f"{rows['flagged']:,} ({share(rows['flagged'], rows['scored'])}) with {post['flag']} at {post['threshold']}"
    )
    spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items() if seconds >= 0.05)  # noqa: PLR2004
    return [
        (
            "rows",
            f"{rows['scored']:,} scored of {rows['read']:,} read, {rows['rejected']:,} set aside{f' ({aside})' if aside else ''}",
        ),
        ("flagged", flagged if post["threshold"] is not None else None),
        ("volume", volume_text(rows["scored"], metadata["volume"])),
        ("model", f"{model['name']} {model['version']} (sha256 {model['sha256'][:12]}…)"),
        ("plan", f"{summary['plan_id'][:12]}…, run {metadata['run_id'][:12]}…"),
        (
            "run",
            f"{metadata['run_type']}, by {metadata['by']}, {metadata['ended_at'][:19]}Z"
            + (f": {commit['reason']}" if commit["reason"] else ""),
        ),
        (
            "took",
            f"{metadata['execution_time_sec']:.1f} s{f' ({spent})' if spent else ''} with {metadata['workers']} workers",
        ),
    ]


def volume_text(rows: int, volume: Mapping[str, Any]) -> str:
    """Compare a day's rows with its baseline."""
    if not volume["runs"]:
        return f"{counted(rows, 'row')}; no earlier {volume['label']} to compare with"
    usual = volume["baseline_rows"]
    share = f"{rows / usual:.2f} of the usual" if usual else "usually"
    deviation = f"± {volume['deviation_rows']:,.0f} ({volume['runs']} earlier {volume['label']})"
    return f"{counted(rows, 'row')}, {share} {usual:,.0f} {deviation}"


def _score_lines(summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    threshold = metadata["config"]["postprocess"]["threshold"]
    lines: list[str] = []
    for name, found in summary["histograms"].items():
        if sum(found["counts"]):
            lines += ["", f"  {name}", *indented(histogram(found["edges"], found["counts"], mark=threshold))]
    return lines


def _warning_lines(metadata: Mapping[str, Any]) -> list[str]:
    held = [f"  held by {gate['gate']}: {gate['message']}" for gate in metadata["gates"] if gate["verdict"] == "hold"]
    lines = [*held, *(f"  warning: {warning}" for warning in metadata["warnings"])]
    return ["", *lines] if lines else []


def indented(lines: Iterable[str]) -> list[str]:
    """Indent lines by two spaces."""
    return [f"  {line}".rstrip() for line in lines]


def comparison_text(old: str, new: str, found: Mapping[str, Any]) -> str:
    """Tell what differs between two runs.

    Args:
        old: What the earlier one is called.
        new: What the later one is called.
        found: The comparison's record.
    """
    rows = found["rows"]
    lines = [
        f"{old} → {new}" + ("  the same ids, predictions and decisions" if found["same"] else ""),
        "",
        *indented(
            table(
                [
                    ("rows", rows["old"], rows["new"]),
                    ("only there", rows["only_old"], rows["only_new"]),
                    ("flagged", _percent(found["flagged"][0]), _percent(found["flagged"][1])),
                    *[(f"prediction {name}", _score(a), _score(b)) for name, (a, b) in found["quantiles"].items()],
                ],
                ("", old, new),
            )
        ),
        "",
        *indented(_common_lines(found)),
        *_drift_lines(found["drift"]),
        "",
        f"  the plans differ in {counted(len(found['plan']), 'place')}:"
        if found["plan"]
        else "  the plans are the same",
        *[f"    {line}" for line in found["plan"]],
    ]
    return "\n".join(lines)


def _common_lines(found: Mapping[str, Any]) -> list[str]:
    rows = found["rows"]
    if not rows["common"]:
        return ["no id occurs in both, so that no row can be compared with itself"]
    crossed = found["crossed"]
    moves = "  ".join(f"{name} {value:+.4f}" for name, value in found["change_quantiles"].items())
    movers = [(verbatim(mover["id"]), _score(mover["old"]), _score(mover["new"])) for mover in found["movers"]]
    return [
        (
            f"{counted(rows['common'], 'row')} in both: {counted(found['changed'], 'score')} changed, {crossed['raised']:,} newly flagged,"
            f" {crossed['lowered']:,} no longer"
        ),
        *(f"'{name}' is another in {counted(count, 'row')}" for name, count in found["decisions"].items()),
        *(
            f"only {side} has the column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
            for side, names in zip(("the old run", "the new run"), found["only_columns"], strict=True)
            if names
        ),
        *([f"change of the score: {moves}", "moved most:", *indented(table(movers))] if found["changed"] else []),
    ]


def _drift_lines(drift: Mapping[str, float]) -> list[str]:
    shown = [(name, f"{psi:.3f}", "▇" * min(round(psi * 20), 40)) for name, psi in list(drift.items())[:10]]
    return ["", "  moved most, by population stability index (0.1 look, 0.25 act):", *indented(indented(table(shown)))]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
