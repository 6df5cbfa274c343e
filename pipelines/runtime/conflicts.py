"""Taking turns with other writers of the same table: optimistic attempts, with jittered waits between them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tierlake.connector.client.retry import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CONTENTION", "turns"]

CONTENTION = RetryBudget(attempts=40, seconds=300, first_wait=0.01, longest_wait=1.0)
"""A commit takes tens of milliseconds: with dozens of writers, each gets its turn within seconds."""


def turns(budget: RetryBudget = CONTENTION, sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Count attempts, waiting after each that was not the last.

    Args:
        budget: how many, and how long the waits are.
        sleep: waits; tests inject their own.

    Yields:
        The attempt's number, from 0.
    """
    for attempt in range(budget.attempts):
        if attempt:
            sleep(budget.wait(attempt))
        yield attempt
