"""Compaction changes how rows lie in files, and nothing that a reader could notice."""

import io
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, delta_options, write_delta
from tests.pipelines.query.test_filtered_reads import handmade
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import CommitConflict, SchemaMismatch, UnknownPartition, UnsupportedByTable
from tierlake.pipelines.ingest.writer import WriterLimits
from tierlake.pipelines.maintenance.compact import compact, groups_of
from tierlake.pipelines.maintenance.rewrite import Rewriter, commit_rewrites
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import conflicts
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.tables.snapshot import LiveFile

KEYS = [f"date=2013-01-0{day}" for day in (1, 2, 3, 4)]


@pytest.fixture
def many(delta):
    """Four days, five files each."""
    for number in range(5):
        delta.ingest(make_trips(fare=10.0**number), mode="append", run_key=f"run {number}")
    return delta


def rows_of(dataset):
    return sorted(map(repr, dataset.read().to_pylist()))


def files_of(dataset):
    return {str(part.key): part.files for part in dataset.partitions()}


def stored(server, dataset, path):
    bucket, _, prefix = dataset.spec.root.partition("/")
    return pq.ParquetFile(io.BytesIO(server.admin.get_object(Bucket=bucket, Key=f"{prefix}/{path}")["Body"].read()))


def paths_of(dataset):
    return [file.path for file in dataset._handle.table.snapshot().files]


def test_small_files_become_one_and_the_rows_stay(many, server):
    before = rows_of(many)
    foreseen = many.compact(dry_run=True)
    assert [(part.files_before, part.files_after) for part in foreseen.partitions] == [(5, 1)] * 4
    assert files_of(many) == dict.fromkeys(KEYS, 5)
    result = many.compact()
    assert result.changed
    assert [(str(part.key), part.files_before, part.files_after) for part in result.partitions] == [
        (key, 5, 1) for key in KEYS
    ]
    assert files_of(many) == dict.fromkeys(KEYS, 1)
    assert rows_of(many) == before
    assert many.history()[0].operation == "compact"
    # other engines are told that no data changed
    log = DeltaTable(many.uri.replace("lake://", "s3://"), storage_options=delta_options(server))
    assert log.to_pyarrow_table().num_rows == len(before)
    assert not many.compact().changed
    assert many.verify().ok


@pytest.mark.slow
def test_one_partition_alone(many):
    result = many.compact(KEYS[1])
    assert [str(part.key) for part in result.partitions] == [KEYS[1]]
    assert files_of(many) == {**dict.fromkeys(KEYS, 5), KEYS[1]: 1}
    with pytest.raises(UnknownPartition):
        many.compact("date=1999-01-01")


@pytest.mark.slow
def test_sorting_and_a_higher_level_rewrite_what_is_compact_already(many, server):
    many.compact()
    before = rows_of(many)
    result = many.compact(KEYS[0], sort_by=["fare"], compression_level=19)
    assert result.changed
    file = stored(server, many, next(path for path in paths_of(many) if path.startswith(KEYS[0])))
    fares = file.read().column("fare").to_pylist()
    assert fares == sorted(fares)
    assert rows_of(many) == before
    with pytest.raises(SchemaMismatch):
        many.compact(sort_by=["nothing"])


@pytest.mark.slow
def test_appends_that_come_meanwhile_survive(many):
    handle = many._handle
    snapshot = handle.table.snapshot()
    key = PartitionKey.parse(KEYS[0])
    rewriter = Rewriter(handle, snapshot, handle.spec.write, None)
    rewrite = rewriter.rewrite(key, snapshot.by_partition()[key], "STANDARD")
    many.ingest(make_trips(days=1, fare=7.0), mode="append")
    commit, late = commit_rewrites(handle, "compact", [rewrite], {})
    assert commit is not None
    assert not late
    assert files_of(many)[KEYS[0]] == 2
    assert many.read(where=[("date", "==", "2013-01-01")]).num_rows == 60


@pytest.mark.slow
def test_files_that_others_replaced_meanwhile_are_not_brought_back(many, monkeypatch):
    handle = many._handle
    snapshot = handle.table.snapshot()
    key = PartitionKey.parse(KEYS[0])
    rewrite = Rewriter(handle, snapshot, handle.spec.write, None).rewrite(key, snapshot.by_partition()[key], "STANDARD")
    many.ingest(make_trips(days=1, each=3))
    commit, late = commit_rewrites(handle, "compact", [rewrite], {})
    assert (commit, late) == (None, (rewrite,))
    assert many.read(where=[("date", "==", "2013-01-01")]).num_rows == 3

    # a stale snapshot is found out at the commit itself
    for budget in ("BUDGET", "REWRITES"):
        monkeypatch.setattr(conflicts, budget, conflicts.ConflictBudget(seconds=0.5))
    with pytest.raises(CommitConflict, match="2013-01-01"):
        commit_rewrites(handle, "compact", [rewrite], {}, snapshot_of=lambda: snapshot)
    assert many.read(where=[("date", "==", "2013-01-01")]).num_rows == 3


@pytest.mark.slow
def test_a_partition_keeps_its_storage_class(many, server):
    if server.name == "minio":
        pytest.skip("MinIO's tiers are other servers")
    for path in paths_of(many):
        if path.startswith(KEYS[0]):
            many.fs.transition(f"{many.spec.root}/{path}", storage_class="STANDARD_IA")
    many.compact()
    assert {str(part.key): part.storage_class for part in many.partitions()} == {
        **dict.fromkeys(KEYS, "STANDARD"),
        KEYS[0]: "STANDARD_IA",
    }
    assert many.verify("2013-05-05").ok


@pytest.mark.slow
def test_an_expired_partition_forgets_the_runs_behind_compacted_files(many):
    many.compact()
    assert not many.ingest(make_trips(days=1), run_key="run 3", mode="append").committed
    many.plan_expiry("2013-10-29").apply().raise_failures()
    assert KEYS[0] not in files_of(many)
    many.undo_expiry(KEYS[0])
    assert not many.ingest(make_trips(days=1), run_key="run 3", mode="append").committed
    many.compact(sort_by=["fare"])  # rewritten once more: still known
    many.release(KEYS[0])
    later = "2013-12-29"
    many.plan_expiry(later).apply(keys=[KEYS[1]]).raise_failures()
    assert many.ingest(make_trips(days=1, start=1), run_key="run 3", mode="append").committed


@pytest.mark.slow
def test_old_files_go_after_the_grace(many, fs):
    many.compact()
    bucket = many.spec.bucket
    later = Dataset.open(many.uri, fs=fs, clock=ServerClock(fs, bucket, timedelta(days=8)))
    assert len(later.vacuum().expired) == 20
    assert later.read().num_rows == 200
    report = later.verify()
    assert report.ok
    assert report.orphans == 0


@pytest.mark.slow
def test_memory_is_bounded_and_files_have_the_target_size(bucket, fs):
    spec = trip_spec(
        bucket,
        partition={},
        tiers=[],
        retention={},
        write={"target_file_size": "64KB"},
        columns={"n": "int64", "x": "string"},
    )
    dataset = Dataset.create(spec, fs=fs)
    for start in range(0, 20_000, 2_000):
        numbers = range(start, start + 2_000)
        texts = [f"{number * 2654435761 % 2**32:x}" for number in numbers]
        dataset.ingest(pa.table({"n": pa.array(numbers), "x": texts}), mode="append")
    before = dataset.partitions()[0]
    assert before.files == 10
    result = compact(dataset._handle, limits=WriterLimits(memory_bytes=1 << 15))
    after = dataset.partitions()[0]
    assert result.changed
    assert 1 < after.files < before.files
    assert sorted(dataset.read().column("n").to_pylist()) == list(range(20_000))


@pytest.mark.slow
def test_foreign_tables_are_compacted_too(bucket, fs, server):
    root = f"{bucket}/theirs"
    for mode in ("error", "append", "append"):
        write_delta(server, root, by_day(), ["day", "shop"], mode)
    theirs = Dataset.open(f"lake://{root}", fs=fs)
    before = rows_of(theirs)
    assert len(theirs.compact().partitions) == 8
    assert rows_of(theirs) == before
    assert set(files_of(theirs).values()) == {1}


def test_a_plain_table_cannot_be_compacted(bucket, fs):
    plain = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    plain.ingest(make_trips())
    with pytest.raises(UnsupportedByTable, match="plain"):
        plain.compact()


sizes = st.lists(st.integers(1, 200), max_size=30)


@given(sizes, st.booleans())
def test_groups_hold_each_file_once_and_not_much_more_than_the_target(sizes, everything):
    at = datetime(2013, 1, 1, tzinfo=UTC)
    files = [LiveFile(f"{n:03d}", size, PartitionKey(()), 1, at) for n, size in enumerate(sizes)]
    groups = groups_of(files, 100, everything=everything)
    taken = [file.path for group in groups for file in group]
    assert len(taken) == len(set(taken))
    assert all(len(group) == 1 or sum(file.size for file in group) <= 100 for group in groups)
    if everything:
        assert len(taken) == len(files)
    else:
        assert all(len(group) > 1 for group in groups)


@pytest.mark.slow
def test_columns_that_only_the_files_have_are_put_together_too(make_bucket, fs, server):
    bucket = make_bucket()
    one = pa.table({"id": pa.array([1], pa.int64()), "extra": ["p"], "v": [{"a": 1, "b": 5}]})
    two = pa.table({"id": pa.array([2], pa.int64()), "x": [0.5]})
    v = {"type": "struct", "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": {}}]}
    fields = {"id": "long", "x": "double", "v": v}
    dataset = handmade(server, fs, bucket, [(one, None), (two, None)], fields)
    before = rows_of(dataset)
    assert dataset.compact().changed
    assert rows_of(dataset) == before
    (file,) = dataset._handle.table.snapshot().files
    stored = pq.read_table(io.BytesIO(fs.cat_file(f"{bucket}/hand/{file.path}"))).sort_by("id").to_pylist()
    assert stored == [
        {"id": 1, "x": None, "v": {"a": 1, "b": 5}, "extra": "p"},
        {"id": 2, "x": 0.5, "v": None, "extra": None},
    ]
    odd = [(one, None), (one.set_column(1, "extra", pa.array([7])), None)]
    with pytest.raises(SchemaMismatch, match=r"f1.parquet: extra is int64 there, string in another file"):
        handmade(server, fs, make_bucket(), odd, fields).compact()


@pytest.mark.slow
def test_rows_of_keys_alone_beside_rows_with_columns(bucket, fs):
    dataset = Dataset.create(trip_spec(bucket, partition={"by": ["k"]}, tiers=[], retention={}), fs=fs)
    dataset.ingest(pa.table({"k": ["a"]}))
    dataset.ingest(pa.table({"k": ["a"], "_row": [False]}), mode="append")
    expected = [{"k": "a", "_row": None}, {"k": "a", "_row": False}]
    assert sorted(dataset.read().to_pylist(), key=str, reverse=True) == expected
    assert dataset.compact().changed
    assert sorted(dataset.read().to_pylist(), key=str, reverse=True) == expected
    (file,) = dataset._handle.table.snapshot().files
    assert pq.read_schema(io.BytesIO(dataset.fs.cat_file(f"{dataset.spec.root}/{file.path}"))).names == ["_row"]
