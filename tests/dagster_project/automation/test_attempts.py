"""When a tick asks again for what runs left undone: a simulation of ticks, runs and time, without Dagster's storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.dagster_project.automation.attempts import (
    ATTEMPTS,
    RUNS_PER_TICK,
    Attempt,
    Attempts,
    read_attempts,
    take_turns,
)

START = datetime(2014, 1, 1, tzinfo=UTC)
TICK = timedelta(minutes=5)


def simulate(keys: list[str], bad: set[str], ticks: int, lost: int = 0) -> tuple[set[str], list[list[tuple[str, ...]]]]:
    """Runs with a bad partition in them fail as a whole; the first `lost` runs fail in any case.

    Returns:
        What is left at the end, and the batches of each tick.
    """
    left, asked = list(keys), []
    over: list[Attempt] = []
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


def test_a_thousand_that_fail_are_named_and_make_no_storm() -> None:
    keys = [f"{number:04}" for number in range(1000)]
    left, asked = simulate(keys, set(keys), ticks=24 * 12 * 3)
    assert left == set(keys)
    assert sum(map(len, asked[-24 * 12 :])) <= 2 * RUNS_PER_TICK * RUNS_PER_TICK  # of a day


def test_attempts_are_remembered_whatever_has_run_since() -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def ran(key: str, times: int, tags: dict[str, str] | None = None) -> None:
            for _ in range(times):
                failed = dg.DagsterRunStatus.FAILURE
                instance.add_run(dg.DagsterRun("expiry", run_config={"keys": [key]}, status=failed, tags=tags))

        ran("a", ATTEMPTS)
        ran("b", 205)
        ran("c", 1, {"dagster/will_retry": "true"})
        ran("d", 1, {"dagster/will_retry": "true", "dagster/auto_retry_run_id": "another"})
        now = datetime.now(UTC)
        attempts = read_attempts(instance, "expiry", {}, lambda run: run.run_config["keys"], now)
        assert len(attempts.of("a", None)) == ATTEMPTS
        assert take_turns(["a"], attempts, {}, now).refused.keys() == {"a"}
        assert attempts.busy.keys() == {"c"}  # Dagster's daemon starts it again by itself
        later = read_attempts(instance, "expiry", {}, lambda run: run.run_config["keys"], now + timedelta(hours=2))
        assert not later.busy  # it did not
