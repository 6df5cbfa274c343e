"""Parts of one upload that are sent while their writer prepares the next ones."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.concurrency import blocking, is_own_thread

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable, Coroutine


class BackgroundParts:
    """Sends parts on an event loop of another thread, within a bound of memory.

    Args:
        send: Uploads a part: takes its number and bytes, and returns the part in the form that completes an upload.
        loop: Runs in another thread.
        bytes_at_once: The maximum number of bytes in progress; a single part may be larger.
        parts_at_once: The maximum number of parts in progress.
    """

    def __init__(
        self,
        send: Callable[[int, bytes], Coroutine[Any, Any, dict[str, Any]]],
        loop: AbstractEventLoop,
        *,
        bytes_at_once: int,
        parts_at_once: int,
    ) -> None:
        self._send, self._loop = send, loop
        self._bytes_at_once, self._parts_at_once = bytes_at_once, parts_at_once
        self._in_progress: dict[Task[dict[str, Any]], int] = {}
        self._sent: list[dict[str, Any]] = []
        self._failure: BaseException | None = None
        self._process = os.getpid()

    def add(self, number: int, body: bytes) -> None:
        """Send a part; wait until there is room for it.

        Args:
            number: The part's number.
            body: Its bytes.

        Raises:
            Exception: The failure of an earlier part.
            NotImplementedError: This is the loop's own thread, which cannot wait for itself.
        """
        self.check()
        blocking(self._loop, self._add(number, body))

    def check(self) -> None:
        """Raise the failure of a part.

        Raises:
            Exception: The first one.
            RuntimeError: This process is a fork of the one that sends the parts.
        """
        if os.getpid() != self._process:
            raise RuntimeError("A file is written by the process that opened it, not by its forked children")
        if self._failure is not None:
            raise self._failure

    def finish(self) -> list[dict[str, Any]]:
        """Wait for all parts.

        Returns:
            The parts in the order of their numbers.

        Raises:
            Exception: The failure of one that could not be sent.
        """
        self.check()
        blocking(self._loop, self._settled())
        self.check()
        return sorted(self._sent, key=lambda part: part["PartNumber"])

    def stop(self) -> None:
        """Wait for the parts in progress, whatever becomes of them: one that is cut off may arrive after the abort.

        An interrupt of the waiting thread cancels them, and so does the event loop's own thread, which may be the one
        that drops a file. A forked child has none: its parent sends them.
        """
        if os.getpid() != self._process:
            return
        if is_own_thread(self._loop):
            self._cancel()
        else:
            blocking(self._loop, self._stopped())

    # -- on the event loop -------------------------------------------------------------------------

    async def _add(self, number: int, body: bytes) -> None:
        while self._in_progress and not self._has_room(len(body)):
            await asyncio.wait(self._in_progress, return_when=asyncio.FIRST_COMPLETED)
        self.check()
        task = asyncio.create_task(self._send(number, body))
        self._in_progress[task] = len(body)
        task.add_done_callback(self._ended)

    def _ended(self, task: Task[dict[str, Any]]) -> None:
        del self._in_progress[task]
        if task.cancelled():
            return
        failure = task.exception()
        if failure is None:
            self._sent.append(task.result())
        elif self._failure is None:
            self._failure = failure

    async def _settled(self) -> None:
        if self._in_progress:
            await asyncio.wait(self._in_progress)

    async def _stopped(self) -> None:
        try:
            await self._settled()
        except asyncio.CancelledError:
            self._cancel()
            raise

    def _cancel(self) -> None:
        for task in self._in_progress:
            task.cancel()

    def _has_room(self, size: int) -> bool:
        return (
            len(self._in_progress) < self._parts_at_once
            and sum(self._in_progress.values()) + size <= self._bytes_at_once
        )
