"""Taking turns with other writers: one policy for every commit that may lose against somebody else's.

    for attempt in attempts(f"lake://{root}", on=CommitConflict):
        with attempt:
            ...
            return commit
    raise AssertionError

An attempt loses if it ends without a `return` or raises an error of `on`; the next one comes after a jittered wait. The
budget is in seconds from the first loss: work before a conflict is possible, such as writing files, does not count.
Loops inside an attempt spend the same budget, and where they give up, the outer loop does not try again. So an act ends
within its budget and one attempt, however deep its loops are.
"""

from __future__ import annotations

import random
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tierlake.pipelines.errors import CommitConflict, StagedTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token
    from types import TracebackType

__all__ = ["BUDGET", "REWRITES", "Attempt", "ConflictBudget", "attempts"]

_QUIETER = "run it again when fewer others write to it"


@dataclass(frozen=True, slots=True)
class ConflictBudget:
    """How long to go on trying.

    A commit takes tens of milliseconds: among dozens of writers, each gets its turn within seconds.

    Attributes:
        seconds: No attempt begins later than this after the first one that lost.
        first_wait: Upper bound of the first wait, in seconds; each further one doubles it.
        longest_wait: Upper bound of any wait, in seconds.
        clock: Returns elapsed seconds.
        sleep: Waits for some seconds.
        jitter: Returns a number between two others.
    """

    seconds: float = 120.0
    first_wait: float = 0.01
    longest_wait: float = 1.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.SystemRandom().uniform


BUDGET = ConflictBudget()
"""The budget of a commit."""
REWRITES = ConflictBudget(seconds=1800.0)
"""The budget of compaction and erasure, whose attempts rewrite files; each of their commits has `BUDGET` in it."""


@dataclass(slots=True)
class _Contention:
    """The losses of one loop and of its inner loops; `outer` is the enclosing loop."""

    budget: ConflictBudget
    outer: _Contention | None = None
    first_loss: float | None = None
    losses: int = 0

    def lose(self) -> None:
        self.losses += 1
        if self.first_loss is None:
            self.first_loss = self.budget.clock()
        if self.outer is not None:
            self.outer.lose()

    @property
    def spent(self) -> float:
        """Seconds since the first loss."""
        return 0.0 if self.first_loss is None else self.budget.clock() - self.first_loss

    @property
    def left(self) -> float:
        """Seconds in which another attempt may begin."""
        left = self.budget.seconds - self.spent
        return left if self.outer is None else min(left, self.outer.left)

    def wait(self) -> None:
        """Wait for others, until the end of the budget at the longest."""
        budget = self.budget
        longest = min(budget.longest_wait, budget.first_wait * 2 ** min(self.losses, _DOUBLINGS))
        budget.sleep(min(budget.jitter(0, longest), self.left))


_DOUBLINGS = 30
_contention: ContextVar[_Contention | None] = ContextVar("tierlake_contention", default=None)


@dataclass(slots=True)
class Attempt:
    """One attempt: `with attempt:` around what may lose.

    Attributes:
        number: From 0.
        lost: The error that it raised, where another attempt may help.
    """

    number: int
    _contention: _Contention
    _on: tuple[type[CommitConflict], ...]
    lost: CommitConflict | None = None
    _token: Token[_Contention | None] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Let inner loops share the budget."""
        self._token = _contention.set(self._contention)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Keep a conflict; let every other error out."""
        if self._token is not None:
            _contention.reset(self._token)
        if not isinstance(error, self._on) or isinstance(error, StagedTooLong):
            return False
        self.lost = error
        return True


def attempts(
    what: str,
    *,
    on: type[CommitConflict] | tuple[type[CommitConflict], ...] = (),
    done: str = "nothing was committed",
    budget: ConflictBudget | None = None,
) -> Iterator[Attempt]:
    """Attempts at a change that others may make first, with waits between them.

    Args:
        what: The object that others are changing, for the error.
        on: Conflicts after which another attempt can help, since it reads the table again.
        done: The state when the budget is spent, for the error.
        budget: How long to go on; `BUDGET` by default.

    Yields:
        Attempts, until the caller stops.

    Raises:
        CommitConflict: The budget is spent; it names the time spent.
    """
    contention = _Contention(budget or BUDGET, _contention.get())
    number = 0
    while True:
        attempt = Attempt(number, contention, on if isinstance(on, tuple) else (on,))
        yield attempt
        number += 1
        if attempt.lost is not None and attempt.lost.seconds is not None:  # a loop inside has tried for long enough
            raise attempt.lost
        contention.lose()
        if contention.left <= 0:
            raise _exhausted(what, done, contention, attempt.lost)
        contention.wait()


def _exhausted(what: str, done: str, contention: _Contention, last: CommitConflict | None) -> CommitConflict:
    outermost = contention
    while outermost.outer is not None:
        outermost = outermost.outer
    tried = f"tried for {outermost.spent:.0f} s, {outermost.losses} times"
    if last is None:
        error = CommitConflict(f"{what} is being changed by others all the time: {tried}; {done}", hint=_QUIETER)
    else:
        error = CommitConflict(f"{last.message} ({tried})", hint=last.hint or _QUIETER)
    error.seconds = outermost.spent
    error.__cause__ = last
    return error
