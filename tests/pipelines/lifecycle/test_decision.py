"""Decisions over made-up partitions: what must hold whatever their age, size and place."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.connector.profiles import get_profile
from tierlake.pipelines.lifecycle.decision import Decider
from tierlake.pipelines.lifecycle.plan import Refusal, TierMove
from tierlake.pipelines.metastore.document import DatasetDocument, Hold
from tierlake.pipelines.model.age import is_past_retention, tier_at
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.movers import get_mover
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.query.placement import PlacedFile, PlacedPartition, class_of_tier
from tierlake.pipelines.tables.snapshot import LiveFile

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
AWS = get_profile("aws")
SPEC = DatasetSpec(
    uri="lake://warehouse/flights",
    partition={"time": {"column": "at"}},
    tiers=[{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}, {"after": "400d", "tier": "archive"}],
    retention={"expire_after": "800d"},
)
FS = SimpleNamespace(profile=AWS, is_versioned=lambda _: False)
HANDLE: Any = SimpleNamespace(spec=SPEC, fs=FS, table=SimpleNamespace(root=SPEC.root, is_atomic=True))


def deciding(document: DatasetDocument | None = None) -> Decider:
    return Decider(HANDLE, AS_OF, price_list("aws_us_east_1"), get_mover("copy"), document)


files = st.lists(
    st.tuples(
        st.integers(0, 2**33),
        st.sampled_from(["STANDARD", "STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA"]),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=4,
)


def partition(day: date, contents: list[tuple[int, str, int]]) -> PlacedPartition:
    key = PartitionKey.parse(f"date={day.isoformat()}")
    return PlacedPartition(
        key,
        tuple(
            PlacedFile(
                LiveFile(f"{key}/{number}.parquet", size, key, 1, AS_OF),
                "etag",
                storage_class,
                AS_OF - timedelta(days=days),
            )
            for number, (size, storage_class, days) in enumerate(contents)
        ),
    )


@given(st.dates(date(2011, 1, 1), date(2014, 6, 1)), files)
@settings(deadline=None)
def test_a_move_pays_and_whatever_stays_has_a_reason(day: date, contents: list[tuple[int, str, int]]) -> None:
    part = partition(day, contents)
    decider = deciding()
    decision = decider.decide(part)
    age = AS_OF - datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    tier = tier_at(SPEC, age)
    target = class_of_tier(SPEC, AWS, tier)
    if decision is None:
        assert part.classes == (target,)
    elif isinstance(decision, Refusal):
        assert decision.reason
    else:
        assert (decision.tier, decision.storage_class) == (tier, target)
        assert decision.to_move()
        assert not is_past_retention(SPEC, age)
        assert decision.until is None or decision.until > AS_OF
        if decision.saved is not None and decision.one_off is not None:
            assert decision.saved >= decision.one_off >= 0
            assert decision.saved > 0


@given(st.integers(0, 399), st.integers(2**25, 2**33))
@settings(deadline=None)
def test_what_moved_does_not_move_again(days: int, size: int) -> None:
    day = (AS_OF - timedelta(days=days + 1)).date()
    decision = deciding().decide(partition(day, [(size, "STANDARD", 300)]))
    if isinstance(decision, TierMove):
        assert deciding().decide(partition(day, [(size, decision.storage_class, 0)])) is None


def test_a_retention_gives_a_partition_a_future() -> None:
    day = (AS_OF - timedelta(days=901)).date()
    part = partition(day, [(2**33, "STANDARD", 300)])
    assert isinstance(deciding().decide(part), Refusal)
    until = AS_OF + timedelta(days=1000)
    kept = DatasetDocument(spec=SPEC, retains={str(part.key): until})
    move = deciding(kept).decide(part)
    assert isinstance(move, TierMove)
    assert (move.tier, move.until) == ("archive", until)
    held = DatasetDocument(spec=SPEC, holds={str(part.key): Hold(reason="audit", since=AS_OF)})
    move = deciding(held).decide(part)
    assert isinstance(move, TierMove)
    assert move.until is None


def test_what_is_archived_must_be_restored_before_it_moves() -> None:
    day = (AS_OF - timedelta(days=100)).date()
    decision = deciding().decide(partition(day, [(2**33, "DEEP_ARCHIVE", 300)]))
    assert isinstance(decision, Refusal)
    assert "must be restored" in decision.reason
