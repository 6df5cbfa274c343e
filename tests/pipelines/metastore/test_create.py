"""`create` takes an empty prefix, and nothing else: what is there already is somebody's."""

from __future__ import annotations

import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, put, write_delta, write_hive
from tierlake.connector.errors import UnknownOption, UnsupportedByServer
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import SpecError, TableExists, TableNotFound

FORMATS = pytest.mark.parametrize("table_format", ["delta", "parquet"])


def refused(spec, fs, match):
    """Refused in earnest and in the rehearsal alike, with the way out."""
    with pytest.raises(TableExists, match=match) as caught:
        Dataset.create(spec, fs=fs)
    with pytest.raises(TableExists) as rehearsed:
        Dataset.check_new(spec, fs=fs)
    assert rehearsed.value.message == caught.value.message
    return caught.value


@FORMATS
def test_files_that_are_there_are_named_and_stay(bucket, fs, server, table_format):
    root = f"{bucket}/city/trips"
    write_hive(server, root)
    put(server, f"{root}/notes.txt", b"do not lose this")
    before = server.keys(bucket)
    error = refused(trip_spec(bucket, format=table_format), fs, r"is not empty: day=2013-01-01/part-0.parquet, .*")
    assert f"tierlake adopt lake://{root}" in error.hint
    assert server.keys(bucket) == before
    assert Dataset.adopt(f"lake://{root}", fs=fs).files == 4, "the way out is one"


@FORMATS
def test_any_object_is_somebodys(bucket, fs, server, table_format):
    put(server, f"{bucket}/city/trips/notes.txt", b"mine")
    refused(trip_spec(bucket, format=table_format), fs, "is not empty: notes.txt")


@FORMATS
def test_an_empty_folder_is_nobodys(bucket, fs, server, table_format):
    put(server, f"{bucket}/city/trips/", b"")
    put(server, f"{bucket}/city/trips-2/a.parquet", b"a neighbour")
    put(server, f"{bucket}/city/trips.txt", b"another")
    Dataset.create(trip_spec(bucket, format=table_format), fs=fs).ingest(make_trips(1, 2))


@pytest.mark.slow
@FORMATS
def test_a_delta_table_of_others_is_opened_or_adopted(bucket, fs, server, table_format):
    write_delta(server, f"{bucket}/city/trips", by_day(), ["day"])
    error = refused(trip_spec(bucket, format=table_format), fs, "is a Delta table already")
    assert "adopt" in error.hint
    assert "Dataset.open" in error.hint


def test_an_interrupted_create_is_completed(bucket, fs, server):
    """`_lake/dataset.json` alone, or the log alone."""
    made = Dataset.create(trip_spec(bucket), fs=fs)
    for kept in ("_lake/", "_delta_log/"):
        for key in server.keys(bucket):
            if kept not in key:
                server.admin.delete_object(Bucket=bucket, Key=key)
        if kept == "_lake/":
            with pytest.raises(TableNotFound, match="interrupted") as caught:
                Dataset.open(made.uri, fs=fs)
            assert "create it again" in caught.value.hint
        assert Dataset.check_new(made.spec, fs=fs)
        again = Dataset.create(made.spec, fs=fs)
        assert not Dataset.check_new(made.spec, fs=fs)
    again.ingest(make_trips(1, 2))
    assert again.read().num_rows == 2


def test_a_log_of_ours_with_another_schema_is_another_table(bucket, fs, server):
    made = Dataset.create(trip_spec(bucket), fs=fs)
    server.admin.delete_object(Bucket=bucket, Key="city/trips/_lake/dataset.json")
    refused(trip_spec(bucket, partition={"by": ["city"]}, tiers=[], retention={}), fs, "is a Delta table already")
    Dataset.create(made.spec, fs=fs)


@pytest.mark.parametrize("name", ["_x", ".x", "a=b", "a/b", "a\n", "a\tb", "", "__HIVE"])
def test_a_partition_column_that_no_reader_finds_is_refused(bucket, name):
    for partition in ({"by": [name]}, {"time": {"column": "at", "key": name}}):
        with pytest.raises(SpecError, match=r"names begin with|not usable"):
            trip_spec(bucket, partition=partition, tiers=[], retention={})


def test_a_table_of_others_by_a_hidden_column_says_how_to_read_it(bucket, fs, server):
    root = f"{bucket}/foreign"
    table = by_day().rename_columns(["_day", "shop", "v"])
    write_delta(server, root, table, ["_day"])
    for way in (lambda: Dataset.open(f"lake://{root}", fs=fs), lambda: Dataset.adopt(f"lake://{root}", fs=fs)):
        with pytest.raises(SpecError, match="_day: readers of Parquet skip") as caught:
            way()
        assert "deltalake" in caught.value.hint
    with pytest.raises(NotImplementedError, match="partitioned by _day"):
        fs.find(root)


def test_files_below_hidden_folders_are_named(bucket, fs, server):
    put(server, f"{bucket}/foreign/_x=1/a.parquet", b"PAR1")
    with pytest.raises(TableNotFound) as caught:
        Dataset.open(f"lake://{bucket}/foreign", fs=fs)
    assert "_x=1/a.parquet is hidden" in caught.value.hint


def test_an_argument_that_nobody_takes_is_refused(bucket, fs, server):
    spec = trip_spec(bucket)
    options = server.storage_options
    calls = (
        lambda **more: Dataset.create(spec, **more),
        lambda **more: Dataset.check_new(spec, **more),
        lambda **more: Dataset.open(spec.uri, **more),
        lambda **more: Dataset.adopt(spec.uri, **more),
    )
    for call in calls:
        for place in ({"fs": fs}, options):
            with pytest.raises(UnknownOption, match="no argument 'described'"):
                call(**place, described=spec)
        with pytest.raises(SpecError, match="endpoint_url: a filesystem is given"):
            call(fs=fs, endpoint_url="http://127.0.0.1:1")
    assert server.keys(bucket) == []
    Dataset.create(spec, **options)


def test_an_encryption_that_the_server_lacks_is_refused_by_the_rehearsal_too(bucket, fs, server):
    spec = trip_spec(bucket, write={"encryption": "dsse-kms"})
    for call in (Dataset.check_new, Dataset.create):
        with pytest.raises(UnsupportedByServer):
            call(spec, fs=fs)
    assert server.keys(bucket) == []
