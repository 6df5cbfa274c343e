"""Rows that must be forgotten leave every partition that holds them, and the report says where they still are."""

import io
import itertools
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, parquet, put, write_delta
from tests.pipelines.query.test_filtered_reads import handmade
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import PolicyRefused, SchemaMismatch, SpecError
from tierlake.pipelines.maintenance.rewrite import Rewriter
from tierlake.pipelines.parquet import row_groups
from tierlake.pipelines.query import restore
from tierlake.pipelines.runtime.clock import ServerClock

JFK = [("city", "==", "JFK")]


def cities(dataset):
    found = {}
    for city in dataset.read(["city"]).column("city").to_pylist():
        found[city] = found.get(city, 0) + 1
    return found


def versions(server, dataset):
    bucket, _, prefix = dataset.spec.root.partition("/")
    pages = server.admin.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{prefix}/date=")
    return [version for page in pages for version in page.get("Versions", [])]


def test_matching_rows_leave_every_partition_and_nothing_else_does(dataset, trips):
    dataset.ingest(trips())
    before = cities(dataset)
    foreseen = dataset.erase(JFK, dry_run=True)
    assert (foreseen.rows, foreseen.files, len(foreseen.partitions)) == (before["JFK"], 4, 4)
    assert cities(dataset) == before
    report = dataset.erase(JFK)
    assert report.rows == before["JFK"]
    assert cities(dataset) == {city: rows for city, rows in before.items() if city != "JFK"}
    assert dataset.erase(JFK).rows == 0
    assert dataset.verify().ok


@pytest.mark.slow
def test_rows_for_which_the_predicate_is_null_stay(dataset, trips):
    dataset.ingest(trips())
    nulls = cities(dataset)[None]
    dataset.erase(pc.field("city") != "LGA")
    assert set(cities(dataset)) == {None, "LGA"}
    assert cities(dataset)[None] == nulls


def test_only_files_with_matches_are_rewritten(dataset, trips):
    dataset.ingest(trips())
    before = {file.path: file.modified for file in dataset._handle.table.snapshot().files}
    report = dataset.erase([("at", ">=", "2013-01-04T00:00:00+00:00")])
    assert [str(part.key) for part in report.partitions] == ["date=2013-01-04"]
    after = {file.path: file.modified for file in dataset._handle.table.snapshot().files}
    assert len(after) == 3
    assert after.items() <= before.items()


@pytest.mark.slow
def test_one_commit_for_a_delta_table_without_the_value(delta, trips, server):
    delta.ingest(trips())
    version = delta.version
    delta.erase([("city", "==", "JFK"), ("fare", "<", 1000.5)], run_id="request 7")
    assert delta.version == version + 1
    entry = delta.history()[0]
    assert (entry.operation, entry.reason, entry.run) == ("erase", "rows erased on request", "request 7")
    bucket, _, prefix = delta.spec.root.partition("/")
    log = f"{prefix}/_delta_log/{delta.version:020d}.json"
    commit_info = server.admin.get_object(Bucket=bucket, Key=log)["Body"].read().splitlines()
    told = b"".join(line for line in commit_info if b'"commitInfo"' in line)
    assert b"1000.5" not in told


@pytest.mark.slow
def test_old_files_are_reported_until_they_are_gone(delta, trips, fs):
    delta.ingest(trips())
    report = delta.erase(JFK)
    assert not report.is_complete
    assert sum(remnant.rows for remnant in report.remnants) == report.rows
    assert {remnant.why for remnant in report.remnants} == {"expired or replaced"}
    assert "can still be read" in str(report)
    assert delta.read(version=delta.version - 1).num_rows == 40
    later = Dataset.open(delta.uri, fs=fs, clock=ServerClock(fs, delta.spec.bucket, timedelta(days=8)))
    later.vacuum()
    assert later.erase(JFK).is_complete


@pytest.mark.slow
def test_old_files_can_be_deleted_at_once_by_a_dangerous_name(dataset, trips, server):
    dataset.ingest(trips())
    before = cities(dataset)
    report = dataset.erase(JFK, unsafe_delete_old_files=True)
    assert report.is_complete, str(report)
    assert sum(remnant.rows for remnant in report.deleted) == before["JFK"]
    assert len(versions(server, dataset)) == 4
    assert "vacuum" in {entry.operation for entry in dataset.history()}
    assert dataset.verify().ok


@pytest.mark.slow
def test_rows_of_expired_partitions_are_found_in_their_grace(delta, trips):
    delta.ingest(trips())
    delta.plan_expiry("2013-10-29").apply().raise_failures()
    report = delta.erase(JFK)
    assert "date=2013-01-01" not in {str(part.key) for part in report.partitions}
    assert "date=2013-01-01" in {str(remnant.key) for remnant in report.remnants}
    delta.erase(JFK, unsafe_delete_old_files=True)
    with pytest.raises(PolicyRefused, match="being deleted for good"):
        delta.undo_expiry("date=2013-01-01")


@pytest.mark.slow
def test_a_hold_wins(dataset, trips):
    dataset.ingest(trips())
    dataset.hold("date=2013-01-02", reason="lawsuit")
    report = dataset.erase(JFK, unsafe_delete_old_files=True)
    assert report.held == {"date=2013-01-02": "held: lawsuit"}
    assert not report.is_complete
    assert cities(dataset)["JFK"] == 3
    dataset.release("date=2013-01-02")
    assert dataset.erase(JFK).rows == 3


@pytest.mark.slow
def test_rows_that_come_meanwhile_are_erased_too(delta, trips, monkeypatch):
    delta.ingest(trips())
    real = Rewriter.rewrite
    turns = itertools.count()

    def rewrite(self, *args, **kwargs):
        if next(turns) == 0:
            delta.ingest(trips(days=1, fare=50.0), mode="append")
            delta.ingest(trips(days=1, start=1, each=3))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Rewriter, "rewrite", rewrite)
    delta.erase(JFK)
    assert "JFK" not in cities(delta)
    assert cities(delta) == {"LGA": 3 + 3 + 1 + 3 + 3, None: 3 + 3 + 1 + 4 + 3}


@pytest.mark.slow
def test_a_hold_that_comes_meanwhile_wins_too(delta, trips, monkeypatch):
    delta.ingest(trips())
    real = Rewriter.rewrite

    def rewrite(self, *args, **kwargs):
        delta.hold("date=2013-01-02", reason="lawsuit")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Rewriter, "rewrite", rewrite)
    report = delta.erase(JFK)
    assert report.held == {"date=2013-01-02": "held: lawsuit"}
    assert len(report.partitions) == 3
    assert cities(delta)["JFK"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("versioned", [False, True], ids=["unversioned", "versioned"])
@pytest.mark.parametrize("single_put_bytes", [64 << 20, 0], ids=["in-one-request", "in-parts"])
def test_an_object_that_others_replaced_meanwhile_is_not_overwritten(
    make_bucket, fs, monkeypatch, single_put_bytes, versioned
):
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", single_put_bytes)
    plain = Dataset.create(trip_spec(make_bucket(versioned=versioned), format="parquet"), fs=fs)
    plain.ingest(make_trips())
    real = Rewriter._rows
    once = []

    def rows(self, *args):
        yield from real(self, *args)
        if not once:
            once.append(plain.ingest(make_trips(days=1, each=3)))

    monkeypatch.setattr(Rewriter, "_rows", rows)
    plain.erase(JFK)
    assert "JFK" not in cities(plain)
    assert plain.read(where=[("date", "==", "2013-01-01")]).num_rows == 2


@pytest.mark.slow
def test_what_empties_an_object_needs_no_versions(bucket, fs, server):
    """Nor a condition on deletions: where there is none, an object without rows takes its place."""
    plain = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    plain.ingest(make_trips())
    where = [("date", "==", "2013-01-02")]
    assert plain.erase(where).remaining == 0
    plain.ingest(make_trips(days=0), keys=["date=2013-01-03"])
    left = sum(key.endswith("data.parquet") for key in server.keys(bucket))
    assert left == (2 if fs.profile.delete_if_match else 4)
    assert plain.read().num_rows == 20
    assert plain.read(where=where).num_rows == 0
    assert len(pd.read_parquet(plain.uri, storage_options=server.storage_options)) == 20
    plain.ingest(make_trips(days=2, start=1))
    assert plain.read().num_rows == 40
    assert plain.verify().ok


@pytest.mark.slow
def test_the_storage_class_stays(delta, trips, server):
    if server.name == "minio":
        pytest.skip("MinIO's tiers are other servers")
    delta.ingest(trips())
    for file in delta._handle.table.snapshot().files[:2]:
        delta.fs.transition(f"{delta.spec.root}/{file.path}", storage_class="STANDARD_IA")
    before = [part.storage_class for part in delta.partitions()]
    assert set(before) == {"STANDARD", "STANDARD_IA"}
    delta.erase(JFK)
    assert [part.storage_class for part in delta.partitions()] == before


@pytest.mark.slow
def test_foreign_tables_and_typed_keys(bucket, fs, server):
    root = f"{bucket}/theirs"
    write_delta(server, root, by_day(), ["day", "shop"])
    theirs = Dataset.open(f"lake://{root}", fs=fs)
    report = theirs.erase([("shop", "==", "1"), ("v", "<", "10")])
    assert {str(part.key) for part in report.partitions} == {"day=2013-01-01/shop=1", "day=2013-01-02/shop=1"}
    assert theirs.read().num_rows == 15


@pytest.mark.parametrize("whole_files", [True, False])
def test_columns_that_only_an_older_file_has_stay_in_it(bucket, fs, server, monkeypatch, whole_files):
    """The table does not show them, and they are nobody's to drop."""
    if not whole_files:
        monkeypatch.setattr(row_groups, "_SMALL_BYTES", 0)
    old = pa.table(
        {
            "id": [1, 2],
            "v": [{"a": 1, "b": [5]}, {"a": 2, "b": [6]}],
            "l": [[{"p": 1, "q": 1}], [{"p": 2, "q": 2}]],
            "m": pa.array(
                [[("x", {"p": 1, "q": 1})], None], pa.map_(pa.string(), pa.struct({"p": "int8", "q": "int8"}))
            ),
            "extra": ["p", "q"],
            "unsigned": pa.array([1, 2**64 - 1], pa.uint64()),
            "__matches": [True, False],
        }
    )
    new = pa.table(
        {
            "id": [3],
            "v": [{"a": 3}],
            "l": [[{"p": 3}]],
            "m": pa.array([None], pa.map_("string", pa.struct({"p": "int8"}))),
        }
    )
    for day, rows in (("2013-01-01", old), ("2013-01-02", new)):
        put(server, f"{bucket}/t/day={day}/0.parquet", parquet(rows))
    newest = Dataset.open(f"lake://{bucket}/t", fs=fs)
    table = newest._handle.table
    monkeypatch.setattr(table._schema, "_newest", lambda files, *_classes: new.schema)
    assert newest.schema.names == ["day", "id", "v", "l", "m"]
    assert newest.erase([("id", "==", 1)]).rows == 1
    left = pq.read_table(io.BytesIO(fs.cat_file(f"{bucket}/t/day=2013-01-01/0.parquet")))
    assert left.select(old.column_names).to_pylist() == old.slice(1).to_pylist()
    assert left.schema.field("unsigned").type == pa.uint64()
    assert sorted(newest.read(["id"])["id"].to_pylist()) == [2, 3]


@pytest.mark.parametrize("whole_files", [True, False])
def test_values_that_the_tables_types_have_no_room_for_stay(bucket, fs, server, monkeypatch, whole_files):
    if not whole_files:
        monkeypatch.setattr(row_groups, "_SMALL_BYTES", 0)
    old = pa.table(
        {
            "id": [1, 2, 3],
            "n": [1, 2**40, None],
            "t": pa.array([1, 1_000_000_001, None], pa.timestamp("ns")),
            "u": ["x", "7", None],
            "x": pa.array([0.5, 1.5, None], pa.float32()),
            "s": pa.array(["a", "b", None], pa.string_view()),
        }
    )
    kinds = {"id": pa.int64(), "n": pa.int32(), "t": pa.timestamp("us"), "u": pa.int64(), "x": pa.float64()}
    put(server, f"{bucket}/t/k=a/0.parquet", parquet(old))
    dataset = Dataset.open(f"lake://{bucket}/t", fs=fs)
    assert dataset.schema.field("s").type == pa.string()
    assert dataset.read(["id"], where=[("s", "==", "b")])["id"].to_pylist() == [2]
    monkeypatch.setattr(dataset._handle.table._schema, "_newest", lambda files, *_classes: pa.schema(kinds))
    assert dataset.erase([("id", "==", 1)]).rows == 1
    with pytest.raises(SchemaMismatch, match=r"k=a/0.parquet by \(n == 1\): Integer value 1099511627776 not in range"):
        dataset.erase([("n", "==", 1)])
    left = pq.read_table(io.BytesIO(fs.cat_file(f"{bucket}/t/k=a/0.parquet")))
    assert left.cast(left.schema.set(5, pa.field("s", pa.string()))).to_pydict() == old.slice(1).to_pydict()
    assert left.schema.field("x").type == pa.float64()


@pytest.mark.parametrize("what", ["erase", "erase --dry-run"])
def test_a_predicate_that_fails_for_some_row_is_named_with_the_file(delta, trips, what):
    delta.ingest(trips())
    wrong = pc.field("city").cast("int64") == 1
    with pytest.raises(SchemaMismatch, match=r"cannot read lake://.*date=2013-01-0\d/.*parquet by .*Failed to parse"):
        delta.erase(wrong, dry_run=what != "erase")
    assert delta.read().num_rows == 40


@pytest.mark.slow
def test_old_files_whose_path_does_not_tell_their_partition_are_named(make_bucket, fs, server):
    rows = pa.table({"id": pa.array([1, 2], pa.int64())})
    files = [(rows, None, {"k": "a"}), (rows, None, {"k": "b"})]
    dataset = handmade(server, fs, make_bucket(), files, {"id": "long", "k": "string"}, ["k"])
    report = dataset.erase([("k", "==", "a"), ("id", "==", 1)])
    assert (report.rows, report.remaining, report.is_complete) == (1, 0, False)
    assert [(remnant.path, remnant.rows) for remnant in report.remnants] == [("f0.parquet", None)]
    assert "f0.parquet: may hold such rows, and can still be read" in str(report)
    report = dataset.erase([("id", "==", 2)])
    assert {remnant.path: remnant.rows for remnant in report.remnants if "=" not in remnant.path} == {
        "f0.parquet": 1,
        "f1.parquet": 1,
    }


def test_older_versions_of_files_that_are_named_by_their_partition_are_counted(make_bucket, fs, server):
    bucket = make_bucket(versioned=True)
    for day in ("2013-01-01", "2013-01-02"):
        put(server, f"{bucket}/t/{day}.parquet", parquet(pa.table({"id": [1, 2]})))
    report = Dataset.open(f"lake://{bucket}/t", fs=fs).erase([("partition", "==", "2013-01-01"), ("id", "==", 1)])
    assert (report.rows, report.is_complete) == (1, False)
    assert [(remnant.path, remnant.rows) for remnant in report.remnants] == [("2013-01-01.parquet", 1)]


def test_rejected_rows_whose_key_nobody_knows_are_named(bucket, fs, table_format):
    columns = {"at": "timestamp", "city": "string", "n": "int64"}
    spec = trip_spec(bucket, format=table_format, columns=columns, rejects={"max_ratio": 1.0})
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(pa.table({"at": ["2013-07-04T12:00:00Z"] * 2, "city": ["JFK", "LGA"], "n": [1.5, 1.0]}))
    assert len(dataset.erase([("date", "==", "2013-07-04"), ("city", "==", "JFK")]).rejects) == 1
    assert not dataset.erase([("date", "==", "2013-07-04"), ("city", "==", "ORD")]).rejects


@pytest.mark.slow
def test_rejected_rows_that_match_are_named(delta, trips):
    bad = pa.table({"at": pa.array([None], pa.timestamp("us", "UTC")), "city": ["JFK"], "fare": [1.0]})
    delta.ingest(pa.concat_tables([*[trips()] * 3, bad]))
    report = delta.erase(JFK, unsafe_delete_old_files=True)
    assert len(report.rejects) == 1
    assert not report.is_complete
    assert not delta.erase([("city", "==", "ORD")]).rejects


ANY_FARE = ("fare", "not in", [])


@pytest.mark.parametrize("nothing", [[], [[]], [ANY_FARE], pc.scalar(True), [[("city", "==", "JFK")], [ANY_FARE]]])
def test_a_filter_that_matches_everything_is_refused(delta, trips, nothing):
    delta.ingest(trips())
    with pytest.raises(SpecError, match="every row"):
        delta.erase(nothing)


@pytest.mark.slow
def test_filters_that_match_nothing_erase_nothing(delta, trips):
    delta.ingest(trips())
    for nothing in ([("fare", "in", [])], pc.scalar(False), pc.scalar(None).cast("bool"), [ANY_FARE, ("fare", "<", 0)]):
        assert delta.erase(nothing).rows == 0
    assert delta.read().num_rows == 40


@pytest.mark.parametrize("wrong", [[("nobody", "==", 1)], [("fare", "==", "x")], pc.field("fare") == "x"])
def test_a_predicate_that_does_not_fit_is_refused(delta, trips, wrong):
    delta.ingest(trips())
    with pytest.raises(SchemaMismatch):
        delta.erase(wrong)


@pytest.fixture
def with_glacier(delta, trips, server):
    """Four days; the first has a file in a class that needs a restore."""
    if server.name == "minio":
        pytest.skip("MinIO has no archived classes")
    delta.ingest(trips())
    path = delta._handle.table.snapshot().files[0].path
    delta.fs.transition(f"{delta.spec.root}/{path}", storage_class="GLACIER")
    object.__setattr__(delta.fs.profile, "archived_classes", ("GLACIER",))
    yield delta
    object.__setattr__(delta.fs.profile, "archived_classes", ())


@pytest.mark.slow
def test_archived_partitions_are_named_and_left(with_glacier):
    report = with_glacier.erase(JFK)
    assert list(report.archived) == ["date=2013-01-01"]
    assert not report.is_complete
    assert len(report.partitions) == 3


@pytest.mark.slow
def test_files_beside_an_archived_one_are_read_and_erased(with_glacier, trips, monkeypatch):
    for _ in range(2):
        with_glacier.ingest(trips(days=1, fare=1000.0), mode="append")
    dear = [("date", "==", "2013-01-01"), ("fare", ">=", 1000.0)]
    assert len(with_glacier.to_dask(where=dear)) == 20
    asked = []
    real = restore.statuses
    monkeypatch.setattr(restore, "statuses", lambda handle, files: asked.extend(files) or real(handle, files))
    report = with_glacier.erase(dear)
    assert (report.rows, report.archived, asked) == (20, {}, [])
    report = with_glacier.erase(JFK)
    assert report.archived == {"date=2013-01-01": "in GLACIER: restore it, then erase again"}
    assert len(asked) == 2, "at the look, and at the end"


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_versions_stay_where_versioning_was_suspended(server, make_bucket, fs, table_format):
    """What was written while the bucket kept versions can be read still."""
    if server.name == "seaweedfs" and table_format == "parquet":
        pytest.skip("SeaweedFS 4.48 takes no conditional PUT where versioning is suspended")
    bucket = make_bucket(versioned=True)
    dataset = Dataset.create(trip_spec(bucket, format=table_format), fs=fs)
    dataset.ingest(make_trips(days=1))
    server.admin.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    report = dataset.erase([("city", "==", "JFK")])
    assert report.rows > 0
    assert not report.is_complete
    assert len(report.remnants) == 1
    assert dataset.erase([("city", "==", "JFK")], unsafe_delete_old_files=True).is_complete
    sizes = [one.size for one in fs.object_versions(f"{dataset.spec.root}/date=") if one.size]
    assert len(sizes) == 1
