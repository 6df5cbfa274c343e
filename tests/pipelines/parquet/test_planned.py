"""A planned read is what Arrow's dataset reads, to the value, whatever the files are like."""

import io
import operator
import uuid
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipelines.foreign import parquet, put
from tests.pipelines.parquet.test_file_skipping import FLOATS, INSTANTS, TEXTS
from tierlake.connector.errors import ObjectNotFound, PreconditionFailed
from tierlake.pipelines.parquet import chunks, planned
from tierlake.pipelines.parquet.file_skipping import FileFacts
from tierlake.pipelines.parquet.planned import planned_table
from tierlake.pipelines.parquet.scan import LiveDataset, ScannedFile
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem

NESTED = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])
KINDS = {
    "n": (pa.int64(), st.integers(-3, 3)),
    "x": (pa.float64(), FLOATS),
    "s": (pa.string(), TEXTS),
    "t": (pa.timestamp("us", "UTC"), INSTANTS.filter(lambda one: 1700 < one.year < 2200)),
    "dotted.name": (pa.int32(), st.integers(-3, 3)),
    "nested": (
        NESTED,
        st.fixed_dictionaries(
            {"a": st.none() | st.integers(0, 3), "b": st.none() | st.lists(st.sampled_from("xyz"), max_size=2)}
        ),
    ),
    "d": (pa.decimal128(10, 2), st.decimals(-100, 100, places=2)),
}
SCHEMA = pa.schema([("k", pa.string()), *((name, kind) for name, (kind, _) in KINDS.items())])
OTHERWISE = {
    "n": (pa.int32(), pa.int8(), pa.uint32()),
    "x": (pa.float32(),),
    "s": (pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.null(), pa.binary()),
    "t": (pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.timestamp("us", "Europe/Berlin")),
    "dotted.name": (pa.int16(), pa.null()),
    "nested": (pa.struct([("a", pa.int64())]), pa.null()),
    "d": (pa.decimal128(8, 2), pa.null()),
}
"""The types that a file may have for a column of the table; some of them cannot be read as it."""


@st.composite
def files(draw):
    """The rows of a file, the options of its writer, and its partition."""
    length = draw(st.integers(0, 5))
    columns = {}
    for name in draw(st.permutations(sorted(KINDS))):
        kind, values = KINDS[name]
        if draw(st.integers(0, 5)) == 0:
            continue
        column = pa.array(draw(st.lists(st.none() | values, min_size=length, max_size=length)), kind)
        if draw(st.integers(0, 3)) == 0:
            try:
                column = column.cast(draw(st.sampled_from(OTHERWISE[name])))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                column = pa.nulls(length, kind)
        columns[name] = column
    if draw(st.integers(0, 9)) == 0:
        columns["k"] = pa.array(["of the file"] * length)
    options = {
        "row_group_size": draw(st.integers(1, 3)),
        "use_deprecated_int96_timestamps": draw(st.booleans()),
        "compression": draw(st.sampled_from(["zstd", "snappy", "none"])),
        "store_schema": draw(st.booleans()),
        "use_dictionary": draw(st.booleans()),
    }
    return pa.table(columns), options, draw(st.sampled_from([None, "a", "b"]))


TOGETHER = (lambda _, __: None, lambda one, _: one, lambda one, _: ~one, operator.and_, operator.or_)
"""What a filter is made of two conditions; None means all rows."""


class Condition(NamedTuple):
    """Which rows match.

    Attributes:
        matching: The filter; None means all.
        tame: The same, but for rows where it fails.
    """

    matching: pc.Expression | None
    tame: pc.Expression | None


ALL = Condition(None, None)


@st.composite
def conditions(draw):
    text, number = draw(st.sampled_from(["", "a", "é"])), draw(st.integers(-2, 2))
    single = {
        "k": pc.field("k") == draw(st.sampled_from(["a", "b"])),
        "no k": pc.field("k").is_null(),
        "n": pc.field("n") > number,
        "x": pc.field("x") != float(number),
        "nan": pc.is_nan(pc.field("x")),
        "s": pc.field("s") >= text,
        "t": pc.field("t") >= datetime(2013, 7, 4, tzinfo=UTC),
        "none": pc.field("dotted.name").is_null(),
        "deep": pc.field("nested", "a") == 1,
        "third": pc.field(2) < 1.0,
        "fails": pc.divide(pc.scalar(1), pc.field("n")) > 0,
    }
    tame = single | {"fails": pc.divide(pc.scalar(1), pc.if_else(pc.field("n") == 0, None, pc.field("n"))) > 0}
    kinds = [draw(st.sampled_from(sorted(single))) for _ in range(2)]
    together = draw(st.sampled_from(TOGETHER))
    return Condition(*(together(*(of[kind] for kind in kinds)) for of in (single, tame)))


class Shelf:
    """Files of a table in the store."""

    def __init__(self, server, fs, bucket):
        self.server, self.fs, self.bucket = server, fs, bucket

    def dataset(self, tables, *, planned, schema=SCHEMA, keys=("k",)):
        scanned = []
        for table, options, key in tables:
            path = f"{self.bucket}/{uuid.uuid4().hex}.parquet"
            put(self.server, path, data := parquet(table, **options))
            known = pc.field("k").is_null() if key is None else pc.field("k") == key
            scanned.append(ScannedFile(path, len(data), FileFacts(key, known, None)))
        return self.of(scanned, planned=planned, schema=schema, keys=keys)

    def of(self, scanned, *, planned, schema=SCHEMA, keys=("k",), version=None):
        names = FileNames(self.fs, self.bucket, {}, version)
        return LiveDataset(scanned, schema, arrow_filesystem(self.fs, names), keys, source=names if planned else None)


@pytest.fixture
def shelf(server, fs, bucket):
    return Shelf(server, fs, bucket)


def outcome(read):
    """The schema and the values, NaN included, or the kind of failure."""
    try:
        table = read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        return type(error).__name__
    table.validate(full=True)
    return table.schema.to_string(show_schema_metadata=True), repr(table.to_pylist())


def assert_same(plan, arrows, names, condition=ALL, within=ALL):
    """A plan reads what Arrow reads of the rows within; only it may not fail for rows that it had no need to read."""

    def of_arrow(matching, where):
        rows = arrows if where is None else arrows.filter(where)
        return outcome(lambda: rows.to_table(columns=names, filter=matching))

    planned_rows = plan if within.matching is None else plan.filter(within.matching)
    read = outcome(lambda: planned_table(planned_rows, names, condition.matching))
    expected = of_arrow(condition.matching, within.matching)
    if expected == "ArrowInvalid" != read:
        expected = of_arrow(condition.tame, within.tame)
    assert read == expected


def compare(shelf, data):
    tables = data.draw(st.lists(files(), max_size=4))
    plan = shelf.dataset(tables, planned=True)
    arrows = shelf.of(plan.files_of(), planned=False)
    for _ in range(3):
        names = data.draw(st.lists(st.sampled_from(SCHEMA.names), unique=True))
        assert_same(plan, arrows, names, data.draw(conditions()))
        assert_same(plan, arrows, names, data.draw(conditions()), data.draw(conditions()))
        with pytest.MonkeyPatch.context() as patch:
            as_large(patch, data.draw(st.sampled_from([1, 100, 1 << 20])), data.draw(st.sampled_from([7, 1 << 20])))
            assert_same(plan, arrows, names, data.draw(conditions()))


def as_large(patch, group_bytes, range_bytes):
    """Small files are read as large ones are: footers first, then column chunks, in parts."""
    patch.setattr(planned, "WHOLE_BYTES", 0)
    patch.setattr(planned, "_TAIL_BYTES", 12)
    patch.setattr(planned, "_GROUP_BYTES", group_bytes)
    patch.setattr(chunks, "_RANGE_BYTES", range_bytes)


FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(data=st.data())
def test_it_is_what_arrow_reads(shelf, data):
    compare(shelf, data)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a failure is made smaller, which takes a while
@MANY
@given(data=st.data())
def test_it_is_what_arrow_reads_at_length(shelf, data):
    compare(shelf, data)


def numbers(*values, **options):
    return pa.table({"n": pa.array(values, pa.int64()), "s": [str(value) for value in values]}), options, "a"


def test_a_failed_read_names_the_file_and_ends(shelf):
    plan = shelf.dataset([numbers(1), numbers(2), numbers(3)], planned=True)
    gone = plan.files_of()[1]
    shelf.fs.for_table(shelf.bucket).rm(gone.path)
    with pytest.raises(ObjectNotFound, match="was listed, and is gone"):
        planned_table(plan, ["n"], None)


def test_a_filter_does_not_fail_for_row_groups_that_cannot_match(shelf, monkeypatch):
    as_large(monkeypatch, 1, 1 << 20)
    plan = shelf.dataset([numbers(0, 1, row_group_size=1)], planned=True)
    inverse = pc.divide(pc.scalar(1), pc.field("n")) > 0
    assert planned_table(plan, ["n"], inverse & (pc.field("n") > 0))["n"].to_pylist() == [1]
    with pytest.raises(pa.ArrowInvalid, match="divide by zero"):
        planned_table(plan, ["n"], inverse)


def test_what_is_no_parquet_is_reported_as_arrow_does(shelf):
    plan = shelf.dataset([numbers(1), numbers(2)], planned=True)
    bad = plan.files_of()[1]
    put(shelf.server, bad.path, b"x" * bad.size)
    arrows = shelf.of(plan.files_of(), planned=False)
    with pytest.raises(pa.ArrowInvalid, match=bad.path):
        planned_table(plan, ["n"], None)
    assert_same(plan, arrows, ["n"])


def test_a_file_of_another_size_is_read_as_it_is(shelf):
    plan = shelf.dataset([numbers(1), numbers(2)], planned=True)
    put(shelf.server, plan.files_of()[1].path, parquet(numbers(4, 5, 6, 7)[0]))
    arrows = shelf.of([ScannedFile(one.path, 0, one.facts) for one in plan.files_of()], planned=False)
    assert planned_table(plan, ["n"], None)["n"].to_pylist() == arrows.to_table(["n"])["n"].to_pylist()


def in_parts(shelf, path):
    """Another ETag for the same bytes, as a copy of an object onto itself gives one."""
    client, (bucket, _, key) = shelf.server.admin, path.partition("/")
    data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    begun = client.create_multipart_upload(Bucket=bucket, Key=key)
    upload = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
    part = {"PartNumber": 1, "ETag": client.upload_part(**upload, PartNumber=1, Body=data)["ETag"]}
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})


def test_a_committed_file_may_be_copied_onto_itself_while_it_is_read(shelf, monkeypatch):
    """A plan moves it to another class; in a plain table another ETag means other rows."""
    scanned = shelf.dataset([numbers(*range(50), row_group_size=10)], planned=True).files_of()
    as_large(monkeypatch, 1, 7)
    read = planned._footers

    def then_copied(*args):
        footers = read(*args)
        in_parts(shelf, scanned[0].path)
        return footers

    monkeypatch.setattr(planned, "_footers", then_copied)
    assert planned_table(shelf.of(scanned, planned=True, version=3), ["n"], None)["n"].to_pylist() == list(range(50))
    put(shelf.server, scanned[0].path, shelf.fs.cat_file(scanned[0].path))
    with pytest.raises(PreconditionFailed, match=f"{scanned[0].path} was written anew while it was read.*read again"):
        planned_table(shelf.of(scanned, planned=True), ["n"], None)


def test_columns_are_looked_up_once_however_many_there_are(shelf, monkeypatch):
    """Work per row group goes by the leaves of the requested columns alone."""
    looked_up = []
    monkeypatch.setattr(planned, "leaves_of", lambda *args: looked_up.append(args) or chunks.leaves_of(*args))
    as_large(monkeypatch, 1, 1 << 20)
    plan = shelf.dataset([numbers(*range(50), row_group_size=10)], planned=True)
    assert planned_table(plan, ["n"], None).num_rows == 50
    assert len(looked_up) == 1


def test_leaves_of_columns_with_dots():
    rows = pa.table({"a": [{"b": 1, "c": [2]}], "a.b": [3], "ab": [4], "": [5]})
    footer = pq.read_metadata(io.BytesIO(parquet(rows)))
    paths = [footer.schema.column(number).path for number in range(footer.num_columns)]

    def leaves(*names):
        return [paths[number] for number in chunks.leaves_of(footer, names)]

    assert leaves("ab") == ["ab"]
    assert leaves("a") == ["a.b", "a.c.list.element", "a.b"]
    assert leaves("a.b") == ["a.b", "a.b"]
    assert leaves("") == [""]
    assert leaves() == []
