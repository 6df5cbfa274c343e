"""Verbs over a selection: ranges, patterns, spans of time on real tables, and what fails beside what is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import fsspec
import pyarrow as pa
import pytest

from tests.ledger import recording
from tests.pipelines.samples import Offset, daily_spec, days_in, meddled, rows
from tierlake.connector.errors import AccessDenied
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines import Selection
from tierlake.pipelines.cli.failures import ExitCode, exit_code_of
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import PartialFailure, PolicyRefused, SpecError, UnknownPartition
from tierlake.pipelines.lifecycle.undo_selected import undo_selected
from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.tables.plain_objects import PlainObjects

JANUARY = [f"2013-01-{day:02d}" for day in range(1, 9)]
DAYS = [*JANUARY, "2013-03-01", "2013-03-02"]
LATER = "2013-06-15"
"""On this day January is past retention, and so are the days of March."""


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, make_bucket, fs) -> Dataset:
    bucket = make_bucket(versioned=True)
    made = Dataset.create(daily_spec(bucket, format=request.param), fs=fs, clock=Offset(fs, bucket))
    made.ingest(rows(DAYS, each=3), run_key="first")
    return made


def keys(days) -> list[str]:
    return [f"date={day}" for day in days]


def test_one_undo_brings_a_month_back_and_again_changes_nothing(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER).apply().raise_failures()
    assert [one.key for one in dataset.undoable("date=2013-01*")] == keys(JANUARY)
    rehearsed = dataset.undo_many("date=2013-01*", dry_run=True)
    assert (len(rehearsed.changed), len(dataset.partitions())) == (len(JANUARY), 0)
    results = dataset.undo("date=2013-01*")
    assert [(one.key, one.changed) for one in results] == [(key, True) for key in keys(JANUARY)]
    assert all(one.kept_until is not None for one in results)
    assert days_in(dataset) == dict.fromkeys(JANUARY, 3)
    assert dataset.verify().ok
    undos = [entry for entry in dataset.history() if entry.operation == "undo"]
    assert [list(entry.keys) for entry in undos] == [keys(JANUARY)], "one act for all of them"
    again = dataset.undo_many("date=2013-01*")
    assert (again.changed, again.ok, len(again.results)) == ((), True, len(JANUARY))
    assert str(again).startswith("nothing changed")
    assert [one.key for one in dataset.undo(Selection(since="2013-03-01", until="2013-03-01"))] == ["date=2013-03-01"]
    assert [one.key for one in dataset.undoable()] == ["date=2013-03-02"]


def test_what_cannot_come_back_is_listed_and_keeps_nothing_else(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER).apply().raise_failures()
    dataset.ingest(rows(JANUARY[:1], each=1), run_key="again")
    summary = dataset.undo_many(["date=2013-01-01..2013-01-04", "date=2013-01-01"])
    assert summary.failed.keys() == {"date=2013-01-01"}
    assert "ingested again" in summary.failed["date=2013-01-01"]
    assert summary.codes == {"date=2013-01-01": "policy_refused"}
    assert [one.key for one in summary.changed] == keys(JANUARY[1:4])
    assert str(summary).splitlines()[0].startswith("3 partitions are back (3 files, ")
    with pytest.raises(PartialFailure, match="1 cannot come back") as failed:
        dataset.undo(["date=2013-01-01", "date=2013-01-05"])
    assert failed.value.failures.keys() == {"date=2013-01-01"}
    assert days_in(dataset) == {"2013-01-01": 1, **dict.fromkeys(JANUARY[1:5], 3)}
    assert dataset.verify().ok


@pytest.mark.slow
def test_removals_of_both_kinds_come_back_together(dataset: Dataset) -> None:
    before = days_in(dataset)
    dataset.ingest(rows(["2013-03-01"], each=1), run_key="wrong")
    dataset.plan_expiry(LATER, keys="date=2013-01-01..2013-01-04").apply().raise_failures()
    assert len(dataset.undo("date=..")) == 5
    assert days_in(dataset) == before


@pytest.mark.slow
def test_what_left_too_long_ago_is_counted_or_refused(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER, keys="date=2013-01-01..2013-01-02").apply().raise_failures()
    clock = dataset._handle.clock
    clock.ahead = timedelta(days=8)
    dataset.plan_expiry(LATER, keys="date=2013-01-03").apply().raise_failures()
    summary = dataset.undo_many("date=2013-01*")
    assert ([one.key for one in summary.changed], summary.lost) == (["date=2013-01-03"], tuple(keys(JANUARY[:2])))
    assert "2 more that match left for good" in str(summary)
    refused = dataset.undo_many("date=2013-01-01..2013-01-02")
    assert set(refused.codes.values()) == {"policy_refused"}
    assert refused.failed.keys() == set(keys(JANUARY[:2]))
    with pytest.raises(PolicyRefused, match="grace of date=2013-01-01 ended"):
        dataset.undo("date=2013-01-01")


def test_what_acts_wants_its_partitions_named(dataset: Dataset) -> None:
    acts = {
        "hold": lambda chosen: dataset.hold(chosen, reason="x"),
        "hold_many": lambda chosen: dataset.hold_many(chosen, reason="x"),
        "release": dataset.release,
        "release_many": dataset.release_many,
        "retain": lambda chosen: dataset.retain(chosen, until="2020-01-01"),
        "retain_many": lambda chosen: dataset.retain_many(chosen, until="2020-01-01"),
        "restore_many": dataset.restore_many,
        "undo_many": dataset.undo_many,
    }
    dataset.hold("date=2013-03-01", reason="audit")
    for act in acts.values():
        for nothing in (None, [], iter(())):
            with pytest.raises(SpecError, match=r"no partition is named.*`Selection\(\)` is all of them"):
                act(nothing)
    with pytest.raises(SpecError, match="undo takes a partition"):
        dataset.undo()
    assert [part.held for part in dataset.partitions()] == [*[None] * len(JANUARY), "held: audit", None]
    assert dataset.release(Selection()), "all, if that is said"


def test_a_grace_that_ends_while_it_is_held_is_listed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.plan_expiry(LATER, keys="date=2013-01-01").apply().raise_failures()
    clock, write = dataset._handle.clock, DocumentStore.update

    def late(store: DocumentStore, change: Callable[[DatasetDocument], DatasetDocument]) -> DatasetDocument:
        written = write(store, change)
        clock.ahead = timedelta(days=8)
        return written

    monkeypatch.setattr(DocumentStore, "update", late)
    changes = dataset.hold_many(["date=2013-01-01", "date=2013-03-01"], reason="audit")
    assert (changes.failed.keys(), changes.changed) == ({"date=2013-01-01"}, ("date=2013-03-01",))
    assert exit_code_of(changes.codes, done=len(changes.changed)) is ExitCode.PARTIAL
    assert dataset._handle.document.read().holds.keys() == {"date=2013-03-01"}


def test_keys_of_an_undo_may_be_an_iterator_and_are_written_in_their_order(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER).apply().raise_failures()
    several = [JANUARY[number] for number in (4, 1, 7, 0, 3)]
    rehearsed = dataset.undo((f"date={day}" for day in several), dry_run=True)
    results = dataset.undo(f"date={day}" for day in several)
    assert [one.key for one in rehearsed] == [one.key for one in results] == keys(sorted(several))
    (undo,) = (entry for entry in dataset.history() if entry.operation == "undo")
    assert list(undo.keys) == keys(sorted(several))


def test_an_empty_match_names_the_nearest_keys(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER, keys="date=2013-01*").apply().raise_failures()
    with pytest.raises(
        UnknownPartition, match=r"that can be undone that matches date=2014\*.*date=2013-01-08.*there are 8"
    ):
        dataset.undo("date=2014*")
    with pytest.raises(UnknownPartition, match=r"matches date=2013-02\*.*there are 2, from date=2013-03-01"):
        dataset.partitions(keys="date=2013-02*")
    with pytest.raises(UnknownPartition, match="by 'dat', but by date"):
        dataset.hold("dat=2013-02*", reason="x")
    with pytest.raises(UnknownPartition, match=r"has no partition date=2013-03-04.*date=2013-03-02"):
        dataset.hold(["date=2013-03-01", "date=2013-03-04"], reason="x")
    assert [part.held for part in dataset.partitions()] == [None, None], "nothing of a wrong list is done"
    with pytest.raises(SpecError, match="ends before it begins"):
        dataset.plan_tiering(keys="date=2013-03-02..2013-03-01")


def test_holds_of_a_range_are_one_act(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER, keys="date=2013-01-01..2013-01-02").apply().raise_failures()
    assert dataset.hold("date=2013-01-02", reason="audit")
    changes = dataset.hold_many("date=2013-01*", reason="audit")
    assert (len(changes.changed), changes.unchanged) == (7, ("date=2013-01-02",)), "expired ones are held too"
    assert str(changes) == "7 partitions are held, 1 was so already"
    assert not dataset.hold("date=2013-01*", reason="audit")
    assert dataset.plan_expiry(LATER, keys="date=2013-01*").steps == ()
    assert len([entry for entry in dataset.history() if entry.operation == "hold"]) == 2
    released = dataset.release_many(Selection(until="2013-01-31"))
    assert len(released.changed) == 8
    assert dataset.release_many(Selection(until="2013-01-31")).changed == ()
    with pytest.raises(UnknownPartition, match="date=2012"):
        dataset.release("date=2012*")


@pytest.mark.slow
def test_a_retention_of_many_leaves_longer_ones_alone(dataset: Dataset) -> None:
    assert dataset.retain("date=2013-01-03", until="2020-01-01")
    changes = dataset.retain_many("date=2013-01*", until="2015-01-01")
    assert (len(changes.changed), changes.failed.keys()) == (7, {"date=2013-01-03"})
    assert "retained until 2020" in changes.failed["date=2013-01-03"]
    with pytest.raises(PartialFailure):
        dataset.retain("date=2013-01-02..2013-01-03", until="2015-02-01")
    assert dataset.retain("date=2013-01*", until="2015-01-01", shorten=True)
    assert len(dataset.plan_expiry(LATER).refused) == 8


@pytest.mark.slow
def test_plans_explanations_reads_and_restores_of_a_part(dataset: Dataset) -> None:
    tiering = dataset.plan_tiering("2013-04-10", keys="date=2013-03*")
    assert sorted(one.key for one in (*tiering.steps, *tiering.refused)) == keys(DAYS[-2:])
    assert tiering.untouched == 0
    plan = dataset.plan_expiry(LATER, keys=Selection(since="2013-01-07"))
    assert [step.key for step in plan.steps] == keys(DAYS[6:])
    plan.apply().raise_failures()
    explained = dataset.explain_many("date=2013-01-06..2013-01-07", as_of=LATER)
    assert [one.undo_until is None for one in explained] == [True, False]
    assert dataset.read(keys="date=2013-01-0[12]").num_rows == 6
    assert [str(one.key) for one in dataset.restore_many("date=2013-01-0[12]")] == keys(JANUARY[:2])
    assert [one.readable for one in dataset.restore_many("date=2013-01-0[12]")] == [1, 1]
    assert dataset.waiting_for("date=2013-01*") == {}


def two_dimensional(fs: LakeFileSystem, bucket: str, table_format: str) -> Dataset:
    spec = DatasetSpec.model_validate(
        {
            "uri": f"lake://{bucket}/hourly",
            "format": table_format,
            "partition": {"time": {"column": "at", "every": "hour", "timezone": "America/New_York"}, "by": ["origin"]},
            "retention": {"expire_after": "30d", "grace": "7d"},
        }
    )
    start = datetime(2013, 11, 3, 4, tzinfo=UTC)
    odd = ["JFK", "a..b", "a*b", None]
    times = [start + timedelta(hours=hour) for hour in range(4) for _ in odd]
    origins = [origin for _ in range(4) for origin in odd]
    made = Dataset.create(spec, fs=fs)
    made.ingest(pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "origin": origins}))
    return made


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_hours_of_the_autumn_night_and_odd_values_in_two_dimensions(make_bucket, fs, table_format) -> None:
    dataset = two_dimensional(fs, make_bucket(versioned=True), table_format)
    hours = ["2013-11-03T00", "2013-11-03T01", "2013-11-03T01-0500", "2013-11-03T02"]
    assert len(dataset.partitions()) == 16

    def named(text: str) -> set[tuple[str, str]]:
        return {(key.value("date") or "", key.value("origin") or "") for key in dataset.select(text)}

    assert named("date=2013-11-03T01-0500../origin=JFK") == {(hour, "JFK") for hour in hours[2:]}
    assert named("date=2013-11-03T01..2013-11-03T01/origin=J*") == {(hours[1], "JFK")}
    assert named("origin=a..b") == {(hour, "a..b") for hour in hours}, "where there is such a value, it is meant"
    assert named("origin=a*b") == {(hour, "a*b") for hour in hours}
    assert named("origin=a%2Ab") == {(hour, "a*b") for hour in hours}
    assert named("origin=a?*b") == {(hour, text) for hour in hours for text in ("a*b", "a..b")}
    assert named("date=2013-11-03T02/origin=") == {(hours[3], "")}
    assert named("date=2013-11-03T02/origin=A..Z") == {(hours[3], "JFK")}, "null is in no range"
    assert len(named("date=2013-11-03..2013-11-03")) == 16
    one = PartitionKey((("date", hours[2]), ("origin", "a..b")))
    assert dataset.hold(str(one), reason="x")
    assert [part.key for part in dataset.partitions() if part.held] == [one]
    dataset.release(one)
    dataset.plan_expiry("2014-01-01", keys="origin=*b").apply().raise_failures()
    assert len(dataset.undo("date=2013-11-03T01-0500")) == 2
    assert len(dataset.undo("origin=a%2E%2Eb")) == 3
    assert {one.key for one in dataset.undoable("origin=*")} == {
        f"date={hour}/origin=a%2Ab" for hour in (hours[0], hours[1], hours[3])
    }


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_requests_go_by_acts_not_by_partitions(server, make_bucket, tmp_path, table_format) -> None:
    counts: dict[str, list[int]] = {}
    with recording(server.endpoint_url, tmp_path) as ledger:
        options = {**server.storage_options, "endpoint_url": ledger.url}
        for number in (8, 16):
            bucket = make_bucket(versioned=True)
            fs = fsspec.filesystem("lake", skip_instance_cache=True, **options)
            dataset = Dataset.create(daily_spec(bucket, format=table_format), fs=fs, clock=Offset(fs, bucket))
            dataset.ingest(rows([f"2013-01-{day:02d}" for day in range(1, number + 1)], each=1))
            ledger.turn_page()
            assert dataset.hold("date=2013-01*", reason="x")
            counts.setdefault("hold", []).append(len(ledger.entries()))
            ledger.turn_page()
            assert dataset.release("date=2013-01*")
            counts.setdefault("release", []).append(len(ledger.entries()))
            dataset.plan_expiry(LATER).apply().raise_failures()
            ledger.turn_page()
            assert len(dataset.undo("date=2013-01*")) == number
            counts.setdefault("undo", []).append(len(ledger.entries()))
    assert counts["hold"][0] == counts["hold"][1], counts
    assert counts["release"][0] == counts["release"][1], counts
    of_object = 5 if table_format == "parquet" else 0  # each object of a plain table comes back by itself
    assert counts["undo"][1] - counts["undo"][0] <= 8 * of_object, counts


@pytest.mark.slow
def test_who_ingests_meanwhile_loses_nothing_and_keeps_nothing_else(dataset: Dataset) -> None:
    dataset.plan_expiry(LATER).apply().raise_failures()
    handle = meddled(dataset, before=lambda: dataset.ingest(rows(JANUARY[:1], each=1), run_key="again"))
    summary = undo_selected(handle, Selection.of("date=2013-01*"))
    assert summary.failed.keys() == {"date=2013-01-01"}
    assert [(one.key, one.changed) for one in summary.results] == [(key, True) for key in keys(JANUARY[1:])]
    assert days_in(dataset) == {"2013-01-01": 1, **dict.fromkeys(JANUARY[1:], 3)}
    undone = [key for entry in dataset.history() if entry.operation == "undo" for key in entry.keys]
    assert sorted(undone) == keys(JANUARY[1:]), "whichever attempt brought them back"
    assert dataset.undo_many("date=2013-01-02..2013-01-08").changed == ()
    assert dataset.verify().ok


def test_a_partition_that_is_called_like_a_range_is_no_range(make_bucket, fs) -> None:
    spec = DatasetSpec(
        uri=f"lake://{make_bucket(versioned=True)}/letters", partition={"by": ["x"]}, columns={"v": "int64"}
    )
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(pa.table({"x": ["a..d", "b"], "v": [1, 2]}))
    dataset.ingest(pa.table({"x": ["b"], "v": [3]}))  # the first b can be undone
    assert [str(key) for key in dataset.select("x=a..d")] == ["x=a..d"]
    assert [(one.key, one.changed) for one in dataset.undo("x=a..d")] == [("x=a..d", False)]
    with pytest.raises(UnknownPartition, match=r"nothing that could be undone was taken out of x=a\.\.d"):
        dataset.undoable("x=a..d")
    assert [one.key for one in dataset.undoable("x=a..c")] == ["x=b"]
    assert dataset.read(["v"], where=[("x", "==", "b")]).column("v").to_pylist() == [3]


@pytest.mark.slow
def test_of_a_plain_table_that_stopped_on_its_way_the_rest_comes_back(make_bucket, fs, monkeypatch) -> None:
    bucket = make_bucket(versioned=True)
    dataset = Dataset.create(daily_spec(bucket, format="parquet"), fs=fs, clock=Offset(fs, bucket))
    dataset.ingest(rows(JANUARY, each=3))
    dataset.plan_expiry(LATER).apply().raise_failures()
    real = PlainObjects.bring_back

    def failing(objects, replaced, staged):
        if "2013-01-05" in staged.file.path:
            raise AccessDenied("not today")
        real(objects, replaced, staged)

    monkeypatch.setattr(PlainObjects, "bring_back", failing)
    summary = dataset.undo_many("date=2013-01*")
    assert "date=2013-01-05" in summary.failed
    there = set(days_in(dataset))
    assert {one.key for one in summary.results} == set(keys(there)), "what is back is told, and nothing else"
    assert summary.failed.keys() == set(keys(JANUARY)) - set(keys(there))
    (undone,) = [entry for entry in dataset.history() if entry.operation == "undo"]
    assert set(undone.keys) == {one.key for one in summary.changed} == set(keys(there)), "and the history has it"
    monkeypatch.undo()
    assert dataset.undo_many("date=2013-01*").ok
    assert days_in(dataset) == dict.fromkeys(JANUARY, 3)
    assert dataset.verify().ok
