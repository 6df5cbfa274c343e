"""Larger than one process: workers read and write files, and each operation is one commit."""

import json
import os
import signal
from datetime import timedelta

import dask
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from dask import delayed
from distributed import Client, LocalCluster

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import RejectedTooMany, SchemaMismatch, SourceError, SpecError, UnsupportedByTable
from tierlake.pipelines.ingest.dask_workers import Workers
from tierlake.pipelines.ingest.rejects import read_rejects
from tierlake.pipelines.ingest.writer import WriterLimits
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.sources.limits import SourceLimits
from tierlake.pipelines.sources.row_origin import REJECT_FILE, REJECT_LINE


def test_without_a_client_it_says_how_to_get_one():  # the first test: later ones have a client
    with pytest.raises(SpecError, match=r"there is none.*distributed.Client\(\)"):
        Workers.of("dask", None)


@pytest.fixture(scope="module")
def client():
    """Two processes, spawned, on this machine."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without workers."""
    return seaweedfs


@pytest.fixture
def trips_dataset(bucket, fs):
    return Dataset.create(trip_spec(bucket, columns={"at": "timestamp[us, tz=UTC]", "city": "string"} | FARE), fs=fs)


FARE = {"fare": "double"}
FIELDS = ("at", "city", "fare")


def files_of(folder, count=4):
    """Each has rows of every day."""
    for number in range(count):
        pq.write_table(make_trips(fare=10.0**number), folder / f"{number}.parquet")
    return f"{folder}/*.parquet"


def fares(table):
    return sorted(table.column("fare").to_pylist())


def test_workers_write_and_one_commit_names_it(trips_dataset, client, tmp_path):
    steps = []
    trips_dataset.ingest(make_trips(days=5))
    result = trips_dataset.ingest(
        files_of(tmp_path), run_key="r", engine="dask", client=client, progress=lambda step: steps.append(step.done)
    )
    assert (result.rows, len(result.partitions), steps[-1]) == (160, 4, 160)
    assert [entry.operation for entry in trips_dataset.history()].count("ingest") == 2
    assert fares(trips_dataset.read(where=[("date", "<", "2013-01-05")])) == sorted(
        fare for number in range(4) for fare in fares(make_trips(fare=10.0**number))
    )
    assert len(trips_dataset.read(where=[("date", "==", "2013-01-05")])) == 10, "the source had no row of it"
    again = trips_dataset.ingest(files_of(tmp_path), run_key="r", engine="dask")
    assert not again.committed, "the current client is the default, and a run key is one commit"
    assert trips_dataset.verify().ok


@pytest.mark.slow
def test_workers_compact_and_erase_and_read(trips_dataset, client):
    for fare in (1.0, 10.0, 100.0):
        trips_dataset.ingest(make_trips(fare=fare), mode="append")
    expected = fares(trips_dataset.read())
    frame = trips_dataset.to_dask(["fare", "date"], [("date", ">", "2013-01-01")])
    assert frame.fare.sum().compute() == pytest.approx(
        pc.sum(trips_dataset.read(where=[("date", ">", "2013-01-01")])["fare"]).as_py()
    )

    result = trips_dataset.compact(engine="dask", client=client)
    assert [(part.files_before, part.files_after) for part in result.partitions] == [(3, 1)] * 4
    assert fares(trips_dataset.read()) == expected

    report = trips_dataset.erase([("city", "==", "JFK")], engine="dask", client=client)
    assert (report.rows, report.files) == (42, 4)
    assert [entry.operation for entry in trips_dataset.history()][:2] == ["erase", "compact"]
    whole = trips_dataset.to_dask().compute().sort_values(["at", "fare"], ignore_index=True)
    pd.testing.assert_frame_equal(
        whole, trips_dataset.to_pandas().sort_values(["at", "fare"], ignore_index=True), check_dtype=False
    )
    assert set(whole.city.dropna()) == {"LGA"}


@pytest.mark.slow
def test_a_dask_frame_is_ingested_by_its_partitions(trips_dataset, client):
    dd = pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(make_trips().to_pandas(), npartitions=3)
    result = trips_dataset.ingest(frame, mode="append", engine="dask", client=client)
    assert (result.rows, result.files) == (40, 6), "two of the four days are in two partitions of the frame"
    assert fares(trips_dataset.read()) == fares(make_trips())


def parts_of(*frames, meta):
    dd = pytest.importorskip("dask.dataframe")
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed([delayed(frame) for frame in frames], meta=meta, verify_meta=False).optimize()


CITY = pd.Series(["JFK"], dtype="string")  # pandas 2 has objects in columns of text
PART = pd.DataFrame({"at": pd.to_datetime(["2013-01-01"], utc=True), "city": CITY, "fare": [1.0]})
ODD = pd.DataFrame({"x": pd.Series([[1]], dtype=object)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "meta", "says"),
    [
        ([PART, PART.assign(tip=1.0)], PART, "other columns than its description: it has tip more"),
        ([PART, PART.drop(columns="city")], PART, "it lacks city"),
        ([PART, PART.assign(fare=["much"])], PART, "column fare is (large_)?string in a part of the dask frame"),
        ([PART.assign(x=ODD.x)], PART.assign(x=ODD.x), "column x of the dask frame holds Python objects.*declare x"),
    ],
)
def test_a_dask_frame_that_is_not_what_it_says_is_refused(bucket, fs, client, parts, meta, says):
    dataset = Dataset.create(trip_spec(bucket), fs=fs)
    with pytest.raises(SourceError, match=says):
        dataset.ingest(parts_of(*parts, meta=meta.iloc[:0]), engine="dask", client=client)
    assert dataset.read().num_rows == 0


@pytest.fixture
def small_pieces(monkeypatch):
    """Each file is a piece of its own, and so is each row group."""
    monkeypatch.setattr("tierlake.pipelines.sources.splits._SMALLEST_BYTES", 1)
    monkeypatch.setattr("tierlake.pipelines.sources.splits._LARGEST_BYTES", 1)


@pytest.mark.slow
def test_rejects_are_counted_over_all_workers(trips_dataset, client, tmp_path, small_pieces):
    bad = pa.table({"at": ["2013-01-01 00:00:00", "never"], "city": ["JFK", "LGA"], "fare": [1.0, 2.0]})
    good = pa.table({"at": ["2013-01-02 00:00:00"] * 396, "city": ["JFK"] * 396, "fare": [1.0] * 396})
    for name, rows in (("a", bad), ("b", bad), ("c", good)):
        pacsv.write_csv(rows, tmp_path / f"{name}.csv")
    with pytest.raises(RejectedTooMany, match=r"2 of 4 rows were rejected \(2 x at is not a time\)"):
        trips_dataset.ingest([tmp_path / "a.csv", tmp_path / "b.csv"], run_key="1", engine="dask", client=client)
    assert not len(trips_dataset.read())
    result = trips_dataset.ingest(f"{tmp_path}/*.csv", run_key="2", engine="dask", client=client)
    assert (result.rows, result.rejected) == (398, 2)
    kept = trips_dataset.fs.glob(result.rejects_path)
    assert len(kept) == 2
    fixed = trips_dataset.ingest_rejects(kept[0], lambda rows: rows.set_column(0, "at", [["2013-01-03"]]))
    assert (fixed.rows, fixed.rejected) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "changes", "error", "says"),
    [
        (make_trips(), {}, SourceError, "workers cannot reach a Table of this process"),
        ("x.csv", {"engine": "spark"}, SpecError, "there is no engine 'spark'"),
        ("x.csv", {"engine": "local"}, SpecError, "a client is of no use"),
        ("0.parquet", {"keys": ["date=2013-01-01"]}, SchemaMismatch, "outside the partitions"),
    ],
)
def test_what_workers_cannot_do_is_said(trips_dataset, client, tmp_path, monkeypatch, source, changes, error, says):
    files_of(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        trips_dataset.ingest(source, **{"engine": "dask", "client": client, **changes})
    assert trips_dataset.version == 0


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_of_equal_rows_the_last_of_the_source_is_kept(make_bucket, fs, client, tmp_path, small_pieces, table_format):
    spec = trip_spec(make_bucket(versioned=True), format=table_format, write={"sort_by": ["fare"]})
    dataset = Dataset.create(spec, fs=fs)
    result = dataset.ingest(files_of(tmp_path), unique_by=["at"], engine="dask", client=client)
    assert (result.rows, result.duplicates, result.files) == (40, 120, 4)
    assert fares(dataset.read()) == fares(make_trips(fare=1000.0))
    assert dataset.verify().orphans == 0


@pytest.mark.slow
def test_plain_tables_are_published_by_copies_of_what_waits(make_bucket, fs, server, client, tmp_path, small_pieces):
    write = {"storage_class": "STANDARD_IA"}
    plain = Dataset.create(trip_spec(make_bucket(versioned=True), format="parquet", write=write), fs=fs)
    plain.ingest(make_trips(days=5))
    result = plain.ingest(files_of(tmp_path), run_key="r", engine="dask", client=client)
    assert (result.rows, result.files) == (160, 4)
    assert fares(plain.read(where=[("date", "<", "2013-01-05")])) == sorted(
        fare for number in range(4) for fare in fares(make_trips(fare=10.0**number))
    )
    assert not plain.ingest(files_of(tmp_path), run_key="r", engine="dask", client=client).committed
    bucket, _, prefix = plain.spec.root.partition("/")
    heads = server.heads(bucket, f"{prefix}/date=")
    assert [head["StorageClass"] for head in heads.values()] == ["STANDARD_IA"] * 5
    left = server.admin.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/_lake/waiting/")
    assert not left.get("Versions"), "nor is an older version left of what waited"
    with pytest.raises(UnsupportedByTable, match="swapped one by one"):
        plain.erase([("city", "==", "JFK")], engine="dask", client=client)


@pytest.mark.slow
def test_what_a_dead_run_left_waiting_is_not_read_and_goes_with_vacuum(make_bucket, fs, client, tmp_path):
    plain = Dataset.create(trip_spec(make_bucket(versioned=True), format="parquet"), fs=fs)
    bad = pa.table({"at": ["2013-01-01 00:00:00", "never"], "city": ["JFK", "LGA"], "fare": [1.0, 2.0]})
    pacsv.write_csv(bad, tmp_path / "bad.csv")
    with pytest.raises(RejectedTooMany):
        plain.ingest(tmp_path / "bad.csv", engine="dask", client=client)
    assert not plain.windows()
    assert plain.vacuum().deleted == 0
    later = Dataset.open(plain.uri, fs=fs, clock=ServerClock(fs, plain.spec.bucket, timedelta(days=2)))
    assert later.vacuum().deleted == 1
    assert not fs.find(f"{plain.spec.root}/_lake/waiting")


TRIPS = [
    (f"2013-01-0{1 + row % 4} 0{row % 10}:00:00", ["JFK", "Zürich", None][row % 3], float(row)) for row in range(300)
]
NO_TIME = ("never", "JFK", 150.5)


def write_text(folder, kind):
    """300 good rows and a bad one, after a blank line; line ends and letters are of one and two bytes."""
    rows = [*TRIPS[:150], NO_TIME, *TRIPS[150:]]
    lines = ["", *(json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False) for row in rows), ""]
    if kind == "csv":
        lines = ["", ",".join(FIELDS), *(f"{at},{city or ''},{fare}" for at, city, fare in rows), ""]
    path = folder / f"trips.{kind}"
    path.write_bytes("\r\n".join(lines).encode())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_large_text_files_are_cut_at_line_ends(bucket, fs, client, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tierlake.pipelines.sources.splits._SMALLEST_BYTES", 1500)
    monkeypatch.setattr("tierlake.pipelines.sources.splits._LARGEST_BYTES", 1500)
    path = write_text(tmp_path, kind)
    limits = WriterLimits(source=SourceLimits(newlines_in_values=False))
    found = []
    for name, engine in (("here", {}), ("there", {"engine": "dask", "client": client})):
        dataset = Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/{name}"), fs=fs)
        result = dataset.ingest(path, limits=limits, run_key="r", **engine)
        assert (result.files > 8) == bool(engine), "several pieces"
        assert not dataset.ingest(path, limits=limits, run_key="r", **engine).committed
        (rejects,) = dataset.fs.glob(result.rejects_path)
        (bad,) = read_rejects(dataset.fs, rejects).to_pylist()
        assert at_its_place(path, bad.pop(REJECT_FILE), bad.pop(REJECT_LINE)).count("never") == 1
        found.append((result.rows, result.rejected, bad, dataset.read().sort_by("fare")))
    assert found[0] == found[1]
    assert found[0][:2] == (300, 1)


def at_its_place(path, named, line):
    """The line of a file, or of its part from some byte on, that a rejected row names."""
    name, _, start = named.removesuffix(")").partition(" (from byte ")
    assert name == str(path)
    return path.read_bytes()[int(start.replace(",", "") or 0) :].splitlines()[line - 1].decode()


@pytest.mark.slow
def test_a_file_whose_values_may_hold_line_ends_stays_whole(bucket, fs, client, tmp_path, small_pieces):
    dataset = Dataset.create(trip_spec(bucket), fs=fs)
    rows = [f'2013-01-01 00:00:00,"New\nYork {number}",{number}' for number in range(100)]
    (tmp_path / "trips.csv").write_text("\n".join([",".join(FIELDS), *rows]))
    result = dataset.ingest(tmp_path / "trips.csv", engine="dask", client=client)
    assert (result.rows, result.files) == (100, 1)
    assert set(dataset.read().column("city").to_pylist()) == {f"New\nYork {number}" for number in range(100)}


@pytest.mark.slow
def test_workers_that_die_cost_time_and_no_row(trips_dataset, client, tmp_path, small_pieces):
    files_of(tmp_path, 12)
    workers = list(client.run(os.getpid).values())

    def kill(step):
        while workers:
            os.kill(workers.pop(), signal.SIGKILL)

    result = trips_dataset.ingest(f"{tmp_path}/*.parquet", engine="dask", client=client, progress=kill)
    assert not workers
    assert result.rows == 480
    assert fares(trips_dataset.read()) == sorted(
        fare for number in range(12) for fare in fares(make_trips(fare=10.0**number))
    )
    assert trips_dataset.verify().ok


@pytest.mark.slow
def test_large_parquet_files_are_split_by_row_groups(trips_dataset, client, tmp_path, small_pieces):
    pq.write_table(make_trips(), tmp_path / "trips.parquet", row_group_size=10)
    assert trips_dataset.ingest(tmp_path / "trips.parquet", engine="dask", client=client).files == 4
    assert fares(trips_dataset.read()) == fares(make_trips())
