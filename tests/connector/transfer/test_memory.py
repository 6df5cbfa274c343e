"""The memory for what is fetched before it is read: one account, never waited for, always returned."""

from __future__ import annotations

import gc
import threading

from tierlake.connector.transfer.memory import ReadMemory


def test_it_ends_at_the_limit_of_whoever_asks():
    memory = ReadMemory()
    held = memory.acquire(60, 100)
    assert held is not None
    assert memory.acquire(41, 100) is None
    assert memory.acquire(1, 50) is None, "the process holds more than this limit"
    other = memory.acquire(100, 200)
    assert other is not None
    assert (memory.used, memory.peak) == (160, 160)
    held.release()
    other.release()
    assert (memory.used, memory.peak) == (0, 160)


def test_what_is_needed_at_once_is_not_refused():
    memory = ReadMemory()
    lease = memory.require(500)
    assert memory.acquire(1, 100) is None
    lease.release()
    assert memory.acquire(1, 100) is not None


def test_a_lease_is_returned_once():
    memory = ReadMemory()
    lease = memory.require(10)
    memory.require(10)  # dropped at once
    lease.release()
    lease.release()
    assert memory.used == 0


def test_a_view_keeps_the_lease():
    memory, data = ReadMemory(), b"x" * 100
    lease = memory.require(100)
    view = lease.kept_by(memoryview(data)[10:20])
    other = lease.kept_by(memoryview(data)[20:30])
    del lease
    gc.collect()
    assert memory.used == 100
    del view
    assert memory.used == 100
    del other
    assert memory.used == 0


def test_leases_may_end_in_any_thread():
    memory = ReadMemory()

    def work():
        for _ in range(2000):
            lease = memory.acquire(7, 1000)
            if lease is not None:
                lease.kept_by(memoryview(b"x"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.used == 0
    assert memory.peak <= 1000
