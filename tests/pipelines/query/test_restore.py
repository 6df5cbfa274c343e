"""Partitions in archived classes, as moto has AWS's: said as such, restored on request, waited for."""

import json
from datetime import timedelta

import fsspec
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.objects.restore import RestoreStatus
from tierlake.pipelines import Dataset
from tierlake.pipelines.cli.app import cli
from tierlake.pipelines.errors import ArchivedError, SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.query import restore as archives
from tierlake.pipelines.query.placement import placed

FROZEN = "date=2013-01-02"


@pytest.fixture
def trips_dataset(moto):
    """Four days, one of them in DEEP_ARCHIVE."""
    bucket = moto.make_bucket()
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options)
    dataset = Dataset.create(trip_spec(bucket), fs=fs)
    dataset.ingest(make_trips())
    (path,) = fs.for_table(f"{bucket}/city/trips").find(f"{bucket}/city/trips/{FROZEN}")
    fs.transition(path, storage_class="DEEP_ARCHIVE")
    yield dataset
    moto.drop_bucket(bucket)


def test_what_is_archived_is_named_with_the_way_out(trips_dataset):
    with pytest.raises(ArchivedError, match=rf"DEEP_ARCHIVE.*{FROZEN}.*Dataset\.restore\('{FROZEN}'.*tierlake restore"):
        trips_dataset.read()
    with pytest.raises(ArchivedError, match=FROZEN):
        trips_dataset.to_dask()
    assert len(trips_dataset.read(where=[("date", "!=", "2013-01-02")])) == 30, "the others can be read"
    assert trips_dataset.explain(FROZEN, as_of="2013-01-10").archived_files == 1
    frozen = {PartitionKey.parse(FROZEN): "archived"}
    assert trips_dataset.waiting_for() == trips_dataset.waiting_for([FROZEN, "date=2013-01-01"]) == frozen


@pytest.mark.parametrize("request_", [{"days": 0}, {"speed": "warp"}])
@pytest.mark.parametrize("key", [FROZEN, "date=2013-01-01"])
def test_what_no_server_can_be_asked_for_is_refused_though_nothing_is_archived(trips_dataset, key, request_):
    with pytest.raises(InvalidSetting, match="days >= 1 and a speed of expedited, standard, bulk"):
        trips_dataset.restore(key, dry_run=True, **request_)


@pytest.mark.slow
def test_it_is_asked_for_once_and_then_read_compacted_and_erased(trips_dataset, moto):
    asked = trips_dataset.restore(FROZEN, days=2, dry_run=True)
    assert (asked.archived, asked.readable) == (1, 0)
    runner = CliRunner(env=moto.environ())
    answer = runner.invoke(cli, ["restore", trips_dataset.uri, FROZEN, "--days", "2", "--json"])
    document = json.loads(answer.stdout)
    assert (answer.exit_code, document["archived"], document["readable"]) == (0, 1, 1)
    again = runner.invoke(cli, ["restore", trips_dataset.uri, FROZEN])
    assert (again.exit_code, again.stdout) == (0, f"{FROZEN} can be read: nothing to restore\n")
    assert len(trips_dataset.read()) == 40
    assert trips_dataset.waiting_for() == {}
    assert trips_dataset.explain(FROZEN, as_of="2013-01-10").archived_files == 0
    report = trips_dataset.erase([("city", "==", "JFK")])
    assert (report.rows, report.archived) == (14, {})
    with pytest.raises(UnknownPartition):
        trips_dataset.restore("date=1999-01-01")


def test_a_reader_can_wait(trips_dataset):
    assert pc.sum(trips_dataset.read(wait="12h")["fare"]).as_py() == pc.sum(make_trips()["fare"]).as_py()
    with pytest.raises(SpecError, match="wait: 'long' is not a duration"):
        trips_dataset.read(wait="long")


def test_a_reader_of_an_older_version_waits_for_the_files_of_that_one(trips_dataset):
    version = trips_dataset._handle.table.snapshot().version
    trips_dataset.ingest(make_trips(fare=7.0))
    fares = pc.sum(make_trips()["fare"]).as_py()
    with pytest.raises(ArchivedError, match=FROZEN):
        trips_dataset.to_pandas(version=version)
    assert trips_dataset.to_pandas(version=version, wait="12h")["fare"].sum() == fares
    assert trips_dataset.to_polars(version=version, wait="12h")["fare"].sum() == fares


def test_waiting_ends(trips_dataset, monkeypatch):
    """moto restores at once; on AWS that takes hours."""
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    handle = trips_dataset._handle
    (part,) = placed(handle, handle.table.snapshot(), [PartitionKey.parse(FROZEN)]).values()
    monkeypatch.setattr(RestoreStatus, "readable", property(lambda _: False))
    with pytest.raises(ArchivedError, match="1 partition was not restored within 0:10:00") as late:
        archives.wait_until_readable(handle, part.files, timedelta(minutes=10), sleep=sleep, clock=lambda: now[0])
    assert slept == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert late.value.keys == (FROZEN,)
    on_its_way = archives.RestoreResult(part.key, 1, "bulk", 1, 0, 1, 0, 10)
    assert str(on_its_way).endswith("1 in progress, 0 readable")
