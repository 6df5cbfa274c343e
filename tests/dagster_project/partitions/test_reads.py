"""What a step read is on what it made, and outlives it; what a run is, and which data version it gives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from tests.dagster_project import reruns
from tests.dagster_project.reruns import DAY, FAILS, VALUE, rows
from tests.polling import until
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.io_manager import LakeParquetIOManager, data_version, run_key
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.lineage import Downstream
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.partitions.reads import (
    BEGAN,
    READ,
    STEP,
    latest_reads,
    read_facts,
    report_read,
    step_start,
)
from tierlake.dagster_project.partitions.wipe import wipe_partitions
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = [
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

DAYS = time_windows("day", "UTC", "2013-01-01", "2013-03-01")
MONTHS = time_windows("month", "UTC", "2013-01", "2013-03")
MONTH = "2013-01"
OTHER_DAY = "2013-01-03"
with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)
    SINGLE = {"backfill_policy": dg.BackfillPolicy.single_run()}
BOTH_DAYS = {"dagster/asset_partition_range_start": DAY, "dagster/asset_partition_range_end": OTHER_DAY}


def spec(name: str, *after: str, format_: str = "delta") -> DatasetSpec:
    return DatasetSpec(
        uri=f"lake://elsewhere/{name}",
        format=format_,
        partition={"time": {"column": "at"}},
        retention={"expire_after": "20d", "after": after},
    )


class Life:
    """An upstream `up` of days, what is computed from it, and retention."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource, format_: str, *after: str) -> None:
        self.instance, self.lake, self.value = instance, lake, 1
        self.up = LakeAsset(spec("up", *after, format_=format_), DAYS)

        @dg.asset(name="up", partitions_def=DAYS, metadata=spec_metadata(self.up.spec), **SINGLE)
        def up(context) -> Any:
            return pa.concat_tables(rows(1, int(key[-2:])) for key in context.partition_keys)

        self.assets = [up]
        self.run(up, BOTH_DAYS)

    @property
    def dataset(self) -> Dataset:
        return self.lake.dataset("up")

    def change(self, day: str = DAY) -> None:
        self.value += 1
        self.dataset.ingest(rows(self.value, int(day[-2:])))

    def run(
        self, asset: dg.AssetsDefinition, where: str | dict[str, str] | None = None
    ) -> dict[tuple[str, str | None], dict[str, Any]]:
        """Materialize an asset; the metadata of its materializations."""
        if asset not in self.assets:
            self.assets.append(asset)
        result = dg.materialize(
            self.assets,
            selection=[asset],
            instance=self.instance,
            resources={"io_manager": LakeParquetIOManager(lake=self.lake), "lake": self.lake},
            **({"tags": where} if isinstance(where, dict) else {"partition_key": where}),
        )
        return {
            ("/".join(event.asset_key.path), event.partition): {
                name: one.value for name, one in event.step_materialization_data.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    def retention(self, asset: LakeAsset | None = None, **downstreams: dg.PartitionsDefinition | None) -> Retention:
        named = {name: Downstream(dg.AssetKey(name), over) for name, over in downstreams.items()}
        chosen = asset or self.up
        return Retention(self.instance, chosen, self.lake.dataset(chosen.name), named)

    def due(self, **downstreams: dg.PartitionsDefinition | None) -> tuple[list[str], dict[str, str]]:
        found = self.retention(**downstreams).due(self.lake.today())
        return list(found.keys), dict(found.refused)


def summary(meanwhile: Sequence[Callable[[], None]] = (), **options: Any) -> dg.AssetsDefinition:
    """Months of days that the IO manager loads, stored by nobody; things happen while it works."""

    def work(up: pa.Table) -> None:
        for act in meanwhile:
            act()

    work.__annotations__["up"] = pa.Table
    ins = {"up": dg.AssetIn(metadata={"allow_missing_partitions": True})}
    return dg.asset(name="summary", partitions_def=MONTHS, ins=ins, **options)(work)


AGAIN = "to be materialized again: it has not read the last change, on "


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_change_while_the_downstream_works_counts(instance, lake, format_) -> None:
    life = Life(instance, lake, format_, "summary")
    facts = life.run(summary([life.change]), MONTH)
    read = facts["summary", MONTH][f"{READ}up"]
    assert list(map(str, life.dataset.changed_after(read))) == [f"date={DAY}"]
    due, refused = life.due(summary=MONTHS)
    assert (due, list(refused)) == ([OTHER_DAY], [f"date={DAY}"])
    assert refused[f"date={DAY}"].startswith(f"waits for summary {MONTH} {AGAIN}")

    life.assets = life.assets[:1]
    life.run(summary(), MONTH)
    assert life.due(summary=MONTHS) == ([DAY, OTHER_DAY], {})
    life.change()
    assert life.due(summary=MONTHS)[0] == [OTHER_DAY]
    assert life.due()[1][f"date={DAY}"] == "waits for summary, which is not computed from it here"


@pytest.mark.slow
def test_what_records_nothing_has_seen_what_there_was_when_its_step_began(instance, lake) -> None:
    life = Life(instance, lake, "delta", "foreign")

    @dg.asset(partitions_def=DAYS, deps=["up"], **SINGLE)
    def foreign() -> None:
        life.change(OTHER_DAY)

    facts = life.run(foreign, BOTH_DAYS)
    assert READ not in "".join(facts["foreign", DAY])
    due, refused = life.due(foreign=DAYS)
    assert (due, list(refused)) == ([DAY], [f"date={OTHER_DAY}"])
    assert refused[f"date={OTHER_DAY}"].startswith(f"waits for foreign {OTHER_DAY} {AGAIN}")

    # and where it is wiped, the observation says when it began
    (record,) = instance.fetch_materializations(foreign.key, limit=1).records
    began, never = step_start(instance, record.run_id, "foreign"), "2013-01-04"
    wipe_partitions(instance, foreign.key, [OTHER_DAY, never])
    facts = read_facts(instance, foreign.key, [OTHER_DAY, never])
    assert facts.keys() == {OTHER_DAY}
    assert facts[OTHER_DAY][BEGAN] <= began <= record.timestamp
    assert facts[OTHER_DAY][STEP] == f"{record.run_id} foreign"
    assert "expired before it read" in life.due(foreign=DAYS)[1][f"date={OTHER_DAY}"]
    assert step_start(instance, record.run_id, "nobody") is None

    def has_read_all_when_materialized_now() -> bool:
        instance.report_runless_asset_event(dg.AssetMaterialization("foreign", partition=OTHER_DAY))
        return life.due(foreign=DAYS) == ([DAY, OTHER_DAY], {})

    until(has_read_all_when_materialized_now, 30)  # within the second of the change nobody can tell, on some servers

    # in one run with what it reads: its step began after the other's end, though the run began before
    resources = {"io_manager": LakeParquetIOManager(lake=lake)}
    tags = dict.fromkeys(BOTH_DAYS, DAY)

    @dg.asset(name="foreign", partitions_def=DAYS, deps=["up"], **SINGLE)
    def quiet() -> None:
        """Nothing happens while it works."""

    dg.materialize([life.assets[0], quiet], instance=instance, resources=resources, tags=tags)
    assert life.due(foreign=DAYS) == ([DAY, OTHER_DAY], {})


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_having_been_seen_outlives_the_downstreams_expiry(instance, lake, format_) -> None:
    life = Life(instance, lake, format_, "down")
    down = LakeAsset(spec("down", format_=format_), DAYS)

    @dg.asset(name="down", partitions_def=DAYS, metadata=spec_metadata(down.spec), **SINGLE)
    def asset(up: pa.Table) -> Any:
        return up.select(["at", "value"])

    facts = life.run(asset, BOTH_DAYS)
    state = facts["down", DAY][f"{READ}up"]
    assert facts["down", OTHER_DAY][f"{READ}up"] == state
    gone = life.retention(down).expire(None, lake.today(), run_id=None)
    assert gone.wipe.partitions == (DAY, OTHER_DAY)
    assert instance.get_materialized_partitions(down.asset_key) == set()
    observed = instance.fetch_observations(down.asset_key, limit=9).records
    assert {one.asset_observation.metadata[f"{READ}up"].value for one in observed} == {state}

    for number in range(3):  # observations of others are newer than the wipe's
        instance.report_runless_asset_event(dg.AssetObservation(down.asset_key, partition=DAY, metadata={"n": number}))
    assert life.due(down=DAYS) == ([DAY, OTHER_DAY], {})
    wipe_partitions(instance, down.asset_key, [DAY])
    assert latest_reads(instance, down.asset_key, [DAY])[DAY].states == {"up": state}
    assert life.due(down=DAYS)[0] == [DAY, OTHER_DAY]

    life.change()
    due, refused = life.due(down=DAYS)
    assert due == [OTHER_DAY]
    assert refused[f"date={DAY}"] == (
        f"waits for down {DAY}, which expired before it read the last change: "
        "materialize it again (it expires anew), or take it out of `after`"
    )
    life.change(OTHER_DAY)
    life.retention(down).undo(OTHER_DAY, run_id=None)  # what comes back has read what it had read
    assert life.due(down=DAYS)[0] == []
    assert AGAIN in life.due(down=DAYS)[1][f"date={OTHER_DAY}"]
    life.run(asset, BOTH_DAYS)
    assert life.due(down=DAYS) == ([DAY, OTHER_DAY], {})
    expired = life.retention(down=DAYS).expire(None, lake.today(), run_id=None)
    assert len(expired.wipe.partitions) == 2


def test_who_reads_by_hand_says_so(instance, lake) -> None:
    life = Life(instance, lake, "delta", "one", "two", "whole")

    @dg.multi_asset(
        specs=[dg.AssetSpec(name, deps=["up"], partitions_def=MONTHS) for name in ("one", "two")],
        partitions_def=MONTHS,
    )
    def several(context):
        assert report_read(context, lake.dataset("up")).read().num_rows == 2
        life.change()
        report_read(context, lake.dataset("up"))  # the oldest counts
        yield dg.MaterializeResult("one")
        yield dg.MaterializeResult("two", metadata={"own": 1})

    state = life.dataset.state()
    facts = life.run(several, MONTH)
    assert {facts[name, MONTH][f"{READ}up"] for name in ("one", "two")} == {state}
    assert facts["two", MONTH]["own"] == 1

    @dg.asset(deps=["up"])
    def whole(context) -> None:
        report_read(context, lake.dataset("up"))
        other = Dataset.create(spec("other").model_copy(update={"uri": lake.uri("other")}), fs=lake.filesystem())
        with pytest.raises(
            ValueError, match=r"/other is none of what the asset depends on \(up\): name it in its `deps`"
        ):
            report_read(context, other)
        report_read(context, other, "another/name")

    facts = life.run(whole)
    assert set(facts["whole", None]) >= {f"{READ}up", f"{READ}another/name"}
    due, refused = life.due(one=MONTHS, two=MONTHS, whole=None)
    assert due == [OTHER_DAY]
    assert "waits for one 2013-01" in refused[f"date={DAY}"]
    assert "whole" not in refused[f"date={DAY}"]

    @dg.op
    def outside(context) -> None:
        assert report_read(context, life.dataset).read().num_rows == 2

    assert dg.GraphDefinition("outside", node_defs=[outside]).to_job().execute_in_process(instance=instance).success


@pytest.mark.slow
def test_a_graph_began_with_its_first_step(instance, lake) -> None:
    life = Life(instance, lake, "delta", "drawn")

    @dg.op(ins={"up": dg.In(dg.Nothing)})
    def load() -> int:
        life.change()
        return 1

    @dg.op
    def draw(loaded: int) -> int:
        return loaded

    @dg.graph_asset(partitions_def=DAYS, ins={"up": dg.AssetIn()})
    def drawn(up):
        return draw(load(up))

    life.assets.append(drawn)
    dg.materialize(
        life.assets,
        selection=[drawn],
        instance=instance,
        resources={"io_manager": dg.mem_io_manager},
        partition_key=DAY,
    )
    assert f"date={DAY}" in life.due(drawn=DAYS)[1]


# -- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_key_is_the_attempts(instance, lake, monkeypatch) -> None:
    """Of each strategy the steps that are executed again write what the source says now."""
    job = dg.reconstructable(reruns.job)

    def execute(value: int, *, fails: bool = False, again: tuple[str, list[str] | None] | None = None) -> str:
        monkeypatch.setenv(VALUE, str(value))
        monkeypatch.setenv(FAILS, "1" if fails else "")
        options = None if again is None else dg.ReexecutionOptions(again[0], again[1] or ())
        if again is not None and again[1] is None:
            options = dg.ReexecutionOptions.from_failure(again[0], instance)
        tags = {"dagster/partition": DAY}
        with dg.execute_job(job, instance, tags=tags, reexecution_options=options, raise_on_error=False) as result:
            assert result.success is not fails
            return result.run_id

    def values() -> list[int]:
        return [lake.dataset(name).to_pandas()["value"].tolist()[0] for name in ("source", "copied")]

    def versions() -> list[str]:
        found = [
            instance.fetch_materializations(dg.AssetKey(name), limit=1).records[0] for name in ("source", "copied")
        ]
        return [one.asset_materialization.tags["dagster/data_version"] for one in found]

    def staleness() -> StaleStatus:
        graph = job.get_definition().asset_layer.asset_graph
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return resolver.get_status(dg.AssetKey("copied"), DAY)

    first = execute(1, fails=True)
    assert values() == [1, 1]
    assert versions() == [data_version(f"{first}/source"), data_version(f"{first}/copied")]

    failed = execute(2, again=(first, None))  # what had succeeded is not executed
    assert values() == [1, 1]
    assert instance.get_run_by_id(failed).parent_run_id == first
    everything = execute(2, fails=True, again=(first, []))
    assert values() == [2, 2]
    assert staleness() is StaleStatus.FRESH
    chosen = execute(3, again=(everything, ["source"]))
    assert values() == [3, 2]
    assert versions() == [data_version(f"{chosen}/source"), data_version(f"{everything}/copied")]
    assert run_key(instance.get_run_by_id(chosen), "source") == f"{chosen}/source"
    assert staleness() is StaleStatus.STALE


@pytest.mark.slow
def test_the_users_data_version_comes_first_and_a_retry_keeps_its_own(instance, lake) -> None:
    tries: list[int] = []

    @dg.asset(metadata=spec_metadata(spec("own")))
    def own() -> dg.Output[Any]:
        return dg.Output(rows(1), data_version=dg.DataVersion("mine"))

    @dg.multi_asset(
        outs={"kept": dg.AssetOut(metadata=spec_metadata(spec("kept"))), "late": dg.AssetOut(io_manager_key="mem")},
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def tried():
        yield dg.Output(rows(len(tries)), "kept")
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")
        yield dg.Output(1, "late")

    resources = {"io_manager": LakeParquetIOManager(lake=lake), "mem": dg.mem_io_manager}
    result = dg.materialize([own, tried], instance=instance, resources=resources)
    found = [
        ("/".join(event.asset_key.path), event.step_materialization_data.materialization.tags["dagster/data_version"])
        for event in result.get_asset_materialization_events()
    ]
    kept = data_version(f"{result.run_id}/tried")
    assert [version for name, version in found if name == "own"] == ["mine"]
    assert {version for name, version in found if name == "kept"} == {kept}
    assert lake.dataset("kept").to_pandas()["value"].tolist() == [0]  # written once
