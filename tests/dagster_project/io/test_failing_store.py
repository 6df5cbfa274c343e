"""A store that fails at any request of a step: the run succeeds, or says code, hint and request id in our words.

In the soak the first and the last request of each kind are denied, answered with 503 for good, or cut, for every
act; in the quick one a single request of each.
"""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.dagster_project.ticks import evaluate
from tests.faults.answers import Cut, Refusal
from tests.faults.proxy import Proxy, Request
from tierlake.dagster_project.automation.jobs import expiry_job, tiering_job, undo_job
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.answers import Answer

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

DAYS: Final = time_windows("day", "UTC", "2013-01-01", "2013-01-05")
SPEC: Final = DatasetSpec(
    uri="lake://elsewhere/events",
    partition={"time": {"column": "at", "every": "day", "timezone": "UTC"}},
    tiers=[{"tier": "cold", "after": "30d"}],
    retention={"expire_after": "300d", "grace": "900d"},
)
ASSET: Final = LakeAsset(SPEC, DAYS)
DAY: Final = "2013-01-02"
REQUEST_ID: Final = "REQUEST-1"
FAULTS: Final[dict[str, Answer]] = {
    "denied": Refusal("403 Forbidden", "AccessDenied", REQUEST_ID),
    "busy": Refusal(request_id=REQUEST_ID),
    "cut": Cut(reset=True),
}


def rows(value: int = 1) -> pa.Table:
    at = [datetime(2013, 1, int(DAY[-2:]), hour, tzinfo=UTC) for hour in range(5)]
    return pa.table({"at": pa.array(at, pa.timestamp("us", "UTC")), "value": [value] * len(at)})


def assets() -> list[dg.AssetsDefinition]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(metadata=spec_metadata(SPEC), partitions_def=DAYS)
        def events() -> Any:
            return rows()

        @dg.asset(partitions_def=DAYS)
        def reader(events: pa.Table) -> None:
            assert events.num_rows == rows().num_rows

    return [events, reader]


@dataclass
class Fault:
    """Gives one answer to the request of a number; a store that denies or is busy goes on with that kind of request."""

    answer: Answer | None = None
    number: int = -1
    hit: Request | None = None
    seen: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer | None:
        number = len(self.seen)
        self.seen.append(request)
        if self.answer is None:
            return None
        if number == self.number:
            self.hit = request
        lasts = isinstance(self.answer, Refusal) and self.hit is not None
        if number != self.number and not (lasts and self._kind(request) == self._kind(self.hit)):
            return None
        if isinstance(self.answer, Refusal):
            return replace(self.answer, is_head=request.method == "HEAD")
        return self.answer

    @staticmethod
    def _kind(request: Request | None) -> tuple[str, str]:
        assert request is not None
        return request.method, request.target.partition("?")[0]


@dataclass
class World:
    """One dataset, its jobs, and the proxy before its store."""

    instance: dg.DagsterInstance
    proxy: Proxy
    monkeypatch: pytest.MonkeyPatch
    upstream: str

    def lake(self, endpoint_url: str) -> LakeResource:
        """The lake by way of an endpoint, read from the environment as a run does."""
        self.monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", endpoint_url)
        return LakeResource()

    def store(self, lake: LakeResource) -> dg.ExecuteInProcessResult:
        return self._materialized("events", lake)

    def load(self, lake: LakeResource) -> dg.ExecuteInProcessResult:
        return self._materialized("reader", lake)

    def expire(self, lake: LakeResource) -> dg.ExecuteInProcessResult:
        config = {"ops": {"events_expiry_op": {"config": {"partitions": [DAY]}}}}
        return self._run(expiry_job(ASSET), lake, config)

    def undo(self, lake: LakeResource) -> dg.ExecuteInProcessResult:
        config = {"ops": {"events_undo_expiry_op": {"config": {"partition": DAY}}}}
        return self._run(undo_job(ASSET), lake, config)

    def tier(self, lake: LakeResource) -> dg.ExecuteInProcessResult:
        return self._run(tiering_job(ASSET), lake, {})

    def tick(self, lake: LakeResource) -> Any:
        sensor = dataset_sensor(ASSET)
        defs = dg.Definitions(assets(), jobs=[expiry_job(ASSET)], sensors=[sensor], resources={"lake": lake})
        return evaluate(sensor, self.instance, lake, defs)

    def prepare(self, act: str) -> None:
        """As the act expects it, and with a log of one length: each trial makes the same requests."""
        lake = self.lake(self.upstream)
        clean = lake.dataset("events")
        live = {str(part.key) for part in clean.partitions()}
        if act == "undo" and live:
            clean.plan_expiry(lake.today()).apply()
        elif act != "undo" and (not live or act == "tier"):
            clean.ingest(rows())
        DeltaTable(
            clean.uri.replace("lake", "s3"), storage_options=lake.filesystem().delta_options()
        ).create_checkpoint()

    def _materialized(self, name: str, lake: LakeResource) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            assets(),
            selection=[name],
            instance=self.instance,
            resources={"io_manager": LakeParquetIOManager(lake=lake)},
            partition_key=DAY,
            raise_on_error=False,
        )

    def _run(self, job: dg.JobDefinition, lake: LakeResource, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=self.instance, resources={"lake": lake}, run_config=config, raise_on_error=False
        )


@pytest.fixture
def world(instance, lake, server, monkeypatch) -> Iterator[World]:
    monkeypatch.setenv("TIERLAKE_MAX_RETRIES", "0")
    monkeypatch.setenv("TIERLAKE_RETRY_SECONDS", "0")
    monkeypatch.setattr(dagster_failures.__wrapped__, "__defaults__", (dg.RetryPolicy(max_retries=0),))  # type: ignore[attr-defined]
    Dataset.create(SPEC.model_copy(update={"uri": lake.uri("events")}), fs=lake.filesystem())
    with Proxy(server.endpoint_url) as proxy:
        found = World(instance, proxy, monkeypatch, server.endpoint_url)
        assert found.store(lake).success
        yield found


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the failed step says."""
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None, failed.error_display_string
    return {name: value.value for name, value in failed.user_failure_data.metadata.items()}


def failure_of(tick: Callable[[], object]) -> dict[str, Any] | None:
    """What a tick says that failed; a library's own error is raised."""
    try:
        tick()
    except Exception as error:
        failure: BaseException | None = error
        while failure is not None and not isinstance(failure, dg.Failure):
            failure = failure.__cause__
        if failure is None:
            raise
        return {name: value.value for name, value in failure.metadata.items()}
    return None


def tried(world: World, act: str, fault: str, number: int) -> Fault:
    """One trial; the fault whose `hit` is None where the act makes fewer requests."""
    world.prepare(act)
    hook = Fault(FAULTS[fault], number)
    world.proxy.before = hook
    lake = world.lake(world.proxy.url)
    if act == "tick":
        said = failure_of(lambda: world.tick(lake))
    else:
        result = getattr(world, act)(lake)
        said = None if result.success else told(result)
    if said is not None:
        where = f"{act}, request {number}, {fault}: {hook.hit} -> {said}"
        assert said["code"] not in {"library_error", "unknown"}, where
        assert said.get("hint"), where
        assert fault == "cut" or said.get("request_id") or REQUEST_ID in str(said.get("failures")), where
    return hook


def requests_of(world: World, act: str) -> list[Request]:
    """The requests that an act makes."""
    world.prepare(act)
    counting = Fault()
    world.proxy.before = counting
    found = getattr(world, act)(world.lake(world.proxy.url))
    assert act == "tick" or found.success
    return counting.seen


def first_and_last_of_each_kind(requests: list[Request]) -> list[int]:
    """Numbers of requests: the entries of a log, the records of a journal, ... are a kind each."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for number, request in enumerate(requests):
        path, _, query = request.target.partition("?")
        shape = re.sub(r"[0-9a-f]{8,}|\d+", "#", path + query.partition("prefix=")[2])
        kinds.setdefault((request.method, shape), []).append(number)
    return sorted({number for numbers in kinds.values() for number in (numbers[0], numbers[-1])})


ACTS: Final = ("store", "load", "expire", "undo", "tier", "tick")


@pytest.mark.slow
def test_a_failing_store_is_told_in_our_words(world) -> None:
    for act, fault, place in zip(ACTS, itertools.cycle(FAULTS), itertools.cycle((0.9, 0.5)), strict=False):
        tried(world, act, fault, int(len(requests_of(world, act)) * place))


@pytest.mark.soak
@pytest.mark.parametrize("act", ACTS)
def test_every_kind_of_request_of_an_act(world, act) -> None:
    numbers = first_and_last_of_each_kind(requests_of(world, act))
    assert len(numbers) >= 4
    for fault in FAULTS:
        for number in numbers:
            tried(world, act, fault, number)
