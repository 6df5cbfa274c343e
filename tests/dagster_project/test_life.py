"""The whole life of partitions on real servers: what Dagster says is what the table has, after every step."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from tests.dagster_project import status
from tests.dagster_project.lake_assets import DATASETS, DEPARTURES, FLIGHTS, WEATHER
from tierlake.dagster_project.automation.config import run_config
from tierlake.dagster_project.demo import headless, source
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines import Dataset

if TYPE_CHECKING:
    from tests.servers import Rig
    from tierlake.dagster_project.resources.lake import LakeResource

JANUARY = tuple(f"2013-01-{day:02}" for day in range(1, 32))
MARCH = tuple(f"2013-03-{day:02}" for day in range(1, 32))
DUE = MARCH[:6]  # as of 2014-01-01, days before 2013-03-07 are past 300 days


def in_table(lake: LakeResource, asset: LakeAsset) -> set[str]:
    return {asset.keys.to_dagster(partition.key) for partition in lake.dataset(asset.name).partitions()}


def shown(instance: dg.DagsterInstance, lake: LakeResource, asset: LakeAsset = FLIGHTS) -> set[str]:
    """What is available, by Dagster's events, its status cache and the table, which must agree."""
    found = status.available(instance, asset.name, asset.partitions_def)
    assert found == in_table(lake, asset)
    assert found == set(headless.available(instance, asset.name))
    return found


# the books that Dagster keeps do not depend on the server
one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


@pytest.fixture
def march(instance: dg.DagsterInstance, lake: LakeResource) -> dg.DagsterRun:
    """March's flights, of which the first six days are past retention; what waits for them has seen them."""
    run = headless.materialize(instance, "flights", MARCH[0], MARCH[-1])
    status.as_if_made(instance, "departures", MARCH)
    return run


@pytest.fixture
def as_if_march(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    """The same, but for the runs: faster."""
    Dataset.create(FLIGHTS.spec_in(lake), fs=lake.filesystem()).ingest(_source("2013-03-01", "2013-04-01"))
    for name in ("flights", "departures"):
        status.as_if_made(instance, name, MARCH)


def test_a_range_is_one_run_and_one_commit(
    instance: dg.DagsterInstance, lake: LakeResource, march: dg.DagsterRun
) -> None:
    flights = lake.dataset("flights")
    ingests = [entry for entry in flights.history() if entry.operation == "ingest"]
    assert len(ingests) == 1
    assert ingests[0].partitions == len(MARCH)
    assert march.is_success
    assert len(instance.get_runs(filters=dg.RunsFilter(job_name="flights_job"))) == 1
    assert shown(instance, lake) == set(MARCH)
    source = _source("2013-03-01", "2013-04-01")
    assert flights.read().num_rows == source.num_rows
    passed = {check.check_name: check.passed for check in _checks(instance, march)}
    assert passed == {"table_and_store_agree": True, "described_as_stored": True}


@pytest.mark.slow
@one_server
def test_a_month_is_made_of_its_days_which_wait_for_it(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    source = _source("2013-03-01", "2013-04-01")
    headless.materialize(instance, "flights", MARCH[0], MARCH[-1])
    headless.materialize(instance, "weather", "2013-03")
    headless.materialize(instance, "departures", MARCH[0], MARCH[-1])
    assert shown(instance, lake, DEPARTURES) == set(MARCH)
    assert lake.dataset("departures").scan().count_rows() == source.num_rows
    eighth = _materialization(instance, "departures", "2013-03-08").metadata
    assert eighth["rows_in"].value == eighth["dagster/partition_row_count"].value == 979
    assert eighth["cancelled"].value == _source("2013-03-08", "2013-03-09")["dep_delay"].null_count
    assert eighth["dagster/column_lineage"].value.deps_by_column["precip"][0].column_name == "precip"

    waits = headless.tick_retention(instance, "departures")
    assert waits.requested == 0
    assert "6 kept, waits for monthly_summary 2013-03 to be materialized: it never was" in waits.skipped
    headless.materialize(instance, "monthly_summary", "2013-03")
    assert shown(instance, lake, DATASETS["monthly_summary"]) == {"2013-03"}
    summary = lake.dataset("monthly_summary").to_pandas()
    assert summary["flights"].sum() == source.num_rows
    assert summary["cancelled"].sum() == source["dep_delay"].null_count
    assert len(headless.tick_retention(instance, "departures").runs) == 1
    assert shown(instance, lake, DEPARTURES) == set(MARCH) - set(DUE)
    assert shown(instance, lake) == set(MARCH)
    with pytest.raises(headless.RunFailed, match=r"lacks 6 of 31 partitions: 2013-03-01"):
        headless.materialize(instance, "monthly_summary", "2013-03")  # never a summary of half a month

    headless.materialize(instance, "monthly_report", "2013-03")
    report = _materialization(instance, "monthly_report", "2013-03").metadata
    uri = lake.uri("monthly_report/2013-03.png")
    assert report["dagster/uri"].value == uri
    assert base64.b64encode(lake.filesystem().cat_file(uri)).decode() in report["report"].value


@pytest.mark.slow
@one_server
def test_a_lost_file_fails_the_check(
    instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None, server: Rig
) -> None:
    bucket, _, prefix = lake.uri("flights").removeprefix("lake://").partition("/")
    lost = next(key for key in server.keys(bucket, f"{prefix}/date=2013-03-15/") if key.endswith(".parquet"))
    server.admin.delete_object(Bucket=bucket, Key=lost)
    run = headless.materialize(instance, "flights", "2013-03-20")
    (check,) = [check for check in _checks(instance, run) if not check.passed]
    assert check.check_name == "table_and_store_agree"
    assert "date=2013-03-15" in check.metadata["report"].value


@pytest.mark.slow
def test_expired_undone_and_ingested_again(
    instance: dg.DagsterInstance, lake: LakeResource, march: dg.DagsterRun
) -> None:
    tick = headless.tick_retention(instance, "flights")
    assert (len(tick.runs), tick.skipped) == (1, "")
    assert tick.runs[0].job_name == "flights_expiry"
    assert shown(instance, lake) == set(MARCH) - set(DUE)

    again = headless.tick_retention(instance, "flights")
    assert (again.requested, again.runs) == (0, ())
    assert again.skipped == "nothing to expire as of 2014-01-01; next is date=2013-03-07 on 2014-01-02"

    headless.undo(instance, "flights", DUE[0])
    assert shown(instance, lake) == set(MARCH) - set(DUE[1:])
    kept = headless.tick_retention(instance, "flights")
    assert kept.requested == 0
    assert "1 kept, retained until " in kept.skipped
    assert "(date=2013-03-01)" in kept.skipped

    headless.materialize(instance, "flights", DUE[1], DUE[2])
    assert shown(instance, lake) == set(MARCH) - set(DUE[3:])
    waits = headless.tick_retention(instance, "flights")
    assert waits.requested == 0
    assert (
        "1 kept, waits for departures 2013-03-02 to be materialized again: it has not read the last change"
        in waits.skipped
    )

    headless.materialize(instance, "flights", DUE[3], DUE[5])
    status.as_if_made(instance, "departures", DUE)
    second = headless.tick_retention(instance, "flights")
    assert len(second.runs) == 1
    assert second.runs[0].tags["dagster/run_key"] != tick.runs[0].tags["dagster/run_key"]
    assert shown(instance, lake) == set(MARCH) - set(DUE[1:])
    rows = lake.dataset("flights").read(columns=["date"]).num_rows
    assert rows == _source("2013-03-07", "2013-04-01").num_rows + _source("2013-03-01", "2013-03-02").num_rows


@pytest.mark.slow
@one_server
def test_undo_twice_changes_nothing(instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None) -> None:
    headless.tick_retention(instance, "flights")
    headless.undo(instance, "flights", DUE[0])
    before = instance.fetch_materializations(FLIGHTS.asset_key, limit=1).records[0].storage_id
    headless.undo(instance, "flights", DUE[0])
    assert instance.fetch_materializations(FLIGHTS.asset_key, limit=1).records[0].storage_id == before
    with pytest.raises(headless.RunFailed, match="2013-01-01"):
        headless.undo(instance, "flights", "2013-01-01")  # never ingested, never expired


@pytest.mark.slow
@one_server
def test_what_is_held_stays(instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None) -> None:
    lake.dataset("flights").hold("date=2013-03-02", reason="audit")
    headless.tick_retention(instance, "flights")
    assert shown(instance, lake) == (set(MARCH) - set(DUE)) | {"2013-03-02"}
    tick = headless.tick_retention(instance, "flights")
    assert tick.requested == 0
    assert "1 kept, held: audit (date=2013-03-02)" in tick.skipped


@pytest.mark.slow
@one_server
def test_expired_elsewhere_is_wiped_by_the_next_tick(
    instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None
) -> None:
    """From a terminal, or by a run that died between the commit and the wipe."""
    flights = lake.dataset("flights")
    flights.plan_expiry("2014-01-01", materialized={"departures": lambda _: {}}).apply()
    assert set(headless.available(instance, "flights")) == set(MARCH)  # not true any more

    tick = headless.tick_retention(instance, "flights")

    assert tick.runs == ()
    assert tick.skipped.startswith(
        "2013-03-01, 2013-03-02, 2013-03-03 and 3 more left the table and are shown as missing"
    )
    assert shown(instance, lake) == set(MARCH) - set(DUE)


@pytest.mark.slow
@one_server
def test_the_audit_is_in_both_histories(instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None) -> None:
    (run,) = headless.tick_retention(instance, "flights").runs
    (entry,) = [entry for entry in lake.dataset("flights").history() if entry.operation == "expire"]
    assert entry.run == run.run_id
    assert len(entry.keys) == len(DUE)
    records = instance.fetch_observations(FLIGHTS.asset_key, limit=100).records  # newest first
    assert [record.partition_key for record in records[:1]] == [None]
    assert records[0].asset_observation.description == "the table as it is now"
    assert {record.partition_key for record in records[1:]} == set(DUE)
    observation = records[1].asset_observation
    assert observation
    assert observation.metadata["run"] == dg.MetadataValue.dagster_run(run.run_id)
    assert str(observation.metadata["reason"].value).endswith(" d old, kept for 300 d")
    assert observation.metadata["rows"].value > 0


@one_server
def test_a_person_expires_by_the_job(instance: dg.DagsterInstance, lake: LakeResource, as_if_march: None) -> None:
    """What the policy does not ask for stays, whatever the launchpad says."""
    config = {"partitions": ["2013-03-01", "2013-03-20"], "as_of": "2014-01-01"}
    with pytest.raises(headless.RunFailed, match="2013-03-20: within its retention"):
        headless.run_job(instance, "flights_expiry", run_config("flights_expiry", config))
    assert shown(instance, lake) == set(MARCH) - {"2013-03-01"}
    (run,) = instance.get_runs(filters=dg.RunsFilter(job_name="flights_expiry"))
    (entry,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    failures = entry.dagster_event.step_failure_data.user_failure_data.metadata["failures"].value
    assert failures == {"2013-03-20": "within its retention until 2014-01-15"}


@pytest.mark.slow
def test_plain_parquet_too(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    headless.materialize(instance, "weather", "2013-01", "2013-03")
    assert shown(instance, lake, WEATHER) == {"2013-01", "2013-02", "2013-03"}
    files = lake.filesystem().find(lake.uri("weather"))
    assert len([path for path in files if path.endswith(".parquet")]) == 3
    skipped = headless.tick_retention(instance, "weather").skipped
    assert skipped == "nothing to expire as of 2014-01-01; next is year_month=2013-01 on 2023-01-30"

    later = {"partitions": [], "as_of": "2023-02-01"}
    headless.run_job(instance, "weather_expiry", run_config("weather_expiry", later))
    assert shown(instance, lake, WEATHER) == {"2013-02", "2013-03"}
    headless.undo(instance, "weather", "2013-01")
    assert shown(instance, lake, WEATHER) == {"2013-01", "2013-02", "2013-03"}
    assert lake.dataset("weather").read().num_rows == source.weather(*_span("2013-01-01", "2013-04-01")).num_rows


@pytest.mark.slow
def test_tiering_reports_its_numbers(instance: dg.DagsterInstance, lake: LakeResource, march: dg.DagsterRun) -> None:
    run = headless.tier(instance, "flights")
    (output,) = [
        entry.dagster_event.step_output_data
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event and entry.dagster_event.is_successful_output
    ]
    classes = {partition.storage_class for partition in lake.dataset("flights").partitions()}
    moved = output.metadata["flights/moved"].value
    assert moved + output.metadata["flights/left_alone"].value == len(MARCH)
    assert "flights" in output.metadata["flights/plan"].value
    if lake.filesystem().profile.name == "seaweedfs":
        assert moved == len(MARCH) - len(DUE)  # what expires next is not moved first
        assert classes == {"STANDARD", "GLACIER_IR"}
    else:
        assert (moved, classes) == (0, {"STANDARD"})  # no remote tier has been set up on this server
    assert shown(instance, lake) == set(MARCH)
    with pytest.raises(headless.RunFailed, match="weather"):
        headless.tier(instance, "weather")


def _source(start: str, end: str):
    return source.flights(*_span(start, end))


def _span(start: str, end: str):
    from datetime import datetime
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(source.TIMEZONE)
    return tuple(datetime.fromisoformat(day).replace(tzinfo=zone) for day in (start, end))


def _checks(instance: dg.DagsterInstance, run: dg.DagsterRun):
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id)]
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    return [event.asset_check_evaluation_data for event in events if event and event.event_type is kind]


def _materialization(instance: dg.DagsterInstance, asset: str, key: str) -> dg.AssetMaterialization:
    only = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
    (record,) = instance.fetch_materializations(only, limit=1).records
    assert record.asset_materialization
    return record.asset_materialization


def _metadata(result: dg.ExecuteInProcessResult):
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return event.step_output_data.metadata
