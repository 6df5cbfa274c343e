"""A whole dataset that is dropped: refused, taken back, or gone for good with everything of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.pipelines.foreign import put, write_hive
from tests.pipelines.samples import DAYS, daily, daily_spec, days_in, meddled, rows
from tierlake.connector.errors import LakeError
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import PolicyRefused, TableNotFound, UnsupportedByTable
from tierlake.pipelines.metastore.document import DatasetDocument
from tierlake.pipelines.runtime.clock import ServerClock


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, make_bucket, fs) -> Dataset:
    """Four days, twenty rows each, in either format on a versioned bucket."""
    return daily(fs, make_bucket(versioned=True), format=request.param)


@pytest.fixture
def delta(make_bucket, fs) -> Dataset:
    return daily(fs, make_bucket())


def later(dataset: Dataset, fs: LakeFileSystem, **ahead: float) -> Dataset:
    return Dataset.open(dataset.uri, fs=fs, clock=ServerClock(fs, dataset.spec.bucket, timedelta(**ahead)))


def left(dataset: Dataset, server) -> list[str]:
    """Keys in the bucket, those of versions and delete markers included."""
    listed = server.admin.list_object_versions(Bucket=dataset.spec.bucket)
    return sorted({one["Key"] for kind in ("Versions", "DeleteMarkers") for one in listed.get(kind, ())})


def test_a_dropped_dataset_is_empty_takes_nothing_and_comes_back(dataset: Dataset, fs) -> None:
    result = dataset.drop(reason="moved", run_id="run-1")
    assert (result.changed, result.partitions, result.files) == (True, 4, 4)
    assert result.undo_until is not None
    assert "tierlake undrop" in str(result)
    for each in (dataset, Dataset.open(dataset.uri, fs=fs)):
        assert each.read().num_rows == 0
        assert each.dropped_at is not None
        for write in (
            lambda each=each: each.ingest(rows()),
            lambda each=each: each.rehearse(rows()),
            lambda each=each: each.apply_spec({"tiers": []}),
            lambda each=each: each.undo(f"date={DAYS[0]}"),
            lambda each=each: each.erase([("v", "==", 7)]),
            lambda: Dataset.create(dataset.spec, fs=fs),
            lambda: Dataset.adopt(dataset.uri, fs=fs),
        ):
            with pytest.raises(PolicyRefused, match="was dropped on") as refused:
                write()
            assert "tierlake undrop" in str(refused.value.hint)
    assert dataset.drop().changed is False
    told = {entry.operation: entry for entry in dataset.history()}
    assert (told["drop"].reason, told["drop"].run) == ("moved", "run-1")
    assert told["expire"].reason == "the dataset was dropped: moved"
    assert told["drop"].by is not None

    back = dataset.undrop(run_id="run-2")
    assert (back.changed, back.partitions) == (True, 4)
    assert days_in(dataset) == dict.fromkeys(DAYS, 20)
    assert dataset.verify().ok
    assert dataset.undrop().changed is False
    assert [step.key for step in dataset.plan_expiry("2013-04-11").steps] == [f"date={DAYS[0]}"], (
        "nothing is kept by it"
    )
    assert dataset.ingest(rows(["2013-05-01"])).rows == 20
    assert next(entry for entry in dataset.history() if entry.operation == "undrop").run == "run-2"


def test_held_and_retained_partitions_forbid_it(dataset: Dataset) -> None:
    first, second = (f"date={day}" for day in DAYS[:2])
    dataset.hold(first, reason="audit")
    for undo in (True, False):
        with pytest.raises(PolicyRefused, match=f"{first} .held: audit."):
            dataset.drop(undo=undo)
    with pytest.raises(PolicyRefused, match="held"):
        dataset.drop(dry_run=True)
    dataset.release(first)
    dataset.retain(second, until="2999-01-01")
    with pytest.raises(PolicyRefused, match=f"{second} .retained until 2999-01-01."):
        dataset.drop()
    assert days_in(dataset) == dict.fromkeys(DAYS, 20)
    assert dataset.dropped_at is None


@pytest.mark.slow
def test_a_hold_at_the_last_moment_forbids_it(delta: Dataset, monkeypatch) -> None:
    store = delta._handle.document
    assert store is not None
    update = type(store).update

    def held_first(self, change) -> DatasetDocument:
        monkeypatch.setattr(type(store), "update", update)
        delta.hold(f"date={DAYS[0]}", reason="audit")
        return update(self, change)

    monkeypatch.setattr(type(store), "update", held_first)
    with pytest.raises(PolicyRefused, match="held: audit"):
        delta.drop()
    assert days_in(delta) == dict.fromkeys(DAYS, 20)
    assert "drop" not in {entry.operation for entry in delta.history()}


@pytest.mark.slow
def test_after_the_grace_everything_of_its_own_goes_and_it_can_be_made_anew(dataset: Dataset, fs, server) -> None:
    dataset.ingest(rows([DAYS[0]], each=3))  # a replaced generation as well
    dataset.drop()
    early = later(dataset, fs, days=6).vacuum()
    assert (early.deleted, early.ends_dataset) == (0, False)
    late = later(dataset, fs, days=8)
    seen = late.vacuum(dry_run=True)
    assert (seen.deleted, seen.ends_dataset) == (5, True)
    assert left(dataset, server) != []
    assert late.vacuum().ends_dataset
    assert left(dataset, server) == []
    with pytest.raises(TableNotFound):
        Dataset.open(dataset.uri, fs=fs)
    again = Dataset.create(dataset.spec, fs=fs)
    assert again.read().num_rows == 0
    again.ingest(rows([DAYS[0]]))
    assert days_in(again) == {DAYS[0]: 20}


@pytest.mark.slow
def test_what_is_over_cannot_be_taken_back(dataset: Dataset, fs) -> None:
    dataset.drop()
    for dry_run in (True, False):
        with pytest.raises(PolicyRefused, match=r"grace of .* ended"):
            later(dataset, fs, days=8).undrop(dry_run=dry_run)
    assert dataset.dropped_at is not None, "nothing was changed"


def test_nested_tables_and_others_objects_stay(make_bucket, fs, server) -> None:
    outer = daily(fs, make_bucket(), retention={"grace": "0d"}, tiers=[])
    bucket = outer.spec.bucket
    put(server, f"{bucket}/daily/inner/_delta_log/notes.txt", b"theirs")
    put(server, f"{bucket}/daily2/_lake/x", b"a neighbour")
    outer.drop()
    late = later(outer, fs, days=0.5)
    late.vacuum()
    nested = "daily/inner/_delta_log/notes.txt"
    assert nested in server.keys(bucket)
    server.admin.delete_object(Bucket=bucket, Key=nested)
    assert "daily/_lake/dataset.json" not in server.keys(bucket) or late.vacuum().ends_dataset
    assert server.keys(bucket) == ["daily2/_lake/x"]


@pytest.mark.slow
def test_a_held_partition_keeps_the_dropped_dataset_until_it_is_released(delta: Dataset, fs, server) -> None:
    delta.drop()
    delta.hold(f"date={DAYS[0]}", reason="a lawsuit came")
    late = later(delta, fs, days=8)
    result = late.vacuum()
    assert (result.deleted, result.kept, result.ends_dataset) == (3, 1, False)
    late.release(f"date={DAYS[0]}")
    assert late.vacuum().ends_dataset
    assert server.keys(delta.spec.bucket) == []


@pytest.mark.slow
def test_a_vacuum_that_stopped_on_the_way_is_completed_by_the_next(delta: Dataset, fs, server, monkeypatch) -> None:
    delta.drop()
    late = later(delta, fs, days=8)
    real, calls = type(fs).delete_seen, []

    def once(self, objects):
        objects = list(objects)
        calls.append(objects)
        if any("_delta_log/" in one.path for one in objects):
            real(self, objects[:2])
            raise OSError("the process died")
        return real(self, objects)

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "delete_seen", once)
        with pytest.raises(OSError, match="died"):
            late.vacuum()
    with pytest.raises(PolicyRefused, match="being deleted for good"):
        later(delta, fs, days=1).undrop()
    assert server.keys(delta.spec.bucket) != []
    assert later(delta, fs, days=8).vacuum().ends_dataset
    assert server.keys(delta.spec.bucket) == []


@pytest.mark.slow
def test_rows_that_came_in_at_the_last_moment_are_not_lost(delta: Dataset, fs) -> None:
    """An ingest that had passed its check commits after the drop: the rows stay, and a second drop sees them."""
    racing = meddled(delta, before=lambda: Dataset.open(delta.uri, fs=fs).drop())
    Dataset(racing).ingest(rows(["2013-05-01"]))
    assert days_in(delta) == {"2013-05-01": 20}
    assert later(delta, fs, days=8).vacuum().ends_dataset is False
    assert days_in(delta) == {"2013-05-01": 20}
    assert delta.drop().partitions == 1
    assert days_in(delta) == {}


@pytest.mark.slow
def test_an_ingest_that_replaces_what_is_dropped_meanwhile_is_refused_or_comes_back(dataset: Dataset, fs) -> None:
    """It had passed its check, and rests on a look from before the drop."""
    racing = Dataset(meddled(dataset, before=lambda: Dataset.open(dataset.uri, fs=fs).drop()))
    try:
        racing.ingest(rows([DAYS[0]], each=3))
    except PolicyRefused:
        ingested = 20
    else:
        ingested = 3
    assert ingested == 20 or dataset.format == "parquet", "a log tells of the drop"
    result = dataset.undrop()
    assert days_in(dataset) == {**dict.fromkeys(DAYS, 20), DAYS[0]: ingested}
    assert list(result.refused) == ([] if ingested == 20 else [f"date={DAYS[0]}"])
    assert dataset.verify().ok


@pytest.mark.slow
def test_what_others_wrote_to_a_dropped_table_keeps_that_partition_alone_from_coming_back(delta: Dataset, fs) -> None:
    delta.drop()
    frame = rows([DAYS[0]], each=2).append_column("date", pa.array([DAYS[0]] * 2))
    names = DeltaTable(f"s3://{delta.spec.root}", storage_options=delta.fs.delta_options())
    write_deltalake(names, frame.select(names.schema().to_arrow().names), mode="append")
    for dry_run in (True, False):
        result = delta.undrop(dry_run=dry_run)
        assert (result.changed, result.partitions, list(result.refused)) == (not dry_run, 3, [f"date={DAYS[0]}"])
        assert "ingested again" in result.refused[f"date={DAYS[0]}"]
    assert days_in(delta) == {**dict.fromkeys(DAYS, 20), DAYS[0]: 2}
    before = next(entry.version for entry in delta.history() if entry.reason == "the dataset was dropped") - 1
    assert f"version={before}" in result.refused[f"date={DAYS[0]}"]
    assert delta.read(version=before, where=[("date", "==", DAYS[0])]).num_rows == 20
    assert delta.ingest(rows(["2013-05-01"])).rows == 20, "it is in use"


@pytest.mark.slow
def test_what_came_in_after_a_drop_is_in_use_again_when_the_grace_is_over(delta: Dataset, fs) -> None:
    Dataset(meddled(delta, before=lambda: Dataset.open(delta.uri, fs=fs).drop())).ingest(rows(["2013-05-01"]))
    late = later(delta, fs, days=8)
    assert late.undrop().partitions == 0
    assert delta.dropped_at is None
    assert days_in(delta) == {"2013-05-01": 20}


@pytest.mark.slow
def test_a_second_drop_is_told_from_the_first(dataset: Dataset) -> None:
    first = dataset.drop()
    for dry_run in (True, False):
        again = dataset.drop(dry_run=dry_run)
        assert again.is_done_already
        assert "is dropped already" in str(again)
        assert again.undo_until == first.undo_until
    diff = dataset.diff({"retention": {"grace": "9d"}})
    assert "was dropped: `tierlake undrop`" in str(diff)


@pytest.mark.slow
@pytest.mark.parametrize("is_dropped_again", [False, True])
def test_rows_that_came_in_at_the_last_moment_are_beside_those_that_come_back(
    dataset: Dataset, fs, is_dropped_again
) -> None:
    """They kept the dropped ones from coming back, which then went for good."""
    racing = meddled(dataset, before=lambda: Dataset.open(dataset.uri, fs=fs).drop())
    late, mode = rows([DAYS[0], DAYS[1]], each=3, start=100), "append" if dataset.format == "delta" else "replace"
    Dataset(racing).ingest(late, mode)
    assert days_in(dataset) == {DAYS[0]: 3, DAYS[1]: 3}
    if is_dropped_again:
        assert dataset.drop().partitions == 2
    assert dataset.undrop().changed
    both = 23 if dataset.format == "delta" else 3
    assert days_in(dataset) == {DAYS[0]: both, DAYS[1]: both, DAYS[2]: 20, DAYS[3]: 20}
    assert not dataset.undrop().changed
    assert dataset.verify().ok


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_number", [4, pytest.param(8, marks=pytest.mark.soak), 12, pytest.param(16, marks=pytest.mark.soak), 20]
)
def test_a_drop_while_an_erasure_is_at_work_can_be_taken_back(
    dataset: Dataset, fs, monkeypatch, request_number
) -> None:
    """What it saw of the dropped files was written down as spoiled, and nothing of the dataset came back."""
    other, gateway = Dataset.open(dataset.uri, fs=fs), dataset._handle.fs.store.gateway
    send, sent = gateway._send, []

    async def dropping(operation, request):
        sent.append(operation)
        if len(sent) == request_number:
            await asyncio.to_thread(other.drop)
        return await send(operation, request)

    monkeypatch.setattr(gateway, "_send", dropping)
    with pytest.raises(LakeError):
        dataset.erase([("v", "==", 7)])
    assert len(sent) > request_number
    assert other.undrop().changed
    assert set(days_in(other)) == set(DAYS)
    monkeypatch.undo()
    assert dataset.erase([("v", "==", 7)]).remaining == 0
    assert days_in(other) == dict.fromkeys(DAYS, 19)


def test_an_empty_dataset_is_dropped_and_taken_back(make_bucket, fs) -> None:
    empty = Dataset.create(daily_spec(make_bucket()), fs=fs)
    assert empty.drop().changed
    assert empty.undrop().changed
    assert empty.ingest(rows()).rows == 80


@pytest.mark.slow
def test_plain_tables_in_unversioned_buckets_need_undo_given_up(make_bucket, fs, server) -> None:
    plain = daily(fs, make_bucket(), format="parquet")
    with pytest.raises(PolicyRefused, match="unversioned"):
        plain.drop()
    assert days_in(plain) == dict.fromkeys(DAYS, 20)
    if server.name == "minio":  # it has no condition that would notice an ingest while an object is deleted
        with pytest.raises(UnsupportedByTable, match="could be replaced by an ingest"):
            plain.drop(undo=False)
        assert (days_in(plain), plain.dropped_at) == (dict.fromkeys(DAYS, 20), None)
        assert plain.ingest(rows()).rows == 80
        return
    result = plain.drop(undo=False)
    assert (result.changed, result.undo_until) == (True, None)
    with pytest.raises(PolicyRefused, match="without undo"):
        plain.undrop()
    assert plain.vacuum().ends_dataset
    assert server.keys(plain.spec.bucket) == []


def test_what_cannot_be_taken_out_stays_in_use(delta: Dataset) -> None:
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=delta.fs.delta_options())
    table.alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(UnsupportedByTable, match="append-only"):
        delta.drop()
    assert delta.dropped_at is None
    assert "drop" not in {entry.operation for entry in delta.history()}
    assert days_in(delta) == dict.fromkeys(DAYS, 20)


def test_what_others_made_is_theirs_to_delete(bucket, fs, server) -> None:
    write_hive(server, f"{bucket}/hive")
    with pytest.raises(UnsupportedByTable, match="no description of ours"):
        Dataset.open(f"lake://{bucket}/hive", fs=fs).drop()
