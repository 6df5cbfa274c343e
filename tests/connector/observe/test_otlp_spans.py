"""Spans at a collector: what they say, and what happens when it is down, hangs, or is slower than the work."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.connector.observe.collector import Collector, collector
from tests.connector.observe.samples import TRACE, request, span_id, verb
from tests.polling import until
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks, tracing
from tierlake.connector.observe.events import Count, SpanContext
from tierlake.connector.observe.otlp_spans import OtlpSpans


@pytest.fixture(autouse=True)
def _sampled_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_is_kept", tracing._is_kept)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as own:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", own.url)
        yield own


def test_a_request_is_a_client_span_inside_its_verb() -> None:
    exporter = InMemorySpanExporter()
    sink = OtlpSpans(SimpleSpanProcessor(exporter))
    failed = request(3, 1, status=503, code="throttled", server_code="SlowDown", attempt=2, is_retried=True)
    missing = request(4, 1, operation="head_object", status=404, code="object_not_found", request_id=None, host_id=None)
    for event in (request(2, 1), failed, missing, verb(1), Count("commit_count")):
        sink.take(event)
    put, again, head, ingest = exporter.get_finished_spans()
    assert (put.name, put.kind, put.parent.span_id, ingest.kind) == (
        "put_object",
        SpanKind.CLIENT,
        1,
        SpanKind.INTERNAL,
    )
    assert dict(put.attributes) == {
        "rpc.system": "aws-api",
        "rpc.service": "S3",
        "rpc.method": "PutObject",
        "aws.s3.bucket": "b",
        "aws.s3.key": "k/ü.parquet",
        "aws.request_id": "R1",
        "aws.extended_request_id": "H1",
        "http.response.status_code": 200,
        "http.request.body.size": 7,
        "tierlake.attempt": 1,
        "tierlake.server": "minio",
        "tierlake.engine": "aiobotocore",
        "tierlake.dataset": "lake://b/k",
    }
    assert (put.start_time, put.end_time) == (1_700_000_000_250_000_000, 1_700_000_000_750_000_000)
    assert (again.status.status_code, again.attributes["error.type"]) == (StatusCode.ERROR, "throttled")
    assert again.attributes["http.request.resend_count"] == 1
    assert (head.status.status_code, head.attributes["error.type"]) == (StatusCode.UNSET, "object_not_found")
    assert (ingest.parent, ingest.context.trace_id) == (None, int(TRACE, 16))
    assert ingest.attributes["tierlake.partition"] == "date=2013-01-01"


def test_a_collector_gets_them_with_the_headers_and_the_resource_of_the_environment(own, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=lake")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    sink = OtlpSpans.exported()
    sink.take(request(2, 1))
    sink.take(verb(1))
    sink.flush(5)
    assert [(span.name, span.parent_id) for span in own.spans] == [("put_object", span_id(1)), ("dataset.ingest", None)]
    assert own.spans[0].resource["service.name"] == "tierlake"
    assert own.spans[0].resource["deployment.environment.name"] == "prod"
    assert (own.requests[0]["path"], own.requests[0]["x-team"]) == ("/v1/traces", "lake")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    other = OtlpSpans.exported()
    other.take(verb(1))
    other.flush(5)
    assert own.spans[-1].resource["service.name"] == "nightly"


def test_what_is_not_sampled_is_not_exported(own, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    sink = OtlpSpans.exported()
    kept, left = f"{1:032x}", f"{2**64 - 1:032x}"
    assert (tracing.beginning(kept).is_sampled, tracing.beginning(left).is_sampled) == (True, False)
    for trace_id in (kept, left):
        sink.take(verb(1, span=SpanContext(trace_id, span_id(1), tracing.beginning(trace_id).is_sampled)))
    sink.flush(5)
    assert own.trace_ids == {kept}


def test_a_collector_that_refuses_costs_counted_spans(own) -> None:
    own.status = 400
    before = hooks.dropped().get("traces", 0)
    sink = OtlpSpans.exported()
    for number in range(1, 4):
        sink.take(verb(number))
    sink.flush(5)
    until(lambda: hooks.dropped().get("traces", 0) == before + 3, 5)


def test_a_collector_that_hangs_holds_up_nobody(own, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    own.is_open.clear()
    before = hooks.dropped().get("traces", 0)
    sink = OtlpSpans.exported()
    begin = time.monotonic()
    for number in range(1, 101):
        sink.take(verb(number))
    assert time.monotonic() - begin < 1
    assert hooks.dropped()["traces"] == before + 90
    sink.flush(0.2)
    sink.close()
    assert time.monotonic() - begin < 2
    own.is_open.set()
    until(lambda: len(own.spans) == 10, 10)


SCRIPT = """
from tierlake.connector.observe import Observing, configure, span
configure(Observing(traces="otlp"))
with span("work"):
    pass
"""


def only_traces(url: str) -> dict[str, str]:
    rest = {name: text for name, text in os.environ.items() if name != "OTEL_EXPORTER_OTLP_ENDPOINT"}
    return {**rest, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces"}


@pytest.mark.parametrize("is_down", [True, False])
def test_the_end_of_a_process_waits_two_seconds_at_most(own, is_down) -> None:
    own.is_open.clear()
    environ = only_traces("http://127.0.0.1:9" if is_down else own.url)
    ready = [sys.executable, "-c", SCRIPT.replace("    pass", "    print(flush=True)")]
    with subprocess.Popen(ready, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        begin = time.monotonic()
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 4
    assert process.returncode == 0, errors


def test_the_end_of_a_process_sends_what_it_has(own) -> None:
    environ = {**only_traces(own.url), "TRACEPARENT": f"00-{TRACE}-{span_id(7)}-01"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environ, check=True, timeout=60)
    (work,) = own.spans
    assert (work.name, work.trace_id, work.parent_id) == ("work", TRACE, span_id(7))


def test_a_protocol_without_its_library_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(InvalidSetting, match="pip install opentelemetry-exporter-otlp-proto-grpc"):
        OtlpSpans.exported()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "smoke")
    with pytest.raises(InvalidSetting, match="cannot be sent as smoke"):
        OtlpSpans.exported()
