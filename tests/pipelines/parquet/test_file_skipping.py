"""A filter finds what Arrow finds in memory, to the row, whatever the statistics of the files are."""

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from tierlake.pipelines.parquet import file_skipping, scan
from tierlake.pipelines.parquet.file_skipping import FileFacts, columns_in, may_match
from tierlake.pipelines.parquet.scan import LiveDataset, ScannedFile
from tierlake.pipelines.parquet.statistics import footer_stats

EVERYTHING = pads.scalar(value=True)

# -- tables, files and filters by chance -------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(["", "a", "ann@example.org", "z" * 40, "z" * 31, "z" * 32, "é", "\ud7ff", "\ue000", "\U00010000"]),
    st.text(max_size=40),
)
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 0.1, 5e-324, 1.7e308]), st.floats(width=32)
)
INSTANTS = st.one_of(
    st.integers(-3, 3).map(lambda number: datetime(2013, 7, 4, tzinfo=UTC) + timedelta(microseconds=333 * number)),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    st.just(datetime.max.replace(tzinfo=UTC)),
)
KINDS = {
    "n": (pa.int64(), st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))),
    "small": (pa.int16(), st.integers(-5, 5)),
    "x": (pa.float64(), FLOATS),
    "f": (pa.float32(), FLOATS.map(lambda value: pa.scalar(value, pa.float64()).cast(pa.float32()).as_py())),
    "s": (pa.string(), TEXTS),
    "b": (pa.bool_(), st.booleans()),
    "d": (pa.date32(), st.one_of(st.dates(date(2013, 7, 1), date(2013, 7, 5)), st.dates())),
    "t": (pa.timestamp("us", "UTC"), INSTANTS),
    "p": (pa.decimal128(10, 2), st.decimals(-100, 100, places=2)),
    "y": (pa.binary(), st.binary(max_size=3)),
}
SCHEMA = pa.schema([("k", pa.int64()), *((name, kind) for name, (kind, _) in KINDS.items())])


@st.composite
def rows(draw):
    """Few columns have a life of their own in an example, so that filters on them meet many cases."""
    length = draw(st.integers(0, 5))
    lively = draw(st.sets(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    columns = {}
    for name, (kind, values) in KINDS.items():
        some = st.one_of(st.none(), values) if draw(st.booleans()) else values
        column = draw(st.lists(some, min_size=length, max_size=length)) if name in lively else [draw(some)] * length
        columns[name] = pa.array(column, kind)
    return pa.table(columns)


def literals(name):
    kind, values = KINDS.get(name, (pa.int64(), st.integers(0, 2)))
    return values.map(lambda value: pa.scalar(value, kind))


def compared(column, value):
    """What can be asked of one column; by name, so that an example says what it is."""
    number = value.as_py()
    asked = {
        "==": column == value,
        "!=": column != value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
        "null": column.is_null(),
        "valid": column.is_valid(),
        "coalesce": pc.coalesce(column, pc.scalar(value)) == pc.scalar(value),
        "null or other": pc.if_else(column.is_null(), pc.scalar(True), column != pc.scalar(value)),
        "other": pc.if_else(column.is_null(), pc.scalar(False), column != pc.scalar(value)),
    }
    if pa.types.is_floating(value.type):
        asked |= {"nan": pc.is_nan(column), "nothing": column.is_null(nan_is_null=True), "finite": pc.is_finite(column)}
    if pa.types.is_integer(value.type):
        asked |= {
            "double": column.cast("float64", safe=False) > float(number),
            "text": column.cast("string") >= str(number),
        }
    return asked


@st.composite
def predicates(draw, depth=3):
    if depth and draw(st.booleans()):
        word = draw(st.sampled_from(["and", "or", "not", "is_null"]))
        left = draw(predicates(depth - 1))
        if word in {"not", "is_null"}:
            return ~left if word == "not" else left.is_null()
        right = draw(predicates(depth - 1))
        return left & right if word == "and" else left | right
    name = draw(st.sampled_from(["k", *KINDS]))
    column, value = pc.field(name), draw(literals(name))
    asked = compared(column, value)
    word = draw(st.sampled_from([*asked, "in"]))
    if word != "in":
        return asked[word]
    others = draw(st.lists(st.one_of(st.none(), literals(name).map(lambda one: one.as_py())), max_size=3))
    return column.isin(pa.array([value.as_py(), *others], value.type))


@st.composite
def logged(draw, text):
    """The statistics of a file as other writers leave them: bounds cut as Spark does, or some of it missing."""
    stats = json.loads(text)
    style = draw(st.sampled_from(["ours", "spark", "gaps", "none"]))
    if style == "none":
        return draw(st.sampled_from([None, "{}", "no JSON", "[]"]))
    if style == "spark":
        for name, bound in stats["maxValues"].items():
            if name == "s":
                stats["maxValues"][name] = bound if len(bound) <= 2 else bound[:2] + "\U0010ffff"
            if name == "t":
                stats["maxValues"][name] = bound[:-4] + "000Z" if bound.endswith("000Z") else bound
        stats["minValues"] |= {"s": stats["minValues"]["s"][:2]} if "s" in stats["minValues"] else {}
    if style == "gaps":
        for kind in ("minValues", "maxValues", "nullCount"):
            for name in draw(st.sets(st.sampled_from(sorted(KINDS)))):
                stats[kind].pop(name, None)
        if draw(st.booleans()):
            del stats["numRecords"]
    return json.dumps(stats)


def write(folder, number, table, key, stats=None, **options):
    path = str(folder / f"{number}.parquet")
    pq.write_table(table, path, **options)
    known = pc.field("k").is_null() if key is None else pc.field("k") == key
    size = (folder / f"{number}.parquet").stat().st_size
    return ScannedFile(path, size, FileFacts(key, known, stats(path) if callable(stats) else stats))


def footer_of(path):
    return footer_stats(pq.read_metadata(path))


def in_memory(tables, schema=SCHEMA):
    return pa.concat_tables(
        [
            table.append_column("k", pa.array([key] * table.num_rows, pa.int64())).select(schema.names)
            for table, key in tables
        ]
    )


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_what_a_filter_finds_is_what_arrow_finds_in_memory(tmp_path, data):
    tables = data.draw(st.lists(st.tuples(rows(), st.sampled_from([None, 0, 1, 2])), min_size=1, max_size=4))
    files = []
    for number, (table, key) in enumerate(tables):
        file = write(tmp_path, number, table, key, row_group_size=2)
        stats = data.draw(logged(footer_of(file.path)))
        files.append(ScannedFile(file.path, file.size, FileFacts(key, file.facts.known, stats)))
    dataset = LiveDataset(files, SCHEMA, LocalFileSystem(), ["k"])
    whole = in_memory(tables)
    matching = data.draw(predicates())
    expected = whole.filter(matching)
    assert same(dataset.to_table(filter=matching), expected)
    assert dataset.count_rows(filter=matching) == expected.num_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_SEVERAL_GROUPS_BYTES", 0)  # row groups are left out likewise
        assert same(dataset.to_table(columns=["n"], filter=matching), expected.select(["n"]))
    other = data.draw(predicates(depth=1))
    narrowed = dataset.filter(other)
    assert narrowed.count_rows(filter=matching) == whole.filter(other).filter(matching).num_rows
    assert same(narrowed.head(2), whole.filter(other).slice(0, 2))


def same(table, expected):
    """Equal to the value, NaN included."""
    return table.schema.equals(expected.schema) and repr(table.to_pylist()) == repr(expected.to_pylist())


# -- the decision, case by case ----------------------------------------------------------------------------------------


def stats(low=None, high=None, nulls=None, rows=5):
    bounds = {"minValues": {} if low is None else {"c": low}, "maxValues": {} if high is None else {"c": high}}
    counts = {"nullCount": {} if nulls is None else {"c": nulls}}
    return json.dumps({**({} if rows is None else {"numRecords": rows}), **bounds, **counts})


def may(kind, matching, text):
    schema = pa.schema([("c", kind), ("k", pa.string())])
    (possible,) = may_match(matching, schema, ["k"], [FileFacts(None, EVERYTHING, text)])
    return possible


column = pc.field("c")
UTC_TIMES, WALL = pa.timestamp("us", "UTC"), pa.timestamp("us")


def at(text, kind=UTC_TIMES):
    return pa.scalar(datetime.fromisoformat(text), kind)


@pytest.mark.parametrize(
    ("kind", "matching", "text"),
    [
        (pa.int64(), column == 7, stats(8, 9)),
        (pa.int64(), column == 7, stats(low=8)),
        (pa.int64(), column == 7, stats(high=6)),
        (pa.int64(), column.is_null(), stats(nulls=0)),
        (pa.int64(), column.is_valid(), stats(nulls=5)),
        (pa.int64(), column == 7, stats(nulls=5)),
        (pa.string(), column == "b", stats("c", "d")),
        (pa.string(), column == "b", stats("c" * 32)),
        (pa.string(), column > "d", stats("c", "c" * 31)),
        (pa.date32(), column == date(2013, 7, 4), stats("2013-07-05", "9999-12-31")),
        (UTC_TIMES, column > at("2013-07-04T12:00:00.124+00:00"), stats(high="2013-07-04T12:00:00.123Z")),
        (
            pa.timestamp("us"),
            column > at("2013-07-04T12:00:00.124", pa.timestamp("us")),
            stats(high="2013-07-04T12:00:00.123"),
        ),
        (pa.float64(), column > 9.0, stats(1.0, 8.5)),
        (pa.float64(), column == 9.0, stats(1, 8)),
        (pa.float32(), column > 9.0, stats(0.1, 0.3)),
    ],
)
def test_what_is_proven_leaves_the_file_out(kind, matching, text):
    assert not may(kind, matching, text)


@pytest.mark.parametrize(
    ("kind", "matching", "text"),
    [
        (pa.int64(), column == 7, None),
        (pa.int64(), column == 7, "{}"),
        (pa.int64(), column == 7, "null"),
        (pa.int64(), column == 7, "no JSON"),
        (pa.int64(), column == 7, '{"minValues": 3, "nullCount": []}'),
        (pa.int64(), column == 7, stats(nulls=0)),
        (pa.int64(), column == 7, stats("8", "9")),
        (pa.int64(), column == 7, stats(9, 1)),
        (pa.int64(), column == 0, stats(9, 1, 0)),
        (pa.int64(), column.is_null(), stats(9, 1, 0)),
        (pa.int64(), column == 7, stats(1, 9, 5)),
        (pa.int64(), column == 7, stats(low=1, nulls=5)),
        (pa.string(), column == "b", stats("c", "b")),
        (UTC_TIMES, column.is_null(), stats("2013-07-05T00:00:00Z", "2013-07-04T00:00:00Z", 0)),
        (pa.int64(), column == 7, stats(True, True)),
        (pa.int64(), column == 7, stats(7.5, 9.5)),
        (pa.int64(), column == 7, stats(2**70)),
        (pa.int64(), column.is_null(), stats(8, 9)),
        (pa.int64(), column.is_valid(), stats(nulls=5, rows=None)),
        (pa.int64(), column.is_valid(), stats(nulls=0, rows=0)),
        (pa.int64(), column.is_null(), stats(nulls=False)),
        (pa.bool_(), column == True, stats(False, False)),  # noqa: E712
        (pa.decimal128(10, 2), pa.scalar(Decimal(7), pa.decimal128(10, 2)) == column, stats(8, 9)),
        (pa.binary(), column == b"a", stats("b", "c")),
        (pa.string(), column == "z", stats(high="c" * 32)),
        (pa.string(), column == "z", stats(high="c\ufffd")),
        (pa.string(), column == "a", stats(low="\U0010ffff")),
        (pa.string(), column == "z", stats(1, 2)),
        (pa.date32(), column == date(2013, 7, 4), stats("+10000-01-01")),
        (pa.date32(), column == date(1700, 1, 1), stats(low="1800-01-01")),
        (UTC_TIMES, column > at("2013-07-04T12:00:00.123900+00:00"), stats(high="2013-07-04T12:00:00.123Z")),
        (UTC_TIMES, column > at("2013-07-04T12:00:00+00:00"), stats(high="2013-07-04T11:00:00")),
        (UTC_TIMES, column > at("9999-12-31T23:59:59.9999+00:00"), stats(high="9999-12-31T23:59:59.999Z")),
        (UTC_TIMES, column > at("2013-07-04T12:00:00+00:00"), stats(high=5)),
        (pa.float64(), pc.is_nan(column), stats(1.0, 8.5, 0)),
        (pa.float64(), column != 1.0, stats(1.0, 1.0, 0)),
        (pa.float64(), column.is_null(nan_is_null=True), stats(nulls=0)),
        (pa.float64(), column == 0.0, stats(-0.0, -0.0)),
        (pa.float64(), column.isin([0.0]), stats(-0.0, 0.0)),
        (pa.float64(), column == 1.0, '{"maxValues": {"c": Infinity}, "minValues": {"c": NaN}}'),
        (pa.float32(), pa.scalar(0.1, pa.float32()) == column, stats(0.1, 0.1)),
        (pa.list_(pa.int64()), column.is_valid(), stats(8, 9)),
    ],
)
def test_what_is_not_proven_leaves_it_in(kind, matching, text):
    assert may(kind, matching, text)


def test_null_rows_are_found_by_arrows_meaning_of_null():
    assert may(pa.int64(), (column == 7).is_null(), stats(8, 9))
    assert not may(pa.int64(), (column == 7).is_null(), stats(8, 9, 0))
    assert may(pa.int64(), pc.if_else(column.is_null(), pc.scalar(True), column > 100), stats(8, 9))
    assert may(pa.int64(), pc.coalesce(column, 7) == 7, stats(8, 9))
    assert not may(pa.int64(), ~(column > 7), stats(8, 9))


def test_columns_are_found_by_their_names_alone():
    schema = pa.schema(
        [("a", pa.int64()), ("a b", pa.int64()), ("a.b", pa.int64()), ("s", pa.struct([("a", pa.int64())]))]
    )
    assert columns_in(pc.field("a b") == 1, schema) == {"a b"}
    assert columns_in(pc.field("a.b") == pc.field("a"), schema) == {"a", "a.b"}
    assert columns_in(pc.field("s", "a") == 1, schema) == {"s"}
    assert columns_in(pc.field(1) == 1, schema) is None
    assert columns_in(pc.field("a") == "a b", pa.schema([("a", pa.string()), ("a b", pa.string())])) == {"a"}


def test_many_columns_are_decided_in_bounded_work(monkeypatch):
    schema = pa.schema([(f"c{number}", pa.int64()) for number in range(12)])
    matching = reduce(lambda one, other: one | other, [pc.field(name) == 1 for name in schema.names])
    text = json.dumps({"numRecords": 5, "minValues": dict.fromkeys(schema.names, 2), "maxValues": {}, "nullCount": {}})
    sizes = []
    real = pads.FileSystemDataset

    def counting(fragments, *rest):
        sizes.append(len(fragments))
        return real(fragments, *rest)

    monkeypatch.setattr(pads, "FileSystemDataset", counting)
    assert may_match(matching, schema, [], [FileFacts(None, EVERYTHING, text)]) == [True]
    assert max(sizes) <= 64


def test_bounds_of_times_say_nothing_of_the_texts_that_they_are_read_as(tmp_path, monkeypatch):
    times = pa.table({"c": pa.array([0, 1, None, 86_400], pa.timestamp("s"))})
    file = write(tmp_path, 0, times, None, row_group_size=2)
    dataset = LiveDataset([file], pa.schema([("c", pa.string()), ("k", pa.int64())]), LocalFileSystem(), ["k"])
    monkeypatch.setattr(scan, "_SEVERAL_GROUPS_BYTES", 0)
    for text in dataset.to_table()["c"].drop_null().to_pylist():
        assert dataset.count_rows(filter=pc.field("c") == text) == 1


def test_partitions_are_decided_by_the_columns_that_a_filter_asks_for(monkeypatch):
    schema = pa.schema([("day", pa.date32()), ("shop", pa.float64()), ("c", pa.int64())])
    days = [None, *(date(2013, 7, number) for number in range(1, 31))]
    files = [
        FileFacts(f"{day} {shop!r}", equal("day", day) & equal("shop", shop), stats(1, 2, 0))
        for day in days
        for shop in (None, 0.0, -0.0, math.nan)
    ]
    decided = []
    real = file_skipping._satisfiable

    def counting(matching, schema, situations):
        decided.append(len(situations))
        return real(matching, schema, situations)

    monkeypatch.setattr(file_skipping, "_satisfiable", counting)

    def found(matching):
        decided.clear()
        possible = may_match(matching, schema, ["day", "shop"], files)
        return [file.key for file, may in zip(files, possible, strict=True) if may]

    assert found(pc.field("c") == 7) == []
    assert len(found(pc.field("c") == 1)) == len(files)
    assert decided == [1, 1]
    the_fourth = [f"2013-07-04 {shop}" for shop in (None, "0.0", "-0.0", "nan")]
    assert found((pc.field("c") == 1) & (pc.field("day") == date(2013, 7, 4))) == the_fourth
    assert decided == [31, 1]
    assert {key.split()[1] for key in found(pc.is_nan(pc.field("shop")))} == {"nan"}
    assert decided == [4]


def equal(name, value):
    return pc.field(name).is_null() if value is None else pc.field(name) == value


def test_files_that_lack_columns_or_have_narrower_types(tmp_path):
    schema = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("t", UTC_TIMES), ("new", pa.string())])
    old = pa.table(
        {
            "n": pa.array([1, 2], pa.int8()),
            "x": pa.array([0.5, math.nan], pa.float32()),
            "t": pa.array([at("2013-07-04T00:00:00+00:00").as_py()] * 2, pa.timestamp("ms", "UTC")),
        }
    )
    file = write(tmp_path, 0, old, 0, footer_of)
    dataset = LiveDataset([file], schema, LocalFileSystem())
    for matching, count in (
        (pc.field("n") > 1, 1),
        (pc.field("n") > 1000, 0),
        (pc.field("x") != 0.5, 1),
        (pc.field("t") == at("2013-07-04T00:00:00+00:00"), 2),
        (pc.field("new").is_null(), 2),
        (pc.field("new") == "a", 0),
    ):
        assert dataset.count_rows(filter=matching) == dataset.to_table(filter=matching).num_rows == count


def test_the_oldest_timestamps_are_read_in_microseconds(tmp_path):
    far = datetime(9999, 12, 31, tzinfo=UTC)
    table = pa.table({"t": pa.array([far, None], pa.timestamp("us", "UTC"))})
    file = write(tmp_path, 0, table, 0, use_deprecated_int96_timestamps=True)
    dataset = LiveDataset([file], table.schema, LocalFileSystem())
    assert dataset.to_table(filter=pc.field("t") > at("2013-07-04T00:00:00+00:00"))["t"].to_pylist() == [far]


def test_row_groups_of_large_files_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "_SEVERAL_GROUPS_BYTES", 0)
    table = pa.table({"n": range(100), "x": [float(number) for number in range(99)] + [math.nan]})
    file = write(tmp_path, 0, table, 0, row_group_size=10)
    dataset = LiveDataset([file], table.schema, LocalFileSystem())

    def groups(matching):
        parts = dataset._parts(dataset.files_of(matching), matching)
        return [group.id for part in parts for group in part.row_groups]

    assert groups(pc.field("n") == 55) == [5]
    assert groups(pc.field("n") > 79) == [8, 9]
    assert groups(pc.field("n") > 1000) == []
    assert dataset.to_table(filter=~(pc.field("x") < 1000))["n"].to_pylist() == [99]
    assert dataset.count_rows(filter=pc.field("n") > 1000) == 0
