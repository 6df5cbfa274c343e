"""Where metrics go, and what an address that is taken, down or silent costs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import metrics as api
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from tests.connector.observe.test_metrics import port, request
from tests.polling import until
from tierlake.connector import observe
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import configuration, hooks
from tierlake.connector.observe.exporters import exported
from tierlake.connector.observe.instruments import BUCKETS
from tierlake.connector.observe.metrics import INSTRUMENTS, Metrics
from tierlake.connector.observe.push_gateway import PushGateway

CODE = """
import sys, time
from tierlake.connector import observe
from tests.connector.observe.test_metrics import request
observe.configure(observe.Observing(metrics=sys.argv[1], metrics_datasets="*"))
begin = time.perf_counter()
for _ in range(100):
    observe.emit(request())
print(time.perf_counter() - begin, flush=True)
"""
EXIT_SECONDS = 2.0


def added(*exporters):
    metrics = exported(list(exporters), frozenset({"*"}))
    observe.add(metrics)
    return metrics


def dropped(name):
    return hooks.dropped().get(name, 0)


# -- a scrape ---------------------------------------------------------------------------------------------------------


def test_a_port_in_use_costs_a_warning_and_the_metrics(caplog):
    before = dropped("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as other, caplog.at_level(logging.WARNING, "tierlake.connector"):
        taken = other.getsockname()[1]
        added(f"prometheus:{taken}")
    assert f"127.0.0.1:{taken}" in caplog.text
    observe.emit(request())
    observe.emit(request())
    assert dropped("prometheus") == before + 2


def test_a_host_that_is_not_here_costs_no_more(caplog):
    with caplog.at_level(logging.WARNING, "tierlake.connector"):
        added("prometheus:192.0.2.1:0")
    assert "192.0.2.1" in caplog.text
    observe.emit(request())


def test_metrics_that_are_configured_anew_keep_the_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    for datasets in ("lake://b/one", "lake://b/two"):
        observe.configure(observe.Observing(metrics=f"prometheus:{free}", metrics_datasets=datasets))
        observe.gauge("expiry_backlog", 1, dataset=datasets)
    text = urllib.request.urlopen(f"http://127.0.0.1:{free}/metrics", timeout=5).read().decode()
    assert 'dataset="lake://b/two"' in text
    assert 'dataset="lake://b/one"' not in text


def test_scrapes_at_once_see_the_same():
    metrics = added("prometheus:0")
    observe.count("commit_count", 5, format="delta", dataset="lake://b/t")
    url = f"http://127.0.0.1:{port(metrics)}/metrics"
    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(lambda _: urllib.request.urlopen(url, timeout=10).read(), range(40)))
    assert len(texts) == 1


def test_openmetrics_and_a_choice_of_names_are_served():
    metrics = added("prometheus:0")
    observe.emit(request())
    url = f"http://127.0.0.1:{port(metrics)}/metrics?name[]=tierlake_request_count_total"
    asked = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    answer = urllib.request.urlopen(asked, timeout=5)  # noqa: S310 -- an address of this test
    assert "openmetrics" in answer.headers["Content-Type"]
    text = answer.read().decode()
    assert "tierlake_request_count_total" in text
    assert "response_time" not in text


def test_a_client_that_sends_nothing_is_in_nobodys_way():
    metrics = added("prometheus:0")
    with socket.create_connection(("127.0.0.1", port(metrics))):
        observe.emit(request())
        assert urllib.request.urlopen(f"http://127.0.0.1:{port(metrics)}/metrics", timeout=5).status == 200
        begin = time.perf_counter()
        hooks.remove(metrics)
        metrics.close()
        assert time.perf_counter() - begin < EXIT_SECONDS


# -- a push gateway ---------------------------------------------------------------------------------------------------


def test_a_push_has_the_job_the_instance_and_the_sums(receiver):
    metrics = added(f"pushgateway:{receiver.url}")
    observe.emit(request())
    metrics.flush(10)
    method, path, body = receiver.received[-1]
    assert method == "PUT"
    assert path.startswith("/metrics/job/tierlake/instance/")
    assert path.endswith((f":{os.getpid()}", f"%3A{os.getpid()}"))
    names = {sample.name for one in text_string_to_metric_families(body.decode()) for sample in one.samples}
    assert "tierlake_request_count_total" in names


def test_it_pushes_again_and_again(receiver):
    metrics = Metrics([PushGateway(receiver.url, seconds=0.05)])
    until(lambda: len(receiver.received) > 2, 20)
    metrics.close()


def test_a_gateway_that_is_down_is_counted():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    metrics = added(f"pushgateway:{url}")
    before = dropped("pushgateway")
    observe.emit(request())
    metrics.flush(10)
    assert dropped("pushgateway") == before + 1


# -- OpenTelemetry ----------------------------------------------------------------------------------------------------


def received_by(receiver):
    """The metrics that a collector has taken last, by name, and their resource."""
    message = ExportMetricsServiceRequest.FromString(receiver.received[-1][2])
    resource = {one.key: one.value.string_value for one in message.resource_metrics[0].resource.attributes}
    return {one.name: one for one in message.resource_metrics[0].scope_metrics[0].metrics}, resource


def test_a_collector_gets_the_same_under_opentelemetrys_names(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    metrics = added("otlp")
    observe.emit(request(bytes_received=7))
    observe.emit(request(bytes_received=7))
    observe.gauge("stored_bytes", 5, tier="hot", dataset="lake://b/t")
    metrics.flush(10)
    assert receiver.received[-1][:2] == ("POST", "/v1/metrics")
    sent, resource = received_by(receiver)
    assert resource["service.name"] == "tierlake"
    assert resource["deployment.environment"] == "test"
    assert sent["tierlake_received_bytes"].sum.data_points[0].as_int == 14
    assert sent["tierlake_received_bytes"].sum.is_monotonic
    assert sent["tierlake_stored_bytes"].gauge.data_points[0].as_int == 5
    times = sent["tierlake_response_time_seconds"].histogram.data_points[0]
    assert (times.count, tuple(times.explicit_bounds)) == (2, BUCKETS)
    kinds = {one.name: one.unit for one in INSTRUMENTS}
    assert {name: one.unit for name, one in sent.items()} == {name: kinds[name] for name in sent}


def test_a_service_name_of_the_environment_stays(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    added("otlp").flush(10)
    observe.emit(request())
    hooks.flush(10)
    assert received_by(receiver)[1]["service.name"] == "nightly"


def test_a_collector_that_is_down_is_counted(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    metrics = added("otlp")
    before = dropped("otlp")
    observe.emit(request())
    metrics.flush(10)
    assert dropped("otlp") > before


def test_a_wrong_interval_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "soon")
    with pytest.raises(InvalidSetting, match="OTEL_METRIC_EXPORT_INTERVAL"):
        added("otlp")


def test_the_applications_own_provider_shows_them():
    reader = InMemoryMetricReader()
    api.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    metrics = added("otel")
    observe.emit(request())
    observe.emit(request())
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics
    shown = {one.name: one for scope in data if scope.scope.name == "tierlake" for one in scope.metrics}
    assert shown["tierlake_request_count"].data.data_points[0].value == 2
    assert shown["tierlake_response_time_seconds"].data.data_points[0].explicit_bounds == BUCKETS
    hooks.remove(metrics)
    again = added("otel")
    metrics.close()
    observe.emit(request())
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics
    shown = {one.name: one for scope in data if scope.scope.name == "tierlake" for one in scope.metrics}
    assert [one.value for one in shown["tierlake_request_count"].data.data_points] == [1]
    again.flush(1)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "tierlake.connector.observe.prometheus", raising=False)
    with pytest.raises(InvalidSetting, match="prometheus_client") as raised:
        added("prometheus:0")
    assert "tierlake[observe]" in str(raised.value.hint)


# -- what is down or silent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", ["pushgateway", pytest.param("otlp", marks=pytest.mark.slow)])
def test_what_never_answers_delays_neither_work_nor_exit(exporter, black_hole):
    text = f"pushgateway:{black_hole}" if exporter == "pushgateway" else "otlp"
    variables = {**os.environ, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": black_hole}
    command = [sys.executable, "-c", CODE, text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True) as child:
        assert child.stdout is not None
        work = float(child.stdout.readline())
        begin = time.perf_counter()
        assert child.wait(30) == 0
        assert work < 0.5
        assert time.perf_counter() - begin < EXIT_SECONDS + 1.0  # the interpreter's own end, on a busy machine


def test_both_together_share_the_time_of_an_exit(black_hole, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", black_hole)
    metrics = added("otlp", f"pushgateway:{black_hole}", "prometheus:0")
    observe.emit(request())
    before = dropped("otlp"), dropped("pushgateway")
    begin = time.perf_counter()
    metrics.flush(0.4)
    assert time.perf_counter() - begin < 1.0
    assert (dropped("otlp"), dropped("pushgateway")) == (before[0] + 1, before[1] + 1)


def _push_from_child(url):
    observe.emit(request(operation="head_object"))
    hooks.flush(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("exporter", ["pushgateway", "otlp"])
def test_a_forked_child_sends_its_own(exporter, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    metrics = added(f"pushgateway:{receiver.url}" if exporter == "pushgateway" else "otlp")
    observe.emit(request())
    metrics.flush(10)
    child = multiprocessing.get_context("fork").Process(target=_push_from_child, args=(receiver.url,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    body = receiver.received[-1][2]
    assert b"head_object" in body
    assert b"get_object" not in body


def _emit_in_spawned(results):
    observe.configure(observe.Observing(metrics="prometheus:0"))
    observe.emit(request())
    counts = next(one for one in INSTRUMENTS if one.event_name == "request_count")
    results.put(configuration._configured.sinks[0].values(counts))


def test_a_spawned_child_has_its_own():
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    child = context.Process(target=_emit_in_spawned, args=(results,))
    child.start()
    assert results.get() == [(("get_object", "2xx", "minio"), 1)]
    child.join(20)
    assert child.exitcode == 0
