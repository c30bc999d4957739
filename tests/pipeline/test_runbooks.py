"""The runbooks: what they say to type first can be typed, and answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import answers, hostile
from small_world import CONFIG, DAY, World

RUNBOOKS = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
BEFORE = "2024-02-23"
OK = answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def first_commands(page: Path) -> Iterator[list[str]]:
    """Yield the first commands of a page that are batchscore's own, as a shell splits them; kubectl's are not run."""
    block = re.search(r"First three commands.*?```sh\n(.*?)```", page.read_text(), re.DOTALL)
    assert block is not None, page
    lines = block[1].splitlines()
    assert len(lines) == 3, lines
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] in ("batchscore", "kubectl"), line
        if words[0] == "batchscore":
            yield words[1:]


@pytest.mark.parametrize("page", RUNBOOKS, ids=[page.stem for page in RUNBOOKS])
def test_the_first_commands_of_a_runbook_work(page: Path, world: World):
    """With the names in capitals filled in, each of them ends with 0 on a pipeline of two published dates."""
    names = {"CONFIG": CONFIG, "DATE": DAY, "LAST_WEEK": BEFORE}
    world.deliver(BEFORE)
    with hostile(OK) as gateway:
        world.configure(metrics__pushgateway=gateway.url)
        assert [world.run(date=day).code for day in (BEFORE, DAY)] == [0, 0]
        commands = [[names.get(word, word) for word in words] for words in first_commands(page)]
        ended = {shlex.join(words): world(*words).code for words in commands}

    assert ended
    assert ended == dict.fromkeys(ended, 0)
