"""Tables and prefixes that others made have partitions, ages, tiers and expiry at once."""

import io
import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction

from tests.pipelines.foreign import DAYS, by_day, delta_options, parquet, put, write_delta, write_hive
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import (
    CommitConflict,
    SchemaMismatch,
    SourceError,
    SpecError,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.metastore.inference import doubt_of_width, inferred_partitioning
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import PartitionSpec, TimePartition
from tierlake.pipelines.tables.delta_commit import spelled_by_deltalake
from tierlake.pipelines.tables.snapshot import Change

POLICY = {"tiers": [{"after": "30d", "tier": "warm"}], "retention": {"expire_after": "90d"}}
KEYS = [f"day={day}" for day in DAYS]
AS_OF = "2013-04-02 12:00:00"  # the first day is 90 days old


@pytest.fixture(params=["delta", "parquet"])
def root(request, make_bucket, server):
    root = f"{make_bucket(versioned=True)}/theirs/days"
    if request.param == "delta":
        write_delta(server, root, by_day().drop_columns("shop"), ["day"])
    else:
        write_hive(server, root)
    return root


# -- opening -----------------------------------------------------------------------------------------------------------


def test_an_undescribed_table_has_windows_and_ages_at_once(root, fs):
    theirs = Dataset.open(f"lake://{root}", fs=fs)
    assert theirs.spec.partition == PartitionSpec(time=TimePartition(key="day", every="day"))
    parts = theirs.partitions("2013-01-06")
    assert [(str(part.key), part.age.days) for part in parts] == list(zip(KEYS, [4, 3, 2, 1], strict=True))
    assert "30 d old" in str(theirs.explain(KEYS[0], "2013-02-01"))
    assert not theirs.plan_expiry("2033-01-01").steps


@pytest.mark.slow
def test_a_policy_given_at_open_tiers_expires_and_undoes(root, fs):
    theirs = Dataset.open(f"lake://{root}", spec=POLICY, fs=fs)
    plan = theirs.plan_expiry(AS_OF)
    assert [step.key for step in plan.steps] == KEYS[:1]
    plan.apply().raise_failures()
    assert theirs.read().num_rows == 15
    assert theirs.undo_expiry(KEYS[0]).changed
    assert theirs.read().num_rows == 20
    moved = [step.key for step in theirs.plan_tiering("2013-02-01 12:00:00").steps]
    refused = [refusal.key for refusal in theirs.plan_tiering("2013-02-01 12:00:00").refused]
    assert sorted([*moved, *refused]) == KEYS[:1]  # small files cost more than they save: said, not dropped


def test_nothing_is_written_to_the_table_without_being_asked(root, fs, server):
    bucket = root.partition("/")[0]
    before = server.keys(bucket)
    theirs = Dataset.open(f"lake://{root}", spec=POLICY, fs=fs)
    with pytest.raises(UnsupportedByTable) as refused:
        theirs.hold(KEYS[0], reason="audit")
    assert "Dataset.adopt" in refused.value.hint
    assert "tierlake adopt" in refused.value.hint
    assert server.keys(bucket) == before


def test_a_yaml_file_describes_a_table_of_others(root, fs, tmp_path):
    path = tmp_path / "theirs.yaml"
    path.write_text(f"uri: lake://{root}\npartition: {{time: {{key: day}}}}\nretention: {{expire_after: 90d}}\n")
    assert [step.key for step in Dataset.open(path, fs=fs).plan_expiry(AS_OF).steps] == KEYS[:1]
    assert Dataset.open(f"lake://{root}", spec=path, fs=fs).spec.retention.expire_after.days == 90


@pytest.mark.slow
def test_a_spec_that_contradicts_the_table_is_refused(root, fs):
    wrong = {"partition": {"time": {"key": "date"}}}
    with pytest.raises(SpecError, match="partitioned by day: there is no date"):
        Dataset.open(f"lake://{root}", spec=wrong, fs=fs)
    other = "parquet" if Dataset.open(f"lake://{root}", fs=fs).format == "delta" else "delta"
    with pytest.raises(SpecError, match=f"not {other}"):
        Dataset.open(f"lake://{root}", spec={"format": other}, fs=fs)
    with pytest.raises(SpecError, match="not of"):
        Dataset.open(f"lake://{root}", spec={"uri": f"lake://{root}-2"}, fs=fs)
    with pytest.raises(TableNotFound):
        Dataset.open(DatasetSpec(uri=f"lake://{root}-2"), fs=fs)


# -- rows into tables of others ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_carry_the_key_where_there_is_no_event_time(root, fs):
    theirs = Dataset.open(f"lake://{root}", fs=fs)
    names = theirs.schema.names
    kind = theirs.schema.field("day").type
    more = pa.table({"day": pa.array([date(2013, 1, 4), date(2013, 1, 5)]).cast(kind), "v": [100, 101]})
    if "name" in names:
        more = more.append_column("name", pa.array(["y", "y"]))
    result = theirs.ingest(more)
    assert [str(key) for key in result.partitions] == ["day=2013-01-04", "day=2013-01-05"]
    values = theirs.read(["v"], where=[("day", ">=", "2013-01-04")]).column("v").to_pylist()
    assert sorted(values) == [100, 101]
    assert theirs.read().num_rows == 17


def test_rows_whose_key_is_no_window_are_kept_aside(fs, server, bucket):
    write_hive(server, f"{bucket}/hive")
    theirs = Dataset.open(f"lake://{bucket}/hive", spec={"rejects": {"max_ratio": 1.0}}, fs=fs)
    odd = pa.table({"day": ["2013-1-9", "soon", None, "2013-01-09"], "v": [1, 2, 3, 4], "name": ["z"] * 4})
    result = theirs.ingest(odd)
    assert (result.rows, result.rejected) == (1, 3)
    assert {str(key) for key in result.partitions} == {"day=2013-01-09"}
    reasons = pads.dataset(result.rejects_path, filesystem=theirs.fs).to_table().column("_reject_reason").to_pylist()
    assert sorted(reasons) == ["day is not the key of one day", "day is not the key of one day", "day is null"]


# -- partition columns of every type -----------------------------------------------------------------------------------


def test_typed_keys_read_expire_undo_and_replace(fs, server, bucket):
    root = f"{bucket}/typed"
    write_delta(server, root, by_day(), ["shop", "day"])
    theirs = Dataset.open(f"lake://{root}", spec=POLICY, fs=fs)
    assert theirs.spec.partition.columns == ("shop", "day")
    assert theirs.spec.partition.time.key == "day"
    keys = [str(part.key) for part in theirs.partitions(AS_OF)]
    assert keys[:2] == ["shop=1/day=2013-01-01", "shop=1/day=2013-01-02"]
    before = theirs.read().sort_by("v")
    theirs.plan_expiry(AS_OF).apply().raise_failures()
    assert theirs.read().num_rows == 15
    for key in ("shop=1/day=2013-01-01", "shop=2/day=2013-01-01"):
        theirs.undo_expiry(key)
    assert theirs.read().sort_by("v") == before
    assert theirs.schema.field("day").type == pa.date32()
    theirs.ingest(by_day(each=2))
    assert theirs.read().num_rows == 8
    assert theirs.read(where=[("shop", "==", 1)]).num_rows == 4
    theirs.ingest(by_day(each=3, kind=pa.string()))  # text that spells dates
    assert theirs.read().num_rows == 12
    with pytest.raises(SchemaMismatch, match="day"):
        theirs.ingest(by_day(kind=pa.timestamp("us", "UTC")))


@pytest.mark.slow
def test_timestamps_booleans_and_nulls_as_keys(fs, server, bucket):
    at = pa.array([None, 1_000_001, 86_400_000_000], pa.timestamp("us", "UTC"))
    table = pa.table({"at": at, "ok": [True, None, False], "v": [1, 2, 3]})
    write_delta(server, f"{bucket}/odd", table, ["at", "ok"])
    theirs = Dataset.open(f"lake://{bucket}/odd", fs=fs)
    keys = [part.key for part in theirs.partitions()]
    assert PartitionKey.of({"at": "", "ok": "true"}) in keys
    assert PartitionKey.of({"at": "1970-01-01 00:00:01.000001", "ok": ""}) in keys
    theirs.ingest(table.set_column(2, "v", pa.array([10, 20, 30])))
    assert sorted(theirs.read().column("v").to_pylist()) == [10, 20, 30]
    assert theirs.read().sort_by("v").column("at").to_pylist() == table.column("at").to_pylist()
    assert len(theirs.partitions()) == 3


# -- inference ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        (("date",), [("2013-07-04",), ("",)], ("date", "day")),
        (("at",), [("2013-07-04T05",)], ("at", "hour")),
        (("m",), [("2013-07",)], ("m", "month")),
        (("year",), [("2013",)], ("year", "year")),
        (("sale_year",), [("2013",)], ("sale_year", "year")),
        (("shop",), [("2013",)], None),
        (("date",), [("2013-07-04",), ("unknown",)], None),
        (("date",), [("9999-12-31",)], None),
        (("date",), [("",)], None),
        (("city", "date"), [("NYC", "2013-07-04")], ("date", "day")),
        (("year", "date"), [("2013", "2013-07-04")], ("date", "day")),
        ((), [()], None),
        (("ts",), [("2024-01-05 00:00:00",), ("2024-01-06 00:00:00",)], ("ts", "day")),
        (("ts",), [("2024-01-05T00:00:00.000000Z",), ("2024-01-06T00:00:00.000000Z",)], ("ts", "day")),
        (("ts",), [("2024-01-05 00:00:00",), ("2024-01-05 13:00:00",)], ("ts", "hour")),
        (("ts",), [("2024-01-05T13:00:00Z",)], ("ts", "hour")),
        (("ts",), [("2024-01-05 13:30:00",), ("2024-01-05 13:00:00",)], None),
    ],
)
def test_what_keys_tell_of_time(columns, values, expected):
    found = inferred_partitioning(columns, [PartitionKey(tuple(zip(columns, value, strict=True))) for value in values])
    assert found.columns == columns
    assert (found.time and (found.time.key, found.time.every)) == expected


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        (["2024-01-01"], "first days of months"),
        (["2024-01-01", "2024-02-01", ""], "first days of months"),
        (["2024-01-01 00:00:00", "2024-03-01 00:00:00"], "first days of months"),
        (["2024-01-01", "2024-01-08", "2024-01-15"], "Mondays, so they may be weeks"),
        (["2024-01-05T00", "2024-01-05T06", "2024-01-05T18"], "6 hours apart"),
        (["2022-01", "2023-01", "2024-01"], "the same month"),
        (["2024-01-01", "2024-01-02"], None),
        (["2024-01-05"], None),
        (["2024-01-05T05", "2024-01-05T06", "2024-01-05T09"], None),
        (["2024-01", "2024-02"], None),
        (["Oslo"], None),
    ],
)
def test_widths_that_keys_leave_open(values, doubt):
    keys = [PartitionKey((("k", value),)) for value in values]
    told = doubt_of_width(inferred_partitioning(("k",), keys), keys)
    assert (doubt in told) if doubt else told is None


def test_windows_that_a_spec_needs_no_column_for():
    spec = DatasetSpec(
        uri="lake://b/t",
        partition={"time": {"key": "date"}, "by": ["city", "date"]},
        columns={"date": "string", "v": "int"},
    )
    assert spec.partition.columns == spec.partition.carried == ("city", "date")
    assert DatasetSpec.from_yaml(spec.to_yaml()) == spec
    assert timedelta(0) < spec.retention.grace


def test_a_prefix_without_parquet_is_no_table(fs, server, bucket):
    put(server, f"{bucket}/notes/readme.txt", b"hello")
    with pytest.raises(TableNotFound):
        Dataset.open(f"lake://{bucket}/notes", fs=fs)


# -- one file a partition, named by it ---------------------------------------------------------------------------------


@pytest.fixture
def named(make_bucket, server):
    """As Dagster's file IO managers write: a day each."""
    root = f"{make_bucket(versioned=True)}/theirs/named"
    for number, day in enumerate(DAYS):
        put(server, f"{root}/{day}.parquet", parquet(pa.table({"v": [number] * 3})))
    return root


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_files_named_by_their_days_are_partitions(named, fs, server):
    theirs = Dataset.open(f"lake://{named}", fs=fs)
    assert [str(part.key) for part in theirs.partitions()] == [f"partition={day}" for day in DAYS]
    assert theirs.read(where=[("partition", "==", str(DAYS[1]))]).to_pydict() == {
        "partition": [str(DAYS[1])] * 3,
        "v": [1] * 3,
    }
    said = Dataset.open(f"lake://{named}", spec=POLICY | {"partition": {"time": {"key": "day"}}}, fs=fs)
    assert [step.key for step in said.plan_expiry(AS_OF).steps] == KEYS[:1]
    said.plan_expiry(AS_OF).apply().raise_failures()
    assert said.read().num_rows == 9
    assert said.undo_expiry(KEYS[0]).changed
    said.ingest(pa.table({"day": [str(DAYS[0]), "2013-02-01"], "v": [7, 8]}))
    bucket, _, prefix = named.partition("/")
    assert f"{prefix}/2013-02-01.parquet" in server.keys(bucket)
    assert said.read(where=[("day", "==", str(DAYS[0]))])["v"].to_pylist() == [7]
    with pytest.raises(UnsupportedByTable, match="one file a partition, named by it") as refused:
        Dataset.adopt(f"lake://{named}", fs=fs)
    assert "tierlake ingest" in refused.value.hint


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_files_named_by_two_dimensions_in_the_order_of_their_names(fs, server, bucket):
    for shop in ("a", "b"):
        put(server, f"{bucket}/visits/{DAYS[0]}/{shop}.parquet", parquet(pa.table({"v": [1]})))
    said = {"partition": {"time": {"key": "day"}, "by": ["shop"]}}
    keys = [str(part.key) for part in Dataset.open(f"lake://{bucket}/visits", spec=said, fs=fs).partitions()]
    assert keys == [f"day={DAYS[0]}/shop=a", f"day={DAYS[0]}/shop=b"]


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_files_that_are_named_otherwise_are_no_partitions(named, fs, server):
    put(server, f"{named}/notes.parquet", parquet(pa.table({"v": [1]})))
    assert [str(part.key) for part in Dataset.open(f"lake://{named}", fs=fs).partitions()] == [""]
    with pytest.raises(SpecError, match="is not partitioned: there is no day") as refused:
        Dataset.open(f"lake://{named}", spec={"partition": {"time": {"key": "day"}}}, fs=fs)
    assert "neither below day=... nor are they all named by it" in refused.value.hint


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_objects_that_are_no_parquet_are_told(fs, server, bucket):
    put(server, f"{bucket}/pickles/2013-01-01", b"pickled")
    with pytest.raises(TableNotFound) as missing:
        Dataset.open(f"lake://{bucket}/pickles", fs=fs)
    assert "1 other objects are there, such as 2013-01-01" in missing.value.hint


def test_files_that_pyarrow_cannot_read_are_refused_by_name(bucket, fs, server):
    wide = io.BytesIO()
    pl.DataFrame({"id": pl.Series([1], dtype=pl.Int128)}).write_parquet(wide)
    put(server, f"{bucket}/t/k=a/0.parquet", wide.getvalue())
    with pytest.raises(SourceError, match=r"k=a/0.parquet is not Parquet, or not for pyarrow: .*64 bits"):
        Dataset.open(f"lake://{bucket}/t", fs=fs)


@pytest.mark.parametrize(("reader", "reason"), [(9, "Unsupported minimum reader version 9"), (1, "empty schema")])
def test_a_log_that_cannot_be_read_is_refused_by_name(bucket, fs, server, reader, reason):
    fields = [{"name": "id", "type": "long", "nullable": True, "metadata": {}}] if reader == 9 else []
    schema = {"type": "struct", "fields": fields}
    metadata = {"id": "0", "format": {"provider": "parquet", "options": {}}, "schemaString": json.dumps(schema)}
    actions = [
        {"protocol": {"minReaderVersion": reader, "minWriterVersion": 2}},
        {"metaData": {**metadata, "partitionColumns": [], "configuration": {}}},
    ]
    put(server, f"{bucket}/t/_delta_log/{0:020d}.json", "\n".join(map(json.dumps, actions)).encode())
    with pytest.raises(
        UnsupportedByTable, match=f"lake://{bucket}/t has a log that this version cannot read: .*{reason}"
    ):
        Dataset.open(f"lake://{bucket}/t", fs=fs)


# -- paths as other writers spell them ---------------------------------------------------------------------------------

# the folder in the store, and the path in the log: as Spark's are, and with escapes that it would not write
SPELLINGS = {
    "ü/=%": ("k=ü%2F%3D%25", "k=ü%252F%253D%2525"),
    "New York": ("k=New York", "k=New%20York"),
    "a*b": ("k=a%2Ab", "k=a%252Ab"),
    "é": ("k=é", "k=%c3%a9"),
    "plain": ("k=plain", "k=pl%61in"),
    "b": ("k=b", "k=b"),
}
FIELDS = {"id": "long", "k": "string"}


@pytest.fixture
def spelled(server, fs, bucket):
    """Two rows for each key, under a log written by hand; a checkpoint is due at every second version."""
    fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in FIELDS.items()]
    meta = {
        "id": "00000000-0000-0000-0000-000000000000",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": ["k"],
        "configuration": {"delta.checkpointInterval": "2"},
        "createdTime": 0,
    }
    entry = [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, {"metaData": meta}]
    for number, (value, (folder, logged)) in enumerate(SPELLINGS.items()):
        data = parquet(pa.table({"id": [number, 10 + number]}))
        put(server, f"{bucket}/spark/{folder}/part-0.c000.snappy.parquet", data)
        file = {"path": f"{logged}/part-0.c000.snappy.parquet", "partitionValues": {"k": value}, "size": len(data)}
        entry.append({"add": {**file, "modificationTime": 0, "dataChange": True}})
    log = "\n".join(json.dumps(action, ensure_ascii=False) for action in entry)
    put(server, f"{bucket}/spark/_delta_log/{0:020d}.json", log.encode())
    return Dataset.open(f"lake://{bucket}/spark", fs=fs)


def ids_by_all(dataset, server):
    """The ids, in which we and deltalake agree; polars 2.1 looks for other files than such a log names."""
    options, uri = delta_options(server), dataset.uri.replace("lake:", "s3:")
    ours = sorted(dataset.read()["id"].to_pylist())
    assert sorted(DeltaTable(uri, storage_options=options).to_pyarrow_table()["id"].to_pylist()) == ours
    return ours


@pytest.mark.slow
def test_files_leave_a_table_however_its_log_spells_them(spelled, server, fs):
    whole = sorted([*range(len(SPELLINGS)), *(10 + number for number in range(len(SPELLINGS)))])
    assert ids_by_all(spelled, server) == whole
    report = spelled.erase(pc.field("id") < 10)
    assert (report.rows, report.remaining) == (6, 0)
    assert ids_by_all(spelled, server) == whole[6:]
    for value in SPELLINGS:
        spelled.ingest(pa.table({"k": [value], "id": [100]}), mode="append")
    spelled.compact()
    assert ids_by_all(spelled, server) == [*whole[6:], *[100] * 6]
    replaced = spelled.ingest(pa.table({"k": list(SPELLINGS), "id": [7] * 6}))
    assert ids_by_all(spelled, server) == [7] * 6
    assert [(one.rows_out, one.rows_in) for one in replaced.replaced] == [(2, 1)] * 6
    assert spelled.verify().ok


@pytest.mark.slow
def test_a_checkpoint_follows_a_commit_that_spells_paths_as_they_were(spelled, server, fs):
    for number in (0, 3):
        assert spelled.erase(pc.field("id") == number).remaining == 0
    checkpoints = fs.glob(f"{spelled.spec.root}/_delta_log/*.checkpoint.parquet")
    assert [path.rpartition("/")[2] for path in checkpoints] == [f"{1:020d}.checkpoint.parquet"]
    assert ids_by_all(spelled, server) == [1, 2, 4, 5, *range(10, 16)]


def test_a_commit_that_spells_paths_as_they_were_loses_to_a_faster_one(spelled, server, fs):
    base = spelled._handle.table.snapshot()
    spelled.ingest(pa.table({"k": ["ü/=%"], "id": [7]}))
    gone = next(file for file in base.files if "ü" in file.path)
    with pytest.raises(CommitConflict, match="was changed by version 1"):
        spelled._handle.table.commit(Change("expire", base, removes=(gone,)))
    assert 7 in ids_by_all(spelled, server)


def test_paths_are_spelled_as_deltalake_spells_them(tmp_path):
    schema = Schema.from_arrow(pa.schema([("id", pa.int64())]))
    table = DeltaTable.create(str(tmp_path), schema)
    letters = [chr(number) for number in range(1, 0x250) if chr(number) != "/"] + ["€", "\U0001f600"]
    adds = [AddAction(f"a{letter}b", 1, {}, 0, data_change=True, stats="{}") for letter in letters]
    table.create_write_transaction(adds, "append", schema, [])
    paths = pa.table(DeltaTable(str(tmp_path)).get_add_actions())["path"].to_pylist()
    assert sorted(paths) == sorted(spelled_by_deltalake(f"a{letter}b") for letter in letters)


# -- dates and timestamps of other writers ----------------------------------------------------------------------------

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FROM = datetime(2024, 1, 5, tzinfo=UTC)
KINDS = {
    "date": (pa.date32(), DAY, "day=2024-01-05"),
    "timestamp": (pa.timestamp("us", "UTC"), DAY, "day=2024-01-05%2000%3A00%3A00"),
    "timestamp without zone": (pa.timestamp("us"), DAY, "day=2024-01-05%2000%3A00%3A00"),
    "hours": (pa.timestamp("us", "UTC"), HOUR, "day=2024-01-05%2000%3A00%3A00"),
}


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_dates_or_times_tiers_and_expires(make_bucket, server, fs, kind):
    type_, step, first = KINDS[kind]
    root = f"{make_bucket()}/typed"
    values = [FROM + step * number for number in (0, 1, 2)]
    typed = [at.date() if kind == "date" else at for at in values]
    write_delta(server, root, pa.table({"day": pa.array(typed, type_), "v": [1, 2, 3]}), ["day"])
    theirs = Dataset.open(f"lake://{root}", spec=POLICY, fs=fs)
    assert theirs.spec.partition.time.every == ("hour" if step == HOUR else "day")
    end = FROM + step
    assert [step.key for step in theirs.plan_tiering(end + 30 * DAY).steps] == [first]
    assert theirs.plan_expiry(end + 90 * DAY - timedelta(seconds=1)).steps == ()
    plan = theirs.plan_expiry(end + 90 * DAY)
    assert [step.key for step in plan.steps] == [first]
    assert plan.ageless is None
    plan.apply().raise_failures()
    assert sorted(theirs.read().column("v").to_pylist()) == [2, 3]
    assert theirs.undo_expiry(first).changed


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize(
    "spelled",
    [
        "ts=2024-01-{:02d}%2000%3A00%3A00",
        "ts=2024-01-{:02d} 00:00:00",
        "ts=2024-01-{:02d}T00%3A00%3A00.000000Z",
        "ts=2024-01-{:02d}T00:00:00Z",
    ],
)
def test_folders_of_timestamps_tier_and_expire(make_bucket, server, fs, spelled):
    root = f"{make_bucket(versioned=True)}/plain"
    for day in (5, 6, 7):
        put(server, f"{root}/{spelled.format(day)}/part-0.parquet", parquet(pa.table({"v": [day]})))
    theirs = Dataset.open(f"lake://{root}", spec=POLICY, fs=fs)
    assert (theirs.spec.partition.time.key, theirs.spec.partition.time.every) == ("ts", "day")
    (step,) = theirs.plan_expiry(FROM + 91 * DAY).steps
    assert "2024-01-05" in step.key
    theirs.plan_expiry(FROM + 91 * DAY).apply().raise_failures()
    assert sorted(theirs.read().column("v").to_pylist()) == [6, 7]


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_months_spelled_as_their_first_days_are_not_taken_for_days(make_bucket, server, fs):
    root = f"{make_bucket()}/months"
    firsts = [date(2024, month, 1) for month in (1, 2, 3)]
    write_delta(server, root, pa.table({"day": pa.array(firsts, pa.date32()), "v": [1, 2, 3]}), ["day"])
    uri = f"lake://{root}"
    assert Dataset.open(uri, fs=fs).spec.partition.time.every == "day"  # no policy: nothing follows from it
    with pytest.raises(SpecError, match="first days of months, so they may be months") as caught:
        Dataset.open(uri, spec=POLICY, fs=fs)
    assert "every: day" in str(caught.value.hint)
    with pytest.raises(SpecError, match="may be months"):
        Dataset.adopt(uri, POLICY, fs=fs, dry_run=False)
    said = POLICY | {"partition": {"time": {"key": "day", "every": "month"}}}
    theirs = Dataset.open(uri, spec=said, fs=fs)
    assert theirs.plan_expiry("2024-04-30").steps == ()
    assert [step.key for step in theirs.plan_expiry("2024-05-01").steps] == ["day=2024-01-01"]


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_partitions_without_an_age_are_told(make_bucket, server, fs):
    root = f"{make_bucket()}/half"
    at = pa.array([FROM, FROM + 13 * HOUR], pa.timestamp("us", "UTC"))
    write_delta(server, root, pa.table({"ts": at, "v": [1, 2]}), ["ts"])
    said = POLICY | {"partition": {"time": {"key": "ts", "every": "day"}}}
    theirs = Dataset.open(f"lake://{root}", spec=said, fs=fs)
    for plan in (theirs.plan_expiry("2025-01-01"), theirs.plan_tiering("2025-01-01")):
        assert "1 of 2 partitions name no day of UTC, so they have no age: ts=2024-01-05%2013%3A00%3A00" in str(plan)
        assert "(partition.time.every: hour would give it one)" in str(plan)
    zoned = said | {"partition": {"time": {"key": "ts", "every": "hour", "timezone": "Asia/Kolkata"}}}
    with pytest.raises(SpecError, match="holds instants, whose keys are spelled in UTC, not in Asia/Kolkata"):
        Dataset.open(f"lake://{root}", spec=zoned, fs=fs)
