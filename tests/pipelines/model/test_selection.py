"""Which partitions a key text names: against a naive reading of the same text, and at the edges of the language."""

from __future__ import annotations

import fnmatch
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, escape_value, spelled
from tierlake.pipelines.model.selection import KeyText, Selection
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.time_window import key_at

EASTERN = "America/New_York"
AUTUMN = datetime(2013, 11, 3, 3, tzinfo=UTC)  # 23:00 in New York, before the night in which 01 comes twice


def a_spec(*by: str, every: str | None = "day", timezone: str = "UTC") -> DatasetSpec:
    time = {"column": "at", "every": every, "key": "date", "timezone": timezone} if every else None
    return DatasetSpec.model_validate({"uri": "lake://b/t", "partition": {"time": time, "by": by}})


def keys_of(column: str, values) -> list[PartitionKey]:
    return [PartitionKey(((column, value),)) for value in values]


def chosen(text: str, spec: DatasetSpec, keys: list[PartitionKey], schema: pa.Schema | None = None) -> list[str]:
    return [str(key) for key in KeyText.parse(text).among(spec, schema, keys)]


DAYS = [date(2013, 1, 1) + timedelta(days=number) for number in range(90)]
SPEC = a_spec("origin")
SCHEMA = pa.schema([("date", pa.string()), ("origin", pa.string())])
TWO = [PartitionKey((("date", str(day)), ("origin", origin))) for day in DAYS for origin in ("JFK", "LGA", "")]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DAYS), st.sampled_from(DAYS), st.sampled_from(["JFK", "*", "?GA", "", ".."]))
def test_days_and_a_column(first: date, last: date, origin: str) -> None:
    first, last = sorted((first, last))
    text = f"date={first}..{last}/origin={origin}"
    like = {"..": "?*"}.get(origin, origin)
    expected = [
        key
        for key in TWO
        if first <= date.fromisoformat(key.items[0][1]) <= last and fnmatch.fnmatchcase(key.items[1][1], like)
    ]
    assert KeyText.parse(text).among(SPEC, SCHEMA, TWO) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-200, 200), min_size=1, unique=True), st.integers(-200, 200), st.integers(-200, 200))
def test_numbers_are_compared_as_numbers(values: list[int], low: int, high: int) -> None:
    spec, schema = a_spec("n", every=None), pa.schema([("n", pa.int64())])
    keys = keys_of("n", map(str, values))
    if low > high:
        with pytest.raises(SpecError, match="ends before it begins"):
            chosen(f"n={low}..{high}", spec, keys, schema)
    else:
        within = [f"n={value}" for value in values if low <= value <= high]
        assert chosen(f"n={low}..{high}", spec, keys, schema) == within
    assert chosen(f"n={low}..", spec, keys, schema) == [f"n={value}" for value in values if value >= low]
    assert chosen(f"n=..{high}", spec, keys, schema) == [f"n={value}" for value in values if value <= high]


texts = st.text("ab.*?[]%-/= é", min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8, unique=True), texts, texts)
def test_any_text_is_reachable_and_a_range_is_by_value(values: list[str], low: str, high: str) -> None:
    spec, schema = a_spec("k", every=None), pa.schema([("k", pa.string())])
    keys = keys_of("k", values)
    for key in keys:
        assert KeyText.parse(str(key)).among(spec, schema, keys) == [key], "what `ls` prints names itself"
    low, high = sorted((low, high))
    ends = [escape_value(end).replace(".", "%2E") for end in (low, high)]
    assume(f"{low}..{high}" not in values)
    assert KeyText.parse("k={}..{}".format(*ends)).among(spec, schema, keys) == [
        key for key in keys if low <= key.items[0][1] <= high
    ]


parts = st.text("ab*?[]- é", max_size=3)
patterns = st.builds("{}{}{}".format, parts, st.sampled_from("*?["), parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts | patterns, min_size=1, max_size=8, unique=True), patterns)
def test_a_pattern_is_that_of_fnmatch_and_what_is_encoded_is_literal(values: list[str], pattern: str) -> None:
    spec = a_spec("k", every=None)
    keys = keys_of("k", values)
    exact = [key for key in keys if key.items[0][1] == pattern]
    like = [key for key in keys if fnmatch.fnmatchcase(key.items[0][1], pattern)]
    assert KeyText.parse(f"k={pattern}").among(spec, None, keys) == (exact or like)
    whole = [key for key in keys if key.items[0][1] == pattern + "*"]
    starting = [key for key in keys if key.items[0][1].startswith(pattern)]
    assert KeyText.parse(f"k={escape_value(pattern)}*").among(spec, None, keys) == (whole or starting)


def test_a_partition_called_like_the_pattern_is_meant_however_it_is_encoded() -> None:
    keys = keys_of("k", ["[", "[*"])
    for text in ("k=[*", "k=%5B*", "k=%5B%2A"):
        assert list(map(str, KeyText.parse(text).among(a_spec("k", every=None), None, keys))) == ["k=%5B%2A"]


@pytest.mark.parametrize("text", ["n=1..3", "n=2..10", "n=9..", "..3"])
def test_a_range_of_numbers_in_a_column_of_text_is_refused(text: str) -> None:
    spec, schema = a_spec("n", every=None), pa.schema([("n", pa.string())])
    keys = keys_of("n", ["1", "2", "3", "10", "25"])
    with pytest.raises(SpecError, match="10 lies before 9") as refused:
        KeyText.parse(f"n={text.removeprefix('n=')}").among(spec, schema, keys)
    assert "int64" in str(refused.value.hint)


def test_a_range_of_texts_of_equal_length_is_that_of_their_numbers() -> None:
    spec, schema = a_spec("month", every=None), pa.schema([("month", pa.string())])
    keys = keys_of("month", ["01", "02", "10", "JAN"])
    assert KeyText.parse("month=02..12").among(spec, schema, keys) == keys[1:3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8))
def test_the_two_hours_of_the_autumn_night_have_their_order(first: int, last: int) -> None:
    spec = a_spec(every="hour", timezone=EASTERN)
    names = [key_at(AUTUMN + timedelta(hours=number), "hour", EASTERN) for number in range(9)]
    assert names[2:5] == ["2013-11-03T01", "2013-11-03T01-0500", "2013-11-03T02"]
    text, keys = f"date={names[first]}..{names[last]}", keys_of("date", names)
    if first > last:
        with pytest.raises(SpecError, match="ends before it begins"):
            chosen(text, spec, keys)
    else:
        assert chosen(text, spec, keys) == [f"date={name}" for name in names[first : last + 1]]


def test_an_end_may_be_wider_and_never_finer_than_the_partitions() -> None:
    hours = [key_at(AUTUMN + timedelta(hours=number), "hour", EASTERN) for number in range(50)]
    within = [name for name in hours if name.startswith("2013-11-03")]
    spec = a_spec(every="hour", timezone=EASTERN)
    assert len(within) == 25
    assert chosen("date=2013-11-03..2013-11-03", spec, keys_of("date", hours)) == [f"date={name}" for name in within]
    months = keys_of("date", ["2013-01", "2013-02", "2013-03"])
    assert chosen("date=2013-01..2013-02", a_spec(every="month"), months) == ["date=2013-01", "date=2013-02"]
    assert len(chosen("date=2013..", a_spec(every="month"), months)) == 3
    with pytest.raises(SpecError, match="'2013-01-15' names no month"):
        chosen("date=2013-01-15..", a_spec(every="month"), months)
    assert chosen("date=2013-01..2013-02", a_spec(), keys_of("date", ["2012-12-31", "2013-02-28", "2013-03-01"])) == [
        "date=2013-02-28"
    ]


def test_null_the_end_of_all_time_and_strange_values() -> None:
    keys = keys_of("date", ["", "9999-12-31", "2013-01-01", "unknown"])
    assert chosen("date=2013-01-01..", SPEC_DAY, keys) == ["date=9999-12-31", "date=2013-01-01"]
    assert chosen("date=..", SPEC_DAY, keys) == ["date=9999-12-31", "date=2013-01-01", "date=unknown"]
    assert chosen("date=*", SPEC_DAY, keys) == [str(key) for key in keys]
    assert chosen("date=?*", SPEC_DAY, keys) == [str(key) for key in keys[1:]]
    assert chosen("date=", SPEC_DAY, keys) == ["date="]
    assert chosen("date=__HIVE_DEFAULT_PARTITION__", SPEC_DAY, keys) == ["date="]


SPEC_DAY = a_spec()


@pytest.mark.parametrize(
    ("kind", "values", "text", "expected"),
    [
        (pa.float64(), [-1.5, 2.0, 10.0, float("nan")], "k=2..", [2.0, 10.0]),
        (pa.bool_(), [True, False], "k=..false", [False]),
        (pa.date32(), [date(2013, 2, 1), date(2013, 10, 1)], "k=2013-03-01..", [date(2013, 10, 1)]),
        (
            pa.timestamp("us", "UTC"),
            [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)],
            "k=2013-01-01T02:00:00+00:00..",
            [datetime(2013, 1, 1, 2, tzinfo=UTC)],
        ),
    ],
)
def test_values_of_each_type(kind: pa.DataType, values, text: str, expected) -> None:
    keys = keys_of("k", map(spelled, values))
    schema = pa.schema([("k", kind)])
    assert chosen(text, a_spec("k", every=None), keys, schema) == [
        f"k={escape_value(spelled(one))}" for one in expected
    ]
    with pytest.raises(SpecError, match="is not a value of type"):
        chosen("k=x..", a_spec("k", every=None), keys, schema)
    with pytest.raises(SpecError, match="type of k is not known"):
        chosen(text, a_spec("k", every=None), keys)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("dat=2013*", UnknownPartition, "not partitioned by 'dat', but by date, origin.*'date'"),
        ("date=2013-01-05..2013-01-01", SpecError, r"write date=2013-01-01\.\.2013-01-05"),
        ("date=2013-13-01..", SpecError, "'2013-13-01' names no day"),
        ("date=2013-02-30..", SpecError, "'2013-02-30' names no day"),
        ("date=2013-01*..2013-02", SpecError, "not patterns"),
        ("date=2013..2014..2015", SpecError, "two ends"),
        ("date=2013-01*/date=2013-02*", SpecError, "names a column twice"),
        ("2013-01*", SpecError, "not a partition key"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(text: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        chosen(text, SPEC, TWO, SCHEMA)


def test_columns_may_be_left_out_or_in_another_order() -> None:
    assert len(chosen("date=2013-01-01", SPEC, TWO, SCHEMA)) == 3
    assert len(chosen("origin=JFK/date=2013-01*", SPEC, TWO, SCHEMA)) == 31
    assert chosen("date=2013-1-1/origin=J*", SPEC, TWO, SCHEMA) == ["date=2013-01-01/origin=JFK"]


def test_a_selection_is_exact_where_it_needs_no_look() -> None:
    one = PartitionKey.parse("date=2013-01-01/origin=JFK")
    assert Selection.of(str(one)).exact(SPEC) == Selection.of([one, str(one)]).exact(SPEC) == (one,)
    assert Selection.of("date=2013-01-01").exact(SPEC) is None, "a column is left out"
    assert Selection.of(PartitionKey.parse("date=2013-01*")).exact(SPEC) is not None, "a key is never a pattern"
    assert Selection.of(Selection((one,), since="2013-01-01")).exact(SPEC) is None
    assert Selection.of(None).is_all
    with pytest.raises(SpecError, match=r"no partition is named\. leave the keys out"):
        Selection.of([])


def test_all_have_to_be_named_where_it_matters() -> None:
    for nothing in (None, [], iter(())):
        with pytest.raises(SpecError, match=r"no partition is named\. name each"):
            Selection.named(nothing)
    assert Selection.named(Selection()).is_all
    assert Selection.named(iter(["date=2013-01*"])) == Selection(("date=2013-01*",))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DAYS), st.sampled_from(DAYS))
def test_since_and_until_are_the_range_of_their_days(first: date, last: date) -> None:
    keys = keys_of("date", map(str, DAYS))
    if first > last:
        with pytest.raises(SpecError, match="ends before it begins"):
            Selection(since=first, until=str(last)).within(SPEC_DAY)
        return
    lies_in = Selection(since=str(first), until=last).within(SPEC_DAY)
    assert lies_in is not None
    assert [str(key) for key in keys if lies_in(key)] == chosen(f"date={first}..{last}", SPEC_DAY, keys)


def test_a_span_is_in_the_timezone_of_the_dataset_and_takes_whole_windows() -> None:
    spec = a_spec(every="hour", timezone=EASTERN)
    names = [key_at(AUTUMN + timedelta(hours=number), "hour", EASTERN) for number in range(9)]
    by_instant = Selection(since="2013-11-03T06:00:00+00:00", until="2013-11-03T02:30").within(spec)
    assert by_instant is not None
    assert [name for name in names if by_instant(PartitionKey((("date", name),)))] == ["2013-11-03T01-0500"]
    months = Selection(since="2013-01-02", until="2013-03-30").within(a_spec(every="month"))
    assert months is not None
    assert [key for key in keys_of("date", ["2013-01", "2013-02", "2013-03", ""]) if months(key)] == keys_of(
        "date", ["2013-02"]
    )
    with pytest.raises(SpecError, match="not partitioned by time"):
        Selection(since="2013-01-01").within(a_spec("k", every=None))


def test_the_work_is_linear_in_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for number in (500, 1000):
        keys = [PartitionKey((("n", str(one)), ("k", "abc"[one % 3]))) for one in range(number)]
        calls = 0

        def counting(*arguments, real=KeyText.among.__globals__["typed"]):
            nonlocal calls
            calls += 1
            return real(*arguments)

        monkeypatch.setattr("tierlake.pipelines.model.selection.typed", counting)
        schema = pa.schema([("n", pa.int64()), ("k", pa.string())])
        assert len(chosen("n=10../k=b", a_spec("n", "k", every=None), keys, schema)) > number // 4
        monkeypatch.undo()
        counts.append(calls)
    assert counts[1] <= 2.1 * counts[0]
