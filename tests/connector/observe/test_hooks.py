"""Sinks: many, or none; what one of them does changes nothing for the work."""

import gc
import logging
import multiprocessing
import socket
import sys
import threading
import weakref

import pytest

from tests.observed import Recorder, recording
from tests.polling import until
from tierlake.connector import observe
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import configuration, hooks


class Broken(Recorder):
    name = "broken"

    def take(self, event):
        raise RuntimeError

    def flush(self, seconds):
        raise OSError


def test_a_sink_that_raises_is_counted_and_the_others_go_on():
    broken, before = Broken(), observe.dropped().get("broken", 0)
    observe.add(broken)
    try:
        with recording() as recorder:
            observe.count("row_count", 3, outcome="accepted")
            observe.flush()
    finally:
        observe.remove(broken)
    assert [event.amount for event in recorder.events] == [3]
    assert observe.dropped()["broken"] == before + 2


def test_a_sink_without_a_name_that_raises_is_counted_too():
    class Nameless:
        def take(self, event):
            raise ValueError

    sink = Nameless()
    observe.add(sink)
    try:
        observe.count("retry_count")
        observe.flush(0.1)
    finally:
        observe.remove(sink)
    assert observe.dropped()["Nameless"] == 2


def test_nothing_is_on_without_a_sink():
    assert not observe.is_on()
    with recording():
        assert observe.is_on()
    assert not observe.is_on()


def test_counting_nothing_says_nothing(recorder):
    observe.count("row_count", 0, outcome="rejected")
    assert recorder.events == []


def test_sinks_that_come_and_go_while_events_pass():
    stop = threading.Event()

    def count():
        while not stop.is_set():
            observe.count("commit_count")

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        with recording() as recorder:
            observe.gauge("stored_rows", 1)
        assert any(event.name == "stored_rows" for event in recorder.events)
    stop.set()
    for thread in threads:
        thread.join()
    assert hooks.sinks() == ()


def _dropped_in_child(queue):
    hooks.drop("child")
    queue.put(observe.dropped()["child"])


def test_a_forked_child_counts_even_where_the_parent_held_the_lock():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with hooks._lock:
        child = context.Process(target=_dropped_in_child, args=(queue,))
        child.start()
    assert queue.get() == 1
    child.join()


@pytest.mark.parametrize("text", ["zipkin", "file", "file:", "otlp,jaeger"])
def test_an_exporter_that_does_not_exist_is_named(text):
    with pytest.raises(InvalidSetting, match=text.rpartition(",")[2]):
        observe.configure(observe.Observing(traces=text))
    assert not observe.is_on()


@pytest.mark.parametrize(
    ("environ", "metrics", "traces"),
    [
        ({}, None, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "otlp", "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, None, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, "otlp", None),
        ({"OTEL_METRICS_EXPORTER": "console,otlp"}, "otlp", None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}, None, None),
    ],
)
def test_opentelemetrys_variables(environ, metrics, traces):
    observing = observe.Observing(log="json").with_variables(environ)
    assert (observing.log, observing.metrics, observing.traces) == ("json", metrics, traces)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_opentelemetrys_variables_without_its_library_cost_a_warning(name, monkeypatch, caplog):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    monkeypatch.setitem(sys.modules, "tierlake.connector.observe.open_telemetry", None)
    for _ in range(2):
        observe.configure(observe.Observing(log="json"))
        assert [sink.name for sink in hooks.sinks()] == ["log"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(InvalidSetting):
        observe.configure(observe.Observing(traces="otlp"))


def test_a_handler_of_logs_may_configure():
    class Handler(logging.Handler):
        def emit(self, record):
            observe.configure(observe.Observing(log="json"))

    handler = Handler()
    logging.getLogger("tierlake").addHandler(handler)
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            wanted = observe.Observing(metrics=f"prometheus:{taken.getsockname()[1]}")
            thread = threading.Thread(target=observe.configure, args=(wanted,), daemon=True)
            thread.start()
            thread.join(10)
    finally:
        logging.getLogger("tierlake").removeHandler(handler)
    assert not thread.is_alive()
    assert configuration.configured() == wanted


def test_what_one_says_nothing_of_the_other_says():
    own = observe.Observing(log="text", log_level="debug")
    sent = observe.Observing("json", "error", 0.5, "otlp", "*", "otlp")
    assert own.or_else(sent) == observe.Observing("text", "debug", 1.0, "otlp", "*", "otlp")
    assert sent.or_else(own) == sent


def test_sinks_that_were_replaced_are_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    replaced = []
    for number in range(4):
        observe.configure(observe.Observing("json", metrics="prometheus:0", traces=f"otlp,file:{tmp_path}/{number}"))
        replaced += [weakref.ref(sink) for sink in hooks.sinks()]
    observe.configure(observe.Observing(log="off"))

    def are_gone():
        gc.collect()
        return all(one() is None for one in replaced)

    until(are_gone, 20)


def test_a_setting_wins_over_opentelemetrys_variables():
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    observing = observe.Observing(metrics="prometheus:9464").with_variables(environ)
    assert (observing.metrics, observing.traces) == ("prometheus:9464", "otlp")
