"""A real Spark with Delta on the same tables: its filters on ours, ours on its, before and after what either does.

Rows and filters are random with a seed; Arrow in memory is the judge.
"""

import datetime as dt
import math
import random
from decimal import Decimal
from functools import reduce
from operator import and_, or_

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.pipelines.samples import plain
from tests.soak.sparks import spark_session
from tierlake.pipelines import Dataset, DatasetSpec

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
]

SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "k": pa.string(),
        "t": pa.timestamp("us", "UTC"),
        "b": pa.bool_(),
        "i": pa.int32(),
        "l": pa.int64(),
        "f": pa.float32(),
        "d": pa.float64(),
        "s": pa.string(),
        "m": pa.decimal128(9, 2),
        "day": pa.date32(),
        "w": pa.timestamp("us"),
        "raw": pa.binary(),
        "v": pa.struct({"x": pa.int64(), "y": pa.string()}),
        "li": pa.list_(pa.int64()),
    }
)
KEYS = ["a", "New York", "ü/=%", None]
DAYS = [dt.datetime(2013, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]
LONG = "x" * 31
VALUES = {
    "b": [True, False],
    "i": [0, 1, -1, 2**31 - 1],
    "l": [0, 7, -(2**63), 2**53 + 1],
    "f": [0.0, 1.5, math.inf, -math.inf, math.nan],
    "d": [0.0, 1.5, 1e300, math.inf, -math.inf, math.nan],
    "s": ["", "a", LONG, LONG + "yy", LONG + "z" * 20, "\ufffd", "\U0001f600"],
    "m": [Decimal("0.00"), Decimal("1.50"), Decimal("-9999999.99")],
    "day": [dt.date(1999, 12, 31), dt.date(2013, 7, 4)],
    "w": [dt.datetime(2013, 7, 4, 1, 2, 3, 456789), dt.datetime(1970, 1, 1)],  # noqa: DTZ001 - a wall clock
    "raw": [b"", b"\x00\xff"],
    "v": [{"x": 1, "y": "a"}, {"x": None, "y": None}],
    "li": [[], [1, None]],
}


def make_rows(rng, count, first=0):
    data = {name: [rng.choice([None, *values]) for _ in range(count)] for name, values in VALUES.items()}
    data["id"] = list(range(first, first + count))
    data["k"] = [rng.choice(KEYS) for _ in range(count)]
    data["t"] = [rng.choice(DAYS) + dt.timedelta(microseconds=rng.randrange(86_400_000_000)) for _ in range(count)]
    return pa.table({name: pa.array(data[name], SCHEMA.field(name).type) for name in SCHEMA.names})


def literal(name, value):
    """A value as Spark's SQL spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{'float' if name == 'f' else 'double'}('{value}')".replace("'inf'", "'Infinity'").replace(
            "'-inf'", "'-Infinity'"
        )
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP{'_NTZ' if name == 'w' else ''}'{value.replace(tzinfo=None)}'"
    if isinstance(value, dt.date):
        return f"DATE'{value}'"
    if isinstance(value, Decimal):
        return f"CAST('{value}' AS DECIMAL(9, 2))"
    if isinstance(value, int):
        return f"CAST('{value}' AS BIGINT)"
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def leaf(rng, rows):
    """A comparison as Spark's SQL and as Arrow's expression."""
    name = rng.choice(["k", "t", "b", "i", "l", "f", "d", "s", "m", "day", "w"])
    field = pc.field(name)
    if rng.random() < 0.2:
        return rng.choice([(f"{name} IS NULL", field.is_null()), (f"{name} IS NOT NULL", field.is_valid())])
    present = [one for one in rows[name].to_pylist() if one is not None and one == one]  # noqa: PLR0124 - no NaN
    value = rng.choice(present)
    scalar, text = pa.scalar(value, SCHEMA.field(name).type), literal(name, value)
    operators = ["=", "<>"] if name == "b" else ["=", "<>", "<", "<=", ">", ">="]
    operator = rng.choice(operators)
    compare = {
        "=": pc.equal,
        "<>": pc.not_equal,
        "<": pc.less,
        "<=": pc.less_equal,
        ">": pc.greater,
        ">=": pc.greater_equal,
    }
    sql = f"{name} {operator} {text}"
    if name in {"f", "d"} and operator in {">", ">="}:  # to Spark NaN is the largest number, to Arrow it is none
        sql = f"({sql} AND {name} <> double('NaN'))"
    return sql, compare[operator](field, scalar)


def make_filter(rng, rows, depth=2):
    if depth == 0 or rng.random() < 0.3:
        return leaf(rng, rows)
    parts = [make_filter(rng, rows, depth - 1) for _ in range(2)]
    kind = rng.choice(["AND", "OR", "NOT"])
    if kind == "NOT":
        sql, expression = parts[0]
        return f"NOT ({sql})", ~expression
    joined = reduce(and_ if kind == "AND" else or_, [expression for _, expression in parts])
    return f"({parts[0][0]}) {kind} ({parts[1][0]})", joined


def rows_of(table):
    picked = table.select(SCHEMA.names).cast(SCHEMA)
    return sorted(([plain(value) for value in row.values()] for row in picked.to_pylist()), key=lambda row: row[0])


class Both:
    """One table, seen by Spark and by us."""

    def __init__(self, spark, dataset, expected, rng):
        self.spark, self.dataset, self.expected, self.rng = spark, dataset, expected, rng
        self.path = f"s3a://{dataset.spec.root}"

    def check(self, filters=25):
        assert rows_of(self.dataset.read()) == rows_of(self.expected)
        assert rows_of(self.spark.read(self.path)) == rows_of(self.expected)
        pairs = [make_filter(self.rng, self.expected) for _ in range(filters)]
        found = [sorted(self.expected.filter(expression)["id"].to_pylist()) for _, expression in pairs]
        theirs = self.spark.matching(self.path, [sql for sql, _ in pairs])
        for (sql, expression), ids, spark_ids in zip(pairs, found, theirs, strict=True):
            assert spark_ids == ids, f"Spark: {sql}"
            assert sorted(self.dataset.read(["id"], where=expression)["id"].to_pylist()) == ids, sql
            assert self.dataset.scan().count_rows(filter=expression) == len(ids), sql
        for _, expression in pairs[:3]:
            assert sorted(self.dataset.to_polars(["id"], where=expression)["id"]) == sorted(
                self.expected.filter(expression)["id"].to_pylist()
            )

    def drop(self, expression):
        """Take matching rows out of what is expected."""
        gone = self.expected.filter(expression)["id"]
        self.expected = self.expected.filter(pc.invert(pc.is_in(self.expected["id"], gone.combine_chunks())))

    def step(self, *statements):
        for statement in statements:
            self.spark.sql(statement.format(table=f"delta.`{self.path}`"))


@pytest.fixture
def spark(fs, tmp_path):
    with spark_session(fs.spark_conf(), tmp_path) as session:
        yield session


@pytest.mark.parametrize("seed", [1, 2])
def test_spark_on_our_table(bucket, fs, spark, seed):
    rng = random.Random(seed)  # noqa: S311 - the same rows again
    spec = DatasetSpec(
        uri=f"lake://{bucket}/ours",
        partition={"time": {"column": "t"}, "by": ["k"]},
        tiers=[{"after": "30d", "tier": "warm"}],
        retention={"expire_after": "300d", "grace": "7d"},
    )
    dataset = Dataset.create(spec, fs=fs)
    rows = make_rows(rng, 60)
    dataset.ingest(rows)
    both = Both(spark, dataset, rows, rng)
    both.check(60)

    more = make_rows(rng, 30, first=100)
    dataset.ingest(more, mode="append")
    both.expected = pa.concat_tables([rows, more])
    both.check()

    dataset.plan_tiering("2013-06-01").apply().raise_failures()
    both.check(10)
    dataset.plan_expiry("2013-10-29T12:00:00+00:00").apply().raise_failures()
    whole, first_day = both.expected, pc.field("t") < pa.scalar(DAYS[1], SCHEMA.field("t").type)
    both.drop(first_day)
    assert both.expected.num_rows < whole.num_rows
    both.check(10)
    for key in next(entry for entry in dataset.history() if entry.operation == "expire").keys:
        dataset.undo_expiry(key)
    both.expected = whole
    both.check(10)

    dataset.compact()
    both.check()
    both.step("OPTIMIZE {table}")
    both.check()
    erased = pc.field("s") == LONG + "yy"
    assert dataset.erase(erased).remaining == 0
    both.drop(erased)
    both.check()
    both.step("DELETE FROM {table} WHERE b = true AND i = 0")
    both.drop((pc.field("b") == pc.scalar(value=True)) & (pc.field("i") == 0))
    both.check()
    both.step("UPDATE {table} SET l = 42 WHERE day = DATE'2013-07-04'")
    touched = pc.equal(both.expected["day"], pa.scalar(dt.date(2013, 7, 4)))
    updated = pc.if_else(pc.fill_null(touched, fill_value=False), pa.scalar(42, pa.int64()), both.expected["l"])
    both.expected = both.expected.set_column(SCHEMA.get_field_index("l"), "l", updated)
    both.check()
    newer = make_rows(rng, 10, first=95)
    dates = pa.array([at.strftime("%Y-%m-%d") for at in newer["t"].to_pylist()])
    spark.merge(newer.append_column("date", dates), both.path)
    kept = both.expected.filter(pc.invert(pc.is_in(both.expected["id"], newer["id"].combine_chunks())))
    both.expected = pa.concat_tables([kept, newer])
    both.check()
    both.step("VACUUM {table} RETAIN 0 HOURS")
    both.check()
    dataset.vacuum()
    assert dataset.verify().ok
    both.check(60)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("by", [[], ["k"], ["day"], ["i", "k"]], ids=["flat", "text", "dates", "integers"])
def test_ours_on_sparks_table(bucket, fs, spark, seed, by):
    rng = random.Random(seed)  # noqa: S311
    root = f"{bucket}/theirs"
    parts = [make_rows(rng, 20, first=100 * number) for number in range(3)]
    for number, part in enumerate(parts):
        if "k" in by:  # to Spark the empty text is null there; ours refuses it by name
            assert "" not in part["k"].to_pylist()
        spark.write(part, f"s3a://{root}", by, **({"delta.checkpointInterval": "2"} if number == 0 else {}))
    dataset = Dataset.open(f"lake://{root}", fs=fs)
    both = Both(spark, dataset, pa.concat_tables(parts), rng)
    both.check(60)

    erased = pc.field("l") == 7
    assert dataset.erase(erased).remaining == 0
    both.drop(erased)
    both.check()
    dataset.compact()
    both.check()
    more = make_rows(rng, 10, first=1000)
    if "day" in by:  # the key tells a row's time, and ours takes none without
        more = more.filter(pc.field("day").is_valid())
    dataset.ingest(more, mode="append")
    both.expected = pa.concat_tables([both.expected, more])
    both.check()
    both.step("OPTIMIZE {table}", "DELETE FROM {table} WHERE s = 'a'")
    both.drop(pc.field("s") == "a")
    both.check()
