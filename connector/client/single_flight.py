"""One request for all callers that ask the same question at the same time."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

AnswerT = TypeVar("AnswerT")


class SingleFlight(Generic[AnswerT]):
    """The running requests, by question.

    Answers are not kept. The cancellation of one caller leaves the others their answer.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[AnswerT]] = {}

    async def ask(self, question: Hashable, answer: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer to a question; a request is made only if none is running for it.

        Args:
            question: The question; equal questions share an answer.
            answer: Makes the request.
        """
        running = self._running.get(question)
        if running is None:
            running = self._running[question] = asyncio.ensure_future(answer())
            running.add_done_callback(functools.partial(self._answered, question))
        return await asyncio.shield(running)

    def _answered(self, question: Hashable, answer: asyncio.Future[AnswerT]) -> None:
        self._running.pop(question, None)
        if not answer.cancelled():
            answer.exception()  # retrieves a failure for which no caller waits any more
