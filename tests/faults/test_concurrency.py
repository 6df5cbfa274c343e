"""Writers of the same partitions at the same time: every read is a state that the order of commits explains."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.synchronize import Event

import fsspec
import pyarrow as pa
import pytest

from tests.faults.kills import fork_server
from tests.pipelines.conftest import FIRST_DAY, trip_spec
from tierlake.pipelines import Dataset

pytestmark = pytest.mark.usefixtures("engine")

DAYS = 2
ROWS = 5
DEADLINE_SECONDS = 240
State = frozenset[str]


def batch(run_key: str, day: int) -> pa.Table:
    """Rows that tell which run wrote them, all on one day."""
    at = FIRST_DAY.replace(day=day)
    return pa.table(
        {
            "at": pa.array([at] * ROWS, pa.timestamp("us", "UTC")),
            "city": pa.array([run_key] * ROWS),
            "fare": pa.array([1.0] * ROWS, pa.float64()),
        }
    )


def plan_of(run_key: str) -> tuple[str, int]:
    """What a run does, by its name: `append` or `replace`, and the day."""
    _, _, mode, day = run_key.split("-")
    return mode, int(day)


def write(uri: str, options: dict[str, str], writer: int, rounds: int) -> None:
    dataset = Dataset.open(uri, fs=fsspec.filesystem("lake", **options))
    for number in range(rounds):
        mode = "replace" if (writer + number) % 3 == 0 else "append"
        run_key = f"{writer}-{number}-{mode}-{1 + (writer * 7 + number) % DAYS}"
        dataset.ingest(batch(run_key, plan_of(run_key)[1]), mode=mode, run_key=run_key)


def read_on(uri: str, options: dict[str, str], stop: Event, results: multiprocessing.Queue) -> None:
    dataset = Dataset.open(uri, fs=fsspec.filesystem("lake", **options))
    try:
        while not stop.is_set():
            results.put(Counter(dataset.read(columns=["city"]).column("city").to_pylist()))
    finally:
        results.put(None)


def states(dataset: Dataset) -> list[State]:
    """The runs whose rows are live after each commit, by replaying the history with a simple model."""
    live: dict[int, frozenset[str]] = {day: frozenset() for day in range(1, DAYS + 1)}
    found = [frozenset[str]()]
    for entry in reversed(dataset.history()):
        if entry.operation not in {"ingest", "append"}:
            continue
        mode, day = plan_of(entry.run)
        live[day] = frozenset({entry.run}) | (live[day] if mode == "append" else frozenset())
        found.append(frozenset().union(*live.values()))
    return found


def contend(server, bucket, fs, *, writers: int, rounds: int) -> None:
    dataset = Dataset.create(trip_spec(bucket, tiers=[], retention={}), fs=fs)
    dataset.ingest(batch("w-0-replace-1", 1), run_key="w-0-replace-1")
    context = fork_server()
    stop, results = context.Event(), context.Queue()
    options = server.storage_options
    reader = context.Process(target=read_on, args=(dataset.uri, options, stop, results))
    processes = [
        context.Process(target=write, args=(dataset.uri, options, writer, rounds)) for writer in range(writers)
    ]
    for process in [reader, *processes]:
        process.start()
    for process in processes:
        process.join(DEADLINE_SECONDS)
    stop.set()
    reads = list(iter(lambda: results.get(timeout=DEADLINE_SECONDS), None))
    reader.join(DEADLINE_SECONDS)
    assert [process.exitcode for process in [*processes, reader]] == [0] * (writers + 1)

    explained = states(dataset)
    assert len(explained) == writers * rounds + 2, "no run was lost, none was committed twice"
    for read in [*reads, Counter(dataset.read(columns=["city"]).column("city").to_pylist())]:
        assert set(read.values()) <= {ROWS}, "a run is seen whole or not at all"
        assert frozenset(read) in explained
    assert frozenset(dataset.read(columns=["city"]).column("city").to_pylist()) == explained[-1]


@pytest.mark.slow
def test_four_writers_of_two_partitions(server, bucket, fs):
    contend(server, bucket, fs, writers=4, rounds=3)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_eight_writers_of_two_partitions(server, bucket, fs):
    contend(server, bucket, fs, writers=8, rounds=8)
