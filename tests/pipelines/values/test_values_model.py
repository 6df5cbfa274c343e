"""What goes in comes out, for random tables: every reader agrees with Arrow in memory, and `erase` leaves the others.

Random schemas, values and filters; ingests that append and replace, compaction and new columns between; both formats,
and tables whose log deltalake wrote. A short run is part of the quick suite; `make soak` runs long ones.
"""

import datetime as dt
import math
import os
import uuid
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.pipelines.foreign import delta_options
from tests.pipelines.samples import plain
from tierlake.pipelines import Dataset, DatasetSpec

KEYS = ["a", "B b", "ü/=%", None]
TEXT = st.one_of(
    st.sampled_from(["", "a", "NA", "007", "x" * 31, "x" * 32, "x" * 40 + "y", "\ufffd", "\U0001f600", "\ud7ff"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
FLOATS = st.one_of(st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e300, 5e-324]), st.floats())
TIMES = st.one_of(
    st.sampled_from([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1970, 1, 1)]),  # noqa: DTZ001
    st.datetimes(),
)
FLAT = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.one_of(st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1]), st.integers(-5, 5)),
    pa.float32(): st.floats(width=32),
    pa.float64(): FLOATS,
    pa.decimal128(9, 2): st.decimals(-1_000_000, 1_000_000, places=2),
    pa.decimal128(38, 0): st.integers(-(10**37), 10**37).map(Decimal),
    pa.string(): TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.timestamp("us"): TIMES,
    pa.timestamp("us", "UTC"): TIMES.map(lambda at: at.replace(tzinfo=dt.UTC)),
}
COMPARED = [kind for kind in FLAT if not pa.types.is_binary(kind)]


def nested(kind):
    values = st.none() | FLAT[kind]
    return st.sampled_from(
        [
            (pa.list_(kind), st.lists(values, max_size=3)),
            (
                pa.struct({"x": kind, "y": pa.list_(kind)}),
                st.fixed_dictionaries({"x": values, "y": st.none() | st.lists(values, max_size=2)}),
            ),
        ]
    )


COLUMN = st.sampled_from(list(FLAT)).flatmap(lambda kind: st.one_of(st.just((kind, FLAT[kind])), nested(kind)))


@st.composite
def filters(draw, schema, depth=2):
    """A filter over the flat columns of a schema."""
    names = [field.name for field in schema if field.type in COMPARED]
    if depth and draw(st.booleans()):
        left, right = draw(filters(schema, depth - 1)), draw(filters(schema, depth - 1))
        return draw(st.sampled_from([left & right, left | right, ~left]))
    name = draw(st.sampled_from(names))
    kind = schema.field(name).type
    field, value = pc.field(name), pa.scalar(draw(FLAT[kind]), kind)
    several = pa.array(draw(st.lists(st.none() | FLAT[kind], max_size=3)), kind)
    options = [field.is_null(), field.is_valid(), field == value, field != value, field.isin(several)]
    if not pa.types.is_boolean(kind):
        options += [field < value, field <= value, field > value, field >= value]
    return draw(st.sampled_from(options))


@st.composite
def batches(draw, columns, first, keys=KEYS):
    """Rows with a key, a number of their own, and random values."""
    count = draw(st.integers(0, 5))
    data = {
        "k": pa.array(draw(st.lists(st.sampled_from(keys), min_size=count, max_size=count)), pa.string()),
        "id": pa.array(range(first, first + count), pa.int64()),
    }
    for name, (kind, values) in columns.items():
        data[name] = pa.array(draw(st.lists(st.none() | values, min_size=count, max_size=count)), kind)
    return pa.table(data)


def rows_of(table, names):
    return sorted(([plain(row[name]) for name in names] for row in table.to_pylist()), key=lambda row: row[0])


def check_readers(dataset, expected, matching):
    names = ["id", *(name for name in expected.column_names if name != "id")]
    assert rows_of(dataset.read(), names) == rows_of(expected, names)
    found = expected.filter(matching)
    ids = sorted(found["id"].to_pylist())
    assert rows_of(dataset.read(where=matching), names) == rows_of(found, names)
    scan = dataset.scan()
    assert rows_of(scan.to_table(filter=matching), names) == rows_of(found, names)
    assert scan.count_rows(filter=matching) == len(ids)
    assert sorted(dataset.to_polars(where=matching)["id"].to_list()) == ids
    assert sorted(dataset.to_pandas(columns=["id"], where=matching)["id"]) == ids
    assert sorted(dataset.to_dask(columns=["id"], where=matching).compute(scheduler="synchronous")["id"]) == ids


def check_others(dataset, fs, server, expected):
    ids = sorted(expected["id"].to_pylist())
    if expected["k"].null_count < len(ids):  # a folder of nulls alone has no type that Arrow could tell
        read = pd.read_parquet(dataset.uri, columns=["id"], storage_options=server.storage_options)
        assert sorted(read["id"]) == ids
    if dataset.format == "delta" and ids:
        frame = pl.scan_delta(f"s3://{dataset.spec.root}", storage_options=fs.polars_options()).collect()
        names = ["id", *(name for name in expected.column_names if name != "id")]
        assert rows_of(frame.select(names).to_arrow(), names) == rows_of(expected, names)


def joined(expected, batch, replaced):
    kept = expected.filter(pc.invert(pc.is_in(expected["k"], pa.array(replaced, pa.string()))))
    return pa.concat_tables([kept, batch], promote_options="permissive")


def live(data, fs, server, bucket, table_format):
    """One life of a table."""
    uri = f"lake://{bucket}/{uuid.uuid4().hex}"
    columns = {
        f"c{number}": column for number, column in enumerate(data.draw(st.lists(COLUMN, min_size=1, max_size=3)))
    }
    kind = data.draw(st.sampled_from(COMPARED))
    columns["f"] = (kind, FLAT[kind])
    is_theirs = table_format == "deltalake"
    keys = [key for key in KEYS if key != "" and not (is_theirs and key is None)]
    expected = data.draw(batches(columns, 0, keys))
    if is_theirs:
        options = delta_options(server)
        write_deltalake(uri.replace("lake:", "s3:"), expected, partition_by=["k"], storage_options=options)
        dataset = Dataset.open(uri, fs=fs)
    else:
        spec = DatasetSpec(uri=uri, format=table_format, partition={"by": ["k"]})
        dataset = Dataset.create(spec, fs=fs)
        dataset.ingest(expected)
    for step in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            columns[f"n{step}"] = data.draw(COLUMN)
        batch = data.draw(batches(columns, 100 * (step + 1), keys))
        can_append = table_format != "parquet" and data.draw(st.booleans())
        result = dataset.ingest(batch, mode="append" if can_append else "replace")
        assert (result.rows, result.rejected) == (batch.num_rows, 0)
        replaced = [] if can_append else batch["k"].unique().to_pylist()
        expected = joined(expected, batch, replaced)
        if table_format != "parquet" and data.draw(st.booleans()):
            dataset.compact()
    known = [name for name in expected.column_names if name in dataset.schema.names]
    expected = expected.select(known)
    assert set(dataset.schema.names) == set(known)
    matching = data.draw(filters(expected.schema))
    check_readers(dataset, expected, matching)
    check_others(dataset, fs, server, expected)
    report = dataset.erase(matching)
    gone = set(expected.filter(matching)["id"].to_pylist())
    assert (report.rows, report.remaining) == (len(gone), 0)
    left = expected.filter(pc.invert(pc.is_in(expected["id"], pa.array(sorted(gone), pa.int64()))))
    names = ["id", *(name for name in known if name != "id")]
    assert rows_of(dataset.read(), names) == rows_of(left, names)


UNBOUND = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("table_format", ["delta", "parquet", "deltalake"])
def test_every_reader_agrees_with_arrow(bucket, fs, server, table_format):
    @settings(
        max_examples=6,
        deadline=None,
        derandomize=True,
        suppress_health_check=UNBOUND,
        database=None,
        phases=[Phase.generate],  # to shrink is the long run's work
    )
    @given(st.data())
    def run(data):
        live(data, fs, server, bucket, table_format)

    run()


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("table_format", ["delta", "parquet", "deltalake"])
def test_every_reader_agrees_with_arrow_for_long(bucket, fs, server, table_format):
    examples = int(os.environ.get("TIERLAKE_SOAK_EXAMPLES", "300"))

    @settings(max_examples=examples, deadline=None, suppress_health_check=UNBOUND, print_blob=True)
    @given(st.data())
    def run(data):
        live(data, fs, server, bucket, table_format)

    run()
