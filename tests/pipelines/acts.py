"""What sessions, and other writers, do to a dataset in `test_acts_model`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import strategies as st

from tests.pipelines.foreign import parquet, put
from tests.pipelines.oracle import (
    DAYS,
    NOTHING,
    Oracle,
    Parts,
    Rows,
    day_by_day,
    dropped,
    ended,
    erased,
    expired,
    held,
    ingested,
    undone,
    undropped,
    whole,
)
from tierlake.connector.errors import LakeError
from tierlake.pipelines import Dataset
from tierlake.pipelines.lifecycle.plan import ExpiryPlan

if TYPE_CHECKING:
    from tests.pipelines.world import World

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
numbers = itertools.count()

_WARM = [{"after": "30d", "tier": "warm"}]
POLICIES: dict[str, dict[str, Any]] = {
    "usual": {"tiers": _WARM, "retention": {"expire_after": "90d", "grace": "7d"}},
    "strict": {"tiers": [], "retention": {"expire_after": "60d", "grace": "3d"}},
    "patient": {"tiers": _WARM, "retention": {"expire_after": "9000d", "grace": "20d"}},
    "archive": {
        "tiers": [*_WARM, {"after": "60d", "tier": "archive"}],
        "retention": {"expire_after": "90d", "grace": "7d"},
    },
}
SHORTEST_GRACE = timedelta(days=3)


@dataclass(frozen=True)
class Act:
    """Something that a session does; it returns what was acknowledged."""

    name: str
    run: Callable[[World, Dataset], Parts] = field(compare=False)

    def __repr__(self) -> str:
        return self.name


def key_of(day: str) -> str:
    return f"date={day}"


def days_of(keys: Iterable[object]) -> set[str]:
    return {str(key).removeprefix("date=") for key in keys}


def table_of(rows: dict[str, Rows], *, noted: bool = False) -> pa.Table:
    """Rows whose values tell which they are."""
    pairs = [(day, number) for day, ids in rows.items() for number in sorted(ids)]
    ids = [number for _, number in pairs]
    columns = {
        "at": pa.array([datetime.fromisoformat(f"{day}T12:00Z") for day, _ in pairs], pa.timestamp("us", "UTC")),
        "id": pa.array(ids, pa.int64()),
        "v": pa.array([value_of(number) for number in ids], pa.float64()),
    }
    if noted:
        columns["note"] = pa.array([note_of(number) for number in ids])
    return pa.table(columns)


def value_of(number: int) -> float:
    return number * 1.5


def note_of(number: int) -> str:
    return f"row {number}"


def new_rows(count: int) -> Rows:
    return frozenset(next(numbers) for _ in range(count))


def quiet(name: str, call: Callable[[World, Dataset], object]) -> Act:
    """An act after which the table has the same rows, and no act more may be done."""

    def run(world: World, dataset: Dataset) -> Parts:
        call(world, dataset)
        return NOTHING

    return Act(name, run)


# -- rows in and out --------------------------------------------------------------------------------------------------


def ingest(days: tuple[str, ...], count: int, mode: str, *, noted: bool = False) -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        if mode == "append" and not world.is_delta:
            return NOTHING
        rows = {day: new_rows(count) for day in days}
        if noted:
            world.noted.update(*rows.values())
        token = f"run-{next(numbers)}"
        world.runs.append(token)
        effects = {day: ingested(day, ids, mode, token, may_be_late=not world.is_dropped) for day, ids in rows.items()}
        keys = [key_of(day) for day in days] if mode == "replace" else None
        try:
            dataset.ingest(table_of(rows, noted=noted), mode, token, keys=keys)
        except LakeError:
            if world.is_delta or len(days) == 1:
                raise
            return day_by_day(effects, at_once=False, is_certain=False)
        return day_by_day(effects, at_once=world.is_delta)

    return Act(f"{mode}({', '.join(days)}, {count}{', noted' if noted else ''})", run)


def erase(remainder: int) -> Act:
    """Every third row, by a list of the ids that there may be: the filter has to name something."""

    def run(world: World, dataset: Dataset) -> Parts:
        victims = frozenset(number for number in range(world.first, next(numbers)) if number % 3 == remainder)
        if not victims:
            return NOTHING
        free = {day: erased(day, victims, is_held=False) for day in DAYS}
        try:
            report = dataset.erase([("id", "in", sorted(victims))])
        except LakeError as error:
            world.log.append(f"  erase({remainder}) stopped: {error}"[:200])
            return day_by_day(free, at_once=False, is_certain=False)
        stays, archived = days_of(report.held), days_of(report.archived)
        effects = {
            day: erased(day, victims, is_held=True) if day in stays else free[day]
            for day in DAYS
            if day not in archived - stays
        }
        return day_by_day(effects, at_once=False)

    return Act(f"erase({remainder})", run)


def planned_rows(world: World, plan: ExpiryPlan) -> dict[str, Rows | None]:
    """What a plan saw, by the bytes."""
    seen: dict[str, Rows | None] = {}
    for step in plan.steps:
        found = [world.shelf.remembered(file.path, file.etag) for file in step.files]
        is_known = all(ids is not None for ids in found)
        seen[step.key.removeprefix("date=")] = frozenset().union(*(ids or () for ids in found)) if is_known else None
    return seen


def expire(day: str | None, *, fresh: bool) -> Act:
    """By a plan that is made now, or one that somebody made before, and which may be stale."""

    def run(world: World, dataset: Dataset) -> Parts:
        if fresh or world.plan is None:
            plan = dataset.plan_expiry(AS_OF)
            world.plan = plan, planned_rows(world, plan)
        plan, seen = world.plan
        keys = [step.key for step in plan.steps if day is None or step.key == key_of(day)]
        done = days_of(dataset.apply(plan, keys=keys, undo=world.can_undo).done) if keys else set()
        effects = {gone: expired(gone, seen[gone], can_undo=world.can_undo) for gone in sorted(done)}
        return day_by_day(effects, at_once=world.is_delta)

    return Act(f"expire({day or 'all'}{', fresh' if fresh else ''})", run)


def undo(day: str, kinds: tuple[str, ...]) -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        is_any = "replace" in kinds
        result = dataset.undo(key_of(day))[0] if is_any else dataset.undo_expiry(key_of(day))
        return whole(undone(day, str(result.operation), kinds)) if result.changed else NOTHING

    return Act(f"undo({day}, {'|'.join(kinds)})", run)


def undo_run(back: int) -> Act:
    """All that one of the last ingests replaced."""

    def run(world: World, dataset: Dataset) -> Parts:
        if len(world.runs) <= back:
            return NOTHING
        token = world.runs[-1 - back]
        every = {day: undone(day, "replace", ("replace",), token) for day in DAYS}
        try:
            results = dataset.undo(run=token)
        except LakeError:
            if world.is_delta:
                raise
            return day_by_day(every, at_once=False, is_certain=False)
        changed = days_of(result.key for result in results if result.changed)
        return day_by_day({day: every[day] for day in DAYS if day in changed}, at_once=world.is_delta)

    return Act(f"undo(run {back} back)", run)


# -- what people and policies say -------------------------------------------------------------------------------------


def hold(day: str) -> Act:
    def run(_world: World, dataset: Dataset) -> Parts:
        dataset.hold(key_of(day), reason="audit")
        return whole(held(day, next(numbers)))

    return Act(f"hold({day})", run)


def release(day: str) -> Act:
    def run(_world: World, dataset: Dataset) -> Parts:
        dataset.release(key_of(day))

        def effect(oracle: Oracle) -> bool:
            oracle.holds.pop(day, None)
            return True

        return whole(effect)

    return Act(f"release({day})", run)


def retain(day: str, *, shorten: bool) -> Act:
    def run(_world: World, dataset: Dataset) -> Parts:
        until = AS_OF + timedelta(days=-1 if shorten else 1)
        dataset.retain(key_of(day), until=until, shorten=shorten)

        def effect(oracle: Oracle) -> bool:
            (oracle.kept.discard if shorten else oracle.kept.add)(day)
            return True

        return whole(effect)

    return Act(f"retain({day}{', shorten' if shorten else ''})", run)


def describe(policy: str) -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        world.is_redescribed = True
        dataset.apply_spec(POLICIES[policy])

        def effect(oracle: Oracle) -> bool:
            oracle.expires = policy != "patient"
            return oracle.dropped is None

        return whole(effect)

    return Act(f"apply spec({policy})", run)


def drop() -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        if not world.can_undo:
            return NOTHING
        dataset.drop(reason="a mistake")
        return whole(dropped(has_objects=not world.is_delta))

    return Act("drop", run)


def undrop() -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        return whole(undropped(has_objects=not world.is_delta)) if dataset.undrop().changed else NOTHING

    return Act("undrop", run)


# -- care -------------------------------------------------------------------------------------------------------------


def vacuum(*, later: bool) -> Act:
    def run(world: World, dataset: Dataset) -> Parts:
        if later:
            world.jump(days=8)
        if not dataset.vacuum().ends_dataset:
            return NOTHING
        world.is_ended = True
        return whole(ended)

    return Act("8 days and a vacuum" if later else "vacuum", run)


def tier(*, fresh: bool) -> Act:
    """By a plan that is made now, or one that somebody made before, and which may be stale."""

    def call(world: World, dataset: Dataset) -> None:
        if fresh or world.tiering is None:
            world.tiering = dataset.plan_tiering(AS_OF)
        dataset.apply(world.tiering)

    return quiet(f"tier({'fresh' if fresh else ''})", call)


def restore(day: str) -> Act:
    return quiet(f"restore({day})", lambda _, dataset: dataset.restore(key_of(day)))


def _adopt(world: World, dataset: Dataset) -> None:
    # of a plain dataset it would make a Delta table: there it only looks
    report = Dataset.adopt(dataset.uri, dry_run=not world.is_delta, fs=dataset.fs)
    assert not report.changed


def archive() -> Act:
    """The policy, and what it asks for."""

    def run(world: World, dataset: Dataset) -> Parts:
        parts = describe("archive").run(world, dataset)
        try:
            dataset.plan_tiering(AS_OF).apply()
        except LakeError as error:
            world.log.append(f"  not archived: {error}"[:200])
        return parts

    return Act("archive", run)


# -- others -----------------------------------------------------------------------------------------------------------


def others(what: str, day: str) -> Act:
    """Another writer, who knows nothing of us."""

    def run(world: World, dataset: Dataset) -> Parts:
        if any(oracle.dropped is not None for oracle in world.oracles):
            return NOTHING
        if not world.is_delta:
            return _puts(world, day) if what == "overwrite" else NOTHING
        uri, options = f"s3://{dataset.spec.root}", dataset.fs.delta_options()
        world.is_meddled = True  # by the clocks that were put ahead, they took it out long ago
        rows = new_rows(2)
        theirs = table_of({day: rows}).append_column("date", pa.array([day] * len(rows)))
        try:
            table = DeltaTable(uri, storage_options=options)
            if what == "optimize":
                table.optimize.compact()
                return NOTHING
            if what == "delete":
                table.delete(f"date = '{day}'")
            elif what == "append":
                write_deltalake(uri, theirs, mode="append", schema_mode="merge", storage_options=options)
            else:
                write_deltalake(
                    uri,
                    theirs,
                    mode="overwrite",
                    predicate=f"date = '{day}'",
                    schema_mode="merge",
                    storage_options=options,
                )
        except DeltaError as error:
            world.log.append(f"  others failed: {error}"[:200])
            return NOTHING

        def effect(oracle: Oracle) -> bool:
            after = {"delete": frozenset(), "append": oracle.rows[day] | rows, "overwrite": rows}
            oracle.rows[day] = after[what]
            return True

        return whole(effect)

    return Act(f"others {what}({day})", run)


def _puts(world: World, day: str) -> Parts:
    """An object in place of a plain day's; where no version keeps the old one, whoever holds the day has lost it."""
    if not world.versioned and any(day in oracle.holds for oracle in world.oracles):
        return NOTHING
    world.shelf.excused |= set() if world.versioned else {day}
    rows = new_rows(2)
    data = parquet(table_of({day: rows}))
    put(world.server, f"{world.root}/{key_of(day)}/data.parquet", data, ServerSideEncryption="AES256")

    def effect(oracle: Oracle) -> bool:
        oracle.rows[day] = rows
        return True

    return whole(effect)


# -- all of them ------------------------------------------------------------------------------------------------------


def acts(*, archives: bool = False) -> st.SearchStrategy[Act]:
    days, flags = st.sampled_from(DAYS), st.booleans()
    spans = st.sampled_from([*((day,) for day in DAYS), DAYS])
    policies = st.sampled_from(["usual", "strict", "patient"])
    choices = [
        st.builds(ingest, spans, st.integers(1, 5), st.just("replace"), noted=flags),
        st.builds(ingest, spans, st.integers(1, 5), st.just("append"), noted=flags),
        st.builds(ingest, days.map(lambda day: (day,)), st.just(0), st.just("replace")),
        st.builds(expire, st.none() | days, fresh=flags),
        st.builds(undo, days, st.sampled_from([("expire",), ("expire", "replace")])),
        st.builds(undo_run, st.integers(0, 3)),
        st.builds(erase, st.integers(0, 2)),
        st.builds(hold, days),
        st.builds(release, days),
        st.builds(retain, days, shorten=flags),
        st.builds(describe, policies),
        st.just(drop()),
        st.just(undrop()),
        st.just(quiet("compact", lambda _, dataset: dataset.compact() if dataset.spec.format == "delta" else None)),
        st.builds(tier, fresh=flags),
        st.builds(vacuum, later=flags),
        st.just(quiet("8 days", lambda world, _: world.jump(days=8))),
        st.just(quiet("back an hour", lambda world, _: world.jump(hours=-1))),
        st.just(quiet("adopt", _adopt)),
        st.builds(others, st.sampled_from(["optimize", "delete", "append", "overwrite"]), days),
    ]
    if archives:
        choices += [st.just(archive()), st.builds(restore, days)]
    return st.one_of(*choices)
