"""Real processes on one plain table, without pauses: nothing that was acknowledged is lost.

Each partition is ingested anew once while others vacuum, tier and expire. The plan of the expiry was made before, so it
may take the first generation alone; whatever it does, the second must be there at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.pipelines.samples import daily_spec, rows
from tierlake.pipelines.dataset import Dataset

if TYPE_CHECKING:
    from tests.servers import Rig

FIRST = date(2013, 1, 1)

ACTS = """
import json, sys, time
from pathlib import Path
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import LakeError
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.lifecycle.plan import load_plan
from tests.pipelines.samples import rows

act, uri, options, plan, days, stop = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:7]
dataset = Dataset.open(uri, fs=LakeFileSystem(**options, skip_instance_cache=True))
print("ready", flush=True)
sys.stdin.readline()
if act == "ingest":
    for number, day in enumerate(json.loads(days)):
        dataset.ingest(rows([day], each=3, start=1_000_000 + 10 * number))
        print(day, flush=True)
while act != "ingest" and not Path(stop).exists():
    try:
        if act == "expire":
            dataset.apply(load_plan(Path(plan).read_text()))
        elif act == "tier":
            dataset.plan_tiering("2014-01-01").apply()
        else:
            dataset.vacuum()
    except LakeError as error:
        if act != "expire":
            raise
        print(type(error).__name__, flush=True)  # a bucket in which nothing could keep an ingest safe
        time.sleep(0.5)
print("done", flush=True)
"""


def together(server: Rig, bucket: str, fs, tmp_path, *, partitions: int) -> Dataset:
    days = [str(FIRST + timedelta(days=number)) for number in range(partitions)]
    spec = daily_spec(bucket, format="parquet", retention={"expire_after": "90d", "grace": "0d"})
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(rows(days, each=3))
    plan, stop = tmp_path / "plan.json", tmp_path / "stop"
    plan.write_text(dataset.plan_expiry("2014-06-01").to_json())
    share = [days[start::2] for start in range(2)]
    jobs = [("ingest", part) for part in share] + [(act, []) for act in ("expire", "tier", "vacuum", "vacuum")]
    options = json.dumps(server.storage_options)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ACTS, act, spec.uri, options, plan, json.dumps(part), stop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for act, part in jobs
    ]
    try:
        assert [child.stdout.readline() for child in started] == ["ready\n"] * len(started)
        for child in started:
            child.stdin.write("go\n")
            child.stdin.flush()
        acknowledged = [child.communicate(timeout=900) for child in started[:2]]
        stop.touch()
        others = [child.communicate(timeout=300) for child in started[2:]]
    finally:
        for child in started:
            child.kill()
    for (out, err), (act, _) in zip([*acknowledged, *others], jobs, strict=True):
        assert out.endswith("done\n"), f"{act}: {err}"
    assert sorted(day for out, _ in acknowledged for day in out.split()[:-1]) == days
    found = dataset.read(["date", "v"])
    expected = {
        (day, 1_000_000 + 10 * number + each) for part in share for number, day in enumerate(part) for each in range(3)
    }
    assert set(zip(*(found.column(name).to_pylist() for name in ("date", "v")), strict=True)) == expected
    assert found.num_rows == len(expected)
    return dataset


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)  # MinIO has 200, by `make soak`
@pytest.mark.parametrize("versioned", [False, True], ids=["unversioned", "versioned"])
def test_nothing_is_lost_without_pauses(server, make_bucket, fs, tmp_path, versioned):
    dataset = together(server, make_bucket(versioned=versioned), fs, tmp_path, partitions=30)
    assert isinstance(dataset.read(), pa.Table)


@pytest.mark.soak
@pytest.mark.timeout(1500)  # its own bounds count
@pytest.mark.parametrize("versioned", [False, True], ids=["unversioned", "versioned"])
def test_nothing_of_200_partitions_is_lost(server, make_bucket, fs, tmp_path, versioned):
    dataset = together(server, make_bucket(versioned=versioned), fs, tmp_path, partitions=200)
    dataset.vacuum()
    assert dataset.verify(as_of="2014-01-01").ok
