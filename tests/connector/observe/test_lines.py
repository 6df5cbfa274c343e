"""What a line says of an event, and how loud."""

from __future__ import annotations

import logging

import pytest

from tierlake.connector.observe.events import Count, ErrorEvent, Gauge, RequestEvent, SpanContext, SpanEvent
from tierlake.connector.observe.lines import LogRecordEvent, level_of, line_of

SPAN = SpanContext("a" * 32, "b" * 16)
REQUEST = RequestEvent(
    operation="get_object",
    server="minio",
    engine="obstore",
    bucket="warehouse",
    key="flights/date=2013-07-04/origin=JFK/a.parquet",
    status=200,
    code=None,
    server_code=None,
    request_id=None,
    host_id=None,
    attempt=1,
    is_retried=False,
    is_body=False,
    bytes_sent=0,
    bytes_received=10,
    started=100.0,
    seconds=0.25,
    span=SPAN,
    parent_id=None,
    fields={"dataset": "lake://warehouse/flights", "path": "warehouse/flights"},
)
VERB = SpanEvent("dataset.ingest", 100.0, 2.0, SPAN, None, None, {"dataset": "lake://b/d", "run_id": "7"})
ERROR = ErrorEvent("dataset.ingest", "spec_error", "no", None, None, None, 100.0, SPAN, {})


@pytest.mark.parametrize(
    ("event", "level", "message"),
    [
        (REQUEST, logging.INFO, "Request succeeded"),
        (REQUEST._replace(code="object_not_found"), logging.INFO, "Request was answered with no"),
        (REQUEST._replace(code="throttled", is_retried=True), logging.WARNING, "Request failed and is tried again"),
        (REQUEST._replace(code="throttled"), logging.ERROR, "Request failed"),
        (REQUEST._replace(code="server_error", is_body=True), logging.ERROR, "Response broke off"),
        (VERB, logging.INFO, "Verb ended"),
        (VERB._replace(code="spec_error"), logging.INFO, "Verb ended with an error"),
        (VERB._replace(name="fs.cat_file"), logging.DEBUG, "Verb ended"),
        (ERROR, logging.ERROR, "Error raised"),
        (ERROR._replace(code="already_exists"), logging.INFO, "Error raised"),
    ],
)
def test_level_and_sentence(event, level, message):
    line = line_of(event)
    assert line is not None
    assert (line.level, line.message, level_of(event)) == (level, message, level)


@pytest.mark.parametrize("event", [Count("retry_count"), Gauge("stored_bytes", 1)])
def test_counts_and_figures_have_no_line(event):
    assert level_of(event) is None
    assert line_of(event) is None


def test_a_request_names_what_is_known_and_nothing_else():
    line = line_of(REQUEST)
    assert line is not None
    assert line.occurred == 100.25
    assert line.fields == {
        "trace_id": SPAN.trace_id,
        "span_id": SPAN.span_id,
        "operation": "get_object",
        "engine": "obstore",
        "server": "minio",
        "bucket": "warehouse",
        "key": "flights/date=2013-07-04/origin=JFK/a.parquet",
        "status": 200,
        "attempt": 1,
        "bytes": 10,
        "duration_ms": 250.0,
        "dataset": "lake://warehouse/flights",
        "partition": "date=2013-07-04/origin=JFK",
    }


def test_the_partition_that_was_said_is_the_partition():
    line = line_of(REQUEST._replace(fields={"partition": "date=2013-07-05", "team": "ops", "status": "odd"}))
    assert line is not None
    assert (line.fields["partition"], line.fields["team"], line.fields["status"]) == ("date=2013-07-05", "ops", 200)


def test_the_end_of_a_verb_names_no_code_which_the_line_of_its_error_has():
    line = line_of(VERB._replace(code="spec_error"))
    assert line is not None
    assert "code" not in line.fields
    assert (line.fields["operation"], line.fields["run_id"], line.fields["duration_ms"]) == ("dataset.ingest", "7", 2e3)


SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "event",
    [
        REQUEST._replace(key=f"a?X-Amz-Signature={SECRET}"),
        REQUEST._replace(bucket=f"http://user:{SECRET}@host"),
        REQUEST._replace(fields={"dataset": f"lake://user:{SECRET}@b/d"}),
        ERROR._replace(message=f"aws_secret_access_key={SECRET}"),
        VERB._replace(attributes={"path": f"b/k?X-Amz-Security-Token={SECRET}"}),
        LogRecordEvent(logging.INFO, f"x-amz-security-token: {SECRET}", "tierlake.x", None, 1.0, SPAN, {}),
        LogRecordEvent(logging.INFO, "no", "tierlake.x", f"KeyError: secret='{SECRET}'", 1.0, SPAN, {}),
    ],
)
def test_what_looks_like_a_secret_is_hidden(event):
    assert SECRET in repr(event)
    assert SECRET not in repr(line_of(event))
