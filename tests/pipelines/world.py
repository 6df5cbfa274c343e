"""Two sessions on one dataset, whose acts meet, and the judge of what they leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import fsspec
from deltalake import write_deltalake

from tests.pipelines.acts import (
    AS_OF,
    POLICIES,
    SHORTEST_GRACE,
    Act,
    days_of,
    ingest,
    key_of,
    new_rows,
    note_of,
    numbers,
    table_of,
    undrop,
    value_of,
)
from tests.pipelines.foreign import delta_options, parquet, put
from tests.pipelines.oracle import DAYS, NOTHING, Oracle, Parts, Rows, State, outcomes
from tests.pipelines.samples import Meddled, Offset
from tests.pipelines.shelf import Shelf, all_ids, ids_of
from tests.servers import Rig
from tierlake.connector.errors import LakeError
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.lifecycle.plan import ExpiryPlan, TieringPlan

Origin = Literal["ours", "delta", "hive"]
"""Whether we made the dataset, or adopted what others had made."""


@dataclass(frozen=True)
class Place:
    """Where lives are led."""

    server: Rig
    bucket: str
    table_format: Literal["delta", "parquet"]
    versioned: bool
    archives: bool = False


class World:
    """Two sessions on one dataset, what was acknowledged, and what sessions hold on to."""

    def __init__(self, place: Place, origin: Origin) -> None:
        self.place, self.server, self.versioned = place, place.server, place.versioned
        self.is_delta = place.table_format == "delta"
        self.can_undo = self.is_delta or self.versioned
        self.log: list[str] = []
        self.systems = [
            fsspec.filesystem("lake", skip_instance_cache=True, **place.server.storage_options, view_freshness=0)
            for _ in "ab"
        ]
        self.clocks = [Offset(fs, place.bucket) for fs in self.systems]
        self._begin(f"{place.bucket}/acts-{next(numbers)}", origin)

    def _begin(self, root: str, origin: Origin) -> None:
        self.log.append(f"{root} begins, {origin}")
        self.root = root
        self.first = next(numbers)
        self.oracles = [Oracle()]
        self.plan: tuple[ExpiryPlan, dict[str, Rows | None]] | None = None
        self.tiering: TieringPlan | None = None
        self.runs: list[str] = []
        self.noted: set[int] = set()
        self.is_ended = self.is_redescribed = self.is_meddled = False
        self.shelf = Shelf(self.server, root, is_delta=self.is_delta, versioned=self.versioned)
        self._holds: dict[str, tuple[int, set[tuple[str, Rows]]]] = {}
        self._left: dict[tuple[str, Rows], timedelta] = {}
        described: dict[str, Any] = {"partition": {"time": {"column": "at"}}, "evolution": "add", **POLICIES["usual"]}
        uri = f"lake://{root}"
        if origin == "ours":
            columns = {"at": "timestamp[us, tz=UTC]", "id": "int64", "v": "float64"}
            spec = DatasetSpec(uri=uri, format=self.place.table_format, columns=columns, **described)
            Dataset.create(spec, fs=self.systems[0], clock=self.clocks[0])
        else:
            self.oracles[0].rows = rows = {day: new_rows(3) for day in DAYS}
            self._written_by_others(rows, origin)
            Dataset.adopt(uri, described, dry_run=False, fs=self.systems[0], clock=self.clocks[0])
        self.sessions = [
            Dataset.open(uri, fs=fs, clock=clock) for fs, clock in zip(self.systems, self.clocks, strict=True)
        ]
        for day in DAYS if origin == "ours" else ():
            self.do(ingest((day,), 3, "replace"), 0, (), None)

    def _written_by_others(self, rows: State, origin: Origin) -> None:
        for day, ids in rows.items():
            table = table_of({day: ids})
            if origin == "hive":
                path = f"{self.root}/{key_of(day)}/part-0.parquet"
                put(self.server, path, parquet(table), ServerSideEncryption="AES256")
                continue
            write_deltalake(
                f"s3://{self.root}",
                table.append_column("date", [[day] * len(table)]),
                partition_by=["date"],
                mode="append",
                storage_options=delta_options(self.server) | {"aws_server_side_encryption": "AES256"},
            )

    def jump(self, **ahead: float) -> None:
        for clock in self.clocks:
            clock.ahead += timedelta(**ahead)

    # -- acting -------------------------------------------------------------------------------------------------------

    def do(self, act: Act, by: int, intruders: tuple[Act, ...], at: int | None) -> None:
        """Do something, interrupted before its request number `at`, or before its commit where that is None."""
        self.log.append(f"{act!r} by {by}" + (f", interrupted at {at} by {intruders}" if intruders else ""))
        was_dropped = self.is_dropped
        inner: list[Parts] = []

        def intrude() -> None:
            inner.extend(self._acknowledged(intruder, self.sessions[1 - by]) for intruder in intruders)

        outer = self._interrupted(act, self.sessions[by], intrude if intruders else None, at)
        if len(inner) < len(intruders):  # it was over before
            intrude()
        if self.is_ended:
            assert outcomes(self.oracles, outer, inner), self.story()
            self._begin(self.root, "ours")  # its prefix is free again
            return
        self._check(outer, inner, is_vacuumed="vacuum" in self.log[-1])
        if was_dropped and self.is_dropped and act != undrop():
            self.do(undrop(), by, (), None)
            if self.is_dropped:
                self._begin(f"{self.place.bucket}/acts-{next(numbers)}", "ours")

    @property
    def is_dropped(self) -> bool:
        return all(oracle.dropped is not None for oracle in self.oracles)

    def story(self) -> str:
        return "\n".join(self.log)

    def _acknowledged(self, act: Act, dataset: Dataset) -> Parts:
        try:
            return act.run(self, dataset)
        except (LakeError, LookupError) as error:
            self.log.append(f"  {act!r} refused: {type(error).__name__}: {error}"[:240])
            return NOTHING

    def _interrupted(self, act: Act, dataset: Dataset, intrude: Callable[[], None] | None, at: int | None) -> Parts:
        if intrude is None:
            return self._acknowledged(act, dataset)
        if at is None:
            handle = replace(dataset._handle, table=Meddled(dataset._handle.table, before=intrude))
            return self._acknowledged(act, Dataset(handle))
        gateway = dataset._handle.fs.store.gateway
        send, left = gateway._send, itertools.count()

        async def noting(operation: str, request: dict[str, Any]) -> Any:
            if next(left) == at:
                gateway._send = send
                await asyncio.to_thread(intrude)
            return await send(operation, request)

        gateway._send = noting
        try:
            return self._acknowledged(act, dataset)
        finally:
            gateway._send = send

    # -- judging ------------------------------------------------------------------------------------------------------

    def _check(self, outer: Parts, inner: list[Parts], *, is_vacuumed: bool) -> None:
        seen = self.visible()
        possible = outcomes(self.oracles, outer, inner)
        fitting = [oracle for oracle in possible if all(oracle.rows[day] == ids for day, ids in seen.items())]
        assert fitting, f"{self.story()}\nseen: {seen}\npossible: {[oracle.rows for oracle in possible]}"
        self.oracles = fitting
        self._check_bytes(is_vacuumed=is_vacuumed)
        report = self.sessions[len(self.log) % 2].verify(as_of=AS_OF)
        # what was moved by one policy may be too cold for the next
        wrong = [one for one in report.problems if one.kind != "class" or not self.is_redescribed]
        assert not wrong, f"{self.story()}\n{report}"

    def visible(self) -> State:
        """What both sessions read; an archived day's bytes are read past the server, if they were seen before."""
        both = [self._read(session) for session in self.sessions]
        assert both[0] == both[1], f"{self.story()}\nsessions differ: {both}"
        return both[0]

    def _read(self, session: Dataset) -> State:
        hidden = days_of(session.waiting_for()) if self.place.archives else set()
        where = [("date", "in", [day for day in DAYS if day not in hidden])] if hidden else None
        found: dict[str, list[int]] = {day: [] for day in DAYS}
        for row in session.read(where=where).to_pylist():
            number = row["id"]
            found[str(row["date"])].append(number)
            note = note_of(number) if number in self.noted else None
            assert (row["v"], row.get("note")) == (value_of(number), note), f"{self.story()}\n{row}"
        if hidden:
            live = self.shelf.live(self.shelf.objects())
            for day in hidden:
                tables = [self.shelf.rows(one) for one in live[day]]
                if any(
                    table is None for table in tables
                ):  # an erasure wrote it into its archived class: nobody has seen it
                    del found[day]
                else:
                    found[day] += [number for table in tables for number in sorted(all_ids([table]))]
        assert all(len(set(ids)) == len(ids) for ids in found.values()), f"{self.story()}\ndoubled: {found}"
        return {day: frozenset(ids) for day, ids in found.items()}

    def _check_bytes(self, *, is_vacuumed: bool) -> None:
        """What held days had, at any moment of the hold, is in the store; so is what left within the shortest grace."""
        objects = self.shelf.objects()
        there: dict[str, set[tuple[str, Rows]]] = {day: set() for day in DAYS}
        for one in objects:
            if (table := self.shelf.rows(one)) is not None:
                there[one.day].add((one.path, ids_of(table)))
        live = {
            day: {(one.path, ids_of(table)) for one in files if (table := self.shelf.rows(one)) is not None}
            for day, files in self.shelf.live(objects).items()
        }
        for day in DAYS:
            tokens = {oracle.holds.get(day) for oracle in self.oracles}
            token = next(iter(tokens)) if len(tokens) == 1 else None
            if token is None or day in self.shelf.excused:
                self._holds.pop(day, None)
                continue
            begun = (token, live[day] if is_vacuumed else set(there[day]))
            since, kept = self._holds.get(day, begun)
            if since != token:
                kept = begun[1]
            assert kept <= there[day], f"{self.story()}\nheld, and gone: {kept - there[day]}"
            self._holds[day] = token, kept | live[day]
        if not self.can_undo:
            return
        ahead = max(clock.ahead for clock in self.clocks)
        every, every_live = set().union(*there.values()), set().union(*live.values())
        self._left = {
            one: since
            for one, since in self._left.items()
            if ahead - since < SHORTEST_GRACE and (not self.is_meddled or one in every_live)
        }
        assert self._left.keys() <= every, f"{self.story()}\ngone within the grace: {self._left.keys() - every}"
        self._left |= dict.fromkeys(every_live, ahead)
        self.is_meddled = False
