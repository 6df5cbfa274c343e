"""What the observation sensor tells Dagster moves by changes of rows alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.dagster_project.ticks import Ticks
from tierlake.dagster_project.automation import observe
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.partitions.event_storage import latest_data_versions
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

DAYS = ["2013-01-01", "2013-01-02", "2013-01-03"]
NOTHING = "all 3 partitions are as they were"


def rows(days: list[str], each: int = 3, start: int = 0) -> pa.Table:
    at = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days for _ in range(each)]
    return pa.table({"at": pa.array(at, pa.timestamp("us", tz="UTC")), "v": range(start, start + len(at))})


class Observed:
    """A dataset that somebody else writes, and its sensor, run as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource, format_: str = "delta") -> None:
        spec = DatasetSpec(
            uri="lake://any/theirs",
            format=format_,
            partition={"time": {"column": "at"}},
            tiers=[{"after": "1d", "tier": "warm"}],
            retention={"expire_after": "300d"},
        )
        self.asset = LakeAsset(spec, time_windows("day", "UTC", DAYS[0], "2013-01-04"))
        self.instance = instance
        self.sensor = observation_sensor(self.asset)
        external = dg.AssetSpec(self.asset.asset_key, partitions_def=self.asset.partitions_def)
        self.defs = dg.Definitions(assets=[external], sensors=[self.sensor], resources={"lake": lake})
        self.tick = Ticks(self.sensor, instance, lake, self.defs)
        self.dataset = Dataset.create(self.asset.spec_in(lake), fs=lake.filesystem())
        self.dataset.ingest(rows(DAYS))
        self.dataset.ingest(rows(DAYS, start=100), mode="append") if format_ == "delta" else None

    def told(self) -> list[str]:
        """The partitions that a tick reports, each with a data version that it had not before."""
        before = self.versions()
        events = self.tick().asset_events
        after = self.versions()
        assert all(before.get(event.partition) != after[event.partition] for event in events)
        return sorted(event.partition for event in events)

    def versions(self) -> dict[str, str]:
        return latest_data_versions(self.instance, self.asset.asset_key)

    def log(self) -> DeltaTable:
        handle = self.dataset._handle
        return DeltaTable(f"s3://{handle.table.root}", storage_options=handle.fs.delta_options())


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_compaction_tiering_and_restores_are_nothing_new(
    instance: dg.DagsterInstance, lake: LakeResource, format_: str
) -> None:
    theirs = Observed(instance, lake, format_)
    assert theirs.told() == DAYS
    before = theirs.versions()
    acts: list[Callable[[], Any]] = [
        lambda: theirs.dataset.plan_tiering("2013-03-01").apply().raise_failures(),
        lambda: theirs.dataset.undo_expiry(f"date={DAYS[0]}"),
    ]
    if format_ == "delta":
        acts += [theirs.dataset.compact, theirs.dataset.vacuum, lambda: theirs.log().create_checkpoint()]
    for act in acts:
        act()
        assert theirs.tick().skip_message == NOTHING
    theirs.tick.cursor = None
    assert theirs.tick().skip_message == NOTHING
    assert theirs.versions() == before


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_changes_of_rows_are(instance: dg.DagsterInstance, lake: LakeResource, format_: str) -> None:
    theirs = Observed(instance, lake, format_)
    assert theirs.told() == DAYS
    theirs.dataset.ingest(rows(DAYS[1:2], each=6, start=50))
    assert theirs.told() == DAYS[1:2]
    theirs.dataset.erase([("v", "==", 0)])
    assert theirs.told() == DAYS[:1]
    theirs.dataset.plan_expiry("2014-06-01").apply(keys=[f"date={DAYS[2]}"]).raise_failures()
    assert theirs.told() == []
    assert set(theirs.versions()) == set(DAYS[:2])
    assert theirs.dataset.undo_expiry(f"date={DAYS[2]}").changed
    assert theirs.told() == DAYS[2:]
    assert theirs.tick().skip_message == NOTHING


@pytest.mark.slow
def test_compaction_by_others_is_nothing_new(
    instance: dg.DagsterInstance, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Observed(instance, lake)
    assert theirs.told() == DAYS
    assert theirs.log().optimize.compact()["numFilesAdded"] == 3
    before = theirs.versions()
    assert theirs.tick().skip_message == NOTHING
    assert theirs.tick().skip_message == NOTHING
    assert theirs.versions() == before
    theirs.dataset.ingest(rows(DAYS[:1], start=500), mode="append")
    assert theirs.told() == DAYS[:1]

    # two days change while a tick reports one: the other is not taken for unchanged, whoever compacts meanwhile
    monkeypatch.setattr(observe, "PARTITIONS_PER_TICK", 1)
    theirs.dataset.ingest(rows(DAYS[1:], start=700), mode="append")
    first = theirs.told()
    theirs.log().optimize.compact()
    assert sorted([*first, *theirs.told()]) == DAYS[1:]
    assert theirs.tick().skip_message == NOTHING

    # who has forgotten everything compares everything
    theirs.tick.cursor = None
    monkeypatch.setattr(observe, "PARTITIONS_PER_TICK", 1000)
    assert theirs.tick().skip_message == NOTHING


@pytest.mark.slow
def test_a_change_that_no_file_shows_is_one(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    """A file is replaced by one that says to be of the same time, with as many rows."""
    from deltalake.transaction import AddAction, RemoveAction

    theirs = Observed(instance, lake)
    assert theirs.told() == DAYS
    live = theirs.dataset._handle.table.snapshot().by_partition()[PartitionKey.parse(f"date={DAYS[0]}")]
    root, fs = theirs.dataset._handle.table.root, theirs.dataset._handle.fs
    old = max(live, key=lambda file: file.modified)
    fs.cp_file(f"{root}/{old.path}", f"{root}/date={DAYS[0]}/theirs.parquet")
    at = int(old.modified.timestamp() * 1000)
    values = {"date": DAYS[0]}
    log = theirs.log()
    log.create_write_transaction(
        [
            AddAction(f"date={DAYS[0]}/theirs.parquet", old.size, values, at, True, old.stats or "{}"),
            RemoveAction(old.path, True, at, old.size, values),
        ],
        "append",
        log.schema(),
        ["date"],
    )
    assert theirs.told() == DAYS[:1]
    assert theirs.tick().skip_message == NOTHING
