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

from pipelines import scanning
from pipelines.scanning import LiveDataset, ScannedFile
from pipelines.skipping import FileFacts, columns_in, may_match
from pipelines.stats import footer_stats

EVERYTHING = pads.scalar(value=True)

# -- tables, files and filters by chance ---------------------------------------------------------------------------------

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
    words = ["==", "!=", "<", "<=", ">", ">=", "in", "null", "valid", "coalesce", "if_else"]
    if pa.types.is_floating(value.type):
        words += ["nan", "null or nan", "finite"]
    if pa.types.is_integer(value.type):
        words += ["double", "text"]
    match draw(st.sampled_from(words)):
        case "in":
            others = draw(st.lists(st.one_of(st.none(), literals(name).map(lambda one: one.as_py())), max_size=3))
            return column.isin(pa.array([value.as_py(), *others], value.type))
        case "null":
            return column.is_null()
        case "valid":
            return column.is_valid()
        case "nan":
            return pc.is_nan(column)
        case "null or nan":
            return column.is_null(nan_is_null=True)
        case "finite":
            return pc.is_finite(column)
        case "coalesce":
            return pc.coalesce(column, pc.scalar(value)) == pc.scalar(value)
        case "if_else":
            return pc.if_else(column.is_null(), pc.scalar(draw(st.booleans())), column != pc.scalar(value))
        case "double":
            return column.cast("float64", safe=False) > float(value.as_py())
        case "text":
            return column.cast("string") >= str(value.as_py())
        case "<":
            return column < value
        case "<=":
            return column <= value
        case ">":
            return column > value
        case ">=":
            return column >= value
        case "!=":
            return column != value
        case _:
            return column == value


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
        patch.setattr(scanning, "_SEVERAL_GROUPS_BYTES", 0)  # row groups are left out likewise
        assert same(dataset.to_table(columns=["n"], filter=matching), expected.select(["n"]))
    other = data.draw(predicates(depth=1))
    narrowed = dataset.filter(other)
    assert narrowed.count_rows(filter=matching) == whole.filter(other).filter(matching).num_rows
    assert same(narrowed.head(2), whole.filter(other).slice(0, 2))


def same(table, expected):
    """Equal to the value, NaN included."""
    return table.schema.equals(expected.schema) and repr(table.to_pylist()) == repr(expected.to_pylist())
