"""Each server does what its profile says; where moto is not AWS is known, row by row."""

from __future__ import annotations

import pytest

from tierlake.connector import LakeFileSystem
from tierlake.connector.doctor.report import NOT_TRIED, Report, Row, diagnose
from tierlake.connector.errors import EndpointUnreachable

pytestmark = pytest.mark.each_value

MOTO_IS_NOT_AWS = {
    "self-copy keeps SSE unasked",  # it has no default encryption
    "copy keeps SSE unasked",
    "copy source If-Match",
    "copy If-None-Match",
    "copy If-Match on the destination",
    "complete an upload If-Match",
    "presigned URLs",  # it checks no signature
}


def buckets(rig):
    return {bucket["Name"] for bucket in rig.admin.list_buckets()["Buckets"] if "doctor" in bucket["Name"]}


@pytest.mark.slow
@pytest.mark.more_than_a_role("makes buckets")
def test_the_profile_is_right(fs, server):
    report = diagnose(fs)
    assert report.profile == server.name
    assert report.disagreements == (), str(report)
    assert buckets(server) == set()


@pytest.mark.slow
def test_moto_is_aws_but_for_what_is_known(moto):
    report = diagnose(LakeFileSystem(**moto.storage_options, skip_instance_cache=True))
    assert {row.what for row in report.disagreements} == MOTO_IS_NOT_AWS, str(report)
    assert buckets(moto) == set()


@pytest.mark.slow
@pytest.mark.more_than_a_role("tries everything")
def test_a_prefix_of_a_bucket_that_is_there(fs, server, bucket):
    fs.pipe_file(f"{bucket}/mine", b"mine")
    report = diagnose(fs, f"lake://{bucket}")
    assert report.agrees, str(report)
    assert {row.what for row in report.rows if row.server == NOT_TRIED} >= {"bucket CORS", "versions and undo"}
    assert server.keys(bucket) == ["mine"]
    assert not server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_another_servers_profile_is_wrong(minio):
    options = {**minio.storage_options, "profile": "seaweedfs"}
    report = diagnose(LakeFileSystem(**options, skip_instance_cache=True))
    assert not report.agrees
    assert "storage classes" in {row.what for row in report.disagreements}
    assert "! storage classes" in str(report)


def test_nobody_there(offline):
    with pytest.raises(EndpointUnreachable):
        diagnose(offline)


def test_a_report_marks_what_differs():
    report = Report("http://x", "p", (Row("one", "yes", "no: Why", False), Row("two", "", "yes", None)))
    assert str(report).splitlines()[2:] == [
        "! one  yes      no: Why",
        "  two  -        yes",
        "1 row differs from the profile",
    ]
