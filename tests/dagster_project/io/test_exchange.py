"""Every type that an asset may return or be given, through the IO manager and back."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pytest

from tests.dagster_project.test_io_manager import COLUMNS, events, materialize, one_server, reader, rows
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tierlake.dagster_project.resources.lake import LakeResource

dd = pytest.importorskip("dask.dataframe")
pytestmark = one_server


def polars_rows(*days: int) -> pl.DataFrame:
    frame = pl.from_arrow(rows(*days))
    assert isinstance(frame, pl.DataFrame)
    return frame


def by_day(make: Callable[[int], Any]) -> dict[str, Any]:
    return {f"2013-01-0{day}": make(day) for day in (1, 2)}


RETURNED: dict[str, Callable[[], Any]] = {
    "polars": lambda: polars_rows(1, 2),
    "lazy": lambda: polars_rows(1, 2).lazy(),
    "dataset": lambda: pads.dataset(rows(1, 2)),
    "dask": lambda: dd.from_pandas(rows(1, 2).to_pandas(), npartitions=2),
    "generator": lambda: chain(rows(day) for day in (1, 2)),
    "iterator": lambda: chain([rows(1).to_pandas(), rows(2).to_pandas()]),
    "frames by key": lambda: by_day(lambda day: rows(day).to_pandas()),
    "lazy by key": lambda: by_day(lambda day: polars_rows(day).lazy()),
    "generators by key": lambda: by_day(lambda day: iter([rows(day).slice(0, 4), rows(day).slice(4)])),
}


@pytest.mark.parametrize("kind", ["lazy", "generator"])
def test_what_is_returned_is_stored_in_one_commit(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    _is_stored_in_one_commit(instance, lake, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(RETURNED.keys() - {"lazy", "generator"}))
def test_so_are_all_other_kinds(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    _is_stored_in_one_commit(instance, lake, kind)


def _is_stored_in_one_commit(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    for _ in range(2):  # the second run knows the table
        materialize(events(RETURNED[kind]), instance, lake, "2013-01-01", "2013-01-02")
    dataset = lake.dataset("events")
    assert len([entry for entry in dataset.history() if entry.operation == "ingest"]) == 2
    assert dataset.read().sort_by("at").select(rows(1).column_names).equals(rows(1, 2))


GIVEN: dict[str, tuple[Any, Callable[[Any], pa.Table]]] = {
    "polars": (pl.DataFrame, lambda given: given.to_arrow()),
    "lazy": (pl.LazyFrame, lambda given: given.collect().to_arrow()),
    "reader": (pa.RecordBatchReader, lambda given: given.read_all()),
    "dask": (dd.DataFrame, lambda given: pa.Table.from_pandas(given.compute(), preserve_index=False)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", GIVEN)
def test_an_input_is_of_its_annotations_type(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    upstream, seen = events(lambda: rows(1, 2, 3)), []
    materialize(upstream, instance, lake, "2013-01-01", "2013-01-03")
    annotation, as_table = GIVEN[kind]
    downstream = reader(annotation, seen, **{COLUMNS: ["value", "date"]})
    materialize(downstream, instance, lake, "2013-01-02", "2013-01-03", upstream)
    (given,) = seen
    assert isinstance(given, annotation)
    read = as_table(given)
    assert read.column_names == ["value", "date"]
    assert sorted(set(map(str, read["date"].to_pylist()))) == ["2013-01-02", "2013-01-03"]


@pytest.mark.parametrize("kind", ["lazy"])
def test_a_dict_has_a_frame_for_each_partition(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    _has_a_frame_for_each(instance, lake, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(GIVEN.keys() - {"lazy"}))
def test_so_has_a_dict_of_any_other_kind(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    _has_a_frame_for_each(instance, lake, kind)


def _has_a_frame_for_each(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    """One that was materialized without rows has an empty frame, with all columns."""
    upstream, seen = events(lambda: rows(1, 2)), []
    materialize(upstream, instance, lake, "2013-01-01", "2013-01-03")
    annotation, as_table = GIVEN[kind]
    materialize(reader(dict[str, annotation], seen), instance, lake, "2013-01-01", "2013-01-03", upstream)
    (given,) = seen
    assert all(isinstance(frame, annotation) for frame in given.values())
    tables = {key: as_table(frame) for key, frame in given.items()}
    assert {key: table.num_rows for key, table in tables.items()} == {
        "2013-01-01": 10,
        "2013-01-02": 10,
        "2013-01-03": 0,
    }
    assert {tuple(table.column_names) for table in tables.values()} == {("date", "at", "value", "name")}


def test_a_dict_without_one_of_the_runs_partitions_replaces_none(
    instance: dg.DagsterInstance, lake: LakeResource
) -> None:
    materialize(events(lambda: rows(1, 2)), instance, lake, "2013-01-01", "2013-01-02")
    with pytest.raises(dg.Failure, match="no frame for '2013-01-02', which is a partition of this run"):
        materialize(events(lambda: {"2013-01-01": rows(1)}), instance, lake, "2013-01-01", "2013-01-02")
    assert lake.dataset("events").read().num_rows == 20


@pytest.mark.slow
def test_an_arrow_dataset_is_scanned_by_the_asset(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    upstream, seen = events(lambda: rows(1, 2)), []
    materialize(upstream, instance, lake, "2013-01-01", "2013-01-02")
    materialize(reader(pads.Dataset, seen), instance, lake, "2013-01-02", upstream=upstream)
    assert seen[0].to_table(columns=["value"], filter=pads.field("value") == 1).num_rows == 10
    with pytest.raises(TypeError, match=r"loaded as a pyarrow.dataset.Dataset, which has all columns"):
        materialize(reader(pads.Dataset, seen, **{COLUMNS: ["value"]}), instance, lake, "2013-01-02", None, upstream)


@pytest.mark.slow
def test_an_unknown_type_names_the_input_and_all_that_are_known(
    instance: dg.DagsterInstance, lake: LakeResource
) -> None:
    upstream = events(lambda: rows(1))
    materialize(upstream, instance, lake, "2013-01-01")
    with pytest.raises(TypeError, match=r"input events asks for builtins.set: .* or dask.dataframe.DataFrame; or dict"):
        materialize(reader(set, []), instance, lake, "2013-01-01", upstream=upstream)


# -- sources -----------------------------------------------------------------------------------------------------------

DROPPED: list[Path] = []
"""The files that `dropped_files` yields."""


def hour_by_hour(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """As an API gives them: a page each."""
    for key in context.partition_keys:
        for hour in range(3):
            at = datetime.fromisoformat(f"{key}T{hour:02}:00:00+00:00")
            yield (
                pd.DataFrame({"at": [at], "degrees": [hour / 2]})
                if hour
                else pl.DataFrame({"at": [at], "degrees": [0]})
            )


def dropped_files(_context: dg.AssetExecutionContext) -> Iterator[str]:
    yield from map(str, DROPPED)


def events_of_dagster(context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield dg.AssetObservation("readings", description="looked at", partition=context.partition_key)
    yield dg.Output(pd.DataFrame({"at": [datetime(2013, 1, 1, tzinfo=UTC)], "degrees": [1.0]}))


def breaking(_context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield pd.DataFrame({"at": [datetime(2013, 1, 1, tzinfo=UTC)], "degrees": [1.0]})
    raise RuntimeError("the API is gone")


def run(
    instance: dg.DagsterInstance, lake: LakeResource, name: str, key: str = "readings", **attributes: Any
) -> dg.ExecuteInProcessResult:
    dataset = LakeDataset(
        key=key,
        source=f"{__name__}.{name}",
        start="2013-01-01",
        partition={"time": {"column": "at", "every": "day", "timezone": "UTC"}},
        **attributes,
    )
    manager = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
    defs = dg.Definitions.merge(dataset.definitions(), dg.Definitions(resources=manager))
    job = defs.resolve_job_def(f"{key}_job")
    return job.execute_in_process(instance=instance, partition_key="2013-01-01", raise_on_error=False)


def messages(failed: dg.ExecuteInProcessResult) -> list[str]:
    """Of the asset's error and its causes."""
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    error, found = failure.step_failure_data.error, []
    while error is not None:
        found.append(error.message)
        error = error.cause
    return found


def test_a_source_may_yield_its_rows(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    """The first page's whole numbers and the later ones' fractions: the column is what the first says, or an error."""
    failed = run(instance, lake, "hour_by_hour")
    expected = "column degrees is double in item 2 of the source, and int64 in the table or in the items before"
    assert any(expected in message for message in messages(failed))
    assert instance.get_materialized_partitions(dg.AssetKey("readings")) == set()

    columns = {"at": "timestamp", "degrees": "double"}
    assert run(instance, lake, "hour_by_hour", "measured", columns=columns).success
    dataset = lake.dataset("measured")
    assert sorted(dataset.read()["degrees"].to_pylist()) == [0.0, 0.5, 1.0]
    assert len([entry for entry in dataset.history() if entry.operation == "ingest"]) == 1


@pytest.mark.slow
def test_a_source_may_yield_paths(instance: dg.DagsterInstance, lake: LakeResource, tmp_path: Path) -> None:
    DROPPED[:] = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, path in enumerate(DROPPED):
        path.write_text(f"at,degrees\n2013-01-01T0{number}:00:00Z,{number}.5\n")
    assert run(instance, lake, "dropped_files").success
    assert sorted(lake.dataset("readings").read()["degrees"].to_pylist()) == [0.5, 1.5, 2.5]


@pytest.mark.slow
def test_a_source_may_yield_dagsters_events(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    result = run(instance, lake, "events_of_dagster")
    assert result.success
    assert [event.event_specific_data.asset_observation.description for event in result.get_asset_observation_events()]
    assert lake.dataset("readings").read().num_rows == 1


@pytest.mark.slow
def test_a_source_that_breaks_leaves_nothing_and_shows_its_own_error(
    instance: dg.DagsterInstance, lake: LakeResource
) -> None:
    result = run(instance, lake, "breaking")
    assert any("RuntimeError: the API is gone" in message for message in messages(result))
    assert list(lake.dataset("readings").partitions()) == []
