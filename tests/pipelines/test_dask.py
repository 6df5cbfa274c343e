"""Larger than one process: workers read and write files, and each operation is one commit."""

import os
import signal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from pipelines import Dataset
from pipelines.errors import RejectedTooMany, SchemaMismatch, SourceError, SpecError, UnsupportedByTable
from pipelines.workers import Workers
from tests.pipelines.conftest import make_trips, trip_spec


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


@pytest.fixture
def small_pieces(monkeypatch):
    """Each file is a piece of its own, and so is each row group."""
    monkeypatch.setattr("pipelines.pieces._SMALLEST_BYTES", 1)
    monkeypatch.setattr("pipelines.pieces._LARGEST_BYTES", 1)


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
        ("x.csv", {"unique_by": ["city"]}, UnsupportedByTable, "cannot tell duplicates"),
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
def test_plain_tables_are_written_by_one_process(bucket, fs, client):
    plain = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    with pytest.raises(UnsupportedByTable, match="a partition is one object"):
        plain.ingest("x.csv", engine="dask", client=client)
    with pytest.raises(UnsupportedByTable, match="swapped one by one"):
        plain.erase([("city", "==", "JFK")], engine="dask", client=client)


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
