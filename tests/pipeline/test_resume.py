"""A driver killed anywhere is finished by the next one, to the same bytes, and nothing that was finished is redone."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from driving import DATE, KILLED, Project, finished_partitions, make_project, metadata, published, run, same_inputs
from storing import published_as_a_reader_sees, snapshot

from batchscore import store


def crash_at(project: Project, point: int, wanted: dict[str, bytes], partitions: int) -> bool:
    """Kill a driver before its `point`-th side effect, and check all that must hold then; say whether it was killed.

    A reader sees nothing or the whole run; one rerun finds every finished partition, and ends in the wanted bytes;
    a third run changes nothing.
    """
    first = run(project, kill_at=point)
    assert first.status in (0, KILLED), first.stderr
    seen = published_as_a_reader_sees(project.outputs) if project.outputs.exists() else None
    finished = finished_partitions(project)
    is_committed = bool(project.store.head(DATE))
    assert seen is None or is_committed

    second = run(project)
    assert second.status == 0, second.stderr
    assert published(project) == wanted
    if not is_committed:
        assert metadata(project)["reused_partitions"] == finished
        assert (f"reused {finished} of {partitions}" in second.stdout) == (finished > 0)
    assert project.store.verify(DATE).problems == ()

    before = snapshot(project.outputs)
    third = run(project)
    assert third.status == 0
    assert "nothing to do" in third.stdout
    assert snapshot(project.outputs) == before
    return first.status == KILLED


def crash_everywhere(folder: Path, *, partitions: int, first: int, step: int) -> int:
    """Kill a driver at every `step`-th side effect, until one ends untouched; return how many were killed."""
    project = make_project(folder / "project", files=4, groups=partitions // 4, rows=12)
    assert run(project).status == 0
    wanted = published(project)
    for kills in count():
        with same_inputs(project, folder / f"{kills}") as victim:
            if not crash_at(victim, first + kills * step, wanted, partitions):
                return kills
            shutil.rmtree(victim.root)
    raise AssertionError


@pytest.mark.timeout(400)
def test_kill_here_and_there_then_one_rerun(fast_path: Path, figures: Callable[..., None]):
    """A driver of 8 partitions survives a kill at every 41st of its side effects."""
    kills = crash_everywhere(fast_path, partitions=8, first=7, step=41)

    assert kills >= 5
    figures(kills=kills, wrong=0)


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("first", range(1, 9))
def test_kill_at_every_side_effect_of_forty_partitions(fast_path: Path, figures: Callable[..., None], first: int):
    """A driver of 40 partitions survives a kill at each of its side effects."""
    kills = crash_everywhere(fast_path, partitions=40, first=first, step=8)

    assert kills > 80
    figures(kills=kills, wrong=0)


def _forget_the_record() -> None:
    """The broken twin: a worker that does not look for the record of its partition."""
    original = store.WorkFolder.report
    store.WorkFolder.report = lambda self, index: None  # type: ignore[method-assign]
    assert original is not None


def test_twin_that_scores_again_fails(fast_path: Path, killed: Project):
    """The test has teeth: partitions that are scored again although they were finished are counted."""
    finished = finished_partitions(killed)
    ended = run(killed, before=_forget_the_record)

    assert ended.status == 0
    assert finished > 0
    assert metadata(killed)["reused_partitions"] != finished


@pytest.fixture
def killed(fast_path: Path) -> Project:
    """A project of 8 partitions of which a killed driver finished some."""
    project = make_project(fast_path / "killed")
    assert run(project, kill_at=150).status == KILLED
    return project


def test_a_resumed_run_says_what_it_reused(killed: Project):
    """The person and the log are told how many partitions were found finished."""
    finished = finished_partitions(killed)
    ended = run(killed)

    assert 0 < finished < 8
    assert f"reused {finished} of 8 partitions" in ended.stdout
    assert ended.event("partitions scored")["reused"] == finished
    assert ended.event("resuming") == ended.event("resuming") | {"finished": finished, "partitions": 8}


def test_work_of_another_plan_is_not_touched(killed: Project):
    """Another threshold is another plan: it finds nothing finished, and leaves the other plan's work alone."""
    finished = finished_partitions(killed)
    ended = run(killed, "run", "--set", "postprocess.threshold=0.9")

    assert ended.status == 0
    assert metadata(killed)["reused_partitions"] == 0
    assert finished_partitions(killed) == finished


def test_a_page_changed_between_attempts_is_found(killed: Project):
    """A byte changed inside a page, size and footer as they were, is code 13 with the file named."""
    path = killed.file(0)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    ended = run(killed)

    assert ended.status == 13
    assert path.name in ended.told[0]
    assert not (killed.outputs / DATE).exists()
