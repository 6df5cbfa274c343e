"""Tiering: by storage classes on SeaweedFS, by a remote tier on MinIO, by AWS's prices on moto."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import fsspec
import pytest

from tests.pipelines.samples import AS_OF, CHANGING, DAYS, bulky, daily, daily_spec, days_in, requests_of, rows
from tests.servers import MinioPair, Rig
from tierlake.connector.bucket import RemoteTier, ensure_remote_tier, ensure_tier_rules
from tierlake.connector.errors import AccessDenied
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.connector.profiles import get_profile
from tierlake.pipelines import prices as price_lists
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.lifecycle.plan import TieringPlan, load_plan
from tierlake.pipelines.lifecycle.tiering import apply_tiering
from tierlake.pipelines.movers import Moved, get_mover
from tierlake.pipelines.movers.copy import CopyMover
from tierlake.pipelines.movers.one_by_one import OneByOne
from tierlake.pipelines.runtime.progress import Step

pytestmark = pytest.mark.each_value

EXPIRED, COLD, WARM, HOT = (f"date={day}" for day in DAYS)
SECONDS_FOR_THE_SCANNER = 120


def classes(rig: Rig, dataset: Dataset) -> dict[str, str]:
    """Storage class by partition, asked of the server directly."""
    bucket, _, prefix = dataset.uri.removeprefix("lake://").partition("/")
    return {
        key.removeprefix(f"{prefix}/").partition("/")[0]: head.get("StorageClass", "STANDARD")
        for key, head in rig.heads(bucket, f"{prefix}/date=").items()
    }


def heads_without_class(rig: Rig, bucket: str) -> dict[str, Any]:
    """What must survive a move: encryption, metadata, type, size."""
    kept = ("ServerSideEncryption", "Metadata", "ContentType", "ContentLength")
    return {
        key: {name: head.get(name) for name in kept} for key, head in rig.heads(bucket).items() if "/_lake/" not in key
    }


# -- storage classes ------------------------------------------------------------------------------------------------


@pytest.fixture
def weed(seaweedfs: Rig) -> Iterator[tuple[Rig, LakeFileSystem, Callable[..., str]]]:
    buckets: list[str] = []

    def make_bucket(**options: bool) -> str:
        buckets.append(seaweedfs.make_bucket(**options))
        return buckets[-1]

    yield (
        seaweedfs,
        fsspec.filesystem("lake", skip_instance_cache=True, **seaweedfs.storage_options),
        make_bucket,
    )
    for bucket in buckets:
        seaweedfs.drop_bucket(bucket)


@pytest.fixture(params=["delta", "parquet", "parquet versioned"])
def dataset(request: pytest.FixtureRequest, weed: Any) -> Dataset:
    """The daily sample on SeaweedFS."""
    _, fs, make_bucket = weed
    format_, _, versioned = request.param.partition(" ")
    return daily(fs, make_bucket(versioned=bool(versioned)), format=format_)


@pytest.fixture
def delta(weed: Any) -> Dataset:
    _, fs, make_bucket = weed
    return daily(fs, make_bucket())


@pytest.mark.slow
def test_partitions_go_where_their_age_says_and_readers_notice_nothing(dataset: Dataset, seaweedfs: Rig) -> None:
    before, bucket = dataset.read().sort_by("at"), dataset.spec.bucket
    heads = heads_without_class(seaweedfs, bucket)
    plan = dataset.plan_tiering(AS_OF)
    assert {step.key: step.storage_class for step in plan.steps} == {COLD: "GLACIER_IR", WARM: "STANDARD_IA"}
    assert [(refusal.key, refusal.reason) for refusal in plan.refused] == [
        (EXPIRED, "it is past its retention: the next expiry takes it out")
    ]
    assert plan.untouched == 1

    result = plan.apply(run_id="run-1")
    assert (result.done, result.skipped, result.failed) == ((COLD, WARM), (), {})
    assert (result.files, result.bytes, result.pending) == (2, plan.bytes, 0)
    assert classes(seaweedfs, dataset) == {
        EXPIRED: "STANDARD",
        COLD: "GLACIER_IR",
        WARM: "STANDARD_IA",
        HOT: "STANDARD",
    }
    assert heads_without_class(seaweedfs, bucket) == heads
    assert dataset.read().sort_by("at").equals(before)
    assert dataset.verify(AS_OF).ok


@pytest.mark.slow
def test_the_log_and_our_own_objects_never_move(dataset: Dataset, seaweedfs: Rig) -> None:
    dataset.plan_tiering(AS_OF).apply()
    for key, head in seaweedfs.heads(dataset.spec.bucket).items():
        if "/_delta_log/" in key or "/_lake/" in key:
            assert head.get("StorageClass", "STANDARD") == "STANDARD"


@pytest.mark.slow
def test_a_second_apply_changes_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataset.plan_tiering(AS_OF)
    plan.apply()
    asked = requests_of(dataset, monkeypatch)
    again = plan.apply()
    assert (again.done, again.skipped, again.failed, again.files) == ((), (COLD, WARM), {}, 0)
    assert not set(asked) & CHANGING
    assert dataset.plan_tiering(AS_OF).steps == ()


def test_planning_changes_nothing_and_lists_the_store_once(delta: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requests_of(delta, monkeypatch)
    delta.plan_tiering(AS_OF)
    assert asked.count("list_objects_v2") == 1
    assert not set(asked) & CHANGING


def test_time_goes_on_and_partitions_move_on(delta: Dataset, seaweedfs: Rig) -> None:
    delta.plan_tiering(AS_OF).apply()
    later = delta.plan_tiering("2013-05-11")
    assert {step.key: (step.files[0].storage_class, step.storage_class) for step in later.steps} == {
        WARM: ("STANDARD_IA", "GLACIER_IR"),
        HOT: ("STANDARD", "STANDARD_IA"),
    }
    later.apply()
    assert classes(seaweedfs, delta)[WARM] == "GLACIER_IR"


def test_nothing_is_brought_back_for_money(delta: Dataset) -> None:
    delta.plan_tiering(AS_OF).apply()
    plan = delta.plan_tiering("2013-01-02")
    assert plan.steps == ()
    assert {refusal.key for refusal in plan.refused} == {COLD, WARM}
    assert all("would not save" in refusal.reason for refusal in plan.refused)


def test_only_the_keys_asked_for_move(delta: Dataset, seaweedfs: Rig) -> None:
    plan = delta.plan_tiering(AS_OF)
    assert plan.apply(keys=[WARM]).done == (WARM,)
    assert classes(seaweedfs, delta)[COLD] == "STANDARD"
    with pytest.raises(UnknownPartition, match="past its retention"):
        plan.apply(keys=[EXPIRED])
    rest = plan.apply()
    assert (rest.done, rest.skipped) == ((COLD,), (WARM,))


def test_a_saved_plan_moves_what_it_says(delta: Dataset, seaweedfs: Rig) -> None:
    loaded = load_plan(delta.plan_tiering(AS_OF).to_json())
    assert isinstance(loaded, TieringPlan)
    with pytest.raises(SpecError, match="not bound"):
        loaded.apply()
    assert delta.apply(loaded).done == (COLD, WARM)
    with pytest.raises(SpecError, match="not for"):
        apply_tiering(delta._handle, loaded.model_copy(update={"uri": "lake://elsewhere/daily"}))


def test_a_plan_that_was_edited_moves_nothing_elsewhere(delta: Dataset, seaweedfs: Rig) -> None:
    text = delta.plan_tiering(AS_OF).to_json()
    to_archive = text.replace('"tier": "warm"', '"tier": "archive"').replace("STANDARD_IA", "DEEP_ARCHIVE")
    result = delta.apply(TieringPlan.from_json(to_archive))
    assert result.done == (COLD,)
    assert "does not belong in tier archive as of 2013-04-11" in result.failed[WARM]
    of_another_server = text.replace("STANDARD_IA", "WARM")
    assert "not the class of tier warm here" in delta.apply(TieringPlan.from_json(of_another_server)).failed[WARM]
    assert classes(seaweedfs, delta)[WARM] == "STANDARD"


@pytest.mark.slow
def test_a_partition_that_changed_since_the_plan_is_left_alone(dataset: Dataset, seaweedfs: Rig) -> None:
    plan = dataset.plan_tiering(AS_OF)
    dataset.ingest(rows([DAYS[2]], each=7))
    result = plan.apply()
    assert result.done == (COLD,)
    assert "plan again" in result.failed[WARM]
    assert result.codes[WARM] == "stale_plan"
    assert classes(seaweedfs, dataset)[WARM] == "STANDARD"
    assert days_in(dataset)[DAYS[2]] == 7


@pytest.mark.slow
def test_an_expired_partition_is_left_alone(dataset: Dataset) -> None:
    plan = dataset.plan_tiering("2013-04-01")
    assert EXPIRED in {step.key for step in plan.steps}
    dataset.plan_expiry(AS_OF).apply(undo=False)
    result = plan.apply()
    assert "not in the table any more" in result.failed[EXPIRED]
    assert EXPIRED not in result.done


def test_files_that_are_missing_are_not_moved(delta: Dataset, seaweedfs: Rig) -> None:
    bucket = delta.spec.bucket
    seaweedfs.admin.delete_object(Bucket=bucket, Key=seaweedfs.keys(bucket, f"daily/{WARM}/")[0])
    plan = delta.plan_tiering(AS_OF)
    assert [step.key for step in plan.steps] == [COLD]
    assert "not in the store" in {refusal.key: refusal.reason for refusal in plan.refused}[WARM]
    info = next(part for part in delta.partitions(AS_OF) if str(part.key) == WARM)
    assert info.storage_class == "MISSING"


class Failing(CopyMover):
    """Somebody's mover, which moves a file a call and fails for one partition."""

    def __init__(self, key: str) -> None:
        self._key = key

    def move(self, fs: LakeFileSystem, path: str, move: Any) -> Moved:
        if self._key in path:
            raise AccessDenied("not this one", hint="ask for it")
        return Moved.of(fs.transition(path, storage_class=move.storage_class, if_match=move.etag))


def test_one_failure_stops_nothing_else_and_the_next_apply_completes(
    delta: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = delta.plan_tiering(AS_OF)
    with monkeypatch.context() as patch:
        patch.setattr("tierlake.pipelines.lifecycle.tiering.get_mover", lambda _: OneByOne(Failing(COLD)))
        result = plan.apply()
    assert result.done == (WARM,)
    assert "not this one" in result.failed[COLD]
    assert result.codes == {COLD: "access_denied"}
    assert not result.ok
    again = plan.apply()
    assert (again.done, again.skipped) == ((COLD,), (WARM,))


def test_progress_counts_to_the_end(delta: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[Step] = []
    plan = delta.plan_tiering(AS_OF)
    plan.apply(progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(0, 2), (1, 2), (2, 2)]
    assert steps[-1].bytes_done == steps[-1].bytes_total == plan.bytes
    plan.apply(progress=True)
    assert capsys.readouterr().out == ""


def test_history_says_what_moved(delta: Dataset) -> None:
    plan = delta.plan_tiering(AS_OF)
    plan.apply(run_id="run-3")
    plan.apply(run_id="run-4")
    (entry,) = [entry for entry in delta.history() if entry.operation == "tier"]
    assert (entry.keys, entry.run, entry.bytes) == ((COLD, WARM), "run-3", plan.bytes)


def test_a_class_that_this_server_does_not_take_is_refused_by_name(delta: Dataset) -> None:
    lacking = replace(get_profile("seaweedfs"), tier_classes={"hot": "STANDARD", "cold": "EXPRESS_ONEZONE"})
    handle = replace(delta._handle, fs=Posing(delta._handle.fs, lacking))
    from tierlake.pipelines.lifecycle.tiering import plan_tiering

    plan = plan_tiering(handle, datetime.fromisoformat(f"{AS_OF}T00:00:00+00:00"))
    reasons = {refusal.key: refusal.reason for refusal in plan.refused}
    assert plan.steps == ()
    assert reasons[WARM] == "the server (seaweedfs) has no storage class for tier warm"
    assert reasons[COLD] == "seaweedfs does not take objects in EXPRESS_ONEZONE, the class of tier cold"


def test_a_class_that_cannot_be_read_is_for_the_archive_alone(delta: Dataset) -> None:
    archived = replace(
        get_profile("seaweedfs"),
        archived_classes=("GLACIER",),
        tier_classes={"hot": "STANDARD", "warm": "STANDARD_IA", "cold": "GLACIER"},
    )
    from tierlake.pipelines.lifecycle.tiering import plan_tiering

    handle = replace(delta._handle, fs=Posing(delta._handle.fs, archived))
    plan = plan_tiering(handle, datetime.fromisoformat(f"{AS_OF}T00:00:00+00:00"))
    assert [step.key for step in plan.steps] == [WARM]
    assert "needs a restore" in {refusal.key: refusal.reason for refusal in plan.refused}[COLD]


class Posing:
    """A filesystem that says it has another profile."""

    def __init__(self, fs: LakeFileSystem, profile: Any) -> None:
        self._fs, self.profile = fs, profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)


def test_movers_by_name() -> None:
    assert get_mover("copy").priced_as == "copy"
    assert get_mover("tag").priced_as == "tag"
    with pytest.raises(SpecError, match="no mover 'teleport'"):
        get_mover("teleport")


# -- MinIO's remote tiers -------------------------------------------------------------------------------------------


@pytest.fixture
def remote(minio_tiers: MinioPair) -> tuple[Rig, LakeFileSystem, str]:
    """A bucket on MinIO whose tiers warm and cold are buckets on another MinIO."""
    hot, cold = minio_tiers.hot, minio_tiers.cold
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **hot.storage_options)
    for name in ("warm", "cold"):
        if f"tier-{name}" not in {bucket["Name"] for bucket in cold.admin.list_buckets()["Buckets"]}:
            cold.admin.create_bucket(Bucket=f"tier-{name}")
        ensure_remote_tier(
            fs, RemoteTier(name.upper(), cold.endpoint_url, cold.key, cold.secret, bucket=f"tier-{name}")
        )
    bucket = hot.make_bucket()  # stays: MinIO deletes a tiered object's remote part later, and then only the bucket
    ensure_tier_rules(fs, bucket, ["warm", "cold"])
    return hot, fs, bucket


def wait_for(rig: Rig, dataset: Dataset, expected: dict[str, str]) -> None:
    deadline = time.monotonic() + SECONDS_FOR_THE_SCANNER
    while classes(rig, dataset) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    assert classes(rig, dataset) == expected


def test_partitions_go_to_another_minio_and_readers_notice_nothing(
    remote: tuple[Rig, LakeFileSystem, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, fs, bucket = remote
    dataset = daily(fs, bucket)
    before, heads = dataset.read().sort_by("at"), heads_without_class(rig, bucket)
    plan = dataset.plan_tiering(AS_OF)
    assert {step.key: step.storage_class for step in plan.steps} == {COLD: "COLD", WARM: "WARM"}
    result = plan.apply()
    assert (result.done, result.failed) == ((COLD, WARM), {})

    asked = requests_of(dataset, monkeypatch)
    again = plan.apply()
    assert (again.done, again.skipped) == ((), (COLD, WARM))
    assert not set(asked) & CHANGING

    wait_for(rig, dataset, {EXPIRED: "STANDARD", COLD: "COLD", WARM: "WARM", HOT: "STANDARD"})
    assert heads_without_class(rig, bucket) == heads
    assert dataset.read().sort_by("at").equals(before)
    assert dataset.plan_tiering(AS_OF).steps == ()
    assert {str(part.key): part.tier for part in dataset.partitions(AS_OF)}[COLD] == "cold"
    assert dataset.verify(AS_OF).ok

    moved_on = dataset.plan_tiering("2013-05-11").apply(keys=[WARM])
    assert moved_on.done == (WARM,)
    wait_for(rig, dataset, {EXPIRED: "STANDARD", COLD: "COLD", WARM: "COLD", HOT: "STANDARD"})
    assert dataset.read().sort_by("at").equals(before)


def test_without_the_rule_nothing_is_tagged_in_vain(minio: Rig) -> None:
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **minio.storage_options)
    bucket = minio.make_bucket()
    try:
        plan = daily(fs, bucket).plan_tiering(AS_OF)
        assert plan.steps == ()
        reasons = {refusal.key: refusal.reason for refusal in plan.refused}
        assert "no lifecycle rule that moves tier cold to COLD on minio" in reasons[COLD]
    finally:
        minio.drop_bucket(bucket)


# -- money ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(moto: Rig) -> Iterator[tuple[LakeFileSystem, str]]:
    bucket = moto.make_bucket()
    yield fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options), bucket
    moto.drop_bucket(bucket)


def test_by_aws_prices_small_files_stay_and_the_plan_says_why(aws: tuple[LakeFileSystem, str]) -> None:
    plan = daily(*aws).plan_tiering(AS_OF)
    assert plan.steps == ()
    reasons = {refusal.key: refusal.reason for refusal in plan.refused}
    assert "moving to STANDARD_IA would not save" in reasons[WARM]
    assert "smaller than the 128 KB that STANDARD_IA charges at least (compact first)" in reasons[WARM]
    assert "$" in reasons[WARM]


@pytest.mark.slow
def test_by_aws_prices_a_move_must_pay_before_the_next_step(aws: tuple[LakeFileSystem, str]) -> None:
    fs, bucket = aws
    spec = daily_spec(bucket, tiers=[{"after": "30d", "tier": "warm"}], retention={})
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(bulky([DAYS[2]], each=10_000))
    (step,) = dataset.plan_tiering(AS_OF).steps
    assert step.until is None
    assert step.one_off is not None
    assert step.saved is not None
    # the copy, the HEAD of what is there in one class, and the HEAD of what it became in the other
    assert step.one_off == pytest.approx((0.01 + 0.0004 + 0.001) / 1000)
    months = timedelta(days=365) / timedelta(days=365.25 / 12)
    assert step.saved == pytest.approx(step.bytes / 2**30 * (0.023 - 0.0125) * months)
    assert step.saved > step.one_off

    soon = replace(dataset._handle, spec=daily_spec(bucket, tiers=[{"after": "30d", "tier": "warm"}]))
    from tierlake.pipelines.lifecycle.tiering import plan_tiering

    (refusal,) = plan_tiering(soon, datetime.fromisoformat("2013-05-20T00:00:00+00:00")).refused
    # and of the class's 30 days the last 19, in which the partition is gone
    assert "moving to STANDARD_IA costs $0.000020 and saves $0.0000040" in refusal.reason
    assert "until 2013-05-31" in refusal.reason


def test_a_held_partition_has_a_future_and_may_move(weed: Any) -> None:
    _, fs, make_bucket = weed
    dataset = daily(fs, make_bucket())
    dataset.hold(EXPIRED, reason="audit")
    (step,) = [step for step in dataset.plan_tiering(AS_OF).steps if step.key == EXPIRED]
    assert step.tier == "cold"
    assert step.until is None


def test_the_users_own_prices_decide(delta: Dataset, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = '{"value": %s, "source": "our contract"}'
    path = tmp_path / "prices.json"
    path.write_text(
        '{"dated": "2026-01-01", "region": "cellar", "classes": {'
        f'"STANDARD": {{"storage": {figure % 1}}}, "STANDARD_IA": {{"storage": {figure % 2}}}}}}}'
    )
    monkeypatch.setenv(price_lists.ENVIRONMENT, str(path))
    plan = delta.plan_tiering(AS_OF)
    reasons = {refusal.key: refusal.reason for refusal in plan.refused}
    assert "would not save" in reasons[WARM]
    (unpriced,) = plan.steps
    assert (unpriced.key, unpriced.monthly_before, unpriced.saved) == (COLD, None, None)
    assert "cellar" in str(plan)
    assert delta.partitions(AS_OF).total.monthly_cost is not None
