"""Small objects sent in the background: each once, under the policy, never more at once than said."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tierlake.connector.errors import BucketNotFound

BODY = b"x" * 1000


@pytest.fixture
def seen(fs, monkeypatch):
    """The most requests, and bytes in them, that were under way at a time."""
    call = fs.store.gateway.call
    under_way: list[int] = []
    most = {"requests": 0, "bytes": 0, "calls": 0}

    async def counted(operation, *options, **parameters):
        if operation != "put_object":
            return await call(operation, *options, **parameters)
        under_way.append(len(parameters["Body"]))
        most["calls"] += 1
        most["requests"] = max(most["requests"], len(under_way))
        most["bytes"] = max(most["bytes"], sum(under_way))
        try:
            return await call(operation, *options, **parameters)
        finally:
            under_way.remove(len(parameters["Body"]))

    monkeypatch.setattr(fs.store.gateway, "call", counted)
    return most


def test_many_objects_from_several_threads(fs, bucket, seen):
    names = [f"{bucket}/many/{number}" for number in range(60)]
    with fs.sender(at_once=8, max_bytes=5000) as sender, ThreadPoolExecutor(4) as pool:
        for wait in pool.map(lambda name: sender.send(name, name.encode() * 40, {"run": "r1"}), names):
            wait()
        assert sender.held_bytes == 0
    assert fs.cat(names) == {name: name.encode() * 40 for name in names}
    assert fs.encryption_faults(names) == {}
    assert fs.head_object(names[0])["Metadata"] == {"run": "r1"}
    assert seen["calls"] == len(names)
    assert 1 < seen["requests"] <= 8
    assert seen["bytes"] <= 5000


def test_what_is_larger_than_the_bound_is_sent_alone(fs, bucket, seen):
    with fs.sender(at_once=8, max_bytes=10) as sender:
        waits = [sender.send(f"{bucket}/large/{number}", BODY) for number in range(3)]
    for wait in waits:
        wait()
    assert seen == {"calls": 3, "requests": 1, "bytes": len(BODY)}


def test_a_failure_is_raised_to_who_waits_and_makes_room(fs, bucket):
    with fs.sender(at_once=1, max_bytes=1) as sender:
        lost = sender.send("no-such-bucket-here/x", BODY)
        good = sender.send(f"{bucket}/x", BODY)
    assert sender.held_bytes == 0
    with pytest.raises(BucketNotFound):
        lost()
    good()
    assert fs.cat_file(f"{bucket}/x") == BODY


def test_the_end_waits_for_requests_under_way(fs, bucket, monkeypatch):
    call, begun, goes_on = fs.store.gateway.call, threading.Event(), threading.Event()

    async def slow(operation, *options, **parameters):
        begun.set()
        while not goes_on.is_set():
            await fs.store.gateway.profile()
        return await call(operation, *options, **parameters)

    sender = fs.sender(at_once=2, max_bytes=1 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(fs.store.gateway, "call", slow)
        sender.send(f"{bucket}/slow", BODY)
        assert begun.wait(30)
        ending = threading.Thread(target=sender.__exit__, args=(None, None, None))
        ending.start()
        assert ending.is_alive()
        goes_on.set()
        ending.join(30)
    assert not ending.is_alive()
    assert fs.cat_file(f"{bucket}/slow") == BODY
