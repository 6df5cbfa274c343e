"""Twice the files, partitions or acts are at most two and a half times the work, and nothing is kept for ever."""

from __future__ import annotations

import gc
import json
import sys
import time
import weakref
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipelines.samples import DAYS, Offset, clock_of, daily, daily_spec, requests_of, rows
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import CommitConflict
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import conflicts
from tierlake.pipelines.runtime.conflicts import ConflictBudget
from tierlake.pipelines.tables import delta_writer
from tierlake.pipelines.tables.change_times import ChangeTimes
from tierlake.pipelines.tables.plain import PlainParquetTable
from tierlake.pipelines.tables.runs import run_token
from tierlake.pipelines.tables.snapshot import Change, LiveFile, Snapshot, StagedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.connector.filesystem import LakeFileSystem

ON_SEAWEEDFS = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
MOST = 2.5
NOW = datetime(2013, 1, 1, tzinfo=UTC)


def steps(act: Callable[[], object]) -> int:
    """Calls that an act makes, of functions in Python and in C."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def replacement(files: int) -> Change:
    live = tuple(
        LiveFile(f"p={number}/data.parquet", 100, PartitionKey.of([("p", str(number))]), None, NOW, etag="e")
        for number in range(files)
    )
    adds = tuple(StagedFile(file) for file in live)
    return Change("ingest", Snapshot(0, live, None, has_log=False), adds=adds, removes=live)


class Answering:
    """The objects of a plain table whose store says yes to all: what is counted is what the table does itself."""

    def publish(self, staged: StagedFile, path: str, before: LiveFile | None, _mark: object) -> tuple[LiveFile, Any]:
        assert before is not None
        assert before.path == path
        return staged.file, before

    def empty(self, _columns: object, file: LiveFile) -> LiveFile:
        return file


def replaced(files: int) -> int:
    table, change = PlainParquetTable(None, "b/t", ("p",)), replacement(files)  # type: ignore[arg-type]
    table._objects = Answering()  # type: ignore[assignment]
    compared = Counter[str]()
    of = PartitionKey.__eq__

    def comparing(self: PartitionKey, other: object) -> bool:
        compared["keys"] += 1
        return of(self, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartitionKey, "__eq__", comparing)
        made = table._ingest(change)
    assert len(made[0]) == len(made[1]) == files
    return compared["keys"]


def test_a_plain_commit_looks_up_what_each_file_replaces() -> None:
    assert replaced(400) <= MOST * max(replaced(200), 200)


def test_the_checks_of_a_plain_commit_are_linear() -> None:
    def checked(files: int) -> int:
        table, change = PlainParquetTable(None, "b/t", ("p",)), replacement(files)  # type: ignore[arg-type]
        return steps(lambda: table.check_takes(change))

    assert checked(400) <= MOST * checked(200)


def test_what_a_change_touches_is_put_together_once() -> None:
    change = replacement(200)
    first = steps(lambda: change.touched)
    assert steps(lambda: change.touched) < 5 < first


@ON_SEAWEEDFS
def test_a_plain_commit_makes_requests_in_proportion(make_bucket, fs, monkeypatch) -> None:
    def asked(days: int) -> int:
        keys = [str((NOW + timedelta(days=day)).date()) for day in range(days)]
        dataset = daily(fs, make_bucket(versioned=True), format="parquet")
        dataset.ingest(rows(keys, each=1))
        with monkeypatch.context() as patch:
            requests = requests_of(dataset, patch)
            dataset.ingest(rows(keys, each=1))
        return len(requests)

    few, many = asked(4), asked(8)
    assert few < many <= MOST * few


# -- conflicts ---------------------------------------------------------------------------------------------------------


@ON_SEAWEEDFS
@pytest.mark.parametrize("is_same", [False, True], ids=["another partition", "the same partition"])
def test_a_commit_that_never_wins_ends_within_its_budget(bucket, fs, monkeypatch, is_same) -> None:
    """Another writer is faster each time: in the log alone, or in the partition that is replaced."""
    dataset = daily(fs, bucket)
    other = Dataset.open(dataset.uri, fs=fs)
    writing = delta_writer.add_actions
    seconds = iter(range(1000))
    tries = 0

    def overtaken(change: Change, *rest: Any) -> Any:
        nonlocal tries
        if change.operation == "ingest":
            tries += 1
            other.ingest(rows([DAYS[0 if is_same else 1]], each=1), mode="append")
        return writing(change, *rest)

    monkeypatch.setattr(delta_writer, "add_actions", overtaken)
    budget = ConflictBudget(seconds=12, clock=lambda: float(next(seconds)), sleep=lambda _: None)
    monkeypatch.setattr(conflicts, "BUDGET", budget)
    with pytest.raises(CommitConflict, match=r"tried for 1\d s") as raised:
        dataset.ingest(rows([DAYS[0]]))
    assert raised.value.seconds is not None
    assert raised.value.seconds <= 12 + 4  # the clock goes on by a second whenever somebody looks
    assert 1 < tries <= 12
    assert raised.value.hint


# -- what is kept ------------------------------------------------------------------------------------------------------


def records(dataset: Dataset) -> set[str]:
    return set(dataset._handle.fs.find(f"{dataset._handle.table.root}/_lake/runs", refresh=True))


@ON_SEAWEEDFS
def test_a_run_that_others_replaced_is_forgotten_beyond_the_history(make_bucket, fs) -> None:
    bucket = make_bucket(versioned=True)
    dataset = Dataset.create(daily_spec(bucket, format="parquet"), fs=fs, clock=Offset(fs, bucket))
    table = dataset._handle.table
    for run in ("first", "second", "third"):
        dataset.ingest(rows(DAYS[:2], start=len(run)), run_key=run)
    dataset.ingest(rows([DAYS[3]]), run_key="beside")
    _put_back(dataset, "first", "second")
    dataset.vacuum()
    assert len(records(dataset)) == 4
    clock_of(dataset).ahead = timedelta(days=38)
    dataset.vacuum()
    assert [table.is_committed(run) for run in ("first", "second", "third", "beside")] == [False, False, True, True]
    assert len(records(dataset)) == 2
    assert not dataset.ingest(rows(DAYS[:2]), run_key="third").committed
    assert [entry.run for entry in dataset.history() if entry.operation == "ingest"] == ["beside", "third"]


def _put_back(dataset: Dataset, *runs: str) -> None:
    """As if they had been a minute earlier: the store's clock counts seconds, and nobody waits here."""
    fs = dataset._handle.fs
    for run in runs:
        path = f"{dataset._handle.table.root}/_lake/runs/{run_token(run)}.json"
        record = json.loads(fs.cat_file(path))
        at = datetime.fromisoformat(record["at"]) - timedelta(minutes=1)
        fs.pipe_file(path, json.dumps({**record, "at": at.isoformat()}).encode())


@ON_SEAWEEDFS
def test_records_of_rewrites_go_with_their_files(bucket, fs) -> None:
    dataset = daily(fs, bucket)
    for _ in range(2):
        dataset.ingest(rows([DAYS[0]]), mode="append")
        dataset.compact()
    assert len(records(dataset)) == 2
    clock_of(dataset).ahead = timedelta(days=8)
    dataset.vacuum()  # the files that the second compaction replaced
    dataset.vacuum()
    assert len(records(dataset)) == 1
    assert dataset.read().num_rows == 20 * (len(DAYS) + 2)


@ON_SEAWEEDFS
def test_times_of_objects_that_are_gone_are_forgotten(bucket, fs: LakeFileSystem, monkeypatch) -> None:
    times = ChangeTimes(fs, f"{bucket}/t")
    listed = 0
    find = fs.find

    def finding(*args: Any, **kwargs: Any) -> Any:
        nonlocal listed
        listed += 1
        return find(*args, **kwargs)

    monkeypatch.setattr(fs, "find", finding)
    for batch in range(6):
        times.note_changes({f"p={batch}-{number}/data.parquet": ("e", NOW) for number in range(40)}, NOW)
    content, _ = times._fetch()
    assert 40 <= len(content.objects) <= 140
    assert listed <= 4


@ON_SEAWEEDFS
def test_no_file_is_left_open(make_bucket, fs, monkeypatch) -> None:
    dataset = daily(fs, make_bucket(versioned=True), format="parquet")
    handle = dataset._handle
    handle.fs.rm_file(f"{handle.table.root}/_lake/schema.json")  # then a file is asked for the columns
    opened: list[weakref.ref[Any]] = []
    opening = type(handle.fs).open

    def opens(self: LakeFileSystem, *args: Any, **kwargs: Any) -> Any:
        file = opening(self, *args, **kwargs)
        opened.append(weakref.ref(file))
        return file

    monkeypatch.setattr(type(handle.fs), "open", opens)
    gc.disable()  # what a collection would close was open until then
    try:
        assert dataset.scan().to_table().num_rows == 20 * len(DAYS)
        deadline = time.monotonic() + 10
        while any((file := one()) is not None and not file.closed for one in opened):  # Arrow's threads drop theirs
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        gc.enable()
    assert len(opened) >= 1 + len(DAYS)
