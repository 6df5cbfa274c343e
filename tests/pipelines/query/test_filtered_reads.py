"""Every way of reading finds the rows that match, on tables of any writer, and reads no file that it can prove away."""

import io
import json
import math
import pickle
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.pipelines.foreign import delta_options, parquet, put, write_delta
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.maintenance.rewrite import Rewriter
from tierlake.pipelines.parquet.statistics import log_stats
from tierlake.pipelines.tables import logged_values

PAID = pa.table({"k": ["a", "a", "b"], "id": [1, 2, 3], "paid": [True, False, False]})
LONG = "zoe.with.a.very.long.name.indeed@example.org"


def ids(rows):
    return sorted(rows.column("id").to_pylist())


def made(fs, bucket, *tables, table_format="delta", by=("k",)):
    """A dataset of ours, with each of the tables in a file of its own."""
    dataset = Dataset.create(
        DatasetSpec(uri=f"lake://{bucket}/t", format=table_format, partition={"by": list(by)}), fs=fs
    )
    for table in tables:
        dataset.ingest(table, mode="append" if table_format == "delta" else "replace")
    return dataset


def test_statistics_are_made_for_filters_alone(fs, bucket, monkeypatch):
    made(fs, bucket, PAID)
    converted = []
    monkeypatch.setattr(logged_values, "log_stats", lambda *args: converted.append(args) or log_stats(*args))
    dataset = Dataset.open(f"lake://{bucket}/t", fs=fs)
    assert ids(dataset.read()) == [1, 2, 3]
    assert ids(dataset.read(where=[("k", "==", "a")])) == [1, 2]
    assert not converted
    scan = dataset.scan()
    assert ids(scan.to_table(filter=pc.field("id") > 2)) == [3]
    assert len(converted) == 2  # a file a partition


def test_a_scan_goes_to_another_process_with_its_statistics(fs, bucket):
    made(fs, bucket, PAID)
    scan = Dataset.open(f"lake://{bucket}/t", fs=fs).scan()
    copy = pickle.loads(pickle.dumps(scan))  # noqa: S301 - our own
    assert [file.facts.stats for file in copy.files_of()] == [file.facts.stats for file in scan.files_of()]
    assert len(copy.files_of(pc.field("id") > 2)) == 1
    assert ids(copy.to_table(filter=pc.field("id") > 2)) == [3]


def handmade(server, fs, bucket, files, fields, partition=()):
    """A Delta table whose log was written by hand: each file's rows with the text of its statistics."""
    lines = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "0",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(
                    {
                        "type": "struct",
                        "fields": [
                            {"name": name, "type": kind, "nullable": True, "metadata": {}}
                            for name, kind in fields.items()
                        ],
                    }
                ),
                "partitionColumns": list(partition),
                "configuration": {},
                "createdTime": 1,
            }
        },
    ]
    for number, (rows, stats, *values) in enumerate(files):
        data = parquet(rows)
        put(server, f"{bucket}/hand/f{number}.parquet", data)
        add = {
            "path": f"f{number}.parquet",
            "partitionValues": values[0] if values else {},
            "size": len(data),
            "modificationTime": 1,
            "dataChange": True,
        }
        lines.append({"add": add if stats is None else {**add, "stats": json.dumps(stats)}})
    put(server, f"{bucket}/hand/_delta_log/{0:020d}.json", "\n".join(map(json.dumps, lines)).encode())
    return Dataset.open(f"lake://{bucket}/hand", fs=fs)


WAYS = {
    "read": lambda dataset, where: dataset.read(where=where),
    "to_pandas": lambda dataset, where: pa.Table.from_pandas(dataset.to_pandas(where=where)),
    "to_polars": lambda dataset, where: dataset.to_polars(where=where).to_arrow(),
    "to_dask": lambda dataset, where: pa.Table.from_pandas(
        dataset.to_dask(where=where).compute(scheduler="sync"), preserve_index=False
    ),
    "scan().to_table": lambda dataset, where: dataset.scan().to_table(filter=where),
    "scan().filter": lambda dataset, where: dataset.scan().filter(where).to_table(),
    "scan().to_batches": lambda dataset, where: pa.Table.from_batches(
        dataset.scan().to_batches(filter=where), dataset.schema
    ),
    "scan().scanner": lambda dataset, where: (
        dataset.scan().scanner(columns=["id"], filter=where).to_reader().read_all()
    ),
    "scan().sort_by": lambda dataset, where: dataset.scan().filter(where).sort_by("id").to_table(),
}


def assert_found(dataset, where, expected, ways):
    found = {way: ids(WAYS[way](dataset, where)) for way in ways}
    assert found == dict.fromkeys(ways, expected), (dataset, where)
    assert dataset.scan().count_rows(filter=where) == len(expected)


def assert_all_found(dataset, questions):
    """The first questions by every way of reading, the others by one: the decision is the same."""
    for number, (where, expected) in enumerate(questions):
        assert_found(dataset, where, expected, WAYS if number < 2 else ["read"])


@pytest.mark.slow
def test_a_boolean_column_of_our_table_and_of_deltalakes(make_bucket, fs, server, table_format):
    """delta-rs 3173, 2169."""
    ours, theirs = make_bucket(), make_bucket()
    write_delta(server, f"{theirs}/t", PAID, ["k"])
    for dataset in (made(fs, ours, PAID, table_format=table_format), Dataset.open(f"lake://{theirs}/t", fs=fs)):
        questions = (
            (pc.field("paid") == False, [2, 3]),  # noqa: E712
            (~(pc.field("paid") == True), [2, 3]),  # noqa: E712
            (pc.field("paid"), [1]),
            (pc.field("paid").is_null(), []),
            ((pc.field("paid") == True).is_valid(), [1, 2, 3]),  # noqa: E712
        )
        assert_all_found(dataset, questions)
        assert ids(dataset.read(where=[("paid", "==", False)])) == [2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("where", [~(pc.field("paid") == True), [("paid", "==", False)]])  # noqa: E712
def test_erase_by_a_boolean_erases_exactly_what_matches(make_bucket, fs, server, table_format, where):
    ours, theirs = make_bucket(), make_bucket()
    write_delta(server, f"{theirs}/t", PAID, ["k"])
    for dataset in (made(fs, ours, PAID, table_format=table_format), Dataset.open(f"lake://{theirs}/t", fs=fs)):
        assert (dataset.erase(where, dry_run=True).rows, dataset.erase(where, dry_run=True).remaining) == (2, 2)
        report = dataset.erase(where)
        assert (report.rows, report.remaining) == (2, 0)
        assert ids(dataset.read()) == [1]


EMAILS = [
    pa.table({"k": ["x", "x"], "id": [1, 2], "email": ["ann@example.org", LONG]}),
    pa.table({"k": ["x", "x"], "id": [3, 4], "email": ["bob@example.org", "cid@example.org"]}),
]


@pytest.mark.slow
def test_a_bound_that_is_missing_proves_nothing(make_bucket, fs, server):
    ours, theirs = make_bucket(), make_bucket()
    for rows in EMAILS:
        write_delta(server, f"{theirs}/t", rows, ["k"], mode="append")
    for dataset in (made(fs, ours, *EMAILS), Dataset.open(f"lake://{theirs}/t", fs=fs)):
        ann = pc.field("email") == "ann@example.org"
        questions = (
            (ann, [1]),
            (~ann, [2, 3, 4]),
            (pc.field("email") != "ann@example.org", [2, 3, 4]),
            (pc.field("email") > "y", [2]),
            (pc.field("email") == LONG, [2]),
        )
        assert_all_found(dataset, questions)


DOUBLES = pa.table({"k": ["a"] * 5, "id": range(5), "x": [1.0, 2.0, math.inf, math.nan, None]})
NUMBERS = (
    (pc.field("x") == 1.0, [0]),
    (pc.field("x") != 1.0, [1, 2, 3]),
    (~(pc.field("x") == 1.0), [1, 2, 3]),
    (~(pc.field("x") > 0), [3]),
    (pc.is_nan(pc.field("x")), [3]),
    (pc.field("x").is_null(nan_is_null=True), [3, 4]),
    (pc.field("x").isin([math.nan]), [3]),
    (pc.field("x") > 1e300, [2]),
)


@pytest.mark.slow
def test_nan_and_the_infinities(make_bucket, fs, server, table_format):
    ours, theirs = make_bucket(), make_bucket()
    write_delta(server, f"{theirs}/t", DOUBLES, ["k"])
    for dataset in (made(fs, ours, DOUBLES, table_format=table_format), Dataset.open(f"lake://{theirs}/t", fs=fs)):
        assert_all_found(dataset, NUMBERS)


@pytest.mark.slow
@pytest.mark.parametrize("finite", [[1.0, math.nan], [1.0, 2.0, math.nan], [[1.0], [math.nan]]])
def test_plain_readers_of_our_files_lose_no_nan(bucket, fs, table_format, finite):
    """Arrow and pandas leave row groups out by bounds that say nothing of NaN: our files have none there."""
    rows = pa.table({"k": ["a"] * len(finite), "id": range(len(finite)), "x": finite, "fine": [0.5] * len(finite)})
    dataset = made(fs, bucket, rows, table_format=table_format)
    (file,) = dataset._handle.table.snapshot().files
    footer = pq.read_metadata(io.BytesIO(fs.cat_file(f"{dataset.spec.root}/{file.path}")))
    chunks = [footer.row_group(0).column(number) for number in range(footer.num_columns)]
    assert [chunk.path_in_schema.partition(".")[0] for chunk in chunks if chunk.statistics is None] == ["x"]
    plain = pads.dataset(dataset.spec.root, filesystem=fs, partitioning="hive")
    assert plain.count_rows(filter=pc.field("fine") == 0.5) == len(finite)
    if not isinstance(finite[0], list):
        assert plain.to_table(filter=~(pc.field("x") == 1.0)).num_rows == len(finite) - 1
        assert plain.to_table(filter=pc.is_nan(pc.field("x"))).num_rows == 1
    if table_format == "delta":
        assert "x" not in json.loads(file.stats)["maxValues"]


@pytest.mark.parametrize("character", ["\U00020bb7", "\U0010ffff", "\U0001f600", "\uffff", "\0"])
def test_other_readers_find_any_character_by_our_statistics(bucket, fs, server, character):
    dataset = made(fs, bucket, pa.table({"k": ["a"] * 3, "id": [1, 2, 3], "s": ["", character, character * 9]}))
    table = pl.scan_delta(f"s3://{bucket}/t", storage_options=fs.polars_options())
    assert table.filter(pl.col("s") == character).collect()["id"].to_list() == [2]
    assert table.filter(pl.col("s") > character).collect()["id"].to_list() == [3]
    theirs = DeltaTable(f"s3://{bucket}/t", storage_options=delta_options(server))
    assert pa.table(theirs.get_add_actions(flatten=True))["max.s"].to_pylist() == [character * 9]
    assert ids(dataset.read(where=[("s", "==", character)])) == [2]


def test_nan_that_comes_in_a_later_batch_of_the_same_file(bucket, fs):
    batches = [
        pa.record_batch({"k": ["a"], "id": [number], "x": [value]}) for number, value in enumerate([1.0, math.nan])
    ]
    stream = pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches))
    dataset = made(fs, bucket, stream)
    plain = pads.dataset(dataset.spec.root, filesystem=fs, partitioning="hive")
    assert plain.to_table(filter=pc.field("x") != 1.0)["id"].to_pylist() == [1]


# -- statistics of other writers ---------------------------------------------------------------------------------------

INSTANT = datetime(2013, 7, 4, 12, 0, 0, 123_900, tzinfo=UTC)
SPARK = pa.table(
    {
        "id": pa.array([1, 2], pa.int64()),
        "email": ["b" * 40, "b" * 32 + "\U0010ffff" * 2],
        "at": pa.array([INSTANT, INSTANT + timedelta(microseconds=50)], pa.timestamp("us", "UTC")),
        "day": [date(2013, 7, 4), None],
        "x": [1.0, math.nan],
    }
)
FIELDS = {"id": "long", "email": "string", "at": "timestamp", "day": "date", "x": "double"}
KINDS = {field.name: field.type for field in SPARK.schema}
OTHER = pa.table({name: pa.array([8, 9] if name == "id" else [None] * 2, kind) for name, kind in KINDS.items()})
STATISTICS = {
    "spark's": {
        "numRecords": 2,
        "minValues": {"id": 1, "email": "b" * 32, "at": "2013-07-04T12:00:00.123Z", "day": "2013-07-04", "x": 1.0},
        "maxValues": {
            "id": 2,
            "email": "b" * 32 + "\ufffd",
            "at": "2013-07-04T05:00:00.123-07:00",
            "day": "2013-07-04",
            "x": "NaN",
        },
        "nullCount": {"id": 0, "email": 0, "at": 0, "day": 1, "x": 0},
    },
    "no upper bound": {
        "numRecords": 2,
        "minValues": {"id": 1, "email": "b" * 32},
        "maxValues": {"id": 2},
        "nullCount": dict.fromkeys(("id", "email", "at", "x"), 0),
    },
    "no null counts": {"numRecords": 2, "minValues": {"id": 1}, "maxValues": {"id": 2}},
    "no number of rows": {"minValues": {"id": 1}, "maxValues": {"id": 2}, "nullCount": {"id": 0, "day": 2}},
    "beyond python": {"numRecords": 2, "minValues": {"id": 1}, "maxValues": {"id": 2, "day": "+294247-01-10"}},
    "empty": {},
    "none": None,
}
QUESTIONS = (
    (pc.field("email") == "b" * 40, [1]),
    (pc.field("email") > "b" * 33, [1, 2]),
    (pc.field("email") > "c", []),
    (pc.field("at") > pa.scalar(INSTANT, pa.timestamp("us", "UTC")), [2]),
    (pc.field("at") < pa.scalar(INSTANT, pa.timestamp("us", "UTC")), []),
    (pc.field("day") == date(2013, 7, 4), [1]),
    (pc.field("day").is_null(), [2, 8, 9]),
    (pc.field("day") != date(2013, 7, 4), []),
    (pc.field("x") != 1.0, [2]),
    (~(pc.field("x") <= 1.0), [2]),
    (pc.field("id") > 1, [2, 8, 9]),
    ((pc.field("id") == 2) & pc.field("day").is_null(), [2]),
)


@pytest.mark.slow
@pytest.mark.parametrize("stats", STATISTICS.values(), ids=STATISTICS)
def test_statistics_as_other_writers_leave_them(bucket, fs, server, stats):
    others = {"numRecords": 2, "minValues": {"id": 8}, "maxValues": {"id": 9}, "nullCount": {"id": 0, "email": 2}}
    dataset = handmade(server, fs, bucket, [(SPARK, stats), (OTHER, others)], FIELDS)
    for where, expected in QUESTIONS:
        assert ids(dataset.read(where=where)) == expected, where
        assert dataset.scan().count_rows(filter=where) == len(expected), where
    assert dataset.erase(pc.field("x") != 1.0).rows == 1
    assert ids(dataset.read()) == [1, 8, 9]


def test_typed_partition_columns_of_another_writer(bucket, fs, server):
    fields = {"id": "long", "shop": "integer", "day": "date", "ok": "boolean", "at": "timestamp"}
    values = [
        {"shop": "7", "day": "2013-07-04", "ok": "true", "at": "2013-07-04 12:00:00"},
        {"shop": None, "day": None, "ok": None, "at": None},
        {"shop": "10", "day": "9999-12-31", "ok": "false", "at": "2013-07-04 12:00:00.123456"},
    ]
    files = [(pa.table({"id": [number]}), None, keys) for number, keys in enumerate(values)]
    dataset = handmade(server, fs, bucket, files, fields, ["shop", "day", "ok", "at"])
    noon = datetime(2013, 7, 4, 12, tzinfo=UTC)
    for where, expected in (
        ([("shop", ">=", 8)], [2]),
        ([("shop", "in", [7, "10"])], [0, 2]),
        ([("shop", "==", None)], [1]),
        ([("day", "==", "2013-07-04")], [0]),
        ([("ok", "==", False)], [2]),
        ([("at", "==", noon)], [0]),
        (~(pc.field("shop") == 7), [2]),
        (pc.field("day") > date(2014, 1, 1), [2]),
    ):
        assert ids(dataset.read(where=where)) == expected, where
        assert dataset.scan().count_rows(filter=None if isinstance(where, list) else where) == (
            3 if isinstance(where, list) else len(expected)
        )


def test_a_log_that_does_not_fit_its_schema_is_refused_by_name(bucket, fs, server):
    stats = {"numRecords": 2, "minValues": {"id": "x"}}
    with pytest.raises(SchemaMismatch, match=r"the log of lake://.* does not fit the table's schema: .*\"x\" as Int64"):
        handmade(server, fs, bucket, [(SPARK, stats)], {**FIELDS, "ok": "boolean"}).read()


def test_statistics_of_the_wrong_type_prove_nothing(bucket, fs, server):
    stats = {"numRecords": 2, "minValues": {"id": "x"}, "nullCount": {"id": 0}}
    assert ids(handmade(server, fs, bucket, [(SPARK, stats)], FIELDS).read(where=[("id", "==", 1)])) == [1]


def test_statistics_in_a_checkpoint_alone(bucket, fs, server):
    """Trino writes them as a struct there, and no text beside it."""
    dataset = handmade(server, fs, bucket, [(SPARK, STATISTICS["no upper bound"]), (OTHER, None)], FIELDS)
    DeltaTable(f"s3://{bucket}/hand", storage_options=delta_options(server)).create_checkpoint()
    log = f"{bucket}/hand/_delta_log/{0:020d}"
    table = pq.read_table(io.BytesIO(fs.cat_file(f"{log}.checkpoint.parquet")))
    kinds = {"id": pa.int64(), "email": pa.string(), "at": KINDS["at"]}
    parsed = pa.struct(
        [
            ("numRecords", pa.int64()),
            ("minValues", pa.struct(kinds.items())),
            ("maxValues", pa.struct(kinds.items())),
            ("nullCount", pa.struct(dict.fromkeys(kinds, pa.int64()).items())),
        ]
    )
    fields = [field for field in table.schema.field("add").type if field.name != "stats"]
    kind = pa.struct([*fields, pa.field("stats_parsed", parsed)])
    adds = [
        None
        if add is None
        else {
            **add,
            "stats_parsed": add["stats"]
            and {**json.loads(add["stats"]), "maxValues": {"id": 2}, "minValues": {"id": 1}},
        }
        for add in table.column("add").to_pylist()
    ]
    adds = [None if add is None else {field.name: add.get(field.name) for field in kind} for add in adds]
    index = table.schema.get_field_index("add")
    put(
        server,
        f"{log}.checkpoint.parquet",
        parquet(table.set_column(index, pa.field("add", kind), pa.array(adds, kind))),
    )
    server.admin.delete_object(Bucket=bucket, Key=f"{log.removeprefix(f'{bucket}/')}.json")
    dataset = Dataset.open(f"lake://{bucket}/hand", fs=fs)
    assert "stats_parsed" in str(kind)
    assert len(list(dataset.scan().get_fragments(filter=pc.field("id") == 7))) == 1, "one file has none"
    for where, expected in QUESTIONS:
        assert ids(dataset.read(where=where)) == expected, where


# -- what is read ------------------------------------------------------------------------------------------------------


def numbered(number):
    return pa.table(
        {
            "k": ["ab"[number % 2]] * 10,
            "id": range(10 * number, 10 * number + 10),
            "x": [float(value) for value in range(10 * number, 10 * number + 10)],
            "s": [f"name {value:04d}" for value in range(10 * number, 10 * number + 10)],
            "at": pa.array(
                [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=10 * number, seconds=row) for row in range(10)],
                pa.timestamp("us", "UTC"),
            ),
        }
    )


@pytest.mark.parametrize(
    ("where", "files"),
    [
        (pc.field("k") == "a", 3),
        (pc.field("id") == 17, 1),
        (pc.field("id").isin([17, 55]), 2),
        ((pc.field("id") > 30) & (pc.field("k") == "b"), 2),
        ((pc.field("id") < 10) | (pc.field("s") > "name 0049"), 2),
        (pc.field("s") == "name 0033", 1),
        (pc.field("x") >= 50.0, 1),
        (~(pc.field("x") < 50.0), 6),  # any file may hold a NaN
        (pc.field("at") > pa.scalar(datetime(2013, 2, 15, tzinfo=UTC), pa.timestamp("us", "UTC")), 1),
        (pc.field("id").is_null(), 0),
        (pc.field("id") == -1, 0),
        (pc.field("id") * 2 == 34, 6),  # nothing is known of a computed value
    ],
    ids=str,
)
def test_files_are_left_out_where_that_is_proven(bucket, fs, where, files):
    dataset = made(fs, bucket, *map(numbered, range(6)))
    whole = pa.concat_tables(map(numbered, range(6)))
    assert len(list(dataset.scan().get_fragments(filter=where))) == files
    assert ids(dataset.read(where=where)) == ids(whole.filter(where))


def test_a_file_that_is_left_out_is_not_opened(bucket, fs, server):
    dataset = made(fs, bucket, *map(numbered, range(4)))
    for file in dataset._handle.table.snapshot().files:
        if json.loads(file.stats)["minValues"]["id"] != 20:
            server.admin.delete_object(Bucket=bucket, Key=f"t/{file.path}")
    assert ids(dataset.read(where=[("id", ">", 20), ("id", "<=", 25)])) == [21, 22, 23, 24, 25]
    assert pl.scan_pyarrow_dataset(dataset.scan()).filter(pl.col("id") == 25).collect()["id"].to_list() == [25]
    with pytest.raises(FileNotFoundError):
        dataset.read(where=[("id", "==", 5)])


def test_a_filter_that_fails_for_some_row_is_named(bucket, fs):
    dataset = made(fs, bucket, PAID)
    wrong = pc.divide(pc.field("id"), pc.field("id") - 1) > 0
    for read in (dataset.read, dataset.to_polars, lambda where: dataset.to_dask(where=where).compute(scheduler="sync")):
        with pytest.raises(SchemaMismatch, match=r"cannot read lake://.* by .*divide by zero"):
            read(where=wrong)


def test_a_scan_is_a_pyarrow_dataset(bucket, fs):
    scan = made(fs, bucket, *map(numbered, range(3))).scan()
    where = pc.field("id") > 14
    assert isinstance(scan, pads.FileSystemDataset)
    assert len(scan.files) == 3
    order = scan.to_table(filter=where)["id"].to_pylist()
    assert sorted(order) == list(range(15, 30))
    double = {"twice": pc.field("id") * 2}
    assert scan.to_table(columns=double, filter=where)["twice"].to_pylist() == [2 * number for number in order]
    assert scan.to_table(columns=[], filter=where).num_rows == 15
    named = scan.to_table(columns=["id", "__filename"], filter=where)
    assert (named.num_rows, len(named["__filename"].unique())) == (15, 2)
    assert scan.head(3, filter=where)["id"].to_pylist() == order[:3]
    assert scan.take([0, 14], filter=where)["id"].to_pylist() == [order[0], order[14]]
    assert scan.filter(where).filter(pc.field("id") < 20).count_rows() == 5
    assert (
        scan.filter(where).join(pa.dataset.dataset(pa.table({"id": [15, 99]})), "id", join_type="inner").count_rows()
        == 1
    )
    inverse = scan.replace_schema(pa.schema([("id", pa.int64()), ("new", pa.string())]))
    assert inverse.to_table(filter=where).column("new").null_count == 15
    with pytest.raises(pa.ArrowInvalid, match="No match"):
        scan.to_table(filter=pc.field("nobody") == 1)


# -- erasure is proven by reading --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_an_erasure_left_is_counted_and_said(bucket, fs, monkeypatch):
    dataset = made(fs, bucket, PAID)
    monkeypatch.setattr(
        "tierlake.pipelines.maintenance.rewrite._without_matches", lambda rows: rows.drop_columns(["\0matches"])
    )
    report = dataset.erase([("paid", "==", False)], unsafe_delete_old_files=True)
    assert report.remaining == 2
    assert not report.is_complete
    assert "2 such rows are in the table now" in str(report)
    monkeypatch.undo()
    report = dataset.erase([("paid", "==", False)], unsafe_delete_old_files=True)
    assert (report.remaining, report.is_complete) == (0, True)


def test_a_file_that_vanishes_is_named(bucket, fs, server, monkeypatch):
    dataset = made(fs, bucket, PAID)
    gone = next(file for file in dataset._handle.table.snapshot().files if file.key.as_dict()["k"] == "b")
    real = Rewriter.count

    def count(self, path, matching):
        server.admin.delete_object(Bucket=bucket, Key=f"t/{gone.path}")
        return real(self, path, matching)

    monkeypatch.setattr(Rewriter, "count", count)
    report = dataset.erase([("paid", "==", False)])
    assert list(report.archived) == ["k=b"]
    assert "not in the store" in report.archived["k=b"]
    assert (report.rows, report.is_complete) == (1, False)


def test_old_files_with_nan_are_counted_by_their_rows(bucket, fs):
    dataset = made(fs, bucket, DOUBLES)
    report = dataset.erase(pc.field("x") != 1.0)
    assert (report.rows, report.remaining) == (3, 0)
    assert [remnant.rows for remnant in report.remnants] == [3]


@pytest.mark.slow
def test_rejected_rows_that_are_text_are_compared_by_what_they_spell(bucket, fs):
    dataset = made(fs, bucket, PAID)
    folder = f"{dataset.spec.root}/_lake/rejects"
    for name, column in {"match": ["3", "4"], "none": ["5", None], "unclear": ["5", "three"]}.items():
        rows = pa.table({"id": column, "_reject_reason": ["bad"] * 2})
        dataset.fs.pipe_file(f"{folder}/{name}.parquet", parquet(rows))
    dataset.fs.pipe_file(f"{folder}/broken.parquet", b"no Parquet")
    named = dataset.erase([("id", "==", 3)]).rejects
    assert sorted(path.rpartition("/")[2] for path in named) == ["broken.parquet", "match.parquet", "unclear.parquet"]
