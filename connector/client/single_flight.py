"""One request for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

AnswerT = TypeVar("AnswerT")


class SingleFlight(Generic[AnswerT]):
    """Questions that are on their way, by what they ask.

    Nothing is remembered once an answer is there. A caller that is cancelled takes no answer from the others.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[AnswerT]] = {}

    async def ask(self, question: Hashable, answer: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer to a question, which is asked only if nobody waits for it already.

        Args:
            question: What is asked; equal questions share an answer.
            answer: Asks it.
        """
        running = self._running.get(question)
        if running is None:
            running = self._running[question] = asyncio.ensure_future(answer())
            running.add_done_callback(functools.partial(self._answered, question))
        return await asyncio.shield(running)

    def _answered(self, question: Hashable, answer: asyncio.Future[AnswerT]) -> None:
        self._running.pop(question, None)
        if not answer.cancelled():
            answer.exception()  # a failure is seen, also where nobody waits for it any more
