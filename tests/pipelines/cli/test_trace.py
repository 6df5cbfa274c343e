"""`tierlake --trace FILE`: the spans of one command."""

import json

import pytest

from tests.connector.observe.collector import collector
from tests.connector.observe.samples import TRACE, span_id
from tests.connector.observe.trace_files import drawn
from tests.observed import recording
from tierlake.connector import observe
from tierlake.connector.observe import hooks

SPEC = """
uri: lake://{bucket}/events
partition: {{time: {{column: at, every: day, key: date}}}}
"""


@pytest.fixture
def lake(tierlake_here, server, bucket, tmp_path):
    """The program, and a dataset whose first rows are in a file."""
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=bucket))
    (tmp_path / "events.csv").write_text("at,n\n2013-01-01T01:00:00Z,1\n2013-01-02T01:00:00Z,2\n")
    assert tierlake_here("create", "spec.yaml", env=server.environ()).code == 0
    return lambda *arguments, env=None: tierlake_here(*arguments, env={**server.environ(), **(env or {})})


def test_one_command_is_one_trace_with_one_root(lake, tmp_path) -> None:
    file = tmp_path / "run.json"
    assert lake("ingest", "spec.yaml", "events.csv", "--trace", file).code == 0
    assert not hooks.is_on()
    events = drawn(file)
    by_id = {event["args"]["span_id"]: event for event in events}
    (root,) = (event for event in events if event["args"].get("parent_id") not in by_id)
    assert root["name"] == "tierlake ingest"
    assert {event["args"]["trace_id"] for event in events} == {root["args"]["trace_id"]}
    assert "dataset.ingest" in {event["name"] for event in events}
    puts = [event for event in events if event["name"] == "put_object" and "/date=" in event["args"]["aws.s3.key"]]
    assert len(puts) == 2
    assert all(event["args"]["http.response.status_code"] == 200 for event in puts)
    assert all(root["ts"] <= put["ts"] and put["ts"] + put["dur"] <= root["ts"] + root["dur"] for put in puts)


def test_before_the_command_it_means_the_same_and_the_environments_trace_goes_on(lake, tmp_path) -> None:
    file = tmp_path / "run.otlp.json"
    parent = f"00-{TRACE}-{span_id(7)}-01"
    assert lake("--trace", file, "ls", "spec.yaml", env={"TRACEPARENT": parent}).code == 0
    (group,) = json.loads(file.read_text())["resourceSpans"]
    spans = group["scopeSpans"][0]["spans"]
    assert {span["traceId"] for span in spans} == {TRACE}
    (root,) = (span for span in spans if span["name"] == "tierlake ls")
    assert root["parentSpanId"] == span_id(7)


def test_a_subprocess_continues_the_trace_of_whatever_started_it(tierlake, server, bucket, tmp_path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=bucket))
    with collector() as own, recording(), observe.span("nightly") as nightly:
        traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{own.url}/v1/traces"}
        answer = tierlake("create", "spec.yaml", env={**server.environ(), **observe.environment(), **traces})
    assert answer.code == 0, answer.err
    assert own.trace_ids == {nightly.trace_id}
    (root,) = own.roots()
    assert (root.name, root.parent_id) == ("tierlake create", nightly.span_id)
    assert max(own.named("put_object"), key=lambda span: span.end).trace_id == nightly.trace_id


def test_a_command_that_fails_writes_its_spans_too(lake, tmp_path) -> None:
    file = tmp_path / "run.json"
    assert lake("show", "lake://nowhere-at-all/x", "--trace", file).code != 0
    events = drawn(file)
    (root,) = (event for event in events if event["name"] == "tierlake show")
    assert root["args"]["error.type"] in {"bucket_not_found", "table_not_found"}


def test_a_file_that_cannot_be_written_ends_the_command_at_once(lake, tmp_path) -> None:
    answer = lake("ingest", "spec.yaml", "events.csv", "--trace", tmp_path / "nowhere" / "run.json", "--json")
    assert answer.code != 0
    assert "trace cannot be written" in answer.err
    assert lake("ls", "spec.yaml", "--json").document["partitions"] == []
    assert not (tmp_path / "nowhere").exists()
