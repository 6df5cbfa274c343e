"""One life in the world of `lives`: its books, and what must be true after each act and two ticks later."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from tests.dagster_project import status
from tests.dagster_project.fates import Fate
from tests.dagster_project.lives import KEYS, Ids, Ticked, World
from tests.dagster_project.lives_defs import ASSETS, COLUMN
from tests.dagster_project.lives_ledger import GRACES_ARE_OVER, NONE, PLACES, Ledger, Place

TODAYS = (date(2013, 2, 10), date(2013, 3, 3), date(2013, 4, 15), GRACES_ARE_OVER)
"""Nothing is past its retention; what January has is; all is; and all graces are over."""

Allowed = Mapping[Place, set[Ids]]
BUSY = re.compile(r"\bkept\b|\bruns?\b|\bfailed\b|\brefused\b")
_ROWS = "dagster/partition_row_count"


@dataclass(frozen=True)
class Act:
    """Something that happens."""

    name: str
    run: Callable[[Life], None] = field(compare=False)

    def __repr__(self) -> str:
        return self.name


class Life:
    """A world, its books, and what must be true of both."""

    def __init__(self, world: World) -> None:
        self.world, self.ledger = world, Ledger(TODAYS[0])
        self.is_wrong = False
        self.log: list[str] = []
        self.runs: list[tuple[dg.DagsterRun, str, Sequence[str]]] = []
        self.dead: list[dg.DagsterRun] = []
        self._versions: dict[Place, tuple[str, int, Ids]] = {}
        self._told: dict[tuple[str, str], str] = {}
        self._meanings: dict[tuple[Place, str], Ids] = {}
        self.set_today(TODAYS[0])

    # -- acting -------------------------------------------------------------------------------------------------------

    def do(self, act: Act) -> None:
        self.ledger.turn += 1
        self.log.append(f"{self.ledger.turn}. {act!r}")
        try:
            act.run(self)
            self.judge({})
        except BaseException:
            self.is_wrong = True
            raise

    def note(self, text: str) -> None:
        self.log.append(f"   {text}"[:500])

    def set_today(self, day: date) -> None:
        self.ledger.today = day
        os.environ["TIERLAKE_TODAY"] = day.isoformat()

    def fated(self, fate: FateSpec | None, allowed: Callable[[], Allowed], *, by: str = "") -> Fate | None:
        """A fate for the next run; what happens meanwhile finds the table as the run may have left it until then."""
        if fate is None:
            return None

        def meanwhile() -> None:
            self.note(f"meanwhile (judging {fate})")
            self.judge(allowed(), by=by)
            if fate.act is not None:
                self.do(fate.act)

        return Fate(fate.kind, fate.at, fate.since, meanwhile)

    def ended(self, run: dg.DagsterRun, fate: Fate | None) -> None:
        """Write down how a run ended; a killed one goes on, as far as Dagster knows."""
        what = f" ({fate}: {fate.reached[-1]})" if fate and fate.is_over else ""
        self.note(f"run {run.run_id[:8]} {self.world.why(run)}{what}")
        if run.status is dg.DagsterRunStatus.STARTED:
            self.dead.append(run)

    def now(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """The run as it is by now."""
        found = self.world.instance.get_run_by_id(run.run_id)
        assert found
        return found

    # -- judging the table --------------------------------------------------------------------------------------------

    def judge(self, allowed: Allowed, *, by: str = "") -> None:
        """The table has changed as it may have, and nowhere else.

        Args:
            allowed: By place, the rows that it may have now, besides those that it had.
            by: `expiry` or `undo`, where one may have happened.
        """
        ledger = self.ledger
        for asset in KEYS:
            table = self.world.table(asset)
            assert table.keys() <= set(KEYS[asset]), self.story(f"{asset} has {sorted(table)}")
            for key in KEYS[asset]:
                place, now = (asset, key), table.get(key, NONE)
                before = ledger.rows[place]
                if now == before:
                    continue
                said = {tuple(sorted(ids)) for ids in allowed.get(place, set())}
                why = f"{place} had {set(before)}, has {set(now)}, might have {said or 'nothing else'}"
                if by == "expiry" and not now:
                    why += (
                        f"; due: {ledger.is_due(place)}, held: {place in ledger.held}, read: {ledger.read.get(place)}"
                    )
                assert now in allowed.get(place, set()), self.story(why)
                ledger.rows[place] = now
                if now:
                    ledger.empty.discard(place)
                if by == "expiry" and not now:
                    ledger.lost[place].append(before)
                    ledger.expiries[place] += 1
                if by == "undo" and now:
                    ledger.undone.add(place)
                    ledger.touched[place] = ledger.turn

    def expiring(self, places: Sequence[Place] | None = None) -> Allowed:
        """What a policy may take now."""
        return {place: {NONE} for place in (PLACES if places is None else places) if self.ledger.may_go(place)}

    def story(self, why: str) -> str:
        return "\n".join([*self.log, f"today is {self.ledger.today}", "WRONG: " + why])

    # -- judging Dagster ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Two ticks; then all agree."""
        must = {place for place in PLACES if self.ledger.must_go(place)}
        ticks: list[Ticked] = []
        for _ in range(2):
            ticks = self.ticked(None)
        for asset in KEYS:
            self._check_shown(asset)
            self._check_numbers(asset)
            self._check_versions(asset)
            self._check_history(asset)
            self._check_reasons(asset, must, [tick for tick in ticks if tick.asset == asset])

    def ticked(self, fate: FateSpec | None) -> list[Ticked]:
        fated = self.fated(fate, self.expiring, by="expiry")
        ticks = self.world.tick(fated)
        for tick in ticks:
            told = tick.skipped or f"asks for {sorted(tick.asked)}"
            if self._told.get((tick.location, tick.asset)) != told:
                self._told[tick.location, tick.asset] = told
                self.note(f"tick {tick.location}/{tick.asset}: {told}")
        if fated and fated.is_over:
            run = self.world.instance.get_run_by_id(fated.run_id)
            assert run
            self.ended(run, fated)
        self.judge(self.expiring(), by="expiry")
        return ticks

    def _check_shown(self, asset: str) -> None:
        instance, definition = self.world.instance, ASSETS[asset].partitions_def
        events = set(map(str, instance.get_materialized_partitions(dg.AssetKey(asset))))
        cached = status.in_status(instance, asset, definition)
        drawn = status.in_graphql(self.world.context, asset, definition)
        log = instance.event_log_storage
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations
        later = set(attempts(dg.AssetKey(asset)))  # of runs that failed, or have not ended as far as Dagster knows
        shown = f"{asset}: events {sorted(events)}, status {sorted(cached)}, GraphQL {sorted(drawn)}, {sorted(later)}"
        assert cached == drawn, self.story(shown)
        assert events - later == cached - later, self.story(shown)
        for key in KEYS[asset]:
            place = (asset, key)
            facts = f"{place}: rows {set(self.ledger.rows[place])}, made empty: {place in self.ledger.empty}"
            if key in events:
                assert not self.ledger.must_hide(place), self.story(f"gone and green: {facts}")
            elif key not in later or not self.dead:  # a run that is at work on it will tell, as far as anybody knows
                assert not self.ledger.must_show(place), self.story(f"there and grey: {facts}")

    def _check_numbers(self, asset: str) -> None:
        """The newest event that tells of a partition's rows tells their number."""
        instance = self.world.instance
        for key, ids in self.ledger.of(asset).items():
            only: Any = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
            records = [
                *instance.fetch_materializations(only, limit=10).records,
                *instance.fetch_observations(only, limit=10).records,
            ]
            newest = sorted(records, key=lambda record: -record.storage_id)
            events = [event for record in newest if (event := record.asset_materialization or record.asset_observation)]
            said = [int(event.metadata[_ROWS].value) for event in events if _ROWS in event.metadata]
            if ASSETS[asset].spec.format == "parquet" and (not said or _ROWS not in events[0].metadata):
                continue  # nobody counts what lies in plain files
            assert said, self.story(f"no event of {asset} {key} tells its rows")
            assert said[0] == len(ids), self.story(f"{asset} {key} has {len(ids)} rows, its page says {said[0]}")

    def _check_versions(self, asset: str) -> None:
        """A data version means the same rows for ever; rows that nobody touched keep theirs."""
        tags = self.world.instance.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        for key, ids in self.ledger.of(asset).items():
            place = (asset, key)
            version = tags.get(key, {}).get("dagster/data_version", "")
            meant = self._meanings.setdefault((place, version), ids)
            facts = f"{place} with rows {set(ids)} has the data version {version!r}"
            assert meant == ids, self.story(f"{facts}, which meant {set(meant)}")
            before, turn, rows = self._versions.get(place, ("", -1, NONE))
            if turn >= self.ledger.touched[place] and rows == ids:
                assert before == version, self.story(f"{facts}, had {before!r} before, and nobody touched it")
            self._versions[place] = (version, self.ledger.turn, ids)

    def _check_history(self, asset: str) -> None:
        """Each expiry is there once, by the partition's key."""
        if not any(self.ledger.expiries[asset, key] for key in KEYS[asset]):
            return
        entries = self.world.dataset(asset).history()
        nameless = [entry for entry in entries if entry.operation in {"expire", "undo"} and not entry.keys]
        assert not nameless, self.story(f"the history of {asset} does not say which: {nameless[0]}")
        for key in KEYS[asset]:
            name = f"{COLUMN[asset]}={key}"
            told = sum(entry.operation == "expire" and name in entry.keys for entry in entries)
            true = self.ledger.expiries[asset, key]
            assert told == true, self.story(f"{asset} {key} expired {true} times, its history has {told}")

    def _check_reasons(self, asset: str, must: set[Place], ticks: Sequence[Ticked]) -> None:
        """What is due is gone, or the ticks say why not."""
        texts = "; ".join(tick.skipped for tick in ticks)
        asked = frozenset[str]().union(*(tick.asked for tick in ticks))
        for key in self.ledger.of(asset):
            place = (asset, key)
            if not self.ledger.is_due(place) or key in asked:
                continue
            busy = re.search(r"\bruns?\b|\bfailed\b", texts)
            if place in must and self.ledger.must_go(place):
                assert busy, self.story(f"{place} is due, read and not held, and stays: {texts!r}")
            assert key in texts or BUSY.search(texts), self.story(
                f"{place} is due and stays without a reason: {texts!r}"
            )


@dataclass(frozen=True)
class FateSpec:
    """A fate before it is bound to a life."""

    kind: Any
    at: int
    since: Any = ""
    act: Act | None = None

    def __str__(self) -> str:
        where = f"{self.kind} at {self.at}{f' since {self.since}' if self.since else ''}"
        return f"{where}: {self.act!r}" if self.act else where
