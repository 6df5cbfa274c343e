"""What is remembered is bounded, and goes when nobody asks for it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.client.listing_cache import ListingCache
from tierlake.connector.client.recent import Recent
from tierlake.connector.client.single_flight import SingleFlight
from tierlake.connector.profiles import detect


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_the_last_used_stay(uses: list[tuple[bool, int]]) -> None:
    recent, used = Recent[int, int](4), list[int]()
    for is_set, key in uses:
        if not is_set and key not in used:
            assert recent.get(key) is None
            continue
        if is_set:
            recent[key] = -key
        assert recent[key] == -key
        used = [*(other for other in used if other != key), key][-4:]
    assert list(recent) == used


def test_what_nobody_asks_for_goes() -> None:
    now = [0.0]
    recent = Recent[str, int](100, seconds=10, clock=lambda: now[0])
    recent["asked"] = recent["idle"] = 1
    for at in (6.0, 12.0, 18.0):
        now[0] = at
        assert recent["asked"] == 1
    assert list(recent) == ["asked"]
    now[0] = 27.0
    assert list(recent.items()) == [("asked", 1)]
    assert list(recent.values()) == [1]
    now[0] = 28.0  # it was looked at, and not asked for
    assert len(recent) == 0


def test_large_entries_count_for_more() -> None:
    recent = Recent[str, str](10, size=len)
    for key, value in (("a", "xxxx"), ("b", "xxxx"), ("c", "xxxx")):
        recent[key] = value
    assert list(recent) == ["b", "c"]
    recent["b"] = "x"
    recent["d"] = "xxxxx"
    assert list(recent) == ["c", "b", "d"]
    recent["e"] = "x" * 99
    assert list(recent) == ["e"], "the newest stays"
    recent.clear()
    recent["a"] = "x" * 10
    assert list(recent) == ["a"]


def test_listings_that_have_expired_leave_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk over folders that nobody asks for again kept each of them for ever."""
    now = [0.0]
    monkeypatch.setattr("tierlake.connector.client.listing_cache.time.time", lambda: now[0])
    cache = ListingCache(listings_expiry_time=1)
    for number in range(1000):
        now[0] += 0.1
        cache[f"b/{number}"] = []
    assert len(cache._cache) == len(cache._times) <= 12
    cache.clear()
    assert not cache._times
    off = ListingCache(use_listings_cache=False)
    off["b/1"] = []
    assert not off._times


def test_listings_that_never_expire_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierlake.connector.client.listing_cache.FOLDERS_MAX", 10)
    cache = ListingCache()
    for number in range(50):
        cache[f"b/{number}"] = []
    assert list(cache) == [f"b/{number}" for number in range(40, 50)]


def test_servers_by_endpoint_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "ENDPOINTS_MAX", 3)
    monkeypatch.setattr(detect, "_headers", {})
    told = {"ResponseMetadata": {"HTTPHeaders": {"server": "MinIO"}}}
    for number in range(10):
        detect.observe(f"http://{number}", told)
    assert list(detect._headers) == ["http://7", "http://8", "http://9"]


def test_a_question_is_forgotten_with_its_answer() -> None:
    """Also where it failed, and nobody waited for it any more."""
    failures: list[object] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        flight, gate = SingleFlight[None](), asyncio.Event()

        async def answer() -> None:
            await gate.wait()
            raise ValueError

        caller = asyncio.ensure_future(flight.ask("a", answer))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not flight._running
        gc.collect()

    asyncio.run(ask())
    assert not failures
