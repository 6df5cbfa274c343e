"""One trace shows an ingest from the Dagster run to the last PUT, whatever executes its steps."""

import uuid
from collections.abc import Iterator

import dagster as dg
import pytest

from tests.connector.observe.collector import Collector, collector
from tests.connector.observe.samples import TRACE, span_id
from tests.dagster_project.traced_jobs import all_of_it, failing, retried
from tests.polling import until
from tierlake.connector import observe
from tierlake.connector.observe import tracing
from tierlake.dagster_project.executors.configured import VARIABLE
from tierlake.dagster_project.resources.failures import tick_errors


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without traces."""
    return seaweedfs


@pytest.fixture
def own(monkeypatch) -> Iterator[Collector]:
    with collector() as own:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{own.url}/v1/traces")
        monkeypatch.setenv("TIERLAKE_TRACES", "otlp")
        yield own
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        observe.configure(observe.Observing(log="off"))


def check_run(own: Collector, run_id: str, trace_id: str, parent_id: str | None) -> None:
    """Each step has one span, and everything else is within one of them, to the last PUT."""
    steps = {"dagster.events", "dagster.counted"}
    until(lambda: {span.name for span in own.spans} >= steps, 10)
    assert own.trace_ids == {trace_id}
    assert sorted(span.name for span in own.spans if span.name.startswith("dagster.")) == sorted(steps)
    by_id = {span.span_id: span for span in own.spans}
    roots = [span for span in own.spans if span.parent_id not in by_id]
    assert ({span.name for span in roots}, {span.parent_id for span in roots}) == (steps, {parent_id})
    for root in roots:
        assert root.attributes["tierlake.run_id"] == run_id
        assert root.attributes["tierlake.job"] == "all_of_it"
        assert root.attributes["tierlake.step"] == root.name.removeprefix("dagster.")
    of_step = {root.name: root.span_id for root in roots}
    puts = [span for span in own.named("put_object") if "/date=" in span.attributes["aws.s3.key"]]
    last = max(own.named("put_object"), key=lambda span: span.end)
    for put in (*puts, last):
        assert root_of(put, by_id) == of_step["dagster.events"]
        assert put.attributes["tierlake.run_id"] == run_id
    assert len(puts) == 4
    (ingest,) = own.named("dataset.ingest")
    assert ingest.parent_id == of_step["dagster.events"]
    assert {span.parent_id for name in ("dataset.to_pandas", "dataset.read") for span in own.named(name)} == {
        of_step["dagster.counted"]
    }
    gets = [span for span in own.named("get_object") if root_of(span, by_id) == of_step["dagster.counted"]]
    assert any(by_id[get.parent_id].name == "fs.open" for get in gets), "of pandas, in Arrow's threads"


def root_of(span, by_id) -> str:
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
    return span.span_id


def test_in_process(own, lake, instance) -> None:
    result = all_of_it().execute_in_process(instance=instance)
    observe.flush(5)
    check_run(own, result.run_id, uuid.UUID(result.run_id).hex, None)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["multiprocess", "dask"])
def test_in_processes(own, lake, instance, executor, monkeypatch) -> None:
    if executor == "dask":
        pytest.importorskip("dagster_dask")
    monkeypatch.setenv(VARIABLE, executor)
    result = dg.execute_job(dg.reconstructable(all_of_it), instance)
    assert result.success
    check_run(own, result.run_id, uuid.UUID(result.run_id).hex, None)


def test_a_tag_puts_a_run_into_another_trace(own, lake, instance) -> None:
    tags = {"traceparent": f"00-{TRACE}-{span_id(7)}-01"}
    result = all_of_it().execute_in_process(instance=instance, tags=tags)
    observe.flush(5)
    check_run(own, result.run_id, TRACE, span_id(7))


def test_the_environment_does_too(own, lake, instance, monkeypatch) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{span_id(8)}-01")
    result = all_of_it().execute_in_process(instance=instance)
    observe.flush(5)
    check_run(own, result.run_id, TRACE, span_id(8))


def test_a_step_that_fails_ends_its_span_with_the_code(own, lake, instance) -> None:
    result = failing.execute_in_process(instance=instance, raise_on_error=False)
    observe.flush(5)
    (step,) = own.named("dagster.missing")
    assert (step.attributes["error.type"], step.status) == ("table_not_found", 2)
    assert not instance._subscribers[result.run_id]


def test_each_attempt_at_a_step_has_a_span(lake, instance, recorder) -> None:
    assert retried.execute_in_process(instance=instance).success
    first, second = (one for one in recorder.spans if one.name == "dagster.flaky")
    assert (first.code, second.code, first.span.trace_id) == ("OSError", None, second.span.trace_id)
    inside = {one.parent_id for one in recorder.spans if one.name == "fs.exists"}
    assert inside == {first.span.span_id, second.span.span_id}
    assert not tracing.has_span()


def test_each_tick_of_a_sensor_is_a_trace_of_its_own(recorder) -> None:
    @tick_errors
    def tick(_: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason("nothing to do")

    for _ in range(2):
        tick(dg.build_sensor_context(sensor_name="flights_expiry_sensor"))
    first, second = recorder.spans
    assert (first.name, first.parent_id, first.attributes) == (
        "dagster.tick",
        None,
        {"sensor": "flights_expiry_sensor"},
    )
    assert first.span.trace_id != second.span.trace_id


def test_without_observing_dagster_tells_nobody(lake, instance) -> None:
    result = all_of_it().execute_in_process(instance=instance)
    assert not instance._subscribers[result.run_id]
