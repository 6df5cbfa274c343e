"""When a tick asks again for what runs left undone: a simulation of ticks, runs and time, without Dagster's storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.attempts import ATTEMPTS, RUNS_PER_TICK, Attempt, Attempts, take_turns

START = datetime(2014, 1, 1, tzinfo=UTC)
TICK = timedelta(minutes=5)


def simulate(keys: list[str], bad: set[str], ticks: int, lost: int = 0) -> tuple[set[str], list[list[tuple[str, ...]]]]:
    """Runs with a bad partition in them fail as a whole; the first `lost` runs fail in any case.

    Returns:
        What is left at the end, and the batches of each tick.
    """
    left, over, asked = list(keys), [], []
    for number in range(ticks):
        now = START + number * TICK
        turn = take_turns(left, Attempts({}, tuple(reversed(over))), {}, now)
        asked.append(list(turn.batches))
        for batch in turn.batches:
            if lost > 0 or bad & set(batch):
                lost -= 1
                over.append(Attempt(f"run-{len(over)}", "failed", now, frozenset(batch)))
            else:
                left = [key for key in left if key not in batch]
    return set(left), asked


@given(st.integers(1, 1500), st.sets(st.integers(0, 1499), max_size=3), st.integers(0, 4))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_one_bad_partition_holds_up_no_other(count: int, numbers: set[int], lost: int) -> None:
    keys = [f"{number:04}" for number in range(count)]
    bad = {key for key in keys if int(key) in numbers}
    left, asked = simulate(keys, bad, ticks=24 * 12 * 4, lost=lost)  # four days
    assert left == bad
    assert all(len(batches) <= RUNS_PER_TICK for batches in asked)
    for key in bad:
        of_key = [number for number, batches in enumerate(asked) if any(key in batch for batch in batches)]
        assert len(of_key) >= ATTEMPTS
        assert len(of_key) <= ATTEMPTS + 4  # once a day from then on
        (alone,) = [batch for batch in asked[of_key[-1]] if key in batch]
        assert alone == (key,)


def test_what_is_due_is_asked_for_at_once_and_what_runs_are_at_is_not() -> None:
    attempts = Attempts({"a": "run-1"}, ())
    assert take_turns(["a", "b"], attempts, {}, START).batches == (("b",),)


def test_attempts_on_what_it_was_before_do_not_count() -> None:
    old = Attempt("run-1", "failed", START, frozenset("a"))
    attempts = Attempts({}, (old,) * ATTEMPTS)
    turn = take_turns(["a"], attempts, {}, START + TICK)
    assert (turn.batches, turn.refused, turn.waiting) == ((), {"a": old}, {"a": (old, START + timedelta(days=1))})
    assert take_turns(["a"], attempts, {"a": START + TICK / 2}, START + TICK).batches == (("a",),)
