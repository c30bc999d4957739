"""Publishing: all at once, once, and never another plan by accident; the same on both kinds of store."""

import datetime as dt
import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from storing import DATE, deterministic_files, make_plan, part_bytes, publication, run, score, snapshot

import batchscore
from batchscore.errors import BatchscoreError, ConfigError, OutputExists, StateDamaged, StorageFailed, UsageError
from batchscore.store import Store, layout, open_store


@pytest.fixture(params=["files", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give an empty store of each kind."""
    if request.param == "files":
        yield open_store(str(tmp_path / "outputs"))
        return
    from batchscore.store.objects import ObjectRoot, client

    client.cache_clear()
    yield Store(ObjectRoot("memory:///"))
    client.cache_clear()


def files_of(store: Store, folder: str) -> list[str]:
    """Return the paths below a folder."""
    return [entry.key.removeprefix(f"{folder}/") for entry in store.root.list(folder)]


def test_first_run_publishes_revision_one(store: Store):
    """A first run scores every part and publishes revision 1, which verifies."""
    outcome = run(store, make_plan())

    assert outcome.scored == (0, 1, 2, 3, 4, 5)
    assert outcome.commit and (outcome.commit.number, outcome.commit.parent_sha256) == (1, None)
    assert store.head(DATE) == outcome.commit
    assert store.dates() == (DATE,)
    assert store.verify(DATE).problems == ()


def test_run_folder_holds_exactly_the_published_files(store: Store):
    """The run's folder is the parts and the three JSON files, and nothing else."""
    commit = run(store, make_plan(), 2).commit

    assert commit
    assert files_of(store, layout.run(commit.run)) == [
        "manifest.json",
        "metadata.json",
        "predictions.parquet/part-00000.parquet",
        "predictions.parquet/part-00001.parquet",
        "summary_metrics.json",
    ]


def test_same_plan_again_is_a_no_op(store: Store):
    """The same plan again is done, scores nothing and gives the first commit, also under other library versions."""
    first = run(store, make_plan())
    again = run(store, make_plan(versions="2"))

    assert again.done
    assert again.commit == first.commit
    assert again.scored == ()


def test_same_plan_again_changes_no_byte(tmp_path: Path):
    """On a file system no file of the root is touched by the second run."""
    store = open_store(str(tmp_path))
    run(store, make_plan())
    before = snapshot(tmp_path)
    run(store, make_plan())

    assert snapshot(tmp_path) == before


def test_other_plan_is_refused_with_the_difference(store: Store):
    """Another plan for a published date is code 14 and names what differs."""
    run(store, make_plan("0.7"))
    with pytest.raises(OutputExists, match=r"config\.postprocess\.threshold: '0\.7' → '0\.8'") as caught:
        run(store, make_plan("0.8"))

    assert caught.value.context["revision"] == 1


def test_republish_chains_a_second_revision(store: Store):
    """`republish` publishes revision 2, keeps revision 1, and both verify."""
    first = run(store, make_plan("0.7")).commit
    second = run(store, make_plan("0.8"), republish=True).commit

    assert first and second
    assert (second.number, second.parent_sha256) == (2, first.sha256)
    assert store.commits(DATE) == (first, second)
    assert store.published(DATE).commit == second
    assert store.published(DATE, 1).commit == first
    assert store.verify(DATE).problems == ()


def test_republish_of_the_very_same_plan_is_a_no_op(store: Store):
    """A republish that was killed after its commit and runs again does not make a third revision."""
    run(store, make_plan("0.7"))
    run(store, make_plan("0.8"), republish=True)
    again = run(store, make_plan("0.8"), republish=True)

    assert again.done
    assert len(store.commits(DATE)) == 2


def test_two_runs_of_a_plan_agree_byte_for_byte(store: Store, tmp_path: Path):
    """All but metadata.json is the same whoever runs a plan."""
    other = open_store(str(tmp_path / "other"))
    run(store, make_plan())
    run(other, make_plan())

    assert deterministic_files(store) == deterministic_files(other)


def test_loser_of_the_same_plan_returns_the_winner(store: Store):
    """Who comes second with the same plan gets the winner's commit, and leaves nothing of its own."""
    plan = make_plan()
    score(store, plan)
    winner = store.publish(publication(plan), None)
    loser = publication(plan)

    assert store.publish(loser, None) == winner
    assert store.root.list(layout.run(loser.run)) == ()


def test_loser_at_the_commit_itself_returns_the_winner(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A run that another of the same plan overtakes between its build and its commit gives way and cleans up."""
    from batchscore.store import publish

    plan = make_plan()
    score(store, plan)
    mine = publication(plan)
    build = publish.build

    def overtaken(root, given, parent):
        built = build(root, given, parent)
        monkeypatch.setattr(publish, "build", build)
        store.publish(publication(plan), None)
        return built

    monkeypatch.setattr(publish, "build", overtaken)
    commit = store.publish(mine, None)

    assert commit.run_id != mine.run_id
    assert store.commits(DATE) == (commit,)
    assert store.root.list(layout.run(mine.run)) == ()


def test_loser_of_another_plan_is_refused(store: Store):
    """Who comes second with another plan is refused, though nothing was published when it began."""
    run(store, make_plan("0.7"))
    score(store, make_plan("0.8"))
    with pytest.raises(OutputExists, match="by another plan"):
        store.publish(publication(make_plan("0.8")), None)

    assert len(store.commits(DATE)) == 1


def test_loser_whose_parts_the_winner_pruned_returns_the_winner(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Parts that are gone because the same plan was published are not damage."""
    from batchscore.store import publish

    plan = make_plan()
    score(store, plan)
    check = publish.check_parts

    def pruned(root, given):
        monkeypatch.setattr(publish, "check_parts", check)
        store.prune(store.publish(publication(plan), None))
        check(root, given)

    monkeypatch.setattr(publish, "check_parts", pruned)
    commit = store.publish(publication(plan), None)

    assert store.commits(DATE) == (commit,)


def test_damaged_part_is_not_published(store: Store):
    """A part whose stored bytes changed is code 18 and nothing is published."""
    plan = make_plan()
    score(store, plan)
    part = publication(plan).predictions[3]
    key = layout.work_part(DATE, plan.plan_id, part.name, part.sha256)
    store.root.replace(key, b"\0" + part_bytes(plan, 3)[1:])
    with pytest.raises(StateDamaged, match="part-00003"):
        store.publish(publication(plan), None)

    assert store.head(DATE) is None
    assert not store.root.occupied(DATE)


def test_missing_part_is_not_published(store: Store):
    """A part that is gone is code 18 and named."""
    plan = make_plan()
    score(store, plan)
    part = publication(plan).predictions[3]
    store.root.delete(layout.work_part(DATE, plan.plan_id, part.name, part.sha256))
    with pytest.raises(StateDamaged, match=r"part-00003-.* is damaged: it is missing"):
        store.publish(publication(plan), None)


def test_manifest_that_does_not_declare_the_files_is_refused(store: Store):
    """A manifest that disagrees with what was put there is a bug, and is not published."""
    plan = make_plan()
    score(store, plan)
    whole = publication(plan)
    with pytest.raises(BatchscoreError, match="does not declare"):
        store.publish(replace(whole, predictions=whole.predictions[:-1]), None)

    assert store.head(DATE) is None


def test_quarantine_has_a_folder_of_its_own(store: Store):
    """Rows set aside lie in quarantine.parquet."""
    plan = make_plan()
    score(store, plan, 2)
    commit = store.publish(publication(plan, 2, quarantined=True), None)

    assert "quarantine.parquet/part-00000.parquet" in files_of(store, layout.run(commit.run))
    assert list(store.published(DATE).files(layout.QUARANTINE)) == ["quarantine.parquet/part-00000.parquet"]


def test_single_file_holds_the_parts_in_order(store: Store):
    """`single_file` publishes one predictions.parquet that the given function wrote from the parts in order."""
    plan = make_plan()
    store.claim_pipeline("flights")
    score(store, plan, 3)

    def concatenate(parts, sink):
        for data in parts:
            sink.write(data)

    store.publish(publication(plan, 3, single_file=concatenate), None)
    published = store.published(DATE)
    ((path, (sha256, size)),) = published.files().items()

    assert path == "predictions.parquet"
    assert published.read(path, sha256) == b"".join(part_bytes(plan, index) for index in range(3))
    assert size == 3 * len(part_bytes(plan, 0))
    assert store.verify(DATE).problems == ()


def test_projection_left_behind_is_rolled_forward(store: Store, monkeypatch: pytest.MonkeyPatch):
    """When a run ends between its commit and its projection, the next one of the plan finishes it."""
    from batchscore.store import publish

    with monkeypatch.context() as patched:
        patched.setattr(publish, "roll_forward", lambda *_: None)
        commit = run(store, make_plan()).commit
    assert commit
    left_behind = store.root.projected(DATE)
    again = run(store, make_plan())

    assert left_behind is None
    assert again.done
    assert store.root.projected(DATE) == commit.run


def test_foreign_output_is_refused(tmp_path: Path):
    """A folder that batchscore did not publish is never replaced."""
    store = open_store(str(tmp_path))
    (tmp_path / DATE).mkdir()
    (tmp_path / DATE / "mine.txt").write_text("mine")
    with pytest.raises(OutputExists, match="was not published by batchscore"):
        run(store, make_plan())

    assert (tmp_path / DATE / "mine.txt").read_text() == "mine"


def test_projection_is_a_relative_link(tmp_path: Path):
    """The root may be moved as a whole: the date's link is relative."""
    run(open_store(str(tmp_path / "outputs")), make_plan())
    (tmp_path / "outputs").rename(tmp_path / "moved")

    assert json.loads((tmp_path / "moved" / DATE / "metadata.json").read_text())["format_version"] == 1
    assert open_store(str(tmp_path / "moved")).verify(DATE).problems == ()


def test_mode_is_given_to_files_and_folders(tmp_path: Path):
    """`output.mode` holds for all that is published, whatever the umask; folders get x where it has r."""
    store = open_store(str(tmp_path / "outputs"), mode="0640")
    commit = run(store, make_plan()).commit
    assert commit
    folder = tmp_path / "outputs" / layout.run(commit.run)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*")) if path.is_dir()}

    assert modes == {0o640}
    assert folders == {0o750}


def test_second_pipeline_is_refused(store: Store):
    """A root belongs to the first pipeline that used it."""
    store.claim_pipeline("flights")
    store.claim_pipeline("flights")
    with pytest.raises(ConfigError, match="belongs to the pipeline 'flights', not to 'churn'"):
        store.claim_pipeline("churn")


def test_unknown_scheme_is_refused():
    """An address of an unknown kind is code 10."""
    with pytest.raises(ConfigError, match="unknown scheme 'ftp'"):
        open_store("ftp://host/outputs")


def test_storage_failure_says_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A full disk is code 23, in one sentence, and says that nothing was published."""
    import errno
    import os

    store, plan = open_store(str(tmp_path)), make_plan()
    score(store, plan)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StorageFailed, match="the disk is full") as caught:
        store.publish(publication(plan), None)

    assert "nothing of 2013-02-08 was published" in caught.value.remedy
    assert store.head(DATE) is None


def test_read_published_gives_the_rows_in_order(tmp_path: Path):
    """`batchscore.read_published` reads what was published, verified, as pandas and as Arrow."""
    store, plan = open_store(str(tmp_path)), make_plan()
    _publish_table(store, plan)
    frame = batchscore.read_published(str(tmp_path), DATE)
    table = batchscore.read_published(str(tmp_path), DATE, engine="arrow", revision=1)

    assert list(frame["id"]) == [0, 1, 2, 3]
    assert table.to_pydict() == {"id": [0, 1, 2, 3]}


def test_read_published_takes_a_date_and_refuses_an_unknown_engine(tmp_path: Path):
    """A `datetime.date` is the same as its text; an engine that is a slip of the pen is never another one."""
    _publish_table(open_store(str(tmp_path)), make_plan())
    day = dt.date.fromisoformat(DATE)

    assert batchscore.read_published(str(tmp_path), day).equals(batchscore.read_published(str(tmp_path), DATE))
    with pytest.raises(UsageError, match="engine 'polars' is not known"):
        batchscore.read_published(str(tmp_path), DATE, engine="polars")


def test_read_published_refuses_a_flipped_byte(tmp_path: Path):
    """A part that is not the one that was published is not parsed."""
    store, plan = open_store(str(tmp_path)), make_plan()
    _publish_table(store, plan)
    path = next((tmp_path / DATE / "predictions.parquet").iterdir())
    path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2", 1))
    with pytest.raises(StateDamaged, match=path.name):
        batchscore.read_published(str(tmp_path), DATE)


def test_read_of_an_unpublished_date_is_a_usage_error(store: Store):
    """A date, or a revision of it, that is not published is named."""
    run(store, make_plan())
    with pytest.raises(UsageError, match="2013-02-09 is not published"):
        store.published("2013-02-09")
    with pytest.raises(UsageError, match="revision 2 of 2013-02-08 is not published"):
        store.published(DATE, 2)
    with pytest.raises(UsageError, match=r"'\.\./x' is not an ISO date"):
        store.published("../x")


def _publish_table(store: Store, plan) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from storing import part

    work, parts = store.work(plan), []
    for index in range(2):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": [2 * index, 2 * index + 1]}), sink, write_page_checksum=True)
        data = sink.getvalue().to_pybytes()
        work.put_part(index, data)
        parts.append(part(layout.part_name(index), data))
    manifest = {"plan": plan.record(), "parts": [vars(found) for found in parts], "quarantine": []}
    documents = {layout.SUMMARY: {}, layout.MANIFEST: manifest, layout.METADATA: {}}
    store.publish(replace(publication(plan), predictions=tuple(parts), documents=lambda _: documents), None)
