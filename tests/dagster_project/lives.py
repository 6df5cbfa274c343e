"""One Dagster instance over a few tables, what people, runs and others do to them, and what must be true afterwards.

Here is the world: it launches by GraphQL, ticks by the daemon's own code, and reads tables past the product. The
ledger of what was acknowledged and what the downstream has read is `lives_ledger`'s.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_daemon
from dagster._daemon.backfill import execute_backfill_iteration
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from tests.dagster_project import lives_beside, lives_defs, status
from tests.dagster_project.fates import FATES, Fate, watched
from tests.dagster_project.lives_defs import ASSETS, COLUMN, DAYS, MONTHS, rows_of
from tests.pipelines.foreign import delta_options, parquet, put
from tests.servers import Rig
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset

Ids = frozenset[int]
Table = dict[str, Ids]
"""The ids that a table has, by Dagster's key; a partition without rows is not there."""

Strategy = Literal["ALL_STEPS", "FROM_FAILURE", "FROM_ASSET_FAILURE"]
KEYS: dict[str, Sequence[str]] = {"days": DAYS, "plain": DAYS, "months": MONTHS}

_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_AGAIN = """
mutation($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_log = logging.getLogger("tests.lives")


@dataclass(frozen=True)
class Ticked:
    """What one sensor's tick said."""

    location: str
    asset: str
    skipped: str
    asked: frozenset[str]
    """Keys that the tick's runs were asked for."""


@contextmanager
def served(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    """Two code locations, in this process."""
    origins = [
        InProcessCodeLocationOrigin(
            LoadableTargetOrigin(module_name=module.__name__, attribute="defs"), location_name=name
        )
        for name, module in (("main", lives_defs), ("beside", lives_beside))
    ]
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origins), version="") as context:
        yield context


class World:
    """The instance, its tables below one warehouse, and the source."""

    def __init__(
        self, context: WorkspaceProcessContext, server: Rig, warehouse: str, source: Path, location: str = "main"
    ) -> None:
        self.context, self.instance, self.server = context, context.instance, server
        self.lake = LakeResource(warehouse=warehouse)
        self.root = warehouse.removeprefix("lake://")
        self._source, self.location = source, location
        self._numbers = itertools.count(1)
        self.rows: dict[str, Ids] = {}
        self.failing: set[str] = set()
        self.write_source()

    # -- the source ---------------------------------------------------------------------------------------------------

    def new_ids(self, count: int) -> Ids:
        return frozenset(next(self._numbers) for _ in range(count))

    def write_source(self) -> None:
        rows = {day: sorted(ids) for day, ids in self.rows.items()}
        self._source.write_text(json.dumps({"rows": rows, "failing": sorted(self.failing)}))

    # -- tables, past the product -------------------------------------------------------------------------------------

    def table(self, asset: str) -> Table:
        """The ids by Dagster's key."""
        root = f"{self.root}/{asset}"
        if ASSETS[asset].spec.format == "delta":
            try:
                table = DeltaTable(f"s3://{root}", storage_options=delta_options(self.server)).to_pyarrow_table(
                    columns=["id", COLUMN[asset]]
                )
            except TableNotFoundError:
                return {}
            pairs = [(str(row[COLUMN[asset]]), row["id"]) for row in table.to_pylist()]
        else:
            bucket, _, prefix = root.partition("/")
            pairs = []
            for key in self.server.keys(bucket, f"{prefix}/{COLUMN[asset]}="):
                if key.endswith(".parquet"):
                    body = self.server.admin.get_object(Bucket=bucket, Key=key)["Body"].read()
                    day = key.removeprefix(f"{prefix}/{COLUMN[asset]}=").partition("/")[0]
                    pairs += [(day, number) for number in pq.read_table(io.BytesIO(body))["id"].to_pylist()]
        found: dict[str, list[int]] = {}
        for key, number in pairs:
            found.setdefault(key, []).append(number)
        doubled = {key for key, ids in found.items() if len(set(ids)) < len(ids)}
        assert not doubled, f"{asset} has rows twice in {doubled}: {found}"
        return {key: frozenset(ids) for key, ids in found.items()}

    def dataset(self, asset: str) -> Dataset:
        """As a terminal opens it: a filesystem of its own."""
        return Dataset.open(self.lake.uri(asset), view_freshness=0, **self.server.storage_options)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def launch(
        self,
        job: str,
        keys: Sequence[str] = (),
        *,
        only: str = "",
        config: Mapping[str, Any] | None = None,
        fate: Fate | None = None,
    ) -> dg.DagsterRun:
        """As from the launchpad."""
        span = (
            {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
            if keys
            else {}
        )
        tags = {"dagster/partition": keys[0]} if len(keys) == 1 else span
        selector: dict[str, Any] = {
            "repositoryName": "__repository__",
            "repositoryLocationName": self.location,
            "jobName": job,
        } | ({"assetSelection": [{"path": [only]}]} if only else {})
        ops = {"ops": {f"{job}_op": {"config": dict(config)}}} if config is not None else {}
        params = {
            "selector": selector,
            "runConfigData": ops,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        return self._launched("launchRun", _LAUNCH, params, fate)

    def again(self, run: dg.DagsterRun, strategy: Strategy, fate: Fate | None = None) -> dg.DagsterRun:
        """As the button of a finished run does."""
        params = {"parentRunId": run.run_id, "strategy": strategy}
        return self._launched("launchRunReexecution", _AGAIN, params, fate)

    def _launched(self, name: str, mutation: str, params: dict[str, Any], fate: Fate | None) -> dg.DagsterRun:
        with FATES.ahead(fate):
            answer = status.ask(self.context, mutation, params=params)[name]
        if FATES.unexpected is not None:
            raise FATES.unexpected
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run = self.instance.get_run_by_id(answer["run"]["runId"])
        assert run
        return run

    def backfill(self, keys: Sequence[str], assets: Sequence[str], fate: Fate | None = None) -> list[dg.DagsterRun]:
        """As from an asset's page, and what the daemon makes of it."""
        params = {"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": list(keys)}
        answer = status.ask(self.context, _BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        with FATES.ahead(fate):
            for _ in range(3):
                errors = [error for error in execute_backfill_iteration(self.context, _log) if error]
                assert not errors, errors
        if FATES.unexpected is not None:
            raise FATES.unexpected
        filters = dg.RunsFilter(tags={"dagster/backfill": answer["backfillId"]})
        return list(self.instance.get_runs(filters=filters))

    def materialized(self, run: dg.DagsterRun) -> set[tuple[str, str]]:
        """Assets and keys that a run said it had made."""
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        events = [entry.get_dagster_event() for entry in self.instance.all_logs(run.run_id, of_type=kind)]
        return {(event.asset_key.path[-1], event.partition) for event in events if event.asset_key}

    def why(self, run: dg.DagsterRun) -> str:
        """The run's end, with the errors of its steps."""
        kind = dg.DagsterEventType.STEP_FAILURE
        errors = [
            entry.get_dagster_event().step_failure_data.error
            for entry in self.instance.all_logs(run.run_id, of_type=kind)
        ]
        texts = [(error.cause or error).message.strip().splitlines()[-1] for error in errors if error]
        return f"{run.status.value} {'; '.join(texts)}"[:400]

    # -- the daemon ---------------------------------------------------------------------------------------------------

    def start_sensors(self) -> None:
        for location in self.context.create_request_context().code_locations:
            for repository in location.get_repositories().values():
                for sensor in repository.get_sensors():
                    self.instance.start_sensor(sensor)

    def tick(self, fate: Fate | None = None) -> list[Ticked]:
        """One turn of the sensor daemon: every sensor's tick, and the runs that it asks for."""
        with FATES.ahead(fate), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sensor_daemon, "is_under_min_interval", lambda *_: False)
            for error in sensor_daemon.execute_sensor_iteration(self.context, _log, None, None):
                assert error is None, error
        if FATES.unexpected is not None:
            raise FATES.unexpected
        return list(self._ticked())

    def _ticked(self) -> Iterator[Ticked]:
        for location in self.context.create_request_context().code_locations:
            for repository in location.get_repositories().values():
                for sensor in repository.get_sensors():
                    (tick,) = self.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id, limit=1)
                    yield self._of(tick, location.name, sensor.name)

    def _of(self, tick: InstigatorTick, location: str, sensor: str) -> Ticked:
        assert tick.status in {TickStatus.SUCCESS, TickStatus.SKIPPED}, f"{sensor} in {location}: {tick.error}"
        asked: set[str] = set()
        for run_id in tick.run_ids:
            run = self.instance.get_run_by_id(run_id)
            for op in (run.run_config if run else {}).get("ops", {}).values():
                asked |= {*op["config"].get("partitions", ()), *op["config"].get("unknown", ())}
        return Ticked(location, sensor.removesuffix("_retention"), tick.skip_reason or "", frozenset(asked))

    # -- others -------------------------------------------------------------------------------------------------------

    def others_write(self, asset: str, key: str, ids: Ids) -> bool:
        """Another writer puts rows in place of a partition's, none to delete them; whether it could."""
        root, column = f"{self.root}/{asset}", COLUMN[asset]
        if ASSETS[asset].spec.format == "delta":
            options = delta_options(self.server)
            try:
                if not ids:
                    DeltaTable(f"s3://{root}", storage_options=options).delete(f"{column} = '{key}'")
                    return True
                rows = rows_of({_day(key): sorted(ids)}).append_column(column, pa.array([key] * len(ids)))
                write_deltalake(
                    DeltaTable(f"s3://{root}", storage_options=options),
                    rows,
                    mode="overwrite",
                    predicate=f"{column} = '{key}'",
                )
            except (DeltaError, TableNotFoundError):
                return False
            return True
        bucket, _, prefix = root.partition("/")
        there = [one for one in self.server.keys(bucket, f"{prefix}/{column}={key}/") if one.endswith(".parquet")]
        if not self.server.keys(bucket, f"{prefix}/_lake/"):
            return False
        for one in there:
            self.server.admin.delete_object(Bucket=bucket, Key=one)
        if ids:
            path = f"{root}/{column}={key}/part-others.parquet"
            put(self.server, path, parquet(rows_of({_day(key): sorted(ids)})), ServerSideEncryption="AES256")
        return True


def _day(key: str) -> str:
    return key if len(key) == 10 else f"{key}-01"


@contextmanager
def worlds(
    instance: dg.DagsterInstance, server: Rig, bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], World]]:
    """Makes worlds, one at a time: the instance forgets the one before."""
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    source, numbers = folder / "source.json", itertools.count()
    monkeypatch.setenv(lives_defs.SOURCE, str(source))
    # each sensor's tick opens the instance anew, which takes longer than all that it does
    monkeypatch.setattr(dg.DagsterInstance, "from_ref", staticmethod(lambda _: instance))
    monkeypatch.setattr(dg.DagsterInstance, "__exit__", lambda *_: None)
    with served(instance) as context, watched(instance):

        def begin() -> World:
            warehouse = f"lake://{bucket}/life-{next(numbers)}"
            monkeypatch.setenv("TIERLAKE_WAREHOUSE", warehouse)
            instance.event_log_storage.wipe()
            instance.run_storage.wipe()
            instance.schedule_storage.wipe()
            world = World(context, server, warehouse, source)
            world.start_sensors()
            return world

        yield begin
