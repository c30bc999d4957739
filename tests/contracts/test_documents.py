"""What the pages tell a reader to type exists."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from batchscore.config import load_config
from batchscore.model import resolve_model
from batchscore.postprocess import check_options
from tools.docs.commands_page import commands

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*/*.md")])
CODE = re.compile(r"^```.*?^```|^(?: {4}|\t).+?$|`[^`\n]+`", flags=re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:^|[\s`(\"]|bin/)(?<!from )batchscore\"?,? +\"?(?P<words>[a-z][a-z-]*(?:[\"', ]+[a-z][a-z-]*)?)(?P<rest>[^\n`|;]*)"
)
COMMANDS = {name.removeprefix("batchscore "): command for name, command in commands()}


def typed(text: str) -> list[tuple[str, str, str]]:
    """Return (first word, second word, rest of the line) of every `batchscore …` in the code of a page."""
    joined = "\n".join(CODE.findall(text)).replace("\\\n", " ")
    found = []
    for match in COMMAND.finditer(joined):
        first, _, second = re.sub(r"[\"', ]+", " ", match["words"]).partition(" ")
        found.append((first, second, match["rest"]))
    return found


def unknown(text: str) -> list[str]:
    """Return the commands and options in a page that do not exist."""
    wrong = []
    for first, second, rest in typed(text):
        if first == "--help":
            continue
        name = first if first in COMMANDS else f"{first} {second}"
        groups = {known.partition(" ")[0] for known in COMMANDS if " " in known}
        if name not in COMMANDS:
            wrong += [] if first in groups and not second else [f"batchscore {name}".strip()]
            continue
        options = {"--help", *(text for parameter in COMMANDS[name].params for text in parameter.opts)}
        wrong += [
            f"batchscore {name} {option}"
            for option in re.findall(r"(?<![\w-])--[a-z-]+", rest)
            if option not in options
        ]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_pages_exists(page):
    """With every option that stands behind it."""
    assert unknown(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_of_the_pages_exists(page):
    """Each `make X` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))

    assert [
        target
        for target in re.findall(r"(?:^|`|[;&]\s*)make ([a-z-]+)", code, flags=re.MULTILINE)
        if target not in targets
    ] == []


def test_the_scan_sees_what_is_not_there():
    """A command, an option, a command of a group; in a block, a span and a list of words."""
    page = '```sh\nbatchscore fly --config F\nbatchscore run --config F --wings 2\n```\n`batchscore metrics sing`, `["batchscore", "hum", "--x"]`\n'

    assert unknown(page) == ["batchscore fly", "batchscore run --wings", "batchscore metrics sing", "batchscore hum"]


def test_links_lead_somewhere():
    """Every relative link of the pages names a file."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        if page.name != "bad-inputs.md"  # it quotes patterns, which look like links
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_every_file_of_the_pages_exists():
    """What stands in code and begins with a folder of the repository is there."""
    folders = ("config/environments/", "docs/", "helm/", "scripts/", "src/", "tools/", "docker/", "requirements/")
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in re.findall(
            r"(?<![\w./-])([a-z]+/[\w./-]*[\w/])(?![\w{<*…])", "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
        )
        if path.startswith(folders) and not (ROOT / path).exists()
    ]

    assert missing == []


def test_the_architecture_has_the_layers_of_the_contract():
    """In the order that the import contracts hold, every module in its row."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [sorted(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## What travels")[0]
    rows = [sorted(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE)]

    assert rows == layers


def overlays() -> list[tuple[str, str]]:
    """Return the YAML blocks of the pages on models and rules, as (page, text), with digests for their placeholders."""
    return [
        (page, block.replace("…", "0123456789abcdef" * 4))
        for page in ("models", "rules")
        for block in re.findall(
            r"^```yaml\n(.*?)^```",
            (ROOT / f"docs/{page}.md").read_text(encoding="utf-8"),
            flags=re.DOTALL | re.MULTILINE,
        )
    ]


@pytest.mark.parametrize(("page", "block"), overlays())
def test_examples_of_configuration_are_right(page, block, tmp_path):
    """Every YAML block on models and rules can be laid over the reference, and fits the flights' columns."""
    (tmp_path / "over.yaml").write_text(block)
    config = load_config([str(ROOT / "config/reference.yaml"), str(tmp_path / "over.yaml")])
    types = dict.fromkeys(("carrier", "origin", "dest"), "string") | dict.fromkeys(
        ("plane_age", "wind_gust"), "float64"
    )
    model = resolve_model(config.model, date(2013, 2, 8))

    check_options(config.postprocess, config.calibration, model.output, types)
