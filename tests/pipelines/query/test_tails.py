"""Readers that open the oldest file for the schema find its end beside the table, once a plan of ours archived it."""

import io
import re
from collections import Counter

import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from tests.ledger import recording
from tests.pipelines.conftest import trip_spec
from tierlake.connector.errors import ObjectArchived
from tierlake.pipelines import Dataset
from tierlake.pipelines.costs.model import REQUESTS_OF_A_TAIL
from tierlake.pipelines.errors import ArchivedError

EACH = 20_000
TAIL = 64 << 10
AS_OF = "2013-02-03"
"""Two days are more than 31 days old."""
DAYS = [f"2013-01-0{number}" for number in range(1, 5)]
TIERS = [{"after": "31d", "tier": "archive"}]


def many_trips(days=4, each=EACH):
    noise = np.random.default_rng(1).random(days * each)
    times = np.datetime64("2013-01-01", "us") + np.repeat(np.arange(days), each) * np.timedelta64(86_400_000_000, "us")
    return pa.table(
        {
            "at": pa.array(times, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "fare": pa.array(noise),
            "tip": pa.array(noise[::-1]),
        }
    )


class Archive:
    """A table of four days, the first two archived by its own plan."""

    def __init__(self, moto, rows, *, moved=True, **changes):
        self.moto, self.bucket = moto, moto.make_bucket()
        self.fs = fsspec.filesystem("lake", skip_instance_cache=True, **moto.storage_options)
        self.dataset = Dataset.create(trip_spec(self.bucket, tiers=TIERS, **changes), fs=self.fs)
        self.dataset.ingest(rows)
        self.root, self.uri = f"{self.bucket}/city/trips", self.dataset.uri
        if moved:
            self.move()

    def move(self):
        plan = self.dataset.plan_tiering(AS_OF)
        done = plan.apply()
        assert not done.failed, done
        assert {step.key for step in plan.steps} == {f"date={day}" for day in DAYS[:2]}
        self.fs.invalidate_cache()

    def tails(self):
        inside = self.fs.for_table(self.root)
        return {name.partition("/_lake/tails/")[2]: inside.cat_file(name) for name in self.names()}

    def names(self):
        return self.stored("_lake/tails/")

    def stored(self, below=""):
        versions = self.moto.admin.list_object_versions(Bucket=self.bucket, Prefix=f"city/trips/{below}")
        return [f"{self.bucket}/{one['Key']}" for one in versions.get("Versions", ())]

    def first(self):
        return min(path for path in self.fs.find(self.root) if DAYS[0] in path)


@pytest.fixture
def make_archive(moto):
    made = []

    def make(rows=None, **options):
        made.append(Archive(moto, many_trips() if rows is None else rows, **options))
        return made[-1]

    yield make
    for one in made:
        moto.drop_bucket(one.bucket)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask calls pandas that way
def test_pandas_pyarrow_and_dask_read_hot_days_of_a_table_with_archived_ones(make_archive):
    table = make_archive()
    options, hot = table.moto.storage_options, [("date", "==", DAYS[2])]
    read = pd.read_parquet(table.uri, filters=hot, storage_options=options)
    assert read["fare"].sum() == pytest.approx(pc.sum(many_trips()["fare"].slice(2 * EACH, EACH)).as_py())
    dataset = pads.dataset(table.root, filesystem=table.fs, partitioning="hive")
    assert dataset.to_table(filter=pc.field("date") == DAYS[3]).num_rows == EACH
    frame = dd.read_parquet(table.uri, filters=hot, storage_options=options)
    assert len(frame.compute(scheduler="sync")) == EACH
    with table.fs.open(table.first()) as file:
        assert pq.read_schema(file).names == ["at", "fare", "tip"]


def test_reads_of_the_archived_days_are_refused_as_before(make_archive):
    table = make_archive()
    options = table.moto.storage_options
    says = rf"date={DAYS[0]} of {table.uri} is archived in \w+.*tierlake restore"
    with pytest.raises(ObjectArchived, match=says):
        pd.read_parquet(table.uri, filters=[("date", "==", DAYS[0])], storage_options=options)
    with pytest.raises(ObjectArchived, match=says):
        pads.dataset(table.root, filesystem=table.fs, partitioning="hive").to_table()
    with pytest.raises(ObjectArchived, match=says):
        table.fs.cat_file(table.first())
    with table.fs.open(table.first()) as file, pytest.raises(ObjectArchived, match=says):
        file.read(4)
    with table.fs.open(table.first(), cache_type="bytes") as file, pytest.raises(ObjectArchived, match=says):
        file.read(4)
    with pytest.raises(ArchivedError):
        table.dataset.read()


def test_a_tail_is_the_true_end_of_the_first_file_of_its_partition(make_archive, moto):
    table = make_archive(moved=False)
    firsts = {day: min(path for path in table.fs.find(table.root) if day in path) for day in DAYS[:2]}
    before = {path: table.fs.cat_file(path) for path in firsts.values()}
    table.move()
    wanted = {f"{p.removeprefix(f'{table.root}/')}.{len(data)}": data[-TAIL:] for p, data in before.items()}
    assert table.tails() == wanted
    assert all(
        len(data) == TAIL < len(before[path]) for path, data in zip(firsts.values(), wanted.values(), strict=True)
    )
    for name in table.names():
        head = moto.admin.head_object(Bucket=table.bucket, Key=name.partition("/")[2])
        assert head.get("StorageClass", "STANDARD") == "STANDARD"
    with table.fs.open(table.first()) as file:
        file.seek(-100, io.SEEK_END)
        assert file.read() == before[table.first()][-100:]


def test_its_requests_are_those_of_the_price(make_archive, moto, tmp_path):
    """One tail for a partition, however many files it has."""
    table = make_archive(moved=False)
    table.dataset.ingest(many_trips(), mode="append")
    with recording(moto.endpoint_url, tmp_path) as ledger:
        options = {**moto.storage_options, "endpoint_url": ledger.url}
        dataset = Dataset.open(table.uri, fs=fsspec.filesystem("lake", skip_instance_cache=True, **options))
        plan = dataset.plan_tiering(AS_OF)
        assert [len(step.files) for step in plan.steps] == [2, 2]
        ledger.turn_page()
        plan.apply()
        page = ledger.page(table.bucket, "city/trips")
    asked = Counter()
    for line in page:
        if re.search(r"GET date=\*/\*\.parquet|PUT _lake/tails", line):
            asked[line.split()[1]] += int(line.split()[0])
    assert asked == {name: len(plan.steps) * number for name, number in REQUESTS_OF_A_TAIL.items()}


def test_a_table_that_others_archived_and_a_damaged_tail_are_refused_as_before(make_archive):
    table = make_archive()
    inside = table.fs.for_table(table.root)
    for name in table.names():
        inside.pipe_file(name, b"short")
    for _ in range(2):
        with pytest.raises(ObjectArchived, match="schema=Dataset"):
            pads.dataset(table.root, filesystem=table.fs, partitioning="hive")
        for name in table.names():
            inside.rm_file(name)


@pytest.mark.parametrize("versioned", [False, True])
def test_tails_go_with_their_files(make_archive, versioned):
    table = make_archive(retention={"expire_after": "300d", "grace": "0d"})
    if versioned:  # from now on: a plan archives nothing where the old version stays
        configuration = {"Status": "Enabled"}
        table.moto.admin.put_bucket_versioning(Bucket=table.bucket, VersioningConfiguration=configuration)
        fs = fsspec.filesystem("lake", skip_instance_cache=True, **table.moto.storage_options)
        table.dataset = Dataset.open(table.uri, fs=fs)
    assert len(table.names()) == 2
    assert table.dataset.plan_expiry("2013-10-29").apply().done == (f"date={DAYS[0]}",)
    result = table.dataset.vacuum()
    assert [DAYS[0] in path for path in result.expired] == [True]
    assert [DAYS[1] in name for name in table.names()] == [True]


def test_an_erasure_drops_the_tails_of_files_that_are_not_live(make_archive):
    table = make_archive()
    assert table.dataset.plan_expiry("2013-11-01").apply(keys=[f"date={DAYS[0]}"]).failed == {}
    table.dataset.erase([("fare", "==", 35.0)])
    assert [DAYS[1] in name for name in table.names()] == [True]


def test_a_dropped_table_leaves_no_tail(make_archive):
    table = make_archive(retention={"expire_after": "300d", "grace": "0d"})
    table.dataset.drop()
    assert table.dataset.vacuum().ends_dataset
    assert table.stored() == []


def test_plain_tables_keep_none(make_archive):
    assert make_archive(format="parquet").names() == []
