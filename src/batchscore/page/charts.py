"""Charts as inline SVG, each with words; style classes let one picture serve light, dark and paper. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640.0, 200.0
LEFT, BOTTOM, TOP = 58.0, 26.0, 16.0
PLOT = HEIGHT - BOTTOM - TOP


class Bar(NamedTuple):
    """One date of the volume's chart."""

    date: str
    """The date, ISO."""
    rows: float
    """Scored rows."""
    usual: float | None
    """The baseline, rows; None without one."""
    odd: bool = False
    """Whether the date stands out."""


def volume(days: Sequence[Bar]) -> Markup:
    """Draw rows by date as bars, and the baseline as a mark on each; odd dates and the last one stand out.

    Args:
        days: The dates, ascending; at least one.
    """
    top = _top([max(day.rows, day.usual or 0.0) for day in days])
    slot = (WIDTH - LEFT) / len(days)
    shapes = []
    for place, day in enumerate(days):
        x = LEFT + place * slot
        kind = "bar odd" if day.odd else "bar now" if place == len(days) - 1 else "bar"
        told = f"{day.date}: {day.rows:,.0f} rows" + (f", usually {day.usual:,.0f}" if day.usual else "")
        shapes.append(_bar(x + slot * 0.1, slot * 0.8, day.rows / top, kind, told))
        if day.usual:
            shapes.append(_mark(x, x + slot, day.usual / top))
    marks = [(LEFT + (place + 0.5) * slot, days[place].date) for place in _some(len(days))]
    last, odd = days[-1], [day.date for day in days if day.odd]
    words = f"Scored rows of {len(days)} dates; {last.date} has {last.rows:,.0f}"
    words += f", usually {last.usual:,.0f}." if last.usual else "."
    words += f" Unusual: {', '.join(odd)}." if odd else ""
    return _svg("Scored rows by date", words, [*_grid(top), *shapes, *_ticks(marks)])


def histogram(edges: Sequence[float], counts: Sequence[float], reference: Sequence[float] | None = None) -> Markup:
    """Draw a histogram, and over each bin a mark where the reference has it.

    Args:
        edges: Edges of the bins, ascending.
        counts: One count per bin.
        reference: The counts that a reference has in the same bins, of any number of values; None without one.
    """
    usual = _scaled(reference, sum(counts)) if reference is not None else []
    top = _top([*counts, *usual])
    span = (edges[-1] - edges[0]) or 1.0

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT) * (value - edges[0]) / span

    shapes = []
    for place, count in enumerate(counts):
        low, high = edges[place], edges[place + 1]
        told = f"{low:g} to {high:g}: {count:,.0f} rows" + (f", reference {usual[place]:,.0f}" if usual else "")
        shapes.append(_bar(across(low) + 1, across(high) - across(low) - 2, count / top, "bar", told))
        if usual:
            shapes.append(_mark(across(low), across(high), usual[place] / top))
    marks = [(across(edges[place]), f"{edges[place]:g}") for place in _some(len(edges))]
    most = max(range(len(counts)), key=lambda place: counts[place])
    words = (
        f"{sum(counts):,.0f} scores in {len(counts)} bins; most lie between {edges[most]:g} and {edges[most + 1]:g}."
    )
    if usual:
        most = max(range(len(usual)), key=lambda place: usual[place])
        words += f" Most of the reference lie between {edges[most]:g} and {edges[most + 1]:g}."
    return _svg("Distribution of the scores", words, [*_grid(top), *shapes, *_ticks(marks)])


def _scaled(reference: Sequence[float], rows: float) -> list[float]:
    """Return the reference's counts as they would be of so many rows."""
    total = sum(reference) or 1
    return [rows * count / total for count in reference]


def bars(values: Sequence[tuple[str, float]], *, unit: str) -> Markup:
    """Draw named values as bars that lie on their side, in the given order."""
    top, line = _top([value for _, value in values]), 26.0
    shapes = []
    for place, (name, value) in enumerate(values):
        y = place * line
        width = (WIDTH - 220) * value / top
        shapes.append(f'<text x="90" y="{y + 17:.1f}" text-anchor="end">{escape(name)}</text>')
        shapes.append(f'<rect class="bar" x="98" y="{y + 4:.1f}" width="{max(width, 1):.1f}" height="18"/>')
        shapes.append(f'<text x="{104 + width:.1f}" y="{y + 17:.1f}">{value:,.1f} {escape(unit)}</text>')
    words = ", ".join(f"{name} {value:,.1f} {unit}" for name, value in values) + "."
    return _svg("Wall time by stage", words, shapes, height=len(values) * line)


def _svg(title: str, words: str, shapes: Sequence[str], *, height: float = HEIGHT) -> Markup:
    name = title.lower().replace(" ", "-")
    head = f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {WIDTH:g} {height:g}">'
    told = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(words)}</desc>'
    return Markup(head + told + "".join(shapes) + "</svg>")  # noqa: S704 - names and words are escaped above


def _bar(x: float, width: float, share: float, kind: str, words: str) -> str:
    y = _y(share)
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{TOP + PLOT - y:.1f}"'
    return f'<rect class="{kind}" {place}><title>{escape(words)}</title></rect>'


def _mark(left: float, right: float, share: float) -> str:
    y = _y(share)
    return f'<line class="usual" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _grid(top: float) -> list[str]:
    found = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        found.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{_short(top * share)}</text>')
    return found


def _short(value: float) -> str:
    """Write a number so that it fits beside an axis."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _ticks(marks: Sequence[tuple[float, str]]) -> list[str]:
    found = []
    for place, (x, text) in enumerate(marks):
        anchor = "end" if place and place == len(marks) - 1 else "start" if place == 0 and len(marks) > 1 else "middle"
        found.append(f'<text x="{x:.1f}" y="{HEIGHT - 8:g}" text-anchor="{anchor}">{escape(text)}</text>')
    return found


def _some(count: int) -> list[int]:
    """Return the first, the middle and the last place: more labels would overlap on a phone."""
    return sorted({0, (count - 1) // 2, count - 1})


def _y(share: float) -> float:
    return TOP + PLOT * (1 - share)


def _top(values: Sequence[float]) -> float:
    """Return a round number at or above the highest value, at least 1."""
    highest = max([*values, 0.0])
    if highest <= 1:
        return 1.0
    size = 10.0 ** (len(str(int(highest))) - 1)
    return next(size * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15) if size * step >= highest)
