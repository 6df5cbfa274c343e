"""A change of data is a change of rows: what waits for downstream (`retention.after`) goes by that alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from tests.pipelines.samples import AS_OF, DAYS, clock_of, daily, rows
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import clock as clocks
from tierlake.pipelines.tables.snapshot import SameRows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.servers import Rig
    from tierlake.connector.filesystem import LakeFileSystem

ON_SEAWEEDFS = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
GONE, COLD = (f"date={day}" for day in DAYS[:2])
RETENTION = {"expire_after": "60d", "grace": "7d", "after": ["summary"]}
TIERED = "2013-02-15"
"""The first two days are old enough for a tier then, and none for its end."""


def made(fs: LakeFileSystem, bucket: str, format_: str, **changes: Any) -> Dataset:
    return daily(fs, bucket, format=format_, retention=RETENTION, **({"tiers": ()} | changes))


def seen(dataset: Dataset) -> datetime:
    """An instant after all that was done, and before all that will be: the start of a second, by the server's clock."""
    clock = clock_of(dataset)
    before, deadline = clock.now(), time.monotonic() + 10
    while (now := clock.now()) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now


def due(dataset: Dataset, at: datetime | dict[str, datetime], as_of: datetime | str = AS_OF) -> list[str]:
    """What expires although the downstream asset was last materialized at an instant."""

    def sight(keys: Collection[PartitionKey]) -> dict[PartitionKey, list[Reading]]:
        return {key: [Reading(at=at.get(str(key)) if isinstance(at, dict) else at)] for key in keys}

    return [step.key for step in dataset.plan_expiry(as_of, materialized={"summary": sight}).steps]


def log_folder(dataset: Dataset) -> str:
    return f"{dataset._handle.table.root}/_delta_log"


def forget_commits(dataset: Dataset) -> None:
    """As the clean-up of a log does: a checkpoint stands for the commits."""
    fs = dataset._handle.fs
    delta_table(dataset).create_checkpoint()
    for path in fs.find(log_folder(dataset), refresh=True):
        if path.endswith(".json"):
            fs.rm_file(path)


def delta_table(dataset: Dataset) -> DeltaTable:
    handle = dataset._handle
    return DeltaTable(f"s3://{handle.table.root}", storage_options=handle.fs.delta_options())


# -- no change --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compaction_is_no_change_even_when_the_log_has_forgotten_it(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "delta")
    dataset.ingest(rows([DAYS[0]], start=1000), mode="append")
    times = {str(part.key): part.changed for part in dataset.partitions()}
    at = seen(dataset)
    assert due(dataset, at) == [GONE, COLD]
    assert dataset.compact().changed
    assert due(dataset, at) == [GONE, COLD]
    assert {str(part.key): part.changed for part in dataset.partitions()} == times
    forget_commits(dataset)
    assert due(dataset, at) == [GONE, COLD]
    assert due(dataset, min(times[GONE], times[COLD]) - timedelta(seconds=1)) == []


@pytest.mark.slow
@ON_SEAWEEDFS
def test_compaction_by_others_is_no_change(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "delta")
    dataset.ingest(rows([DAYS[0]], start=1000), mode="append")
    at = seen(dataset)
    assert delta_table(dataset).optimize.compact()["numFilesRemoved"] == 2
    assert due(dataset, at) == [GONE, COLD]
    dataset.ingest(rows([DAYS[1]], start=1000), mode="append")
    assert due(dataset, at) == [GONE]

    # the log forgets the ingests and remembers the compaction: what the files were before it tells
    fresh = seen(dataset)
    delta_table(dataset).create_checkpoint()
    compacted = delta_table(dataset).version() + 1
    delta_table(dataset).optimize.compact()
    for path in fs.find(log_folder(dataset), refresh=True):
        if path.endswith(".json") and int(path[-25:-5]) < compacted:
            dataset._handle.fs.rm_file(path)
    assert due(dataset, fresh) == [GONE, COLD]
    assert due(dataset, at) == []  # that the first one was a compaction is forgotten: it waits longer


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_tiering_is_no_change(fs: LakeFileSystem, bucket: str, format_: str, server: Rig) -> None:
    """On MinIO as a copy onto itself, which has another time and ETag there; its tiers are in another test."""
    classes = {"warm": "REDUCED_REDUNDANCY"} if server.name == "minio" else {}
    dataset = made(fs, bucket, format_, tiers=[{"after": "1d", "tier": "warm"}])
    at = seen(dataset)
    times = {str(part.key): part.changed for part in dataset.partitions()}
    seen(dataset)  # the copies have another second
    moved_by_copies(dataset, classes)
    assert {str(part.key): part.changed for part in dataset.partitions()} == times
    assert due(dataset, at) == [GONE, COLD]

    dataset.ingest(rows(DAYS[1:2], each=3))
    assert due(dataset, at) == [GONE]


def moved_by_copies(dataset: Dataset, classes: dict[str, str]) -> None:
    """Tier, by copies onto themselves on every server."""
    if not classes:
        assert dataset.plan_tiering(TIERED).apply().ok
        return
    handle = dataset._handle
    same = []
    for path, info in handle.fs.find(f"{handle.table.root}/", detail=True, refresh=True).items():
        if path.endswith(".parquet") and "/_delta_log/" not in path:
            written = handle.fs.transition(path, storage_class=classes["warm"]).written
            assert written is not None
            name, etag = path.removeprefix(f"{handle.table.root}/"), info["ETag"].strip('"')
            same.append(SameRows(name, etag, info["LastModified"], written.etag, written.modified))
    assert same
    handle.table.note_same_rows(same)


@pytest.mark.slow
@ON_SEAWEEDFS
def test_moved_twice_and_mended_is_no_change(fs: LakeFileSystem, make_bucket: Callable[..., str]) -> None:
    dataset = made(fs, make_bucket(versioned=True), "parquet", tiers=[{"after": "1d", "tier": "warm"}])
    at = seen(dataset)
    assert dataset.plan_tiering(TIERED).apply().ok
    root = dataset._handle.table.root
    seen(dataset)
    for path in fs.find(f"{root}/{GONE}"):
        dataset._handle.fs.transition(path, storage_class="GLACIER_IR")  # by somebody who tells nobody
    assert GONE not in due(dataset, at)
    after = seen(dataset)
    assert dataset.verify(TIERED, repair=True).repaired
    assert due(dataset, after) == [GONE, COLD]


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_restore_is_no_change(moto: Rig, format_: str) -> None:
    bucket = moto.make_bucket()
    try:
        inside = fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options)
        dataset = made(inside, bucket, format_)
        times = {str(part.key): part.changed for part in dataset.partitions()}
        root = dataset._handle.table.root
        for path in inside.find(f"{root}/{GONE}"):
            was = dataset._handle.fs.info(path)
            written = dataset._handle.fs.transition(path, storage_class="DEEP_ARCHIVE").written
            assert written is not None
            name, etag = path.removeprefix(f"{root}/"), was["ETag"].strip('"')
            same = SameRows(name, etag, was["LastModified"], written.etag, written.modified)
            dataset._handle.table.note_same_rows([same])
        assert dataset.restore(GONE, days=1).archived
        assert {str(part.key): part.changed for part in dataset.partitions()} == times
    finally:
        moto.drop_bucket(bucket)


@pytest.mark.slow
@ON_SEAWEEDFS
def test_an_undo_of_nothing_is_no_change(fs: LakeFileSystem, make_bucket: Callable[..., str]) -> None:
    for format_ in ("delta", "parquet"):
        dataset = made(fs, make_bucket(versioned=True), format_)
        at = seen(dataset)
        assert not dataset.undo_expiry(GONE).changed
        assert due(dataset, at) == [GONE, COLD]


@pytest.mark.slow
@ON_SEAWEEDFS
def test_adoption_is_no_change(fs: LakeFileSystem, bucket: str) -> None:
    plain = made(fs, bucket, "parquet")
    at = seen(plain)
    seen(plain)
    assert Dataset.adopt(plain.uri, dry_run=False, fs=fs)
    adopted = Dataset.open(plain.uri, fs=fs, clock=clock_of(plain))
    assert adopted.spec.format == "delta"
    assert due(adopted, at) == [GONE, COLD]
    adopted.ingest(rows([DAYS[0]], start=1000), mode="append")
    assert due(adopted, at) == [COLD]


# -- changes ----------------------------------------------------------------------------------------------------------


@ON_SEAWEEDFS
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_rows_that_come_go_or_come_back_are_changes(
    fs: LakeFileSystem, make_bucket: Callable[..., str], format_: str
) -> None:
    dataset = made(fs, make_bucket(versioned=True), format_)
    at = seen(dataset)
    dataset.ingest(rows([DAYS[0]], each=3))
    assert due(dataset, at) == [COLD]

    at = seen(dataset)
    assert dataset.erase([("v", "==", 1), ("date", "==", DAYS[0])]).rows == 1
    assert due(dataset, at) == [COLD]

    at = seen(dataset)
    assert due(dataset, at) == [GONE, COLD]
    plan = dataset.plan_expiry(AS_OF, materialized={"summary": lambda keys: {key: [Reading(at=at)] for key in keys}})
    assert plan.apply(keys=[GONE]).ok
    assert dataset.undo_expiry(GONE).changed
    later = clock_of(dataset).now() + timedelta(days=30)  # undo keeps what came back for another grace
    assert due(dataset, at, later) == [COLD, *(f"date={day}" for day in DAYS[2:])]
    assert GONE in due(dataset, seen(dataset), later)


@pytest.mark.slow
@ON_SEAWEEDFS
def test_a_file_that_goes_beside_others_is_a_change(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "delta")
    dataset.ingest(rows([DAYS[0]], start=1000), mode="append")
    at = seen(dataset)
    dataset.erase([("v", ">=", 1000)])
    assert len(dataset._handle.table.snapshot().by_partition()[PartitionKey.parse(GONE)]) == 1
    assert due(dataset, at) == [COLD]
    assert dataset.read(where=[("date", "==", DAYS[0])]).num_rows == 20
    forget_commits(dataset)
    assert due(dataset, at) == [COLD]
    assert dataset.read(where=[("date", "==", DAYS[0])]).num_rows == 20


@pytest.mark.slow
@ON_SEAWEEDFS
def test_a_file_of_a_plain_table_that_goes_beside_others_is_a_change(fs: LakeFileSystem, bucket: str) -> None:
    import io

    import pyarrow.parquet as pq

    dataset = made(fs, bucket, "parquet")
    sink = io.BytesIO()
    pq.write_table(rows([DAYS[0]], start=1000), sink)
    dataset._handle.fs.pipe_file(f"{dataset._handle.table.root}/{GONE}/other.parquet", sink.getvalue())
    at = seen(dataset)
    assert due(dataset, at) == [GONE, COLD]
    dataset.erase([("v", ">=", 1000)])
    assert due(dataset, at) == [COLD]


@pytest.mark.slow
@ON_SEAWEEDFS
def test_a_tiering_that_dies_before_it_tells_waits_longer(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made(fs, bucket, "parquet", tiers=[{"after": "1d", "tier": "warm"}])
    at = seen(dataset)
    seen(dataset)

    def dies(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset._handle.table, "note_same_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        dataset.plan_tiering(TIERED).apply()
    assert due(dataset, at) == []
    assert due(dataset, seen(dataset)) == [GONE, COLD]


@pytest.mark.slow
@ON_SEAWEEDFS
def test_what_is_known_of_an_object_is_known_of_no_other(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "parquet", tiers=[{"after": "1d", "tier": "warm"}])
    at = seen(dataset)
    assert dataset.plan_tiering(TIERED).apply().ok
    root, inside = dataset._handle.table.root, dataset._handle.fs
    for path in fs.find(f"{root}/{GONE}"):
        inside.pipe_file(path, fs.cat_file(f"{root}/{COLD}/data.parquet"))  # somebody else's write
    assert due(dataset, at) == [COLD]
    inside.pipe_file(f"{root}/_lake/changes.json", b"edited by hand")
    assert due(dataset, at) == []


# -- whose clock ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@ON_SEAWEEDFS
def test_a_writer_whose_clock_is_wrong_changes_when_the_server_says(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "delta")
    at = seen(dataset)
    table = delta_table(dataset)
    live = dataset._handle.table.snapshot().by_partition()[PartitionKey.parse(GONE)][0]
    root, inside = dataset._handle.table.root, dataset._handle.fs
    inside.cp_file(f"{root}/{live.path}", f"{root}/{GONE}/theirs.parquet")
    week_ago = int((datetime.now(UTC) - timedelta(days=8)).timestamp() * 1000)
    theirs = AddAction(f"{GONE}/theirs.parquet", live.size, {"date": DAYS[0]}, week_ago, True, live.stats or "{}")
    table.create_write_transaction([theirs], "append", table.schema(), ["date"])
    assert due(dataset, at) == [COLD]

    ahead = int((datetime.now(UTC) + timedelta(days=800)).timestamp() * 1000)
    inside.cp_file(f"{root}/{live.path}", f"{root}/{GONE}/ahead.parquet")
    theirs = AddAction(f"{GONE}/ahead.parquet", live.size, {"date": DAYS[0]}, ahead, True, live.stats or "{}")
    table = delta_table(dataset)
    table.create_write_transaction([theirs], "append", table.schema(), ["date"])
    assert due(dataset, seen(dataset)) == [GONE, COLD]


@ON_SEAWEEDFS
def test_our_files_have_the_servers_time(fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=8)

    dataset = made(fs, bucket, "delta")
    at = seen(dataset)
    monkeypatch.setattr(clocks, "datetime", Behind)
    monkeypatch.setattr("tierlake.pipelines.ingest.writer.datetime", Behind)
    dataset.ingest(rows([DAYS[0]], each=3))
    forget_commits(dataset)
    assert due(dataset, at) == [COLD]


@ON_SEAWEEDFS
def test_others_keys_are_known_however_they_spell_them(fs: LakeFileSystem, bucket: str) -> None:
    """The log has `2024-01-05T00:00:00.000000Z` where the key has `2024-01-05 00:00:00`."""
    uri, options = f"s3://{bucket}/theirs", fs.delta_options()
    at = pa.array([datetime(2013, 1, 5, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    write_deltalake(uri, pa.table({"ts": at, "v": [1]}), partition_by=["ts"], storage_options=options)
    said = {"retention": {"expire_after": "60d", "after": ["summary"]}}
    dataset = Dataset.open(f"lake://{bucket}/theirs", spec=said, fs=fs)
    (key,) = [str(part.key) for part in dataset.partitions()]
    before = datetime.now(UTC) - timedelta(hours=1)
    changes = dataset._handle.table.changes(dataset._handle.table.snapshot(), [PartitionKey.parse(key)], before)
    assert list(map(str, changes)) == [key]


def test_the_end_of_a_second() -> None:
    second = datetime(2024, 1, 5, tzinfo=UTC)
    told = second + timedelta(milliseconds=300)
    assert clocks.end_of(second) == second + timedelta(microseconds=999_999)
    assert clocks.end_of(second, told) == told
    for wrong in (second - timedelta(days=8), second + timedelta(seconds=1), second + timedelta(days=8)):
        assert clocks.end_of(second, wrong) == second + timedelta(microseconds=999_999)
    precise = second + timedelta(milliseconds=12)
    assert clocks.end_of(precise, told) == precise
