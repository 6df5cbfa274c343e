"""Bounded parallel work in threads, for computations that release Python's lock, such as Parquet's.

Requests alone need no threads: the connector's verbs over many objects (`head_many`, `transition_many`) run them on its
event loop. An act of several requests, with decisions between them, may run here.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = ["ThreadQueue", "ahead", "in_threads", "processors"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(work: Callable[[T], R], items: Iterable[T], *, at_once: int, name: str) -> Generator[R]:
    """Do some work for every item in threads, while the caller takes the next item and uses the last result.

    The items are taken in the caller's own thread, which may be the only one that can, as with a cursor of SQLite.

    Args:
        work: A function of one item.
        items: The items; as many are taken ahead as may run, and one more.
        at_once: The most items that run at once.
        name: The threads' name.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: The failure of the earliest item that failed.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix=name) as pool:
        started: deque[Future[R]] = deque()
        try:
            for item in items:
                started.append(pool.submit(copy_context().run, work, item))
                while len(started) > at_once:
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def in_threads(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    at_once: int,
    name: str,
    advance: Callable[[T], None] | None = None,
    goes_on: bool = False,
) -> list[R]:
    """Do some work for every item; the results come in the order of the items.

    Args:
        work: A function of one item.
        items: The items.
        at_once: The most items that run at once.
        name: The threads' name.
        advance: Called with each finished item, in the caller's own thread.
        goes_on: A failure stops no other item. By default no further item begins, and running items end first.

    Raises:
        Exception: The failure of the earliest item that failed.
    """
    failed = threading.Event()

    def one(item: T) -> R:
        if failed.is_set() and not goes_on:
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix=name) as pool:
        # each in a copy of the context: they share the budget of the act for conflicts
        started = {pool.submit(copy_context().run, one, item): item for item in items}
        try:
            for future in as_completed(started):
                if advance is not None:
                    advance(started[future])
        finally:  # an interrupt: no further item begins
            pool.shutdown(wait=False, cancel_futures=True)
    # items begin in order: every item left out comes after the earliest failure
    return [future.result() for future in started]


class ThreadQueue(Generic[R]):
    """Work submitted to background threads; use as a context manager.

    At the end, work that has not begun is left out, and running work ends.
    """

    def __init__(self, at_once: int, name: str) -> None:
        """Limit the work that runs at once, in threads of this name."""
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._submitted: list[Future[R]] = []
        self._unfinished = 0
        self._ended = threading.Condition()

    def __enter__(self) -> Self:
        """Start no thread before the first work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave out work that has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Submit work."""
        with self._ended:
            self._unfinished += 1
        future = self._pool.submit(copy_context().run, partial(work, *args, **kwargs))
        self._submitted.append(future)
        future.add_done_callback(self._end)

    def _end(self, _: Future[R]) -> None:
        with self._ended:
            self._unfinished -= 1
            self._ended.notify_all()

    def wait_for_room(self) -> None:
        """Wait while the queue is as long as the number of threads."""
        with self._ended:
            self._ended.wait_for(lambda: self._unfinished <= self._at_once)

    def results(self) -> list[R]:
        """Wait for all of it; the results come in the order of submission.

        Raises:
            Exception: The failure of the earliest work that failed.
        """
        return list(self.as_they_come())

    def as_they_come(self) -> Iterator[R]:
        """The results in the order of submission, each as soon as it and those before it are there.

        Raises:
            Exception: The failure of the earliest work that failed.
        """
        for future in self._submitted:
            yield future.result()
