"""Which failures Dagster is asked to try again, and what it is told of the others, in real runs."""

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from aiohttp import ServerDisconnectedError
from botocore.exceptions import ClientError
from deltalake.exceptions import DeltaError

from tests.dagster_project.lake_assets import FLIGHTS
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    EndpointUnreachable,
    LakeError,
    ServerError,
    Throttled,
)
from tierlake.dagster_project.automation.jobs import tiering_job
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.failures import RETRIES, dagster_failures, lake_error_in, tick_errors
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import (
    ArchivedError,
    CommitConflict,
    CommitUnknown,
    PartialFailure,
    PolicyRefused,
    SpecError,
    StalePlan,
)

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
AT_ONCE = dg.RetryPolicy(max_retries=2)


def run_of(fail: Callable[[int], None], retry_policy: dg.RetryPolicy | None = None) -> dg.ExecuteInProcessResult:
    """A run whose op calls `fail` with the number of its try."""

    @dg.op(retry_policy=retry_policy)
    def use_the_lake(context: dg.OpExecutionContext) -> None:
        with dagster_failures(context, AT_ONCE):
            fail(context.retry_number)

    @dg.job
    def uses_the_lake() -> None:
        use_the_lake()

    return uses_the_lake.execute_in_process(raise_on_error=False)


def failing(error: Exception, tries: int = 99) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number < tries:
            raise error

    return fail


def outcome(result: dg.ExecuteInProcessResult) -> tuple[bool, int]:
    """Whether it succeeded, and how often it was tried again."""
    return result.success, sum(event.is_step_up_for_retry for event in result.all_events)


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the failure event says, apart from its stack."""
    (failure,) = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    return {"description": failure.description, **{name: value.value for name, value in failure.metadata.items()}}


@pytest.mark.parametrize(
    "kind", [CommitConflict, CommitUnknown, EndpointUnreachable, ServerError, StalePlan, Throttled]
)
def test_what_may_pass_is_tried_again(kind: type[LakeError]) -> None:
    assert outcome(run_of(failing(kind("busy"), tries=2))) == (True, 2)


@pytest.mark.parametrize("kind", [AccessDenied, BadCredentials, PolicyRefused, SpecError])
def test_what_cannot_change_fails_at_once_whatever_the_steps_policy(kind: type[LakeError]) -> None:
    assert outcome(run_of(failing(kind("no")), dg.RetryPolicy(max_retries=5))) == (False, 0)


def test_the_steps_own_policy_says_how_often() -> None:
    assert outcome(run_of(failing(Throttled("slow down")), dg.RetryPolicy(max_retries=1))) == (False, 1)
    assert outcome(run_of(failing(Throttled("slow down")))) == (False, AT_ONCE.max_retries)


def test_what_is_not_ours_is_left_alone() -> None:
    assert outcome(run_of(failing(ZeroDivisionError("theirs"), tries=1), dg.RetryPolicy())) == (True, 1)


def theirs(error: Exception) -> Callable[[int], None]:
    """Code of a package of ours that calls a library, which raises."""
    library = {"__name__": "deltalake.table", "error": error}
    file = str(Path(sysconfig.get_path("purelib")) / "deltalake" / "table.py")
    exec(compile("def call():\n    raise error\n", file, "exec"), library)  # noqa: S102 - a frame as a library has
    ours = {"__name__": "tierlake.pipelines.tables.delta", "call": library["call"]}
    exec(compile("def fail(number):\n    call()\n", __file__, "exec"), ours)  # noqa: S102 - likewise
    found: Callable[[int], None] = ours["fail"]
    return found


def client_error() -> ClientError:
    facts = {"HTTPStatusCode": 403, "RequestId": "R1"}
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": facts}, "GetObject")


DENIED_BY_RUST = (
    "Kernel error -> Error performing GET http://h/b/t/_delta_log/0.json in 1ms - Server returned non-2xx status code: "
    "403 Forbidden: <Error><Code>AccessDenied</Code><Message>no</Message><RequestId>R1</RequestId></Error>"
)


@pytest.mark.parametrize(
    ("error", "code", "request_id"),
    [
        (OSError(DENIED_BY_RUST), "access_denied", "R1"),
        (DeltaError(DENIED_BY_RUST), "access_denied", "R1"),
        (client_error(), "access_denied", "R1"),
        (ServerDisconnectedError(), "endpoint_unreachable", None),
        (TimeoutError("too long"), "endpoint_unreachable", None),
        (pa.ArrowInvalid("not Parquet"), "library_error", None),
        (DeltaError("a log that nobody understands"), "library_error", None),
        (KeyError("deep inside"), "library_error", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_a_library_raised_is_told_in_our_words(error: Exception, code: str, request_id: str | None) -> None:
    result = run_of(theirs(error), dg.RetryPolicy(max_retries=0))
    facts = told(result)
    assert (facts["code"], facts.get("request_id")) == (code, request_id)
    assert facts["hint"]


def test_what_a_users_own_code_raised_is_left_alone_also_from_within_ours() -> None:
    def batches() -> Any:
        yield pa.record_batch({"n": [1]})
        raise pa.ArrowInvalid("mine")

    def reads(_: int) -> None:
        for _batch in batches():
            pass

    for fail in (reads, lambda _: pa.array([1]).cast(pa.struct([])), lambda _: {}["mine"]):
        result = run_of(fail, dg.RetryPolicy(max_retries=0))
        (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert failed.user_failure_data is None


def test_a_tick_fails_with_code_hint_and_request_id() -> None:
    @dg.sensor(job_name="any")
    @tick_errors
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SkipReason:
        assert lake.today() is None
        theirs(OSError(DENIED_BY_RUST))(0)
        return dg.SkipReason("never")

    with pytest.raises(Exception, match="access_denied") as failure:
        tick.evaluate_tick(dg.build_sensor_context(resources={"lake": LakeResource()}))
    told_by_us = lake_error_in(failure.value)
    assert told_by_us is not None
    assert (told_by_us.code, told_by_us.request_id, bool(told_by_us.hint)) == ("access_denied", "R1", True)


@pytest.mark.parametrize("kind", [AccessDenied, Throttled], ids=["at once", "after its tries"])
def test_the_failure_carries_hint_and_request_id(kind: type[LakeError]) -> None:
    error = kind("no luck", hint="ask Ann", request_id="R1", server_code="Why", bucket="b", key="k")
    result = run_of(failing(error))
    facts = {"message": "no luck", "hint": "ask Ann", "request_id": "R1", "server_code": "Why", "bucket": "b"}
    assert told(result) == {"description": str(error), "code": kind.code, "key": "k", **facts}


def test_what_is_left_to_do_is_listed() -> None:
    archived = told(run_of(failing(ArchivedError("frozen", keys=("date=2013-01-02",)))))
    assert archived["partitions"] == ["date=2013-01-02"]
    partial = told(run_of(failing(PartialFailure("in part", failures={"date=2013-01-02": "why"}))))
    assert partial["failures"] == {"date=2013-01-02": "why"}


def test_waits_grow_with_full_jitter() -> None:
    for tried, longest in enumerate((10, 30, 70), start=1):
        waits = [RETRIES.calculate_delay(tried) for _ in range(200)]
        assert 0 <= min(waits) < 0.2 * longest < 0.8 * longest < max(waits) <= longest


def test_a_direct_call_raises_the_error_itself() -> None:
    @dg.asset
    def reads(context: dg.AssetExecutionContext) -> None:
        with dagster_failures(context):
            raise AccessDenied("no")

    with pytest.raises(AccessDenied):
        reads(dg.build_asset_context())


@one_server
def test_an_io_manager_tries_again_where_nobody_answers_and_not_where_it_is_refused(
    instance, lake, monkeypatch
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def numbers() -> Any:
        import pyarrow as pa

        return pa.table({"n": [1]})

    def run() -> dg.ExecuteInProcessResult:
        resources = {"io_manager": LakeParquetIOManager(lake=LakeResource())}
        return dg.materialize([numbers], instance=instance, resources=resources, raise_on_error=False)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = run()
    assert (outcome(refused), told(refused)["code"]) == ((False, 0), "bad_credentials")
    said = told(refused)["request_id"]
    assert [entry for entry in instance.all_logs(refused.run_id) if f"request id {said}" in entry.user_message]

    monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", "http://127.0.0.1:1")
    alone = run()
    assert (outcome(alone), told(alone)["code"]) == ((False, 1), "endpoint_unreachable")


@pytest.mark.slow
@one_server
def test_jobs_say_what_is_missing_at_once(instance, lake) -> None:
    with pytest.raises(dg.Failure, match="no table") as failure:
        tiering_job(FLIGHTS).execute_in_process(instance=instance, resources={"lake": lake})
    assert lake_error_in(failure.value).code == "table_not_found"
