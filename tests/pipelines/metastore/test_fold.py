"""The journal does not grow with every act: old events share an object, and every answer stays what it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tests.pipelines.samples import Offset, daily_spec, rows
from tests.servers import Rig
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import PolicyRefused, SpecError, UnknownPartition
from tierlake.pipelines.metastore import fold as folding
from tierlake.pipelines.metastore.folded import EVENTS_MAX, FoldedEvents, folded_name, packed, place_of
from tierlake.pipelines.metastore.journal import Journal
from tierlake.pipelines.metastore.records import (
    KINDS,
    EraseRecord,
    FileRecord,
    KeepingRecord,
    PolicyRecord,
    Record,
    RemovalRecord,
    RemovedPartition,
    TieringRecord,
    UndoRecord,
    VacuumRecord,
)

FIRST = datetime(2024, 1, 10, tzinfo=UTC)
DAY = "2024-05-05"


def an_id(at: datetime, turn: int = 0) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}-{turn:06d}-{turn:08x}"


def a_removal(at: datetime, key: str, **changes: Any) -> RemovalRecord:
    file = FileRecord(path=f"{key}/gone-{at:%m%d%H%M}.parquet", size=10, rows=2, modified=at)
    fields: dict[str, Any] = {
        "id": an_id(at),
        "at": at,
        "by": "ann@host",
        "operation": "expire",
        "committed_at": at,
        "version": 1,
        "grace": timedelta(days=7),
        "columns": {"v": "int64"},
        "partitions": (RemovedPartition(key=key, reason="91 d old", files=(file,), came=(file,)),),
    }
    return RemovalRecord(**(fields | changes))


def events(count: int, first: datetime = FIRST) -> list[Record]:
    """Of every kind in turn, one a day: of seven in a row the undo is that of the removal, and the vacuum its end."""
    made: list[Record] = []
    for number in range(count):
        at = first + timedelta(days=number)
        name: dict[str, Any] = {"id": an_id(at), "at": at, "by": "ann@host"}
        key = f"date=2023-01-{1 + number // 7 % 28:02}"
        removal = made[number - number % 7].id if number % 7 else ""
        made.append(
            (
                lambda: a_removal(at, key),  # noqa: B023 - called at once
                lambda: UndoRecord(**name, key="date=2022-01-01", removal=removal, files=1, bytes=10),  # noqa: B023
                lambda: EraseRecord(**name, keys=(key,), rows=1, spoiled=(f"{key}/spoiled.parquet",)),  # noqa: B023
                lambda: TieringRecord(**name, as_of=at, keys={key: "COLD"}, files=1, bytes=10),  # noqa: B023
                lambda: VacuumRecord(**name, reason="old", files=1, bytes=10, ended={removal: (key,)}),  # noqa: B023
                lambda: KeepingRecord(**name, operation="hold", key=key, reason="audit"),  # noqa: B023
                lambda: PolicyRecord(**name, operation="apply", reason="sooner"),  # noqa: B023
            )[number % 7]()
        )
    return made


def put(dataset: Dataset, records: list[Record]) -> None:
    folder = f"{dataset.spec.root}/_lake/journal"
    texts = {f"{folder}/{one.kind}-{one.id}.json": one.model_dump_json(exclude_none=True).encode() for one in records}
    dataset._handle.fs.pipe(texts)


def names(dataset: Dataset) -> list[str]:
    """The journal's objects."""
    fs = dataset._handle.fs
    return sorted(path.rpartition("/")[2] for path in fs.find(f"{dataset.spec.root}/_lake/journal", refresh=True))


def answers(dataset: Dataset) -> dict[str, Any]:
    journal = dataset._handle.journal
    return {
        "history": dataset.history(),
        "entries": journal.entries(),
        "since": journal.entries(an_id(FIRST + timedelta(days=24))),
        "undone": journal.undone(),
        "ended": journal.ended(),
        "removals": [one.id for one in journal.records(RemovalRecord)],
        "why": dataset.explain("date=2023-01-01").text,
        "undo": refusal(dataset, "date=2023-01-01"),
        "gone": dataset.why_gone(["date=2023-01-02", "date=2001-01-01"]),
    }


def refusal(dataset: Dataset, key: str) -> tuple[type[Exception], str]:
    with pytest.raises((PolicyRefused, UnknownPartition)) as caught:
        dataset.undo(key)
    return caught.type, str(caught.value)


Make = Callable[..., Dataset]


def made_on(rig: Rig, bucket: str, count: int, **changes: Any) -> Dataset:
    """A dataset of one day, in whose journal are such events."""
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **rig.storage_options)
    dataset = Dataset.create(daily_spec(bucket, **changes), fs=fs, clock=Offset(fs, bucket))
    dataset.ingest(rows([DAY]), run_key="first")
    put(dataset, events(count))
    return dataset


@pytest.fixture
def make(seaweedfs: Rig) -> Iterator[Make]:
    """Makes such datasets on one server."""
    buckets: list[str] = []

    def made(count: int) -> Dataset:
        buckets.append(seaweedfs.make_bucket())
        return made_on(seaweedfs, buckets[-1], count)

    yield made
    for bucket in buckets:
        seaweedfs.drop_bucket(bucket)


@pytest.mark.parametrize(
    ("table", "versioned"), [("delta", False), ("parquet", True)], ids=["delta", "plain, versioned"]
)
def test_a_fold_changes_no_answer(server: Rig, make_bucket, table: str, versioned: bool) -> None:
    dataset = made_on(server, make_bucket(versioned=versioned), 28, format=table)
    before = answers(dataset)
    assert len(before["entries"]) == 28
    dataset.vacuum()
    assert answers(dataset) == before
    folded = [name for name in names(dataset) if place_of(name)]
    assert folded == [folded_name("202401", 0), folded_name("202402", 0)]
    assert len(names(dataset)) == 3, "the newest event stays: ids go on from it"
    objects = dataset._handle.journal.objects()[1]
    assert sum(map(len, objects.values())) == 3, "nor does an older version or a delete marker stay"
    assert b"gone-" not in dataset._handle.fs.cat_file(f"{dataset.spec.root}/_lake/journal/{folded[0]}")
    dataset.hold(f"date={DAY}", reason="a new event")
    assert dataset.history()[0].operation == "hold"
    dataset.vacuum()
    assert len(names(dataset)) == 4, "two more events are not worth the requests"


def test_what_somebody_needs_apart_stays(make: Make) -> None:
    """Young events, those whose files are there, whose grace lasts, and an undo that a vacuum has to end."""
    dataset = make(20)
    fs, root = dataset._handle.fs, dataset.spec.root
    day = timedelta(days=1)
    there = a_removal(FIRST + day / 3, "date=2023-03-01")
    fs.pipe_file(f"{root}/{there.partitions[0].files[0].path}", b"x" * 10)
    spoiled = EraseRecord(id=an_id(FIRST + day / 5), at=FIRST, rows=1, spoiled=(there.partitions[0].files[0].path,))
    lasting = a_removal(FIRST + day / 4, "date=2023-03-02", grace=timedelta(days=9999))
    begun = UndoRecord(
        id=an_id(FIRST + day / 7), at=FIRST, state="begun", key="date=2023-03-02", removal=lasting.id, files=1, bytes=1
    )
    failed = a_removal(
        FIRST + day / 6,
        f"date={DAY}",
        committed_at=None,
        partitions=(
            RemovedPartition(
                key=f"date={DAY}",
                reason="?",
                files=tuple(FileRecord.of(file) for file in dataset._handle.table.snapshot().files),
            ),
        ),
    )
    young = events(3, dataset.now() - timedelta(days=2))
    put(dataset, [there, spoiled, lasting, begun, failed, *young])
    clock = dataset._handle.clock
    stored = {there.partitions[0].files[0].path, failed.partitions[0].files[0].path}
    live = {file.path for file in dataset._handle.table.snapshot().files}
    done = folding.fold(dataset._handle, now=clock.now(), is_stored=lambda path, _: path in stored, live=live)
    assert done == 21, "and what never was, as its files are live, is no event"
    left = {name.partition("-")[2].removesuffix(".json") for name in names(dataset) if not place_of(name)}
    assert left == {one.id for one in (there, spoiled, lasting, begun, *young)}
    assert len(dataset._handle.journal.entries()) == 27


def test_a_fold_that_stopped_is_finished_by_the_next(make: Make, seaweedfs: Rig) -> None:
    dataset = make(24)
    before = dataset._handle.journal.entries()

    def refused(request: Any) -> Refusal | None:
        is_delete = request.method == "POST" and "delete" in request.target
        return Refusal("403 Forbidden", "AccessDenied") if is_delete else None

    with Proxy(seaweedfs.endpoint_url, before=refused) as proxy:
        options = {**seaweedfs.storage_options, "endpoint_url": proxy.url}
        fs = fsspec.filesystem("lake", skip_instance_cache=True, **options)
        Dataset.open(dataset.uri, fs=fs).vacuum()
    assert len(names(dataset)) == 25, "all are there, and a month's in another object too"
    assert dataset._handle.journal.entries() == before
    dataset.vacuum()
    assert dataset._handle.journal.entries() == before
    assert len(names(dataset)) == 3


def test_of_two_folds_at_once_one_gives_up(make: Make) -> None:
    """The other has folded everything when the first is about to write: it has nothing to add, and deletes nothing."""
    dataset, late = (made := make(24)), Dataset.open(made.uri, fs=made._handle.fs)
    before = dataset._handle.journal.entries()
    journal = late._handle.journal
    real = Journal.write_folded

    def overtaken(part: FoldedEvents) -> str:
        journal.write_folded = lambda part: real(journal, part)
        dataset.vacuum()
        put(dataset, extra)
        dataset.vacuum()
        return real(journal, part)

    journal.write_folded = overtaken
    extra = events(20, FIRST + timedelta(minutes=5))
    late.vacuum()
    expected = sorted({entry.id for entry in before} | {one.id for one in extra}, reverse=True)
    assert [entry.id for entry in dataset._handle.journal.entries()] == expected
    assert len(names(dataset)) == 3


def test_many_folds_at_once_lose_nothing(make: Make) -> None:
    dataset = make(24)
    before = dataset._handle.journal.entries()
    others = [Dataset.open(dataset.uri, fs=dataset._handle.fs) for _ in range(2)]
    threads = [threading.Thread(target=one.vacuum) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dataset._handle.journal.entries() == before
    dataset.vacuum()
    assert dataset._handle.journal.entries() == before
    lines = [
        line
        for name in names(dataset)
        if place_of(name)
        for line in dataset._handle.journal.folded(f"{dataset.spec.root}/_lake/journal/{name}").events
    ]
    assert len(lines) == len(set(lines))


def test_a_reader_that_is_overtaken_looks_again(make: Make) -> None:
    """It has listed 20 events and read the first 16 when they are folded."""
    dataset = make(0)
    made = [
        KeepingRecord(id=an_id(FIRST, number), at=FIRST, operation="hold", key="k=1", reason=str(number))
        for number in range(20)
    ]
    put(dataset, [*made])
    reading = dataset._handle.journal.records(KeepingRecord)
    begun = next(reading)
    dataset.vacuum()
    assert len(names(dataset)) == 2
    assert [begun, *reading] == made[::-1]


def test_what_is_changed_after_it_was_folded_counts(make: Make) -> None:
    """Somebody who slept over a month's end writes the end of an act: his object counts, and the next fold takes it."""
    dataset = make(24)
    put(
        dataset,
        [begun := UndoRecord(id=an_id(FIRST, 9), at=FIRST, state="begun", key="k=1", removal="x", files=1, bytes=1)],
    )
    dataset.vacuum()
    journal = dataset._handle.journal
    done = begun.model_copy(update={"state": "done"})
    assert not journal.swap(begun, done), "it has no object of its own"
    journal.write(done)
    assert ("x", "k=1") in journal.undone()
    put(dataset, events(20, FIRST + timedelta(minutes=5)))
    dataset.vacuum()
    assert ("x", "k=1") in journal.undone()
    assert len(names(dataset)) == 3


def test_the_oldest_go_in_the_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(20)
    dataset.vacuum()
    monkeypatch.setattr(folding, "KEPT", 1)
    put(dataset, events(30, datetime(2025, 3, 1, tzinfo=UTC)))
    dataset.vacuum()
    put(dataset, events(30, datetime(2025, 3, 1, 6, tzinfo=UTC)))
    dataset.vacuum()
    assert [name for name in names(dataset) if place_of(name)] == [folded_name("202503", 0)]
    assert dataset.history()[-1].at >= datetime(2024, 1, 15, tzinfo=UTC)


def test_twice_the_history_is_as_many_requests(make: Make, seaweedfs: Rig) -> None:
    """Without folds it was one more for every act."""
    counts = []
    for count in (20, 40):
        dataset = make(count)
        dataset.vacuum()
        with Proxy(seaweedfs.endpoint_url) as proxy:
            options = {**seaweedfs.storage_options, "endpoint_url": proxy.url}
            fs = fsspec.filesystem("lake", skip_instance_cache=True, **options)
            journal = Journal(fs.for_table(dataset.spec.root), dataset.spec.root)
            assert len(journal.entries()) == count
            whole = len(proxy.requests)
            assert journal.entries(journal.newest()) == []
            counts.append((whole, len(proxy.requests) - whole))
    (once, new), (twice, new_of_twice) = counts
    assert twice <= 2.5 * once
    assert twice <= 12
    assert new == new_of_twice == 2, "two listings: what is known already is not read again"


# -- the objects ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_second_packing_adds_what_is_new(first: int, more: int) -> None:
    made = [record.folded() for record in events(first + more)]
    parts = packed([], "202401", made[:first])
    again = packed(parts, "202401", made)
    assert [place for part in again for place in part.events] == ([record.id for record in made] if more else [])
    read = [FoldedEvents.parse(folded_name(part.month, part.number), part.data) for part in again or parts]
    assert [record for part in read for record in part.records(KINDS)] == made


def test_an_object_of_folded_events_is_bounded() -> None:
    many: list[Record] = [
        KeepingRecord(id=an_id(FIRST, number), at=FIRST, operation="hold", key="k=1")
        for number in range(EVENTS_MAX + 5)
    ]
    parts = packed([], "202401", many)
    assert [(part.number, len(part.events)) for part in parts] == [(0, EVENTS_MAX), (1, 5)]
    assert packed(parts, "202401", many) == []
    late = KeepingRecord(id=an_id(FIRST, 999_999), at=FIRST, operation="hold", key="k=1", reason="x" * (1 << 20))
    assert [part.number for part in packed(parts, "202401", [late])] == [2], "what is too large has its own"


def test_older_versions_refuse_what_they_do_not_know() -> None:
    """They read names of a kind, a date, and anything; see `test_records_of_other_versions_are_refused_by_name`."""
    import re

    name = folded_name("202401", 0)
    assert re.fullmatch(r"[a-z]+-\d{8}T\d{6}Z-.*\.json", name)
    assert not re.fullmatch(r"[a-z]+-\d{8}T\d{6}Z-\d{6}-[0-9a-f]{8}\.json", name)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b'{"kind": "hold"}', b"[1]", b'{"id": "1", "kind": "coup"}', b'{"id": "1", "kind": "keeping"}'],
)
def test_what_is_no_event_is_named(data: bytes) -> None:
    name = folded_name("202401", 0)
    with pytest.raises(SpecError, match=name):
        list(FoldedEvents.parse(name, data).records(KINDS))
