"""The sink of log lines: of real requests, in a queue with a bound, over forks, and with our loggers' records."""

from __future__ import annotations

import base64
import io
import json
import logging
import multiprocessing
import os
import sys
import threading
from datetime import datetime

import pytest

from tests.connector.observe.test_lines import ERROR, REQUEST, VERB
from tests.polling import until
from tierlake.connector import observe
from tierlake.connector.errors import BadCredentials, LakeError, ObjectNotFound
from tierlake.connector.observe import hooks
from tierlake.connector.observe.log_lines import LogLines

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


@pytest.fixture
def log():
    """Makes sinks that take events until the test ends."""
    made = []

    def make(**options):
        sink = LogLines(**{"as_json": True, "level": "debug", **options})
        observe.add(sink)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.flush(5)
        observe.remove(sink)
        sink.close()


def written(capsys):
    """The documents on standard error."""
    hooks.flush(5)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


# -- real requests -----------------------------------------------------------------------------------------------------


def test_a_request_has_one_line_that_says_all_of_it(server, bucket, fs, log, capsys):
    fs.exists(bucket)
    log(level="info")
    path = f"{bucket}/t/date=2013-07-04/a.bin"
    with observe.span("nightly", dataset=f"lake://{bucket}/t", run_id="7") as span:
        fs.pipe_file(path, b"12345")
        fs.head_object(path)
    lines = written(capsys)
    (put,) = [line for line in lines if line["operation"] == "put_object"]
    (head,) = [line for line in lines if line["operation"] == "head_object"]
    for line, size in ((put, 5), (head, None)):
        assert (line["level"], line["message"], line["server"]) == ("info", "Request succeeded", server.name)
        assert (line["bucket"], line["key"]) == (bucket, "t/date=2013-07-04/a.bin")
        assert (line["status"], line["attempt"], line.get("bytes")) == (200, 1, size)
        assert (line["dataset"], line["partition"]) == (f"lake://{bucket}/t", "date=2013-07-04")
        assert (line["run_id"], line["trace_id"]) == ("7", span.trace_id)
        assert line["duration_ms"] > 0
        assert datetime.fromisoformat(line["timestamp"])
        assert None not in line.values()
    assert head["request_id"]


@one_server
def test_an_error_has_one_line_with_the_request_id_of_its_text(server, bucket, fs, log, capsys):
    log()
    with pytest.raises(ObjectNotFound) as caught:
        fs.cat_file(f"{bucket}/none")
    (line,) = [line for line in written(capsys) if line.get("code")]
    assert (line["level"], line["code"], line["server_code"]) == ("info", "object_not_found", "NoSuchKey")
    assert line["request_id"] in str(caught.value)


@one_server
def test_no_secret_is_in_any_line(server, bucket, make_fs, log, capsys):
    log()
    key = os.urandom(32)
    fs = make_fs(encryption=f"sse-c:{base64.b64encode(key).decode()}")
    fs.pipe_file(f"{bucket}/a", b"1")
    assert fs.cat_file(f"{bucket}/a") == b"1"
    urls = [fs.presign(f"{bucket}/a", expires=60), fs.url(f"{bucket}/a")]
    with pytest.raises(LakeError):
        fs.info(urls[0])
    wrong = make_fs(secret="WRONGSECRETWRONGSECRET", token="WRONGTOKENWRONGTOKEN")
    with pytest.raises(BadCredentials):
        wrong.cat_file(f"{bucket}/a")
    logging.getLogger("tierlake.connector").warning("%s %s", urls[0], {"SSECustomerKey": "RAW"})
    hooks.flush(5)
    text = capsys.readouterr().err
    assert text.count("\n") >= 5
    assert '"code": "bad_credentials"' in text
    for secret in (
        base64.b64encode(key).decode(),
        server.storage_options["secret"],
        "WRONGSECRET",
        "WRONGTOKEN",
        "RAW",
        urls[0].partition("Signature=")[2][:20],
        urls[1].partition("Signature=")[2][:20],
    ):
        assert secret
        assert secret not in text


# -- which events ------------------------------------------------------------------------------------------------------


def test_a_level_leaves_out_what_is_below(log, capsys):
    sink = log(level="warning")
    for event in (REQUEST, VERB, REQUEST._replace(code="throttled", is_retried=True), ERROR):
        sink.take(event)
    assert [line["level"] for line in written(capsys)] == ["warning", "error"]


def test_successes_are_sampled_and_errors_never(log, capsys):
    chances = iter([0.1, 0.9, 0.24, 0.25])
    sink = log(sample=0.25, chance=lambda: next(chances))
    answer = REQUEST._replace(code="object_not_found")
    for number in range(4):
        sink.take(REQUEST._replace(attempt=number))
        sink.take(answer)
    lines = written(capsys)
    assert [line["attempt"] for line in lines if "code" not in line] == [0, 2]
    assert len([line for line in lines if "code" in line]) == 4


def test_counts_have_no_line(log, capsys):
    log()
    observe.count("commit_count", format="delta", dataset="")
    observe.gauge("stored_rows", 1)
    assert written(capsys) == []


# -- the queue ---------------------------------------------------------------------------------------------------------


class Stuck(io.StringIO):
    """A stream that takes nothing until it is told to."""

    def __init__(self):
        super().__init__()
        self.is_asked, self.goes_on = threading.Event(), threading.Event()

    def write(self, text):
        self.is_asked.set()
        assert self.goes_on.wait(30)
        return super().write(text)


def test_what_the_queue_has_no_room_for_is_dropped_counted_and_said(log, monkeypatch):
    stream = Stuck()
    monkeypatch.setattr(sys, "stderr", stream)
    before = hooks.dropped().get("log", 0)
    sink = log(queue_max=5)
    sink.take(REQUEST)
    assert stream.is_asked.wait(30)
    for _ in range(20):
        sink.take(REQUEST)
    assert hooks.dropped()["log"] - before == 15
    stream.goes_on.set()
    sink.flush(10)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines].count("Request succeeded") == 6
    (said,) = [line for line in lines if line["message"] == "Log lines were dropped"]
    assert (said["level"], said["dropped"]) == ("warning", 15)


def test_a_flush_waits_no_longer_than_it_may(log, monkeypatch):
    stream = Stuck()
    monkeypatch.setattr(sys, "stderr", stream)
    sink = log()
    sink.take(REQUEST)
    sink.flush(0.01)
    assert stream.getvalue() == ""
    stream.goes_on.set()


def test_an_event_without_sense_costs_one_line(log, capsys):
    before = hooks.dropped().get("log", 0)
    sink = log()
    sink.take(REQUEST._replace(started="yesterday"))
    sink.take(REQUEST)
    assert len(written(capsys)) == 1
    assert hooks.dropped()["log"] - before == 1


def test_what_waits_is_written_after_the_close(capsys):
    sink = LogLines(as_json=True)
    sink.take(REQUEST)
    sink.close()
    sink.take(REQUEST)
    sink.join(10)
    assert len(capsys.readouterr().err.splitlines()) == 1


# -- other processes ---------------------------------------------------------------------------------------------------


def child_logs(attempt):
    """In a child: one line of its own."""
    observe.configure(observe.Observing(log="json"))
    observe.emit(REQUEST._replace(attempt=attempt))
    observe.flush(10)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_child_writes_its_own_lines_and_no_other(way, capfd):
    observe.configure(observe.Observing(log="json"))
    observe.emit(REQUEST._replace(attempt=1))
    child = multiprocessing.get_context(way).Process(target=child_logs, args=(2,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    observe.emit(REQUEST._replace(attempt=3))
    observe.flush(10)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert sorted(line["attempt"] for line in lines) == [1, 2, 3]


# -- our loggers -------------------------------------------------------------------------------------------------------


def test_records_of_our_loggers_are_lines_once_and_reach_others_too(log, capsys, caplog):
    log(level="info")
    with observe.span("nightly", run_id="7") as span:
        logging.getLogger("tierlake.pipelines").warning("kept %s\nsecret=%s", "a", "HIDDEN")
    logging.getLogger("tierlake.connector").debug("no")
    logging.getLogger("other").warning("no")
    (line,) = [one for one in written(capsys) if "logger" in one]
    assert (line["level"], line["logger"]) == ("warning", "tierlake.pipelines")
    assert line["message"] == "kept a\nsecret=***"
    assert (line["trace_id"], line["run_id"]) == (span.trace_id, "7")
    assert "kept a" in caplog.text


def test_a_records_stack_is_in_its_line(log, capsys, monkeypatch):
    log()
    monkeypatch.setattr(logging.getLogger("tierlake"), "propagate", False)  # pytest refuses what does not fit
    try:
        {}["deep"]
    except KeyError:
        logging.getLogger("tierlake.x").exception("odd %d", "not a number")
    (line,) = written(capsys)
    assert (line["level"], line["message"]) == ("error", "odd %d")
    assert line["traceback"].endswith("KeyError: 'deep'")


def test_loggers_are_as_before_when_it_is_closed():
    logger = logging.getLogger("tierlake")
    before = (logger.level, list(logger.handlers))
    sink = LogLines(as_json=True, level="debug")
    assert logger.isEnabledFor(logging.DEBUG)
    sink.close()
    assert (logger.level, list(logger.handlers)) == before


@pytest.mark.parametrize(("first", "second"), [("info", "info"), ("debug", "info"), ("info", "debug")])
def test_a_sink_that_takes_anothers_place_has_its_own_level(first, second):
    logger = logging.getLogger("tierlake")
    before = logger.level
    old = LogLines(as_json=True, level=first)
    new = LogLines(as_json=False, level=second)
    old.close()
    old._loggers.close()  # as `logging` does at the end of a process
    assert logging.getLevelName(logger.getEffectiveLevel()) == second.upper()
    new.close()
    assert logger.level == before


def test_settings_switch_it_on_and_off(make_offline, capsys):
    fs = make_offline(log="text", log_level="debug", max_retries=0)
    with pytest.raises(LakeError):
        fs.cat_file("bucket/k")
    hooks.flush(5)
    assert "code=endpoint_unreachable" in capsys.readouterr().err
    make_offline(log="off")
    until(lambda: not observe.is_on(), 5)
