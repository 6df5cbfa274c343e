"""Spans: who is inside whom, in this process and from one to the next."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date

import fsspec.asyn
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.observed import recording
from tierlake.connector import observe
from tierlake.connector.observe import tracing

HEX = "0123456789abcdef"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def digits(length):
    return st.text(HEX, min_size=length, max_size=length)


def by_opentelemetry(text):
    """What OpenTelemetry reads in a header."""
    found = TraceContextTextMapPropagator().extract({"traceparent": text})
    span = trace.get_current_span(found).get_span_context()
    return (f"{span.trace_id:032x}", f"{span.span_id:016x}", span.trace_flags.sampled) if span.is_valid else None


@given(
    st.one_of(
        st.builds(
            "{}-{}-{}-{}{}".format, digits(2), digits(32), digits(16), digits(2), st.sampled_from(["", "-x", "x"])
        ),
        st.builds("00-{}-{}-{}".format, digits(32), digits(16), digits(2)),
        st.sampled_from([PARENT, f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01", "", "00"]),
        st.text(max_size=60),
    )
)
def test_a_traceparent_means_what_it_means_to_opentelemetry(text):
    parsed = tracing.parsed(text)
    assert (parsed and (parsed.trace_id, parsed.span_id, parsed.is_sampled)) == by_opentelemetry(text)


def test_what_goes_out_comes_in(recorder):
    with observe.span("a") as own:
        text = observe.traceparent()
    assert tracing.parsed(text) == own
    with observe.under(text), observe.span("b") as inner:
        assert inner.trace_id == own.trace_id
    assert recorder.spans[-1].parent_id == own.span_id


def test_what_is_said_of_a_span_is_known_inside(recorder):
    with observe.span("a", dataset="lake://b/d", partition=None), observe.span("b", run_id="7"):
        assert tracing.fields() == {"dataset": "lake://b/d", "run_id": "7"}
    inner, outer = recorder.spans
    assert (inner.name, inner.parent_id, inner.span.trace_id) == ("b", outer.span.span_id, outer.span.trace_id)
    assert outer.attributes == {"dataset": "lake://b/d"}
    assert tracing.fields() == {}


def test_threads_tasks_and_the_blocking_face_are_inside(recorder):
    async def inside():
        return tracing.current()

    async def task():
        return await asyncio.create_task(inside())

    with observe.span("a") as own:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(copy_context().run, tracing.current).result() == own
        assert asyncio.run(task()) == own
        assert fsspec.asyn.sync(fsspec.asyn.get_loop(), inside) == own


def test_an_error_ends_the_span_under_its_code(recorder):
    with pytest.raises(ZeroDivisionError), observe.span("a"):
        raise ZeroDivisionError
    assert recorder.spans[0].code == "ZeroDivisionError"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), SystemExit("hush"), GeneratorExit()])
def test_an_interruption_ends_the_span_as_it_ends_a_request(error, recorder):
    with pytest.raises(type(error)), observe.span("a"):
        raise error
    assert recorder.spans[0].code == "cancelled"


def test_a_code_that_is_no_text_is_none(recorder):
    error = ValueError()
    error.code = 404
    with pytest.raises(ValueError), observe.span("a"):  # noqa: PT011 -- it is the one
        raise error
    assert recorder.spans[0].code == "ValueError"


@pytest.mark.parametrize("text", ["", "garbage", PARENT.upper()])
def test_a_variable_that_names_no_span_is_none(text, recorder, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", text)
    for name in ("a", "b"):
        with observe.span(name):
            pass
    first, second = recorder.spans
    assert first.span.trace_id != second.span.trace_id
    assert first.parent_id is second.parent_id is None


def test_what_is_said_is_text(recorder):
    with observe.span("a", day=date(2013, 7, 4), number=7), observe.under(None, more=1.5):
        assert tracing.fields() == {"day": "2013-07-04", "number": "7", "more": "1.5"}


def test_nobody_observes():
    around = tracing.current()
    with observe.span("a", dataset="lake://b/d") as own:
        assert own == around
        assert tracing.fields() == {}


def test_a_span_that_nothing_is_around_begins_a_trace(recorder):
    with observe.span("a") as first:
        pass
    with observe.span("b") as second:
        pass
    assert first.trace_id != second.trace_id
    assert [one.parent_id for one in recorder.spans] == [None, None]


def test_spans_within_a_process_that_has_a_parent_are_one_trace(recorder, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with observe.span("a") as first:
        pass
    with observe.span("b") as second:
        pass
    assert first.trace_id == second.trace_id == PARENT[3:35]


def test_the_parent_of_the_process(recorder, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with observe.span("a") as own:
        pass
    assert own.trace_id == PARENT[3:35]
    assert recorder.spans[0].parent_id == PARENT[36:52]


def test_a_subprocess_continues_the_trace(recorder):
    code = "from tierlake.connector.observe import traceparent; print(traceparent())"
    with observe.span("a") as own:
        environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), **observe.environment()}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert tracing.parsed(run.stdout) == own


def test_not_sampled_stays_not_sampled(recorder):
    with observe.under(f"{PARENT[:-2]}00"), observe.span("a") as own:
        assert not own.is_sampled
        assert observe.traceparent().endswith("-00")


def test_an_applications_span_is_the_parent_and_ours_are_its_childrens(recorder):
    tracer = TracerProvider().get_tracer("application")
    with tracer.start_as_current_span("outer") as outer:
        with observe.span("a") as own, tracer.start_as_current_span("inner") as inner:
            assert inner.parent.span_id == int(own.span_id, 16)
            assert inner.get_span_context().trace_id == int(own.trace_id, 16)
        assert trace.get_current_span() is outer
    expected = outer.get_span_context()
    assert (int(own.trace_id, 16), int(recorder.spans[0].parent_id, 16)) == (expected.trace_id, expected.span_id)


def test_a_generator_that_is_closed_elsewhere():
    def work():
        with observe.span("a"):
            yield

    with recording() as recorder:
        generator = work()
        copy_context().run(next, generator)
        generator.close()
        assert not tracing.in_verb()
    assert [one.name for one in recorder.spans] == ["a"]


def test_the_parent_of_the_process_is_who_it_was_when_somebody_began_to_observe(monkeypatch):
    for parent in (PARENT, PARENT.replace("-0af", "-1af")):
        monkeypatch.setenv("TRACEPARENT", parent)
        with recording():
            with observe.span("a") as first:
                pass
            monkeypatch.setenv("TRACEPARENT", "garbage")
            with observe.span("b") as second:
                pass
        assert first.trace_id == second.trace_id == parent[3:35]
