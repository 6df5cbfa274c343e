"""Files of spans: what Perfetto and Jaeger draw, one file for several processes, and what is not written."""

import base64
import json
import os
import random
import subprocess
import sys

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.connector.observe.collector import spans_of
from tests.connector.observe.samples import TRACE, request, span_id, verb
from tests.connector.observe.trace_files import drawn
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks
from tierlake.connector.observe.trace_file import TraceFile


def test_a_verb_and_its_requests_are_drawn_within_each_other_or_on_lanes(tmp_path) -> None:
    file = tmp_path / "run.json"
    sink = TraceFile(file)
    now = 1_700_000_000.0
    for number, begin, seconds in ((2, 0.1, 0.5), (3, 0.2, 0.5), (4, 0.65, 0.1), (5, 0.3, 0.1)):
        sink.take(request(number, 1, started=now + begin, seconds=seconds))
    sink.take(verb(1))
    sink.take(request(6, None, started=now + 2, seconds=0.1))
    sink.flush(1)
    events = {event["args"]["span_id"]: event for event in drawn(file)}
    lanes = {int(name, 16): event["tid"] for name, event in events.items()}
    assert lanes == {1: 1, 2: 1, 3: 2, 4: 1, 5: 3, 6: 1}
    put = events[span_id(2)]
    assert (put["name"], put["cat"], put["ts"], put["dur"]) == ("put_object", "request", 1_700_000_000_100_000, 500_000)
    args = put["args"]
    assert (args["trace_id"], args["parent_id"]) == (TRACE, span_id(1))
    assert (args["aws.s3.bucket"], args["aws.s3.key"], args["http.response.status_code"]) == ("b", "k/ü.parquet", 200)
    assert args["aws.request_id"] == "R1"


def test_a_link_in_its_way_is_not_followed(tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    (tmp_path / f".run.json.{os.getpid()}").symlink_to(elsewhere)
    sink = TraceFile(tmp_path / "run.json")
    sink.take(verb(1))
    sink.close()
    assert len(drawn(tmp_path / "run.json")) == 1
    assert elsewhere.read_text() == "kept"


def test_what_looks_like_a_secret_is_hidden(tmp_path) -> None:
    signed = "a.parquet?X-Amz-Credential=hush&X-Amz-Signature=hush"
    for name in ("run.json", "run.otlp.json"):
        sink = TraceFile(tmp_path / name)
        sink.take(request(1, None, key=signed, fields={"path": f"b/{signed}"}))
        sink.take(verb(2, attributes={"source": f"https://user:hush@host/{signed}"}))
        sink.close()
        text = (tmp_path / name).read_text()
        assert "X-Amz-Signature=***" in text
        assert "hush" not in text


def test_any_spans_are_drawn_without_overlaps(tmp_path) -> None:
    chosen = random.Random(7)  # noqa: S311 -- any will do
    sink = TraceFile(tmp_path / "run.json")
    for number in range(1, 2001):
        parent = chosen.randrange(number) or None
        started = 1_700_000_000 + chosen.random() * 10
        sink.take(request(number, parent, started=started, seconds=chosen.choice([0.0, 0.001, 0.1, 3.0])))
        if number % 700 == 0:
            sink.flush(1)
    sink.close()
    assert len(drawn(tmp_path / "run.json")) == 2000


def test_a_child_that_ends_a_moment_after_its_parent_stays_within_it(tmp_path) -> None:
    sink = TraceFile(tmp_path / "run.json")
    sink.take(request(2, 1, started=1_700_000_000.5, seconds=0.5004))
    sink.take(verb(1))
    sink.close()
    assert {event["tid"] for event in drawn(tmp_path / "run.json")} == {1}


def test_otlp_json_is_what_its_protobuf_reads(tmp_path) -> None:
    file = tmp_path / "run.otlp.json"
    sink = TraceFile(file)
    sink.take(request(2, 1, status=503, code="throttled"))
    sink.flush(1)
    sink.take(verb(1))
    sink.close()
    document = json.loads(file.read_text())
    for group in document["resourceSpans"]:
        for span in group["scopeSpans"][0]["spans"]:  # OTLP has hexadecimal where protobuf's own JSON has base64
            for name in ("traceId", "spanId", "parentSpanId"):
                if name in span:
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    put, ingest = spans_of(json_format.ParseDict(document, ExportTraceServiceRequest()))
    assert (put.name, put.trace_id, put.span_id, put.parent_id) == ("put_object", TRACE, span_id(2), span_id(1))
    assert (put.kind, put.status, put.attributes["http.response.status_code"]) == (3, 2, 503)
    assert (put.start, put.end) == (1_700_000_000_250_000_000, 1_700_000_000_750_000_000)
    assert (ingest.parent_id, ingest.kind, ingest.resource["service.name"]) == (None, 1, "tierlake")


WRITER = """
import os, sys
from tierlake.connector.observe import Observing, configure, span
configure(Observing(traces="file:" + sys.argv[1]))
for _ in range(50):
    with span("work"):
        pass
"""


def test_several_processes_write_one_file(tmp_path) -> None:
    file = tmp_path / "run.json"
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(file)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    events = drawn(file)
    assert (len(events), {event["pid"] for event in events}) == (150, {process.pid for process in running})
    assert list(tmp_path.iterdir()) == [file]


def test_a_child_process_does_not_write_what_its_parent_saw(tmp_path) -> None:
    sink = TraceFile(tmp_path / "run.json")
    sink.take(verb(1))
    child = os.fork()
    if not child:
        sink.take(verb(2))
        sink.close()
        os._exit(0)
    os.waitpid(child, 0)
    sink.close()
    assert [(event["pid"], event["args"]["span_id"]) for event in drawn(tmp_path / "run.json")] == [
        (child, span_id(2)),
        (os.getpid(), span_id(1)),
    ]


def test_memory_and_file_have_a_bound_and_the_rest_is_counted(tmp_path) -> None:
    file = tmp_path / "run.json"
    before = hooks.dropped().get("trace_file", 0)
    sink = TraceFile(file, spans_max=10)
    for number in range(1, 16):
        sink.take(verb(number))
    sink.flush(1)
    assert len(drawn(file)) == 10
    for number in range(21, 24):
        sink.take(verb(number))
    sink.flush(1)
    assert [int(event["args"]["span_id"], 16) for event in drawn(file)] == [4, 5, 6, 7, 8, 9, 10, 21, 22, 23]
    assert hooks.dropped()["trace_file"] == before + 8


@pytest.mark.parametrize("name", ["run.json", "run.otlp.json"])
def test_a_file_that_cannot_be_written_is_told_at_the_start_and_counted_later(name, tmp_path) -> None:
    with pytest.raises(InvalidSetting, match="cannot be written"):
        TraceFile.begun(tmp_path / "nowhere" / name)
    other = tmp_path / name
    other.write_text("pickup,fare\n")
    with pytest.raises(InvalidSetting, match="something else than spans"):
        TraceFile.begun(other)
    before = hooks.dropped().get("trace_file", 0)
    for path in (other, tmp_path / "nowhere" / name):
        sink = TraceFile(path)
        sink.take(verb(1))
        sink.close()
    assert hooks.dropped()["trace_file"] == before + 2
    assert other.read_text() == "pickup,fare\n"


def test_a_run_begins_with_an_empty_file(tmp_path) -> None:
    file = tmp_path / "run.json"
    for number in (1, 2):
        sink = TraceFile.begun(file)
        sink.take(verb(number))
        sink.close()
    assert [event["args"]["span_id"] for event in drawn(file)] == [span_id(2)]
