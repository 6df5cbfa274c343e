"""Sessions with stale views of one table, held against a model: what each may do, and what every reader then sees.

An operation may be intruded upon: another session does something whole between its look at the table and its commit.
Whatever happens must be what doing the one after the other would have done.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.pipelines.samples import meddled
from tests.servers import Rig
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, StalePlan, UnknownPartition
from tierlake.pipelines.ingest.conversion import Intake
from tierlake.pipelines.ingest.staging import Staging, open_writer, stage
from tierlake.pipelines.lifecycle.plan import ExpiryPlan, TieringPlan
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.schema import plan_schema
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.tables.runs import run_token
from tierlake.pipelines.tables.snapshot import Change, Snapshot

DAYS = ("2013-01-01", "2013-01-02")
CITIES = ("JFK", "LGA")
SESSIONS = 3
NOW = datetime(2014, 1, 1, tzinfo=UTC)
GRACE = timedelta(days=7)
AS_OF = (NOW, NOW + timedelta(days=30))
"""Every day is past its retention; by the second, what an undo keeps for a while is no longer kept."""

SCHEMA = pa.schema([("at", pa.timestamp("us", "UTC")), ("city", pa.string()), ("id", pa.int64())])
Row = tuple[str, str, int]
Paths = Mapping[str, frozenset[str]]
numbers = itertools.count()


@dataclass(frozen=True)
class Clock:
    def now(self) -> datetime:
        return NOW

    def of_store(self, instant: datetime) -> datetime:
        return NOW


@dataclass
class Expired:
    """What the newest expiry of a day took, and whether it came back since."""

    rows: Counter[Row]
    paths: frozenset[str]
    runs: set[str]
    undone: bool = False


@dataclass(frozen=True)
class Run:
    """An ingest that was made once, to be made again."""

    key: str
    mode: str
    rows: tuple[Row, ...]
    covered: frozenset[str]


@dataclass
class Model:
    """What is true of the table.

    `rows` by day; `paths` of its files (looked up: what a plan saw is stale when they differ); `runs` that wrote
    them; `done` are the run keys that are remembered; `erased` those of whose rows some were erased;
    `kept` are days that an undo keeps for another grace.
    """

    rows: dict[str, Counter[Row]] = field(default_factory=lambda: {day: Counter() for day in DAYS})
    paths: Paths = field(default_factory=lambda: dict.fromkeys(DAYS, frozenset()))
    runs: dict[str, set[str]] = field(default_factory=lambda: {day: set() for day in DAYS})
    done: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    expired: dict[str, Expired] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    states: dict[int, Counter[Row]] = field(default_factory=lambda: {0: Counter()})
    commits: list[str] = field(default_factory=list)

    def all_rows(self) -> Counter[Row]:
        return sum(self.rows.values(), Counter())

    def verdict(self, day: str, seen: frozenset[str], as_of: datetime) -> str:
        """What an expiry that saw these files does with a day: its error's code, `gone` or `due`."""
        if not self.paths[day]:
            return "gone"
        is_kept = day in self.held or (day in self.kept and as_of < NOW + GRACE)
        return PolicyRefused.code if is_kept else StalePlan.code if self.paths[day] != seen else "due"

    def take_out(self, day: str) -> None:
        self.expired[day] = Expired(self.rows[day], self.paths[day], self.runs[day])
        self.done -= self.runs[day]
        self.rows[day], self.runs[day] = Counter(), set()


def key_of(day: str) -> str:
    return f"date={day}"


def table_of(rows: tuple[Row, ...]) -> pa.Table:
    days, cities, ids = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([[datetime.fromisoformat(f"{day}T12:00Z") for day in days], cities, ids], schema=SCHEMA)


class Operation(Protocol):
    """Something that a session does: it looks at what comes of it, and brings the model up to date."""

    def run(self, lake: Lake, dataset: Dataset) -> None: ...


@dataclass(frozen=True)
class Write:
    """Rows are appended, or replace the days that they are of and those that are covered."""

    mode: str
    where: tuple[tuple[str, str], ...]
    covered: frozenset[str]

    def run(self, lake: Lake, dataset: Dataset) -> None:
        rows = tuple((day, city, next(numbers)) for day, city in self.where)
        covered = self.covered | {day for day, _ in self.where} if self.mode == "replace" else frozenset()
        lake.write(dataset, Run(f"run-{next(numbers)}", self.mode, rows, covered))


@dataclass(frozen=True)
class Again:
    """An ingest is made a second time under its key, first of all one that was forgotten."""

    number: int

    def run(self, lake: Lake, dataset: Dataset) -> None:
        runs = [run for run in lake.made if run.key not in lake.model.erased]
        runs = [run for run in runs if run.key not in lake.model.done] or runs
        if runs:
            lake.write(dataset, runs[self.number % len(runs)])


@dataclass(frozen=True)
class Compact:
    day: str | None

    def run(self, lake: Lake, dataset: Dataset) -> None:
        try:
            dataset.compact(self.day and key_of(self.day))
        except UnknownPartition:
            assert self.day is not None
            assert not lake.model.paths[self.day]


@dataclass(frozen=True)
class Erase:
    city: str

    def run(self, lake: Lake, dataset: Dataset) -> None:
        model = lake.model
        held = set(model.held)
        report = dataset.erase([("city", "==", self.city)])
        matching = {
            day: Counter({row: count for row, count in model.rows[day].items() if row[1] == self.city}) for day in DAYS
        }
        # a hold that comes with the commit itself comes after it
        free = [day for day in DAYS if matching[day] and day not in held]
        assert {str(part.key): part.rows for part in report.partitions} == {
            key_of(day): matching[day].total() for day in free
        }
        assert set(report.held) == {key_of(day) for day in held if matching[day]}
        for day in free:
            model.rows[day] = model.rows[day] - matching[day]
            model.erased |= model.runs[day]


@dataclass(frozen=True)
class Expire:
    """A plan that is new, or that somebody made, maybe long ago, is applied, or its step for one day."""

    number: int
    day: str | None

    def run(self, lake: Lake, dataset: Dataset) -> None:
        if not lake.expiries or self.number % 2:
            lake.plan_expiry(dataset, AS_OF[self.number % 3 > 0])
        plan, seen = lake.expiries[-1 if self.number % 2 else self.number % len(lake.expiries)]
        days = [step.key.removeprefix("date=") for step in plan.steps]
        days = [self.day] if self.day in days else days
        at_first = {day: lake.model.verdict(day, seen[day], plan.as_of) for day in days}
        result = dataset.apply(plan, keys=map(key_of, days))
        told = {
            **dict.fromkeys(result.done, "due"),
            **dict.fromkeys(result.skipped, "gone"),
            **result.codes,
        }
        assert len(told) == len(result.done) + len(result.skipped) + len(result.failed)
        assert set(told) == {key_of(day) for day in days}
        for day in days:
            # what was not due at the first look is left alone, whatever an intruder makes of it
            at_last, verdict = lake.model.verdict(day, seen[day], plan.as_of), told[key_of(day)]
            assert verdict == at_last or verdict == at_first[day] != "due"
            if verdict == "due":
                lake.model.take_out(day)


@dataclass(frozen=True)
class Undo:
    day: str

    def run(self, lake: Lake, dataset: Dataset) -> None:
        model = lake.model
        try:
            changed, refused = dataset.undo_expiry(key_of(self.day)).changed, None
        except (PolicyRefused, UnknownPartition) as error:
            changed, refused = False, type(error)
        record, live = model.expired.get(self.day), model.paths[self.day]
        if record is None:
            assert (changed, refused) == (False, None if live else UnknownPartition)
        elif record.undone or live:
            assert (changed, refused) == (False, None if live == record.paths else PolicyRefused)
        else:
            assert changed
            model.kept.add(self.day)
            model.rows[self.day], model.runs[self.day] = record.rows, record.runs
            model.done |= record.runs
            record.undone = True


@dataclass(frozen=True)
class Hold:
    day: str

    def run(self, lake: Lake, dataset: Dataset) -> None:
        try:
            dataset.hold(key_of(self.day), reason="audit")
        except UnknownPartition:
            assert not lake.model.paths[self.day]
            assert self.day not in lake.model.expired
        else:
            lake.model.held.add(self.day)


@dataclass(frozen=True)
class Release:
    day: str

    def run(self, lake: Lake, dataset: Dataset) -> None:
        assert dataset.release(key_of(self.day)) == (self.day in lake.model.held)
        lake.model.held.discard(self.day)


@dataclass(frozen=True)
class Tier:
    """Likewise with a plan of tiers; rows stay, whatever moves."""

    number: int

    def run(self, lake: Lake, dataset: Dataset) -> None:
        if not lake.tierings:
            lake.plan_tiering(dataset)
        plan, seen = lake.tierings[self.number % len(lake.tierings)]
        result = dataset.apply(plan)
        days = [step.key.removeprefix("date=") for step in plan.steps]
        assert set(result.failed) == {key_of(day) for day in days if seen[day] != lake.model.paths[day]}
        assert set(result.codes.values()) <= {StalePlan.code}


@dataclass(frozen=True)
class ReplaceOnStale:
    """The days of one city are replaced by a commit on a snapshot that somebody took, maybe long ago."""

    number: int
    day: str

    def run(self, lake: Lake, dataset: Dataset) -> None:
        base, seen = lake.snapshots[-1 - self.number % len(lake.snapshots)]
        run = Run(f"run-{next(numbers)}", "replace", ((self.day, CITIES[0], next(numbers)),), frozenset({self.day}))
        handle, stream = dataset._handle, open_source(table_of(run.rows), None)
        intake = Intake(plan_schema(SCHEMA, table=None, keys=["date"], carried=[], evolution="freeze"), zone=None)
        staging = Staging(intake, SCHEMA, run_token(run.key), stream.name)
        with open_writer(handle, staging) as writer:
            adds = stage(handle, staging, stream.batches, writer).files
        removes = base.by_partition().get(PartitionKey.parse(key_of(self.day)), ())
        try:
            handle.table.commit(Change("ingest", base, adds, removes, run_key=run.key))
        except CommitConflict:
            assert seen[self.day] != lake.model.paths[self.day]
        else:
            assert seen[self.day] == lake.model.paths[self.day]
            lake.wrote(run)


class Lake:
    """The sessions on one table, its model, and what they hold on to."""

    def __init__(self, server: Rig, bucket: str) -> None:
        self.options = {**server.storage_options, "view_freshness": 0}
        self.model = Model()
        self.made: list[Run] = []
        self.expiries: list[tuple[ExpiryPlan, Paths]] = []
        self.tierings: list[tuple[TieringPlan, Paths]] = []
        self.snapshots: list[tuple[Snapshot, Paths]] = []
        self.scans: list[tuple[pads.Dataset, Counter[Row]]] = []
        spec = DatasetSpec(
            uri=f"lake://{bucket}/trips-{next(numbers)}",
            columns={"at": "timestamp[us, tz=UTC]", "city": "string", "id": "int64"},
            partition={"time": {"column": "at"}},
            tiers=[{"after": "30d", "tier": "warm"}],
            retention={"expire_after": "90d", "grace": "7d"},
        )
        self.sessions = [Dataset.create(spec, fs=self.filesystem(), clock=Clock())]
        self.sessions += [Dataset.open(spec.uri, fs=self.filesystem(), clock=Clock()) for _ in range(SESSIONS - 1)]
        self.reader = self.filesystem()

    def filesystem(self) -> Any:
        return fsspec.filesystem("lake", skip_instance_cache=True, **self.options)

    # -- what sessions do ---------------------------------------------------------------------------------------------

    def do(self, operation: Operation, by: int, intruder: Operation | None) -> None:
        dataset = self.sessions[by]
        if intruder is None:
            operation.run(self, dataset)
        else:
            other = self.sessions[(by + 1) % SESSIONS]
            operation.run(self, Dataset(meddled(dataset, before=lambda: self.intrude(intruder, other))))
        self.look()

    def intrude(self, intruder: Operation, dataset: Dataset) -> None:
        intruder.run(self, dataset)
        self.look()

    def write(self, dataset: Dataset, run: Run) -> None:
        keys = sorted(map(key_of, run.covered)) or None
        was_done = run.key in self.model.done
        result = dataset.ingest(table_of(run.rows), run.mode, run.key, keys=keys)
        assert result.committed != was_done
        if run.key not in self.model.done:
            self.wrote(run)

    def wrote(self, run: Run) -> None:
        model = self.model
        if run not in self.made:
            self.made.append(run)
        model.done.add(run.key)
        model.commits.append(run.key)
        for day in run.covered:
            model.rows[day], model.runs[day] = Counter(), set()
        for row in run.rows:
            # a run that was forgotten with one of its days is made whole by a second time, and not doubled
            model.rows[row[0]][row] = 1
            model.runs[row[0]].add(run.key)

    def plan_expiry(self, dataset: Dataset, as_of: datetime) -> None:
        plan, model = dataset.plan_expiry(as_of), self.model
        due = {key_of(day) for day in DAYS if model.verdict(day, model.paths[day], as_of) == "due"}
        assert {step.key for step in plan.steps} == due
        assert {step.key for step in plan.refused} == {key_of(day) for day in DAYS if model.paths[day]} - due
        self.expiries.append((plan, model.paths))

    def plan_tiering(self, dataset: Dataset) -> None:
        self.tierings.append((dataset.plan_tiering(NOW), self.model.paths))

    # -- what readers see ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Every reader sees what the model says; a version that was seen once has those rows forever."""
        expected = self.model.all_rows()
        session = self.sessions[0]
        delta = DeltaTable(session.uri.replace("lake://", "s3://"), storage_options=session.fs.delta_options())
        assert seen_in(delta.to_pyarrow_table(columns=["date", "city", "id"])) == expected
        assert self.model.states.setdefault(delta.version(), expected) == expected
        files = [(uri.split("/")[-2].removeprefix("date="), uri) for uri in delta.file_uris()]
        self.model.paths = {day: frozenset(uri for of, uri in files if of == day) for day in DAYS}
        self.snapshots.append((session._handle.table.snapshot(), self.model.paths))
        for reader in self.sessions:
            assert seen_in(reader.read(["date", "city", "id"])) == expected
        if files:
            frame = pd.read_parquet(session.spec.root, filesystem=self.reader, columns=["date", "city", "id"])
            assert seen_in(pa.table(frame)) == expected
        else:
            assert not self.reader.find(session.spec.root)


def seen_in(rows: pa.Table) -> Counter[Row]:
    return Counter((str(row["date"]), row["city"], row["id"]) for row in rows.to_pylist())


def machine_of(server: Rig, bucket: str) -> type[RuleBasedStateMachine]:
    days = st.sampled_from(DAYS)
    counts = st.integers(0, 7)
    operations = st.one_of(
        st.builds(
            Write,
            mode=st.sampled_from(["append", "replace"]),
            where=st.lists(st.tuples(days, st.sampled_from(CITIES)), max_size=3).map(tuple),
            covered=st.frozensets(days, max_size=1),
        ),
        st.builds(Write, mode=st.just("replace"), where=st.just(()), covered=st.frozensets(days, min_size=1)),
        st.builds(Again, counts),
        st.builds(Compact, st.none() | days),
        st.builds(Erase, st.sampled_from(CITIES)),
        st.builds(Expire, counts, st.none() | days),
        st.builds(Undo, days),
        st.builds(Hold, days),
        st.builds(Release, days),
        st.builds(ReplaceOnStale, counts, days),
        st.builds(Tier, counts),
    )
    sessions = st.integers(0, SESSIONS - 1)

    class Machine(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.lake = Lake(server, bucket)
            self.lake.do(Write("append", tuple((day, city) for day in DAYS for city in CITIES), frozenset()), 0, None)

        @rule(operation=operations, by=sessions)
        def do(self, operation: Operation, by: int) -> None:
            self.lake.do(operation, by, None)

        @rule(operation=operations, intruder=operations, by=sessions)
        def race(self, operation: Operation, intruder: Operation, by: int) -> None:
            self.lake.do(operation, by, intruder)

        @rule(by=sessions, as_of=st.sampled_from(AS_OF))
        def plan(self, by: int, as_of: datetime) -> None:
            self.lake.plan_expiry(self.lake.sessions[by], as_of)
            self.lake.plan_tiering(self.lake.sessions[by])

        @rule(by=sessions)
        def hold_on(self, by: int) -> None:
            self.lake.scans.append((self.lake.sessions[by].scan(), self.lake.model.all_rows()))

        @precondition(lambda self: self.lake.scans)
        @rule(number=counts)
        def read_what_was_held(self, number: int) -> None:
            scan, expected = self.lake.scans[number % len(self.lake.scans)]
            assert seen_in(scan.to_table(columns=["date", "city", "id"])) == expected

        @rule(number=counts, by=sessions)
        def travel(self, number: int, by: int) -> None:
            version, expected = list(self.lake.model.states.items())[-1 - number % len(self.lake.model.states)]
            assert seen_in(self.lake.sessions[by].read(["date", "city", "id"], version=version)) == expected

        def teardown(self) -> None:
            history = self.lake.sessions[-1].history()
            runs = [entry.run for entry in reversed(history) if entry.operation in {"ingest", "append"}]
            assert runs == self.lake.model.commits

    return Machine


@pytest.fixture
def is_same(request) -> bool:
    """The same lives each time; `--hypothesis-seed=random` has others, to look for more."""
    return request.config.getoption("--hypothesis-seed") is None


def check(server: Rig, bucket: str, *, examples: int, steps: int, derandomize: bool) -> None:
    run_state_machine_as_test(
        machine_of(server, bucket),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=(Phase.explicit, Phase.generate),  # to shrink takes minutes on a server
            derandomize=derandomize,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sessions_do_what_the_model_says(server, bucket, is_same):
    check(server, bucket, examples=2, steps=10, derandomize=is_same)


@pytest.mark.soak
def test_many_sessions_do_what_the_model_says(server, bucket, is_same):
    check(server, bucket, examples=5, steps=15, derandomize=is_same)
