"""Tables with days in archived classes: everything works but reads of those days, and these say what to do.

On moto, the one server here that has AWS's archived classes.
"""

import json

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector.errors import ObjectArchived
from tierlake.pipelines import Dataset
from tierlake.pipelines.cli import main
from tierlake.pipelines.errors import ArchivedError, SchemaMismatch, UnsupportedByTable

DAYS = [f"2013-01-0{number}" for number in range(1, 5)]
POLICY = {"retention": {"expire_after": "300d", "grace": "7d"}}
DONE_IN_PART = 3


class Table:
    """Four days of ten trips each, of one kind of table, some of them archived."""

    def __init__(self, moto, kind, archived, storage_class="GLACIER"):
        self.moto, self.kind = moto, kind
        self.bucket = moto.make_bucket(versioned=True)
        self.root = f"{self.bucket}/city/trips"
        self.uri = f"lake://{self.root}"
        self.fs = fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options)
        self.column = "partition" if kind == "named" else "date"
        self.is_ours = kind in {"delta", "parquet"}
        if self.is_ours:
            Dataset.create(trip_spec(self.bucket, format=kind), fs=self.fs).ingest(make_trips())
        else:
            self._written_by_others()
        self.archive(archived, storage_class)

    def _written_by_others(self):
        for number, day in enumerate(DAYS):
            path = f"{day}.parquet" if self.kind == "named" else f"date={day}/part-0.parquet"
            with self.fs.open(f"{self.root}/{path}", "wb") as file:
                pq.write_table(make_trips().slice(10 * number, 10), file)

    def archive(self, days, storage_class="GLACIER"):
        inside = self.fs.for_table(self.root)
        inside.invalidate_cache()
        for path in inside.find(self.root):
            if any(day in path for day in days):
                inside.transition(path, storage_class=storage_class)

    def open(self):
        return Dataset.open(self.uri, spec=None if self.is_ours else POLICY, fs=self.fs)

    def key(self, day):
        return f"{self.column}={day}"

    def trips(self, start, days=1):
        rows = make_trips(days, start=start)
        if not self.is_ours:
            rows = rows.append_column(self.column, pa.array([f"2013-01-{start + 1:02}"] * len(rows)))
        return rows


@pytest.fixture
def make_table(moto):
    made = []

    def make(kind, archived=(DAYS[0],), storage_class="GLACIER"):
        made.append(Table(moto, kind, archived, storage_class))
        return made[-1]

    yield make
    for table in made:
        moto.drop_bucket(table.bucket)


KINDS = ["delta", "parquet", "hive", "named"]
WHICH = [
    *((kind, DAYS[0], "GLACIER") for kind in KINDS),
    *(pytest.param(kind, DAYS[-1], "DEEP_ARCHIVE", marks=pytest.mark.slow) for kind in KINDS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "day", "storage_class"), WHICH)
def test_hot_days_are_read_by_every_way_of_ours(make_table, kind, day, storage_class):
    table = make_table(kind, [day], storage_class)
    dataset, column = table.open(), table.column
    hot = [(column, "==", DAYS[2])]
    assert dataset.schema.names == [column, "at", "city", "fare"]
    fares = pc.sum(dataset.read(where=hot)["fare"]).as_py()
    assert fares == pc.sum(make_trips().slice(20, 10)["fare"]).as_py()
    assert dataset.to_pandas(where=hot)["fare"].sum() == fares
    assert dataset.to_polars(where=hot)["fare"].sum() == fares
    assert dataset.scan().to_table(filter=pc.field(column) == DAYS[2]).num_rows == 10
    assert pl.scan_pyarrow_dataset(dataset.scan()).filter(pl.col(column) == DAYS[2]).collect().height == 10
    if kind == "delta":
        scanned = pl.scan_delta(f"s3://{table.root}", storage_options=table.fs.polars_options())
        assert scanned.filter(pl.col("date") == DAYS[2]).collect().height == 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta", "hive"])
def test_pandas_and_pyarrow_read_hot_days_with_the_schema_that_the_error_names(make_table, kind):
    """They open the first file for the schema, which no listing can change: pyarrow sorts it."""
    table = make_table(kind)
    hot, options = [("date", "==", DAYS[2])], table.moto.storage_options
    says = rf"{table.key(DAYS[0])} of {table.uri} is archived in GLACIER.*tierlake restore {table.uri} .*schema=Dataset"
    with pytest.raises(ObjectArchived, match=says):
        pd.read_parquet(table.uri, filters=hot, storage_options=options)
    with pytest.raises(ObjectArchived, match=says):
        pads.dataset(table.root, filesystem=table.fs, partitioning="hive")
    schema = table.open().schema
    assert len(pd.read_parquet(table.uri, filters=hot, schema=schema, storage_options=options)) == 10
    dataset = pads.dataset(table.root, filesystem=table.fs, partitioning="hive", schema=schema)
    assert dataset.to_table(filter=pc.field("date") == DAYS[2]).num_rows == 10
    with pytest.raises(ObjectArchived, match=says):
        dataset.to_table()


@pytest.mark.parametrize("kind", ["delta", "parquet", pytest.param("named", marks=pytest.mark.slow)])
def test_a_read_of_an_archived_day_names_it_its_class_and_the_way_out(make_table, kind):
    table = make_table(kind, [DAYS[-1]], "DEEP_ARCHIVE")
    dataset, key = table.open(), table.key(DAYS[-1])
    for read in (
        dataset.read,
        dataset.to_pandas,
        dataset.to_polars,
        lambda: dataset.to_dask().compute(scheduler="sync"),
        lambda: dataset.scan().to_table(),
        lambda: dataset.scan().to_table(filter=pc.field("fare") > 0),
        lambda: dataset.scan().count_rows(),
        lambda: list(dataset.scan().to_batches()),
        lambda: pl.scan_pyarrow_dataset(dataset.scan()).collect(),
    ):
        with pytest.raises(ArchivedError, match="DEEP_ARCHIVE") as refused:
            read()
        text = str(refused.value)
        assert refused.value.keys == (key,)
        assert f"tierlake restore {table.uri} {key}" in text
        assert "\x1b" not in text
        assert "<" not in text
    for read in (
        lambda: pd.read_parquet(table.uri, storage_options=table.moto.storage_options),
        lambda: table.fs.cat(next(path for path in table.fs.find(table.root) if DAYS[-1] in path)),
    ):
        with pytest.raises(ObjectArchived, match=r"DEEP_ARCHIVE.*tierlake restore"):
            read()


@pytest.mark.parametrize(("kind", "day", "storage_class"), WHICH)
def test_the_table_is_looked_at_kept_ingested_into_expired_and_restored(make_table, kind, day, storage_class):
    table = make_table(kind, [day], storage_class)
    dataset, frozen = table.open(), table.key(day)
    catalog = {str(part.key): part.storage_class for part in dataset.partitions("2013-01-10")}
    assert catalog == {table.key(one): storage_class if one == day else "STANDARD" for one in DAYS}
    assert len(dataset.windows()) == 4
    assert not dataset.plan_tiering("2013-01-10").apply().failed
    assert "must be restored before" in str(dataset.explain(frozen, "2013-01-10"))
    assert {problem.kind for problem in dataset.verify("2013-01-10").problems} == {"class"}
    assert dataset.vacuum().deleted == 0
    assert dataset.expiry_outlook("2013-01-10").next_at is not None
    dataset.history()

    assert dataset.ingest(table.trips(9)).replaced == ()
    (replaced,) = dataset.ingest(table.trips(DAYS.index(day))).replaced
    assert (str(replaced.key), replaced.rows_in) == (frozen, 10)
    assert replaced.rows_out == (10 if kind == "delta" else None), "the log knows it, and no footer can be read"
    assert ("10 rows out" if kind == "delta" else "rows out unknown") in str(replaced)
    assert len(dataset.read()) == 50, "the new rows are hot"

    table.archive([day], storage_class)
    due = dataset.plan_expiry("2013-12-31")
    assert {str(step.key) for step in due.steps} >= {frozen}
    assert not due.apply().failed
    assert len(dataset.partitions()) == 0
    assert dataset.undo_expiry(frozen).changed
    with pytest.raises(ArchivedError, match=frozen):
        dataset.read()
    assert dataset.restore(frozen).archived == 1
    assert len(dataset.read()) == 10


@pytest.fixture
def tierlake(moto, monkeypatch, capsys):
    """Runs the program here: its exit code and what it prints."""
    for name, value in moto.environ().items():
        if name.startswith(("AWS_", "TIERLAKE_")):
            monkeypatch.setenv(name, value)

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return ended.value.code or 0, capsys.readouterr().out

    return run


@pytest.mark.slow
def test_what_hangs_on_rows_leaves_archived_days_alone_and_says_so(make_table, tierlake):
    table = make_table("delta", [])
    dataset = table.open()
    for _ in range(2):
        dataset.ingest(make_trips(2), mode="append")
    table.archive([DAYS[0]])
    frozen = table.key(DAYS[0])
    dataset.ingest(make_trips(1), mode="append")
    assert dataset.hold(frozen, reason="a look")
    assert dataset.release(frozen)
    assert dataset.retain(frozen, until="2027-01-01")
    compacted = dataset.compact()
    assert compacted.skipped == {frozen: "archived in GLACIER: it must be restored before it can be read"}
    assert [str(part.key) for part in compacted.partitions] == [table.key(DAYS[1])]
    code, out = tierlake("erase", table.uri, "--where", "city=JFK", "--yes", "--json")
    assert (code, list(json.loads(out)["archived"])) == (DONE_IN_PART, [frozen])
    assert Dataset.adopt(table.uri, fs=table.fs).writes_log is False


@pytest.mark.slow
def test_no_file_tells_the_columns(make_table, tierlake):
    """Of somebody's plain table of which every day is archived."""
    table = make_table("hive", DAYS)
    dataset = table.open()
    assert len(dataset.partitions()) == 4
    code, out = tierlake("show", table.uri)
    assert (code, "no file tells the columns" in out) == (0, True)
    for call in (lambda: dataset.schema, dataset.read, dataset.scan, lambda: dataset.ingest(table.trips(9))):
        with pytest.raises(ArchivedError, match=r"no file tells the columns.*tierlake restore"):
            call()
    with pytest.raises(ArchivedError, match=r"only footers tell .* \(4 files\).*tierlake restore"):
        Dataset.adopt(table.uri, fs=table.fs)
    described = {**POLICY, "columns": {"at": "timestamp", "city": "string", "fare": "double"}}
    assert Dataset.open(table.uri, spec=described, fs=table.fs).ingest(table.trips(9)).rows == 10
    assert len(table.open().read(where=[("date", "==", "2013-01-10")])) == 10, "a hot day tells them again"
    assert not dataset.plan_expiry("2014-01-31").apply().failed
    assert dataset.undo_expiry(table.key(DAYS[1])).changed
    assert dataset.restore(table.key(DAYS[1])).archived == 1
    assert len(dataset.read()) == 10


@pytest.mark.slow
def test_a_new_column_whose_type_hangs_on_archived_files(make_table):
    table = make_table("delta", [])
    dataset = table.open()
    rows = make_trips(1, start=6)
    dataset.ingest(rows.append_column("tags", pa.array([[]] * len(rows), pa.list_(pa.null()))))
    table.archive(["2013-01-07"])
    later = make_trips(1, start=7)
    with pytest.raises(ArchivedError, match=r"tags is string.*may hold a list.*tierlake restore .* date=2013-01-07"):
        dataset.ingest(later.append_column("tags", pa.array(["a"] * len(later))))
    assert dataset.ingest(later.append_column("tags", pa.array([["a"]] * len(later)))).added_columns == ("tags",)
    dataset.restore("date=2013-01-07")
    with pytest.raises((SchemaMismatch, UnsupportedByTable)):
        dataset.ingest(later.append_column("tags", pa.array(["a"] * len(later))))
