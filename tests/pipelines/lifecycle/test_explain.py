"""Explanations: where, why, what next, when, at what cost, what is in the way."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import fsspec
import pytest

from tests.pipelines.samples import AS_OF, clock_of, daily, daily_spec, requests_of, rows
from tests.servers import Rig
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import UnknownPartition

EXPIRED, COLD, WARM, HOT = (f"date=2013-0{month}-01" for month in (1, 2, 3, 4))


@pytest.fixture
def bucket(seaweedfs: Rig) -> Iterator[str]:
    """On one server: what differs between servers is in the plans, and tested there."""
    name = seaweedfs.make_bucket()
    yield name
    seaweedfs.drop_bucket(name)


@pytest.fixture
def fs(seaweedfs: Rig) -> LakeFileSystem:
    return fsspec.filesystem("lake", skip_instance_cache=True, **seaweedfs.storage_options)


@pytest.fixture
def dataset(fs: LakeFileSystem, bucket: str) -> Dataset:
    return daily(fs, bucket)


def test_what_is_where_it_belongs_and_goes_on(dataset: Dataset) -> None:
    told = dataset.explain(HOT, AS_OF)
    assert (told.storage_class, told.tier, told.next) == ("STANDARD", "hot", "warm")
    assert told.next_at is not None
    assert told.next_at.date().isoformat() == "2013-05-02"
    assert told.age == timedelta(days=9)
    assert str(told).startswith("date=2013-04-01 (1 file, ")
    assert "is in STANDARD (hot). It is where it belongs and goes to STANDARD_IA (warm) on 2013-05-02" in str(told)
    assert "a month from then" in str(told)


def test_what_moves_next(dataset: Dataset) -> None:
    told = dataset.explain(WARM, AS_OF)
    assert told.next == "warm"
    assert told.blocked_by is None
    assert "The next tiering moves it to STANDARD_IA (40 d old; warm begins at 30 d), which costs $0" in str(told)
    assert "until 2013-05-01" in str(told)


def test_it_agrees_with_the_plan_afterwards(dataset: Dataset) -> None:
    dataset.plan_tiering(AS_OF).apply()
    told = dataset.explain(COLD, AS_OF)
    assert (told.storage_class, told.tier, told.next) == ("GLACIER_IR", "cold", "expire")
    assert "It is where it belongs and expires on 2013-05-03." in str(told)
    warm = dataset.explain(WARM, AS_OF)
    assert (warm.storage_class, warm.next) == ("STANDARD_IA", "cold")


def test_what_expires_next_and_what_keeps_it(dataset: Dataset) -> None:
    told = dataset.explain(EXPIRED, AS_OF)
    assert (told.next, told.blocked_by) == ("expire", None)
    assert "Its retention ended on 2013-04-02: the next expiry takes it out." in str(told)
    dataset.hold(EXPIRED, reason="audit")
    held = dataset.explain(EXPIRED, AS_OF)
    assert held.blocked_by == "held: audit"
    assert "but it is held: audit." in str(held)


def test_a_hold_shows_before_the_day(dataset: Dataset) -> None:
    dataset.plan_tiering(AS_OF).apply()
    dataset.hold(COLD, reason="audit")
    assert "expires on 2013-05-03, unless it is still held: audit." in str(dataset.explain(COLD, AS_OF))


def test_downstream_shows_as_what_it_waits_for(fs: LakeFileSystem, bucket: str) -> None:
    waiting = daily(fs, bucket, retention={"expire_after": "90d", "after": ["monthly_summary"]})
    assert waiting.explain(EXPIRED, AS_OF).blocked_by == "waits for monthly_summary to see it"


def test_what_the_policy_asks_for_and_is_not_done(moto: Rig) -> None:
    bucket = moto.make_bucket()
    try:
        small = daily(fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options), bucket)
        told = small.explain(WARM, AS_OF)
        assert told.blocked_by is not None
        assert "The policy asks for tier warm, but it stays: moving to STANDARD_IA would not save" in str(told)
        assert "smaller than the 128 KB" in told.blocked_by
    finally:
        moto.drop_bucket(bucket)


def test_an_expired_partition_says_until_when(dataset: Dataset) -> None:
    dataset.plan_expiry(AS_OF).apply()
    told = dataset.explain(EXPIRED, AS_OF)
    assert told.storage_class is None
    assert told.undo_until is not None
    assert "was expired on" in str(told)
    assert "It can be undone until" in str(told)
    clock_of(dataset).ahead = timedelta(days=8)
    over = dataset.explain(EXPIRED, AS_OF)
    assert over.undo_until is None
    assert "no longer possible" in str(over)


def test_unknown_keys_are_told(dataset: Dataset) -> None:
    with pytest.raises(UnknownPartition, match="1999"):
        dataset.explain("date=1999-01-01", AS_OF)


def test_a_partition_without_time_stays(fs: LakeFileSystem, bucket: str) -> None:
    spec = daily_spec(bucket, partition={}, tiers=[], retention={}, columns={"at": "timestamp", "v": "int64"})
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(rows())
    told = dataset.explain("", AS_OF)
    assert (told.age, told.next) == (None, None)
    assert "no age moves or expires it" in str(told)


def test_one_partition_does_not_cost_a_listing_of_the_table(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    list_fresh: Callable[..., object] = dataset._handle.fs.list_fresh

    def noting(path: str, **options: object) -> object:
        asked.append(path)
        return list_fresh(path, **options)

    monkeypatch.setattr(dataset._handle.fs, "list_fresh", noting)
    requests = requests_of(dataset, monkeypatch)
    dataset.explain(WARM, AS_OF)
    assert asked == [f"{dataset.spec.root}/{WARM}"]
    assert requests.count("list_objects_v2") == 1
