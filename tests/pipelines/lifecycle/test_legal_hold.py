"""A hold in a bucket with Object Lock is a legal hold too: other tools cannot delete what we keep."""

import json
from datetime import timedelta

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from deltalake import DeltaTable

from tests.pipelines.foreign import parquet, put, spark_like
from tests.pipelines.samples import AS_OF, DAYS, clock_of, daily, days_in, rows
from tierlake.connector.errors import AccessDenied, DeletionFailed
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.metastore.records import RemovalRecord

HELD, OTHER = (f"date={day}" for day in DAYS[:2])


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, fs, make_bucket) -> Dataset:
    return daily(fs, make_bucket(lockable=True), format=request.param)


def deletable(dataset, server, key):
    """Whether an administrator with other tools can delete the versions of a partition's files."""
    bucket, _, prefix = f"{dataset.spec.root}/{key}/".partition("/")
    refused = []
    for version in server.admin.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]:
        at = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        try:
            server.admin.delete_object(**at)
        except ClientError as error:
            refused.append(error.response["Error"]["Code"])
    return not refused


@pytest.mark.slow
def test_nobody_deletes_what_is_held(dataset, server):
    assert dataset.hold(HELD, reason="audit")
    assert not dataset.hold(HELD, reason="audit")
    assert not deletable(dataset, server, HELD)
    assert dataset.read(where=[("date", "=", DAYS[0])]).num_rows == 20
    assert deletable(dataset, server, OTHER)


def test_what_is_released_can_be_deleted_replaced_files_too(dataset, server):
    dataset.hold(HELD, reason="audit")
    dataset.ingest(rows(DAYS[:1], each=5))
    assert dataset.release(HELD)
    assert deletable(dataset, server, HELD)


@pytest.mark.slow
def test_what_expired_is_held_in_its_grace(dataset, server):
    dataset.plan_expiry(AS_OF).apply()
    dataset.hold(HELD, reason="audit")
    assert not deletable(dataset, server, HELD)
    dataset.undo_expiry(HELD)
    assert days_in(dataset)[DAYS[0]] == 20


def test_however_others_spell_its_folder(fs, make_bucket, server):
    """Spark leaves a space as it is, and a file that was cloned into a table may lie anywhere."""
    root = f"{make_bucket(lockable=True)}/cities"
    Dataset.create(
        DatasetSpec(uri=f"lake://{root}", columns={"city": "string", "v": "int64"}, partition={"by": ["city"]}), fs=fs
    )
    data = parquet(pa.table({"v": [1]}))
    for path in ("city=New York/part-0.parquet", "elsewhere/part-1.parquet", "elsewhere/part-2.parquet"):
        put(server, f"{root}/{path}", data)
    places = {"city=New%20York/part-0.parquet": "New York", "elsewhere/part-1.parquet": "New York"}
    adds = [
        {
            "add": {
                "path": path,
                "partitionValues": {"city": city},
                "size": len(data),
                "modificationTime": 0,
                "dataChange": True,
            }
        }
        for path, city in {**places, "elsewhere/part-2.parquet": "Rome"}.items()
    ]
    entry = "\n".join(map(json.dumps, [{"commitInfo": {"operation": "WRITE", "timestamp": 0}}, *adds]))
    put(server, f"{root}/_delta_log/{1:020d}.json", entry.encode())
    dataset = Dataset.open(f"lake://{root}", fs=fs)
    assert dataset.read().num_rows == 3

    def held():
        return {
            version.path.removeprefix(f"{root}/")
            for version in fs.object_versions(f"{root}/")
            if version.path.endswith(".parquet") and "_lake" not in version.path and is_held(version)
        }

    def is_held(version):
        bucket, _, key = version.path.partition("/")
        head = server.admin.head_object(Bucket=bucket, Key=key, VersionId=version.version_id)
        return head.get("ObjectLockLegalHoldStatus") == "ON"

    dataset.hold("city=New%20York", reason="audit")
    assert held() == {"city=New York/part-0.parquet", "elsewhere/part-1.parquet"}
    dataset.release("city=New%20York")
    assert held() == set()


def test_a_legal_hold_finds_files_in_folders_of_others(fs, server, make_bucket):
    """Spark's folder `city=New York/`, which we would spell `New%20York`."""
    root = f"{make_bucket(lockable=True)}/theirs"
    spark_like(fs, root)
    Dataset.adopt(f"lake://{root}", {}, dry_run=False, fs=fs)
    dataset = Dataset.open(f"lake://{root}", fs=fs)
    dataset.hold("city=New%20York", reason="audit")
    refused = [version.path for version in fs.object_versions(f"{root}/city=New York/")]
    assert len(refused) == 2
    assert not deletable(dataset, server, "city=New York")
    DeltaTable(f"s3://{root}", storage_options=fs.delta_options()).optimize.compact()
    dataset.release("city=New%20York")
    assert deletable(dataset, server, "city=New York")


@pytest.mark.slow
def test_what_somebody_locked_keeps_no_other_file(dataset, server, monkeypatch):
    """A lock that is not ours keeps its object; a vacuum deletes the others, and says what it could not."""
    monkeypatch.setattr("tierlake.pipelines.metastore.deletion._BATCH", 1)
    dataset.ingest(rows(DAYS[:3], each=5, start=500))
    path = next(file.path for file in _replaced(dataset) if file.path.startswith(HELD))
    version = dataset.fs.object_versions(f"{dataset.spec.root}/{path}")[-1]
    dataset.fs.set_legal_hold([(version.path, version.version_id)], held=True)
    clock_of(dataset).ahead = timedelta(days=8)
    with pytest.raises((AccessDenied, DeletionFailed)):
        dataset.vacuum()
    left = dataset.vacuum(dry_run=True)
    assert left.expired == (path,)
    dataset.fs.set_legal_hold([(version.path, version.version_id)], held=False)
    assert dataset.vacuum().expired == (path,)
    assert dataset.verify(as_of=AS_OF).ok


def _replaced(dataset):
    return [file for record in dataset._handle.journal.records(RemovalRecord) for _, file in record.files()]
