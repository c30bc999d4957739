"""Notification: a marker or a request after a commit, within its deadline, and never more than a warning."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Webhook, webhook
from storing import make_plan, run

from batchscore.store import Commit, MarkerOptions, WebhookOptions, notify, open_store, unseal


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Give a commit."""
    commit = run(open_store(str(tmp_path / "outputs")), make_plan(), 1).commit
    assert commit
    return commit


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """Serve a webhook."""
    with webhook() as served:
        yield served


def test_marker_appears_and_may_be_told_again(commit: Commit, tmp_path: Path):
    """The marker holds the commit; the folder is made; telling again changes nothing."""
    options = MarkerOptions(kind="marker", path=f"{tmp_path}/done/{{date}}.json")

    assert notify(options, commit) is None
    assert notify(options, commit) is None
    assert unseal((tmp_path / "done" / "2013-02-08.json").read_bytes(), source="")["number"] == 1


def test_webhook_is_sent_the_commit(commit: Commit, hook: Webhook):
    """The request's body is the commit's content."""
    assert notify(WebhookOptions(kind="webhook", url=f"{hook.url}/{{date}}"), commit) is None
    assert json.loads(hook.sent[0])["commit_sha256"] == commit.sha256


def test_a_redirect_is_no_answer(commit: Commit, hook: Webhook):
    """Followed, it would arrive as a GET without the commit, and count as told."""
    hook.status = 302

    assert "302" in (notify(WebhookOptions(kind="webhook", url=hook.url), commit) or "")
    assert len(hook.sent) == 1


def test_refusal_is_a_warning(commit: Commit, hook: Webhook):
    """A server that refuses is named in one sentence."""
    hook.status = 500

    assert notify(WebhookOptions(kind="webhook", url=hook.url), commit) == (
        "output.notify (webhook) failed: the server answered 500"
    )


def test_silent_server_costs_the_deadline_and_no_more(commit: Commit):
    """A server that never answers is left after the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        warning = notify(
            WebhookOptions(kind="webhook", url=f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.3), commit
        )

    assert time.monotonic() - began < 2
    assert warning


def test_marker_that_can_not_be_written_is_a_warning(commit: Commit, tmp_path: Path):
    """A file in the marker's way is no error of the run."""
    (tmp_path / "file").write_bytes(b"")

    assert "failed" in str(notify(MarkerOptions(kind="marker", path=f"{tmp_path}/file/x/{{date}}.json"), commit))
