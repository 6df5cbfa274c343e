"""A hold in a bucket with Object Lock is a legal hold too: other tools cannot delete what we keep."""

import pytest
from botocore.exceptions import ClientError

from pipelines import Dataset
from tests.pipelines.samples import AS_OF, DAYS, daily, days_in, rows

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


def test_what_expired_is_held_in_its_grace(dataset, server):
    dataset.plan_expiry(AS_OF).apply()
    dataset.hold(HELD, reason="audit")
    assert not deletable(dataset, server, HELD)
    dataset.undo_expiry(HELD)
    assert days_in(dataset)[DAYS[0]] == 20
