"""Expiry and undo, over both formats, on real servers."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pyarrow.parquet as pq
import pytest

from tests.pipelines.samples import (
    AS_OF,
    CHANGING,
    DAYS,
    Meddled,
    Offset,
    clock_of,
    daily,
    daily_spec,
    days_in,
    meddled,
    requests_of,
    rows,
)
from tests.servers import Rig
from tierlake.connector.errors import AccessDenied
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, SpecError, UnknownPartition, UnsupportedByTable
from tierlake.pipelines.ingest.run import ingest
from tierlake.pipelines.lifecycle.expiry import apply_expiry, expired_keys, undo_expiry
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.lifecycle.plan import ExpiryPlan, load_plan
from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import conflicts
from tierlake.pipelines.tables.snapshot import Change, Commit

GONE = "date=2013-01-01"
KEPT = dict.fromkeys(DAYS[1:], 20)
ALL = dict.fromkeys(DAYS, 20)
MakeBucket = Callable[..., str]


@pytest.fixture(params=["delta", "parquet"])
def dataset(request: pytest.FixtureRequest, fs: LakeFileSystem, make_bucket: MakeBucket) -> Dataset:
    """The daily sample in each format; plain tables in a versioned bucket."""
    return daily(fs, make_bucket(versioned=request.param == "parquet"), format=request.param)


@pytest.fixture
def delta(fs: LakeFileSystem, bucket: str) -> Dataset:
    return daily(fs, bucket)


class Interrupted(BaseException):
    """Stands for a process that dies."""


def die() -> None:
    raise Interrupted


# -- plan -----------------------------------------------------------------------------------------------------------


def test_a_plan_names_what_is_past_retention_and_changes_nothing(dataset: Dataset) -> None:
    plan = dataset.plan_expiry(AS_OF)
    assert [step.key for step in plan.steps] == [GONE]
    assert plan.steps[0].reason == "99 d old, kept for 90 d"
    assert plan.untouched == 3
    assert GONE in str(plan)
    assert days_in(dataset) == ALL


def test_nothing_is_due_on_the_day_before(dataset: Dataset) -> None:
    assert dataset.plan_expiry("2013-04-01T23:59:59+00:00").steps == ()
    assert [step.key for step in dataset.plan_expiry("2013-04-02").steps] == [GONE]


# -- apply and undo -------------------------------------------------------------------------------------------------


def test_an_expired_partition_is_gone_at_once_and_comes_back_with_undo(dataset: Dataset) -> None:
    before = dataset.read()
    plan = dataset.plan_expiry(AS_OF)
    result = plan.apply(run_id="run-1")
    assert (result.done, result.skipped, result.failed) == ((GONE,), (), {})
    assert (result.files, result.bytes) == (1, plan.bytes)
    assert days_in(dataset) == KEPT

    undone = dataset.undo_expiry(GONE)
    assert undone.changed
    assert undone.files == 1
    assert days_in(dataset) == ALL
    assert dataset.read().sort_by("at").equals(before.sort_by("at"))
    assert dataset.verify(AS_OF).ok


def test_a_second_apply_has_nothing_to_do(dataset: Dataset) -> None:
    plan = dataset.plan_expiry(AS_OF)
    plan.apply()
    version, entries = dataset.version, dataset._handle.journal.entries()
    again = plan.apply()
    assert (again.done, again.skipped, again.failed) == ((), (GONE,), {})
    assert dataset.plan_expiry(AS_OF).steps == ()
    assert (dataset.version, dataset._handle.journal.entries()) == (version, entries)


def test_a_second_undo_changes_nothing(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    dataset.undo_expiry(GONE)
    version = dataset.version
    again = dataset.undo_expiry(GONE)
    assert not again.changed
    assert dataset.version == version
    assert days_in(dataset) == ALL


def test_what_came_back_is_kept_for_another_grace(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    undone = dataset.undo_expiry(GONE)
    assert undone.kept_until is not None
    plan = dataset.plan_expiry(AS_OF)
    assert plan.steps == ()
    assert "retained until" in plan.refused[0].reason
    later = undone.kept_until + timedelta(seconds=1)
    assert GONE in [step.key for step in dataset.plan_expiry(later).steps]


@pytest.mark.slow
def test_it_can_expire_and_come_back_again(dataset: Dataset) -> None:
    for _ in range(2):
        dataset.plan_expiry(AS_OF).apply()
        assert days_in(dataset) == KEPT
        undone = dataset.undo_expiry(GONE)
        assert undone.changed
        assert days_in(dataset) == ALL
        dataset.retain(GONE, until="2013-01-01", shorten=True)


def test_a_saved_plan_is_applied_later_and_in_part(dataset: Dataset) -> None:
    as_of = "2013-05-05"
    plan = dataset.plan_expiry(as_of)
    assert [step.key for step in plan.steps] == [GONE, "date=2013-02-01"]
    loaded = load_plan(plan.to_json())
    assert isinstance(loaded, ExpiryPlan)
    result = dataset.apply(loaded, keys=["date=2013-02-01"])
    assert result.done == ("date=2013-02-01",)
    assert days_in(dataset) == {day: 20 for day in DAYS if day != "2013-02-01"}
    rest = dataset.apply(loaded)
    assert (rest.done, rest.skipped) == ((GONE,), ("date=2013-02-01",))


def test_a_run_key_is_forgotten_with_its_partition(dataset: Dataset) -> None:
    dataset.ingest(rows([DAYS[0]]), run_key="again")
    assert not dataset.ingest(rows([DAYS[0]]), run_key="again").committed
    dataset.plan_expiry(AS_OF).apply()
    assert dataset.ingest(rows([DAYS[0]]), run_key="again").committed
    assert days_in(dataset) == ALL


@pytest.mark.slow
@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_run_that_was_forgotten_in_part_is_completed_and_not_doubled(delta: Dataset, *, is_compacted: bool) -> None:
    delta.ingest(rows(), mode="append", run_key="more")
    if is_compacted:
        delta.compact()
    delta.plan_expiry(AS_OF).apply()
    again = delta.ingest(rows(), mode="append", run_key="more")
    assert ([str(key) for key in again.partitions], again.rows) == ([GONE], 20)
    assert days_in(delta) == {GONE.removeprefix("date="): 20} | dict.fromkeys(DAYS[1:], 40)
    assert not delta.ingest(rows(), mode="append", run_key="more").committed


# -- what undo refuses ----------------------------------------------------------------------------------------------


def test_undo_is_refused_when_the_grace_is_over(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    clock_of(dataset).ahead = timedelta(days=7, minutes=1)
    with pytest.raises(PolicyRefused, match="the grace of date=2013-01-01 ended"):
        dataset.undo_expiry(GONE)
    assert days_in(dataset) == KEPT


@pytest.mark.slow
def test_undo_is_refused_when_the_files_are_gone(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    clock_of(dataset).ahead = timedelta(days=8)
    assert dataset.vacuum().deleted == 1
    clock_of(dataset).ahead = timedelta(0)
    with pytest.raises(PolicyRefused):
        dataset.undo_expiry(GONE)
    assert days_in(dataset) == KEPT


def test_undo_never_touches_new_data(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    dataset.ingest(rows([DAYS[0]], each=5))
    with pytest.raises(PolicyRefused, match="ingested again"):
        dataset.undo_expiry(GONE)
    assert days_in(dataset) == {"2013-01-01": 5, **KEPT}


def test_what_was_erased_after_it_had_come_back_does_not_come_back_again(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    dataset.undo_expiry(GONE)
    dataset.erase([("date", "==", GONE.removeprefix("date="))])
    assert expired_keys(dataset._handle) == ()
    with pytest.raises(PolicyRefused, match="erased or replaced since"):
        dataset.undo_expiry(GONE)
    assert days_in(dataset) == KEPT


def test_undo_of_what_never_expired(dataset: Dataset) -> None:
    with pytest.raises(UnknownPartition):
        dataset.undo_expiry("date=1999-01-01")
    assert not dataset.undo_expiry("date=2013-04-01").changed


def test_undo_given_up_is_given_up(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply(undo=False)
    with pytest.raises(PolicyRefused, match="undo=False"):
        dataset.undo_expiry(GONE)


def test_what_can_be_undone_and_until_when(dataset: Dataset) -> None:
    assert expired_keys(dataset._handle) == ()
    dataset.plan_expiry(AS_OF).apply()
    (expired,) = expired_keys(dataset._handle)
    assert expired.key == GONE
    assert expired.undo_until - expired.removed_at == timedelta(days=7)
    assert expired.reason == "99 d old, kept for 90 d"
    clock_of(dataset).ahead = timedelta(days=7, minutes=1)
    assert expired_keys(dataset._handle) == ()
    clock_of(dataset).ahead = timedelta(0)
    dataset.undo_expiry(GONE)
    assert expired_keys(dataset._handle) == ()


# -- holds, retentions, downstream ----------------------------------------------------------------------------------


def test_a_hold_wins_in_the_plan(dataset: Dataset) -> None:
    assert dataset.hold(GONE, reason="audit 2014")
    plan = dataset.plan_expiry(AS_OF)
    assert plan.steps == ()
    assert [(refusal.key, refusal.reason) for refusal in plan.refused] == [(GONE, "held: audit 2014")]
    assert dataset.release(GONE)
    assert [step.key for step in dataset.plan_expiry(AS_OF).steps] == [GONE]


def test_a_hold_wins_over_a_plan_made_before_it(dataset: Dataset) -> None:
    plan = dataset.plan_expiry("2013-05-05")
    dataset.hold(GONE, reason="audit")
    result = plan.apply()
    assert result.done == ("date=2013-02-01",)
    assert "held: audit" in result.failed[GONE]
    assert result.codes[GONE] == PolicyRefused.code
    assert "2013-01-01" in days_in(dataset)


def test_a_hold_put_while_it_expires_brings_it_back(dataset: Dataset) -> None:
    plan = dataset.plan_expiry("2013-05-05")
    handle = meddled(dataset, before=lambda: dataset.hold(GONE, reason="just now"))
    result = apply_expiry(handle, plan)
    assert result.done == ("date=2013-02-01",)
    assert "just now" in result.failed[GONE]
    assert days_in(dataset) == {day: 20 for day in DAYS if day != "2013-02-01"}


def test_holding_twice_is_holding_once(dataset: Dataset) -> None:
    assert dataset.hold(GONE, reason="audit")
    assert not dataset.hold(GONE, reason="audit")
    assert dataset.release(GONE)
    assert not dataset.release(GONE)


def test_holds_know_the_partitions(dataset: Dataset) -> None:
    with pytest.raises(UnknownPartition, match="1999"):
        dataset.hold("date=1999-01-01", reason="audit")
    with pytest.raises(SpecError, match="reason"):
        dataset.hold(GONE, reason="  ")
    dataset.plan_expiry(AS_OF).apply()
    assert dataset.hold(GONE, reason="do not vacuum")
    clock_of(dataset).ahead = timedelta(days=30)
    assert dataset.vacuum().deleted == 0


def test_a_partition_can_be_kept_longer(dataset: Dataset) -> None:
    assert dataset.retain(GONE, until="2013-06-01")
    assert dataset.plan_expiry(AS_OF).refused[0].reason == "retained until 2013-06-01"
    assert GONE in [step.key for step in dataset.plan_expiry("2013-06-01").steps]


def test_it_waits_for_downstream(fs: LakeFileSystem, bucket: str) -> None:
    dataset = daily(fs, bucket, retention={"expire_after": "90d", "after": ["monthly_summary"]})
    assert dataset.plan_expiry(AS_OF).steps == ()
    assert "waits for monthly_summary" in dataset.plan_expiry(AS_OF).refused[0].reason

    asked: list[PartitionKey] = []

    def planned(*readings: Reading) -> ExpiryPlan:
        def seen(keys: Collection[PartitionKey]) -> dict[PartitionKey, tuple[Reading, ...]]:
            asked[:] = keys
            return dict.fromkeys(keys, readings)

        return dataset.plan_expiry(AS_OF, materialized={"monthly_summary": seen})

    def reasons(*readings: Reading) -> list[str]:
        plan = planned(*readings)
        assert plan.steps == ()
        return [refusal.reason for refusal in plan.refused]

    assert reasons(Reading("2013-01")) == ["waits for monthly_summary 2013-01 to be materialized: it never was"]
    before = Reading("2013-01", at=datetime(2013, 2, 1, tzinfo=UTC))
    again = "to be materialized again: it has not read the last change, on "
    assert reasons(before)[0].startswith(f"waits for monthly_summary 2013-01 {again}")
    later = clock_of(dataset).now() + timedelta(minutes=1)
    seen = Reading("2013-02", at=later)
    assert reasons(seen, before, Reading("2013-03"))[0].startswith("waits for monthly_summary 2013-01 and 1 more to be")
    assert planned(replace(before, later=(lambda: None, lambda: later))).steps
    assert planned().steps  # nobody can see it

    plan = planned(seen)
    assert [step.key for step in plan.steps] == [GONE]
    assert asked == [PartitionKey.parse(GONE)]
    assert plan.apply().done == (GONE,)


# -- plans that are not true any more -------------------------------------------------------------------------------


def test_a_partition_that_changed_since_the_plan_stays(dataset: Dataset) -> None:
    plan = dataset.plan_expiry("2013-05-05")
    dataset.ingest(rows([DAYS[0]], each=3))
    result = plan.apply()
    assert result.done == ("date=2013-02-01",)
    assert "plan again" in result.failed[GONE]
    assert result.codes[GONE] == "stale_plan"
    assert days_in(dataset)["2013-01-01"] == 3


def test_a_plan_that_was_edited_expires_nothing_early(dataset: Dataset) -> None:
    plan = dataset.plan_expiry("2013-12-31")
    assert len(plan.steps) == 4
    edited = ExpiryPlan.from_json(plan.to_json().replace("2013-12-31T", "2013-04-11T"))
    result = dataset.apply(edited)
    assert result.done == (GONE,)
    assert all("not past its retention" in text for text in result.failed.values())
    assert days_in(dataset) == KEPT


def test_a_plan_for_another_dataset_is_refused(dataset: Dataset) -> None:
    plan = dataset.plan_expiry(AS_OF)
    with pytest.raises(SpecError, match="not for"):
        apply_expiry(dataset._handle, plan.model_copy(update={"uri": "lake://elsewhere/daily"}))


# -- crashes and races ----------------------------------------------------------------------------------------------


def test_a_crash_before_the_commit_harms_nothing_and_is_completed(dataset: Dataset) -> None:
    plan = dataset.plan_expiry(AS_OF)
    with pytest.raises(Interrupted):
        apply_expiry(meddled(dataset, before=die), plan)
    assert days_in(dataset) == ALL
    assert dataset.verify(AS_OF).ok
    assert not any(entry.committed for entry in dataset._handle.journal.entries())
    assert not dataset.undo_expiry(GONE).changed

    assert plan.apply().done == (GONE,)
    assert days_in(dataset) == KEPT
    assert dataset.undo_expiry(GONE).changed
    assert days_in(dataset) == ALL


def test_a_crash_after_the_commit_can_be_undone(dataset: Dataset) -> None:
    plan = dataset.plan_expiry(AS_OF)
    with pytest.raises(Interrupted):
        apply_expiry(meddled(dataset, after=die), plan)
    assert days_in(dataset) == KEPT
    assert plan.apply().skipped == (GONE,)
    assert dataset.undo_expiry(GONE).changed
    assert days_in(dataset) == ALL


def test_an_ingest_elsewhere_does_not_disturb_it(delta: Dataset) -> None:
    plan = delta.plan_expiry(AS_OF)
    handle = meddled(delta, before=lambda: delta.ingest(rows(["2013-04-05"])))
    assert apply_expiry(handle, plan).done == (GONE,)
    assert days_in(delta) == {**KEPT, "2013-04-05": 20}


def test_what_an_ingest_says_is_empty_is_empty_after_it(delta: Dataset) -> None:
    """Though somebody appended to it meanwhile, and it had no file before that could tell."""
    new, source = PartitionKey.parse("date=2013-04-05"), rows([DAYS[1]])
    handle = meddled(delta, before=lambda: delta.ingest(rows(["2013-04-05"]), mode="append"))
    ingest(handle, source, keys=[new, PartitionKey.parse(f"date={DAYS[1]}")])
    assert days_in(delta) == ALL
    assert [entry.operation for entry in delta.history()][:2] == ["ingest", "append"]


def test_a_hold_does_not_bring_old_rows_back_beside_new_ones(dataset: Dataset) -> None:
    def meddle() -> None:
        dataset.hold(GONE, reason="lawsuit")
        dataset.ingest(rows([DAYS[0]], each=3))

    result = apply_expiry(meddled(dataset, after=meddle), dataset.plan_expiry(AS_OF))
    assert (result.done, result.failed) == ((GONE,), {})
    assert days_in(dataset) == {**ALL, DAYS[0]: 3}


@pytest.mark.slow
def test_an_ingest_into_the_partition_wins(delta: Dataset) -> None:
    plan = delta.plan_expiry("2013-05-05")
    handle = meddled(delta, before=lambda: delta.ingest(rows([DAYS[0]], each=4)))
    result = apply_expiry(handle, plan)
    assert result.done == ("date=2013-02-01",)
    assert result.codes == {GONE: "stale_plan"}
    assert days_in(delta)["2013-01-01"] == 4
    (record,) = (one for one in delta._handle.journal.records(RemovalRecord) if one.operation == "expire")
    assert [gone.key for gone in record.partitions] == ["date=2013-02-01"]


def test_two_who_expire_at_once_make_one_expiry(delta: Dataset) -> None:
    plan = delta.plan_expiry(AS_OF)
    result = apply_expiry(meddled(delta, before=plan.apply), plan)
    assert (result.done, result.skipped, result.failed) == ((), (GONE,), {})
    assert [entry.committed for entry in delta._handle.journal.entries()].count(True) == 1
    assert delta.undo_expiry(GONE).changed
    assert days_in(delta) == ALL


def test_an_ingest_while_it_comes_back_wins(delta: Dataset) -> None:
    delta.plan_expiry(AS_OF).apply()
    handle = meddled(delta, before=lambda: delta.ingest(rows([DAYS[0]], each=4)))
    with pytest.raises(PolicyRefused, match="ingested again"):
        undo_expiry(handle, GONE)
    assert days_in(delta)["2013-01-01"] == 4


def test_undo_never_commits_files_that_are_not_there(delta: Dataset) -> None:
    delta.plan_expiry(AS_OF).apply()
    (record,) = delta._handle.journal.records(RemovalRecord)
    delta.fs.rm_file(f"{delta.spec.root}/{record.partitions[0].files[0].path}")
    with pytest.raises(PolicyRefused, match="not in the store any more"):
        delta.undo_expiry(GONE)
    assert days_in(delta) == KEPT


def test_a_commit_that_fails_is_reported_for_each_partition(delta: Dataset) -> None:
    def refuse() -> None:
        raise AccessDenied("no")

    result = apply_expiry(meddled(delta, before=refuse), delta.plan_expiry(AS_OF))
    assert result.codes == {GONE: "access_denied"}
    assert days_in(delta) == ALL


def test_conflicts_that_never_end_are_reported(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(Meddled):
        def commit(self, change: Change) -> Commit:
            raise CommitConflict("always")

    monkeypatch.setattr(conflicts, "BUDGET", conflicts.ConflictBudget(seconds=0.0))
    handle = replace(delta._handle, table=Busy(delta._handle.table))
    result = apply_expiry(handle, delta.plan_expiry(AS_OF))
    assert "always" in result.failed[GONE]
    assert days_in(delta) == ALL


# -- plain tables ---------------------------------------------------------------------------------------------------


def test_a_plain_table_in_an_unversioned_bucket_asks_for_undo_false(fs: LakeFileSystem, bucket: str) -> None:
    dataset = daily(fs, bucket, format="parquet")
    with pytest.raises(PolicyRefused, match="could not come back") as caught:
        dataset.plan_expiry(AS_OF).apply()
    assert "undo=False" in (caught.value.hint or "")
    assert days_in(dataset) == ALL
    if not fs.profile.delete_if_match:
        with pytest.raises(UnsupportedByTable, match="keeps versions"):
            dataset.plan_expiry(AS_OF).apply(undo=False)
        assert days_in(dataset) == ALL
        return
    assert dataset.plan_expiry(AS_OF).apply(undo=False).done == (GONE,)
    assert days_in(dataset) == KEPT
    with pytest.raises(PolicyRefused):
        dataset.undo_expiry(GONE)


@pytest.fixture
def adopted(server: Rig, fs: LakeFileSystem, make_bucket: MakeBucket) -> Dataset:
    """A plain table that somebody else writes, two objects a partition."""
    bucket = make_bucket(versioned=True)
    made = Dataset.create(daily_spec(bucket, format="parquet"), fs=fs, clock=Offset(fs, bucket))
    for day in DAYS:
        for number in range(2):
            out = BytesIO()
            pq.write_table(rows([day], each=10, start=10 * number), out)
            server.admin.put_object(Bucket=bucket, Key=f"daily/date={day}/{number}.parquet", Body=out.getvalue())
    return made


def test_partitions_of_several_objects_go_and_come_back_whole(adopted: Dataset) -> None:
    assert days_in(adopted) == ALL
    adopted.plan_expiry(AS_OF).apply()
    assert days_in(adopted) == KEPT
    assert adopted.undo_expiry(GONE).files == 2
    assert days_in(adopted) == ALL


@pytest.mark.slow
@pytest.mark.parametrize("planned", ["the same plan", "a new plan"])
def test_an_expiry_that_died_between_two_objects_is_completed_and_undone_whole(adopted: Dataset, planned: str) -> None:
    plan = adopted.plan_expiry(AS_OF)
    first = f"{adopted.spec.root}/{GONE}/0.parquet"

    def half() -> None:
        adopted._handle.fs.rm_file(first)
        raise Interrupted

    with pytest.raises(Interrupted):
        apply_expiry(meddled(adopted, before=half), plan)
    assert days_in(adopted)["2013-01-01"] == 10

    again = plan if planned == "the same plan" else adopted.plan_expiry(AS_OF)
    assert again.apply().done == (GONE,)
    assert days_in(adopted) == KEPT
    assert adopted.undo_expiry(GONE).files == 2
    assert days_in(adopted) == ALL


@pytest.mark.slow
def test_an_expiry_that_died_between_two_objects_can_be_undone(adopted: Dataset) -> None:
    def half() -> None:
        adopted._handle.fs.rm_file(f"{adopted.spec.root}/{GONE}/0.parquet")
        raise Interrupted

    with pytest.raises(Interrupted):
        apply_expiry(meddled(adopted, before=half), adopted.plan_expiry(AS_OF))
    assert adopted.undo_expiry(GONE).changed
    assert days_in(adopted) == ALL


@pytest.mark.slow
def test_an_object_that_cannot_be_removed_is_reported_and_the_rest_is_completed_later(adopted: Dataset) -> None:
    def half() -> None:
        adopted._handle.fs.rm_file(f"{adopted.spec.root}/{GONE}/0.parquet")
        for number in range(2):
            adopted._handle.fs.rm_file(f"{adopted.spec.root}/date=2013-02-01/{number}.parquet")
        raise AccessDenied("not the other one")

    plan = adopted.plan_expiry("2013-05-05")
    result = apply_expiry(meddled(adopted, before=half), plan)
    assert result.done == ("date=2013-02-01",)
    assert "not the other one" in result.failed[GONE]
    rest = plan.apply()
    assert (rest.done, rest.skipped) == ((GONE,), ("date=2013-02-01",))
    for key in (GONE, "date=2013-02-01"):
        assert adopted.undo_expiry(key).files == 2
    assert days_in(adopted) == ALL


# -- history --------------------------------------------------------------------------------------------------------


def test_history_says_who_took_what_out_and_why(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply(run_id="run-9")
    dataset.undo_expiry(GONE, run_id="run-10")
    (expire,) = [entry for entry in dataset.history() if entry.operation == "expire"]
    (undo,) = [entry for entry in dataset.history() if entry.operation == "undo"]
    assert (undo.keys, undo.run) == ((GONE,), "run-10")
    assert (expire.keys, expire.run) == ((GONE,), "run-9")
    assert expire.reason == "99 d old, kept for 90 d"
    assert expire.bytes


def test_history_is_in_the_order_of_commits_though_a_server_counts_whole_seconds(delta: Dataset) -> None:
    delta.plan_expiry(AS_OF).apply()
    slow = replace(clock_of(delta), ahead=timedelta(hours=-1))
    undo_expiry(replace(delta._handle, clock=slow), GONE)
    told = [entry.operation for entry in delta.history()]
    assert told[:3] == ["undo", "expire", "ingest"]


@pytest.mark.slow
def test_history_has_what_a_writer_committed_and_died_before_it_wrote_down(delta: Dataset) -> None:
    with pytest.raises(Interrupted):
        apply_expiry(meddled(delta, after=die), delta.plan_expiry(AS_OF))
    with pytest.raises(Interrupted):
        undo_expiry(meddled(delta, after=die), GONE)
    told = [entry.operation for entry in delta.history()]
    assert told[:3] == ["undo", "expire", "ingest"]
    assert (told.count("undo"), told.count("expire")) == (1, 1)


def test_a_plan_lists_the_store_once(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requests_of(delta, monkeypatch)
    delta.plan_expiry(AS_OF)
    assert asked.count("list_objects_v2") == 1
    assert not set(asked) & CHANGING


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_the_outlook_is_the_plan_without_a_listing(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    delta.hold("date=2013-02-01", reason="audit")
    plan = delta.plan_expiry("2013-05-03")
    asked = requests_of(delta, monkeypatch)
    outlook = delta.expiry_outlook("2013-05-03")
    assert [str(key) for key in outlook.due] == [step.key for step in plan.steps] == [GONE]
    assert outlook.refused == plan.refused != ()
    assert (str(outlook.next_key), outlook.next_at) == ("date=2013-03-01", datetime(2013, 5, 31, tzinfo=UTC))
    assert asked == ["get_object"]  # the description; the log is read by Rust
