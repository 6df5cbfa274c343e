"""What becomes of events: sums within bounds, under the names of the table."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tierlake.connector import observe
from tierlake.connector.errors import InvalidSetting, LakeError
from tierlake.connector.observe import depth, hooks
from tierlake.connector.observe.events import RequestEvent, SpanContext
from tierlake.connector.observe.exporters import exported
from tierlake.connector.observe.metrics import INSTRUMENTS, Metrics

SPAN = SpanContext("1" * 32, "2" * 16)
REQUEST = ("operation", "server")


def request(**changes):
    values = {
        "operation": "get_object",
        "server": "minio",
        "engine": "obstore",
        "bucket": "b",
        "key": "k",
        "status": 200,
        "code": None,
        "server_code": None,
        "request_id": None,
        "host_id": None,
        "attempt": 1,
        "is_retried": False,
        "is_body": False,
        "bytes_sent": 0,
        "bytes_received": 0,
        "started": 0.0,
        "seconds": 0.004,
        "span": SPAN,
        "parent_id": None,
        "fields": {},
    }
    return RequestEvent(**{**values, **changes})


def scraped(metrics):
    """What a scrape shows: the value of each series."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port(metrics)}/metrics", timeout=5).read().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def port(metrics):
    return metrics._started[0].port


@pytest.fixture
def served():
    """Metrics that a scrape can see; they take what is emitted."""
    made = []

    def make(*datasets):
        metrics = exported(["prometheus:0"], frozenset(datasets))
        observe.add(metrics)
        made.append(metrics)
        return metrics

    return make


def series(name, **labels):
    return (f"tierlake_{name}", *sorted(labels.items()))


def test_a_scrape_shows_the_names_and_labels_of_the_table(served):
    metrics = served("lake://b/t")
    observe.emit(request(operation="put_object", bytes_sent=5))
    observe.emit(request(bytes_received=7, status=206))
    observe.emit(request(status=503, code="throttled", is_retried=True))
    hooks.drop("somebody")
    for one in INSTRUMENTS:
        labels = {label: "lake://b/t" if label == "dataset" else "some" for label in one.labels}
        if one.event_name in {"queue_depth", "dropped_event_count"} or one.kind == "histogram":
            continue
        (observe.count if one.kind == "counter" else observe.gauge)(one.event_name, 1, **labels)
    names = {key[0]: {label for label, _ in key[1:]} - {"le"} for key in scraped(metrics)}
    expected = {}
    for one in INSTRUMENTS:
        endings = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        expected |= {one.scraped_name + ending: set(one.labels) for ending in endings}
    assert names == expected
    assert all(re.fullmatch(r"tierlake_[a-z]+(_[a-z]+)*", name) for name in names)


def test_requests_are_counted_by_what_became_of_them(served):
    metrics = served()
    observe.emit(request(seconds=0.0009))
    observe.emit(request(seconds=0.3, bytes_received=100))
    observe.emit(request(status=404, code="object_not_found"))
    observe.emit(request(status=503, code="throttled", is_retried=True))
    observe.emit(request(status=None, code="endpoint_unreachable", server="unknown"))
    shown = scraped(metrics)
    minio = {"operation": "get_object", "server": "minio"}
    assert shown[series("request_count_total", status_class="2xx", **minio)] == 2
    assert shown[series("request_count_total", status_class="4xx", **minio)] == 1
    assert shown[series("request_count_total", status_class="5xx", **minio)] == 1
    assert shown[series("request_count_total", status_class="none", operation="get_object", server="unknown")] == 1
    assert shown[series("error_count_total", code="object_not_found", kind="answer", **minio)] == 1
    assert shown[series("error_count_total", code="throttled", kind="failure", **minio)] == 1
    assert shown[series("retry_count_total", **minio)] == 1
    assert shown[series("throttle_count_total", **minio)] == 1
    assert shown[series("received_bytes_total", **minio)] == 100
    times = {"status_class": "2xx", **minio}
    assert shown[series("response_time_seconds_bucket", le="0.001", **times)] == 1
    assert shown[series("response_time_seconds_bucket", le="0.25", **times)] == 1
    assert shown[series("response_time_seconds_bucket", le="0.5", **times)] == 2
    assert shown[series("response_time_seconds_count", **times)] == 2
    assert shown[series("response_time_seconds_sum", **times)] == pytest.approx(0.3009)


def test_a_body_that_breaks_off_is_an_error_and_no_other_request(served):
    metrics = served()
    observe.emit(request())
    observe.emit(request(status=None, code="endpoint_unreachable", is_body=True, is_retried=True))
    shown = scraped(metrics)
    assert sum(value for name, value in shown.items() if name[0] == "tierlake_request_count_total") == 1
    assert shown[series("retry_count_total", operation="get_object", server="minio")] == 1
    code = {"code": "endpoint_unreachable", "kind": "failure"}
    assert shown[series("error_count_total", operation="get_object", server="minio", **code)] == 1


def test_an_error_without_a_request_has_its_verb(served):
    metrics = served()
    with pytest.raises(InvalidSetting), observe.span("dataset.ingest", is_verb=True):
        raise InvalidSetting("no such setting")
    labels = {"operation": "dataset.ingest", "code": "invalid_setting", "kind": "failure", "server": "unknown"}
    assert scraped(metrics)[series("error_count_total", **labels)] == 1


def test_only_a_configured_dataset_is_a_label(served):
    metrics = served("lake://b/known/")
    for dataset in ("lake://b/known", "lake://b/other"):
        observe.count("commit_count", format="delta", dataset=dataset)
        observe.gauge("expiry_backlog", 3, dataset=dataset)
    shown = scraped(metrics)
    assert shown[series("commit_count_total", format="delta", dataset="lake://b/known")] == 1
    assert shown[series("commit_count_total", format="delta", dataset="")] == 1
    assert [key for key in shown if key[0] == "tierlake_expiry_backlog"] == [
        series("expiry_backlog", dataset="lake://b/known")
    ]


def test_all_datasets_are_labels_up_to_a_thousand(served):
    metrics = served("*")
    for number in range(1200):
        observe.count("commit_count", format="delta", dataset=f"lake://b/{number}")
        observe.gauge("expiry_backlog", number, dataset=f"lake://b/{number}")
    shown = scraped(metrics)
    assert shown[series("commit_count_total", format="delta", dataset="other")] == 200
    assert sum(key[0] == "tierlake_commit_count_total" for key in shown) == 1001
    assert sum(key[0] == "tierlake_expiry_backlog" for key in shown) == 1000


def test_the_series_are_bounded_whatever_events_say():
    metrics = Metrics()
    for number in range(400):
        for other in range(40):
            metrics.take(request(operation=f"o{number}", code=f"c{other}", server=f"s{number % 7}"))
    for instrument in INSTRUMENTS:
        if instrument.kind != "histogram":
            assert len(metrics.values(instrument)) <= 10_001
    errors = next(one for one in INSTRUMENTS if one.event_name == "error_count")
    assert sum(value for _, value in metrics.values(errors)) == 16_000
    assert sum(sum(one.counts) for _, one in metrics.distributions()) == 16_000


def test_queue_depth_is_what_is_under_way(served):
    metrics = served()
    with depth.within("running"), depth.within("running"), depth.within("waiting"):
        shown = scraped(metrics)
    assert shown[series("queue_depth", state="running")] == 2
    assert shown[series("queue_depth", state="waiting")] == 1
    assert scraped(metrics)[series("queue_depth", state="running")] == 0


def test_an_unknown_metric_costs_its_event_alone(served):
    metrics = served()
    before = hooks.dropped().get("metrics", 0)
    observe.count("no_such_metric")
    observe.count("row_count", 2, outcome="accepted", dataset="")
    assert hooks.dropped()["metrics"] == before + 1
    assert scraped(metrics)[series("row_count_total", outcome="accepted", dataset="")] == 2


def test_a_label_or_a_value_that_cannot_be_shown_costs_no_scrape(served):
    metrics = served("*")
    before = hooks.dropped().get("metrics", 0)
    observe.gauge("stored_rows", 7, tier=1, dataset="lake://b/\udc80")
    observe.gauge("stored_rows", None, tier="hot", dataset="lake://b/t")
    observe.gauge("stored_rows", "many", tier="hot", dataset="lake://b/t")
    observe.count("cache_count", cache=None, result="hit")
    shown = scraped(metrics)
    assert shown[series("stored_rows", tier="1", dataset="lake://b/\\udc80")] == 7
    assert shown[series("cache_count_total", cache="None", result="hit")] == 1
    assert hooks.dropped()["metrics"] == before + 2


class Abandoned:
    """Garbage in a cycle whose finalizer waits for a request that another thread makes, as an unclosed file's does."""

    def __init__(self, was_counted):
        self.was_counted, self.own = was_counted, self

    def __del__(self):
        thread = threading.Thread(target=lambda: observe.emit(request()), daemon=True)
        thread.start()
        thread.join(5)
        self.was_counted.append(not thread.is_alive())


def test_a_finalizer_within_a_scrape_waits_for_nobody(served):
    metrics = served()
    for number in range(100):
        observe.emit(request(operation=f"o{number}"))
    counts = next(one for one in INSTRUMENTS if one.event_name == "request_count")
    was_counted: list[bool] = []
    threshold = gc.get_threshold()
    try:
        for look in (lambda: metrics.values(counts), metrics.distributions):
            gc.disable()
            Abandoned(was_counted)
            gc.set_threshold(20)
            gc.enable()
            look()
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
    gc.collect()
    assert was_counted == [True, True]


def test_an_event_does_not_wait_for_ever_for_whoever_counts():
    metrics, held, done = Metrics(), threading.Event(), threading.Event()

    def hold():
        with metrics._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    before = hooks.dropped().get("metrics", 0)
    metrics.take(request())
    done.set()
    thread.join()
    assert hooks.dropped()["metrics"] == before + 1
    metrics.close()


def test_many_threads_lose_nothing(served):
    metrics = served()
    threads = [
        threading.Thread(target=lambda: [observe.emit(request(bytes_sent=1)) for _ in range(2000)]) for _ in range(8)
    ]
    for one in threads:
        one.start()
    scrapes = [scraped(metrics) for _ in range(5)]
    for one in threads:
        one.join()
    assert scraped(metrics)[series("sent_bytes_total", operation="get_object", server="minio")] == 16_000
    assert scrapes


@pytest.mark.parametrize(
    ("exporters", "named"),
    [
        (["graphite:2003"], "graphite"),
        (["prometheus"], "port"),
        (["prometheus:http"], "port"),
        (["prometheus:70000"], "port"),
        (["prometheus:user:hush@host:9000"], "port"),
        (["pushgateway:"], "URL"),
        (["pushgateway:ftp://host"], "URL"),
        (["pushgateway:http://user:hush@host"], "user name or password"),
        (["pushgateway:http://host?token=hush"], "query"),
        (["pushgateway:http://[::1"], "no URL"),
        (["otlp:http://host"], "otlp"),
    ],
)
def test_a_wrong_exporter_is_named(exporters, named):
    with pytest.raises(InvalidSetting, match=named) as raised:
        exported(exporters, frozenset())
    assert "hush" not in str(raised.value)


def _child_of(parent_port, results):
    """In a forked child: what its own metrics have, and whether it holds the parent's port."""
    hooks.sinks()[-1].take(request(operation="put_object"))
    metrics = hooks.sinks()[-1]
    counts = next(one for one in INSTRUMENTS if one.event_name == "request_count")
    results.put((metrics.values(counts), port(metrics) != parent_port, dict(depth.depths()), dict(hooks.dropped())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_counts_its_own(served):
    metrics = served()
    observe.emit(request())
    hooks.drop("somebody")
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with metrics._lock, hooks._lock, depth.within("running"):  # as another thread may hold them
        child = context.Process(target=_child_of, args=(port(metrics), results))
        child.start()
    values, is_other_port, depths, dropped = results.get()
    child.join(10)
    assert child.exitcode == 0
    assert values == [(("put_object", "2xx", "minio"), 1)]
    assert is_other_port
    assert depths == {"running": 0, "waiting": 0}
    assert dropped == {}
    shown = scraped(metrics)
    assert shown[series("request_count_total", operation="get_object", server="minio", status_class="2xx")] == 1


def test_every_code_of_the_tree_has_a_kind():
    def below(kind):
        return {kind.code} | {code for one in kind.__subclasses__() for code in below(one)}

    metrics = Metrics()
    for code in below(LakeError):
        metrics.take(request(status=400, code=code))
    errors = next(one for one in INSTRUMENTS if one.event_name == "error_count")
    assert {labels[1] for labels, _ in metrics.values(errors)} == below(LakeError)
    assert {labels[2] for labels, _ in metrics.values(errors)} <= {"answer", "failure"}
