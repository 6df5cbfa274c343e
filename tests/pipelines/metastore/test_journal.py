"""The journal: written, read back newest first, and nothing hostile gets through."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.servers import Rig
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.errors import PolicyRefused, SpecError
from tierlake.pipelines.metastore.journal import Journal
from tierlake.pipelines.metastore.records import (
    EraseRecord,
    FileRecord,
    KeepingRecord,
    RemovalRecord,
    RemovedPartition,
    TieringRecord,
    UndoRecord,
    VacuumRecord,
)
from tierlake.pipelines.model.partition_key import PartitionKey

AT = datetime(2014, 1, 1, 12, tzinfo=UTC)

paths = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1).filter(
        lambda part: part not in {".", "..", "_lake", "_delta_log"}
    ),
    min_size=1,
    max_size=4,
).map("/".join)
outside = st.one_of(
    paths.map(lambda path: f"/{path}"),
    paths.map(lambda path: f"../{path}"),
    paths.map(lambda path: f"{path}/../../x"),
    paths.map(lambda path: f"{path}/.."),
    paths.map(lambda path: f"./{path}"),
    paths.map(lambda path: f"_delta_log/{path}"),
    paths.map(lambda path: f"_lake/{path}"),
    st.sampled_from(["", ".", "..", "/", "_lake", "_delta_log"]),
)


def an_id(at: datetime = AT, turn: int = 0) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}-{turn:06d}-{turn:08x}"


def a_record(*keys: str, at: datetime = AT, committed: bool = True, path: str = "part-0.parquet") -> RemovalRecord:
    return RemovalRecord(
        id=an_id(at),
        at=at,
        operation="expire",
        by="ann@host",
        committed_at=at + timedelta(seconds=5) if committed else None,
        as_of=at,
        run_id="run-7",
        grace=timedelta(days=7),
        partitions=tuple(
            RemovedPartition(
                key=key,
                reason="91 d old",
                files=(FileRecord(path=f"{key}/{path}", size=10, rows=2, modified=at, stats='{"numRecords":2}'),),
            )
            for key in keys
        ),
    )


@pytest.fixture
def journal(fs: LakeFileSystem, bucket: str) -> Journal:
    return Journal(fs.for_table(f"{bucket}/t"), f"{bucket}/t")


@pytest.mark.slow
@given(paths, st.integers(0, 2**50), st.none() | st.integers(0, 2**40), st.none() | st.text(max_size=30))
def test_a_file_is_remembered_as_it_was(path: str, size: int, rows: int | None, stats: str | None) -> None:
    record = FileRecord(path=path, size=size, rows=rows, modified=AT, stats=stats)
    again = FileRecord.model_validate_json(record.model_dump_json())
    assert again == record
    live = again.live(PartitionKey.parse("date=2013-01-01"))
    assert FileRecord.of(live) == record


@given(outside)
def test_no_record_names_a_file_outside_or_in_the_log(path: str) -> None:
    with pytest.raises(ValidationError, match="no data file of this dataset"):
        FileRecord(path=path, size=1, modified=AT)


def test_ids_never_go_back(journal: Journal) -> None:
    """Records of one second come in the order of their writing, and a clock that is put back changes no order."""
    ids = []
    for at in (AT, AT, AT + timedelta(hours=1), AT, AT - timedelta(days=400), AT + timedelta(hours=2)):
        record = a_record("date=2013-01-01").model_copy(update={"id": journal.new_id(at)})
        ids.append(journal.write(record).id)
    assert ids == sorted(ids)
    assert [record.id for record in journal.records(RemovalRecord)] == ids[::-1]


def test_the_grace_counts_from_the_commit() -> None:
    record = a_record("date=2013-01-01")
    assert record.undo_until == AT + timedelta(days=7, seconds=5)
    assert a_record("date=2013-01-01", committed=False).undo_until == AT + timedelta(days=7)


def test_an_empty_journal(journal: Journal) -> None:
    assert list(journal.records(RemovalRecord)) == []
    assert journal.entries() == []
    assert journal.latest_removal("date=2013-01-01") is None


def test_newest_first_and_the_newest_of_a_key(journal: Journal) -> None:
    old = a_record("date=2013-01-01", "date=2013-01-02", at=AT - timedelta(days=30), path="old.parquet")
    new = a_record("date=2013-01-01")
    for record in (new, old):
        journal.write(record)
    assert list(journal.records(RemovalRecord)) == [new, old]
    assert journal.latest_removal("date=2013-01-01") == new
    assert journal.latest_removal("date=2013-01-02") == old
    assert journal.latest_removal("date=2013-01-03") is None


def test_writing_a_record_again_replaces_it(journal: Journal) -> None:
    record = a_record("date=2013-01-01", committed=False)
    journal.write(record)
    journal.write(record.model_copy(update={"committed_at": AT}))
    (found,) = journal.records(RemovalRecord)
    assert found.committed_at == AT


def test_all_kinds_are_one_history(journal: Journal) -> None:
    at = [AT + timedelta(hours=hour) for hour in range(4)]
    journal.write(
        TieringRecord(id=an_id(at[0]), at=at[0], as_of=AT, keys={"date=2013-01-01": "COLD"}, files=1, bytes=10)
    )
    journal.write(a_record("date=2013-01-01", "date=2013-01-02", at=at[1]))
    journal.write(
        UndoRecord(id=an_id(at[2]), at=at[2], key="date=2013-01-01", removal="x", files=1, bytes=10, run_id="r")
    )
    journal.write(VacuumRecord(id=an_id(at[3]), at=at[3], reason="past the grace", files=1, bytes=10))
    entries = journal.entries()
    assert [entry.operation for entry in entries] == ["vacuum", "undo", "expire", "tier"]
    assert entries[2].keys == ("date=2013-01-01", "date=2013-01-02")
    assert (entries[2].files, entries[2].bytes, entries[2].run_id) == (2, 20, "run-7")
    assert entries[2].reason == "91 d old"
    assert entries[2].committed
    assert "COLD" in entries[3].reason


def test_many_records_are_read_in_batches(journal: Journal) -> None:
    records = [a_record(f"date=2013-01-{n + 1:02}", at=AT + timedelta(minutes=n)) for n in range(20)]
    for record in records:
        journal.write(record)
    assert list(journal.records(RemovalRecord)) == records[::-1]


def written(journal: Journal, server: Rig, bucket: str, change: dict[str, object]) -> None:
    """A record that somebody else wrote, with these fields changed or added."""
    record = a_record("date=2013-01-01")
    document = json.loads(record.model_dump_json()) | change
    server.admin.put_object(
        Bucket=bucket, Key=f"t/_lake/journal/removal-{record.id}.json", Body=json.dumps(document).encode()
    )


def test_fields_of_newer_versions_are_ignored(journal: Journal, server: Rig, bucket: str) -> None:
    written(journal, server, bucket, {"shiny": {"new": True}})
    assert len(list(journal.records(RemovalRecord))) == 1


@pytest.mark.parametrize(
    "name",
    [
        "expiry-20140101T120000Z-00000000000000000001-00000000.json",
        "coup-20140101T120000Z-000000-00000000.json",
        "removal-20140101T120000Z-0-0.json",
    ],
)
def test_records_of_other_versions_are_refused_by_name(journal: Journal, server: Rig, bucket: str, name: str) -> None:
    server.admin.put_object(Bucket=bucket, Key=f"t/_lake/journal/{name}", Body=b"{}")
    with pytest.raises(SpecError, match=name):
        list(journal.records(RemovalRecord))
    with pytest.raises(SpecError, match=name):
        journal.new_id(AT)


def test_who_did_it_is_written_down(journal: Journal) -> None:
    record = journal.write(KeepingRecord(id=an_id(), at=AT, operation="hold", key="date=2013-01-01", reason="audit"))
    assert re.fullmatch(r"[^@]+@[^@]+", record.by or "")
    (entry,) = journal.entries()
    assert (entry.operation, entry.keys, entry.reason, entry.by) == ("hold", record_keys(record), "audit", record.by)


def record_keys(record: KeepingRecord) -> tuple[str, ...]:
    return (record.key,)


def test_a_swap_needs_the_record_as_it_was_written(journal: Journal) -> None:
    begun = journal.write(UndoRecord(id=an_id(), at=AT, state="begun", key="k=1", removal="x", files=1, bytes=1))
    done, refused = (begun.model_copy(update={"state": state}) for state in ("done", "refused"))
    assert journal.swap(begun, refused)
    assert not journal.swap(begun, done)
    assert journal.undone() == frozenset()
    assert journal.swap(refused, done)
    assert journal.undone() == {("x", "k=1")}


def test_what_ended_and_what_was_erased(journal: Journal) -> None:
    ended = {"removal": ("k=1", "k=2")}
    journal.write(VacuumRecord(id=an_id(turn=1), at=AT, state="begun", reason="r", files=0, bytes=0, ended=ended))
    assert journal.ended() == {("removal", "k=1"), ("removal", "k=2")}
    assert journal.ended(an_id(turn=1)) == frozenset()
    erasing = journal.write(EraseRecord(id=an_id(turn=2), at=AT, state="begun"))
    assert journal.spoiled() is None, "nobody knows yet which files hold such rows"
    journal.write(erasing.model_copy(update={"state": "done", "rows": 1, "spoiled": ("k=1/a.parquet",)}))
    assert journal.spoiled() == {"k=1/a.parquet"}
    assert journal.spoiled(erasing.id) == frozenset()


def test_objects_that_are_no_records_are_ignored(journal: Journal, server: Rig, bucket: str) -> None:
    for name in ("notes.txt", "expiry.json", "coup-1.json", "expiry-x.json.bak"):
        server.admin.put_object(Bucket=bucket, Key=f"t/_lake/journal/{name}", Body=b"?")
    assert journal.entries() == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["../other/x.parquet", "/etc/passwd", "_delta_log/00000000000000000000.json"])
def test_a_record_that_reaches_outside_is_refused(journal: Journal, server: Rig, bucket: str, path: str) -> None:
    gone = {"key": "date=2013-01-01", "reason": "r", "files": [{"path": path, "size": 1, "modified": AT.isoformat()}]}
    written(journal, server, bucket, {"partitions": [gone]})
    with pytest.raises(PolicyRefused, match="no data file of this dataset"):
        journal.latest_removal("date=2013-01-01")
    with pytest.raises(PolicyRefused):
        journal.entries()


@pytest.mark.parametrize("change", [{"at": "yesterday"}, {"partitions": 1}, {"grace": "soon"}, {"id": None}])
def test_a_record_that_makes_no_sense_is_named(
    journal: Journal, server: Rig, bucket: str, change: dict[str, object]
) -> None:
    written(journal, server, bucket, change)
    with pytest.raises(SpecError, match="_lake/journal/removal-"):
        list(journal.records(RemovalRecord))
