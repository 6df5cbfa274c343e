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
        self._asked: dict[Hashable, asyncio.Future[AnswerT]] = {}

    async def ask(self, question: Hashable, answer: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer to a question, which is asked only if nobody waits for it already.

        Args:
            question: What is asked; equal questions share an answer.
            answer: Asks it.
        """
        asked = self._asked.get(question)
        if asked is None:
            asked = self._asked[question] = asyncio.ensure_future(answer())
            asked.add_done_callback(functools.partial(self._answered, question))
        return await asyncio.shield(asked)

    def _answered(self, question: Hashable, answer: asyncio.Future[AnswerT]) -> None:
        self._asked.pop(question, None)
        if not answer.cancelled():
            answer.exception()  # a failure is seen, also where nobody waits for it any more
