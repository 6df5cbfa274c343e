"""Random sequences of ingest, expire, undo, re-ingest and hold: after each step everything says the same.

The table, Dagster's events, its cached status, and GraphQL as the UI asks it; for each kind of partition.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.dagster_project import expiring_kinds, status
from tierlake.dagster_project.automation.reconcile import reconcile
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.partitions.event_storage import clear_stale_status
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dagster._core.workspace.context import WorkspaceProcessContext

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

AS_OF = (date(2013, 6, 1), date(2100, 1, 1))
"""By the first, no grace that an undo began now has ended; by the second, all have."""

some_keys = st.sets(st.integers(0, 5), min_size=1)
numbers = itertools.count()


@dataclass
class World:
    """One dataset and its asset in a fresh place, and what must be true of them."""

    context: WorkspaceProcessContext
    lake: LakeResource
    kind: str
    live: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.instance, self.partitions_def = self.context.instance, expiring_kinds.KINDS[self.kind]
        by = ["city"] if self.kind == "multi" else []
        spec = DatasetSpec(
            uri=f"lake://any/{self.kind}",
            partition={"time": {"column": "at"}, "by": by},
            retention={"expire_after": "30d"},
        )
        self.asset = LakeAsset(spec, self.partitions_def)
        self.instance.wipe_assets([self.asset.asset_key])
        self.dataset = Dataset.create(self.asset.spec_in(self.lake), fs=self.lake.filesystem())
        self.retention = Retention(self.instance, self.asset, self.dataset, {})
        self.keys = self.partitions_def.get_partition_keys(dynamic_partitions_store=self.instance)

    def chosen(self, numbers: Collection[int]) -> list[str]:
        return sorted({str(self.keys[number % len(self.keys)]) for number in numbers})

    def ingest(self, keys: list[str]) -> None:
        values = [self.asset.keys.to_lake(key).as_dict() for key in keys]
        at = [datetime.fromisoformat(value["date"]).replace(tzinfo=UTC) for value in values]
        cities = {"city": [value["city"] for value in values]} if self.kind == "multi" else {}
        self.dataset.ingest(pa.table({"at": pa.array(at, pa.timestamp("us", tz="UTC")), **cities}))
        for key in keys:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(self.kind, partition=key))

    def gone(self, keys: set[str]) -> None:
        self.live -= keys
        self.expired |= keys

    def check(self) -> None:
        in_table = {str(self.asset.keys.to_dagster(key)) for key in self.dataset.windows()}
        assert in_table == self.live
        assert status.available(self.instance, self.kind, self.partitions_def) == self.live
        assert status.in_graphql(self.context, self.kind, self.partitions_def) == self.live
        assert clear_stale_status(self.instance, self.asset.asset_key, self.partitions_def) == frozenset()


class Machine(RuleBasedStateMachine):
    """A session; each begins anew, in another place below the warehouse."""

    def __init__(self, context: WorkspaceProcessContext, lake: LakeResource, kind: str) -> None:
        super().__init__()
        self.world = World(context, LakeResource(warehouse=lake.uri(f"model-{next(numbers)}")), kind)

    @invariant()
    def everything_says_the_same(self) -> None:
        self.world.check()

    @initialize()
    def all_is_there(self) -> None:
        self.world.ingest([str(key) for key in self.world.keys])
        self.world.live = set(map(str, self.world.keys))

    @precondition(lambda self: self.world.expired)
    @rule(numbers=some_keys)
    def ingest_again(self, numbers: set[int]) -> None:
        keys = self.world.chosen(numbers)
        self.world.ingest(keys)
        self.world.live |= set(keys)

    @precondition(lambda self: self.world.live)
    @rule(numbers=some_keys, as_of=st.sampled_from(AS_OF), slow_reader=st.booleans())
    def expire(self, numbers: set[int], as_of: date, slow_reader: bool) -> None:
        world, asked = self.world, self.world.chosen(numbers)
        kept = world.held | (world.undone if as_of == AS_OF[0] else set())
        gone = world.live & set(asked) - kept
        key = world.asset.asset_key
        seen = get_and_update_asset_status_cache_value(world.instance, key, world.partitions_def)
        result = world.retention.expire(asked, as_of, run_id=None)
        assert set(result.kept) == set(asked) & world.live - gone
        assert set(result.absent) == set(asked) - world.live
        world.gone(gone)
        if slow_reader and seen is not None:  # it began before the wipe and writes what it saw; the next tick heals
            world.instance.update_asset_cached_status_data(key, seen)
            assert clear_stale_status(world.instance, key, world.partitions_def) >= gone

    @precondition(lambda self: self.world.live)
    @rule()
    def expire_from_a_terminal(self) -> None:
        world = self.world
        gone = world.live - world.held
        world.dataset.plan_expiry(AS_OF[1]).apply()
        due = world.retention.due(AS_OF[1])  # what the next tick makes right
        assert (due.keys, set(due.difference.gone)) == ((), gone)
        reconciled = reconcile(world.instance, world.asset, world.dataset, due.shown, due.difference, limit=9)
        assert set(reconciled.wiped) == gone
        world.gone(gone)

    @precondition(lambda self: self.world.expired - self.world.live)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        world = self.world
        key = data.draw(st.sampled_from(sorted(world.expired - world.live)))
        assert world.retention.undo(key, run_id=None).changed
        world.live.add(key)
        world.undone.add(key)

    @precondition(lambda self: self.world.live - self.world.held)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.live - self.world.held)))
        assert self.world.dataset.hold(self.world.asset.keys.to_lake(key), reason="audit")
        self.world.held.add(key)

    @precondition(lambda self: self.world.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.held)))
        assert self.world.dataset.release(self.world.asset.keys.to_lake(key))
        self.world.held.remove(key)


@pytest.fixture
def served(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    instance.add_dynamic_partitions("expiring_days", list(expiring_kinds.DAYS))
    with status.workspace(instance, Path(expiring_kinds.__file__), "defs") as context:
        yield context


def check(context: WorkspaceProcessContext, lake: LakeResource, kind: str, *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        partial(Machine, context, lake, kind),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_everything_agrees_after_each_step(served: WorkspaceProcessContext, lake: LakeResource) -> None:
    check(served, lake, "multi", examples=3, steps=6)


@pytest.mark.soak
@pytest.mark.parametrize("kind", expiring_kinds.KINDS)
def test_everything_agrees_after_many_steps(served: WorkspaceProcessContext, lake: LakeResource, kind: str) -> None:
    check(served, lake, kind, examples=4, steps=6)
