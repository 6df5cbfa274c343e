"""No table lies inside another, and where one does all the same, the outer one leaves it alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from deltalake import DeltaTable, convert_to_deltalake

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, delta_options, write_delta, write_hive
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import TableExists, TableNotFound, UnsupportedByTable
from tierlake.pipelines.metastore import opening
from tierlake.pipelines.metastore.document import DocumentStore
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.tables.nested import first_objects, is_nested, nested_roots, outside_nested

FORMATS = pytest.mark.parametrize("table_format", ["delta", "parquet"])
LONG = timedelta(days=400)


def test_what_is_a_table_of_its_own():
    paths = (
        "_delta_log/0.json",
        "_lake/dataset.json",
        "_lake/waiting/a/_delta_log/0.json",
        "a/_delta_log/0.json",
        "a/b/_delta_log/0.json",
        "c/d/_lake/dataset.json",
        "e/_lake/journal/x.json",
        "f/_lake/dataset.json.bak",
        "g/my_delta_log/0.json",
        "h/_delta_log",
    )
    roots = nested_roots(paths)
    assert roots == {"a", "c/d"}
    assert is_nested("a/b/c.parquet", roots)
    assert not is_nested("a.parquet", roots)
    assert not is_nested("ab/c.parquet", roots)
    assert outside_nested(dict.fromkeys(paths), keep=["a/b/_delta_log/0.json"]).keys() == set(paths) - {
        "a/_delta_log/0.json",
        "c/d/_lake/dataset.json",
    }


def test_a_page_of_folders_does_not_make_a_prefix_empty():
    class Store:
        def __init__(self, *keys):
            self.keys = keys

        def first_keys(self, prefix, *, limit):
            return [key for key in self.keys if key.startswith(prefix)][:limit]

    folders = [f"b/t/{number:04}/" for number in range(1000)]
    assert first_objects(Store("b/t/", "b/t/a", "b/t/c/"), "b/t") == ["b/t/a"]
    assert first_objects(Store(*folders[:999]), "b/t") == []
    assert first_objects(Store(*folders, "b/t/zzz"), "b/t")


@FORMATS
def test_none_is_created_inside_or_above_another(bucket, fs, server, table_format):
    outer = Dataset.create(trip_spec(bucket, format=table_format), fs=fs)
    outer.ingest(make_trips(1, 2))
    before = server.keys(bucket)
    for uri in (f"{outer.uri}/inner", f"{outer.uri}/date=2013-01-01", f"{outer.uri}/a/b/c"):
        with pytest.raises(TableExists, match=f"inside another table, {outer.uri}|is not empty"):
            Dataset.create(trip_spec(bucket, uri=uri), fs=fs)
    with pytest.raises(TableExists, match=f"another table lies below .*: {outer.uri}"):
        Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/city"), fs=fs)
    assert server.keys(bucket) == before
    Dataset.create(trip_spec(bucket, uri=f"{outer.uri}-2"), fs=fs)


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("versioned", [False, True])
def test_of_two_that_are_created_at_once_one_inside_the_other_one_stays_at_the_most(
    make_bucket, fs, server, monkeypatch, table_format, versioned
):
    """Both have looked before either is there: whoever looks again once he is seen sees the other."""
    bucket = make_bucket(versioned=versioned)
    outer = trip_spec(bucket, format=table_format)
    inner = outer.model_copy(update={"uri": f"{outer.uri}/inner"})
    for first, second in ((outer, inner), (inner, outer)):
        real, told = opening.check_new, []

        def check(spec, *more, first=first, second=second, real=real, told=told):
            is_new = real(spec, *more)
            if spec == first:  # the other one is made, wholly, after our look
                Dataset.create(second, fs=fs)
            told.append(spec)
            return is_new

        with monkeypatch.context() as patch:
            patch.setattr(opening, "check_new", check)
            with pytest.raises(TableExists, match="at the same time"):
                Dataset.create(first, fs=fs)
        root = second.root.partition("/")[2]
        assert all(key.startswith((f"{root}/_lake/", f"{root}/_delta_log/")) for key in server.keys(bucket))
        versions = server.admin.list_object_versions(Bucket=bucket)
        assert not versions.get("DeleteMarkers"), "nothing is left of it, nor anything hidden"
        made = Dataset.open(second.uri, fs=fs)
        made.ingest(make_trips(1, 2))
        assert made.read().num_rows == 2
        for key in server.keys(bucket):
            server.admin.delete_object(Bucket=bucket, Key=key)
        for kind in ("Versions", "DeleteMarkers"):
            for one in server.admin.list_object_versions(Bucket=bucket).get(kind, ()):
                server.admin.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        fs.invalidate_cache()


def test_many_at_once_leave_no_table_inside_another(bucket, fs):
    specs = [trip_spec(bucket, uri=f"lake://{bucket}/" + "/".join("abc"[:depth])) for depth in (1, 2, 3)]
    made = set()

    def create(spec):
        try:
            made.add(Dataset.create(spec, fs=fs).uri)
        except TableExists:
            return

    with ThreadPoolExecutor(len(specs)) as pool:
        list(pool.map(create, specs))
    there = [one.uri for one in specs if DocumentStore(fs.for_table(one.root), one.root).find() is not None]
    assert len(there) <= 1, there
    assert made <= set(there)


@pytest.mark.slow
def test_none_is_adopted_inside_or_above_another(bucket, fs, server):
    write_delta(server, f"{bucket}/outer", by_day(), ["day"])
    for root in ("outer/raw", "outer/b/raw"):
        write_hive(server, f"{bucket}/{root}")
        for dry_run in (True, False):
            with pytest.raises(TableExists, match=f"inside another table, lake://{bucket}/outer"):
                Dataset.adopt(f"lake://{bucket}/{root}", dry_run=dry_run, fs=fs)
    write_delta(server, f"{bucket}/outer/c/table", by_day(), ["day"])
    with pytest.raises(TableExists, match="inside another"):
        Dataset.adopt(f"lake://{bucket}/outer/c/table", dry_run=False, fs=fs)
    with pytest.raises(UnsupportedByTable, match=f"another table lies below .*: lake://{bucket}/outer/c/table"):
        Dataset.adopt(f"lake://{bucket}/outer", dry_run=False, fs=fs)
    # a plain dataset has no log: its description tells of it
    Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/hive/inner", format="parquet"), fs=fs)
    write_hive(server, f"{bucket}/hive")
    with pytest.raises(UnsupportedByTable, match=f"another table lies below .*: lake://{bucket}/hive/inner"):
        Dataset.adopt(f"lake://{bucket}/hive", dry_run=False, fs=fs)


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize("versioned", [True, False])
def test_the_outer_table_neither_reads_nor_deletes_the_inner_one(make_bucket, fs, server, table_format, versioned):
    bucket = make_bucket(versioned=versioned)
    outer = Dataset.create(
        trip_spec(bucket, format=table_format, retention={"expire_after": "300d", "grace": "0d"}),
        fs=fs,
        clock=ServerClock(fs, bucket, LONG),
    )
    outer.ingest(make_trips(2, 3))
    # others made one there: nobody asked us
    write_delta(server, f"{bucket}/city/trips/theirs", by_day(), ["day"])
    for key in server.keys(bucket, "city/trips/_lake/dataset.json"):
        server.admin.copy_object(Bucket=bucket, Key="city/trips/plain/_lake/dataset.json", CopySource=f"{bucket}/{key}")
    write_hive(server, f"{bucket}/city/trips/plain")
    inner = {key for key in server.keys(bucket) if "/theirs/" in key or "/plain/" in key}
    assert outer.read().num_rows == 6
    assert len(outer.partitions()) == 2
    assert outer.verify(as_of="2013-01-03").ok
    assert outer.erase([("city", "==", "JFK")], unsafe_delete_old_files=True).is_complete
    can_expire = table_format == "delta" or versioned or fs.profile.delete_if_match
    if can_expire:
        outer.plan_expiry(as_of="2014-12-31").apply(undo=table_format == "delta" or versioned)
    outer.vacuum()
    assert outer.read().num_rows == (0 if can_expire else 4)
    assert inner <= set(server.keys(bucket))


@pytest.mark.slow
def test_files_that_another_table_took_are_told_and_stay(bucket, fs, server):
    """A partition's folder that somebody made a table of: its log names our files."""
    outer = Dataset.create(trip_spec(bucket, partition={"by": ["city"]}, tiers=[], retention={"grace": "0d"}), fs=fs)
    outer.ingest(make_trips(1, 6))
    folder = f"s3://{bucket}/city/trips/city=JFK"
    convert_to_deltalake(folder, storage_options=delta_options(server))
    rows = DeltaTable(folder, storage_options=delta_options(server)).to_pyarrow_table()
    assert outer.verify().ok, "live files are ours all the same"
    report = outer.erase([("fare", "==", 1.0)], unsafe_delete_old_files=True)
    assert (report.rows, report.is_complete) == (1, False)
    assert [remnant.why for remnant in report.remnants] == ["in another table that lies there"]
    later = Dataset.open(outer.uri, fs=fs, clock=ServerClock(fs, bucket, LONG))
    later.vacuum()
    assert DeltaTable(folder, storage_options=delta_options(server)).to_pyarrow_table() == rows
    assert outer.verify().ok


@FORMATS
def test_a_folder_of_a_table_is_no_table(bucket, fs, table_format):
    """Its files are those of all generations: the table tells which of them are live."""
    outer = Dataset.create(trip_spec(bucket, format=table_format), fs=fs)
    outer.ingest(make_trips(1, 2))
    with pytest.raises(UnsupportedByTable, match=f"inside a table, {outer.uri}"):
        Dataset.open(f"{outer.uri}/date=2013-01-01", fs=fs)


def test_a_prefix_of_tables_is_none_itself(bucket, fs):
    inner = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    inner.ingest(make_trips(1, 2))
    with pytest.raises(TableNotFound) as caught:
        Dataset.open(f"lake://{bucket}/city", fs=fs)
    assert inner.uri in caught.value.hint
