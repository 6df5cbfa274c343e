"""Bounded parallel work on the event loop."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from fsspec.asyn import get_loop

from tierlake.connector.client.concurrency import as_completed, blocking, in_order, outcomes
from tierlake.connector.errors import AccessDenied
from tierlake.connector.observe import depth

AT_ONCE = 4


class Work:
    """Counts how many items are under way; items given fail."""

    def __init__(self, **failing: Exception) -> None:
        self.failing = failing
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most = 0
        self.threads: set[int] = set()

    async def __call__(self, item: str) -> str:
        self.begun.append(item)
        self.threads.add(threading.get_ident())
        self.most = max(self.most, len(self.begun) - len(self.ended))
        for _ in range(1 + len(self.begun) % 3):
            await asyncio.sleep(0)
        self.ended.append(item)
        if item in self.failing:
            raise self.failing[item]
        return item.upper()


def items(number: int) -> list[str]:
    return [f"i{n}" for n in range(number)]


@pytest.mark.parametrize("number", [0, 1, AT_ONCE, 40])
def test_results_come_in_order_and_the_bound_is_kept(number: int) -> None:
    work = Work()
    assert asyncio.run(in_order(work, items(number), at_once=AT_ONCE)) == [item.upper() for item in items(number)]
    assert work.most == min(number, AT_ONCE)


def test_items_are_taken_as_they_begin() -> None:
    taken: list[str] = []
    work = Work()

    def some() -> Iterator[str]:
        for item in items(20):
            assert len(taken) - len(work.ended) <= AT_ONCE
            taken.append(item)
            yield item

    asyncio.run(in_order(work, some(), at_once=AT_ONCE))
    assert taken == items(20)


def test_after_a_failure_nothing_begins_and_what_is_under_way_ends() -> None:
    work = Work(i5=AccessDenied("this one"), i6=AccessDenied("and that one"))
    with pytest.raises(AccessDenied, match="this one"):
        asyncio.run(in_order(work, items(40), at_once=AT_ONCE))
    assert sorted(work.begun) == sorted(work.ended)
    assert len(work.begun) <= 6 + AT_ONCE


def test_each_item_has_an_outcome_and_a_fault_of_ours_is_raised() -> None:
    denied = AccessDenied("this one")
    assert asyncio.run(outcomes(Work(i1=denied), items(3), at_once=AT_ONCE)) == ["I0", denied, "I2"]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(outcomes(Work(i1=ZeroDivisionError()), items(3), at_once=AT_ONCE))


def test_outcomes_come_to_the_thread_that_asked_as_they_are_known() -> None:
    denied, work = AccessDenied("this one"), Work()
    work.failing = {"i7": denied}
    here = dict(as_completed(get_loop(), work, items(40), at_once=AT_ONCE))
    assert here == {item: denied if item == "i7" else item.upper() for item in items(40)}
    assert work.most == AT_ONCE
    assert threading.get_ident() not in work.threads


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_who_leaves_early_begins_nothing_more_and_leaves_nothing_under_way(error: type[BaseException]) -> None:
    work, gate = Work(), threading.Event()

    async def gated(item: str) -> str:
        if len(work.begun) >= AT_ONCE:
            await asyncio.to_thread(gate.wait)
        return await work(item)

    def use() -> None:
        for number, _ in enumerate(as_completed(get_loop(), gated, items(1000), at_once=AT_ONCE), start=1):
            if number == AT_ONCE:
                threading.Thread(target=gate.set).start()
                raise error

    with pytest.raises(error):
        use()
    assert len(work.begun) < 100  # the thread may be faster than the end of the iterator
    assert sorted(work.begun) == sorted(work.ended)


def test_a_fault_of_ours_ends_the_outcomes() -> None:
    with pytest.raises(ZeroDivisionError):
        list(as_completed(get_loop(), Work(i3=ZeroDivisionError()), items(40), at_once=AT_ONCE))


def test_the_loops_own_thread_may_not_wait_for_itself() -> None:
    async def inside() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="event loop"):
            blocking(loop, Work()("x"))
        with pytest.raises(NotImplementedError, match="event loop"):
            next(as_completed(loop, Work(), items(3), at_once=AT_ONCE))

    asyncio.run(inside())


def test_blocking_work_gives_its_result_and_its_error() -> None:
    assert blocking(get_loop(), in_order(Work(), items(3), at_once=AT_ONCE)) == ["I0", "I1", "I2"]
    with pytest.raises(AccessDenied):
        blocking(get_loop(), in_order(Work(i2=AccessDenied("no")), items(3), at_once=AT_ONCE))


def test_what_waits_for_a_place_is_counted():
    waiting = []

    async def work(item):
        await asyncio.sleep(0)
        waiting.append(depth.depths()["waiting"])
        if item == "17":
            raise ValueError(item)

    asyncio.run(in_order(work, list("01234"), at_once=2))
    assert (max(waiting), min(waiting)) == (3, 0)
    with pytest.raises(ValueError, match="17"):
        asyncio.run(in_order(work, [str(number) for number in range(50)], at_once=2))
    assert depth.depths()["waiting"] == 0, "those that were not begun wait no more"
    asyncio.run(in_order(work, iter("01234"), at_once=2))
    assert depth.depths()["waiting"] == 0
