"""A small daily dataset for the tests of policies: some days, some rows each, on a clock that can be put forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.tables.protocol import Table
from tierlake.pipelines.tables.snapshot import Change, Commit

DAYS = ("2013-01-01", "2013-02-01", "2013-03-01", "2013-04-01")
AS_OF = "2013-04-11"
"""On this day they are 99, 68, 40 and 9 days old: past retention, cold, warm and hot."""


@dataclass
class Offset:
    """A server's clock that a test puts forward."""

    fs: LakeFileSystem
    bucket: str
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return ServerClock(self.fs, self.bucket, self.ahead).now()

    def of_store(self, instant: datetime) -> datetime:
        return instant + self.ahead


def rows(days: Iterable[str] = DAYS, *, each: int = 20, start: int = 0) -> pa.Table:
    """`each` rows a day: `at` in that day (UTC), `v` counting up from `start`."""
    times, values = [], []
    for day in days:
        for number in range(each):
            times.append(datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(seconds=number))
            values.append(start + number)
    return pa.table({"at": pa.array(times, pa.timestamp("us", tz="UTC")), "v": pa.array(values, pa.int64())})


def bulky(days: Iterable[str], *, each: int) -> pa.Table:
    """Like `rows`, with 100 bytes a row that do not compress."""
    table = rows(days, each=each)
    noise = np.random.default_rng(7).bytes(100 * table.num_rows)
    chunks = [noise[100 * number : 100 * number + 100] for number in range(table.num_rows)]
    return table.append_column("noise", pa.array(chunks, pa.binary()))


def daily_spec(bucket: str, **changes: Any) -> DatasetSpec:
    """Warm from 30 days, cold from 60, gone after 90, undo for a week."""
    fields: dict[str, Any] = {
        "uri": f"lake://{bucket}/daily",
        "partition": {"time": {"column": "at"}},
        "tiers": [{"after": "30d", "tier": "warm"}, {"after": "60d", "tier": "cold"}],
        "retention": {"expire_after": "90d", "grace": "7d"},
    }
    return DatasetSpec(**(fields | changes))


def daily(fs: LakeFileSystem, bucket: str, **changes: Any) -> Dataset:
    """That dataset, with `DAYS` in it; its clock can be put forward (`clock_of`)."""
    dataset = Dataset.create(daily_spec(bucket, **changes), fs=fs, clock=Offset(fs, bucket))
    dataset.ingest(rows())
    return dataset


def clock_of(dataset: Dataset) -> Offset:
    clock = dataset._handle.clock
    assert isinstance(clock, Offset)
    return clock


def days_in(dataset: Dataset) -> dict[str, int]:
    """Rows by day, as a reader sees them."""
    counts: dict[str, int] = {}
    for day in dataset.read(["date"]).column("date").to_pylist():
        counts[day] = counts.get(day, 0) + 1
    return dict(sorted(counts.items()))


CHANGING = frozenset(
    {"put_object", "copy_object", "delete_object", "delete_objects", "put_object_tagging", "create_multipart_upload"}
)
"""Requests that change something."""


def requests_of(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that the dataset's filesystem makes from now on (the Rust libraries' are not among them)."""
    gateway = dataset._handle.fs.store.gateway
    asked: list[str] = []
    send = gateway._send

    async def noting(operation: str, request: dict[str, Any]) -> Any:
        asked.append(operation)
        return await send(operation, request)

    monkeypatch.setattr(gateway, "_send", noting)
    return asked


class Meddled:
    """A table on which something happens around the commit."""

    def __init__(self, table: Table, before: Callable[[], Any] | None = None, after: Callable[[], Any] | None = None):
        self._table, self._before, self._after = table, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def commit(self, change: Change) -> Commit:
        if self._before is not None:
            before, self._before = self._before, None
            before()
        commit = self._table.commit(change)
        if self._after is not None:
            after, self._after = self._after, None
            after()
        return commit


def meddled(dataset: Dataset, **hooks: Callable[[], Any]) -> Any:
    """The dataset's handle, with `Meddled` in place of its table."""
    return replace(dataset._handle, table=Meddled(dataset._handle.table, **hooks))


def plain(value: Any) -> Any:
    """Comparable: NaN equals NaN, and -0.0 is not 0.0."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
