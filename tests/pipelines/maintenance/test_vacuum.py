"""Vacuum deletes what it saw and may delete, whatever names, clocks and other writers there are."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from tests.pipelines.foreign import spark_like
from tests.pipelines.samples import AS_OF, DAYS, daily_spec, days_in, meddled, rows
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import PolicyRefused, StagedTooLong
from tierlake.pipelines.ingest.run import ingest
from tierlake.pipelines.lifecycle.expiry import apply_expiry
from tierlake.pipelines.maintenance.compact import compact
from tierlake.pipelines.maintenance.erase import erase
from tierlake.pipelines.metastore.records import RemovalRecord, VacuumRecord
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.tables.snapshot import Change

GONE = f"date={DAYS[0]}"


@pytest.fixture(params=[False, True], ids=["unversioned", "versioned"])
def delta(request, make_bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(make_bucket(versioned=request.param)), fs=fs)
    made.ingest(rows(), run_key="first")
    return made


@pytest.fixture
def plain(make_bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(make_bucket(versioned=True), format="parquet"), fs=fs)
    made.ingest(rows(), run_key="first")
    return made


def later(dataset: Dataset, fs: LakeFileSystem, **ahead: float) -> Dataset:
    return Dataset.open(dataset.uri, fs=fs, clock=ServerClock(fs, dataset.spec.bucket, timedelta(**ahead)))


def put(server, dataset: Dataset, path: str, body: bytes = b"somebody's") -> None:
    _, _, prefix = dataset.spec.root.partition("/")
    server.admin.put_object(Bucket=dataset.spec.bucket, Key=f"{prefix}/{path}", Body=body)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["*", "part-*", "?", "[a-z]*.parquet"])
def test_a_name_is_no_pattern(delta: Dataset, fs: LakeFileSystem, server, name: str) -> None:
    """C4: an object whose name is a pattern took its neighbours with it."""
    put(server, delta, f"{GONE}/{name}")
    before = days_in(delta)
    result = later(delta, fs, days=3).vacuum()
    assert result.orphans == (f"{GONE}/{name}",)
    assert days_in(delta) == before
    assert delta.verify().ok


def test_what_was_ingested_while_it_worked_stays(plain: Dataset, fs: LakeFileSystem) -> None:
    """C1: the versions were listed again, and an ingest that came in between was deleted with all of them."""
    plain.plan_expiry(AS_OF).apply().raise_failures()
    after = later(plain, fs, days=8)
    journal = after._handle.journal
    real = journal.new_id

    def ingested(at):  # the vacuum has looked, and is about to delete
        journal.new_id = real
        plain.ingest(rows([DAYS[0]], each=5, start=500))
        return real(at)

    journal.new_id = ingested
    assert len(after.vacuum().expired) == 1
    assert days_in(plain)[DAYS[0]] == 5
    assert plain.verify().ok


def test_a_plan_knows_the_objects_that_it_saw(plain: Dataset) -> None:
    """C2: the new rows have files of the same size."""
    plan = plain.plan_expiry(AS_OF)
    plain.ingest(rows([DAYS[0]], start=60))
    sizes = {info["size"] for info in plain.fs.find(f"{plain.spec.root}/{GONE}", detail=True).values()}
    assert sizes == {file.size for step in plan.steps for file in step.files}
    result = plan.apply()
    assert result.codes == {GONE: "stale_plan"}
    assert days_in(plain)[DAYS[0]] == 20


def test_an_ingest_between_check_and_expiry_stays(plain: Dataset) -> None:
    plan = plain.plan_expiry(AS_OF)
    handle = meddled(plain, before=lambda: plain.ingest(rows([DAYS[0]], each=5, start=500)))
    result = apply_expiry(handle, plan)
    assert result.done == ()
    assert result.codes == {GONE: "commit_conflict"}
    assert days_in(plain)[DAYS[0]] == 5
    assert plain.verify().ok


@pytest.mark.parametrize("days_behind", [8, 400])
def test_a_clock_that_is_behind_ends_no_grace(delta: Dataset, fs: LakeFileSystem, days_behind: int) -> None:
    """C6: the tombstones say that their grace ended long ago; the store's own times say otherwise."""
    delta.plan_expiry(AS_OF).apply().raise_failures()
    other = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    other.delete(f"date = '{DAYS[1]}'")
    _, _, prefix = delta.spec.root.partition("/")
    for version in (delta.version - 1, delta.version):
        path = f"{delta.spec.bucket}/{prefix}/_delta_log/{version:020d}.json"
        actions = [json.loads(line) for line in fs.cat_file(path).splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= days_behind * 86_400_000
        fs.for_table(delta.spec.root).pipe_file(path, "\n".join(map(json.dumps, actions)).encode())
    assert delta.vacuum().expired == ()
    assert delta.undo_expiry(GONE).changed
    assert later(delta, fs, days=6).vacuum().expired == ()
    assert len(later(delta, fs, days=8).vacuum().expired) == 1, "what the other writer deleted"
    assert days_in(delta) == {day: 20 for day in DAYS if day != DAYS[1]}


def test_files_that_waited_for_a_day_are_not_committed_after_a_vacuum(delta: Dataset, fs: LakeFileSystem) -> None:
    """C7: vacuum takes them for orphans, and the commit names them all the same."""
    handle = meddled(delta, before=lambda: later(delta, fs, hours=25).vacuum())
    with pytest.raises(StagedTooLong, match="write"):
        ingest(handle, rows([DAYS[0]], each=3))
    assert days_in(delta) == dict.fromkeys(DAYS, 20)
    assert delta.verify().ok


RESTING_ON_FILES = {
    "append": lambda handle: ingest(handle, rows([DAYS[0]], each=3), mode="append"),
    "compact": compact,
    "erase": lambda handle: erase(handle, [("v", "==", 1)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("act", RESTING_ON_FILES)
def test_no_commit_rests_on_files_that_a_vacuum_may_have_taken(delta: Dataset, fs: LakeFileSystem, act: str) -> None:
    delta.ingest(rows([DAYS[0]], each=3, start=500), mode="append")
    before = days_in(delta)
    handle = meddled(delta, before=lambda: later(delta, fs, hours=25).vacuum())
    with pytest.raises(StagedTooLong):
        RESTING_ON_FILES[act](handle)
    assert days_in(delta) == before
    assert delta.verify().ok


def test_young_files_are_committed_whatever_was_vacuumed(delta: Dataset, fs: LakeFileSystem, server) -> None:
    put(server, delta, f"{GONE}/part-0123456789abcdef-0123456789ab-00000.zstd.parquet")
    delta.ingest(rows([DAYS[1]], each=3))
    eager = Dataset.open(delta.uri, fs=fs, clock=ServerClock(fs, delta.spec.bucket, timedelta(hours=23)))
    handle = meddled(delta, before=eager.vacuum)
    ingest(handle, rows([DAYS[0]], each=3))
    assert days_in(delta)[DAYS[0]] == 3
    assert delta.verify().ok


@pytest.mark.slow
def test_a_log_that_forgets_early_keeps_our_grace(make_bucket, fs: LakeFileSystem) -> None:
    """C8: tombstones of an adopted table go with the checkpoint after a day; the grace is a week."""
    root = f"{make_bucket()}/theirs"
    data = rows().append_column("date", [[day for day in DAYS for _ in range(20)]])
    write_deltalake(
        f"s3://{root}",
        data,
        partition_by=["date"],
        storage_options=fs.delta_options(),
        configuration={
            "delta.deletedFileRetentionDuration": "interval 0 hours",
            "delta.logRetentionDuration": "interval 0 days",
        },
    )
    policy = {
        "partition": {"time": {"key": "date", "every": "day"}},
        "retention": {"expire_after": "90d", "grace": "7d"},
    }
    adopted = Dataset.open(Dataset.adopt(f"lake://{root}", policy, dry_run=False, fs=fs).uri, fs=fs)
    adopted.plan_expiry(AS_OF).apply().raise_failures()
    table = DeltaTable(f"s3://{root}", storage_options=fs.delta_options())
    table.create_checkpoint()
    table.cleanup_metadata()
    early = later(adopted, fs, days=6)
    assert early.vacuum().expired == ()
    assert early.undo_expiry(GONE).changed
    assert days_in(adopted)[DAYS[0]] == 20
    assert adopted.verify().ok


@pytest.mark.parametrize("placed", ["before", "while it works"])
def test_a_held_partition_stays_however_its_folder_is_spelled(make_bucket, fs: LakeFileSystem, placed: str) -> None:
    """C9: Spark's folder `city=New York/`, which we would spell `New%20York`."""
    root = f"{make_bucket()}/theirs"
    spark_like(fs, root)
    Dataset.adopt(f"lake://{root}", {"retention": {"grace": "0d"}}, dry_run=False, fs=fs)
    dataset = Dataset.open(f"lake://{root}", fs=fs)
    key = str(dataset.partitions()[0].key)
    assert key == "city=New%20York"
    table = DeltaTable(f"s3://{root}", storage_options=fs.delta_options())
    before = set(fs.find(f"{root}/city=New York"))
    table.optimize.compact()
    assert len(set(table.file_uris())) == 1
    after = later(dataset, fs, days=2)
    if placed == "before":
        dataset.hold(key, reason="audit")
    else:
        journal, real = after._handle.journal, after._handle.journal.new_id

        def held(at):
            journal.new_id = real
            dataset.hold(key, reason="audit")
            return real(at)

        journal.new_id = held
    assert after.vacuum().expired == ()
    assert before <= set(LakeFileSystem(**fs.storage_options, raw=True, skip_instance_cache=True).find(root))
    dataset.release(key)
    assert len(later(dataset, fs, days=2).vacuum().expired) == len(before) == 2


def test_an_unpartitioned_table_is_held(make_bucket, fs: LakeFileSystem) -> None:
    root = f"{make_bucket()}/flat"
    for _ in range(2):
        write_deltalake(f"s3://{root}", rows([DAYS[0]]), storage_options=fs.delta_options(), mode="append")
    Dataset.adopt(f"lake://{root}", {"retention": {"grace": "0d"}}, dry_run=False, fs=fs)
    dataset = Dataset.open(f"lake://{root}", fs=fs)
    dataset.hold("", reason="audit")
    DeltaTable(f"s3://{root}", storage_options=fs.delta_options()).optimize.compact()
    after = later(dataset, fs, days=2)
    assert after.vacuum().expired == ()
    dataset.release("")
    assert len(after.vacuum().expired) == 2


def test_others_removals_wait_for_the_grace_too(delta: Dataset, fs: LakeFileSystem) -> None:
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.delete(f"date = '{DAYS[3]}'", commit_properties=CommitProperties(custom_metadata={"by": "them"}))
    assert later(delta, fs, days=6).vacuum().expired == ()
    assert len(later(delta, fs, days=8).vacuum().expired) == 1


def test_a_dry_run_changes_nothing(delta: Dataset, fs: LakeFileSystem, server) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()
    after = later(delta, fs, days=8)
    before, version = server.keys(delta.spec.bucket), delta.version
    assert len(after.vacuum(dry_run=True).expired) == 1
    assert (server.keys(delta.spec.bucket), delta.version) == (before, version)
    assert after.vacuum().dry_run is False


def test_a_vacuum_without_work_commits_nothing(delta: Dataset) -> None:
    version = delta.version
    assert delta.vacuum().deleted == 0
    assert delta.version == version


def test_a_fence_counts_up_and_changes_no_file(delta: Dataset) -> None:
    table, at = delta._handle.table, delta._handle.clock.now()
    before = table.snapshot()
    for ahead in (0, 0, -3600, 3600):
        earlier = table.snapshot().fence
        table.fence(at + timedelta(seconds=ahead))
        assert table.snapshot().fence > earlier, "also where the clock is put back"
    after = table.snapshot()
    assert (after.files, after.schema) == (before.files, before.schema)
    assert after.version == before.version + 4
    change = Change("undo", before, adds=(), removes=before.files[:1], fence=before.fence)
    assert table.commit(change).version == after.version + 1, "nothing is added, so nothing can be missing"


def test_a_hold_on_what_is_being_deleted_is_refused(delta: Dataset, fs: LakeFileSystem) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()
    delta.hold(GONE, reason="audit")
    after = later(delta, fs, days=8)
    assert after.vacuum().expired == (), "held within the grace"
    delta.release(GONE)
    assert len(after.vacuum().expired) == 1
    with pytest.raises(KeyError, match="none that could be brought back"):
        delta.hold(GONE, reason="late")
    assert delta._handle.document is not None
    assert delta._handle.document.read().holds == {}


def test_a_hold_that_comes_while_a_vacuum_begins_says_so(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()
    record = next(one for one in delta._handle.journal.records(RemovalRecord) if one.operation == "expire")
    store, journal = delta._handle.document, delta._handle.journal
    real = type(store).update

    def late(self, change):
        changed = real(self, change)
        monkeypatch.setattr(type(store), "update", real)
        at = delta._handle.clock.now()
        ended = {record.id: (GONE,)}
        journal.write(
            VacuumRecord(id=journal.new_id(at), at=at, state="begun", reason="", files=0, bytes=0, ended=ended)
        )
        return changed

    monkeypatch.setattr(type(store), "update", late)
    with pytest.raises(PolicyRefused, match="being deleted"):
        delta.hold(GONE, reason="audit")
    assert store is not None
    assert store.read().holds == {}


def test_a_file_of_the_store_is_what_the_table_says(delta: Dataset, fs: LakeFileSystem) -> None:
    for file in delta._handle.table.snapshot().files:
        with fs.open(f"{delta.spec.root}/{file.path}") as handle:
            assert pq.read_metadata(handle).num_rows == file.rows


def test_what_came_back_as_a_copy_is_paid_for_once(plain: Dataset, fs: LakeFileSystem) -> None:
    plain.ingest(rows([DAYS[0]], each=3, start=500))
    plain.undo(GONE)
    plain.plan_tiering("2013-02-20").apply()
    later(plain, fs, days=8).vacuum()
    assert len(fs.object_versions(f"{plain.spec.root}/{GONE}/")) == 1
    assert days_in(plain)[DAYS[0]] == 20
    assert plain.verify(as_of="2013-02-20").ok


def test_what_others_brought_back_and_took_out_waits_anew(delta: Dataset, fs: LakeFileSystem) -> None:
    before = delta.version
    delta.plan_expiry(AS_OF).apply().raise_failures()
    journal, week = delta._handle.journal, timedelta(days=7, hours=1)
    record = next(one for one in journal.records(RemovalRecord) if one.operation == "expire")
    assert record.committed_at is not None
    journal.write(record.model_copy(update={"at": record.at - week, "committed_at": record.committed_at - week}))
    DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options()).restore(before)
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.delete(f"date = '{DAYS[0]}'")
    assert later(delta, fs, days=6).vacuum().expired == ()
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.restore(table.version() - 1)
    assert days_in(delta)[DAYS[0]] == 20
    assert delta.verify().ok


@pytest.mark.parametrize("versioned", [False, True], ids=["unversioned", "versioned"])
def test_what_waited_for_a_plain_table_and_never_came_is_an_orphan(make_bucket, fs, versioned) -> None:
    plain = Dataset.create(daily_spec(make_bucket(versioned=versioned), format="parquet"), fs=fs)
    plain.ingest(rows())
    name = f"_lake/waiting/{GONE}/part-0123456789abcdef-0123456789ab-00000.zstd.parquet"
    plain.fs.pipe_file(f"{plain.spec.root}/{name}", b"written by a worker of a run that died")
    assert plain.vacuum().deleted == 0
    later = Dataset.open(plain.uri, fs=fs, clock=ServerClock(fs, plain.spec.bucket, timedelta(days=2)))
    assert later.vacuum().orphans == (name,)
    assert fs.object_versions(f"{plain.spec.root}/_lake/waiting/") == []
    assert days_in(plain) == dict.fromkeys(DAYS, 20)
