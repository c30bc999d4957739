"""OpenLineage events: kept, sent, within their budget, and never more than a warning."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import RunEvent
from servers import Hostile, answers, drips, free_port, hostile, says_nothing
from small_world import CONFIG, DAY, ROWS, World

from batchscore import lineage
from batchscore.errors import ConfigError
from batchscore.lineage import Events, LineageOptions, Published, Subject

OK = answers("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
SUBJECT = Subject(
    run_id="4d" * 16,
    namespace="batchscore.prod",
    pipeline="small",
    date=DAY,
    snapshot="s3://lake/customers/2024",
    output="outputs",
)


def kept(world: World) -> dict[str, dict[str, Any]]:
    """Return the events of the day beside the outputs, by kind, and check that the names say what they are."""
    files = sorted(world.path(f"outputs/_batchscore/events/{DAY}").glob("*.json"))
    events = {file.stem.partition("-")[2]: json.loads(file.read_bytes()) for file in files}
    for file, event in zip(files, events.values(), strict=True):
        assert file.stem == f"{uuid.UUID(event['run']['runId']).hex}-{event['eventType'].lower()}"
    return events


def sent(server: Hostile) -> list[dict[str, Any]]:
    """Return the events that a server was sent, in the order of their times."""
    events = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    return sorted(events, key=lambda event: event["eventTime"])


def test_a_run_keeps_and_sends_start_and_complete(world: World):
    """Both events are kept and sent alike, with what was read and written; a second run completes and does nothing."""
    world.path("token").write_text("s3cret\n")
    with hostile(OK) as server:
        world.configure(lineage__events=True, lineage__url=f"{server.url}/api", lineage__bearer_token_file="token")
        ended = world.run()
        again = world.run()
        got = sent(server)

    assert (ended.code, again.code) == (0, 0)
    assert [event["eventType"] for event in got] == ["START", "COMPLETE", "START", "COMPLETE"]
    first = got[1]
    assert (first["job"]["namespace"], first["job"]["name"]) == ("batchscore.dev", "small")
    assert first["inputs"][0]["name"] == str(world.path("data/customers_2024_03_01"))
    assert first["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == ROWS
    assert first["inputs"][0]["inputFacets"]["inputStatistics"]["fileCount"] == 3
    assert first["outputs"][0]["name"] == str(world.path(f"outputs/{DAY}/predictions.parquet"))
    assert first["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == ROWS
    assert got[0]["run"]["runId"] == first["run"]["runId"] != got[2]["run"]["runId"]
    assert got[3]["outputs"][0]["outputFacets"] == {}
    assert all(b"Authorization: Bearer s3cret\r\n" in request for request in server.requests)
    assert len(list(world.path(f"outputs/_batchscore/events/{DAY}").iterdir())) == 4
    assert world("verify", "--config", CONFIG, "--date", DAY).code == 0


def test_a_failed_run_says_why(world: World):
    """The error's sentence is in the FAIL event, and nothing was sent without an address."""
    world.configure(lineage__events=True)
    world.set_value("age", 0, 500)

    assert world.run().code == 12
    events = kept(world)
    assert set(events) == {"start", "fail"}
    assert events["fail"]["run"]["facets"]["errorMessage"]["message"].startswith("E-CONTRACT-")
    assert events["fail"]["run"]["facets"]["nominalTime"]["nominalStartTime"] == f"{DAY}T00:00:00+00:00"


def test_a_release_completes_the_run_that_was_held(world: World):
    """A held run fails for lineage too; its release keeps and sends COMPLETE of the same run, with what it published."""
    with hostile(OK) as server:
        world.configure(
            lineage__events=True, lineage__url=server.url, volume__min_rows=ROWS + 1, volume__on_breach="hold"
        )
        held = world.run()
        released = world("release", "--config", CONFIG, "--date", DAY, "--reason", "seen")
        got = sent(server)

    assert (held.code, released.code) == (15, 0)
    assert [event["eventType"] for event in got] == ["START", "FAIL", "COMPLETE"]
    assert len({event["run"]["runId"] for event in got}) == 1
    assert got[2]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == ROWS
    assert kept(world)["complete"] == got[2]


def test_without_the_section_there_is_no_event(world: World):
    """By default nothing is kept."""
    world.run()

    assert not world.path("outputs/_batchscore/events").exists()


def test_a_server_that_refuses_is_a_warning(world: World):
    """The run publishes, exits with 0, keeps its events, and its log says what the server said."""
    with hostile(answers("HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\nbad facet")) as server:
        world.configure(lineage__events=True, lineage__url=server.url)
        ended = world.run("--log-format=json")

    warned = [line["detail"] for line in ended.logs if line["event"] == "lineage event failed"]
    assert ended.code == 0
    assert [text.partition(": ")[2] for text in warned] == ["OSError: the server answered 422 No: bad facet"] * 2
    assert set(kept(world)) == {"start", "complete"}


@pytest.mark.parametrize("status", ["302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_a_warning_and_no_one_else_gets_the_token(status: str, tmp_path: Path):
    """Followed, it would arrive as a GET without the event, count as told, and take the token elsewhere."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with hostile(OK) as elsewhere:
        moved = f"HTTP/1.1 {status}\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n"
        with hostile(answers(moved)) as server:
            options = LineageOptions(events=True, url=server.url, bearer_token_file=str(token))
            problems = Events(options, SUBJECT, lambda *_: None).complete(1.0)

    assert [status[:3] in problem for problem in problems] == [True]
    assert elsewhere.requests == []


def test_a_token_of_two_lines_is_not_told(tmp_path: Path):
    """The sentence names the file, and holds nothing of it; no event is sent."""
    token = tmp_path / "token"
    token.write_text("s3cret\nt0ken")
    with hostile(OK) as server:
        options = LineageOptions(events=True, url=server.url, bearer_token_file=str(token))
        problems = Events(options, SUBJECT, lambda *_: None).complete(1.0)

    assert len(problems) == 1
    assert str(token) in problems[0]
    assert not any(part in problems[0] for part in ("s3cret", "t0ken"))
    assert server.requests == []


@pytest.mark.parametrize("behave", [says_nothing, drips], ids=["silent", "drip"])
def test_nothing_that_a_server_does_costs_more_than_the_budget(behave: Any, tmp_path: Path):
    """Start and end together stay within the budget, whatever the server does, and the events are kept."""
    names: list[str] = []
    with hostile(behave) as server:
        options = LineageOptions(events=True, url=server.url, budget_seconds=1.0)
        telling = Events(options, SUBJECT, lambda name, _: names.append(name))
        began = time.monotonic()
        telling.start(0.0)
        started = time.monotonic() - began
        problems = telling.fail(1.0, "E-BUG: it broke")
        took = time.monotonic() - began

    assert started < 0.5
    assert took < 1.0 + 2.0  # a busy machine may add to it
    assert problems
    assert names[0] == f"{SUBJECT.run_id}-start.json"


def test_a_store_that_fails_does_not_keep_an_event_from_being_sent():
    """What goes wrong with the file is told, and the server has the event all the same."""

    def broken(name: str, data: bytes) -> None:
        raise OSError(f"no room for {name}, {len(data) > 0}")

    with hostile(OK) as server:
        telling = Events(LineageOptions(events=True, url=server.url), SUBJECT, broken)
        telling.start(0.0)
        problems = telling.complete(1.0)
        got = sent(server)

    assert [event["eventType"] for event in got] == ["START", "COMPLETE"]
    assert len(problems) == 2
    assert "no room for" in problems[0]


def test_nobody_there_is_a_sentence():
    """A refused connection is told, not raised; the machine's proxy is not asked."""
    telling = Events(LineageOptions(events=True, url=f"http://127.0.0.1:{free_port()}"), SUBJECT, lambda *_: None)

    (problem,) = telling.complete(1.0)
    assert problem.startswith("the COMPLETE event was not told: URLError")


def test_events_are_openlineages_own():
    """The library reads back what is told: names of an object store, versions of input and output, a UUID."""
    facts = Published(
        manifest={"plan": {"inputs": [{}, {}]}, "parts": [{}], "input_id": "ab", "logical_sha256": "cd"},
        summary={"rows": {"read": 5, "written": 4}, "input_bytes": 70, "output_bytes": 30},
    )

    told = json.loads(lineage.event.event(SUBJECT, "COMPLETE", 1.5, facts))
    (source,), (result,) = told["inputs"], told["outputs"]

    assert RunEvent(eventTime=told["eventTime"], run=told["run"], job=told["job"]).eventTime == told["eventTime"]
    assert told["eventTime"] == "1970-01-01T00:00:01.500000+00:00"
    assert told["run"]["runId"] == str(uuid.UUID("4d" * 16))
    assert (source["namespace"], source["name"]) == ("s3://lake", "customers/2024")
    assert source["facets"]["version"]["datasetVersion"] == "ab"
    assert result["facets"]["version"]["datasetVersion"] == "cd"
    assert (result["namespace"], Path(result["name"]).is_absolute()) == ("file", True)


def test_a_missing_library_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch):
    """Without the extra the section is an error with its remedy; off, it is not."""
    monkeypatch.setattr("batchscore.lineage.options.find_spec", lambda _: None)
    lineage.require_openlineage(LineageOptions())

    with pytest.raises(ConfigError, match="is not installed") as caught:
        lineage.require_openlineage(LineageOptions(events=True))
    assert caught.value.remedy == "install batchscore[lineage], or set lineage.events to false"


def test_an_address_without_events_is_refused():
    """It would look as if events were sent."""
    with pytest.raises(ValueError, match="would send nothing"):
        LineageOptions(url="http://marquez:5000/api/v1/lineage")
