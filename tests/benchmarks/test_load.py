"""The load: what it calls, what it compares and counts, and what is seen of its processes."""

from __future__ import annotations

import math
import os
import socket
import threading
from array import array
from collections import Counter
from dataclasses import replace

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks import clients
from benchmarks.child import ContenderError
from benchmarks.load import objects, tables
from benchmarks.load.crew import Crew, Watched, shares
from benchmarks.load.samples import Growth, Sample, Sampler
from benchmarks.load.traffic import READ_BACK, VERBS, WHOLE, WRITTEN, Load, Outcome, Traffic
from benchmarks.model import Place
from tests.polling import until
from tierlake.connector.local_server.servers import REGION

CALLS = 60
LOAD = Load(readers=6, writers=3, seconds=300, calls=CALLS)
MIB = 1 << 20


@pytest.fixture
def memory():
    filesystem = MemoryFileSystem(skip_instance_cache=True)
    filesystem.store, filesystem.pseudo_dirs = {}, [""]  # otherwise all of a process share one
    for line in objects.stored().values():
        for one in line:
            filesystem.pipe_file(f"/bucket/{one.key}", bytes(one.content))
    return filesystem


def test_each_thread_makes_its_calls_and_all_bytes_are_right(memory):
    outcome = Traffic(memory, "/bucket", "own").run(LOAD)
    assert not outcome.errors, outcome.messages
    assert outcome.readers == [CALLS] * LOAD.readers
    assert outcome.calls == CALLS * (LOAD.readers + LOAD.writers)
    assert set(outcome.waits) == set(VERBS)
    assert len(outcome.waits[WRITTEN]) == len(outcome.waits[READ_BACK]) == CALLS * LOAD.writers // 2
    assert outcome.written > len(outcome.waits[WRITTEN]) * 4096
    assert outcome.read > outcome.written


def test_a_load_ends_with_its_time(memory):
    outcome = Traffic(memory, "/bucket", "own").run(replace(LOAD, seconds=0.05, calls=10**9))
    assert min(outcome.readers) > 0
    assert outcome.seconds < 30


def test_the_same_seed_makes_the_same_calls_and_another_process_others(memory):
    def paths(seed: int) -> list[str]:
        traffic, chosen = Traffic(memory, "/bucket", "own"), []
        traffic.cat = lambda path, *_: chosen.append(path) or b""
        traffic.run(Load(1, 0, 300, seed=seed, calls=CALLS))
        return chosen

    assert paths(1) == paths(1) != paths(2)


def test_bytes_that_nobody_wrote_and_calls_that_fail_are_errors_of_their_kind(memory):
    traffic = Traffic(memory, "/bucket", "own")
    traffic.cat = lambda *_: b"other bytes"

    def broken(*_):
        raise ConnectionResetError("by the peer")

    traffic.pipe = broken
    outcome = traffic.run(LOAD)
    assert outcome.errors[f"{WHOLE}: WrongBytesError"] > CALLS
    assert outcome.errors[f"{WRITTEN}: ConnectionResetError"] == CALLS * LOAD.writers
    assert outcome.messages[f"{WRITTEN}: ConnectionResetError"] == "by the peer"
    assert READ_BACK not in outcome.waits
    assert outcome.written == 0


def test_an_outcome_comes_back_from_another_process():
    one = Outcome(2.0, 5, 7, {WHOLE: array("I", [1, 3])}, Counter(a=1), {"a": "why"}, [1, 2])
    assert Outcome.of(one.values()) == one
    both = Outcome.together([one, one], seconds=3.0)
    assert (both.seconds, both.read, both.calls, both.errors["a"], both.readers) == (3.0, 10, 4, 2, [1, 2, 1, 2])


def test_a_load_is_divided_among_processes_that_choose_for_themselves():
    parts = shares(replace(LOAD, readers=7), 4)
    assert [one.readers for one in parts] == [2, 2, 2, 1]
    assert [one.writers for one in parts] == [1, 1, 1, 0]
    assert len({one.seed for one in parts}) == 4


def test_sockets_and_threads_of_a_process_are_counted():
    pid, ended = os.getpid(), threading.Event()
    before = Sample.of(pid)
    thread = threading.Thread(target=ended.wait)
    with socket.socket(), socket.socket():
        thread.start()
        during = Sample.of(pid)
        ended.set()
        thread.join()
    assert during.sockets == before.sockets + 2
    assert during.threads == before.threads + 1
    assert during.memory > 10 * MIB


def test_samples_are_taken_until_the_end_and_a_process_that_ends_is_no_error():
    with Sampler([os.getpid()], every=0.01) as sampler:
        until(lambda: len(sampler.samples) > 3, 30)
    with Sampler([2**22 + 1]) as nothing:
        pass
    assert nothing.samples == []


def test_growth_is_of_medians_so_that_a_burst_is_none():
    flat = [Sample(100 * MIB, 80, 90)] * 20
    burst = [Sample(900 * MIB, 400, 90)] * 4
    assert Growth.of([*flat, *burst, *flat, *burst], lambda sample: sample.memory).amount == 0
    leak = [Sample((100 + number) * MIB, 80, 90) for number in range(30)]
    assert Growth.of(leak, lambda sample: sample.memory).amount == 20 * MIB


def test_a_percentile_is_a_wait_that_was_measured():
    waits = array("I", range(1, 101))
    assert [tables.percentile(waits, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert tables.percentile(array("I", [7]), 0.5) == 7
    assert math.isnan(tables.percentile(array("I"), 0.5))


def test_a_table_has_a_column_for_each_library_and_says_what_failed():
    outcome = Outcome(2.0, 4_000_000, 0, {WHOLE: array("I", [1000, 2000, 9000])}, Counter(), {}, [1, 2])
    failed = replace(outcome, errors=Counter({"pipe_file: OSError": 2}), messages={"pipe_file: OSError": "gone"})
    held = [Sample(number * MIB, 3, 4) for number in range(10, 19)]
    text = tables.text(
        {
            "tierlake": Watched(outcome, held[0], held, held[-1]),
            "s3fs": Watched(failed, held[0], held, held[-1]),
        }
    )
    lines = {line[: tables.NAMES_WIDTH].strip(): line[tables.NAMES_WIDTH :].split() for line in text.splitlines()}
    assert lines[""] == ["tierlake", "s3fs"]
    assert lines["MB/s read"] == ["2.0", "2.0"]
    assert lines["errors"] == ["0", "2"]
    assert lines[WHOLE] == ["2.0", "9.0", "9.0", "9.0"] * 2
    assert text.endswith("s3fs, 2 x pipe_file: OSError: gone")


@pytest.fixture
def place(seaweedfs):
    bucket = seaweedfs.make_bucket()
    yield Place(seaweedfs.endpoint_url, seaweedfs.key, seaweedfs.secret, REGION, bucket, seaweedfs.profile)
    seaweedfs.drop_bucket(bucket)


@pytest.mark.slow
@pytest.mark.parametrize("contender", ["tierlake", "s3fs"])
def test_processes_share_a_load_on_a_real_server(place, contender):
    objects.put(clients.boto3(place), place.bucket)
    with Crew(contender, place, processes=2, every=0.1) as crew:
        crew.warm_up(Load(2, 2, 300, calls=2))
        assert crew.watched.outcome.calls == 0
        crew.run(Load(4, 2, 300, calls=10))
    watched = crew.watched
    assert not watched.outcome.errors, watched.outcome.messages
    assert watched.outcome.readers == [10] * 4
    assert watched.outcome.calls == 60
    assert watched.after.sockets > watched.before.sockets > 0
    assert max(sample.threads for sample in watched.during) > watched.before.threads


@pytest.mark.slow
def test_a_process_that_hangs_is_ended(place):
    with Crew("tierlake", place, grace=-299) as crew, pytest.raises(ContenderError, match="exit code -9"):
        crew.run(Load(1, 0, 300))
