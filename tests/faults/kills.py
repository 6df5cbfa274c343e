"""Kill a writer at one of its requests, and look at what it left.

The writer is a process of its own, started by a fork server that has everything imported; all its requests go through a
proxy that counts them and kills the writer before the request is passed on, or after the server has answered.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from typing import Literal

import fsspec
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable

from tests.faults.proxy import Proxy, Request
from tests.pipelines.conftest import make_trips, trip_spec
from tests.servers import Rig
from tierlake.pipelines import Dataset
from tierlake.pipelines.runtime.clock import ServerClock

When = Literal["before", "after"]
State = dict[str, tuple[int, float]]

AS_OF = "2013-10-30"  # the first two days are past 300 d
RUN_KEY = "the-run"
AFTER_THE_GRACE = timedelta(days=8)
_DEADLINE_SECONDS = 120
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Operation:
    """Something that writes.

    Attributes:
        prepare: Brings a dataset with four days into the state before.
        run: The work that is killed, and that is run again afterwards.
        offset: Of the clock under which it runs.
    """

    prepare: Callable[[Dataset], object]
    run: Callable[[Dataset], object]
    offset: timedelta = timedelta(0)


def _nothing(_: Dataset) -> None:
    return


def _replace(dataset: Dataset) -> object:
    return dataset.ingest(make_trips(days=3, each=5, start=2, fare=100.0), run_key=RUN_KEY)


def _append(dataset: Dataset) -> object:
    return dataset.ingest(make_trips(days=2, each=5, start=3), mode="append", run_key=RUN_KEY)


def _tier(dataset: Dataset) -> object:
    result = dataset.plan_tiering("2013-05-01").apply()
    result.raise_failures()
    return result


def _expire(dataset: Dataset) -> object:
    result = dataset.plan_expiry(AS_OF).apply()
    result.raise_failures()
    return result


def _undo(dataset: Dataset) -> object:
    return dataset.undo_expiry("date=2013-01-02")


def _append_twice(dataset: Dataset) -> None:
    """Plain tables take no append: they get other rows."""
    mode = "append" if dataset.format == "delta" else "replace"
    for fare in (10.0, 100.0):
        dataset.ingest(make_trips(days=2, each=5, fare=fare), mode=mode)


def _erase(dataset: Dataset) -> object:
    return dataset.erase([("city", "==", "JFK")])


def _apply(dataset: Dataset) -> object:
    columns = {"at": "timestamp", "city": "string", "fare": "double", "tip": "double"}
    return dataset.apply_spec({"retention": {"grace": "60d"}, "columns": columns})


OPERATIONS: dict[str, Operation] = {
    "ingest": Operation(_nothing, _replace),
    "append": Operation(_nothing, _append),
    "tier": Operation(_nothing, _tier),
    "expire": Operation(_nothing, _expire),
    "undo": Operation(_expire, _undo),
    "compact": Operation(_append_twice, Dataset.compact),
    "erase": Operation(_append_twice, _erase),
    "vacuum": Operation(_expire, Dataset.vacuum, AFTER_THE_GRACE),
    "apply": Operation(_nothing, _apply),
    "undrop": Operation(Dataset.drop, Dataset.undrop),
}


@dataclass(frozen=True)
class Place:
    """Where a dataset of this experiment is; what a child process needs to open it."""

    uri: str
    options: dict[str, str]

    def open(self, endpoint_url: str | None = None, offset: timedelta = timedelta(0)) -> Dataset:
        fs = fsspec.filesystem("lake", **{**self.options, **({"endpoint_url": endpoint_url} if endpoint_url else {})})
        bucket = self.uri.removeprefix("lake://").partition("/")[0]
        return Dataset.open(self.uri, fs=fs, clock=ServerClock(fs, bucket, offset))

    def by_lake(self) -> State:
        """What a reader of `lake://` sees that looks at the log every time."""
        fs = fsspec.filesystem("lake", view_freshness=0, use_listings_cache=False, **self.options)
        return state_of(pads.dataset(self.uri.removeprefix("lake://"), filesystem=fs, partitioning="hive").to_table())

    def by_log(self) -> State:
        """What another Delta reader sees."""
        options = {
            "endpoint_url": self.options["endpoint_url"],
            "access_key_id": self.options["key"],
            "secret_access_key": self.options["secret"],
            "region": "us-east-1",
            "allow_http": "true",
        }
        table = DeltaTable(self.uri.replace("lake://", "s3://"), storage_options=options)
        return state_of(table.to_pyarrow_table())


def state_of(table: pa.Table) -> State:
    """Rows and sum of fares by day."""
    if not table.num_rows:  # a listing of nothing has no columns either
        return {}
    grouped = table.group_by("date").aggregate([("fare", "count"), ("fare", "sum")]).to_pylist()
    return {str(row["date"]): (row["fare_count"], round(row["fare_sum"], 6)) for row in grouped}


def prepared(server: Rig, bucket: str, operation: Operation, number: int, table_format: str) -> Place:
    """A dataset in the state before."""
    place = Place(f"lake://{bucket}/{table_format}-{number}/trips", server.storage_options)
    fs = fsspec.filesystem("lake", **place.options)
    dataset = Dataset.create(trip_spec(bucket, uri=place.uri, format=table_format), fs=fs)
    dataset.ingest(make_trips())
    operation.prepare(dataset)
    return place


_PRELOADED = [
    "boto3",
    "deltalake",
    "moto.server",
    "pytest",
    "pyarrow.dataset",
    "tierlake.connector.filesystem",
    *(
        f"pipelines.{name}"
        for name in (
            "dataset",
            "ingest",
            "tiering",
            "expiry",
            "undo",
            "vacuum",
            "verify",
            "compact",
            "erase",
            "redescribing",
            "dropping",
            "tables.parquet",
        )
    ),
]


def fork_server() -> ForkServerContext:
    """A fork server that has imported what writers need; it sees installed packages only, not `tests`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def ended(
    child: multiprocessing.context.ForkServerProcess, what: str, *, seconds: float = _DEADLINE_SECONDS
) -> int | None:
    """The exit code of a process that was started; one that hangs is killed, and fails."""
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
        raise TimeoutError(f"{what} hangs")
    return child.exitcode


def _work(place: Place, name: str, endpoint_url: str) -> None:
    operation = OPERATIONS[name]
    operation.run(place.open(endpoint_url, operation.offset))


def kill_points(requests: Iterable[Request]) -> list[Request]:
    """The requests at which a kill can leave something else than at another: those that change something.

    Reads leave what there was: before one of them is before the next that changes something.
    """
    return [request for request in requests if request.method not in _READS]


def run_killed(place: Place, name: str, number: int | None, when: When) -> list[Request]:
    """Run an operation and kill it at a request.

    Args:
        place: A dataset in the state before.
        name: Of the operation.
        number: Of the kill point, from 0; with None, or where it never comes, the operation ends.
        when: Before the request is passed on, or after the server has answered.

    Returns:
        The requests that came.
    """
    child: multiprocessing.context.ForkServerProcess

    def kill(request: Request) -> None:
        points = kill_points(list(proxy.requests))
        if request in points and points.index(request) == number:
            os.kill(child.pid, signal.SIGKILL)
            raise ConnectionAbortedError

    with Proxy(place.options["endpoint_url"], **{when: kill}) as proxy:
        child = fork_server().Process(target=_work, args=(place, name, proxy.url))
        child.start()
        exit_code = ended(child, f"{name} killed {when} request {number}")
        came = number is not None and number < len(kill_points(proxy.requests))
        assert exit_code == (-signal.SIGKILL if came else 0), f"exit code {exit_code} at request {number}"
        return proxy.requests
