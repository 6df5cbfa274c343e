"""Plans as values: saved, loaded, printed, bound."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.pages import page_of
from tierlake.pipelines.errors import PartialFailure, SpecError, StalePlan, UnknownPartition
from tierlake.pipelines.lifecycle.plan import (
    Expiration,
    ExpiryPlan,
    PlannedFile,
    Refusal,
    TieringPlan,
    TierMove,
    load_plan,
)
from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
moneys = st.none() | st.floats(min_value=0, max_value=1e6, allow_nan=False)
instants = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)) | st.just(
    datetime(2014, 3, 1, tzinfo=timezone(timedelta(hours=-5)))
)
files = st.builds(
    PlannedFile, path=names, size=st.integers(0, 2**50), etag=names, storage_class=st.sampled_from(["STANDARD", "COLD"])
)
keys = st.dates().map(lambda day: f"date={day.isoformat()}")
moves = st.builds(
    TierMove,
    key=keys,
    files=st.lists(files, min_size=1, max_size=3).map(tuple),
    rows=st.none() | st.integers(0, 2**40),
    age=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999)),
    reason=names,
    tier=st.sampled_from(["hot", "warm", "cold", "archive"]),
    storage_class=st.sampled_from(["STANDARD", "COLD"]),
    monthly_before=moneys,
    monthly_after=moneys,
    one_off=moneys,
    saved=moneys,
    until=st.none() | instants,
)
refusals = st.builds(Refusal, key=keys, reason=names)
tiering_plans = st.builds(
    TieringPlan,
    uri=st.just("lake://warehouse/flights"),
    version=st.integers(0, 10**9),
    as_of=instants,
    steps=st.lists(moves, max_size=4).map(tuple),
    refused=st.lists(refusals, max_size=4).map(tuple),
    untouched=st.integers(0, 10**6),
)


def a_move(key: str = "date=2013-07-04", *, at: str = "STANDARD", reason: str = "45 d old") -> TierMove:
    return TierMove(
        key=key,
        files=(PlannedFile(path=f"{key}/a.parquet", size=1_500_000, etag="e", storage_class=at),),
        rows=3,
        age=timedelta(days=45),
        reason=reason,
        tier="warm",
        storage_class="STANDARD_IA",
        monthly_before=0.5,
        monthly_after=0.25,
        one_off=0.01,
        saved=3.0,
        until=None,
    )


def a_plan(*steps: TierMove, refused: tuple[Refusal, ...] = ()) -> TieringPlan:
    return TieringPlan(
        uri="lake://warehouse/flights", version=3, as_of=AS_OF, steps=steps, refused=refused, untouched=7
    )


@given(tiering_plans)
@settings(deadline=None)
def test_a_plan_survives_json(plan: TieringPlan) -> None:
    assert TieringPlan.from_json(plan.to_json()) == plan
    assert load_plan(plan.to_json()) == plan
    assert str(load_plan(plan.to_json())) == str(plan)


def test_an_expiry_plan_survives_json() -> None:
    step = Expiration(
        key="date=2013-01-01",
        files=(PlannedFile(path="a", size=1, etag="e", storage_class="STANDARD"),),
        rows=None,
        age=timedelta(days=320, hours=5),
        reason="old",
        monthly=None,
    )
    plan = ExpiryPlan(uri="lake://w/f", version=1, as_of=AS_OF, steps=(step,), grace=timedelta(days=7))
    loaded = load_plan(plan.to_json())
    assert loaded == plan
    assert isinstance(loaded, ExpiryPlan)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"kind": "coup"}', '{"kind": "tiering"}', '{"kind": "expiry", "uri": 1}']
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a saved plan"):
        load_plan(text)


def test_a_plan_of_the_other_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="kind"):
        ExpiryPlan.from_json(a_plan().to_json())


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError):
        load_plan(a_plan(a_move()).to_json().replace('"date=2013-07-04"', '"nonsense"'))


def test_a_loaded_plan_says_that_it_has_no_dataset() -> None:
    with pytest.raises(SpecError, match="not bound") as caught:
        load_plan(a_plan(a_move()).to_json()).apply()
    assert "Dataset.open" in (caught.value.hint or "")


def test_a_bound_plan_applies_and_equals_itself_unbound() -> None:
    asked: list[object] = []

    def apply(plan: TieringPlan, **options: object) -> ApplyResult:
        asked.append((plan, options))
        return ApplyResult(operation="tiering")

    plan = a_plan(a_move())
    bound = plan.bind(apply)
    assert bound.apply(keys=["date=2013-07-04"], run_id="r").ok
    assert asked == [(plan, {"progress": False, "keys": ["date=2013-07-04"], "dry_run": False, "run_id": "r"})]
    assert bound == plan
    assert hash(bound) == hash(plan)
    assert bound.to_json() == plan.to_json()
    assert a_plan() != plan


def test_it_prints_what_moves_what_it_saves_and_what_stays() -> None:
    text = str(a_plan(a_move(), refused=(Refusal(key="date=2013-01-01", reason="too dear"),)))
    assert "lake://warehouse/flights as of 2014-01-01" in text
    assert "STANDARD_IA (warm)" in text
    assert "1.5 MB" in text
    assert "$3.00" in text
    assert "too dear" in text


def test_a_long_plan_is_capped_and_its_totals_are_not() -> None:
    moves_ = [a_move(f"date=20{n // 336 + 10}-{n // 28 % 12 + 1:02}-{n % 28 + 1:02}") for n in range(332)]
    text = str(a_plan(*moves_))
    assert "... and 312 more" in text
    assert "332 partitions" in text
    assert len(text.splitlines()) < 40


def test_partitions_with_the_same_reason_share_a_line() -> None:
    refused = tuple(Refusal(key=f"date=2013-01-{n:02}", reason="expires") for n in range(1, 31))
    assert "date=2013-01-01 ... date=2013-01-30 (30)" in str(a_plan(refused=refused))


def test_an_empty_plan_says_so() -> None:
    assert "nothing to move; 7 partitions are where they belong" in str(a_plan())


def test_steps_are_chosen_by_key_and_unknown_keys_are_told_why() -> None:
    plan = a_plan(a_move(), a_move("date=2013-07-05"), refused=(Refusal(key="date=2013-01-01", reason="held: audit"),))
    assert [step.key for step in plan.selected(["date=2013-07-05"])] == ["date=2013-07-05"]
    assert plan.selected(None) == plan.steps
    with pytest.raises(UnknownPartition, match="held: audit"):
        plan.selected(["date=2013-01-01"])


def test_only_files_that_are_elsewhere_are_to_be_moved() -> None:
    assert a_move(at="STANDARD_IA").to_move() == ()
    assert a_plan(a_move(), a_move("date=2013-07-05", at="STANDARD_IA")).bytes == 1_500_000


def test_a_result_says_what_happened() -> None:
    result = ApplyResult.of(
        "tiering",
        done=["date=2"],
        skipped=["date=1"],
        failures={"date=3": StalePlan("it changed", hint="plan again")},
        files=1,
        size=1_000_000,
        pending=1,
    )
    assert not result.ok
    assert str(result) == (
        "1 partition moved (1 file, 1.0 MB), 1 file tagged for the server to move, 1 were so already, 1 failed"
    )
    assert result.failed == {"date=3": "it changed. plan again"}
    with pytest.raises(PartialFailure) as caught:
        result.raise_failures()
    assert caught.value.failures == result.failed
    ApplyResult(operation="expiry").raise_failures()


def test_an_undo_says_what_came_back() -> None:
    undone = UndoResult(key="date=1", changed=True, files=2, rows=3, bytes=4000, kept_until=AS_OF)
    assert str(undone) == "date=1 is back: 2 files, 4.0 KB; kept until 2014-01-01"
    assert str(undone.model_copy(update={"changed": False})) == "date=1 is back already: nothing changed"


# -- in notebooks ------------------------------------------------------------------------------------------------------


@given(tiering_plans)
@settings(max_examples=30, deadline=None)  # the first imports pandas
def test_any_plan_is_a_line_and_a_page(plan: TieringPlan) -> None:
    assert page_of(plan).texts[0].startswith("tiering of lake://warehouse/flights as of ")
    assert len(plan.to_pandas()) == len(plan.to_polars()) == len(plan.steps)


def test_a_plan_in_a_line() -> None:
    refused = (Refusal(key="date=2013-01-01", reason="held: audit"),)
    moves = [a_move(f"date=2013-07-{day:02d}") for day in range(1, 31)]
    assert repr(a_plan(*moves, refused=refused)) == (
        "<TieringPlan: tiering of lake://warehouse/flights as of 2014-01-01: 30 partitions to move "
        "(45.0 MB, saves $7.50 a month for $0.30 once), 1 left alone>"
    )
    assert repr(a_plan()) == (
        "<TieringPlan: tiering of lake://warehouse/flights as of 2014-01-01: nothing to move, 7 partitions untouched>"
    )
    assert repr(moves[0]) == "<TierMove of date=2013-07-01: 1 file, 1.5 MB; 45 d old>"


def test_a_plan_without_prices_claims_no_savings() -> None:
    move = a_move().model_copy(update={"saved": None, "monthly_before": None, "monthly_after": None, "one_off": None})
    assert "(1.5 MB)" in repr(a_plan(move))


def test_a_large_plan_is_a_small_page() -> None:
    refused = tuple(Refusal(key=f"date=2013-01-{day:02d}", reason=f"<b>{day}</b>") for day in range(1, 32))
    plan = a_plan(*[a_move()] * 10_000, refused=refused)
    page = page_of(plan)
    assert ["... and 9,988 more"] in page.rows
    assert ["... and 19 more"] in page.rows
    assert ["date=2013-01-01", "<b>1</b>"] in page.rows


def test_a_plan_as_a_frame() -> None:
    stays = PlannedFile(path="b.parquet", size=7, etag="e", storage_class="STANDARD_IA")
    move = a_move()
    frame = a_plan(move.model_copy(update={"files": (*move.files, stays)})).to_pandas()
    (row,) = frame.to_dict("records")
    assert (row["key"], row["files"], row["bytes"], row["rows"]) == ("date=2013-07-04", 1, 1_500_000, 3)
    assert (row["storage_class_before"], row["storage_class"], row["tier"]) == ("STANDARD", "STANDARD_IA", "warm")
    assert (row["monthly_before"], row["monthly_after"], row["one_off"], row["saved"]) == (0.5, 0.25, 0.01, 3.0)
    assert row["age"].to_pytimedelta() == timedelta(days=45)
    assert frame.dtypes.equals(a_plan().to_pandas().dtypes)
    assert {name: str(frame.dtypes[name]) for name in ("key", "rows", "bytes", "until", "saved")} == {
        "key": "str",
        "rows": "Int64",
        "bytes": "int64",
        "until": "datetime64[us, UTC]",
        "saved": "float64",
    }


def test_an_expiry_plan_as_a_line_a_page_and_a_frame() -> None:
    files = (PlannedFile(path="a.parquet", size=1000, etag="e", storage_class="COLD"),)
    one = Expiration(key="date=2013-01-01", files=files, rows=None, age=timedelta(days=9), reason="old", monthly=0.5)
    plan = ExpiryPlan(uri="lake://warehouse/flights", version=3, as_of=AS_OF, steps=(one,), grace=timedelta(days=7))
    assert repr(plan) == (
        "<ExpiryPlan: expiry of lake://warehouse/flights as of 2014-01-01: "
        "1 partition to expire (1.0 KB, saves $0.50 a month)>"
    )
    assert page_of(plan).texts[-1] == "undo is possible for 7 d, then `vacuum` deletes the files"
    frame = plan.to_pandas()
    assert frame["storage_class_before"].tolist() == ["COLD"]
    assert frame.dtypes.equals(plan.model_copy(update={"steps": ()}).to_pandas().dtypes)


def test_results_are_a_line_and_a_page() -> None:
    done = tuple(f"date={day}" for day in range(400))
    result = ApplyResult(operation="tiering", done=done, failed={"date=<b>": "held"}, codes={"date=<b>": "policy"})
    assert repr(result) == "<ApplyResult: 400 partitions moved (0 files, 0 B), 1 failed>"
    assert page_of(result).rows == [["failed", "code", "why"], ["date=<b>", "policy", "held"]]
