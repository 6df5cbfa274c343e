"""Assets as anybody writes them: stock partitions, no spec, none at all, themselves upstream; frames of any library."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.dagster_project.io_manager import ALLOW_MISSING, COLUMNS, LakeParquetIOManager
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import DatasetSpec, RetentionSpec

if TYPE_CHECKING:
    from tests.faults.proxy import Request

pytestmark = [
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
]

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-11")
BY_DAY = DatasetSpec(uri="lake://elsewhere/any", partition={"time": {"column": "at"}})
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
ONCE: dict[str, Any] = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run()}


def rows(*days: int, month: int = 1) -> pa.Table:
    at = [datetime(2013, month, day, 12, tzinfo=UTC) for day in days]
    return pa.table({"at": pa.array(at, pa.timestamp("us", "UTC")), "value": pa.array(days, pa.int64())})


class Project:
    """Runs assets on one instance and one lake."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource) -> None:
        self.instance, self.lake = instance, lake
        self.assets: dict[str, dg.AssetsDefinition] = {}

    def asset(self, body: Any, name: str, spec: DatasetSpec | None = BY_DAY, **options: Any) -> dg.AssetsDefinition:
        metadata = (spec_metadata(spec) if spec else {}) | options.pop("metadata", {})
        self.assets[name] = dg.asset(name=name, metadata=metadata, **options)(body)
        return self.assets[name]

    def run(self, *names: str, first: str | None = None, last: str | None = None, **more: Any) -> Any:
        return dg.materialize(
            list(self.assets.values()),
            selection=[self.assets[name] for name in names],
            instance=self.instance,
            resources={"io_manager": LakeParquetIOManager(lake=self.lake)} | more.pop("resources", {}),
            tags=dict(zip(RANGE, (first, last), strict=True)) if last else {},
            partition_key=None if last else first,
            **more,
        )

    def refused(self, *names: str, match: str, **more: Any) -> None:
        with pytest.raises(dg.Failure, match=match):
            self.run(*names, **more)

    def keys(self, name: str) -> list[str]:
        return [str(partition.key) for partition in self.lake.dataset(name).partitions()]


@pytest.fixture
def project(instance: dg.DagsterInstance, lake: LakeResource) -> Project:
    return Project(instance, lake)


def facts_of(result: Any) -> dict[str | None, dict[str, Any]]:
    """The metadata of the run's materializations by partition, of an asset that stored something."""
    return {
        event.partition: {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if "dagster/uri" in event.step_materialization_data.materialization.metadata
    }


@pytest.mark.slow
def test_stock_partitions_and_assets_without_a_spec(project: Project) -> None:
    seen: dict[str, Any] = {}
    months = dg.MonthlyPartitionsDefinition("201301", fmt="%Y%m", end_date="201401")
    by_month = DatasetSpec(uri=BY_DAY.uri, partition={"time": {"column": "at", "every": "month", "key": "month"}})
    project.asset(lambda: rows(5, month=7), "monthly", by_month, partitions_def=months)

    def later(monthly: pd.DataFrame) -> None:
        seen["monthly"] = monthly["month"].tolist()

    project.asset(later, "later", None, partitions_def=months)
    project.run("monthly", "later", first="201307")
    assert project.keys("monthly") == ["month=2013-07"]
    assert project.instance.get_materialized_partitions(dg.AssetKey("monthly")) == {"201307"}
    assert seen == {"monthly": ["2013-07"]}

    # what is not the same is refused before anything is there
    weeks = dg.WeeklyPartitionsDefinition("2013-01-06")
    project.asset(lambda: rows(6), "weekly", partitions_def=weeks)
    project.refused("weekly", first="2013-01-06", match="weekly: Dagster's partitions begin each Sunday .*not the same")
    project.asset(lambda: rows(6), "whole", DatasetSpec(uri=BY_DAY.uri), partitions_def=DAYS)
    project.refused(
        "whole", first="2013-01-06", match="whole: the asset has partitions .* its dataset is not partition"
    )
    assert not project.lake.filesystem().find(project.lake.uri("weekly"))
    assert not project.lake.filesystem().find(project.lake.uri("whole"))

    # without a spec the dataset is partitioned as the asset is, where its rows have the key or the metadata names it
    project.asset(lambda: rows(2), "untold", None, partitions_def=DAYS)
    untold = (
        r'by which of its columns: at, value.*partition=\{"time": \{"column": "at", "every": "day", "timezone": "UTC"'
    )
    project.refused("untold", first="2013-01-02", match=untold)
    project.asset(lambda: pd.DataFrame({"date": ["2013-01-02"]}), "keyed", None, partitions_def=DAYS)
    named = {"metadata": {"partition_expr": "at"}, "partitions_def": DAYS}
    project.asset(lambda: rows(2), "timed", None, **named)
    project.run("keyed", "timed", first="2013-01-02")
    week = {"metadata": {"partition_expr": "week"}, "partitions_def": weeks}
    project.asset(lambda: pd.DataFrame({"week": ["2013-01-06"], "x": [1]}), "by_week", None, **week)
    project.run("by_week", first="2013-01-06")
    assert [project.keys(name) for name in ("keyed", "timed", "by_week")] == [
        ["date=2013-01-02"],
        ["date=2013-01-02"],
        ["week=2013-01-06"],
    ]
    assert project.lake.dataset("timed").spec.partition.time.every == "day"


def test_an_asset_without_partitions_and_without_a_spec(project: Project) -> None:
    frames = iter([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [3], "b": ["x"]}), pd.DataFrame(columns=["a", "b"])])
    seen: list[Any] = []
    project.asset(lambda: next(frames), "whole", None)

    def reads(whole: Any) -> None:
        seen.append(whole.to_dict("list"))

    project.asset(reads, "reads", None)
    results = [project.run("whole", "reads") for _ in range(3)]
    assert seen == [{"a": [1, 2]}, {"a": [3], "b": ["x"]}, {"a": [], "b": []}]
    counts = [facts_of(result)[None]["dagster/partition_row_count"] for result in results]
    totals = [facts_of(result)[None]["dagster/row_count"] for result in results]
    assert counts == totals == [2, 1, 0]


@pytest.mark.slow
def test_what_depends_on_itself_begins_with_nothing(project: Project) -> None:
    seen: dict[str, Any] = {}
    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    def running(context: Any, running: pl.DataFrame) -> pl.DataFrame:
        seen[context.partition_key] = (running.columns, running.height)
        day = int(context.partition_key[-2:])
        return pl.concat([running.drop("date", strict=False), pl.from_arrow(rows(day))]).tail(1)

    running.__annotations__ = {"running": pl.DataFrame, "return": pl.DataFrame}
    project.asset(running, "running", partitions_def=DAYS, ins={"running": dg.AssetIn(partition_mapping=before)})
    for key in ("2013-01-01", "2013-01-02", "2013-01-01"):
        project.run("running", first=key)
        if key == "2013-01-01" and "2013-01-02" not in seen:
            assert seen == {key: ([], 0)}, "there is no table yet"
    assert seen == {"2013-01-01": (["date", "at", "value"], 0), "2013-01-02": (["date", "at", "value"], 1)}
    project.refused("running", first="2013-01-04", match=r"lacks 1 of 1 partitions: 2013-01-03 \(never written\)")


KINDS: dict[str, Any] = {
    "any_frame": Any,
    "a_pandas": pd.DataFrame,
    "a_polars": pl.DataFrame,
    "a_lazy": pl.LazyFrame,
    "a_table": pa.Table,
    "a_reader": pa.RecordBatchReader,
    "pandas_by_key": dict[str, pd.DataFrame],
    "lazy_by_key": dict[str, pl.LazyFrame],
    "readers_by_key": dict[str, pa.RecordBatchReader],
}


def values(frame: Any) -> Any:
    """The values in a frame of any library, without its partition column."""
    if isinstance(frame, dict):
        return {key: values(part) for key, part in frame.items()}
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pa.RecordBatchReader):
        frame = frame.read_all()
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    assert names == ["value"]
    return sorted(frame["value"].to_pylist() if isinstance(frame, pa.Table) else frame["value"].to_list())


@pytest.mark.slow
def test_frames_of_each_library_go_in_and_out(project: Project) -> None:
    frame = rows(1, 2)
    returned: dict[str, Any] = {
        "from_pandas": frame.to_pandas(),
        "from_polars": pl.from_arrow(frame),
        "from_table": frame,
        "from_reader": frame.to_reader(),
        "from_batches": iter([*rows(1).to_batches(), *rows(2).to_batches()]),
        "by_key": {
            "2013-01-01": rows(1).to_pandas(),
            "2013-01-02": pl.from_arrow(rows(2)).lazy(),
            "2013-01-03": rows(3).slice(0, 0),
        },
    }
    for name, what in returned.items():
        project.asset(_returning(what), name, **ONCE)
    project.run(*returned, first="2013-01-01", last="2013-01-03")
    for name in returned:
        stored = project.lake.dataset(name).read(["date", "value"]).to_pylist()
        assert stored == [{"date": "2013-01-01", "value": 1}, {"date": "2013-01-02", "value": 2}]
    history = project.lake.dataset("by_key").history()
    assert len([entry for entry in history if entry.operation == "ingest"]) == 1

    seen: dict[str, Any] = {}
    ins = {"upstream": dg.AssetIn("from_pandas", metadata={COLUMNS: ["value"]})}
    for name, kind in KINDS.items():
        project.asset(_reading(name, kind, seen), name, None, ins=ins, **ONCE)
    project.run(*KINDS, first="2013-01-01", last="2013-01-03")
    for name, kind in KINDS.items():
        by_key = str(kind).startswith("dict")
        expected = {"2013-01-01": [1], "2013-01-02": [2], "2013-01-03": []} if by_key else [1, 2]
        assert seen[name] == (pd.DataFrame if kind is Any else dict if by_key else kind, expected)

    project.asset(lambda: {"2013-01-04": rows(4)}, "strange", **ONCE)
    project.refused(
        "strange", first="2013-01-01", match="a frame for '2013-01-04', and that is no partition of this run"
    )
    project.asset(lambda: {"2013-01-04": rows(4)}, "keyless", DatasetSpec(uri=BY_DAY.uri))
    project.refused("keyless", match="a frame for '2013-01-04', and the asset has no partitions")


def _returning(what: Any) -> Any:
    return lambda: what


def _reading(name: str, kind: Any, seen: dict[str, Any]) -> Any:
    def reads(upstream: Any) -> None:
        seen[name] = (type(upstream), values(upstream))

    reads.__annotations__ = {"upstream": kind, "return": None}
    return reads


@pytest.mark.slow
def test_a_loaded_frame_is_returned_unchanged(project: Project) -> None:
    project.asset(lambda: rows(1, 2), "events", **ONCE)

    def copied(events: pd.DataFrame) -> pd.DataFrame:
        return events

    def moved(events: pa.Table) -> pa.Table:
        return events.set_column(0, "date", pa.array(["2013-01-01", "2013-01-03"]))

    copied.__annotations__ = {"events": pd.DataFrame}
    moved.__annotations__ = {"events": pa.Table}
    project.asset(copied, "copied", **ONCE)
    project.asset(moved, "moved", **ONCE)
    project.run("events", "copied", first="2013-01-01", last="2013-01-02")
    assert project.lake.dataset("copied").read().equals(project.lake.dataset("events").read())
    says = "says date=2013-01-03, and its at 2013-01-02 12:00:00.*falls into date=2013-01-02"
    project.refused("moved", first="2013-01-01", last="2013-01-02", match=says)


@pytest.mark.slow
def test_a_partition_that_is_gone_is_refused_with_what_took_it(project: Project) -> None:
    seen: list[Any] = []
    expiring = BY_DAY.model_copy(update={"retention": RetentionSpec(expire_after="1d")})
    project.asset(lambda: rows(1, 2, 3), "events", expiring, **ONCE)

    def reads(events: Any) -> None:
        seen.append(sorted(events["value"]))

    project.asset(reads, "strict", None, **ONCE)
    lenient = {"ins": {"events": dg.AssetIn(metadata={ALLOW_MISSING: True})}}
    project.asset(reads, "lenient", None, **ONCE, **lenient)
    project.run("events", first="2013-01-01", last="2013-01-05")  # the last two have no rows
    dataset = project.lake.dataset("events")
    assert len(dataset.plan_expiry("2013-01-03").apply().done) == 1
    log = DeltaTable(f"s3://{dataset.spec.root}", storage_options=dataset.fs.delta_options())
    log.delete("date = '2013-01-02'")  # somebody else did
    assert len(project.instance.get_materialized_partitions(dg.AssetKey("events"))) == 5
    says = (
        r"lacks 3 of 6 partitions: 2013-01-01 \(expired on 20\d\d-\d\d-\d\d\), "
        r"2013-01-02 \(gone, though Dagster shows it as materialized\), 2013-01-06 \(never written\).*tierlake undo"
    )
    project.refused("strict", first="2013-01-01", last="2013-01-06", match=says)
    project.run("strict", first="2013-01-03", last="2013-01-05")
    project.run("lenient", first="2013-01-01", last="2013-01-06")
    assert seen == [[3], [3]]


@pytest.mark.slow
def test_what_cannot_be_had_after_the_commit_is_a_note(project: Project, server: Any, monkeypatch: Any) -> None:
    committed: list[Any] = []

    def deny(request: Request) -> Refusal | None:
        return Refusal("403 Forbidden", "AccessDenied") if committed and request.method == "GET" else None

    def ingest(self: Dataset, *source: Any, **options: Any) -> Any:
        committed.append(real(self, *source, **options))
        return committed[-1]

    real = Dataset.ingest
    monkeypatch.setattr(Dataset, "ingest", ingest)
    project.asset(lambda: rows(1), "events", **ONCE)
    with Proxy(server.endpoint_url, before=deny) as proxy:
        denied = {"io_manager": LakeParquetIOManager(lake=LakeResource(endpoint_url=proxy.url))}
        result = project.run("events", first="2013-01-01", last="2013-01-02", resources=denied)
    facts = facts_of(result)
    assert {key: found["dagster/partition_row_count"] for key, found in facts.items()} == {
        "2013-01-01": 1,
        "2013-01-02": 0,
    }
    assert facts["2013-01-01"]["note"].startswith("the table's size is not known: ")
    assert project.lake.dataset("events").read().num_rows == 1
