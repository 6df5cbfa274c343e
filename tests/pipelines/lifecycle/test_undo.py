"""Undo of replacements, and what must not come back."""

import asyncio
from datetime import timedelta

import pytest
from deltalake import DeltaTable

from tests.pipelines.samples import AS_OF, DAYS, daily_spec, days_in, meddled, rows
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, SpecError, UnknownPartition
from tierlake.pipelines.ingest.run import ingest
from tierlake.pipelines.lifecycle.expiry import apply_expiry
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord, VacuumRecord
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.tables.plain_objects import PlainObjects
from tierlake.pipelines.tables.runs import run_token

FIRST = GONE = f"date={DAYS[0]}"
SECOND = f"date={DAYS[1]}"


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, make_bucket, fs) -> Dataset:
    """Four days, twenty rows each, in either format on a versioned bucket."""
    made = Dataset.create(daily_spec(make_bucket(versioned=True), format=request.param), fs=fs)
    made.ingest(rows(), run_key="first")
    return made


@pytest.fixture
def delta(make_bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(make_bucket()), fs=fs)
    made.ingest(rows(), run_key="first")
    return made


def later(dataset: Dataset, fs: LakeFileSystem, **ahead: float) -> Dataset:
    return Dataset.open(dataset.uri, fs=fs, clock=ServerClock(fs, dataset.spec.bucket, timedelta(**ahead)))


def values(dataset: Dataset, day: str = DAYS[0]) -> list[int]:
    return sorted(dataset.read(["v"], where=[("date", "==", day)]).column("v").to_pylist())


@pytest.mark.slow
def test_a_replaced_partition_comes_back(dataset: Dataset) -> None:
    before = values(dataset)
    dataset.ingest(rows([DAYS[0]], each=3, start=1000), run_key="wrong")
    (waiting,) = dataset.undoable()
    assert (waiting.key, waiting.operation, waiting.run_key) == (FIRST, "replace", "wrong")
    (result,) = dataset.undo(FIRST)
    assert (result.changed, result.operation, result.files) == (True, "replace", 1)
    assert values(dataset) == before
    assert dataset.verify().ok
    assert dataset.undoable() == ()
    assert dataset.undo(FIRST)[0].changed is False
    assert values(dataset) == before


@pytest.mark.slow
def test_a_run_is_undone_as_a_whole(dataset: Dataset) -> None:
    before = {day: values(dataset, day) for day in DAYS}
    dataset.ingest(rows(["2013-05-01", *DAYS[:2]], each=3, start=1000), run_key="wrong")
    results = dataset.undo(run="wrong")
    assert [result.key for result in results] == [FIRST, SECOND]
    assert {day: values(dataset, day) for day in DAYS} == before
    assert len(values(dataset, "2013-05-01")) == 3, "what it filled first stays"
    assert dataset.verify().ok


def test_the_same_run_can_be_made_again(dataset: Dataset) -> None:
    wrong = rows([DAYS[0]], each=3, start=1000)
    dataset.ingest(wrong, run_key="wrong")
    dataset.undo(FIRST)
    assert dataset.ingest(wrong, run_key="wrong").committed
    assert len(values(dataset)) == 3


def test_history_tells_what_can_be_undone_until_when(dataset: Dataset) -> None:
    dataset.ingest(rows([DAYS[0]], each=3), run_key="wrong")
    entry = dataset.history()[0]
    assert (entry.operation, entry.keys, entry.run) == ("ingest", (FIRST,), "wrong")
    assert entry.by is not None
    assert entry.undo_until is not None
    assert timedelta(days=6) < entry.undo_until - entry.at < timedelta(days=8)
    dataset.undo(FIRST)
    undone, ingested, *_ = dataset.history()
    assert (undone.operation, undone.keys, ingested.undo_until) == ("undo", (FIRST,), None)


def test_what_was_emptied_comes_back(dataset: Dataset) -> None:
    before = values(dataset)
    dataset.ingest(rows([DAYS[1]]), keys=[FIRST, SECOND], run_key="emptied")
    assert values(dataset) == []
    dataset.undo(FIRST)
    assert values(dataset) == before


def test_unknown_runs_and_neither_nor(dataset: Dataset) -> None:
    with pytest.raises(UnknownPartition, match="no ingest with the run key 'nobody'"):
        dataset.undo(run="nobody")
    with pytest.raises(UnknownPartition, match="no ingest with the run key 'first'"):
        dataset.undo(run="first")
    with pytest.raises(SpecError, match="run key"):
        dataset.undo()
    with pytest.raises(SpecError, match="run key"):
        dataset.undo(FIRST, run="first")


@pytest.mark.slow
def test_a_change_since_is_not_taken_back(dataset: Dataset) -> None:
    dataset.ingest(rows([DAYS[0]], each=3), run_key="wrong")
    dataset.erase([("v", "==", 1)])
    with pytest.raises(PolicyRefused, match="changed since"):
        dataset.undo(FIRST)
    assert values(dataset) == [0, 2]


def test_after_the_grace_it_is_over(dataset: Dataset, fs: LakeFileSystem) -> None:
    dataset.ingest(rows([DAYS[0]], each=3), run_key="wrong")
    after = later(dataset, fs, days=8)
    assert after.undoable() == ()
    with pytest.raises(PolicyRefused, match="the grace of date=2013-01-01 ended"):
        after.undo(FIRST)
    assert len(after.vacuum().expired) == 1
    assert len(values(after)) == 3
    assert after.verify().ok


@pytest.mark.slow
def test_erased_rows_do_not_come_back(dataset: Dataset) -> None:
    dataset.ingest(rows([DAYS[0]], each=3, start=1000), run_key="other rows")
    report = dataset.erase([("v", "==", 7)])
    assert report.remnants, "they are in the old file"
    with pytest.raises(PolicyRefused, match="erased since"):
        dataset.undo(FIRST)


@pytest.mark.slow
def test_an_erasure_that_stopped_keeps_undo_out(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()

    def stop(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tierlake.pipelines.maintenance.erase.matching_remnants", stop)
    with pytest.raises(KeyboardInterrupt):
        delta.erase([("v", "==", 7)])
    with pytest.raises(PolicyRefused, match="erasure"):
        delta.undo_expiry(GONE)


@pytest.mark.slow
def test_an_erasure_that_failed_and_said_so_does_not(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()

    def fail(*_args: object) -> None:
        raise CommitConflict("others kept writing")

    with monkeypatch.context() as patched:
        patched.setattr("tierlake.pipelines.maintenance.erase.matching_remnants", fail)
        with pytest.raises(CommitConflict):
            delta.erase([("v", "==", 7)])
    assert delta.undo_expiry(GONE).changed
    assert delta.erase([("v", "==", 7)]).remaining == 0
    assert 7 not in values(delta)


@pytest.mark.slow
def test_a_compaction_is_no_change(delta: Dataset) -> None:
    before = values(delta)
    for number in range(3):
        delta.ingest(rows([DAYS[0]], each=2, start=10 * number), mode="append", run_key=f"more {number}")
    everything = values(delta)
    delta.ingest(rows([DAYS[0]], each=30, start=1000), run_key="wrong")
    delta.compact(FIRST, sort_by=["v"])
    delta.undo(run="wrong")
    assert values(delta) == everything
    assert len(everything) == len(before) + 6


@pytest.mark.slow
def test_an_append_since_is_not_taken_back(delta: Dataset) -> None:
    delta.ingest(rows([DAYS[0]], each=3), run_key="wrong")
    delta.ingest(rows([DAYS[0]], each=1, start=99), mode="append")
    with pytest.raises(PolicyRefused, match="changed since"):
        delta.undo(FIRST)
    delta.compact(FIRST)
    with pytest.raises(PolicyRefused, match="changed since"):
        delta.undo(FIRST)
    assert values(delta) == [0, 1, 2, 99]


@pytest.mark.slow
def test_new_columns_stay_and_other_types_refuse(delta: Dataset) -> None:
    before = values(delta)
    wider = rows([DAYS[0]], each=3).append_column("w", [["x"] * 3])
    delta.ingest(wider, run_key="wrong")
    delta.undo(FIRST)
    assert values(delta) == before
    assert delta.read(["w"]).column("w").null_count == 80
    record = next(iter(delta._handle.journal.records(RemovalRecord)))
    delta.ingest(rows([DAYS[0]], each=3), run_key="again")
    stored = next(iter(delta._handle.journal.records(RemovalRecord)))
    assert stored.id > record.id
    delta._handle.journal.write(stored.model_copy(update={"columns": {"v": "string"}}))
    with pytest.raises(PolicyRefused, match="v was string"):
        delta.undo(FIRST)


@pytest.mark.parametrize("then", ["delete", "overwrite", "nothing"])
def test_what_others_did_meanwhile_decides(delta: Dataset, fs: LakeFileSystem, then: str) -> None:
    """An expiry, another writer's RESTORE, and his DELETE: the rows that he deleted must not come back."""
    version = delta.version
    delta.plan_expiry(AS_OF).apply().raise_failures()
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.restore(version)
    if then == "delete":
        table.delete(f"date = '{DAYS[0]}'")
    elif then == "overwrite":
        other = rows([DAYS[0]], each=1, start=5).append_column("date", [[DAYS[0]]])
        table.delete(f"date = '{DAYS[0]}'")
        delta.ingest(other.drop_columns(["date"]), mode="append")
    expected = days_in(delta)
    if then == "nothing":
        assert not delta.undo_expiry(GONE).changed
    else:
        with pytest.raises(PolicyRefused):
            delta.undo_expiry(GONE)
    assert days_in(delta) == expected


def test_a_vacuum_that_has_begun_wins(dataset: Dataset, fs: LakeFileSystem) -> None:
    """Its record is there before it deletes: an undo that was checked before loses, whatever its own clock says."""
    dataset.plan_expiry(AS_OF).apply().raise_failures()
    record = next(one for one in dataset._handle.journal.records(RemovalRecord) if one.operation == "expire")

    def begin() -> None:
        journal, at = dataset._handle.journal, dataset._handle.clock.now()
        ended = {record.id: (GONE,)}
        journal.write(
            VacuumRecord(id=journal.new_id(at), at=at, state="begun", reason="", files=0, bytes=0, ended=ended)
        )
        dataset._handle.table.fence(at)

    handle = meddled(dataset, before=begin)
    if dataset.spec.format == "delta":
        from tierlake.pipelines.lifecycle.undo import undo_expiry

        with pytest.raises(PolicyRefused, match="being deleted"):
            undo_expiry(handle, GONE)
    else:
        begin()
    with pytest.raises(PolicyRefused, match="being deleted"):
        dataset.undo_expiry(GONE)
    assert GONE not in {str(part.key) for part in dataset.partitions()}
    states = {one.state for one in dataset._handle.journal.records(UndoRecord)}
    assert "done" not in states


def test_an_undo_that_commits_first_wins(dataset: Dataset, fs: LakeFileSystem) -> None:
    """Vacuum has looked and found the grace over; then the undo commits: the files stay."""
    dataset.plan_expiry(AS_OF).apply().raise_failures()
    after = later(dataset, fs, days=8)
    journal = after._handle.journal
    real = journal.new_id

    def undone(at):  # vacuum's first act after its look
        journal.new_id = real
        dataset.undo_expiry(GONE)
        return real(at)

    journal.new_id = undone
    result = after.vacuum()
    assert GONE not in "".join(result.expired)
    assert dataset.verify().ok
    assert days_in(dataset)[DAYS[0]] == 20


def test_a_dead_undo_does_not_keep_files_for_ever(dataset: Dataset, fs: LakeFileSystem) -> None:
    dataset.plan_expiry(AS_OF).apply().raise_failures()
    record = next(one for one in dataset._handle.journal.records(RemovalRecord) if one.operation == "expire")
    journal, at = dataset._handle.journal, dataset._handle.clock.now()
    begun = journal.write(
        UndoRecord(id=journal.new_id(at), at=at, state="begun", key=GONE, removal=record.id, files=1, bytes=1)
    )
    after = later(dataset, fs, days=8)
    assert len(after.vacuum().expired) == 1
    assert not journal.swap(begun, begun.model_copy(update={"state": "done"})), "whoever wakes up is told"


def test_a_process_that_died_after_the_commit(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was never completed: the log tells that the commit was made, and when."""
    from tierlake.pipelines.metastore import removal

    monkeypatch.setattr("tierlake.pipelines.lifecycle.expiry.completed", lambda _handle, record, _commit: record)
    delta.plan_expiry(AS_OF).apply()
    record = next(iter(delta._handle.journal.records(RemovalRecord)))
    assert record.committed_at is None
    found = removal.settled(delta._handle, record)
    assert found is not None
    assert found.version == delta.version
    assert found.committed_at is not None
    assert delta.undo_expiry(GONE).changed
    nothing = replace_record(record, "20991231T000000Z-000000-00000000")
    assert removal.settled(delta._handle, nothing) is None


def replace_record(record: RemovalRecord, record_id: str) -> RemovalRecord:
    return record.model_copy(update={"id": record_id})


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["its-own", "ceph"])
def test_what_came_while_a_large_file_went_up_comes_back(make_bucket, server, monkeypatch, profile) -> None:
    """Ceph's end of an upload takes no condition: the versions tell what it took the place of."""
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 0)
    options = server.storage_options | ({} if profile == "its-own" else {"profile": profile, "encryption": "none"})
    slow, quick = (LakeFileSystem(**options, skip_instance_cache=True) for _ in "ab")
    spec = daily_spec(make_bucket(versioned=True), format="parquet", tiers=[])
    dataset = Dataset.create(spec, fs=slow)
    dataset.ingest(rows([DAYS[0]]), run_key="first")
    gateway, came = dataset._handle.fs.store.gateway, []
    request, other = gateway._request, Dataset.open(spec.uri, fs=quick)

    async def late(operation, parameters):
        is_end = operation == "complete_multipart_upload" or (operation == "put_object" and profile == "ceph")
        if is_end and parameters["Key"].endswith("data.parquet") and not came:
            came.append(parameters)
            await asyncio.to_thread(other.ingest, rows([DAYS[0]], each=2, start=500), run_key="quick")
        return await request(operation, parameters)

    monkeypatch.setattr(gateway, "_request", late)
    dataset.ingest(rows([DAYS[0]], each=3, start=1000), run_key="slow")
    assert len(came) == 1
    assert values(dataset) == [1000, 1001, 1002]
    dataset.undo(run="slow")
    assert values(dataset) == [500, 501]
    assert dataset.verify().ok


def test_a_plain_table_without_versions_keeps_nothing(bucket: str, fs: LakeFileSystem) -> None:
    plain = Dataset.create(daily_spec(bucket, format="parquet"), fs=fs)
    plain.ingest(rows(), run_key="first")
    plain.ingest(rows([DAYS[0]], each=3), run_key="wrong")
    with pytest.raises(PolicyRefused, match="keeps no versions: what was there before is gone"):
        plain.undo(FIRST)
    assert len(values(plain)) == 3


def test_a_held_partition_without_versions_is_not_replaced(bucket: str, fs: LakeFileSystem) -> None:
    plain = Dataset.create(daily_spec(bucket, format="parquet"), fs=fs)
    plain.ingest(rows())
    plain.hold(FIRST, reason="audit")
    with pytest.raises(PolicyRefused, match="held"):
        plain.ingest(rows([DAYS[0]], each=3))
    assert len(values(plain)) == 20
    plain.ingest(rows([DAYS[1]], each=3))
    plain.release(FIRST)
    plain.ingest(rows([DAYS[0]], each=3))
    assert len(values(plain)) == 3


def test_an_act_that_died_before_it_did_anything_ends_no_grace(dataset: Dataset, fs: LakeFileSystem) -> None:
    """Its record names the files too, and is older than that of the act that took them out."""

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_expiry(meddled(dataset, before=die), dataset.plan_expiry(AS_OF))
    later(dataset, fs, days=6).plan_expiry(AS_OF).apply().raise_failures()
    after = later(dataset, fs, days=8)
    assert after.vacuum().expired == ()
    assert after.undo(GONE)[0].changed
    assert days_in(dataset)[DAYS[0]] == 20


@pytest.fixture
def plain(make_bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(make_bucket(versioned=True), format="parquet"), fs=fs)
    made.ingest(rows(), run_key="first")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2])
def test_an_interrupted_ingest_is_undone_with_its_second_attempt(
    plain: Dataset, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """The second attempt finds half of the first in the table's place, which nobody acknowledged."""
    before = {day: values(plain, day) for day in DAYS}
    source = rows([DAYS[0], DAYS[1], "2013-04-30", "2013-05-01"], each=3, start=900)
    emptied = PartitionKey.parse(f"date={DAYS[2]}")
    covered = [PartitionKey.parse(f"date={day}") for day in (DAYS[0], DAYS[1], "2013-04-30", "2013-05-01")]
    real = PlainObjects.publish

    def half(objects, staged, *where):
        if str(staged.file.key) in {SECOND, "date=2013-05-01"}:
            raise KeyboardInterrupt
        return real(objects, staged, *where)

    monkeypatch.setattr(PlainObjects, "publish", half)
    for _ in range(kills):
        with pytest.raises(KeyboardInterrupt):
            plain.ingest(source, run_key="wrong", keys=[*covered, emptied])
    monkeypatch.setattr(PlainObjects, "publish", real)
    plain.ingest(source, run_key="wrong", keys=[*covered, emptied])
    assert days_in(plain) == {DAYS[0]: 3, DAYS[1]: 3, DAYS[3]: 20, "2013-04-30": 3, "2013-05-01": 3}
    plain.undo(run="wrong")
    assert {day: values(plain, day) for day in DAYS} == before
    assert plain.verify().ok
    later(plain, fs, days=9).vacuum()
    assert len(fs.object_versions(f"{plain.spec.root}/date=")) == len(days_in(plain)) == 6


@pytest.mark.slow
def test_the_same_run_again_after_an_undo_is_no_second_attempt(plain: Dataset) -> None:
    """What came back was written by a run of that key, and was acknowledged."""
    before = values(plain)
    plain.ingest(rows([DAYS[0]], each=3, start=500), run_key="second")
    plain.undo(run="second")
    plain.ingest(rows([DAYS[0]], each=4, start=700), run_key="first")
    assert len(values(plain)) == 4
    plain.undo(FIRST)
    assert values(plain) == before


def test_what_came_after_the_last_look_can_come_back(plain: Dataset) -> None:
    """Two ingests fill a new day at once: the one that is replaced is on record."""
    both = meddled(plain, before=lambda: plain.ingest(rows(["2013-05-01"], each=3, start=500), run_key="other"))
    ingest(both, rows(["2013-05-01"], each=4, start=700), run_key="last")
    assert len(values(plain, "2013-05-01")) == 4
    plain.undo(run="last")
    assert values(plain, "2013-05-01") == [500, 501, 502]


def test_large_objects_say_their_run_too(plain: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 0)
    plain.ingest(rows([DAYS[0]], each=3), run_key="large")
    table = plain._handle.table
    (file,) = (one for one in table.snapshot().files if str(one.key) == FIRST)
    (known,) = table.identified([file])
    assert known.run == run_token("large")


@pytest.mark.slow
@pytest.mark.parametrize("column", ["no new column", "a new column"])
def test_a_log_whose_entries_a_lifecycle_rule_took_is_written_again(
    delta: Dataset, fs: LakeFileSystem, server, column: str
) -> None:
    """The checkpoint stands for all; deltalake writes no table whose newest entry is gone."""
    DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options()).create_checkpoint()
    bucket, _, prefix = delta.spec.root.partition("/")
    for key in server.keys(bucket, f"{prefix}/_delta_log/"):
        if key.endswith(".json"):
            server.admin.delete_object(Bucket=bucket, Key=key)
    opened = Dataset.open(delta.uri, fs=fs)
    before = values(opened)
    new = rows([DAYS[0]], each=3, start=700)
    opened.ingest(new if column == "no new column" else new.append_column("more", [[1, 2, 3]]), run_key="next")
    assert values(opened) == [700, 701, 702]
    opened.undo(run="next")
    assert values(opened) == before
    assert opened.verify().ok


@pytest.mark.slow
def test_an_ingest_that_died_before_it_named_its_objects_is_undone(
    plain: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = values(plain)
    with monkeypatch.context() as patched:
        patched.setattr("tierlake.pipelines.ingest.run.completed", lambda _handle, record, _commit: record)
        plain.ingest(rows([DAYS[0], DAYS[1]], each=3, start=500), run_key="wrong")
    assert not plain.ingest(rows([DAYS[0], DAYS[1]], each=3, start=500), run_key="wrong").committed
    plain.ingest(rows([DAYS[1]], each=4, start=700), run_key="since")
    with pytest.raises(PolicyRefused, match="has changed since"):
        plain.undo(run="wrong")
    plain.undo(FIRST)
    assert values(plain) == before
    assert len(values(plain, DAYS[1])) == 4
