"""Bounded parallel work on the event loop: a limited number of requests at a time, and an outcome for each item.

fsspec's own verbs use `_run_coros_in_chunks`. It makes every coroutine before the first one starts. When one fails, it
cancels those in progress, and leaves open whether their objects were written. It returns nothing before the end.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Sized
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tierlake.connector.errors import LakeError
from tierlake.connector.observe import depth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
    from concurrent.futures import Future  # noqa: TID251 -- the type of what the loop gives

__all__ = ["Failure", "as_completed", "begun", "blocking", "in_order", "is_own_thread", "outcomes", "running_loop"]

T = TypeVar("T")
R = TypeVar("R")

_NO_LOOP = "The filesystem has no running event loop: a blocking verb needs one made without asynchronous=True"

Failure: TypeAlias = LakeError | OSError
"""An error in place of a result."""


async def in_order(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int) -> list[R]:
    """Run a function for every item; the results come in the order of the items.

    After a failure no further item starts. Work in progress is finished first: a request that is cut off leaves open
    whether it took effect.

    Args:
        work: An async function of one item.
        items: The items; they are taken as they begin.
        at_once: How many are under way at the most.

    Raises:
        Exception: The failure of the earliest item that failed.
    """
    waiting = enumerate(items)
    queue_length = len(items) if isinstance(items, Sized) else 0  # how many a generator will have is not known
    depth.add("waiting", queue_length)
    results: dict[int, R] = {}
    failures: dict[int, Exception] = {}

    async def worker() -> None:
        nonlocal queue_length
        while not failures and (each := next(waiting, None)) is not None:
            number, item = each
            if queue_length:
                queue_length -= 1
                depth.add("waiting", -1)
            try:
                results[number] = await work(item)
            except Exception as error:  # noqa: BLE001 -- raised below, once no work is in progress
                failures[number] = error

    try:
        await asyncio.gather(*(worker() for _ in range(at_once)))
    finally:
        depth.add("waiting", -queue_length)
        queue_length = 0
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in sorted(results)]


async def outcomes(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int) -> list[R | Failure]:
    """Run a function for every item, even if others fail.

    Args:
        work: An async function of one item.
        items: The items; they are taken as they begin.
        at_once: How many are under way at the most.

    Returns:
        For each item its result, or the error in its place.
    """

    async def outcome(item: T) -> R | Failure:
        try:
            return await work(item)
        except (LakeError, OSError) as error:
            return error

    return await in_order(outcome, items, at_once=at_once)


def blocking(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, R]) -> R:
    """Wait for work on another thread's loop; an interrupt of this thread cancels the work.

    Args:
        loop: Runs in another thread.
        work: What to do.

    Raises:
        NotImplementedError: This is the loop's own thread.
        RuntimeError: No thread runs the loop: the filesystem is an asynchronous one.
    """
    running = begun(loop, work)
    try:
        return running.result()
    finally:
        running.cancel()


def begun(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, R]) -> Future[R]:
    """Begin work on another thread's loop.

    Args:
        loop: Runs in another thread.
        work: What to do.

    Raises:
        NotImplementedError: This is the loop's own thread.
        RuntimeError: No thread runs the loop: the filesystem is an asynchronous one.
    """
    try:
        running_loop(loop)
    except (NotImplementedError, RuntimeError):
        work.close()
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)


def as_completed(
    loop: asyncio.AbstractEventLoop, work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int
) -> Iterator[tuple[T, R | Failure]]:
    """Run a function for every item on another thread's loop; yield each outcome as soon as it is known.

    If the caller ends the iterator early, by an error or an interrupt, no further item starts, and work in progress
    is finished first.

    Args:
        loop: Runs in another thread.
        work: An async function of one item.
        items: The items.
        at_once: How many are under way at the most.

    Yields:
        An item with its result, or with the error in its place.

    Raises:
        NotImplementedError: This is the loop's own thread.
    """
    running_loop(loop)
    chosen = list(items)
    ended: queue.SimpleQueue[tuple[T, R | BaseException]] = queue.SimpleQueue()
    is_over = False

    async def one(item: T) -> None:
        if is_over:
            return
        try:
            ended.put((item, await work(item)))
        except BaseException as error:
            ended.put((item, error))
            if not isinstance(error, Exception):
                raise

    running = asyncio.run_coroutine_threadsafe(in_order(one, chosen, at_once=at_once), loop)
    try:
        for _ in chosen:
            item, outcome = ended.get()
            if isinstance(outcome, BaseException) and not isinstance(outcome, LakeError | OSError):
                raise outcome
            yield item, outcome
    finally:
        is_over = True
        running.result()


def running_loop(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """The loop, if it runs in another thread: only then can this one wait for its work.

    Args:
        loop: A filesystem's loop.

    Raises:
        NotImplementedError: This is the loop's own thread.
        RuntimeError: No thread runs it: the filesystem is an asynchronous one.
    """
    if loop is not None and is_own_thread(loop):
        raise NotImplementedError("A blocking verb was called in the thread of its event loop")
    if loop is None or not loop.is_running():
        raise RuntimeError(_NO_LOOP)
    return loop


def is_own_thread(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the thread that runs an event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
