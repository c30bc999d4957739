"""What a real Pushgateway holds after our pushes, and what hostile ones can do to a run: nothing."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import documents
import pytest
from servers import Pushgateway, answers, drips, fetch, free_port, hostile, pushgateway, says_nothing, stops

from batchscore.metrics import Attempt, Group, MetricsOptions, Outcome, Pusher, RunType

KEY = Group(environment="prod", pipeline="flights", run_type="scheduled")
LABELS = 'environment="prod",instance="",job="batchscore",pipeline="flights",run_type="scheduled"'
FAILED = Attempt(started=1_000.0, ended=1_060.0, attempts=2, reason="input", timeout=7200)


def pusher(url: str | None, *, key: Group = KEY, **options: Any) -> Pusher:
    """Make a pusher of one address."""
    return Pusher(MetricsOptions(pushgateway=url, **options), key)


def push(url: str, **changes: Any) -> Outcome:
    """Push a success and return its outcome."""
    return pusher(url).success(documents.summary(**changes), documents.metadata())


def named(series: dict[str, float], name: str) -> dict[str, float]:
    """Return the series of one metric."""
    return {key: value for key, value in series.items() if re.match(rf"{name}\b", key)}


def test_a_success_arrives_whole(gateway: Pushgateway) -> None:
    """A success is one PUT in the group of its environment, pipeline and run type."""
    outcome = push(gateway.url)

    series = gateway.series()
    assert outcome.status == "pushed"
    assert outcome.series == len([name for name in series if name.startswith("batchscore_")])
    assert named(series, "batchscore_scored_rows") == {f"batchscore_scored_rows{{{LABELS}}}": 980.0}
    assert named(series, "batchscore_last_success_timestamp_seconds") == {
        f"batchscore_last_success_timestamp_seconds{{{LABELS}}}": 1_360_376_142.5
    }
    assert sum(named(series, "batchscore_last_run_failure").values()) == 0.0


def test_what_the_gateway_serves_passes_promtool(gateway: Pushgateway, require: Callable[[str], str]) -> None:
    """Names, units, types and help texts are as Prometheus' own linter wants them."""
    push(gateway.url)
    pusher(gateway.url, key=Group(environment="prod", pipeline="other", run_type="backfill")).failure(FAILED)

    linted = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=ours(gateway.text()),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_promtool_notices_a_bad_name(require: Callable[[str], str]) -> None:
    """The linter that passes our metrics does refuse bad ones."""
    bad = "# HELP {0} Bad.\n# TYPE {0} gauge\n{0} 1\n".format("batchscore_rows_milliseconds")

    linted = subprocess.run(
        [require("promtool"), "check", "metrics"], input=bad, capture_output=True, text=True, check=False
    )

    assert linted.returncode == 3


def ours(text: str) -> str:
    """Keep batchscore's families: the gateway's own names are not ours to mend."""
    return "".join(f"{line}\n" for line in text.splitlines() if re.match(r"(# \w+ )?batchscore_", line))


def test_a_failure_keeps_the_last_success(gateway: Pushgateway) -> None:
    """A failed attempt changes what attempts say, and nothing of what the last success said."""
    push(gateway.url)
    before = gateway.series()

    pusher(gateway.url).failure(FAILED)

    after = gateway.series()
    changed = {name.partition("{")[0] for name in before if before[name] != after.get(name)}
    assert before.keys() == after.keys()
    assert changed == {
        "batchscore_last_run_attempts",
        "batchscore_last_run_completion_timestamp_seconds",
        "batchscore_last_run_duration_seconds",
        "batchscore_last_run_failure",
        "batchscore_last_run_start_timestamp_seconds",
        "batchscore_last_run_success",
        "push_time_seconds",
    }
    reasons = {name: value for name, value in after.items() if 'reason="input"' in name}
    assert sorted(reasons.values()) == [1.0]


def test_a_success_sweeps_what_an_older_version_pushed(gateway: Pushgateway) -> None:
    """PUT replaces the whole group: a metric that is no longer pushed does not stay for ever."""
    path = "/metrics/job/batchscore/environment/prod/pipeline/flights/run_type/scheduled"
    fetch(gateway.url + path, method="POST", data=b"batchscore_retired_rows 7\n")
    push(gateway.url)

    assert named(gateway.series(), "batchscore_retired_rows") == {}


def test_a_start_is_told_in_the_background(gateway: Pushgateway) -> None:
    """A start tells when, and how long the run may take; the next push tells how that went."""
    telling = pusher(gateway.url)
    telling.start(Attempt(started=1_000.0, timeout=7200))
    telling.close()

    ours_only = {name.partition("{")[0]: value for name, value in gateway.series().items() if name[0] == "b"}
    assert ours_only == {
        "batchscore_last_run_start_timestamp_seconds": 1000.0,
        "batchscore_run_timeout_seconds": 7200.0,
    }
    assert [(outcome.push, outcome.status) for outcome in telling.outcomes] == [("start", "pushed")]


def test_an_unchanged_date_is_an_attempt_that_succeeded(gateway: Pushgateway) -> None:
    """A run that finds its date published ends its start, or it would look stuck."""
    pusher(gateway.url).unchanged(Attempt(started=1_000.0, ended=1_001.0))

    series = {name.partition("{")[0]: value for name, value in gateway.series().items()}
    assert series["batchscore_last_run_success"] == 1.0
    assert "batchscore_last_success_timestamp_seconds" not in series


def test_groups_do_not_disturb_one_another(gateway: Pushgateway) -> None:
    """A backfill goes into a group of its own, and forgetting it leaves the scheduled group alone."""
    push(gateway.url)
    other = pusher(gateway.url, key=Group(environment="prod", pipeline="flights", run_type="backfill"))
    other.success(documents.summary(rows={**documents.summary()["rows"], "scored": 3}), documents.metadata())
    both = sorted(named(gateway.series(), "batchscore_scored_rows").values())

    (outcome,) = other.forget(["backfill"])
    ends = time.monotonic() + 5
    while len(named(gateway.series(), "batchscore_scored_rows")) > 1 and time.monotonic() < ends:
        time.sleep(0.05)

    assert both == [3.0, 980.0]
    assert outcome.status == "pushed"
    assert list(named(gateway.series(), "batchscore_scored_rows").values()) == [980.0]


def test_a_refusal_is_shown_with_the_gateways_words(gateway: Pushgateway) -> None:
    """A type that changed under one name is a 400, and its body says so: the outcome carries it."""
    other = "/metrics/job/batchscore/environment/prod/pipeline/older/run_type/scheduled"
    clash = b"# TYPE batchscore_scored_rows counter\nbatchscore_scored_rows 7\n"
    fetch(gateway.url + other, method="POST", data=clash)

    outcome = push(gateway.url)

    assert outcome.status == "failed"
    assert "the gateway answered 400" in outcome.detail
    assert "batchscore_scored_rows" in outcome.detail


def test_passwords_and_authorities_come_from_files(require: Callable[[str], str], tmp_path: Path) -> None:
    """Basic authentication over TLS with an authority of one's own, and each of the two missing."""
    certificate = tmp_path / "tls.pem"
    key = tmp_path / "tls.key"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gateway"],
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    hashed = "$2b$04$W20fO2ATmY4c8UFAKqc0BOy0pFo3yqZ.mZM5Tp8/px81a.S6BlDfq"  # bcrypt of PASSWORD
    config = tmp_path / "web.yml"
    config.write_text(
        f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\nbasic_auth_users: {{batch: {hashed}}}\n"
    )
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    right = {"basic_auth_user": "batch", "basic_auth_password_file": str(password), "ca_file": str(certificate)}

    with pushgateway(require("prometheus-pushgateway"), tmp_path, web_config=config) as server:
        arrived = pusher(server.url, **right).failure(FAILED)
        untrusted = pusher(server.url, **{**right, "ca_file": None}).failure(FAILED)
        anonymous = pusher(server.url, ca_file=str(certificate)).failure(FAILED)

    assert arrived.status == "pushed"
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.detail
    assert "401" in anonymous.detail
    assert PASSWORD not in untrusted.detail + anonymous.detail


PASSWORD = "correct horse"


def test_a_bearer_token_is_sent_and_never_told(tmp_path: Path) -> None:
    """The token of the file is in the request and not in the outcome; a missing file is an outcome too."""
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")

    with hostile(answers("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")) as server:
        outcome = pusher(server.url, bearer_token_file=str(token)).failure(FAILED)
        absent = pusher(server.url, bearer_token_file=str(tmp_path / "absent")).failure(FAILED)

    assert b"Authorization: Bearer s3cret-token\r\n" in server.requests[0]
    assert outcome.detail == "the gateway answered 403 Forbidden: no"
    assert absent.status == "failed"
    assert "absent" in absent.detail


@pytest.mark.parametrize(
    "content", [b"s3cret\nt0ken", b"s3cret\xff", "s3cret\u20ac".encode(), b"s3cret\tt0ken", b"\r\n"]
)
def test_a_token_that_no_header_can_carry_is_not_told(content: bytes, tmp_path: Path) -> None:
    """What is wrong with the file is said without a word of what it holds, and nothing is sent."""
    token = tmp_path / "token"
    token.write_bytes(content)

    with hostile(answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server:
        outcome = pusher(server.url, bearer_token_file=str(token)).failure(FAILED)

    assert outcome.status == "failed"
    assert outcome.detail.startswith(f"the file '{token}' ")
    assert not any(part in outcome.detail for part in ("s3cret", "t0ken", "\u20ac", "0xff"))
    assert server.requests == []


@pytest.mark.parametrize(("content", "fact"), [(None, "cannot be read: No such"), ("no PEM", "holds no certificate")])
def test_a_bad_file_of_authorities_is_named(content: str | None, fact: str, tmp_path: Path) -> None:
    """The message names the file, and nothing is tried again that cannot change."""
    authorities = tmp_path / "ca.pem"
    if content is not None:
        authorities.write_text(content)

    outcome = pusher(f"https://127.0.0.1:{free_port()}", ca_file=str(authorities)).failure(FAILED)

    assert outcome.status == "failed"
    assert outcome.detail.startswith(f"the file '{authorities}' {fact}")


HOSTILE = {
    "500": answers("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    "silent": says_nothing,
    "drip": drips,
    "no http": answers("SSH-2.0-OpenSSH_9.2\r\n"),
    "hangs up": answers(""),
    "endless header": answers("HTTP/1.1 200 OK\r\nX: " + "x" * 100_000),
    "redirect": answers(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("behaviour", sorted(HOSTILE))
def test_nothing_that_a_server_does_costs_more_than_the_budget(behaviour: str) -> None:
    """Start and failure together stay within the budget, raise nothing, and say what happened."""
    with hostile(HOSTILE[behaviour]) as server:
        telling = pusher(server.url, budget_seconds=2.0)
        began = time.monotonic()
        telling.start(FAILED)
        started = time.monotonic() - began
        outcome = telling.failure(FAILED)
        took = time.monotonic() - began

    assert started < 1.5
    assert took < 2.0 + 3.0  # a busy machine may add to it; without a deadline it would be minutes
    assert outcome.status == "failed"
    assert outcome.detail
    assert server.requests


def test_groups_are_forgotten_within_one_budget() -> None:
    """All groups are asked for at once, so that they share the budget: this gateway answers none before it has three."""
    together = threading.Barrier(3)

    def answers_all(connection: socket.socket, _: threading.Event) -> None:
        together.wait(20)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    with hostile(answers_all) as server:
        outcomes = pusher(server.url, budget_seconds=15.0).forget(get_args(RunType))

    assert [(outcome.push, outcome.status) for outcome in outcomes] == [("forget", "pushed")] * 3
    assert len({request.partition(b" HTTP")[0] for request in server.requests}) == 3


@pytest.mark.parametrize("behave", [drips, stops])
def test_half_an_answer_is_none(behave: Callable[[socket.socket, threading.Event], None]) -> None:
    """A connection that our deadline cut reads like a good answer without headers: it is no success all the same."""
    with hostile(behave) as server:
        outcome = pusher(server.url, budget_seconds=0.5).failure(FAILED)

    assert outcome.status == "failed"
    assert "no whole answer" in outcome.detail


def test_the_drip_would_defeat_a_socket_timeout() -> None:
    """The twin: a timeout alone does not end a read that gets a byte now and then."""
    with hostile(drips) as server:
        opened = threading.Thread(target=lambda: _quietly(server.url), daemon=True)
        opened.start()
        opened.join(3.0)

        assert opened.is_alive()


def _quietly(url: str) -> None:
    with contextlib.suppress(OSError):
        fetch(url, seconds=0.5)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid:9091", "https://127.0.0.1:{port}"]
)
def test_nobody_there_is_an_outcome(url: str) -> None:
    """A refused connection and an unknown name are told, not raised."""
    outcome = pusher(url.format(port=free_port())).failure(FAILED)

    assert outcome.status == "failed"
    assert outcome.detail.startswith("no connection to the gateway: ")


def test_a_silent_tls_handshake_is_cut_too() -> None:
    """The deadline holds before there is an encrypted connection."""
    with hostile(drips) as server:
        began = time.monotonic()
        outcome = pusher(server.url.replace("http", "https"), budget_seconds=1.0).failure(FAILED)

    assert time.monotonic() - began < 5.0
    assert outcome.status == "failed"


def test_a_gateway_that_restarts_is_asked_again(require: Callable[[str], str], tmp_path: Path) -> None:
    """One refused connection is not the end of a push that happens once a day."""
    tries: list[float] = []

    def first_fails(connection: Any, _: threading.Event) -> None:
        tries.append(time.monotonic())
        text = (
            "HTTP/1.1 503 Starting\r\nContent-Length: 0\r\n\r\n"
            if len(tries) < 3
            else "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        )
        connection.sendall(text.encode())

    with hostile(first_fails) as server:
        outcome = pusher(server.url).failure(FAILED)

    assert (outcome.status, len(tries)) == ("pushed", 3)


def test_a_refusal_is_not_tried_again() -> None:
    """Asking again does not change a 400."""
    with hostile(answers("HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad")) as server:
        pusher(server.url).failure(FAILED)

    assert len(server.requests) == 1


def test_a_hanging_start_does_not_outlive_its_share() -> None:
    """The background push ends by itself while the run goes on, and the run's end has the rest of the budget."""
    with hostile(drips) as server:
        telling = pusher(server.url, budget_seconds=1.0)
        telling.start(FAILED)
        time.sleep(2.5)
        alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("metrics-")]
        began = time.monotonic()
        telling.close()

    assert alive == []
    assert time.monotonic() - began < 1.0
    assert telling.outcomes[0].seconds == 1.0


def test_the_machines_proxy_is_ignored_unless_asked(gateway: Pushgateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster-wide proxy does not get to see a push; with `use_proxy` it does."""
    with hostile(answers("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        direct = pusher(gateway.url).failure(FAILED)
        proxied = pusher(gateway.url, use_proxy=True).failure(FAILED)

    assert direct.status == "pushed"
    assert "418" in proxied.detail


def test_a_broken_document_is_an_outcome(gateway: Pushgateway) -> None:
    """What cannot be built is told, not raised, and nothing is pushed."""
    outcome = pusher(gateway.url).success({}, documents.metadata())

    assert outcome.status == "failed"
    assert outcome.detail == "KeyError: 'rows'"
    assert gateway.series() == {}


def test_without_a_gateway_nothing_happens() -> None:
    """No address, no thread, no failure."""
    telling = pusher(None)
    telling.start(FAILED)

    assert telling.failure(FAILED) == Outcome(push="failure", status="off")
    assert [outcome.push for outcome in telling.outcomes] == ["start", "failure"]


def test_the_same_documents_make_the_same_push(gateway: Pushgateway) -> None:
    """What a later push rebuilds from the published files is what the run pushed."""
    push(gateway.url)
    first = {name: value for name, value in gateway.series().items() if name[0] == "b"}
    push(gateway.url)

    assert {name: value for name, value in gateway.series().items() if name[0] == "b"} == first
