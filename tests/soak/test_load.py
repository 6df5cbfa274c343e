"""Under load for minutes nothing grows, and no call fails: memory, sockets and threads of one process.

`TIERLAKE_SOAK_SECONDS` says how long each load goes on. What is compared are medians of the first and the last third of
the samples that follow the warm-up, one a second: bursts of large objects move them little.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from benchmarks.load import objects
from benchmarks.load.crew import Crew, Watched
from benchmarks.load.samples import Growth
from benchmarks.load.traffic import Load
from benchmarks.model import Place
from benchmarks.relay import Relay
from tests.faults.answers import Answer, Cut, LostReply, Refusal
from tests.faults.proxy import Proxy, Request
from tests.polling import until
from tests.servers import Rig
from tierlake.connector.local_server.servers import REGION

SECONDS = float(os.environ.get("TIERLAKE_SOAK_SECONDS", "120"))
WARM_UP_SECONDS = SECONDS / 6
READERS, WRITERS = 64, 16
EACH_FAULT = 20

# A connection is made where all others are in use: their number follows the calls under way, of which there are 80 at
# most. A median of 30 samples of that moves by a few. A leak at one of a thousand calls would be more than 20 of them.
MORE_SOCKETS = 16
# Rust's runtime has a thread for each result that waits for Python's lock at once, and keeps it for 10 s: their number
# rises to that of the calls under way. So they are counted at rest too, when pools alone are left, of so many a core.
MORE_THREADS = 24
THREADS_AT_REST, REST_SECONDS = 2 * (os.cpu_count() or 1) + 12, 60
# Calls with objects of up to 4 MiB hold some tens of MiB at a time; a median of that moves by 2 to 3. A leak of 1 KiB a
# call would be more than 20.
MORE_MEMORY = 16 << 20

# By default glibc keeps what is freed for each of many arenas. That goes on growing for minutes (seen: 1 to 4 KiB a
# call, for tierlake and for s3fs, while what is in use stays the same to 1%), and would hide a leak of that size.
RETURNING_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 1024),
}

pytestmark = [pytest.mark.soak, pytest.mark.timeout(20 * SECONDS + 600)]


@dataclass
class Trouble:
    """A proxy's hook: one of so many requests is refused, cut off, or done without a reply, in turns.

    A target that has had it is left alone for its next requests, so that nobody meets it as often as a call is tried.
    """

    given: Counter[str] = field(default_factory=Counter)
    _spared: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kinds: Iterator[Answer] = field(
        default_factory=lambda: itertools.cycle([Refusal(), Cut(reset=True), Refusal(), LostReply(reset=True)])
    )

    def __call__(self, request: Request) -> Answer | None:
        with self._lock:
            spared = self._spared.pop(request.target, 0)
            if spared:
                self._spared.update({request.target: spared - 1} if spared > 1 else {})
                return None
            if request.number % EACH_FAULT:
                return None
            self._spared[request.target] = 3
            answer = next(self._kinds)
            self.given[type(answer).__name__] += 1
        return Refusal(is_head=True) if isinstance(answer, Refusal) and request.method == "HEAD" else answer


@contextmanager
def nothing_between(server: Rig) -> Iterator[str]:
    yield server.endpoint_url


@contextmanager
def resets(server: Rig) -> Iterator[str]:
    """Connections that are kept, and reset at one of so many requests."""
    with Relay(server.endpoint_url, reset_every=EACH_FAULT) as relay:
        yield relay.url


@contextmanager
def faults(server: Rig) -> Iterator[str]:
    """A connection for each request, and one of so many that fails in another way."""
    trouble = Trouble()
    with Proxy(server.endpoint_url, before=trouble) as proxy:
        yield proxy.url
    assert min(trouble.given[kind.__name__] for kind in (Refusal, Cut, LostReply)) >= SECONDS / 4


@pytest.mark.parametrize("between", [nothing_between, resets, faults], ids=lambda each: each.__name__)
def test_nothing_grows_under_load_and_no_call_fails(server, bucket, between):
    objects.put(server.admin, bucket)
    key, secret = server.user or (server.key, server.secret)
    with ExitStack() as stack:
        place = Place(stack.enter_context(between(server)), key, secret, REGION, bucket, server.profile)
        crew = stack.enter_context(Crew("tierlake", place, variables=RETURNING_MEMORY))
        crew.warm_up(Load(READERS, WRITERS, WARM_UP_SECONDS))
        crew.run(Load(READERS, WRITERS, SECONDS))
        outcome = crew.watched.outcome
        assert not outcome.errors, outcome.messages
        assert min(outcome.readers) > 0.2 * max(outcome.readers), "a reader starves"
        assert grown(crew.watched) == []
        until(lambda: crew.sample().threads <= THREADS_AT_REST, REST_SECONDS)


def grown(watched: Watched) -> list[str]:
    """What grew by more than it may."""
    most = {"memory": MORE_MEMORY, "sockets": MORE_SOCKETS, "threads": MORE_THREADS}
    growths = {name: Growth.of(watched.during, lambda sample, name=name: getattr(sample, name)) for name in most}
    return [
        f"{name}: {growth.first:,.0f} to {growth.last:,.0f} in {watched.outcome.calls:,} calls"
        for name, growth in growths.items()
        if growth.amount > most[name]
    ]
