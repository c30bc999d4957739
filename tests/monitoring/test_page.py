"""The report page: whole, harmless, the same bytes, and readable on a phone in a real browser."""

from __future__ import annotations

import functools
import itertools
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import documents
import pytest

from batchscore.page import Damaged, Day, Reject, render_history, render_report

DAYS = [
    Day(
        date=f"2013-{1 + place // 28:02d}-{1 + place % 28:02d}",
        rows=900 + place,
        baseline=None if place < 28 else 930.0,
    )
    for place in range(70)
]
MANIFEST: dict[str, Any] = {"parts": [{}, {}], "logical_sha256": "7a" * 32}
BREACH = {"gate": "volume", "verdict": "warn", "mode": "warn", "message": "980 rows are a drop of 48 %", "numbers": {}}
REJECT = Reject(
    id="2013-02-08-UA-1-EWR-with-a-rather-long-tail-of-text", file="data/batch/a.parquet", row=7, reasons=("null",)
)


def report(**changes: Any) -> str:
    """Render the report of the example documents."""
    meta = documents.metadata(gates=[BREACH], warnings=["the snapshot has an extra column 'tail'"], **changes)
    return render_report(documents.summary(counts={"rule cap": 12}), meta, MANIFEST, DAYS, rejects=[REJECT] * 150)


class Parsed(HTMLParser):
    """Collects headings, addresses, tags and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attributes) for tag, attributes in self.tags if tag in names]


PAGES = pytest.mark.parametrize("page", [report(), render_history("flights", "prod", DAYS)], ids=["report", "history"])


@PAGES
def test_a_page_stands_alone(page: str) -> None:
    """No script, nothing from elsewhere, and a policy that would forbid both."""
    parsed = Parsed(page)

    assert parsed.all("script", "img", "iframe", "form", "object") == []
    assert [a["href"] for _, a in parsed.all("link")] == ["data:,"]
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import", page)


@PAGES
def test_a_page_can_be_heard(page: str) -> None:
    """Language, one first heading, sections with headings in order, and words for every picture and table head."""
    parsed = Parsed(page)
    headings = [int(tag[1]) for tag, _ in parsed.all("h1", "h2", "h3")]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]

    assert parsed.all("html")[0][1]["lang"] == "en"
    assert headings[0] == 1
    assert set(headings[1:]) <= {2}
    assert len(set(ids)) == len(ids)
    for _, attributes in parsed.all("svg", "section"):
        assert set(str(attributes["aria-labelledby"]).split()) <= set(ids)
    assert all(attributes.get("scope") for _, attributes in parsed.all("th"))


def test_the_same_documents_make_the_same_bytes() -> None:
    """Nothing of the clock or of an order gets in."""
    assert report() == report()


def test_the_verdict_comes_first() -> None:
    """What somebody must know stands above the numbers; a good run says so."""
    good = render_report(documents.summary(), documents.metadata(), MANIFEST, DAYS)

    assert report().index("a drop of 48 %") < report().index("Rows scored")
    assert "every gate passed" in good


def test_what_is_not_there_is_said() -> None:
    """A first run without baseline, reference, score histogram or rejects is a whole page."""
    rows = {"read": 0, "scored": 0, "written": 0, "rejected": 0, "flagged": 0}
    bare = documents.summary(rows=rows, drift=None, histograms={}, quantiles={}, rejected={})

    page = render_report(bare, documents.metadata(volume=None), MANIFEST, [])

    assert "no baseline" in page
    assert "No date was published before." in page


def test_dates_that_stand_out_are_told_apart() -> None:
    """Beyond a limit, unusual, known as odd: each in words; a usual one, or one without enough dates, is not listed."""
    breach = "458 rows: 50% below the 911 of 5 Fridays, a drop of more than volume.max_drop 40%"
    page = render_history(
        "flights",
        "prod",
        [
            Day(date="2013-02-07", rows=880, baseline=900.0, deviation=45.0),
            Day(date="2013-02-08", rows=458, baseline=911.0, deviation=45.6, breach=breach),
            Day(date="2013-02-09", rows=100, baseline=680.0),
            Day(date="2013-11-28", rows=634, baseline=987.0, deviation=49.4),
            Day(date="2013-12-25", rows=960, baseline=967.5, deviation=48.4, known=True),
        ],
    )
    listed = re.findall(r'class="day">(\w+ \S+)</th>.*?<td[^>]*>([^<]*)</td></tr>', page)

    assert listed == [
        ("Wed 2013-12-25", "a known odd day (volume.ignore_dates)"),
        ("Thu 2013-11-28", "unusual, and within the limits"),
        ("Fri 2013-02-08", breach),
    ]
    assert "Unusual: 2013-02-08, 2013-11-28, 2013-12-25." in page
    assert "No date stands out." in render_history("flights", "prod", DAYS)


def test_a_damaged_date_is_named_and_hides_no_other() -> None:
    """What is wrong with it is said in words, the others are drawn, and it counts among the last dates."""
    gone = Damaged(date="2013-02-01", why="summary_metrics.json is damaged: its sha256 is not <b>")
    day = Day(date="2013-02-08", rows=458, baseline=911.0)

    page = render_history("flights", "prod", [gone, day])
    alone = render_history("flights", "prod", [gone])

    assert "Fri 2013-02-01 is not drawn: summary_metrics.json is damaged: its sha256 is not &lt;b&gt;" in page
    assert "the last 2 dates" in page
    assert "2013-02-08: 458 rows, usually 911" in page
    assert "2013-02-01 is not drawn" in alone
    assert "No date was published" not in alone


def test_scores_are_drawn_against_the_reference() -> None:
    """Every bin has the reference's mark, scaled to the run's rows; without the same bins there is none."""
    drift = documents.summary()["drift"]
    other = {**drift, "reference": {**drift["reference"], "histograms": {}}}

    assert "0.5 to 0.55: 49 rows, reference 98" in report()
    assert "0 to 0.05: 49 rows, reference 0" in report()
    assert ", reference" not in render_report(documents.summary(drift=other), documents.metadata(), MANIFEST, DAYS)


def test_runbooks_are_links() -> None:
    """Every runbook is a link to where the reader says that they are; else there is no link that could be dead."""
    elsewhere = render_report(
        documents.summary(), documents.metadata(), MANIFEST, DAYS, runbooks="https://wiki.example/runbooks/"
    )
    names = {file.stem for file in (Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md")}

    assert Parsed(report()).all("a") == []
    assert {str(a["href"]) for _, a in Parsed(elsewhere).all("a")} == {
        f"https://wiki.example/runbooks/{name}.md" for name in names
    }


def test_a_breach_says_what_to_do() -> None:
    """Beside the verdict of a breached gate, and not of one that passed; every gate has such a text."""
    passed = {**BREACH, "gate": "drift", "verdict": "pass"}
    breached = [{**BREACH, "gate": gate} for gate in ("volume", "drift", "flagged", "rejected")]
    pages = [
        render_report(documents.summary(), documents.metadata(gates=gates), MANIFEST, DAYS)
        for gates in ([BREACH, passed], breached)
    ]

    assert [page.count("What to do: ") for page in pages] == [1, 4]


def test_names_are_text_and_never_markup() -> None:
    """A column, a reason or a model that is called like a tag stays text."""
    evil = "<script>alert(1)</script>"
    drift = {
        "reference": documents.summary()["drift"]["reference"],
        "features": {evil: {"psi": 1, "ks": 1}},
        "prediction": None,
    }
    page = render_report(
        documents.summary(drift=drift, counts={evil: 1}, pipeline=evil),
        documents.metadata(
            warnings=[evil], model={"name": evil, "version": evil, "sha256": "0" * 64}, stages={evil: 1.0}
        ),
        MANIFEST,
        [Day(date="2013-02-08", rows=1, baseline=None, breach=evil)],
    )

    assert Parsed(page).all("script") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme: str) -> None:
    """Every text colour stands out from paper and card by at least 4.5 to 1."""
    blocks = re.findall(r":root \{(.*?)\}", report(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[("light", "dark").index(scheme)]))

    for ground in ("paper", "card"):
        for ink in ("ink", "soft", "good", "warn", "bad"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return a colour's relative luminance, by WCAG 2.1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


PHONE, PAPER = 375, 688
"""Pixels across: a phone, and A4 between margins of 14 mm."""
FRAME = """<!DOCTYPE html><iframe id="f" src="PAGE" style="width: WIDTHpx; height: 800px; border: 0"></iframe>
<script>onload = () => { const seen = document.getElementById("f").contentDocument.documentElement;
document.body.dataset.widths = seen.scrollWidth + "/" + seen.clientWidth; };</script>"""


@pytest.fixture
def browse(require: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., tuple[int, int, list[str]]]]:
    """Give a function that shows a page on a phone, or another width: content width, screen width, console lines."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000 --dump-dom"

    number = itertools.count()

    def show(page: str, across: int = PHONE) -> tuple[int, int, list[str]]:
        name = f"{next(number)}.html"  # one of its own: the browser keeps what it was served a moment ago
        (tmp_path / name).write_text(page, encoding="utf-8")
        frame = FRAME.replace("WIDTH", str(across)).replace("PAGE", name)
        (tmp_path / f"frame-{name}").write_text(frame, encoding="utf-8")
        command = [require("chromium"), *flags.split(), *more.split(), f"--user-data-dir={tmp_path / 'profile'}"]
        address = f"http://127.0.0.1:{server.server_address[1]}/frame-{name}"
        said = subprocess.run([*command, address], capture_output=True, text=True, check=True, timeout=90)
        content, screen = re.search(r'data-widths="(\d+)/(\d+)"', said.stdout).groups()  # type: ignore[union-attr]
        return int(content), int(screen), [line for line in said.stderr.splitlines() if "CONSOLE" in line]

    yield show
    server.shutdown()
    server.server_close()


@PAGES
def test_a_phone_shows_it_without_sideways_scrolling(
    page: str, browse: Callable[[str], tuple[int, int, list[str]]]
) -> None:
    """In a real browser at 375 px, with every detail open: no wider than the screen, and nothing on the console."""
    content, screen, console = browse(page.replace("<details>", "<details open>"))

    assert content <= screen <= 375  # a scroll bar takes some of it
    assert console == []


def test_the_browser_would_notice(browse: Callable[[str], tuple[int, int, list[str]]]) -> None:
    """The twin: a page that is too wide and breaks its own policy is seen."""
    spoiled = report().replace("</main>", '<p style="width: 900px">wide</p><script>alert(1)</script></main>')

    content, screen, console = browse(spoiled)

    assert content > screen
    assert len(console) == 1


@PAGES
def test_paper_is_wide_enough(page: str, browse: Callable[..., tuple[int, int, list[str]]]) -> None:
    """What is for print alone, shown on a screen as wide as A4 between its margins, with every detail open: nothing is cut."""
    printed = page.replace("@media print", "@media all").replace("<details>", "<details open>")
    content, screen, _ = browse(printed, PAPER)
    too_wide, _, _ = browse(printed.replace("</main>", '<p style="width: 900px">wide</p></main>'), PAPER)

    assert printed.count("@media all") == 2
    assert content <= screen <= PAPER
    assert too_wide > screen


@pytest.fixture
def pages_of(require: Callable[[str], str], tmp_path: Path) -> Callable[[str], int]:
    """Give a function that prints a page in a real browser, and counts the sheets."""
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --no-pdf-header-footer --virtual-time-budget=5000"

    def count(page: str) -> int:
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        sheets = tmp_path / "page.pdf"
        command = [require("chromium"), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}"]
        printing = [*command, f"--print-to-pdf={sheets}", (tmp_path / "page.html").as_uri()]
        subprocess.run(printing, capture_output=True, check=True, timeout=90)
        return len(re.findall(rb"/Type\s*/Page\b", sheets.read_bytes()))

    return count


def test_a_report_takes_three_sheets(pages_of: Callable[[str], int]) -> None:
    """Closed details are not printed; the twin, without what is for print alone, takes more."""
    page = report()

    assert pages_of(page) == 3
    assert pages_of(page.replace("@media print", "@media (max-width: 1px)")) > 3
