"""A Delta table behind `lake://`: what is committed and nothing else, in any order of calls, and at what price."""

import json
import random
import subprocess
import sys
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import fsspec
import pandas as pd
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from tests.faults.proxy import Proxy
from tests.pipelines.conftest import FIRST_DAY, make_trips, trip_spec
from tierlake.connector.errors import TableWriteRefused
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.tables.live_view import provider
from tierlake.pipelines.tables.snapshot import Change, LiveFile, StagedFile

DAY = "date=2013-01-02"


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is in the listing calls, which have tests on both."""
    return seaweedfs


@pytest.fixture
def place(server, bucket):
    return server, bucket


@pytest.fixture
def trips_dataset(place):
    """Four days, of which each has a file of a replaced generation too."""
    rig, bucket = place
    dataset = Dataset.create(trip_spec(bucket), skip_instance_cache=True, **rig.storage_options)
    dataset.ingest(make_trips(fare=7.0))
    dataset.ingest(make_trips())
    return dataset


def new_fs(rig, **options):
    return fsspec.filesystem("lake", skip_instance_cache=True, **{**rig.storage_options, **options})


LOOKS = {
    "pandas": lambda fs, root: len(pd.read_parquet(root, filesystem=fs)),
    "dataset": lambda fs, root: ds.dataset(root, filesystem=fs, partitioning="hive").count_rows(),
    "find": lambda fs, root: 10 * len(fs.find(root)),
    "ls": lambda fs, root: 10 * len(fs.ls(root)),
    "ls of a day": lambda fs, root: 40 * len(fs.ls(f"{root}/{DAY}")),
    "glob": lambda fs, root: 10 * len(fs.glob(f"{root}/*/*.parquet")),
    "walk": lambda fs, root: 10 * sum(len(files) for _, _, files in fs.walk(root)),
    "info": lambda fs, root: 40 * (fs.info(f"{root}/{DAY}")["type"] == "directory"),
    "exists": lambda fs, root: 40 * (fs.exists(f"{root}/{DAY}") and not fs.exists(f"{root}/date=2013-01-09")),
    "du": lambda fs, root: 40 * (fs.du(root) == sum(entry["size"] for entry in fs.find(root, detail=True).values())),
}
"""Each is 40 where four days of one live file with ten rows are seen."""


@pytest.mark.slow
@pytest.mark.parametrize("listings", [True, False], ids=["with listings cache", "without"])
def test_every_order_of_calls_sees_the_same(trips_dataset, place, listings):
    rig, bucket = place
    root = f"{bucket}/city/trips"
    for seed in range(3):
        fs = new_fs(rig, use_listings_cache=listings)
        order = random.Random(seed).sample(sorted(LOOKS), len(LOOKS))  # noqa: S311 - an order, no secret
        assert {name: LOOKS[name](fs, root) for name in order} == dict.fromkeys(LOOKS, 40), order


def test_another_process_sees_the_next_commit(trips_dataset, place):
    rig, bucket = place
    script = (
        "import json, sys, fsspec\n"
        "options, root = json.loads(sys.argv[1]), sys.argv[2]\n"
        "fs = fsspec.filesystem('lake', view_freshness=0, **options)\n"
        "print(len(fs.find(root)), flush=True)\n"
        "sys.stdin.readline()\n"
        "print(len(fs.find(root)), flush=True)\n"
    )
    call = [sys.executable, "-c", script, json.dumps(rig.storage_options), f"{bucket}/city/trips"]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "4\n"
        trips_dataset.ingest(make_trips(days=1), mode="append")
        assert child.communicate("\n", timeout=60)[0] == "5\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda fs, root: fs.pipe_file(f"{root}/{DAY}/x.parquet", b"x"),
        lambda fs, root: fs.rm(f"{root}/{DAY}", recursive=True),
        lambda fs, root: fs.rm(root, recursive=True),
        lambda fs, root: make_trips().to_pandas().to_parquet(f"{root}/x.parquet", filesystem=fs),
    ],
    ids=["pipe", "rm of a day", "rm of all", "to_parquet"],
)
def test_a_raw_write_is_refused_and_names_the_way(trips_dataset, place, write):
    rig, bucket = place
    before = rig.keys(bucket)
    with pytest.raises(TableWriteRefused, match=r"Dataset\.open"):
        write(new_fs(rig), f"{bucket}/city/trips")
    assert rig.keys(bucket) == before


ONTO_ROOT = {
    "pipe": lambda fs, root: fs.pipe(root, b"x"),
    "cp": lambda fs, root: (fs.pipe(f"{root}-x", b"x"), fs.cp_file(f"{root}-x", root)),
    "to_parquet": lambda fs, root: pd.DataFrame({"x": [1]}).to_parquet(root, filesystem=fs),
    "open": lambda fs, root: fs.open(root, "wb").close(),
}


@pytest.mark.parametrize("write", ONTO_ROOT)
def test_no_object_takes_the_place_of_a_datasets_root(place, table_format, write):
    """pandas writes one file to a path; on MinIO it would hide every partition."""
    rig, bucket = place
    dataset = Dataset.create(trip_spec(bucket, format=table_format), skip_instance_cache=True, **rig.storage_options)
    dataset.ingest(make_trips())
    rows = dataset.read().num_rows
    root = f"{bucket}/city/trips"
    for fs in (new_fs(rig), dataset.fs):
        with pytest.raises(TableWriteRefused, match=r"Dataset\.open"):
            ONTO_ROOT[write](fs, root)
    assert "city/trips" not in rig.keys(bucket)
    assert Dataset.open(f"lake://{root}", **rig.storage_options).read().num_rows == rows


@pytest.fixture
def counted(place):
    """A filesystem, and what it sends; a look is good for longer than the slowest machine takes."""
    fs, sent = new_fs(place[0], view_freshness=60, engine="s3fs"), []  # obstore's requests have no such event
    fs.connect().meta.events.register("before-send.s3", lambda request, **_: sent.append((request.method, request.url)))
    return fs, sent


def test_outside_tables_a_prefix_costs_its_look_once(counted, place):
    (fs, sent), (_, bucket) = counted, place
    fs.pipe_file(f"{bucket}/plain/a", b"1")
    sent.clear()
    for number in range(5):
        fs.pipe_file(f"{bucket}/plain/{number}", b"1")
        assert fs.cat_file(f"{bucket}/plain/{number}") == b"1"
    assert [method for method, _ in sent] == ["PUT", "GET"] * 5


def test_whether_a_version_is_the_newest_is_one_list(fs, bucket):
    root = f"{bucket}/t"
    log = fs.for_table(root)
    log.pipe({f"{root}/_delta_log/{version:020}.json": b"{}" for version in range(11)})
    log.pipe({f"{root}/_delta_log/{name}": b"{}" for name in ("_last_checkpoint", f"{10:020}.checkpoint.parquet")})
    assert [version for version in range(13) if provider.is_current(log, root, version)] == [10]
    log.pipe_file(f"{root}/_delta_log/{11:020}.json", b"{}")
    assert not provider.is_current(log, root, 10)
    assert not provider.is_current(log, f"{bucket}/other", 0), "a table that is gone is not what it was"


@pytest.mark.slow
def test_opening_ten_thousand_partitions_costs_two_lists(trips_dataset, place):
    """And the checkpoint with the newer entries of the log; counted between the reader and the server."""
    rig, bucket = place
    handle, root = trips_dataset._handle, f"{bucket}/city/trips"
    keys = [PartitionKey.parse(f"date={FIRST_DAY.date() + timedelta(days=number)}") for number in range(1000, 11_000)]
    names = [StagedFile(LiveFile(f"{key.prefix}/x.parquet", 1, key, 1, FIRST_DAY)) for key in keys]
    handle.table.commit(Change("append", handle.table.snapshot(), adds=tuple(names)))
    checkpoint = DeltaTable(f"s3://{root}", storage_options=handle.fs.delta_options())
    checkpoint.create_checkpoint()
    trips_dataset.ingest(make_trips(days=1), mode="append")
    script = (
        "import json, sys, fsspec\n"
        "fs = fsspec.filesystem('lake', view_freshness=60, **json.loads(sys.argv[1]))\n"
        "print(len(fs.find(sys.argv[2])), len(fs.ls(sys.argv[2])), fs.isdir(sys.argv[2]))\n"
    )
    with Proxy(rig.endpoint_url) as proxy:
        options = json.dumps({**rig.storage_options, "endpoint_url": proxy.url})
        call = [sys.executable, "-c", script, options, root]
        child = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True)
    assert child.stdout == "10005 10004 True\n"
    asked = [urlsplit(request.target) for request in proxy.requests]
    lists = [parse_qs(url.query)["prefix"][0] for url in asked if "list-type=2" in url.query]
    assert lists.count("city/trips/_delta_log/") == 2
    assert len(lists) == 4, "and one look at each of the two prefixes above"
    read = {url.path.rpartition("/")[2] for url in asked if "list-type=2" not in url.query}
    newest = f"{trips_dataset.version:020d}.json"
    assert read == {"_last_checkpoint", f"{checkpoint.version():020d}.checkpoint.parquet", newest}
