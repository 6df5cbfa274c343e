"""Bounded parallel work in threads."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tierlake.pipelines.runtime.parallel import ThreadQueue, ahead, in_threads

AT_ONCE = 3
ITEMS = list(range(40))


class Work:
    """Counts what is under way; the items given fail."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.lock = threading.Lock()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most = 0
        self.threads: set[str] = set()

    def __call__(self, item: int) -> int:
        with self.lock:
            self.begun.append(item)
            self.most = max(self.most, len(self.begun) - len(self.ended))
            self.threads.add(threading.current_thread().name.rpartition("_")[0])
        with self.lock:
            self.ended.append(item)
        if item in self.failing:
            raise ValueError(item)
        return item * 2


@pytest.mark.parametrize("goes_on", [False, True])
def test_results_come_in_order_and_the_bound_is_kept(goes_on: bool) -> None:
    work = Work()
    assert in_threads(work, ITEMS, at_once=AT_ONCE, name="some", goes_on=goes_on) == [item * 2 for item in ITEMS]
    assert work.most <= AT_ONCE
    assert work.threads == {"some"}


def test_after_a_failure_nothing_begins() -> None:
    work = Work(4)
    with pytest.raises(ValueError, match="4"):
        in_threads(work, range(2000), at_once=AT_ONCE, name="some")
    assert sorted(work.begun) == sorted(work.ended)
    assert len(work.begun) < 2000


def test_a_failure_keeps_no_item_from_being_done_where_each_stands_for_itself() -> None:
    work = Work(7, 4)
    with pytest.raises(ValueError, match="4"):
        in_threads(work, ITEMS, at_once=AT_ONCE, name="some", goes_on=True)
    assert sorted(work.ended) == ITEMS


def test_a_queue_gives_results_in_the_order_in_which_work_came() -> None:
    with ThreadQueue[int](AT_ONCE, "some") as queue:
        for item in ITEMS:
            queue.wait_for_room()
            queue.submit(Work(), item)
        assert queue.results() == [item * 2 for item in ITEMS]
        assert not queue._unfinished


def test_a_queue_waits_while_as_much_waits_as_is_done() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def work(item: int) -> int:
        begun.release()
        gate.wait()
        return item

    with ThreadQueue[int](1, "some") as queue:
        queue.submit(work, 1)
        queue.wait_for_room()  # one is done: another may wait
        queue.submit(work, 2)
        begun.acquire()
        waiting = threading.Thread(target=queue.wait_for_room)
        waiting.start()
        try:
            assert queue._unfinished == 2
            assert waiting.is_alive()
        finally:
            gate.set()  # or the queue waits for its work for ever
        waiting.join()
        assert queue.results() == [1, 2]


def test_a_queue_that_is_left_by_an_error_leaves_out_what_has_not_begun() -> None:
    work, gate = Work(), threading.Event()

    def fail() -> None:
        with ThreadQueue[int](1, "some") as queue:
            queue.submit(lambda: int(gate.wait()))
            for item in ITEMS:
                queue.submit(work, item)
            queue._submitted[-1].add_done_callback(lambda _: gate.set())  # when it is left out
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert work.begun == []


def test_work_ahead_comes_in_order_and_takes_no_more_than_it_may() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            assert threading.current_thread() is threading.main_thread(), "a cursor may belong to its thread"
            taken.append(number)
            yield number

    given = []
    for result in ahead(lambda number: (number, threading.current_thread().name), items(), at_once=2, name="ahead"):
        given.append(result)
        assert len(taken) <= len(given) + 2
    assert [number for number, _ in given] == list(range(20))
    assert all(name.startswith("ahead") for _, name in given)


def test_a_failure_ahead_comes_where_it_belongs_and_ends_the_reading() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        return number

    given: list[int] = []
    with (
        pytest.raises(ValueError, match="the third"),
        closing(ahead(work, items(), at_once=2, name="ahead")) as results,
    ):
        given.extend(results)
    assert given == [0, 1, 2]
    assert len(taken) <= 6


def test_work_ahead_that_nobody_wants_any_more_ends_before_the_generator_does() -> None:
    running = threading.Event()

    def work(number: int) -> int:
        running.set()
        return number

    results = ahead(work, range(100), at_once=1, name="left-ahead")
    assert next(results) == 0
    results.close()
    assert running.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("left-ahead")]
