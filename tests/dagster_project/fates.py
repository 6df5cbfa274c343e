"""What can happen to a run in the middle: it is killed, terminated, denied, or something else happens meanwhile.

A run is watched at each of its requests to the store (before it leaves, and after the answer), around each commit, and
before each event about an asset that it reports. A killed run has done what it did until then, and does and tells
nothing more: so is a process that died. A terminated one unwinds, as Dagster makes it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg
import fsspec.asyn
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher

from tierlake.connector.client.gateway import Gateway
from tierlake.connector.errors import AccessDenied
from tierlake.pipelines.tables.delta import LakeDeltaTable
from tierlake.pipelines.tables.plain import PlainParquetTable

Point = Literal["request", "answer", "commit", "committed", "event"]
Kind = Literal["killed", "terminated", "denied", "meanwhile"]

_OF_ASSETS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_WIPED,
}


class Dead(BaseException):
    """This process is no more."""


@dataclass
class Fate:
    """What happens to the next run, where.

    Attributes:
        kind: What.
        at: At which point; they count from 0.
        since: The point after whose first all are counted; empty counts from the run's beginning.
        meanwhile: What happens there, where it is not to the run.
    """

    kind: Kind
    at: int
    since: Point | Literal[""] = ""
    meanwhile: Callable[[], object] = field(default=lambda: None, compare=False, repr=False)
    reached: list[str] = field(default_factory=list)
    run_id: str = ""
    is_over: bool = False
    is_dead: bool = False

    def __str__(self) -> str:
        return f"{self.kind} at {self.at}{f' since {self.since}' if self.since else ''}"

    def comes(self, point: Point) -> bool:
        """Whether it happens now."""
        if self.is_over:
            return False
        self.reached.append(point)
        first = self.reached.index(self.since) if self.since in self.reached else None if self.since else 0
        self.is_over = first is not None and len(self.reached) - first > self.at
        self.is_dead = self.is_over and self.kind == "killed"
        return self.is_over

    def happen(self, instance: dg.DagsterInstance) -> None:
        if self.kind == "killed":
            raise Dead
        if self.kind == "denied":
            raise AccessDenied("not any more", hint="ask whoever has taken the right away")
        if self.kind == "terminated":
            run = instance.get_run_by_id(self.run_id)
            assert run
            instance.report_run_canceling(run)
            raise DagsterExecutionInterruptedError
        FATES.unexpected = elsewhere(self.meanwhile)


def elsewhere(call: Callable[[], object]) -> BaseException | None:
    """Do it in a thread of its own: another process, as far as event loops and contexts go. Its error, if any."""
    errors: list[BaseException] = []

    def calling() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=calling)
    thread.start()
    thread.join()
    return errors[0] if errors else None


class Fates:
    """The one that waits, and the one that is at work."""

    waiting: Fate | None = None
    at_work: Fate | None = None
    instance: dg.DagsterInstance
    unexpected: BaseException | None = None

    def reach(self, point: Point) -> None:
        fate = self.at_work
        if fate is None:
            return
        if fate.is_dead:
            raise Dead
        if fate.comes(point):
            fate.happen(self.instance)

    async def reach_within(self, point: Point) -> None:
        """The same on fsspec's own thread, which must not stand still."""
        fate = self.at_work
        if fate is not None and fate.kind == "meanwhile" and not fate.is_over:
            await asyncio.to_thread(self.reach, point)
        else:
            self.reach(point)

    @contextmanager
    def over(self, run_id: str) -> Iterator[None]:
        if self.waiting is None:
            yield
            return
        self.at_work, self.waiting = self.waiting, None
        self.at_work.run_id = run_id
        try:
            yield
        except Dead:
            pass
        finally:
            self.at_work = None

    @contextmanager
    def ahead(self, fate: Fate | None) -> Iterator[None]:
        """The next run has it."""
        self.waiting, self.unexpected = fate, None
        try:
            yield
        finally:
            self.waiting = None


FATES = Fates()


class InTurn(SyncInMemoryRunLauncher):
    """Launches runs here and now, each to its fate."""

    def launch_run(self, context: LaunchRunContext) -> None:
        with FATES.over(context.dagster_run.run_id):
            error = elsewhere(lambda: SyncInMemoryRunLauncher.launch_run(self, context))
            if error is not None:
                raise error


@contextmanager
def watched(instance: dg.DagsterInstance) -> Iterator[None]:
    """Meanwhile every run is."""
    FATES.instance = instance
    send, told = Gateway._send, dg.DagsterInstance.handle_new_event

    async def sending(self: Gateway, operation: str, request: dict[str, Any]) -> Any:
        await FATES.reach_within("request")
        response = await send(self, operation, request)
        await FATES.reach_within("answer")
        return response

    def committing(commit: Callable[..., Any]) -> Callable[..., Any]:
        def around(self: Any, change: Any) -> Any:
            FATES.reach("commit")
            made = commit(self, change)
            FATES.reach("committed")
            return made

        return around

    def telling(self: dg.DagsterInstance, event: Any, **options: Any) -> Any:
        fate = FATES.at_work
        if fate is not None and fate.is_dead:
            return None
        kind = event.dagster_event.event_type if event.dagster_event else None
        # an event is told under a lock that every beginning of a run needs: nothing else can happen meanwhile
        if kind in _OF_ASSETS and not (fate and fate.kind == "meanwhile"):
            FATES.reach("event")
        return told(self, event, **options)

    async def running(event: threading.Event, coro: Any, result: list[Any], timeout: float | None = None) -> None:  # noqa: ASYNC109 - fsspec's signature
        """As fsspec's own, which takes an end that is no Exception for a result of None."""
        try:
            result[0] = await (asyncio.wait_for(coro, timeout) if timeout else coro)
        except BaseException as end:  # noqa: BLE001 - the caller raises it
            result[0] = end
        finally:
            event.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "_send", sending)
        for kind in (LakeDeltaTable, PlainParquetTable):
            patch.setattr(kind, "commit", committing(kind.commit))
        patch.setattr(dg.DagsterInstance, "handle_new_event", telling)
        patch.setattr(fsspec.asyn, "_runner", running)
        yield
