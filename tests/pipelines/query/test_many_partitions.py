"""Tables of many partitions: the steps of each act are linear, and few for a partition."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipelines.tables.test_growth import MOST, steps
from tierlake.connector.profiles import get_profile
from tierlake.pipelines.lifecycle.expiry import plan_expiry
from tierlake.pipelines.lifecycle.explain import explain
from tierlake.pipelines.lifecycle.tiering import plan_tiering
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.query.catalog import read_catalog
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2013, 1, 1, tzinfo=UTC)
SPEC = DatasetSpec(
    uri="lake://warehouse/flights",
    partition={"time": {"column": "at", "timezone": "America/New_York", "key": "date"}, "by": ["origin"]},
    tiers=[{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
    retention={"expire_after": "300d"},
)
MANY = 400


def table(partitions: int) -> Any:
    """A dataset with a file of 256 KB in each partition, listed already."""
    files, stored = [], {}
    for number in range(partitions):
        day = f"{START + timedelta(days=number // 4):%Y-%m-%d}"
        key = PartitionKey.of([("date", day), ("origin", f"A{number % 4}")])
        file = LiveFile(f"{key}/part.parquet", 1 << 18, key, 24, START)
        stored[f"{SPEC.root}/{file.path}"] = {"ETag": '"e"', "StorageClass": "STANDARD", "LastModified": START}
        files.append(file)
    shown = Snapshot(1, tuple(files), None, stored=stored)
    fs = SimpleNamespace(
        profile=get_profile("seaweedfs"), is_versioned=lambda _: False, restore_status_many=lambda _: []
    )
    return SimpleNamespace(
        spec=SPEC, fs=fs, document=None, table=SimpleNamespace(root=SPEC.root, snapshot=lambda: shown)
    )


def moving(handle: Any) -> object:
    plan = plan_tiering(handle, START + timedelta(days=300))
    assert len(plan.steps) > len(plan.refused)
    return plan, str(plan)


def expiring(handle: Any) -> object:
    plan = plan_expiry(handle, START + timedelta(days=700))
    assert len(plan.steps) == len(handle.table.snapshot().files)
    return plan, str(plan)


def listing(handle: Any) -> object:
    return read_catalog(handle, START + timedelta(days=300)).render()


@pytest.mark.parametrize(("act", "most"), [(listing, 200), (moving, 126), (expiring, 90)])
def test_steps_are_linear_in_the_partitions_and_few(act: Callable[[Any], object], most: int) -> None:
    once, twice = table(MANY), table(2 * MANY)
    act(table(1))  # what is imported and read once
    first, second = steps(lambda: act(once)), steps(lambda: act(twice))
    assert second <= MOST * first
    assert (second - first) / MANY <= most


def test_an_explanation_of_one_computes_that_one() -> None:
    once, twice = table(MANY), table(2 * MANY)
    key, at = "date=2013-01-02/origin=A1", START + timedelta(days=200)
    explain(table(8), key, at)
    first, second = (steps(lambda handle=handle: explain(handle, key, at)) for handle in (once, twice))
    assert (second - first) / MANY <= 6  # is it that one?


def test_some_partitions_are_those_of_all() -> None:
    snapshot = table(40).table.snapshot()
    keys = [file.key for file in snapshot.files[7:30:5]] + [PartitionKey.parse("date=1999-01-01/origin=A0")]
    few = snapshot.by_partition(set(keys))
    everything = snapshot.by_partition()
    assert few == {key: everything[key] for key in sorted(keys[:-1])} == snapshot.by_partition(set(keys))
    assert list(few) == sorted(few)
    everything.clear()
    assert snapshot.by_partition()


def test_memory_of_a_plan_is_linear() -> None:
    def peak(partitions: int) -> int:
        handle = table(partitions)
        gc.collect()
        tracemalloc.start()
        moving(handle)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(8)
    assert peak(2 * MANY) <= MOST * peak(MANY)
    assert peak(2 * MANY) / (2 * MANY) < 8_000


def test_pauses_of_the_collector_nest_and_end() -> None:
    assert gc.isenabled()
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    with pytest.raises(ValueError, match="inside"), collector_paused():
        raise ValueError("inside")
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
