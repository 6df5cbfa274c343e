"""All acts meet, in either format, with and without versions: nothing acknowledged is lost, nothing comes back twice.

Two sessions hold their own looks. An act of one is interrupted at any of its requests, or right before its commit, by
acts of the other, and by clocks that jump: a suspended process is an act that is interrupted for long. The oracle knows
what was acknowledged. What readers see afterwards must be what one of the orders of the acknowledged acts makes of it,
and an act may only take away what it saw.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from connector.errors import LakeError
from pipelines import Dataset, DatasetSpec
from pipelines.plan import ExpiryPlan, TieringPlan
from tests.pipelines.samples import Meddled, Offset
from tests.servers import Rig

DAYS = ("2013-01-01", "2013-01-02")
AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
GRACE = timedelta(days=7)
numbers = itertools.count()

Rows = frozenset[int]
State = dict[str, Rows]


@dataclass
class Removal:
    """What an acknowledged act took out of a day, and whether that came back."""

    kind: str
    rows: Rows
    undone: bool = False


@dataclass
class Oracle:
    """What was acknowledged: the rows of each day, what was taken out last, holds."""

    rows: State = field(default_factory=lambda: dict.fromkeys(DAYS, frozenset()))
    removals: dict[str, list[Removal]] = field(default_factory=lambda: {day: [] for day in DAYS})
    erased: set[int] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    def copy(self) -> Oracle:
        return Oracle(
            dict(self.rows),
            {day: [replace(one) for one in removals] for day, removals in self.removals.items()},
            set(self.erased),
            set(self.held),
        )


Effect = Callable[[Oracle], bool]
"""Brings the oracle up to date with an acknowledged act; False where the act could not have been acknowledged then."""


def nothing(_oracle: Oracle) -> bool:
    return True


@dataclass(frozen=True)
class Act:
    """Something that a session does; it returns what was acknowledged."""

    name: str
    run: Callable[[World, Dataset], Effect]

    def __repr__(self) -> str:
        return self.name


def key_of(day: str) -> str:
    return f"date={day}"


def table_of(day: str, rows: Iterable[int]) -> pa.Table:
    ids = sorted(rows)
    times = [datetime.fromisoformat(f"{day}T12:00Z")] * len(ids)
    return pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "id": pa.array(ids, pa.int64())})


def ingest(day: str, count: int, mode: str) -> Act:
    def run(world: World, dataset: Dataset) -> Effect:
        rows = frozenset(next(numbers) for _ in range(count))
        if mode == "append" and not world.is_delta:
            return nothing
        dataset.ingest(table_of(day, rows), mode, keys=[key_of(day)] if mode == "replace" else None)

        def effect(oracle: Oracle) -> bool:
            before = oracle.rows[day]
            if mode == "append":
                oracle.rows[day] = before | rows
            else:
                if before:
                    oracle.removals[day].append(Removal("replace", before))
                oracle.rows[day] = rows
            return True

        return effect

    return Act(f"{mode}({day}, {count})", run)


def expire(day: str | None, *, fresh: bool) -> Act:
    """By a plan that is made now, or one that somebody made before, and which may be stale."""

    def run(world: World, dataset: Dataset) -> Effect:
        if fresh or world.plan is None:
            world.plan = (dataset.plan_expiry(AS_OF), dict(world.seen))
        plan, seen = world.plan
        keys = [step.key for step in plan.steps if day is None or step.key == key_of(day)]
        result = dataset.apply(plan, keys=keys, undo=world.can_undo) if keys else None
        done = [key.removeprefix("date=") for key in result.done] if result else []

        def effect(oracle: Oracle) -> bool:
            for gone in done:
                # it may take out only what its plan saw
                if seen.get(gone) is not None and oracle.rows[gone] != seen[gone]:
                    return False
                oracle.removals[gone].append(Removal("expire", oracle.rows[gone], undone=not world.can_undo))
                oracle.rows[gone] = frozenset()
            return True

        return effect

    return Act(f"expire({day}, fresh={fresh})", run)


def undo(day: str, kind: str) -> Act:
    def run(world: World, dataset: Dataset) -> Effect:
        results = (dataset.undo_expiry(key_of(day)),) if kind == "expire" else dataset.undo(key_of(day))
        if not any(result.changed for result in results):
            return nothing
        operation = results[0].operation

        def effect(oracle: Oracle) -> bool:
            wanted = [one for one in oracle.removals[day] if kind != "expire" or one.kind == "expire"]
            if not wanted or wanted[-1].undone or wanted[-1].kind != operation:
                return False
            if operation == "expire" and oracle.rows[day]:
                return False
            wanted[-1].undone = True
            if wanted[-1].rows & oracle.erased:
                return False
            oracle.rows[day] = wanted[-1].rows
            return True

        return effect

    return Act(f"undo({day}, {kind})", run)


def erase(remainder: int) -> Act:
    """Every third row, by a list of the ids that there may be: the filter has to name something."""

    def run(world: World, dataset: Dataset) -> Effect:
        top = next(numbers)
        victims = frozenset(number for number in range(top) if number % 3 == remainder)
        report = dataset.erase([("id", "in", sorted(victims))]) if victims else None
        if report is None:
            return nothing
        held = {str(key).removeprefix("date=") for key in report.held}
        unreached = {str(key).removeprefix("date=") for key in report.archived}

        def effect(oracle: Oracle) -> bool:
            for day in DAYS:
                if day not in held | unreached:
                    oracle.rows[day] = oracle.rows[day] - victims
                    oracle.erased |= victims
            return True

        return effect

    return Act(f"erase({remainder})", run)


def hold(day: str) -> Act:
    def run(world: World, dataset: Dataset) -> Effect:
        dataset.hold(key_of(day), reason="audit")

        def effect(oracle: Oracle) -> bool:
            oracle.held.add(day)
            return True

        return effect

    return Act(f"hold({day})", run)


def release(day: str) -> Act:
    def run(world: World, dataset: Dataset) -> Effect:
        dataset.release(key_of(day))

        def effect(oracle: Oracle) -> bool:
            oracle.held.discard(day)
            return True

        return effect

    return Act(f"release({day})", run)


def quiet(name: str, call: Callable[[World, Dataset], object]) -> Act:
    """An act after which the table has the same rows."""

    def run(world: World, dataset: Dataset) -> Effect:
        call(world, dataset)
        return nothing

    return Act(name, run)


def _tier(world: World, dataset: Dataset, *, fresh: bool) -> None:
    if fresh or world.tiering is None:
        world.tiering = dataset.plan_tiering(AS_OF)
    dataset.apply(world.tiering)


def _jump(world: World, _dataset: Dataset, **ahead: float) -> None:
    for clock in world.clocks:
        clock.ahead += timedelta(**ahead)


def _vacuum_later(world: World, dataset: Dataset) -> None:
    _jump(world, dataset, days=8)
    dataset.vacuum()


def others(what: str, day: str) -> Act:
    """Another writer of a Delta table, who knows nothing of us."""

    def run(world: World, dataset: Dataset) -> Effect:
        if not world.is_delta:
            return nothing
        table = DeltaTable(f"s3://{dataset.spec.root}", storage_options=dataset.fs.delta_options())
        if what == "optimize":
            table.optimize.compact()
            return nothing
        table.delete(f"date = '{day}'")

        def effect(oracle: Oracle) -> bool:
            oracle.rows[day] = frozenset()
            return True

        return effect

    return Act(f"others {what}({day})", run)


class World:
    """Two sessions on one dataset, the oracle, and what sessions hold on to."""

    def __init__(self, server: Rig, bucket: str, table_format: str, *, versioned: bool) -> None:
        self.is_delta = table_format == "delta"
        self.is_versioned = versioned
        self.can_undo = self.is_delta or versioned
        self.oracle = Oracle()
        self.seen: State = dict(self.oracle.rows)
        self.plan: tuple[ExpiryPlan, State] | None = None
        self.tiering: TieringPlan | None = None
        self.log: list[str] = []
        spec = DatasetSpec(
            uri=f"lake://{bucket}/acts-{next(numbers)}",
            format=table_format,
            columns={"at": "timestamp[us, tz=UTC]", "id": "int64"},
            partition={"time": {"column": "at"}},
            tiers=[{"after": "30d", "tier": "warm"}],
            retention={"expire_after": "90d", "grace": "7d"},
        )
        systems = [
            fsspec.filesystem("lake", skip_instance_cache=True, **server.storage_options, view_freshness=0)
            for _ in "ab"
        ]
        self.clocks = [Offset(fs, bucket) for fs in systems]
        self.sessions = [Dataset.create(spec, fs=systems[0], clock=self.clocks[0])]
        self.sessions.append(Dataset.open(spec.uri, fs=systems[1], clock=self.clocks[1]))

    def do(self, act: Act, by: int, intruders: tuple[Act, ...], at: int | None) -> None:
        """Do something, interrupted before its request number `at`, or before its commit where that is None."""
        self.log.append(f"{act!r} by {by}" + (f", interrupted at {at} by {intruders}" if intruders else ""))
        self.seen = dict(self.oracle.rows)
        inner: list[Effect] = []

        def intrude() -> None:
            inner.extend(self._acknowledged(intruder, self.sessions[1 - by]) for intruder in intruders)

        outer = self._interrupted(act, self.sessions[by], intrude if intruders else None, at)
        self._check(outer, inner)

    def _acknowledged(self, act: Act, dataset: Dataset) -> Effect:
        try:
            return act.run(self, dataset)
        except (LakeError, LookupError) as error:
            self.log.append(f"  {act!r} refused: {type(error).__name__}: {error}"[:200])
            return nothing

    def _interrupted(self, act: Act, dataset: Dataset, intrude: Callable[[], None] | None, at: int | None) -> Effect:
        if intrude is None:
            return self._acknowledged(act, dataset)
        if at is None:
            handle = replace(dataset._handle, table=Meddled(dataset._handle.table, before=intrude))
            return self._acknowledged(act, Dataset(handle))
        seam = dataset._handle.fs.seam
        send, left = seam._send, itertools.count()

        async def noting(operation: str, request: dict[str, Any]) -> Any:
            if next(left) == at:
                seam._send = send
                await asyncio.to_thread(intrude)
            return await send(operation, request)

        seam._send = noting
        try:
            return self._acknowledged(act, dataset)
        finally:
            seam._send = send

    def _check(self, outer: Effect, inner: list[Effect]) -> None:
        seen = self.visible()
        possible = []
        for cut in range(len(inner) + 1):
            oracle = self.oracle.copy()
            if all(effect(oracle) for effect in [*inner[:cut], outer, *inner[cut:]]):
                possible.append(oracle)
        fitting = [oracle for oracle in possible if oracle.rows == seen]
        story = "\n".join(self.log)
        assert fitting, f"{story}\nseen: {seen}\npossible: {[oracle.rows for oracle in possible]}"
        self.oracle = fitting[-1]
        report = self.sessions[0].verify(as_of=AS_OF)
        assert report.ok, f"{story}\n{report}"

    def visible(self) -> State:
        found: dict[str, list[int]] = {day: [] for day in DAYS}
        for session in self.sessions:
            rows = session.read(["date", "id"]).to_pylist()
            mine: dict[str, list[int]] = {day: [] for day in DAYS}
            for row in rows:
                mine[str(row["date"])].append(row["id"])
            assert session is self.sessions[0] or {d: sorted(v) for d, v in mine.items()} == found
            found = {day: sorted(ids) for day, ids in mine.items()}
        assert all(len(set(ids)) == len(ids) for ids in found.values()), f"{self.log}\ndoubled: {found}"
        return {day: frozenset(ids) for day, ids in found.items()}


def acts() -> st.SearchStrategy[Act]:
    days = st.sampled_from(DAYS)
    booleans = st.booleans()
    return st.one_of(
        st.builds(ingest, days, st.integers(1, 5), st.just("replace")),
        st.builds(ingest, days, st.integers(1, 5), st.just("append")),
        st.builds(ingest, days, st.just(0), st.just("replace")),
        st.builds(lambda day, fresh: expire(day, fresh=fresh), st.none() | days, booleans),
        st.builds(undo, days, st.sampled_from(["expire", "any"])),
        st.builds(erase, st.integers(0, 2)),
        st.builds(hold, days),
        st.builds(release, days),
        st.builds(
            lambda day: quiet(
                f"retain({day})", lambda _, dataset: dataset.retain(key_of(day), until=AS_OF + timedelta(days=1))
            ),
            days,
        ),
        st.just(quiet("compact", lambda _, dataset: dataset.compact() if dataset.spec.format == "delta" else None)),
        st.builds(
            lambda fresh: quiet(f"tier({fresh})", lambda world, dataset: _tier(world, dataset, fresh=fresh)), booleans
        ),
        st.just(quiet("vacuum", lambda _, dataset: dataset.vacuum())),
        st.just(quiet("8 days", lambda world, dataset: _jump(world, dataset, days=8))),
        st.just(quiet("8 days and a vacuum", _vacuum_later)),
        st.just(quiet("back an hour", lambda world, dataset: _jump(world, dataset, hours=-1))),
        st.builds(others, st.sampled_from(["optimize", "delete"]), days),
    )


def machine_of(server: Rig, bucket: str, table_format: str, *, versioned: bool) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.world = World(server, bucket, table_format, versioned=versioned)
            for day in DAYS:
                self.world.do(ingest(day, 3, "replace"), 0, (), None)

        @rule(act=acts(), by=st.integers(0, 1))
        def do(self, act: Act, by: int) -> None:
            self.world.do(act, by, (), None)

        @rule(
            act=acts(),
            by=st.integers(0, 1),
            intruders=st.lists(acts(), min_size=1, max_size=2).map(tuple),
            at=st.none() | st.integers(0, 14),
        )
        def race(self, act: Act, by: int, intruders: tuple[Act, ...], at: int | None) -> None:
            self.world.do(act, by, intruders, at)

    return Machine


def check(
    server: Rig, bucket: str, table_format: str, *, versioned: bool, examples: int, steps: int, same: bool
) -> None:
    run_state_machine_as_test(
        machine_of(server, bucket, table_format, versioned=versioned),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=(Phase.explicit, Phase.generate),
            derandomize=same,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def is_same(request) -> bool:
    """The same lives each time; `--hypothesis-seed=random` has others, to look for more."""
    return request.config.getoption("--hypothesis-seed") is None


PLACES = pytest.mark.parametrize(
    ("table_format", "versioned"),
    [("delta", False), ("delta", True), ("parquet", False), ("parquet", True)],
    ids=["delta", "delta-versioned", "plain", "plain-versioned"],
)


@PLACES
def test_nothing_acknowledged_is_lost(server, make_bucket, is_same, table_format, versioned):
    bucket = make_bucket(versioned=versioned)
    check(server, bucket, table_format, versioned=versioned, examples=2, steps=12, same=is_same)


@pytest.mark.slow
@PLACES
def test_nothing_acknowledged_is_lost_in_many_lives(server, make_bucket, is_same, table_format, versioned):
    bucket = make_bucket(versioned=versioned)
    check(server, bucket, table_format, versioned=versioned, examples=6, steps=25, same=is_same)
