"""What happens to the world of `lives`, each with what it may leave behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg
from hypothesis import strategies as st

from tests.dagster_project import lives_defs
from tests.dagster_project.fates import Fate, elsewhere
from tests.dagster_project.lives import KEYS, Ids, Strategy
from tests.dagster_project.lives_defs import ASSETS, COLUMN, DAYS, MONTHS
from tests.dagster_project.lives_ledger import NONE, PLACES, Place, month_of
from tests.dagster_project.lives_life import TODAYS, Act, Allowed, FateSpec, Life
from tierlake.connector.errors import LakeError


def _with(fate: FateSpec | None) -> str:
    return f", {fate}" if fate else ""


# -- runs that write ----------------------------------------------------------------------------------------------


def change_source(days: tuple[str, ...], count: int, failing: tuple[str, ...]) -> Act:
    def run(life: Life) -> None:
        for day in days:
            life.world.rows[day] = life.world.new_ids(count)
        life.world.failing = set(failing)
        life.world.write_source()

    return Act(f"source({', '.join(days)}: {count} rows{f'; failing: {failing}' if failing else ''})", run)


def daily(keys: tuple[str, ...], only: str = "", fate: FateSpec | None = None, *, backfill: bool = False) -> Act:
    def run(life: Life) -> None:
        def launch(fated: Fate | None) -> list[dg.DagsterRun]:
            if backfill:
                return life.world.backfill(keys, [only] if only else ["days", "plain"], fated)
            return [life.world.launch("daily", keys, only=only, fate=fated)]

        _write_days(life, launch, keys, fate)

    how = "backfill" if backfill else "daily"
    return Act(f"{how}({keys[0]}..{keys[-1]}{f', {only}' if only else ''}{_with(fate)})", run)


def _write_days(
    life: Life, launch: Callable[[Fate | None], list[dg.DagsterRun]], keys: Sequence[str], fate: FateSpec | None
) -> None:
    ledger, world = life.ledger, life.world
    source = {key: world.rows.get(key, NONE) for key in keys}
    before = {key: ledger.rows["days", key] for key in keys}

    def allowed() -> Allowed:
        may: dict[Place, set[Ids]] = {}
        for key in keys:
            may["days", key] = {source[key], world.rows.get(key, NONE)}
            may["plain", key] = may["days", key] | {before[key], ledger.rows["days", key]}
        return may

    fated = life.fated(fate, allowed)
    turn = ledger.turn
    runs = launch(fated)
    for key in keys:
        for asset in ("days", "plain"):
            ledger.touched[asset, key] = ledger.turn
    life.judge(allowed())
    for run in runs:
        life.ended(run, fated)
        life.runs.append((run, "daily", keys))
        if ledger.turn > turn:  # something happened meanwhile
            continue
        for asset, key in world.materialized(run):
            truth = source[key] if asset == "days" else ledger.rows["days", key]
            now = ledger.rows[asset, key]
            assert now == truth, life.story(f"{asset} {key} was written from {set(truth)}, and has {set(now)}")
            if not now:
                ledger.empty.add((asset, key))


def again(back: int, strategy: Strategy, fate: FateSpec | None = None) -> Act:
    """Of one of the last runs that wrote."""

    def run(life: Life) -> None:
        ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
        if strategy != "ALL_STEPS":
            ended -= {dg.DagsterRunStatus.SUCCESS}
        found = [(life.now(run), job, keys) for run, job, keys in life.runs]
        found = [one for one in found if one[0].status in ended]
        if len(found) <= back:
            life.note("there is none")
            return
        parent, job, keys = found[-1 - back]
        life.note(f"of {parent.run_id[:8]}, {job} {keys}")

        def launch(fated: Fate | None) -> list[dg.DagsterRun]:
            return [life.world.again(parent, strategy, fated)]

        if job == "daily":
            _write_days(life, launch, keys, fate)
        else:
            _roll_up(life, launch, keys[0], None, fate)

    return Act(f"again({back} back, {strategy}{_with(fate)})", run)


def monthly(month: str, during: Act | None = None, fate: FateSpec | None = None) -> Act:
    """The rollup; something may happen to what it reads while it works."""

    def run(life: Life) -> None:
        def launch(fated: Fate | None) -> list[dg.DagsterRun]:
            return [life.world.launch("monthly", [month], fate=fated)]

        _roll_up(life, launch, month, during, fate)

    return Act(f"monthly({month}{f', during: {during!r}' if during else ''}{_with(fate)})", run)


def _roll_up(
    life: Life,
    launch: Callable[[Fate | None], list[dg.DagsterRun]],
    month: str,
    during: Act | None,
    fate: FateSpec | None,
) -> None:
    ledger, world, place = life.ledger, life.world, ("months", month)
    days = [day for day in DAYS if month_of(day) == month]
    made: list[Ids] = []
    reads: list[tuple[int, dict[Place, Ids], set[Place]]] = []

    def rollup(_run_id: str, read: dict[str, dict[str, list[int]]]) -> int:
        made.append(world.new_ids(1))
        seen = {(asset, day): frozenset(read[asset].get(day, ())) for asset in ("days", "plain") for day in days}
        gone = {one for one in seen if one[0] == "days" and not ledger.is_there(one)}
        reads.append((ledger.turn, seen, gone))
        if during is not None:
            life.note(f"while the rollup of {month} works")
            error = elsewhere(lambda: life.do(during))
            if error is not None:
                errors.append(error)
        return min(made[-1])

    errors: list[BaseException] = []

    def allowed() -> Allowed:
        return {place: set(made)}

    fated = life.fated(fate, allowed)
    lives_defs.rollups.append(rollup)
    try:
        runs = launch(fated)
    finally:
        lives_defs.rollups.remove(rollup)
    if errors:
        raise errors[0]
    ledger.touched[place] = ledger.turn
    life.judge(allowed())
    for run in runs:
        life.ended(run, fated)
        life.runs.append((run, "monthly", [month]))
        if place not in world.materialized(run):
            continue
        assert reads, life.story(f"{month} was materialized without having read")
        turn, seen, gone = reads[-1]
        assert not gone, life.story(f"{month} was made of {sorted(gone)}, which are gone")
        ledger.read |= seen
        ledger.read_at |= dict.fromkeys(seen, turn)


# -- jobs of the policies -----------------------------------------------------------------------------------------


def expire(asset: str, keys: tuple[str, ...], fate: FateSpec | None = None) -> Act:
    """The job, with keys that a person names, or none."""

    def run(life: Life) -> None:
        places = [(asset, key) for key in keys or KEYS[asset]]

        def allowed() -> Allowed:
            return life.expiring(places)

        fated = life.fated(fate, allowed, by="expiry")
        run = life.world.launch(f"{asset}_expiry", config={"partitions": list(keys)}, fate=fated)
        life.judge(allowed(), by="expiry")
        life.ended(run, fated)

    return Act(f"expire({asset}, {', '.join(keys) or 'all'}{_with(fate)})", run)


def undo(asset: str, key: str, fate: FateSpec | None = None) -> Act:
    def run(life: Life) -> None:
        def allowed() -> Allowed:
            return {(asset, key): set(life.ledger.lost[asset, key])}

        fated = life.fated(fate, allowed, by="undo")
        run = life.world.launch(f"{asset}_undo_expiry", config={"partition": key}, fate=fated)
        life.judge(allowed(), by="undo")
        life.ended(run, fated)

    return Act(f"undo({asset}, {key}{_with(fate)})", run)


def tier(asset: str, fate: FateSpec | None = None) -> Act:
    def run(life: Life) -> None:
        fated = life.fated(fate, dict)
        life.ended(life.world.launch(f"{asset}_tiering", config={}, fate=fated), fated)

    return Act(f"tier({asset}{_with(fate)})", run)


def tick(fate: FateSpec | None = None) -> Act:
    return Act(f"tick({fate or ''})", lambda life: life.ticked(fate) and None)


def notice(how: str) -> Act:
    """Dagster notices that workers are gone, or a person marks their runs as terminated."""

    def run(life: Life) -> None:
        instance = life.world.instance
        for dead in life.dead:
            (instance.report_run_failed if how == "failed" else instance.report_run_canceled)(life.now(dead))
        life.dead.clear()

    return Act(f"dead runs are {how}", run)


# -- a terminal ---------------------------------------------------------------------------------------------------


def _quiet(life: Life, call: Callable[[], object]) -> bool:
    """What a command says; whether it did what it was asked for."""
    try:
        life.note(f"terminal: {call()}".partition("\n")[0])
    except (LakeError, LookupError) as error:
        life.note(f"terminal: {type(error).__name__}: {error}")
        return False
    return True


def terminal_expire(asset: str, *, sighted: bool) -> Act:
    """`tierlake expire`; somebody may vouch for the downstream."""

    def run(life: Life) -> None:
        far = {"months": lambda _: {}} if sighted and asset != "months" else None
        ledger = life.ledger

        def call() -> object:
            return life.world.dataset(asset).plan_expiry(ledger.today, materialized=far).apply()

        _quiet(life, call)
        free = [(asset, key) for key in KEYS[asset] if ledger.is_due((asset, key)) and (asset, key) not in ledger.held]
        life.judge({place: {NONE} for place in free} if far or asset == "months" else {}, by="expiry")

    return Act(f"terminal expire({asset}{', vouching' if sighted else ''})", run)


def terminal_undo(asset: str, key: str) -> Act:
    def run(life: Life) -> None:
        _quiet(life, lambda: life.world.dataset(asset).undo_expiry(f"{COLUMN[asset]}={key}"))
        life.judge({(asset, key): set(life.ledger.lost[asset, key])}, by="undo")

    return Act(f"terminal undo({asset}, {key})", run)


def hold(asset: str, key: str) -> Act:
    def run(life: Life) -> None:
        if _quiet(life, lambda: life.world.dataset(asset).hold(f"{COLUMN[asset]}={key}", reason="audit")):
            life.ledger.held.add((asset, key))

    return Act(f"hold({asset}, {key})", run)


def release(asset: str, key: str) -> Act:
    def run(life: Life) -> None:
        if _quiet(life, lambda: life.world.dataset(asset).release(f"{COLUMN[asset]}={key}")):
            life.ledger.held.discard((asset, key))

    return Act(f"release({asset}, {key})", run)


def care(asset: str, what: str) -> Act:
    """What changes no row."""

    def run(life: Life) -> None:
        def call() -> object:
            dataset = life.world.dataset(asset)
            if what == "tier":
                return dataset.plan_tiering(life.ledger.today).apply()
            return dataset.compact() if what == "compact" else dataset.vacuum()

        if what != "compact" or ASSETS[asset].spec.format == "delta":
            _quiet(life, call)

    return Act(f"terminal {what}({asset})", run)


def others(asset: str, key: str, count: int) -> Act:
    def run(life: Life) -> None:
        ids = life.world.new_ids(count)
        done = life.world.others_write(asset, key, ids)
        life.note(f"others {'did' if done else 'could not'}")
        life.judge({(asset, key): {ids}})
        life.ledger.touched[asset, key] = life.ledger.turn
        if done and not count:
            life.ledger.empty.discard((asset, key))

    return Act(f"others({asset}, {key}: {count} rows)", run)


def later(day: date) -> Act:
    def run(life: Life) -> None:
        life.set_today(max(day, life.ledger.today))

    return Act(f"today is {day}", run)


settle = Act("settle", lambda life: life.settle())


# -- all of them --------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(list(KEYS))
_PLACES = st.sampled_from(PLACES)
_SPANS = st.sampled_from([DAYS, DAYS[:2], DAYS[2:], *((day,) for day in DAYS)])
_MONTHS = st.sampled_from(MONTHS)


def _at(
    build: Callable[..., Act], *more: st.SearchStrategy[Any], **named: st.SearchStrategy[Any]
) -> st.SearchStrategy[Act]:
    return st.tuples(_PLACES, st.tuples(*more), st.fixed_dictionaries(named)).map(
        lambda one: build(*one[0], *one[1], **one[2])
    )


def simple() -> st.SearchStrategy[Act]:
    """Acts that happen beside others, or by themselves."""
    return st.one_of(
        st.builds(daily, _SPANS, st.sampled_from(["", "days", "plain"])),
        st.builds(monthly, _MONTHS),
        _at(others, st.integers(0, 2)),
        st.builds(terminal_expire, _NAMES, sighted=st.booleans()),
        _at(terminal_undo),
        st.builds(change_source, _SPANS, st.integers(0, 2), st.just(())),
        st.builds(care, _NAMES, st.sampled_from(["tier", "compact", "vacuum"])),
        st.just(tick()),
    )


def fates() -> st.SearchStrategy[FateSpec]:
    since: st.SearchStrategy[Any] = st.sampled_from(["", "commit", "committed", "event"])
    near = st.tuples(since, st.integers(0, 3)) | st.tuples(st.just(""), st.integers(0, 45))
    kinds = st.sampled_from(["killed", "killed", "terminated", "denied"])
    struck = st.tuples(kinds, near).map(lambda one: FateSpec(one[0], one[1][1], one[1][0]))
    beside = st.tuples(near, simple()).map(lambda one: FateSpec("meanwhile", one[0][1], one[0][0], one[1]))
    return st.one_of(struck, struck, beside)


def acts() -> st.SearchStrategy[Act]:
    maybe = st.none() | fates()
    strategies: st.SearchStrategy[Any] = st.sampled_from(["ALL_STEPS", "FROM_FAILURE", "FROM_ASSET_FAILURE"])
    some_keys = _NAMES.flatmap(
        lambda name: st.tuples(st.just(name), st.lists(st.sampled_from(KEYS[name]), unique=True).map(tuple))
    )
    tiered = st.sampled_from(["days", "plain"])
    return st.one_of(
        st.builds(daily, _SPANS, st.sampled_from(["", "", "days", "plain"]), maybe, backfill=st.booleans()),
        st.builds(monthly, _MONTHS, st.none() | simple(), maybe),
        st.builds(again, st.integers(0, 2), strategies, maybe),
        st.builds(
            change_source,
            _SPANS,
            st.integers(0, 2),
            st.sampled_from([(), (), ("plain",), ("days",), ("months",)]),
        ),
        st.tuples(some_keys, maybe).map(lambda one: expire(*one[0], one[1])),
        _at(undo, maybe),
        st.builds(tier, tiered, maybe),
        st.builds(tick, maybe),
        st.builds(tick, fates()),
        st.builds(notice, st.sampled_from(["failed", "canceled"])),
        st.builds(terminal_expire, _NAMES, sighted=st.booleans()),
        _at(terminal_undo),
        _at(hold),
        _at(release),
        st.builds(care, _NAMES, st.sampled_from(["tier", "compact", "vacuum"])),
        _at(others, st.integers(0, 2)),
        st.builds(later, st.sampled_from(TODAYS[1:])),
        st.just(settle),
    )
