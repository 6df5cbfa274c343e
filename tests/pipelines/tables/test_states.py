"""Which partitions' rows have changed since a state of the table: exactly, whatever the second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.pipelines.samples import AS_OF, DAYS, daily, rows
from tests.pipelines.tables.test_changes import RETENTION, TIERED, delta_table, forget_commits, moved_by_copies
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.tables.states import ListedChanges, ListedRows, plain_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.servers import Rig
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.dataset import Dataset

ON_SEAWEEDFS = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
FIRST, SECOND, THIRD, FOURTH = (PartitionKey.parse(f"date={day}") for day in DAYS)


def keys(changed: Iterable[PartitionKey] | None) -> list[str] | None:
    return None if changed is None else sorted(map(str, changed))


def made(fs: LakeFileSystem, bucket: str, format_: str, **changes: Any) -> Dataset:
    tiers = [{"after": "1d", "tier": "warm"}]
    return daily(fs, bucket, **({"format": format_, "tiers": tiers, "retention": RETENTION} | changes))


@pytest.mark.slow
@ON_SEAWEEDFS
def test_the_log_tells_what_changed_since_which_version(fs: LakeFileSystem, bucket: str) -> None:
    dataset = made(fs, bucket, "delta")
    identity, _, version = dataset.state().rpartition("@")
    assert int(version) == dataset.version
    before = dataset.state()
    assert dataset.changed_after(before) == {}
    dataset.ingest(rows([DAYS[0]], start=1000), mode="append")
    then = dataset.state()
    dataset.ingest(rows([DAYS[1]], each=3))
    assert dataset.changed_after(before) == {FIRST: then, SECOND: dataset.state()}

    same = dataset.state()
    assert dataset.compact().changed
    assert dataset.plan_tiering(TIERED).apply().ok
    assert dataset.changed_after(same) == {}
    plan = dataset.plan_expiry(AS_OF, materialized={"summary": lambda _: {}})
    assert plan.apply(keys=[SECOND]).ok
    changes = dataset.changed_since([before, then, same])
    assert keys(changes.after(then)) == keys(changes.after(same)) == [str(SECOND)]  # which has left
    assert [changes.is_changed(FIRST, state) for state in (before, then, same)] == [True, False, False]
    assert changes.is_changed(FOURTH, before) is False

    for other in ("", "plain@1764445784:", f"other@{version}", f"{identity}@{dataset.version + 1}", f"{identity}@x"):
        assert dataset.changed_after(other) is None
        assert changes.is_changed(FIRST, other) is None
    forget_commits(dataset)
    now = dataset.state()
    assert dataset.changed_after(before) is None
    assert dataset.changed_after(now) == {}
    dataset.ingest(rows([DAYS[3]], each=3))
    changes = dataset.changed_since([before, now])
    assert changes.is_changed(FOURTH, before) is changes.is_changed(FIRST, before) is None
    assert (changes.is_changed(FOURTH, now), changes.is_changed(FIRST, now)) == (True, False)


@pytest.mark.slow
@ON_SEAWEEDFS
def test_only_the_commits_since_the_oldest_state_are_read(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made(fs, bucket, "delta")
    table = delta_table(dataset)
    states = []
    for number in range(8):
        table.alter.set_table_properties({"delta.logRetentionDuration": f"interval {30 + number} days"})
        states.append(dataset.state())
    read: list[str] = []
    inside, real = type(dataset._handle.fs), type(dataset._handle.fs)._cat_file
    monkeypatch.setattr(
        inside, "_cat_file", lambda self, path, **options: read.append(path) or real(self, path, **options)
    )
    for count in (1, 2, 4):
        read.clear()
        changes = dataset.changed_since(states[-count - 1 :])
        assert keys(changes.after(states[-1])) == []
        assert len(read) == count
    assert changes.is_changed(FIRST, states[0]) is None  # nobody asked for it, and it was not read that far


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)
def test_a_plain_table_tells_within_the_second(fs: LakeFileSystem, bucket: str, server: Rig) -> None:
    classes = {"warm": "REDUCED_REDUNDANCY"} if server.name == "minio" else {}
    dataset = made(fs, bucket, "parquet")
    states = [dataset.state()]
    assert dataset.changed_after(states[0]) == {}
    for number in range(3):  # most of these in one second
        dataset.ingest(rows([DAYS[number]], each=3 + number))
        states.append(dataset.state())
    changes = dataset.changed_since(states)
    assert [keys(changes.after(state)) for state in states] == [
        [str(FIRST), str(SECOND), str(THIRD)],
        [str(SECOND), str(THIRD)],
        [str(THIRD)],
        [],
    ]
    assert [changes.is_changed(SECOND, state) for state in states] == [True, True, False, False]

    moved_by_copies(dataset, classes)
    assert dataset.changed_after(states[-1]) == {}
    changed = dataset.changed_after(states[0])
    assert changed
    assert all(dataset.changed_since([state]).is_changed(key, state) is False for key, state in changed.items())
    assert dataset.changed_after("") is dataset.changed_after("a-b-c@7") is None

    fs_inside, root = dataset._handle.fs, dataset._handle.table.root
    fs_inside.rm(f"{root}/{FIRST}", recursive=True)
    changes = dataset.changed_since(states)
    assert changes.is_changed(FIRST, states[-1]) is None  # it has left, and a listing does not tell when
    assert keys(changes.after(states[-1])) == []


@pytest.mark.slow
@ON_SEAWEEDFS
def test_a_neighbour_that_goes_and_an_undo_are_changes_in_the_same_second(
    fs: LakeFileSystem, make_bucket: Callable[..., str]
) -> None:
    dataset = made(fs, make_bucket(versioned=True), "parquet")
    sink = io.BytesIO()
    pq.write_table(rows([DAYS[0]], start=1000), sink)
    dataset._handle.fs.pipe_file(f"{dataset._handle.table.root}/{FIRST}/other.parquet", sink.getvalue())
    state = dataset.state()
    dataset.erase([("v", ">=", 1000)])
    assert keys(dataset.changed_after(state)) == [str(FIRST)]
    state = dataset.state()
    plan = dataset.plan_expiry(AS_OF, materialized={"summary": lambda _: {}})
    assert plan.apply(keys=[SECOND]).ok
    assert dataset.undo_expiry(SECOND).changed
    assert keys(dataset.changed_after(state)) == [str(SECOND)]


@pytest.mark.slow
@ON_SEAWEEDFS
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_what_was_read_decides_before_any_clock(fs: LakeFileSystem, bucket: str, format_: str) -> None:
    dataset = made(fs, bucket, format_)

    def due(*readings: Reading) -> list[str]:
        plan = dataset.plan_expiry(AS_OF, materialized={"summary": lambda found: dict.fromkeys(found, readings)})
        return [step.key for step in plan.steps]

    long_ago = dataset.now().replace(year=2013)
    far = dataset.now().replace(year=2100)
    read = Reading(state=dataset.state(), at=long_ago)
    assert due(read) == [str(FIRST), str(SECOND)]
    dataset.ingest(rows([DAYS[0]], each=3))
    after = Reading(state=dataset.state(), at=long_ago)
    assert due(Reading(state=read.state, at=far)) == [str(SECOND)]
    assert due(after, read) == [str(SECOND)]  # all that depend on it
    assert due(after) == [str(FIRST), str(SECOND)]

    unknown = "a-b-c@7" if format_ == "delta" else ""
    assert due(Reading(state=unknown)) == []
    assert due(Reading(state=unknown, at=long_ago)) == []
    assert due(Reading(state=unknown, at=far)) == [str(FIRST), str(SECOND)]
    if format_ == "delta":
        forget_commits(dataset)
        assert due(read) == []
        assert due(Reading(state=read.state, at=far)) == [str(FIRST), str(SECOND)]
        assert due(after) == [str(FIRST), str(SECOND)]  # of the version that there is, all is known


def test_a_second_before_is_named_too() -> None:
    """A store dates an object shortly before it shows it."""
    old, late, new = ListedRows.of("a", "1", 98), ListedRows.of("b", "1", 99), ListedRows.of("c", "1", 101)
    state = plain_state(100, [old, new])
    changes = ListedChanges({FIRST: [old], SECOND: [late], THIRD: [new], FOURTH: [old, ListedRows.of("c", "2", 101)]})
    assert keys(changes.after(state)) == [str(SECOND), str(FOURTH)]
    assert len(state) < 30
