"""Descriptions that change: what a new one would do, how it becomes the stored one, and what refuses another."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.pipelines.foreign import write_hive
from tests.pipelines.samples import AS_OF, DAYS, daily, daily_spec, rows
from tierlake.connector.errors import UnsupportedByServer
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import (
    CommitConflict,
    SchemaMismatch,
    SpecDiffers,
    SpecError,
    TableExists,
    UnsupportedByTable,
)
from tierlake.pipelines.metastore.document import DocumentStore
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import completed
from tierlake.pipelines.runtime.clock import ServerClock

LONGER = {"retention": {"expire_after": "100d"}}
SHORTER = {"retention": {"expire_after": "65d"}, "tiers": [{"after": "35d", "tier": "warm"}]}


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, make_bucket, fs) -> Dataset:
    """Four days, 99, 68, 40 and 9 days old, in either format on a versioned bucket; they expire after 90."""
    return daily(fs, make_bucket(versioned=True), format=request.param)


@pytest.fixture
def delta(make_bucket, fs) -> Dataset:
    return daily(fs, make_bucket())


def written(path: Path, spec: DatasetSpec) -> Path:
    path.write_text(spec.to_yaml(), encoding="utf-8")
    return path


def properties(dataset: Dataset) -> dict[str, str]:
    options = dataset.fs.delta_options()
    return dict(DeltaTable(f"s3://{dataset.spec.root}", storage_options=options).metadata().configuration)


# -- what a description would do ---------------------------------------------------------------------------------------


def test_a_diff_says_which_partitions_come_due_and_writes_nothing(dataset: Dataset, server) -> None:
    before = server.keys(dataset.spec.bucket)
    shorter = dataset.diff(SHORTER, AS_OF)
    assert {one.field: (one.before, one.after) for one in shorter.changes} == {
        "tiers": ("[{after: 30d, tier: warm}, {after: 60d, tier: cold}]", "[{after: 35d, tier: warm}]"),
        "retention.expire_after": ("90d", "65d"),
    }
    assert shorter.effect is not None
    assert (shorter.effect.due, shorter.effect.no_longer_due) == ((f"date={DAYS[1]}",), ())
    assert shorter.effect.due_bytes > 0
    text = str(shorter)
    assert f"become due: date={DAYS[1]}" in text
    assert "storage a month" in text
    longer = dataset.diff(LONGER, AS_OF).effect
    assert longer is not None
    assert (longer.due, longer.no_longer_due) == ((), (f"date={DAYS[0]}",))
    assert server.keys(dataset.spec.bucket) == before
    assert dataset.spec == Dataset.open(dataset.uri, fs=dataset.fs).spec


def test_a_diff_says_what_comes_due_and_is_kept(delta: Dataset) -> None:
    delta.hold(f"date={DAYS[1]}", reason="audit")
    effect = delta.diff(SHORTER, AS_OF).effect
    assert effect is not None
    assert effect.due == ()
    assert [(one.key, one.reason) for one in effect.kept] == [(f"date={DAYS[1]}", "held: audit")]


def test_a_diff_says_which_moves_change_and_what_they_cost(make_bucket, fs, server) -> None:
    if server.name == "minio":
        pytest.skip("its tiers are other servers, and nobody has set one up")
    dataset = daily(fs, make_bucket(), retention={}, tiers=[{"after": "50d", "tier": "warm"}])
    effect = dataset.diff({"tiers": [{"after": "20d", "tier": "cold"}]}, AS_OF).effect
    assert effect is not None
    assert {(move.key, move.before, move.after) for move in effect.moves} == {
        (f"date={DAYS[0]}", "STANDARD_IA", "GLACIER_IR"),
        (f"date={DAYS[1]}", "STANDARD_IA", "GLACIER_IR"),
        (f"date={DAYS[2]}", None, "GLACIER_IR"),
    }
    assert effect.monthly is not None
    assert effect.monthly_before is not None
    assert effect.monthly_after is not None
    assert effect.monthly_after < effect.monthly_before < effect.monthly


def test_the_same_description_differs_in_nothing(dataset: Dataset, tmp_path) -> None:
    found = dataset.diff(written(tmp_path / "same.yaml", dataset.spec))
    assert (found.differs, found.effect) == (False, None)
    assert found.apply().changed is False
    assert "apply" not in {entry.operation for entry in dataset.history()}


# -- making it so ------------------------------------------------------------------------------------------------------


def test_an_applied_description_counts_from_then_on_and_is_in_the_history(dataset: Dataset, fs) -> None:
    change = dataset.apply_spec(SHORTER, reason="less is more", run_id="run-7")
    assert (change.changed, len(change.changes)) == (True, 2)
    assert "retention.expire_after 90d -> 65d" in str(change)
    for each in (dataset, Dataset.open(dataset.uri, fs=fs)):
        assert each.spec.retention.expire_after == timedelta(days=65)
        assert each.spec.retention.grace == timedelta(days=7)
        assert [step.key for step in each.plan_expiry(AS_OF).steps] == [f"date={day}" for day in DAYS[:2]]
    entry = dataset.history()[0]
    assert (entry.operation, entry.run) == ("apply", "run-7")
    assert entry.by is not None
    assert entry.reason is not None
    assert entry.reason.startswith("less is more: ")
    assert "retention.expire_after 90d -> 65d" in entry.reason
    assert dataset.apply_spec(SHORTER).changed is False
    assert [each.operation for each in dataset.history()].count("apply") == 1


@pytest.mark.slow
def test_holds_and_retentions_stay(delta: Dataset) -> None:
    diff = delta.diff(SHORTER)
    delta.hold(f"date={DAYS[0]}", reason="audit")
    assert diff.apply().changed, "a hold is no change of the description"
    assert [one.reason for one in delta.plan_expiry(AS_OF).refused] == ["held: audit"]


def test_somebody_elses_change_in_between_means_look_again(dataset: Dataset, fs) -> None:
    diff = dataset.diff(SHORTER)
    Dataset.open(dataset.uri, fs=fs).apply_spec({"retention": {"grace": "9d"}})
    with pytest.raises(CommitConflict, match=r"retention.grace 7d -> 9d"):
        diff.apply()
    stored = Dataset.open(dataset.uri, fs=fs)
    assert stored.spec.retention.expire_after == timedelta(days=90)
    assert [entry.operation for entry in stored.history()].count("apply") == 1, "what was refused is no history"
    assert dataset.apply_spec(SHORTER).changed, "a fresh look is enough"


def test_a_session_that_slept_expires_by_what_is_stored_then(dataset: Dataset, fs) -> None:
    asleep = Dataset.open(dataset.uri, fs=fs)
    plan = asleep.plan_expiry(AS_OF)
    assert [step.key for step in plan.steps] == [f"date={DAYS[0]}"]
    dataset.apply_spec(LONGER)
    result = plan.apply()
    assert result.done == ()
    assert "not past its retention" in result.failed[f"date={DAYS[0]}"]


@pytest.mark.slow
def test_a_session_that_slept_gives_the_grace_that_is_stored_then(dataset: Dataset, fs) -> None:
    asleep = Dataset.open(dataset.uri, fs=fs)
    dataset.apply_spec({"retention": {"grace": "30d"}})
    assert asleep.plan_expiry(AS_OF).apply().done
    (waiting,) = dataset.undoable()
    assert waiting.undo_until - waiting.removed_at == timedelta(days=30)
    later = Dataset.open(dataset.uri, fs=fs, clock=ServerClock(fs, dataset.spec.bucket, timedelta(days=8)))
    assert later.vacuum().deleted == 0


def test_a_session_that_slept_moves_nothing_by_tiers_that_are_no_more(delta: Dataset, fs, server) -> None:
    if server.name == "minio":
        pytest.skip("its tiers are other servers, and nobody has set one up")
    plan = Dataset.open(delta.uri, fs=fs).plan_tiering(AS_OF)
    assert plan.steps
    delta.apply_spec({"tiers": []})
    result = plan.apply()
    assert result.done == ()
    assert all("does not belong in tier" in reason for reason in result.failed.values())


def test_a_session_that_slept_verifies_and_mends_by_what_is_stored_then(delta: Dataset, fs, server) -> None:
    if server.name == "minio":
        pytest.skip("MinIO's classes are tiers")
    slept = Dataset.open(delta.uri, fs=fs)
    delta.apply_spec({"tiers": [{"after": "30d", "tier": "archive"}]})
    other = Dataset.open(delta.uri, fs=fs)
    other.plan_tiering(AS_OF).apply().raise_failures()
    classes = {part.storage_class for part in other.partitions()}
    assert len(classes) == 2
    report = slept.verify(AS_OF, repair=True)
    assert (report.ok, report.repaired) == (True, ())
    assert {part.storage_class for part in other.partitions()} == classes


def test_a_change_that_died_on_the_way_is_told_and_can_be_made_again(dataset: Dataset, monkeypatch) -> None:
    def dies(*_: object) -> None:
        raise OSError("the process died")

    with monkeypatch.context() as patch:
        patch.setattr(DocumentStore, "update", dies)
        with pytest.raises(OSError, match="died"):
            dataset.apply_spec(SHORTER)
    assert dataset.spec.retention.expire_after == timedelta(days=90)
    told = dataset.history()[0]
    assert (told.operation, told.reason is not None) == ("apply", True)
    assert "it did not come to its end" in str(told.reason)
    assert dataset.apply_spec(SHORTER).changed
    assert dataset.spec.retention.expire_after == timedelta(days=65)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"partition": {"time": {"column": "at", "every": "month"}}}, "partition.time.every: the files lie in folders"),
        ({"columns": {"at": "timestamp", "v": "string"}}, "columns.v: the table has it as int64"),
    ],
    ids=["partitioning", "a column's type"],
)
def test_what_cannot_change_is_refused_by_name_with_the_way_out(dataset: Dataset, change, says) -> None:
    diff = dataset.diff(change)
    assert diff.effect is None
    assert "cannot change" in str(diff)
    with pytest.raises(SpecError, match=says) as refused:
        diff.apply()
    assert "another URI" in str(refused.value.hint)
    assert dataset.history()[0].operation == "ingest"


def test_a_table_without_a_row_is_made_anew_as_the_refusal_says(make_bucket, fs) -> None:
    spec = daily_spec(make_bucket(), columns={"at": "timestamp", "v": "int64"})
    empty = Dataset.create(spec, fs=fs)
    change = {"columns": {"at": "timestamp", "v": "string"}}
    (refused,) = empty.diff(change).refused
    steps = "`tierlake drop {0} --no-undo`, `tierlake vacuum {0}` and `tierlake create` make it anew"
    assert steps.format(spec.uri) in refused.reason
    empty.drop(undo=False)
    empty.vacuum()
    anew = Dataset.create(completed(spec, change), fs=fs)
    assert anew.schema.field("v").type == "string"


def test_neither_format_nor_place_changes(dataset: Dataset) -> None:
    other = "parquet" if dataset.format == "delta" else "delta"
    with pytest.raises(SpecError, match="format: the files lie as that format has them"):
        dataset.apply_spec({"format": other})
    with pytest.raises(SpecError, match="uri cannot change"):
        dataset.diff(daily_spec(dataset.spec.bucket, uri=f"lake://{dataset.spec.bucket}/elsewhere"))


def test_a_description_that_contradicts_itself_is_refused(dataset: Dataset) -> None:
    with pytest.raises(SpecError, match="tiers contradict retention"):
        dataset.diff({"retention": {"expire_after": "50d"}})


def test_a_class_that_the_server_lacks_is_refused_before_anything_changes(dataset: Dataset) -> None:
    with pytest.raises(UnsupportedByServer):
        dataset.apply_spec({"write": {"storage_class": "NO_SUCH_CLASS"}})
    assert dataset.history()[0].operation == "ingest"


def test_an_encryption_that_nobody_or_not_this_server_has_is_refused_by_the_diff(dataset: Dataset) -> None:
    for encryption, error in (("sse-x", SpecError), ("dsse-kms", UnsupportedByServer)):
        with pytest.raises(error, match=r"sse-x|dsse-kms"):
            dataset.diff({"write": {"encryption": encryption}})


def test_newly_declared_columns_are_the_tables_and_null_in_what_is_there(dataset: Dataset) -> None:
    dataset.apply_spec({"columns": {"at": "timestamp", "v": "int64", "tip": "double"}})
    assert dataset.schema.field("tip").type == "double"
    assert dataset.read(["tip"]).column("tip").null_count == 80
    with pytest.raises(SchemaMismatch, match="lacks the column tip"):  # what is declared is frozen
        dataset.ingest(rows(["2013-05-01"]))
    more = rows(["2013-05-01"])
    dataset.ingest(more.append_column("tip", more.column("v").cast("double")))
    assert dataset.read(["tip"]).column("tip").null_count == 80


def test_a_column_that_the_table_has_cannot_be_undeclared_alone(dataset: Dataset) -> None:
    dataset.apply_spec({"columns": {"at": "timestamp", "v": "int64"}})
    with pytest.raises(SpecError, match=r"columns.v: the table has it \(int64\)"):
        dataset.apply_spec({"columns": {"at": "timestamp"}})
    assert dataset.apply_spec({"columns": {}}).changed
    assert dataset.spec.takes_new_columns


def test_what_is_written_from_then_on_is_written_as_described(make_bucket, fs, server) -> None:
    dataset = daily(fs, make_bucket(), tiers=[])
    dataset.apply_spec({"write": {"storage_class": "REDUCED_REDUNDANCY", "compression": "snappy"}})
    dataset.ingest(rows(["2013-05-01"]))
    heads = server.heads(dataset.spec.bucket, "daily/date=2013-05-01/")
    assert {head.get("StorageClass") for head in heads.values()} == {"REDUCED_REDUNDANCY"}
    assert all(key.endswith(".snappy.parquet") for key in heads)


def test_a_table_without_a_description_says_adopt(bucket, fs, server) -> None:
    write_hive(server, f"{bucket}/hive")
    with pytest.raises(UnsupportedByTable, match="no description of ours") as refused:
        Dataset.open(f"lake://{bucket}/hive", fs=fs).diff({})
    assert "adopt" in str(refused.value.hint)


# -- the table's own memory --------------------------------------------------------------------------------------------


def test_the_log_outlives_the_grace_and_is_never_kept_for_less_than_delta_does(make_bucket, fs) -> None:
    bucket = make_bucket()
    for days, tombstones, log in ((0, 0, 30), (7, 7, 30), (60, 60, 67)):
        spec = daily_spec(bucket, uri=f"lake://{bucket}/t{days}", retention={"grace": f"{days}d"})
        found = properties(Dataset.create(spec, fs=fs))
        assert found["delta.deletedFileRetentionDuration"] == f"interval {24 * tombstones} hours"
        assert found["delta.logRetentionDuration"] == f"interval {24 * log} hours"


def test_a_longer_grace_lengthens_the_tables_memory_in_one_commit_of_the_history(delta: Dataset) -> None:
    version = delta.version
    assert delta.apply_spec({"retention": {"grace": "60d"}}, run_id="r").version == version + 1
    assert properties(delta)["delta.deletedFileRetentionDuration"] == "interval 1440 hours"
    assert properties(delta)["delta.logRetentionDuration"] == "interval 1608 hours"
    first, second, *_ = delta.history()
    assert (first.operation, first.version, first.run) == ("apply", version + 1, "r")
    assert second.operation == "ingest"
    assert delta.read().num_rows == 80
    delta.apply_spec({"retention": {"grace": "3d"}})
    assert properties(delta)["delta.deletedFileRetentionDuration"] == "interval 72 hours"
    assert properties(delta)["delta.logRetentionDuration"] == "interval 720 hours"


def test_a_memory_that_others_made_longer_stays(delta: Dataset) -> None:
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=delta.fs.delta_options())
    table.alter.set_table_properties(
        {"delta.deletedFileRetentionDuration": "interval 90 days", "delta.logRetentionDuration": "interval 52 weeks"}
    )
    for grace in ("60d", "1d"):
        assert delta.apply_spec({"retention": {"grace": grace}}).version is None
        assert properties(delta)["delta.deletedFileRetentionDuration"] == "interval 90 days"
        assert properties(delta)["delta.logRetentionDuration"] == "interval 52 weeks"


# -- a description that differs ----------------------------------------------------------------------------------------


def test_a_description_that_differs_is_an_error_wherever_it_is_said(dataset: Dataset, fs, tmp_path) -> None:
    other = completed_spec(dataset, expire_after="65d")
    path = written(tmp_path / "other.yaml", other)
    for said in (path, str(path), other):
        with pytest.raises(SpecDiffers, match=r"retention.expire_after is 65d, stored as 90d"):
            Dataset.open(said, fs=fs)
        with pytest.raises(SpecDiffers, match=r"retention.expire_after is 65d"):
            Dataset.open(dataset.uri, spec=said, fs=fs)
    with pytest.raises(SpecDiffers, match="expire_after"):
        Dataset.open(dataset.uri, spec=LONGER, fs=fs)
    same = written(tmp_path / "same.yaml", dataset.spec)
    for said in (same, dataset.spec, {"retention": {"expire_after": "90d"}}):
        assert Dataset.open(dataset.uri, spec=said, fs=fs).spec == dataset.spec
    assert Dataset.open(same, fs=fs).spec == dataset.spec
    dataset.apply_spec(path)
    assert Dataset.open(path, fs=fs).spec == other


def test_a_file_that_says_less_means_the_defaults(dataset: Dataset, fs, tmp_path) -> None:
    path = tmp_path / "less.yaml"
    path.write_text(f"uri: {dataset.uri}\n")
    with pytest.raises(SpecDiffers, match=r"tiers is .*retention.expire_after is null, stored as 90d"):
        Dataset.open(path, fs=fs)
    found = dataset.diff(path)
    assert {one.field for one in found.changes} == {"tiers", "retention.expire_after"}, (
        "but for format and partitioning"
    )
    assert found.apply().changed
    assert dataset.plan_expiry(AS_OF).steps == ()


def test_create_and_adopt_name_the_way_to_change(dataset: Dataset, fs) -> None:
    with pytest.raises(TableExists, match=r"retention.expire_after is 90d, not 65d") as refused:
        Dataset.create(completed_spec(dataset, expire_after="65d"), fs=fs)
    assert "tierlake apply" in str(refused.value.hint)
    with pytest.raises(TableExists, match=r"retention.expire_after 90d -> 100d") as refused:
        Dataset.adopt(dataset.uri, LONGER, fs=fs)
    assert "tierlake apply" in str(refused.value.hint)


def test_a_copied_dataset_is_described_where_it_lies(delta: Dataset, fs, server) -> None:
    bucket = delta.spec.bucket
    for key in server.keys(bucket, "daily/"):
        body = server.admin.get_object(Bucket=bucket, Key=key)["Body"].read()
        server.admin.put_object(Bucket=bucket, Key=key.replace("daily/", "copy/"), Body=body)
    there = delta.spec.model_copy(update={"uri": f"lake://{bucket}/copy"})
    copy = Dataset.open(there, fs=fs)
    copy.apply_spec(LONGER)
    assert Dataset.open(there.uri, fs=fs).spec.retention.expire_after == timedelta(days=100)
    assert Dataset.open(delta.uri, fs=fs).spec.retention.expire_after == timedelta(days=90)


def completed_spec(dataset: Dataset, **retention: str) -> DatasetSpec:
    return DatasetSpec(**{**dataset.spec.model_dump(), "retention": {"grace": "7d", **retention}})
