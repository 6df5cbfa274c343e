"""Requests added up for a person, from events and from a scrape."""

from __future__ import annotations

import re
import socket

import pytest
from prometheus_client import generate_latest

from tests.connector.observe.test_metrics import port, request
from tierlake.connector import observe
from tierlake.connector.errors import EndpointUnreachable, InvalidSetting, ServerError
from tierlake.connector.observe.exporters import exported
from tierlake.connector.observe.metrics import Metrics
from tierlake.connector.observe.prometheus import registry_of
from tierlake.connector.observe.scrape import histogram_quantile, parsed, scrape
from tierlake.connector.observe.tally import Tally, quantile

EVENTS = (
    *(request(seconds=number / 1000, bytes_received=10) for number in range(1, 101)),
    request(status=404, code="object_not_found", seconds=0.001),
    request(status=503, code="throttled", is_retried=True, seconds=0.001),
    request(operation="put_object", bytes_sent=7, seconds=2.0),
    request(status=None, code="endpoint_unreachable", is_body=True, is_retried=True),
)


def test_a_tally_has_exact_percentiles():
    tally = Tally()
    for event in EVENTS:
        tally.take(event)
    get, put = tally.operations()
    assert (get.operation, get.requests, get.errors, get.answers) == ("get_object", 102, 2, 1)
    assert (get.retries, get.throttles, get.received_bytes) == (2, 1, 1000)
    assert (get.p50, get.p95, get.p99) == (0.049, 0.095, 0.099)
    assert (put.requests, put.sent_bytes, put.p99) == (1, 7, 2.0)
    assert tally.total().requests == 103
    assert tally.total().p99 == 0.1


def test_a_tally_of_many_is_bounded():
    tally = Tally()
    for number in range(30_000):
        tally.take(request(seconds=number / 30_000))
    (only,) = tally.operations()
    assert only.requests == 30_000
    assert only.p50 == pytest.approx(0.5, abs=0.05)
    assert len(tally._sums["get_object"].times) == 10_000


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([1.0], 0.5, 1.0), ([1.0], 0.99, 1.0), ([1.0, 2.0], 0.5, 1.0), ([1.0, 2.0], 0.51, 2.0)],
)
def test_quantiles(values, share, expected):
    assert quantile(values, share) == expected


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({1.0: 0.0, float("inf"): 0.0}, 0.5, None),
        ({1.0: 10.0, 2.0: 10.0, float("inf"): 10.0}, 0.5, 0.5),
        ({1.0: 5.0, 2.0: 10.0, float("inf"): 10.0}, 0.75, 1.5),
        ({1.0: 5.0, 2.0: 5.0, float("inf"): 10.0}, 0.99, 2.0),
    ],
)
def test_quantiles_of_a_histogram(buckets, share, expected):
    assert histogram_quantile(buckets, share) == expected


def test_a_scrape_says_the_same_within_its_buckets():
    metrics, tally = exported(["prometheus:0"], frozenset({"*"})), Tally()
    observe.add(metrics)
    observe.add(tally)
    for event in EVENTS:
        observe.emit(event)
    observe.gauge("stored_bytes", 5, tier="hot", dataset="lake://b/t")
    observe.gauge("expiry_backlog", 2, dataset="lake://b/t")
    shown = scrape(f"http://127.0.0.1:{port(metrics)}")
    for seen, known in zip((*shown.operations, shown.total), (*tally.operations(), tally.total()), strict=True):
        exact = ("operation", "requests", "errors", "answers", "retries", "throttles", "sent_bytes", "received_bytes")
        assert [getattr(seen, name) for name in exact] == [getattr(known, name) for name in exact]
        assert known.p50 / 3 <= seen.p50 <= known.p50 * 3
    assert shown.gauges == {"lake://b/t": {("stored_bytes", "hot"): 5, ("expiry_backlog", ""): 2}}
    observe.remove(tally)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://user:hush@127.0.0.1:9", "user name or password"),
        ("http://127.0.0.1:9/?token=hush", "a query"),
        ("http://", "no endpoint"),
        ("ftp://127.0.0.1", "no endpoint"),
        ("http://[::1", "no URL"),
    ],
)
def test_a_wrong_address_is_named(url, named):
    with pytest.raises(InvalidSetting, match=named) as raised:
        scrape(url)
    assert "hush" not in str(raised.value)


def test_an_endpoint_that_is_down_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(EndpointUnreachable, match=re.escape(url)):
        scrape(url)


def test_an_endpoint_that_never_answers_is_unreachable(black_hole):
    with pytest.raises(EndpointUnreachable, match="timed out"):
        scrape(black_hole, seconds=0.2)


def test_a_port_in_no_range_is_unreachable():
    with pytest.raises((EndpointUnreachable, InvalidSetting)):
        scrape("http://127.0.0.1:99999")


def test_another_server_is_an_error(receiver):
    with pytest.raises(ServerError, match="501"):
        scrape(receiver.url)


@pytest.mark.parametrize(
    "text",
    [
        *("<html>hello</html>", "", "# HELP other x\n# TYPE other gauge\nother 1\n", "{{{"),
        *('tierlake_request_count_total{operation="a"} NaN\n', 'tierlake_stored_bytes{dataset="lake://a"} +Inf\n'),
        'tierlake_response_time_seconds_bucket{operation="a"} 1\n',
        'tierlake_response_time_seconds_bucket{operation="a",le="x"} 1\n',
        'tierlake_response_time_seconds_bucket{operation="a",le="NaN"} 1\n',
    ],
)
def test_what_is_no_metric_of_ours_is_named(text):
    with pytest.raises(InvalidSetting, match="http://place"):
        parsed(text, "http://place")


def test_what_we_write_we_read():
    metrics = Metrics()
    metrics.take(request(operation='odd"\\\n'))
    assert parsed(generate_latest(registry_of(metrics)).decode(), "x").operations[0].operation == 'odd"\\\n'
