"""A key that no partition can have is an error that says what to write, in every verb that takes one."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from tests.pipelines.conftest import make_trips
from tests.pipelines.foreign import write_delta
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.tables.requested_keys import check_possible

NO_ROWS = make_trips(1, 1).slice(0, 0)
SPELLED = {
    # how it was written: what the error says to write
    "dat=2013-01-01": "date=...",
    "date=2013-1-1": "write date=2013-01-01",
    "date=20130101": "write date=2013-01-01",
    "date=2013-01-01T00:00:00": "write date=2013-01-01",
    "date=2013-02-30": "write date=2013-07-04",
    "date=2013-01": "write date=2013-07-04",
    "date=": "write date=2013-07-04",
    "date=2013-01-01/city=JFK": "write date=...",
    "": "write date=...",
}


def wrong(call, says):
    with pytest.raises(UnknownPartition) as caught:
        call()
    assert says in caught.value.hint, caught.value


@pytest.mark.parametrize("key", SPELLED)
def test_an_ingest_that_covers_no_possible_partition(dataset, key):
    wrong(lambda: dataset.ingest(NO_ROWS, keys=[key]), SPELLED[key])
    wrong(lambda: dataset.ingest(make_trips(1, 1), keys=["date=2013-01-01", key]), SPELLED[key])
    assert dataset.read().num_rows == 0


def test_an_ingest_that_covers_a_partition_without_rows_empties_it(dataset):
    dataset.ingest(make_trips(2, 3))
    dataset.ingest(NO_ROWS, keys=["date=2013-01-01", "date=2013-01-05"])
    assert [str(key) for key in dataset.windows()] == ["date=2013-01-02"]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["dat=2013-01-01", "date=2013-1-1"])
def test_every_verb_that_takes_a_key(dataset, key):
    dataset.ingest(make_trips(2, 3))
    dataset.hold("date=2013-01-01", reason="audit")
    expiry, tiering = dataset.plan_expiry(as_of="2014-12-31"), dataset.plan_tiering(as_of="2013-09-01")
    verbs = (
        lambda: dataset.hold(key, reason="audit"),
        lambda: dataset.release(key),
        lambda: dataset.retain(key, until="2020-01-01"),
        lambda: dataset.undo_expiry(key),
        lambda: dataset.restore(key),
        lambda: dataset.explain(key),
        lambda: expiry.apply(keys=[key]),
        lambda: tiering.apply(keys=[key]),
        *((lambda: dataset.compact(key),) if dataset.format == "delta" else ()),
    )
    for verb in verbs:
        wrong(verb, SPELLED[key])
    assert len(dataset.windows()) == 2
    assert dataset.release("date=2013-01-01")
    assert not dataset.release("date=2013-01-02"), "possible, and not held"


@pytest.mark.slow
def test_values_in_the_types_of_their_columns(bucket, fs):
    spec = DatasetSpec(
        uri=f"lake://{bucket}/typed",
        columns={"k": "int64", "d": "date", "b": "bool", "t": "string", "x": "int64"},
        partition={"by": ["k", "d", "b", "t"]},
    )
    made = Dataset.create(spec, fs=fs)
    rows = pa.table({"k": [1], "d": [date(2024, 1, 1)], "b": [True], "t": ["01"], "x": [1]})
    made.ingest(rows)
    right = "k=1/d=2024-01-01/b=true/t=01"
    for key in (
        "k=01/d=2024-01-01/b=true/t=01",
        "k=+1/d=2024-01-01/b=true/t=01",
        "k=1/d=2024-01-01 00%3A00%3A00/b=true/t=01",
        "k=1/d=2024-01-01/b=True/t=01",
        "d=2024-01-01/k=1/b=true/t=01",
    ):
        wrong(lambda key=key: made.ingest(rows.slice(0, 0), keys=[key]), f"write {right}")
        wrong(lambda key=key: made.hold(key, reason="audit"), f"write {right}")
    wrong(lambda: made.explain("k=one/d=2024-01-01/b=true/t=01"), "ls")
    with pytest.raises(UnknownPartition, match="k=one is not a value of that column, which is int64"):
        made.explain("k=one/d=2024-01-01/b=true/t=01")
    assert made.hold(right, reason="audit")
    made.ingest(rows.slice(0, 0), keys=[right, "k=/d=/b=/t="])  # null is a value
    assert made.read().num_rows == 0


@pytest.mark.slow
def test_another_writers_spelling_is_a_key_and_is_named(bucket, fs, server):
    root = f"{bucket}/foreign"
    write_delta(server, root, pa.table({"k": pa.array(["007", "8"]), "v": [1, 2]}), ["k"])
    opened = Dataset.open(f"lake://{root}", fs=fs)
    assert opened.explain("k=007").text
    days = pa.table({"day": pa.array(["2013-07-04 00:00:00"]), "v": [1]})
    write_delta(server, f"{bucket}/days", days, ["day"])
    theirs = Dataset.open(f"lake://{bucket}/days", fs=fs)
    assert theirs.spec.partition.time is not None
    assert theirs.explain("day=2013-07-04%2000%3A00%3A00").text
    with pytest.raises(UnknownPartition):
        theirs.explain("day=2013-07-05")


def test_an_unpartitioned_table_has_the_empty_key(bucket):
    spec = DatasetSpec(uri=f"lake://{bucket}/one", columns={"x": "int64"})
    check_possible(spec, None, [PartitionKey(())], ())
    wrong(lambda: check_possible(spec, None, [PartitionKey.parse("x=1")], ()), "leave the key out")
