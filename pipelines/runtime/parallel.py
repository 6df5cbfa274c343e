"""Bounded parallel work in threads: for what computes in libraries that release Python's lock, as Parquet's do.

Requests alone need no threads: the connector's verbs over many objects (`head_many`, `transition_many`) run them on its
event loop. An act of several requests, with decisions between them, may run here.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ThreadQueue", "all_in_threads", "in_threads"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T], *, at_once: int, name: str) -> list[R]:
    """Do something for every item; the results come in the order of the items.

    After a failure no further item begins; what is under way ends first.

    Args:
        work: A function of one item.
        items: The items.
        at_once: How many are under way at the most.
        name: The threads' name.

    Raises:
        Exception: The failure of the earliest item that failed.
    """
    return _in_threads(work, items, at_once, name, goes_on=False)


def all_in_threads(work: Callable[[T], R], items: Iterable[T], *, at_once: int, name: str) -> list[R]:
    """Like `in_threads`, but a failure keeps no item from being done."""
    return _in_threads(work, items, at_once, name, goes_on=True)


def _in_threads(work: Callable[[T], R], items: Iterable[T], at_once: int, name: str, *, goes_on: bool) -> list[R]:
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
        started = [pool.submit(copy_context().run, one, item) for item in items]
        try:
            wait(started)
        finally:  # an interrupt: what has not begun does not begin
            pool.shutdown(wait=False, cancel_futures=True)
    # items begin in their order: none that was left out is before the earliest failure
    return [future.result() for future in started]


class ThreadQueue(Generic[R]):
    """Work that threads do in the background, as it is handed over; use as a context manager.

    At the end what has not begun is left out, and what is under way ends.
    """

    def __init__(self, at_once: int, name: str) -> None:
        """Do so many things at once at the most, in threads of this name."""
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._submitted: list[Future[R]] = []
        self._unfinished = 0
        self._ended = threading.Condition()

    def __enter__(self) -> Self:
        """No thread begins before the first work comes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave out what has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Hand over work."""
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
        """Wait while as much as is done at once waits to begin."""
        with self._ended:
            self._ended.wait_for(lambda: self._unfinished <= self._at_once)

    def results(self) -> list[R]:
        """Wait for all of it; the results come in the order in which the work was handed over.

        Raises:
            Exception: The failure of the earliest work that failed.
        """
        return [future.result() for future in self._submitted]
