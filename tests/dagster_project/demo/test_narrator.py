"""The demo's voice: it is never silent for long, and what it waited for is gone from a terminal afterwards."""

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.polling import until
from tierlake.dagster_project.demo.narrator import _LOOK_SECONDS, PATIENCE_SECONDS, Narrator


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@given(st.lists(st.integers(min_value=0, max_value=60), max_size=20))
def test_it_is_never_silent_for_five_seconds(pauses):
    clock, stream = Clock(), io.StringIO()
    narrator = Narrator(stream, clock=clock)
    spoken, length = [0.0], 0
    for pause in pauses:  # in looks of the watching thread
        for _ in range(pause):
            clock.now += _LOOK_SECONDS
            narrator.break_silence()
            if len(stream.getvalue()) > length:
                spoken.append(clock.now)
                length = len(stream.getvalue())
        narrator.say("something")
        spoken.append(clock.now)
        length = len(stream.getvalue())
    assert all(later - before <= PATIENCE_SECONDS + _LOOK_SECONDS for before, later in itertools.pairwise(spoken))
    assert PATIENCE_SECONDS + _LOOK_SECONDS < 5


def test_it_names_what_it_waits_for_and_for_how_long():
    clock, stream = Clock(), io.StringIO()
    narrator = Narrator(stream, clock=clock)
    clock.now = 10
    with narrator.during("moving 3 partitions"):
        clock.now = 14
        narrator.break_silence()
        narrator.break_silence()
    narrator.chapter("Tiering")
    narrator.chapter("Expiry")
    assert stream.getvalue().splitlines() == ["  ... moving 3 partitions (4 s)", "", "1. Tiering", "", "2. Expiry"]


def test_on_a_terminal_what_it_waited_for_gives_way():
    clock, stream = Clock(), Terminal()
    narrator = Narrator(stream, clock=clock)
    clock.now = 4
    narrator.break_silence()
    narrator.say("done")
    waiting, done = stream.getvalue().split("done")
    assert waiting.endswith("\r\x1b[K")
    assert "\n" not in waiting
    assert done == "\n"


def test_its_thread_speaks_and_ends():
    clock, stream = Clock(), io.StringIO()
    with Narrator(stream, clock=clock) as narrator, narrator.during("waiting"):
        clock.now = 3
        until(lambda: "waiting (3 s)" in stream.getvalue(), seconds=10)
    length = len(stream.getvalue())
    clock.now = 100
    assert len(stream.getvalue()) == length
    with pytest.raises(RuntimeError), narrator:  # a thread starts once
        pass
