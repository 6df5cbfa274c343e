"""Progress: which listener hears of which work, and what it says."""

import io

import pytest

from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.progress import PlainLines, Step, counting, reporting, watched


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_pipe_gets_a_line_every_five_seconds_with_rate_and_time_left():
    lines, clock = [], Clock()
    with watched(PlainLines(lines.append, clock=clock)), reporting("compact", total=100, bytes_total=1000) as advance:
        for place in range(100):
            clock.now += 0.3
            advance(f"k={place}", 10)
    assert len(lines) == 5
    assert lines[0] == "compact: 17 of 100, 170 B of 1.0 KB, 33 B/s, 25 s left"


def test_what_ends_sooner_says_nothing():
    lines, clock = [], Clock()
    with watched(PlainLines(lines.append, clock=clock)):
        for _ in range(10):  # each of them begins anew
            with reporting("verify", total=2, bytes_total=0) as advance:
                clock.now += 2.0
                advance("a", 0)
                clock.now += 2.0
                advance("b", 0)
    assert lines == []


def test_work_of_unknown_length_has_a_rate():
    lines, clock = [], Clock()
    with watched(PlainLines(lines.append, clock=clock)), counting("ingest", progress=False) as on_rows:
        for rows in range(0, 9000, 1000):
            on_rows(rows)
            clock.now += 1.0
    assert lines == ["ingest: 5,000, 1,000.0/s"]


def test_the_pace_of_work_of_unknown_length_counts_from_its_begin():
    lines, clock = [], Clock()
    with watched(PlainLines(lines.append, clock=clock)), counting("ingest", progress=False) as on_rows:
        for rows in (6000, 12000):
            clock.now += 6.0
            on_rows(rows)
    assert lines == ["ingest: 6,000, 1,000.0/s", "ingest: 12,000, 1,000.0/s"]


def test_work_is_heard_by_its_own_listener_or_by_whoever_watches_and_once():
    own, watching = [], []
    with watched(watching.append):
        with reporting("outer", total=1, bytes_total=0) as advance:
            with reporting("inner", total=1, bytes_total=0) as inner:
                inner("x", 0)
            advance("y", 0)
        with reporting("asked", total=1, bytes_total=0, progress=own.append) as advance:
            advance("z", 0)
    with reporting("unheard", total=1, bytes_total=0) as advance:
        advance("z", 0)
    assert [step.operation for step in watching] == ["outer", "outer"]
    assert [(step.operation, step.done) for step in own] == [("asked", 0), ("asked", 1)]


def test_work_in_threads_is_reported_in_the_callers_own_order_of_ending():
    steps = []
    with watched(steps.append), reporting("read", total=5, bytes_total=0) as advance:
        results = in_threads(
            lambda item: item * 2, range(5), at_once=3, name="t", advance=lambda item: advance(str(item), 0)
        )
    assert results == [0, 2, 4, 6, 8]
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5]
    assert {step.item for step in steps[1:]} == set("01234")


@pytest.mark.parametrize(
    ("step", "elapsed", "text"),
    [
        (Step("x", 0, 10, 0, 0), 0.0, "0 of 10"),
        (Step("x", 5, 10, 0, 0), 0.5, "5 of 10"),
        (Step("x", 5, 10, 0, 0), 600.0, "5 of 10, 0.0/s, 10 min 0 s left"),
        (Step("x", 1, 10_000, 0, 0), 10.0, "1 of 10,000, 0.1/s, 27 h 46 min left"),
        (Step("x", 10, 10, 50, 50), 10.0, "10 of 10, 50 B of 50 B, 5 B/s"),
    ],
)
def test_the_pace_of_a_step(step, elapsed, text):
    assert step.pace(elapsed) == text


def test_a_bar_is_drawn_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with watched(progress=True), reporting("compact", total=2, bytes_total=0) as advance:
        advance("a", 0)
        advance("b", 0)
    assert "compact" in screen.getvalue()
    assert "of 2" in screen.getvalue()
