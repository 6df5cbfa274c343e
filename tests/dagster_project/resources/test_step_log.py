"""What a step's own log has of its requests and errors, in real runs."""

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy, Request
from tierlake.connector import observe
from tierlake.connector.errors import LakeError, ObjectNotFound
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


@pytest.fixture
def busy(lake, server, monkeypatch) -> Iterator[None]:
    """The store asks to slow down, once for each kind of request."""
    seen: set[str] = set()

    def slow_down(request: Request) -> Refusal | None:
        if request.method in seen:
            return None
        seen.add(request.method)
        return Refusal(request_id="R1", is_head=request.method == "HEAD")

    with Proxy(server.endpoint_url, before=slow_down) as proxy:
        monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield


def run_of(work: Callable[[Any, LakeResource], None], instance: dg.DagsterInstance, **options: Any) -> Any:
    """A run whose only op works with the resource."""

    @dg.op
    def use_the_lake(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        work(context, lake)

    @dg.job(**options)
    def uses_the_lake() -> None:
        use_the_lake()

    config = {"loggers": {name: {} for name in options.get("logger_defs", {})}}
    resources = {"lake": LakeResource()}
    return uses_the_lake.execute_in_process(config, instance=instance, resources=resources, raise_on_error=False)


def lines(instance: dg.DagsterInstance, run: Any, level: int) -> list[str]:
    """What a step logged at a level, Dagster's own events left out."""
    observe.flush(5)
    entries = [entry for entry in instance.all_logs(run.run_id) if entry.dagster_event is None]
    assert {entry.step_key for entry in entries} <= {"use_the_lake", "numbers"}
    return [entry.user_message for entry in entries if entry.level == level]


def write(lake: LakeResource) -> str:
    fs = lake.filesystem()
    path = f"{lake.uri('x').removeprefix('lake://')}/a"
    fs.pipe_file(path, b"1")
    fs.cat_file(path)
    return path


@pytest.mark.parametrize("guarded", [True, False], ids=["ours", "anybody's"])
def test_a_retried_request_is_a_warning_of_the_step(guarded, busy, instance, server) -> None:
    def work(context: Any, lake: LakeResource) -> None:
        if guarded:
            with dagster_failures(context):
                write(lake)
        else:
            write(lake)

    run = run_of(work, instance)
    assert run.success
    warnings = lines(instance, run, logging.WARNING)
    assert [line for line in warnings if "operation=put_object" in line]
    assert all(line.startswith("Request failed and is tried again ") for line in warnings)
    assert all("request_id=R1" in line and "code=throttled" in line for line in warnings)
    assert lines(instance, run, logging.INFO) == []
    assert not observe.is_on()


def test_a_steps_log_ends_with_the_step_whoever_keeps_its_context(lake, instance, server) -> None:
    kept: list[object] = []

    def work(context: Any, lake: LakeResource) -> None:
        kept.append(dg.OpExecutionContext.get())
        write(lake)

    assert run_of(work, instance).success
    assert kept
    assert not observe.is_on()


def test_with_lines_on_all_of_them_are_the_steps(lake, instance, monkeypatch, capsys, server) -> None:
    monkeypatch.setenv("TIERLAKE_LOG", "json")

    def work(context: Any, lake: LakeResource) -> None:
        with dagster_failures(context):
            write(lake)

    run = run_of(work, instance)
    observe.flush(5)
    successes = [line for line in lines(instance, run, logging.INFO) if line.startswith("Request succeeded")]
    on_stderr = [line for line in capsys.readouterr().err.splitlines() if '"message": "Request succeeded"' in line]
    assert len(successes) == len(on_stderr) >= 2
    assert len([line for line in successes if "operation=put_object" in line]) == 1


def failing(context: Any, lake: LakeResource) -> None:
    with dagster_failures(context):
        lake.filesystem().cat_file("no-such-bucket-of-ours/none")


def handling(context: Any, lake: LakeResource) -> None:
    with dagster_failures(context), pytest.raises(LakeError):
        lake.filesystem().cat_file("warehouse/../x")


def unguarded(context: Any, lake: LakeResource) -> None:
    lake.filesystem().cat_file("warehouse/../x")


@pytest.mark.parametrize(
    ("work", "success", "code"),
    [
        (failing, False, "bucket_not_found"),
        (handling, True, "invalid_name"),
        (unguarded, False, "invalid_name"),
    ],
)
def test_an_error_is_one_line_of_the_step(work, success, code, lake, instance, server) -> None:
    run = run_of(work, instance)
    assert run.success == success
    named = [line for line in lines(instance, run, logging.ERROR) if code in line]
    assert len(named) == 1


class Full(logging.Logger):
    """A logger that has no room for lines of ours."""

    def log(self, _level: int, message: object, *_: Any, **__: Any) -> None:
        if "Request failed" in str(message):
            raise OSError("no space left")


@dg.logger
def full(_: dg.InitLoggerContext) -> logging.Logger:
    return Full("full")


def test_a_log_that_takes_nothing_does_not_fail_the_step(busy, instance, server) -> None:
    def work(context: Any, lake: LakeResource) -> None:
        with dagster_failures(context):
            write(lake)

    before = observe.dropped().get("dagster", 0)
    assert run_of(work, instance, logger_defs={"full": full}).success
    assert observe.dropped()["dagster"] > before


def test_an_io_manager_logs_in_its_step(busy, instance, server) -> None:
    @dg.asset
    def numbers() -> pa.Table:
        return pa.table({"n": [1]})

    resources = {"io_manager": LakeParquetIOManager(lake=LakeResource())}
    run = dg.materialize([numbers], instance=instance, resources=resources)
    warnings = lines(instance, run, logging.WARNING)
    assert [line for line in warnings if "operation=put_object" in line]
    assert all("code=throttled" in line for line in warnings)


def test_what_happens_outside_of_steps_is_nobodys(lake, instance, server) -> None:
    with pytest.raises(ObjectNotFound):
        lake.filesystem().cat_file(f"{lake.uri('x')}/none")
    gc.collect()  # a step that failed is in the frames of its error
    assert not observe.is_on()
