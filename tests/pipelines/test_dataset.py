"""What must hold of every dataset, in both formats, on both servers."""

from datetime import UTC, datetime

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector.errors import UnsupportedByServer
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import (
    CommitConflict,
    RejectedTooMany,
    SchemaMismatch,
    SpecError,
    TableExists,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.ingest.run import ingest

KEYS = ["date=2013-01-01", "date=2013-01-02", "date=2013-01-03", "date=2013-01-04"]


def totals(table: pa.Table) -> tuple[int, float]:
    return table.num_rows, sum(table.column("fare").to_pylist())


def by_day(table: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in table.column("date").value_counts().to_pylist()}


def data_heads(server, dataset):
    bucket, _, prefix = dataset.spec.root.partition("/")
    return {key: head for key, head in server.heads(bucket, prefix).items() if not key.endswith("/")}


# -- rows in and out ---------------------------------------------------------------------------------------------------


def test_what_is_read_back_equals_the_source(dataset, trips):
    source = trips()
    result = dataset.ingest(source)
    assert result.committed
    assert (result.rows, result.rejected, [str(key) for key in result.partitions]) == (40, 0, KEYS)
    back = dataset.read()
    assert totals(back) == totals(source)
    assert back.sort_by("fare").select(source.column_names).to_pylist() == source.to_pylist()
    assert by_day(back) == dict.fromkeys((key.removeprefix("date=") for key in KEYS), 10)


def test_every_reader_of_lake_sees_the_same(dataset, trips, server):
    dataset.ingest(trips())
    path = dataset.uri
    frame = pd.read_parquet(path, storage_options=server.storage_options, filters=[("date", "==", "2013-01-02")])
    assert len(frame) == 10
    fs = fsspec.filesystem("lake", **server.storage_options)
    scanned = pads.dataset(dataset.spec.root, filesystem=fs, partitioning="hive")
    assert totals(scanned.to_table()) == totals(trips())
    assert dataset.to_polars(columns=["fare"]).height == 40
    assert dataset.to_pandas(where=pads.field("city") == "JFK")["city"].tolist() == ["JFK"] * 14


def test_replace_touches_only_the_partitions_of_the_source(dataset, trips):
    dataset.ingest(trips())
    dataset.ingest(trips(days=1, each=3, start=1, fare=100.0))
    assert by_day(dataset.read()) == {"2013-01-01": 10, "2013-01-02": 3, "2013-01-03": 10, "2013-01-04": 10}


def test_the_same_run_key_is_one_commit(dataset, trips):
    first = dataset.ingest(trips(), run_key="run 1/step")
    again = dataset.ingest(trips(fare=7.0), run_key="run 1/step")
    assert (first.committed, again.committed, again.rows) == (True, False, 0)
    assert totals(dataset.read()) == totals(trips())
    assert [entry.operation for entry in dataset.history()].count("ingest") == 1


def test_an_expired_partition_forgets_its_runs(dataset, trips):
    dataset.ingest(trips(days=1), run_key="r")
    dataset.plan_expiry("2014-01-01").apply()
    assert dataset.ingest(trips(days=1), run_key="r").committed
    assert dataset.read().num_rows == 10


def test_keys_say_what_the_source_covers(dataset, trips):
    dataset.ingest(trips())
    dataset.ingest(trips(days=1), keys=KEYS[:2])
    assert by_day(dataset.read()) == {"2013-01-01": 10, "2013-01-03": 10, "2013-01-04": 10}
    with pytest.raises(SchemaMismatch, match="rows of date=2013-01-02, outside the partitions"):
        dataset.ingest(trips(), keys=KEYS[:1])


def test_append_adds_rows_where_the_format_can(delta, trips):
    delta.ingest(trips(days=2))
    delta.ingest(trips(days=1, each=5), mode="append")
    assert by_day(delta.read()) == {"2013-01-01": 15, "2013-01-02": 10}
    version = delta.history()[1].version
    assert delta.read(version=version).num_rows == 20


def test_append_is_refused_on_plain_parquet(bucket, fs, trips):
    plain = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    with pytest.raises(UnsupportedByTable, match=r"append would rewrite it.*mode='replace'"):
        plain.ingest(trips(), mode="append")
    with pytest.raises(UnsupportedByTable, match="no older versions"):
        plain.read(version=1)


@pytest.mark.slow
def test_more_partition_columns_and_values_that_need_escaping(make_bucket, fs, table_format):
    spec = trip_spec(make_bucket(), format=table_format, partition={"time": {"column": "at"}, "by": ["city"]})
    source = make_trips(days=1, each=6).set_column(
        1, "city", pa.array(["a b", "c/d", "e:f", "g%20h", "köln", None], pa.string())
    )
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(source)
    assert dataset.read().num_rows == 6
    for value in ("a b", "c/d", "e:f", "g%20h", "köln"):
        assert dataset.read(where=[("city", "==", value)]).num_rows == 1, value
    assert dataset.read(where=pads.field("city").is_null()).num_rows == 1
    dataset.ingest(source)
    assert dataset.read().num_rows == 6, "a replace finds the partitions that it replaces"
    assert {part.key.as_dict()["city"] for part in dataset.partitions()} == {"a b", "c/d", "e:f", "g%20h", "köln", ""}


def test_new_columns_are_taken_and_old_rows_have_nulls(delta, trips):
    delta.ingest(trips(days=1))
    source = trips(days=1, start=1)
    delta.ingest(source.append_column("tip", pa.array([0.5] * 10)))
    assert delta.read(columns=["tip"]).column("tip").null_count == 10


def test_an_open_dataset_needs_only_its_uri(dataset, trips, fs):
    dataset.ingest(trips())
    again = Dataset.open(dataset.uri, fs=fs)
    assert again.spec == dataset.spec
    assert again.format == dataset.format
    assert totals(again.read()) == totals(trips())


def test_a_description_cannot_lead_to_another_place(dataset, fs, trips, server):
    """A copied dataset works where it lies; a description that names another root reaches nothing there."""
    dataset.ingest(trips())
    bucket, _, prefix = dataset.spec.root.partition("/")
    document = server.admin.get_object(Bucket=bucket, Key=f"{prefix}/_lake/dataset.json")["Body"].read()
    server.admin.put_object(Bucket=bucket, Key="elsewhere/kept.parquet", Body=b"x")
    told = document.replace(b"/city/trips", b"/elsewhere")
    server.admin.put_object(Bucket=bucket, Key=f"{prefix}/_lake/dataset.json", Body=told)
    opened = Dataset.open(dataset.uri, fs=fs)
    assert opened.uri == dataset.uri
    assert opened.read().num_rows == 40
    opened.plan_expiry("2014-01-01").apply()
    assert server.keys(bucket, "elsewhere/") == ["elsewhere/kept.parquet"]


def test_creating_it_again_opens_it_and_another_spec_is_refused(dataset, fs):
    assert Dataset.create(dataset.spec, fs=fs).uri == dataset.uri
    other = dataset.spec.model_copy(update={"tiers": ()})
    with pytest.raises(TableExists, match="exists with another spec: tiers is"):
        Dataset.create(other, fs=fs)


# -- what is stored ----------------------------------------------------------------------------------------------------


def test_every_object_is_encrypted_and_in_its_class(dataset, trips, server):
    dataset.ingest(trips())
    dataset.plan_expiry("2014-01-01").apply(keys=KEYS[:1])
    dataset.undo_expiry(KEYS[0])
    heads = data_heads(server, dataset)
    assert len(heads) > 4
    assert {key: head.get("ServerSideEncryption") for key, head in heads.items()} == dict.fromkeys(heads, "AES256")
    assert {head.get("StorageClass", "STANDARD") for head in heads.values()} == {"STANDARD"}


def test_the_class_of_the_spec_is_for_data_and_not_for_the_log(make_bucket, fs, server, table_format, trips):
    storage_class = "REDUCED_REDUNDANCY"
    spec = trip_spec(make_bucket(), format=table_format, write={"storage_class": storage_class}, tiers=[])
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(trips())
    classes = {key: head.get("StorageClass", "STANDARD") for key, head in data_heads(server, dataset).items()}
    for key, found in classes.items():
        assert found == (storage_class if key.endswith(".parquet") else "STANDARD"), key


# -- bad input: a clear error, and nothing lost ------------------------------------------------------------------------


@pytest.fixture
def full(dataset, trips):
    dataset.ingest(trips())
    return dataset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["at"]), "lacks the column at, which the dataset is partitioned by"),
        (lambda table: table.set_column(2, "fare", pa.array(["x"] * 40)), "column fare is string, which does not fit"),
        (lambda table: table.set_column(0, "at", pa.array(range(40))), "the time column at is int64, not a time"),
        (
            lambda table: table.append_column("date", pa.array(["x"] * 40)),
            r"a row says date=x, and its at 20\S+ .* falls into date=20",
        ),
    ],
    ids=["no time", "wrong type", "no times", "another key"],
)
def test_data_that_does_not_fit_is_refused_whole(full, trips, change, says):
    before = totals(full.read())
    with pytest.raises(SchemaMismatch, match=says):
        full.ingest(change(trips()))
    assert totals(full.read()) == before


def test_bad_times_are_kept_with_their_reason(make_bucket, fs, table_format, trips):
    spec = trip_spec(make_bucket(), format=table_format, rejects={"max_ratio": 0.1})
    dataset = Dataset.create(spec, fs=fs)
    source = trips()
    times = source.column("at").to_pylist()
    times[3], times[4] = None, times[4].replace(year=9999)
    result = dataset.ingest(source.set_column(0, "at", pa.array(times, pa.timestamp("us", "UTC"))))
    assert (result.rows, result.rejected) == (39, 1)
    with fs.for_table(spec.root).open(result.rejects_path) as file:
        rejected = pd.read_parquet(file)
    assert rejected["fare"].tolist() == [4.0]
    assert rejected["_reject_reason"].tolist() == ["at is null"]
    assert rejected["_reject_line"].tolist() == [4]
    assert dataset.read(where=[("date", "==", times[4].strftime("%Y-%m-%d"))]).num_rows == 1, "any time is kept"


def test_too_many_bad_rows_commit_nothing_and_keep_the_rows(full, trips, fs):
    source = trips()
    times = pa.array([None] * 10 + source.column("at").to_pylist()[10:], pa.timestamp("us", "UTC"))
    before = totals(full.read())
    with pytest.raises(RejectedTooMany, match=r"10 of 40 rows were rejected .10 x at is null.") as caught:
        full.ingest(source.set_column(0, "at", times), run_key="bad")
    assert totals(full.read()) == before
    path = caught.value.hint.split("lake://")[1].split(",")[0]
    assert len(pd.read_parquet(fs.for_table(full.spec.root).open(path))) == 10


@pytest.mark.parametrize(
    ("option", "column", "problem"),
    [
        ("sort_by", "carrier", r"write.sort_by names carrier.*There are at, city, fare"),
        ("bloom_filters", "carrier", r"write.bloom_filters names carrier.*There are at, city, fare"),
        ("bloom_filters", "tags", r"no Bloom filter of list<"),
        ("bloom_filters", "paid", r"no Bloom filter of bool"),
    ],
)
def test_columns_that_files_cannot_be_written_by(bucket, fs, trips, option, column, problem):
    dataset = Dataset.create(trip_spec(bucket, write={option: [column]}), fs=fs)
    source = trips(days=1)
    if column != "carrier":
        source = source.append_column("tags", pa.array([[1]] * 10)).append_column("paid", pa.array([True] * 10))
    with pytest.raises(SchemaMismatch, match=problem):
        dataset.ingest(source)
    assert dataset.read().num_rows == 0


@pytest.mark.parametrize("page_index", [True, False])
def test_files_have_what_readers_skip_by(bucket, fs, trips, page_index):
    write = {"sort_by": ["fare"], "row_group_rows": 4, "bloom_filters": ["city"], "page_index": page_index}
    dataset = Dataset.create(trip_spec(bucket, write=write), fs=fs)
    dataset.ingest(trips(days=1))
    (path,) = (path for path in fs.find(dataset.spec.root) if path.endswith(".parquet"))
    footer = pq.read_metadata(fs.open(path))
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    assert [group.num_rows for group in groups] == [4, 4, 2]
    for group in groups:
        columns = [group.column(number) for number in range(group.num_columns)]
        filtered = [column.path_in_schema for column in columns if column.to_dict()["bloom_filter_length"]]
        assert filtered == ["city"]
        assert {column.has_column_index for column in columns} == {page_index}
        assert [columns[order.column_index].path_in_schema for order in group.sorting_columns] == ["fare"]


def test_files_are_sorted_on_request(bucket, fs, trips):
    dataset = Dataset.create(trip_spec(bucket, write={"sort_by": ["city", "fare"]}), fs=fs)
    dataset.ingest(trips(days=1))
    rows = dataset.read(columns=["city", "fare"]).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["city"] is None, row["city"] or "", row["fare"]))


def test_a_class_that_the_server_lacks(bucket, fs, server):
    spec = trip_spec(bucket, write={"storage_class": "STANDARD_1A"})
    with pytest.raises(UnsupportedByServer, match="STANDARD_1A") as caught:
        Dataset.create(spec, fs=fs)
    assert server.name in str(caught.value).lower()
    assert server.keys(bucket) == []


def test_a_table_without_any_column(bucket, fs):
    with pytest.raises(SpecError, match="needs at least one column"):
        Dataset.create(trip_spec(bucket, partition={}, tiers=[], retention={}), fs=fs)
    assert fs.find(bucket) == []


@pytest.mark.more_than_a_role("nobody may ask about other buckets")
def test_a_bucket_that_does_not_exist(fs):
    with pytest.raises(FileNotFoundError, match="no-such-bucket"):
        Dataset.create(trip_spec("no-such-bucket-here"), fs=fs)


def test_nothing_there(bucket, fs):
    with pytest.raises(TableNotFound, match="neither a Delta log nor a Parquet file"):
        Dataset.open(f"lake://{bucket}/nothing", fs=fs)
    with pytest.raises(TableNotFound, match="no file"):
        Dataset.open("nowhere.yaml", fs=fs)


def test_wrong_credentials_and_a_dead_endpoint_fail_by_name(bucket, server):
    wrong = {**server.storage_options, "secret": "not-the-secret"}
    with pytest.raises(PermissionError) as caught:
        Dataset.open(f"lake://{bucket}/x", **wrong)
    assert "not-the-secret" not in str(caught.value)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9"):
        Dataset.open(f"lake://{bucket}/x", endpoint_url="http://127.0.0.1:9", key="k", secret="s", profile="generic")


def test_unknown_columns_and_plans_of_other_datasets(full):
    with pytest.raises(SchemaMismatch, match=r"no column nope in .*There are "):
        full.read(columns=["nope"])
    for where in ({"date": "2013-01-01"}, "date = 1", ["date", "=", "2013-01-01"]):
        with pytest.raises(SpecError, match="is no filter"):
            full.read(where=where)
    plan = full.plan_expiry("2014-01-01").model_copy(update={"uri": "lake://other/x"})
    with pytest.raises(SpecError, match="the plan is for lake://other/x"):
        full.apply(plan)


def test_no_secret_in_a_repr(full, server):
    assert server.secret not in repr(full) + repr(full._handle) + repr(full.fs) + repr(vars(full.fs.settings))


def test_files_that_waited_long_for_their_commit_are_looked_at_again(delta, trips, fs):
    """A vacuum takes orphans after a day: an ingest that slow must not name files that are gone."""
    delta.ingest(trips(days=1))
    hours = iter([0.0, 13 * 3600.0])

    def slow_source():
        yield trips(days=1, start=1)

    assert ingest(delta._handle, slow_source(), clock=lambda: next(hours)).committed

    class Vacuumed:
        """A clock that is read when the files are written, and takes them away."""

        readings = 0

        def __call__(self):
            self.readings += 1
            if self.readings == 2:
                live = {file.path for file in delta._handle.table.snapshot().files}
                root = delta.spec.root
                for path in delta.fs.find(root):
                    if path.endswith(".parquet") and path.removeprefix(f"{root}/") not in live:
                        delta.fs.rm_file(path)
            return 13 * 3600.0 * self.readings

    with pytest.raises(CommitConflict, match="deleted before their commit"):
        ingest(delta._handle, trips(days=1, start=2), clock=Vacuumed())
    assert delta.read().num_rows == 20


def test_time_travel_by_version_and_by_instant(delta):
    delta.ingest(make_trips())
    first, between = delta.version, datetime.now(UTC)
    delta.ingest(make_trips(fare=100.0))
    assert delta.read(version=first).equals(delta.read(version=between))
    assert delta.read(version=between.isoformat()).equals(delta.scan(between).to_table())
    assert max(delta.read()["fare"].to_pylist()) == 100 * max(delta.read(version=first)["fare"].to_pylist())
    with pytest.raises(TableNotFound, match=r"has no version of 1999-01-01.*the oldest is of"):
        delta.read(version="1999-01-01")


def test_a_rehearsal_says_what_the_ingest_then_does(delta, tmp_path):
    delta.ingest(make_trips())  # from here on the table knows that `at` is an instant
    source = tmp_path / "late.csv"
    source.write_text("at,city,fare\n2013-01-09 10:00:00,JFK,1\nnever,LGA,2\n" + "2013-01-10,JFK,3\n" * 198)
    foreseen, version = delta.rehearse(source), delta.version
    assert (foreseen.partitions, foreseen.rejected) == ({"date=2013-01-09": 1, "date=2013-01-10": 198}, 1)
    assert not delta.rejects()
    assert delta.version == version
    result = delta.ingest(source)
    assert (result.rows, result.rejected) == (199, 1)
    source.write_text("at,city,fare\n2013-01-09,JFK,many\n")
    for attempt in (delta.rehearse, delta.ingest):
        with pytest.raises(RejectedTooMany, match="1 x fare is not a number"):
            attempt(source)


@pytest.mark.slow
def test_a_rehearsal_refuses_what_the_table_would(delta, bucket, fs):
    delta.ingest(make_trips())
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.alter.set_table_properties({"delta.appendOnly": "true"})
    for attempt in (delta.rehearse, delta.ingest):
        with pytest.raises(UnsupportedByTable, match="append-only"):
            attempt(make_trips())
    assert delta.rehearse(make_trips(), "append").committed
    assert delta.ingest(make_trips(), mode="append").rows == 40
    table.alter.add_constraint({"positive": "fare > 0"})
    for attempt in (delta.rehearse, delta.ingest):
        with pytest.raises(UnsupportedByTable, match="cannot be written"):
            attempt(make_trips(), mode="append")
    for number in range(2):
        with fs.open(f"{bucket}/plain/date=2013-01-01/{number}.parquet", "wb") as file:
            pq.write_table(make_trips(1), file)
    plain = Dataset.open(f"lake://{bucket}/plain", spec={"partition": {"time": {"column": "at"}}}, fs=fs)
    for attempt in (plain.rehearse, plain.ingest):
        with pytest.raises(UnsupportedByTable, match="is 2 objects"):
            attempt(make_trips(1))


@pytest.mark.parametrize("mode", ["upsert", "Append", "overwrite"])
def test_a_mode_that_does_not_exist_replaces_nothing(delta, mode):
    delta.ingest(make_trips())
    for attempt in (delta.rehearse, delta.ingest):
        with pytest.raises(SpecError, match=f"there is no mode '{mode}'"):
            attempt(make_trips(1), mode=mode)
    assert delta.read().num_rows == 40
