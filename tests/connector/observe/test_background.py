"""A queue with a thread: in order, with a bound, and nothing that it does reaches who puts something there."""

from __future__ import annotations

import os
import threading
from typing import Any

from tierlake.connector.observe import hooks
from tierlake.connector.observe.background import BackgroundQueue


def test_items_are_worked_on_in_order_by_one_thread() -> None:
    seen: list[int] = []
    threads: set[int] = set()

    def work(items: list[Any]) -> None:
        seen.extend(items)
        threads.add(threading.get_ident())

    queue = BackgroundQueue("test", work, 10_000)
    for number in range(1000):
        queue.put(number)
    queue.flush(10)
    assert seen == list(range(1000))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    queue.close()
    queue.join(10)


def test_work_that_fails_costs_its_items() -> None:
    seen: list[str] = []

    def work(items: list[Any]) -> None:
        seen.extend(items)
        if "bad" in items:
            raise KeyError("bad")

    before = hooks.dropped().get("test", 0)
    queue = BackgroundQueue("test", work, 10)
    for item in ("bad", "good"):
        queue.put(item)
        queue.flush(10)
    assert seen == ["bad", "good"]
    assert hooks.dropped()["test"] - before == 1
    queue.close()


def test_what_has_no_room_is_counted_and_told_once() -> None:
    goes_on = threading.Event()
    begun = threading.Event()

    def work(_: list[Any]) -> None:
        begun.set()
        goes_on.wait(10)

    queue = BackgroundQueue("test", work, 2)
    queue.put(0)
    assert begun.wait(10)
    for number in range(5):
        queue.put(number)
    assert (queue.lost(), queue.lost()) == (3, 0)
    goes_on.set()
    queue.close()
    queue.put(6)
    queue.join(10)


def test_a_flush_of_the_work_itself_does_not_wait_for_itself() -> None:
    ended = threading.Event()

    def work(_: list[Any]) -> None:
        queue.flush(60)
        ended.set()

    queue = BackgroundQueue("test", work, 2)
    queue.put(0)
    assert ended.wait(10)
    queue.close()


def test_a_forked_child_begins_anew() -> None:
    seen: list[int] = []
    queue = BackgroundQueue("test", seen.extend, 10)
    queue.put(1)
    queue.flush(10)
    child = os.fork()
    if child == 0:
        queue.put(2)
        queue.flush(10)
        os._exit(0 if seen == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seen == [1]
    queue.close()
