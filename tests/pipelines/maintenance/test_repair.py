"""`verify --repair` mends classes and encryption by self-copies, and deletes nothing."""

import pytest

from tests.pipelines.foreign import put, write_hive
from tierlake.pipelines import Dataset

pytestmark = pytest.mark.each_value


def copied_in_clear(server, dataset, path):
    bucket, _, prefix = dataset.spec.root.partition("/")
    key = f"{prefix}/{path}"
    body = server.admin.get_object(Bucket=bucket, Key=key)["Body"].read()
    server.admin.put_object(
        Bucket=bucket, Key=key, Body=body, ContentType="application/parquet", Metadata={"made-by": "me"}, Tagging="a=b"
    )


def paths_of(dataset):
    return [file.path for file in dataset._handle.table.snapshot().files]


def test_lost_encryption_comes_back_and_the_rest_stays(dataset, trips, server):
    dataset.ingest(trips())
    path = paths_of(dataset)[0]
    copied_in_clear(server, dataset, path)
    assert [problem.kind for problem in dataset.verify().problems] == ["encryption"]
    before = dataset.read()
    report = dataset.verify(repair=True)
    assert report.ok
    assert [(problem.kind, problem.path) for problem in report.repaired] == [("encryption", path)]
    assert "mended" in str(report)
    bucket, _, prefix = dataset.spec.root.partition("/")
    head = server.admin.head_object(Bucket=bucket, Key=f"{prefix}/{path}")
    assert head["ServerSideEncryption"] == "AES256"
    assert (head["Metadata"], head["ContentType"]) == ({"made-by": "me"}, "application/parquet")
    tags = server.admin.get_object_tagging(Bucket=bucket, Key=f"{prefix}/{path}")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}]
    assert dataset.read() == before
    assert not dataset.verify(repair=True).repaired


def test_a_class_that_is_too_cold_is_brought_back(delta, trips, server):
    if server.name == "minio":
        pytest.skip("MinIO's classes are tiers")
    delta.ingest(trips())
    path = paths_of(delta)[0]
    delta.fs.transition(f"{delta.spec.root}/{path}", storage_class="GLACIER")
    assert [problem.kind for problem in delta.verify("2013-01-10").problems] == ["class"]
    report = delta.verify("2013-01-10", repair=True)
    assert (report.ok, [problem.kind for problem in report.repaired]) == (True, ["class"])
    assert {part.storage_class for part in delta.partitions()} == {"STANDARD"}


def test_what_is_missing_is_left_for_people(delta, trips, server):
    delta.ingest(trips())
    bucket, _, prefix = delta.spec.root.partition("/")
    gone, cut = paths_of(delta)[:2]
    server.admin.delete_object(Bucket=bucket, Key=f"{prefix}/{gone}")
    put(server, f"{delta.spec.root}/{cut}", b"PAR1", ServerSideEncryption="AES256")
    report = delta.verify(repair=True)
    assert {(problem.kind, problem.path) for problem in report.problems} == {("missing", gone), ("size", cut)}
    assert not report.repaired


def test_adopted_files_get_their_encryption(bucket, fs, server):
    write_hive(server, f"{bucket}/hive")
    Dataset.adopt(f"lake://{bucket}/hive", dry_run=False, fs=fs)
    report = Dataset.open(f"lake://{bucket}/hive", fs=fs).verify(repair=True)
    assert (report.ok, len(report.repaired)) == (True, 4)
