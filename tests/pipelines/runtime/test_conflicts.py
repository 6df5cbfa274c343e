"""One policy for conflicts: a budget in seconds, which loops inside an act spend too."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from tierlake.pipelines.errors import CommitConflict, StagedTooLong
from tierlake.pipelines.runtime.conflicts import BUDGET, ConflictBudget, attempts

if TYPE_CHECKING:
    from collections.abc import Callable

WORK = 0.5
"""Seconds that an attempt takes."""


class Time:
    """Seconds that pass when somebody waits, or works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.tries = 0

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def work(self) -> None:
        self.tries += 1
        self.now += WORK

    def budget(self, seconds: float = 10.0) -> ConflictBudget:
        return ConflictBudget(
            seconds, first_wait=0.1, clock=lambda: self.now, sleep=self.sleep, jitter=lambda _, most: most
        )


@pytest.fixture
def time() -> Time:
    return Time()


def win(time: Time, at: int | None, seconds: float = 10.0) -> int:
    """Lose until some attempt, or for good; returns how many waits there were."""
    for attempt in attempts("lake://b/t", budget=time.budget(seconds)):
        with attempt:
            time.work()
            if attempt.number == at:
                return len(time.waits)
    raise AssertionError


def conflict(time: Time, error: Exception, inside: Callable[[], object] = int) -> None:
    """Attempts that look at the table anew after each conflict."""
    for attempt in attempts("lake://b/t", on=CommitConflict, budget=time.budget()):
        with attempt:
            inside()
            time.work()
            raise error


def test_waits_grow_to_a_bound_and_end_with_the_budget(time: Time) -> None:
    with pytest.raises(CommitConflict, match=r"tried for 1\d s, \d+ times; nothing was committed") as raised:
        win(time, None)
    assert time.waits[:5] == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])
    assert max(time.waits) <= 1.0
    assert WORK + 10 <= time.now <= WORK + 10 + WORK
    assert raised.value.seconds == time.now - WORK
    assert raised.value.hint


def test_time_before_the_first_loss_does_not_count(time: Time) -> None:
    time.now = 1_000_000.0
    assert win(time, 6) == 6


def test_the_last_conflict_says_what_it_was_and_how_long_it_was_tried(time: Time) -> None:
    with pytest.raises(CommitConflict, match=r"^p=1 was changed \(tried for 1\d s, \d+ times\)\. plan again") as raised:
        conflict(time, CommitConflict("p=1 was changed", hint="plan again"))
    assert isinstance(raised.value.__cause__, CommitConflict)
    assert copy.copy(raised.value).seconds == raised.value.seconds


def test_what_a_loop_inside_gave_up_is_not_tried_again(time: Time) -> None:
    """A commit that nobody lets through takes its budget and one attempt, not attempts times attempts."""
    with pytest.raises(CommitConflict, match="all the time: tried for"):
        conflict(time, CommitConflict("never raised"), inside=lambda: win(time, None))
    assert time.now <= WORK + 10 + WORK


def test_loops_inside_spend_the_budget_of_the_act(time: Time) -> None:
    """Each time the log is lost twice, then won, and then the partition was changed by somebody else."""
    with pytest.raises(CommitConflict, match="tried for"):
        conflict(time, CommitConflict("p=1 was changed"), inside=lambda: win(time, 2))
    one = 4 * WORK + 0.2 + 0.4  # three tries of the log, two waits, and what comes after
    assert time.now <= WORK + 10 + one


def test_a_loop_inside_a_long_act_has_its_own_bound(time: Time) -> None:
    def rewrite() -> None:
        for attempt in attempts("lake://b/t", on=CommitConflict, budget=time.budget(10_000)):
            with attempt:
                win(time, None, seconds=5)

    with pytest.raises(CommitConflict, match=r"tried for \d s"):
        rewrite()
    assert time.now <= WORK + 5 + WORK


def test_acts_after_each_other_have_a_budget_each(time: Time) -> None:
    with pytest.raises(CommitConflict):
        win(time, None)
    with pytest.raises(ValueError, match="broken"):
        conflict(time, ValueError("broken"))
    time.waits.clear()
    assert win(time, 4) == 4


@pytest.mark.parametrize("error", [StagedTooLong("a vacuum has begun"), ValueError("none of ours")])
def test_what_no_attempt_can_mend_is_raised_at_once(time: Time, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        conflict(time, error)
    assert raised.value is error
    assert not time.waits


def test_jitter_is_full_and_the_clock_never_goes_back() -> None:
    assert 0 <= BUDGET.jitter(0, 1) <= 1
    assert BUDGET.clock() <= BUDGET.clock()
