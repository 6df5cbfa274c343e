from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from tierlake.dagster_project.io import stores
from tierlake.dagster_project.io_manager import ALLOW_MISSING, COLUMNS, LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec, RetentionSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.dagster_project.resources.lake import LakeResource

DAYS = time_windows("day", "UTC", "2013-01-01", "2013-01-11")
SPEC = DatasetSpec(
    uri="lake://elsewhere/events",
    partition={"time": {"column": "at", "every": "day", "timezone": "UTC"}},
    retention={"expire_after": "300d"},
)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


def rows(*days: int, value: int = 1) -> pa.Table:
    """Ten rows for each of these days of January."""
    at = [datetime(2013, 1, day, hour, tzinfo=UTC) for day in days for hour in range(10)]
    columns = {"at": pa.array(at, pa.timestamp("us", tz="UTC")), "value": [value] * len(at), "name": ["x"] * len(at)}
    return pa.table(columns)


def events(body: Callable[[], object], spec: DatasetSpec | None = SPEC, **options: Any) -> dg.AssetsDefinition:
    """An asset `events` that returns what `body` does."""
    said = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run()} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(name="events", metadata=spec_metadata(spec) if spec else None, **said)
        def asset() -> Any:
            return body()

    return asset


def reader(annotation: Any, seen: list[Any], **metadata: Any) -> dg.AssetsDefinition:
    """An asset downstream of `events`, of the same days, that keeps what it was handed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        def body(events) -> None:
            seen.append(events)

        body.__annotations__["events"] = annotation
        options = {"ins": {"events": dg.AssetIn(metadata=metadata)}, "backfill_policy": dg.BackfillPolicy.single_run()}
        return dg.asset(name="downstream", partitions_def=DAYS, **options)(body)


def materialize(
    asset: dg.AssetsDefinition,
    instance: dg.DagsterInstance,
    lake: LakeResource,
    first: str | None = None,
    last: str | None = None,
    upstream: dg.AssetsDefinition | None = None,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset, *([upstream] if upstream else [])],
        selection=[asset],
        instance=instance,
        resources={"io_manager": LakeParquetIOManager(lake=lake)},
        tags=dict(zip(RANGE, (first, last or first), strict=True)) if first else {},
    )


def of_partitions(result: dg.ExecuteInProcessResult) -> dict[str | None, dict[str, Any]]:
    return {
        event.partition: {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


@pytest.mark.slow
def test_a_run_over_a_range_is_one_commit_with_metadata_for_each(instance, lake) -> None:
    result = materialize(events(lambda: rows(1, 2, 2, 3)), instance, lake, "2013-01-01", "2013-01-04")

    dataset = lake.dataset("events")
    assert len([entry for entry in dataset.history() if entry.operation == "ingest"]) == 1
    found = of_partitions(result)
    counts = {key: facts["dagster/partition_row_count"] for key, facts in found.items()}
    assert counts == {"2013-01-01": 10, "2013-01-02": 20, "2013-01-03": 10, "2013-01-04": 0}
    facts = found["2013-01-02"]
    assert facts["dagster/row_count"] == 40
    assert facts["dagster/uri"] == lake.uri("events") == dataset.uri
    assert facts["storage_class"] == "STANDARD"
    assert facts["encryption"] == "sse-s3"
    assert facts["table_version"] == dataset.version
    assert (facts["files"], facts["bytes"] > 500) == (1, True)
    assert [column.name for column in facts["dagster/column_schema"].columns] == ["date", "at", "value", "name"]
    assert facts["run_key"] == f"{result.run_id}/events"


@pytest.mark.parametrize("frame", ["arrow", "pandas", "reader"])
def test_what_assets_may_return(instance, lake, frame) -> None:
    table = rows(1, 2)
    forms = {"arrow": table, "pandas": table.to_pandas(), "reader": table.to_reader()}
    materialize(events(lambda: forms[frame]), instance, lake, "2013-01-01", "2013-01-02")
    assert lake.dataset("events").read(columns=["value"]).num_rows == 20


@one_server
def test_a_second_run_replaces_and_empties_its_partitions_only(instance, lake) -> None:
    materialize(events(lambda: rows(1, 2, 3)), instance, lake, "2013-01-01", "2013-01-03")
    materialize(events(lambda: rows(2, value=7)), instance, lake, "2013-01-01", "2013-01-02")
    frame = lake.dataset("events").to_pandas()
    assert frame.groupby("date")["value"].agg(["size", "max"]).to_dict("index") == {
        "2013-01-02": {"size": 10, "max": 7},
        "2013-01-03": {"size": 10, "max": 1},
    }


@pytest.mark.slow
@one_server
def test_rows_outside_the_runs_partitions_are_refused(instance, lake) -> None:
    with pytest.raises(dg.Failure, match="date=2013-01-05, outside the partitions"):
        materialize(events(lambda: rows(1, 5)), instance, lake, "2013-01-01", "2013-01-02")
    assert list(lake.dataset("events").partitions()) == []
    assert instance.get_materialized_partitions(dg.AssetKey("events")) == set()


@pytest.mark.slow
@one_server
def test_a_place_that_is_somebodys_is_refused(instance, lake) -> None:
    notes = f"{lake.uri('events')}/notes.txt"
    lake.filesystem().pipe_file(notes, b"mine")
    with pytest.raises(dg.Failure, match=r"is not empty: notes.txt.*tierlake adopt"):
        materialize(events(lambda: rows(1)), instance, lake, "2013-01-01")
    assert lake.filesystem().cat_file(notes) == b"mine"


@pytest.mark.slow
@one_server
def test_nothing_returned_is_an_error_that_says_what_to_do(instance, lake) -> None:
    with pytest.raises(TypeError, match="annotate it `-> None`"):
        materialize(events(lambda: None), instance, lake, "2013-01-01")


@pytest.mark.slow
@one_server
def test_an_asset_without_partitions_is_a_table_without_partitions(instance, lake) -> None:
    whole = DatasetSpec(uri=SPEC.uri, columns={"at": "timestamp", "value": "int64", "name": "string"})
    asset = events(lambda: rows(1, 2), spec=whole, partitions_def=None, backfill_policy=None)
    for _ in range(2):
        result = materialize(asset, instance, lake)
    assert lake.dataset("events").read().num_rows == 20
    (facts,) = of_partitions(result).values()
    assert facts["dagster/partition_row_count"] == facts["dagster/row_count"] == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotation", "kind"), [(Any, pd.DataFrame), (pd.DataFrame, pd.DataFrame), (pa.Table, pa.Table)]
)
def test_an_input_is_what_its_annotation_says(instance, lake, annotation, kind) -> None:
    upstream, seen = events(lambda: rows(1, 2, 3, 4)), []
    materialize(upstream, instance, lake, "2013-01-01", "2013-01-04")
    downstream = reader(annotation, seen, **{COLUMNS: ["date", "value"]})
    materialize(downstream, instance, lake, "2013-01-02", "2013-01-03", upstream)
    materialize(downstream, instance, lake, "2013-01-04", upstream=upstream)
    assert [type(frame) for frame in seen] == [kind, kind]
    tables = [frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame) for frame in seen]
    assert [table.column_names for table in tables] == [["date", "value"]] * 2
    assert [sorted(set(table["date"].to_pylist())) for table in tables] == [
        ["2013-01-02", "2013-01-03"],
        ["2013-01-04"],
    ]


@pytest.mark.slow
@one_server
def test_two_dimensions_are_two_columns(instance, lake) -> None:
    """Dimensions are named after the dataset's columns, and sorted by Dagster as it likes."""
    both = dg.MultiPartitionsDefinition({"name": dg.StaticPartitionsDefinition(["x", "y"]), "date": DAYS})
    spec = SPEC.model_copy(update={"partition": PartitionSpec(time=SPEC.partition.time, by=("name",))})
    upstream, seen = events(lambda: rows(1), spec, partitions_def=both, backfill_policy=None), []
    resources = {"io_manager": LakeParquetIOManager(lake=lake)}
    key = dg.MultiPartitionKey({"date": "2013-01-01", "name": "x"})

    dg.materialize([upstream], instance=instance, resources=resources, partition_key=key)

    assert [str(partition.key) for partition in lake.dataset("events").partitions()] == ["date=2013-01-01/name=x"]
    assert instance.get_materialized_partitions(upstream.key) == {"2013-01-01|x"}

    @dg.asset(name="downstream", partitions_def=both)
    def downstream(events: pd.DataFrame) -> None:
        seen.append(events)

    def read(name: str) -> None:
        asked = dg.MultiPartitionKey({"date": "2013-01-01", "name": name})
        assets = [downstream, upstream]
        dg.materialize(assets, selection=[downstream], instance=instance, resources=resources, partition_key=asked)

    read("x")
    assert [len(frame) for frame in seen] == [10]
    with pytest.raises(dg.Failure, match=r"lacks 1 of 1 partitions: 2013-01-01\|y"):
        read("y")


@pytest.mark.slow
@one_server
def test_an_annotation_that_it_does_not_know_is_an_error(instance, lake) -> None:
    upstream = events(lambda: rows(1))
    materialize(upstream, instance, lake, "2013-01-01")
    with pytest.raises(TypeError, match=r"asks for builtins\.dict"):
        materialize(reader(dict, []), instance, lake, "2013-01-01", upstream=upstream)


@one_server
def test_what_is_missing_is_an_error_unless_allowed(instance, lake) -> None:
    upstream, seen = events(lambda: rows(1, 2)), []
    materialize(upstream, instance, lake, "2013-01-01", "2013-01-03")  # the third is empty, and there
    materialize(reader(Any, seen), instance, lake, "2013-01-01", "2013-01-03", upstream)
    with pytest.raises(dg.Failure, match="lacks 1 of 2 partitions: 2013-01-04"):
        materialize(reader(Any, seen), instance, lake, "2013-01-03", "2013-01-04", upstream)
    allowed = reader(Any, seen, **{ALLOW_MISSING: True})
    materialize(allowed, instance, lake, "2013-01-02", "2013-01-04", upstream)
    assert [len(frame) for frame in seen] == [20, 10]


@pytest.mark.slow
@one_server
def test_another_spec_later_is_a_change_of_the_description(instance, lake) -> None:
    materialize(events(lambda: rows(1)), instance, lake, "2013-01-01")
    changed = SPEC.model_copy(update={"retention": RetentionSpec(expire_after="200d")})
    result = materialize(events(lambda: rows(2), spec=changed), instance, lake, "2013-01-02")
    dataset = lake.dataset("events")
    assert dataset.spec.retention == changed.retention
    logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("retention.expire_after" in message for message in logged)
    assert [entry.run for entry in dataset.history() if entry.operation == "apply"] == [result.run_id]
    plain = SPEC.model_copy(update={"format": "parquet"})
    with pytest.raises(dg.Failure, match="format: the files lie as that format has them"):
        materialize(events(lambda: rows(3), spec=plain), instance, lake, "2013-01-03")


@pytest.mark.slow
@one_server
def test_a_retried_step_whose_commit_arrived_writes_nothing_twice(instance, lake, monkeypatch) -> None:
    real, calls = stores.output_metadata, []

    def fails_once(*facts: Any, **more: Any) -> stores.OutputMetadata:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("after the commit")
        return real(*facts, **more)

    monkeypatch.setattr(stores, "output_metadata", fails_once)
    asset = events(lambda: rows(1), retry_policy=dg.RetryPolicy(max_retries=1))
    result = materialize(asset, instance, lake, "2013-01-01")
    assert (result.success, len(calls)) == (True, 2)
    dataset = lake.dataset("events")
    assert len([entry for entry in dataset.history() if entry.operation == "ingest"]) == 1
    assert dataset.read().num_rows == 10
    (facts,) = of_partitions(result).values()
    assert facts["note"] == "this run had been committed before; nothing was written again"
    assert facts["dagster/partition_row_count"] == 10


CITIES = dg.DynamicPartitionsDefinition(name="cities_with_rows")
VISITS = DatasetSpec(uri="lake://elsewhere/events", partition={"by": ["name"]})


@pytest.mark.slow
@one_server
def test_dynamic_partitions_on_both_sides_by_one_key_and_by_all(instance, lake) -> None:
    cities, seen = ["Kyiv", "Oslo"], {}
    instance.add_dynamic_partitions(CITIES.name, cities)

    @dg.asset(name="events", metadata=spec_metadata(VISITS), partitions_def=CITIES)
    def upstream(context) -> pa.Table:
        return pa.table({"name": [context.partition_key] * 2, "value": [1, 2]})

    @dg.asset(partitions_def=CITIES)
    def one(context, events: pd.DataFrame) -> None:
        seen[context.partition_key] = sorted(set(events["name"]))

    everything = dg.AssetIn(partition_mapping=dg.AllPartitionMapping())

    @dg.asset(partitions_def=CITIES, ins={"events": everything})
    def all_of_them(events: pd.DataFrame) -> None:
        seen["all"] = sorted(events["name"])

    resources = {"io_manager": LakeParquetIOManager(lake=lake)}

    def run(asset: dg.AssetsDefinition, city: str) -> None:
        among = list({upstream, asset})
        dg.materialize(among, selection=[asset], instance=instance, resources=resources, partition_key=city)

    for city in cities:
        run(upstream, city)
    run(one, "Oslo")
    run(all_of_them, "Oslo")
    assert seen == {"Oslo": ["Oslo"], "all": ["Kyiv", "Kyiv", "Oslo", "Oslo"]}
    assert {str(part.key) for part in lake.dataset("events").partitions()} == {"name=Kyiv", "name=Oslo"}


@pytest.mark.slow
@one_server
@pytest.mark.filterwarnings("ignore:Class `MultiToSingleDimensionPartitionMapping` is currently in beta")
def test_two_dimensions_are_read_by_a_time_window(instance, lake) -> None:
    both = dg.MultiPartitionsDefinition({"name": dg.StaticPartitionsDefinition(["x", "y"]), "date": DAYS})
    spec = SPEC.model_copy(update={"partition": PartitionSpec(time=SPEC.partition.time, by=("name",))})
    resources, seen = {"io_manager": LakeParquetIOManager(lake=lake)}, []

    @dg.asset(name="events", metadata=spec_metadata(spec), partitions_def=both)
    def upstream(context) -> pa.Table:
        name = context.partition_key.keys_by_dimension["name"]
        return pa.table({**rows(1).to_pydict(), "name": [name] * 10}, rows(1).schema)

    by_day = dg.AssetIn(partition_mapping=dg.MultiToSingleDimensionPartitionMapping("date"))

    @dg.asset(partitions_def=DAYS, ins={"events": by_day})
    def daily(events: pd.DataFrame) -> None:
        seen.append(events.groupby("name").size().to_dict())

    def run(asset: dg.AssetsDefinition, key: str | dg.MultiPartitionKey) -> None:
        among = list({upstream, asset})
        dg.materialize(among, selection=[asset], instance=instance, resources=resources, partition_key=key)

    run(upstream, dg.MultiPartitionKey({"date": "2013-01-01", "name": "x"}))
    with pytest.raises(dg.Failure, match=r"lacks 1 of 2 partitions: 2013-01-01\|y"):
        run(daily, "2013-01-01")
    run(upstream, dg.MultiPartitionKey({"date": "2013-01-01", "name": "y"}))
    run(daily, "2013-01-01")
    assert seen == [{"x": 10, "y": 10}]
